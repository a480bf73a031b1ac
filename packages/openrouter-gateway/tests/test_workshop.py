"""Work on what strangers wrote, in processes of its own, with limits that are tried out."""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pdf_samples import lock_pdf, make_bomb, make_pdf, make_treadmill

from openrouter_gateway.callers.workshop import JobFailed, Workshop, WorkshopLimits
from openrouter_gateway.callers.workshop_child import Heal
from openrouter_gateway.plugins.files import PDFProblem, PDFText
from openrouter_gateway.plugins.healing import Healed, NotHealed
from openrouter_gateway.plugins.pdf import read_pdf

EXPONENTIAL: dict[str, Any] = {"pattern": "^(a+)+$"}
"""A schema that a text of some thirty letters keeps busy for ever."""


@asynccontextmanager
async def workshop(**limits: float) -> AsyncGenerator[Workshop]:
    found = Workshop(WorkshopLimits(**limits))  # pyright: ignore[reportArgumentType]
    try:
        yield found
    finally:
        await found.close()


def children() -> set[int]:
    """Return the processes that this one has started and that still run."""
    found: set[int] = set()
    for entry in Path("/proc").iterdir():
        try:
            status = (entry / "stat").read_text().rpartition(")")[2].split()
        except (OSError, ValueError):
            continue
        if status[0] != "Z" and int(status[1]) == os.getpid():
            found.add(int(entry.name))
    return found


class TestReadPDF:
    """In this process."""

    @pytest.mark.parametrize(
        ("data", "expected"),
        [
            (make_pdf("Hello", "world"), PDFText("Hello\n\nworld")),
            (make_pdf("\\(caf\xe9\\)"), PDFText("(café)")),
            (lock_pdf(make_pdf("Hello"), ""), PDFText("Hello")),
            (lock_pdf(make_pdf("Hello"), "secret"), PDFProblem("is encrypted: it needs a password")),
            (b"%PDF-1.7\nnothing", PDFProblem("is broken: it cannot be read as a PDF")),
            (make_pdf("Hello")[:-80], PDFProblem("is broken: it cannot be read as a PDF")),
            (make_pdf(*"abcdef"), PDFProblem("has 6 pages; at most 5 are read")),
            (make_pdf("x" * 101), PDFProblem("has more text than is read, which is 100 characters")),
            (
                make_pdf(b""),
                PDFProblem("has no text in it; it may be a scan, and no OCR engine is configured"),
            ),
        ],
    )
    def test_kinds(self, data: bytes, expected: object) -> None:
        """Text, or the reason why there is none."""
        assert expected == read_pdf(data, max_pages=5, max_characters=100)

    def test_a_bomb(self) -> None:
        """Is not unpacked to its end."""
        assert PDFProblem("unpacks to more than is read") == read_pdf(make_bomb(), max_pages=5, max_characters=100)


class TestWorkshop:
    """In another one."""

    async def test_a_process_is_kept(self) -> None:
        """For the next job, of any kind; it ends with the workshop."""
        before = children()
        async with workshop() as found:
            assert PDFText("Hello") == await found.read_pdf(make_pdf("Hello"))
            (child,) = children() - before
            assert Healed(text='{"a": 1}', improved=True) == await found.heal(Heal('{"a": 1,}', {}))
            assert NotHealed(text="{}", problem="at $: 'a' is a required property") == await found.heal(
                Heal("{}", {"required": ["a"]})
            )
            assert {child} == children() - before
            assert "<Workshop idle=1 busy=0>" == repr(found)

        assert set() == children() - before

    async def test_it_is_not_kept_for_ever(self) -> None:
        """Without work it ends."""
        before = children()
        async with workshop(idle_s=0.05) as found:
            await found.read_pdf(make_pdf("Hello"))
            await until(lambda: children() == before)
            assert PDFText("Hello") == await found.read_pdf(make_pdf("Hello"))

    async def test_too_long(self) -> None:
        """The process is ended, and the next job has a new one."""
        before = children()
        async with workshop(pdf_s=1.5, healing_s=1.5) as found:
            began = time.monotonic()
            assert PDFProblem("cannot be read: that takes longer than 1.5 s") == await found.read_pdf(make_treadmill())
            with pytest.raises(JobFailed, match=r"longer than 1\.5 s"):
                await found.heal(Heal('"' + "a" * 40 + '!"', EXPONENTIAL))
            assert time.monotonic() - began < 10
            await until(lambda: children() == before)
            assert Healed(text='"aaa"', improved=False) == await found.heal(Heal('"aaa"', EXPONENTIAL))

    async def test_a_process_that_dies(self) -> None:
        """Costs its job alone."""
        before = children()
        async with workshop(healing_s=20) as found:
            task = asyncio.create_task(found.heal(Heal('"' + "a" * 40 + '!"', EXPONENTIAL)))
            await until(lambda: children() != before)
            (child,) = children() - before
            os.kill(child, 9)
            with pytest.raises(JobFailed):
                await task
            assert PDFText("Hello") == await found.read_pdf(make_pdf("Hello"))

    async def test_a_job_that_is_given_up(self) -> None:
        """Ends its process."""
        before = children()
        async with workshop(healing_s=20) as found:
            task = asyncio.create_task(found.heal(Heal('"' + "a" * 40 + '!"', EXPONENTIAL)))
            await until(lambda: children() != before)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: children() == before)
            assert "<Workshop idle=0 busy=0>" == repr(found)

    async def test_places(self) -> None:
        """No more processes than there are places; the others wait."""
        before = children()
        async with workshop(places=2) as found:
            jobs = [found.read_pdf(make_pdf(f"{at}")) for at in range(6)]
            assert [PDFText(f"{at}") for at in range(6)] == await asyncio.gather(*jobs)
            assert 2 >= len(children() - before)

    async def test_what_the_process_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """No secret of the environment."""
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
        before = children()
        async with workshop() as found:
            await found.read_pdf(make_pdf("Hello"))
            (child,) = children() - before
            told = await asyncio.to_thread(Path(f"/proc/{child}/environ").read_bytes)

        assert b"PATH=" in told
        assert b"sk-secret" not in told


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something to become true."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - processes set no events
            await asyncio.sleep(0.02)
