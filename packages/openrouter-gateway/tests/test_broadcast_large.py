"""Generations with much content: they are encoded in a thread, and nothing else about them is different."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from broadcast_receiver import receiving
from broadcast_running import eventually, ids, running, webhook
from broadcast_samples import ANSWER

MIB = 1024 * 1024


class Reply:
    """The answer of a generation, which says where it is read, and takes its time if it is told to."""

    def __init__(self, content: str = ANSWER) -> None:
        self.content = content
        self.threads: list[threading.Thread] = []
        self.may_end = threading.Event()
        self.may_end.set()

    def __call__(self) -> list[dict[str, Any]]:
        self.threads.append(threading.current_thread())
        assert self.may_end.wait(10)
        return [{"role": "assistant", "content": self.content}]


def is_being_read(reply: Reply) -> Callable[[], bool]:
    return lambda: bool(reply.threads)


class TestLarge:
    """What is above the limit."""

    async def test_the_event_loop_does_not_encode_it(self) -> None:
        """While it does encode what is small."""
        async with receiving() as receiver, running(webhook("one", receiver.url)) as setup:
            small, large = Reply(), Reply("x" * 5 * MIB)
            setup.offer(reply=small, size_bytes=1000)
            setup.offer(reply=large, size_bytes=5 * MIB)
            await setup.time.advance(1)
            await eventually(lambda: len(ids(receiver.arrivals)) == 2)
            assert [threading.main_thread()] == small.threads
            assert threading.main_thread() not in large.threads
            assert large.content.encode() in receiver.arrivals[-1].body
            assert (2, 2) == (setup.of("one").counts.offered, setup.of("one").counts.delivered)

    async def test_it_counts_as_queued_meanwhile(self) -> None:
        """By its bytes as well: what waits to be encoded is bounded."""
        async with running(webhook("one", "http://127.0.0.1:9"), most_bytes=MIB) as setup:
            reply = Reply()
            reply.may_end.clear()
            setup.offer(reply=reply, size_bytes=MIB - 100)
            await setup.time.advance(1)
            await eventually(is_being_read(reply))
            setup.offer(2, size_bytes=100)
            assert (2, 1) == (setup.broadcaster.queued, setup.broadcaster.dropped)
            reply.may_end.set()
            await eventually(lambda: not setup.broadcaster.queued)
            setup.offer(size_bytes=MIB)
            assert (1, 1) == (setup.broadcaster.queued, setup.broadcaster.dropped)

    async def test_the_end_comes_while_it_is_encoded(self) -> None:
        """It is still delivered, once, and observed once."""
        seen: list[str] = []
        async with receiving() as receiver:
            reply = Reply()
            reply.may_end.clear()
            async with running(
                webhook("one", receiver.url), observe=lambda record: seen.append(record.generation.id)
            ) as setup:
                trace = {"trace_id": "run", "trace_name": "agent"}
                setup.offer(reply=reply, size_bytes=MIB, trace=trace)
                await setup.time.advance(1)
                await eventually(is_being_read(reply))
                asyncio.get_running_loop().call_later(0.1, reply.may_end.set)
            assert ["gen-1"] == ids(receiver.arrivals) == seen
            assert 2 == len(receiver.arrivals[0].spans), "its group is there, too"

    async def test_a_change_comes_while_it_is_encoded(self) -> None:
        """It waits until that is done, so that nothing is encoded for what is no longer so."""
        async with receiving() as old, receiving() as new, running(webhook("one", old.url)) as setup:
            reply = Reply()
            reply.may_end.clear()
            setup.offer(reply=reply, size_bytes=MIB)
            await setup.time.advance(1)
            await eventually(is_being_read(reply))
            changing = asyncio.create_task(setup.broadcaster.set_destinations([webhook("one", new.url)]))
            await asyncio.sleep(0.01)
            assert not changing.done()
            reply.may_end.set()
            await changing
            await eventually(lambda: not setup.of("one").waiting)
            assert ["gen-1"] == ids(old.arrivals) + ids(new.arrivals)

    async def test_odd_ones_stop_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        """One that cannot be encoded, and one that is none at all."""
        async with receiving() as receiver, running(webhook("one", receiver.url)) as setup:
            setup.offer(reply=[{"role": "assistant", "content": "\ud800"}], size_bytes=MIB)
            setup.offer(trace="nonsense", size_bytes=MIB)
            setup.offer(size_bytes=MIB)
            await setup.time.advance(1)
            await eventually(lambda: ids(receiver.arrivals) == ["gen-3"])
            assert (1, 1) == (setup.of("one").counts.unencodable, setup.broadcaster.dropped)
        assert "a trace cannot be encoded: UnicodeEncodeError" in caplog.text
