"""What is lost, and that it is counted."""

from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from broadcast_receiver import Receiver, receiving
from broadcast_running import Setup, eventually, is_empty, running, spooled, webhook

from openrouter_gateway.broadcast.attempt import HTTPReply
from openrouter_gateway.broadcast.destinations.base import HTTPRequest
from openrouter_gateway.broadcast.queue import Limits


class Broken:
    """Sends what is accepted, but fails in its own way at one generation."""

    def __init__(self, generation_id: str) -> None:
        self._mark = generation_id.encode()
        self.status = 200

    async def send(self, request: HTTPRequest) -> HTTPReply:
        if self._mark in request.body and self.status == 200:
            raise RuntimeError("it was not foreseen")
        return HTTPReply(status=self.status)


def damage(directory: Path) -> None:
    """Change the last byte of each file."""
    for file in directory.rglob("*.spool"):
        content = file.read_bytes()
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 0xFF]))


class TestGone:
    """Destinations that are removed, or renamed, which for those of a file is the same."""

    @pytest.mark.parametrize("has_disk", [True, False])
    async def test_what_waits_is_dropped(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, has_disk: bool
    ) -> None:
        """Wherever it waits, and also what was being sent; a line says how much."""
        directory = tmp_path if has_disk else None
        async with receiving() as receiver, running(webhook("one", receiver.url), directory=directory) as setup:
            receiver.behave = lambda _: 503
            await setup.run(9)
            await setup.broadcaster.set_destinations([webhook("two", receiver.url)])
            (gone,) = setup.broadcaster.gone()
            assert ("one", 9, 0, 0, 0) == (
                gone.name,
                gone.counts.dropped,
                gone.waiting,
                gone.memory_bytes,
                gone.disk_bytes,
            )
            assert not gone.failing
        assert 1 == caplog.text.count("destination 'one' (webhook) is gone: 9 traces that waited for it are dropped")

    async def test_what_is_being_sent(self) -> None:
        """It may arrive or not, and is not waited for."""
        async with receiving() as receiver, running(webhook("one", receiver.url)) as setup:
            receiver.silent = True
            setup.offer(3)
            await setup.time.advance(1)
            assert 1 == len(receiver.arrivals)
            await setup.broadcaster.set_destinations([])
            assert [3] == [each.counts.dropped for each in setup.broadcaster.gone()]

    async def test_nothing_waits(self, caplog: pytest.LogCaptureFixture) -> None:
        """Then there is nothing to say."""
        async with receiving() as receiver, running(webhook("one", receiver.url)) as setup:
            setup.offer()
            await setup.time.advance(1)
            await setup.broadcaster.set_destinations([])
            assert [(1, 0)] == [(each.counts.delivered, each.counts.dropped) for each in setup.broadcaster.gone()]
        assert "is gone" not in caplog.text


class TestEnd:
    """A process that ends while a destination is down."""

    @pytest.mark.parametrize("has_disk", [True, False])
    async def test_what_nothing_keeps_is_told(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, has_disk: bool
    ) -> None:
        """Counts end with the process; a line does not."""
        async with running(webhook("one", "http://127.0.0.1:9"), directory=tmp_path if has_disk else None) as setup:
            await setup.run(3)
        assert has_disk == bool(spooled(tmp_path))
        assert has_disk != ("3 traces that waited are lost" in caplog.text)


class TestUnexpected:
    """Failures that nobody foresaw, here of what sends requests."""

    @pytest.mark.parametrize("has_disk", [True, False])
    async def test_they_cost_one_payload(
        self, tmp_path: Path, has_disk: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is counted, and does not come back from the disk; those beside it arrive."""
        broken = Broken("gen-2")
        limits = Limits(timeout_s=10)
        setup = Setup(broken.send, tmp_path if has_disk else None, limits)
        await setup.broadcaster.start([webhook("one", "http://x")])
        broken.status = 503
        for _ in range(3):
            setup.offer()
            await setup.time.advance(1)
        broken.status = 200
        await setup.time.advance(60)
        await eventually(lambda: not setup.of("one").waiting)
        counts = setup.of("one").counts
        assert (2, 1, 0) == (counts.delivered, counts.dropped, counts.rejected)
        assert 1 == caplog.text.count("did not end well")
        await setup.broadcaster.close(timeout_s=0.5)
        assert is_empty(tmp_path)

    async def test_what_an_earlier_process_left(self, tmp_path: Path) -> None:
        """It is lost once, and not at every start."""
        async with running(webhook("one", "http://127.0.0.1:9"), directory=tmp_path) as setup:
            await setup.run(3)
        for waiting in (3, 0):
            broken = Broken("gen-2")
            again = Setup(broken.send, tmp_path, Limits(timeout_s=10))
            await again.broadcaster.start([webhook("one", "http://x")])
            assert waiting == again.of("one").waiting
            await eventually(lambda again=again: not again.of("one").waiting)
            assert bool(waiting) == again.of("one").counts.dropped
            await again.broadcaster.close(timeout_s=0.5)
        assert is_empty(tmp_path)

    async def test_what_the_disk_damaged(self, tmp_path: Path) -> None:
        """It is lost, and counted."""
        async with running(webhook("one", "http://127.0.0.1:9"), directory=tmp_path) as setup:
            await setup.run(3)
        damage(tmp_path)
        async with receiving() as receiver, running(webhook("one", receiver.url), directory=tmp_path) as setup:
            assert 3 == setup.of("one").waiting
            await eventually(lambda: not setup.of("one").waiting)
            counts = setup.of("one").counts
            assert counts.dropped
            assert 3 == counts.delivered + counts.dropped
            assert not spooled(tmp_path)


class TestGroups:
    """Spans that several generations are below: what is sent later must not hang below one that never came."""

    SESSION: Final[dict[str, Any]] = {"session_id": "s-1", "trace": {"span_name": "turn"}}

    def _names(self, receiver: Receiver) -> list[list[str]]:
        return [[span["name"] for span in arrival.spans] for arrival in receiver.accepted]

    async def test_what_was_refused_had_them(self) -> None:
        """They come with the next generation, and with no other after that."""
        async with receiving() as receiver, running(webhook("one", receiver.url)) as setup:
            receiver.behave = lambda _: 400
            await setup.run(1, **self.SESSION)
            receiver.behave = lambda _: 200
            await setup.run(2, **self.SESSION)
            assert [["a/one", "turn", "a/one"], ["a/one"]] == self._names(receiver)

    @pytest.mark.parametrize("limits", [{"disk_bytes": 0, "memory_bytes": 4000}, {"disk_bytes": 2000}])
    async def test_what_had_no_room_had_them(self, tmp_path: Path, limits: dict[str, int]) -> None:
        """In memory, or on disk."""
        bounds = Limits(timeout_s=10, **limits)
        async with (
            receiving() as receiver,
            running(webhook("one", receiver.url), directory=tmp_path, limits=bounds) as setup,
        ):
            receiver.behave = lambda _: 503
            await setup.run(30, **self.SESSION)
            assert setup.of("one").counts.dropped
            receiver.behave = lambda _: 200
            await eventually(lambda: not setup.of("one").waiting, setup.time)
            await setup.run(1, **self.SESSION)
            known = {span["spanId"] for arrival in receiver.accepted for span in arrival.spans}
            parents = {span.get("parentSpanId") for arrival in receiver.accepted for span in arrival.spans}
            assert {None} == parents - known

    async def test_it_is_at_another_place_now(self) -> None:
        """Where nothing has come yet; another name is no other place."""
        async with receiving() as receiver, receiving() as other, running(webhook("one", receiver.url)) as setup:
            await setup.run(1, **self.SESSION)
            for url in (receiver.url, other.url):
                renamed = msgspec.structs.replace(webhook("one", url), name="renamed")
                await setup.broadcaster.set_destinations([renamed])
                await setup.run(1, **self.SESSION)
            whole = ["a/one", "turn", "a/one"]
            assert ([whole, ["a/one"]], [whole]) == (self._names(receiver), self._names(other))
