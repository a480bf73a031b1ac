"""The record of generations, and the names they have."""

import asyncio
import json
import logging
import random
import re
import resource
import stat
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from openrouter_gateway.core.generation import AttemptRecord, Generation
from openrouter_gateway.core.usage import Cost, Usage
from openrouter_gateway.identifier import new_generation_id
from openrouter_gateway.stores.ledger import Ledger


def make_generation(number: int) -> Generation:
    """Return a record with something in every field that is more than a plain value."""
    return Generation(
        id=f"gen-{number}",
        created=1771043112.5,
        ending="finished",
        requested_models=["a/one"],
        model="a/one",
        provider="acme",
        streamed=True,
        usage=Usage(prompt_tokens=3, completion_tokens=2, total_tokens=5),
        cost=Cost(prompt=Decimal("0.0000012345678901234567"), completion=Decimal("2E-8")),
        finish_reason="stop",
        native_finish_reason="stop",
        error_type=None,
        status=200,
        attempts=[AttemptRecord(provider="acme", tag="acme", outcome="served", status=200, duration_s=0.1)],
        latency_s=0.1,
        duration_s=0.2,
        user="line\nend\u2028é",
    )


def ids(journal: Path) -> list[str]:
    """Return the ids in a journal, line by line."""
    return [json.loads(line)["id"] for line in journal.read_bytes().splitlines()]


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    ledger = Ledger(tmp_path / "deep" / "journal.jsonl")
    yield ledger
    ledger.flush()


async def test_a_line_per_record(tmp_path: Path, ledger: Ledger) -> None:
    """In order, and one line each whatever is in it; costs keep their digits."""
    for number in range(3):
        ledger.record(make_generation(number))
    ledger.flush()
    ledger.record(make_generation(3))
    ledger.flush()

    journal = tmp_path / "deep" / "journal.jsonl"
    assert ids(journal) == ["gen-0", "gen-1", "gen-2", "gen-3"]
    first = json.loads(journal.read_bytes().splitlines()[0])
    assert str(first["cost"]["prompt"]) == "0.0000012345678901234567"
    assert (
        first["user"],
        first["usage"]["total_tokens"],
        first["attempts"][0]["outcome"],
    ) == ("line\nend\u2028é", 5, "served")


async def test_nothing_is_written_at_once(tmp_path: Path, ledger: Ledger) -> None:
    """Recording only queues; a timer writes what has come together, by itself."""
    ledger.record(make_generation(0))
    ledger.record(make_generation(1))

    journal = tmp_path / "deep" / "journal.jsonl"
    assert ids(journal) == []
    assert f"<Ledger journal={journal} recorded=2 unwritten_bytes=" in repr(ledger)

    async with asyncio.timeout(5):
        while not ids(journal):  # noqa: ASYNC110 - a file tells nobody that it has grown
            await asyncio.sleep(0)
    assert ids(journal) == ["gen-0", "gen-1"]
    assert f"<Ledger journal={journal} recorded=2 unwritten_bytes=0>" == repr(ledger)


async def test_half_a_line_is_completed_later(tmp_path: Path, ledger: Ledger) -> None:
    """A full disk takes what fits; the rest of the line follows when there is room."""
    journal = tmp_path / "deep" / "journal.jsonl"
    for number in range(3):
        ledger.record(make_generation(number))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        ledger.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert 1000 == journal.stat().st_size

    ledger.flush()

    assert ids(journal) == ["gen-0", "gen-1", "gen-2"]


async def test_a_batch_that_cannot_be_written_is_kept(
    tmp_path: Path, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, without what is in it, and goes out with the next batch, once."""
    journal = tmp_path / "deep" / "journal.jsonl"
    journal.unlink()
    journal.mkdir()
    ledger.record(make_generation(0))
    with caplog.at_level(logging.ERROR):
        ledger.flush()
    assert "bytes wait" in caplog.text
    assert "acme" not in caplog.text

    journal.rmdir()
    ledger.record(make_generation(1))
    ledger.flush()
    ledger.flush()

    assert ids(journal) == ["gen-0", "gen-1"]


async def test_a_journal_is_continued(tmp_path: Path, ledger: Ledger) -> None:
    """A new start appends; only the owner may read the file."""
    journal = tmp_path / "deep" / "journal.jsonl"
    ledger.record(make_generation(0))
    ledger.flush()

    again = Ledger(journal)
    again.record(make_generation(1))
    again.flush()

    assert ids(journal) == ["gen-0", "gen-1"]
    assert stat.S_IMODE(journal.stat().st_mode) == 0o600


def test_without_a_journal_it_only_counts() -> None:
    """And needs no event loop."""
    ledger = Ledger(None)

    ledger.record(make_generation(0))
    ledger.flush()

    assert repr(ledger) == "<Ledger journal=None recorded=1 unwritten_bytes=0>"


def dice(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - ids must differ, not be secret


class TestGenerationId:
    """`gen-<unix seconds>-<20 letters and digits>`."""

    def test_its_form(self) -> None:
        """As OpenRouter's look, whatever the dice say."""
        for seed in range(100):
            assert re.fullmatch(r"gen-1771043112-[A-Za-z0-9]{20}", new_generation_id(1771043112, dice(seed)))

    def test_the_dice_decide(self) -> None:
        """The same dice give the same id; two throws give two."""
        same = dice(7)
        found = [new_generation_id(1, same) for _ in range(1_000)]

        assert len(set(found)) == 1_000
        assert found[0] == new_generation_id(1, dice(7))
