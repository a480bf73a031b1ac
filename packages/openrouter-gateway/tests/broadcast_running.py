"""A broadcaster in simulated time, and what its tests ask of it."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from broadcast_receiver import Arrival, FakeTime, sending
from broadcast_samples import make_destination, make_record

from openrouter_gateway.broadcast.queue import Broadcaster, DestinationStatus, Limits
from openrouter_gateway.core.destination import Destination

CANARY = "canary-5f3a9c1e77-do-not-show"


def webhook(name: str, url: str, **fields: Any) -> Destination:
    return make_destination(id=name, name=name, config={"url": url, "headers": {"X-Key": CANARY}}, **fields)


class Setup:
    """A broadcaster whose time is simulated."""

    def __init__(self, send: Any, directory: Path | None, limits: Limits, **options: Any) -> None:
        self.time = FakeTime()
        self.broadcaster = Broadcaster(
            send=send,
            directory=directory,
            limits=limits,
            clock=self.time.clock,
            sleep=self.time.sleep,
            dice=lambda: 0.5,
            **options,
        )
        self.offered = 0

    def offer(self, count: int = 1, **fields: Any) -> None:
        for _ in range(count):
            self.offered += 1
            self.broadcaster.offer(make_record(self.offered, **fields))

    async def run(self, seconds: int, portion: int = 1, every_s: int = 1, **fields: Any) -> None:
        """Offer records evenly, a portion every so many seconds."""
        for _ in range(seconds // every_s):
            self.offer(portion, **fields)
            await self.time.advance(every_s)

    def of(self, name: str) -> DestinationStatus:
        return next(status for status in self.broadcaster.status() if status.name == name)

    @property
    def all_ids(self) -> list[str]:
        return [f"gen-{number}" for number in range(1, self.offered + 1)]


@asynccontextmanager
async def running(
    *destinations: Destination, directory: Path | None = None, limits: Limits | None = None, **options: Any
) -> AsyncGenerator[Setup]:
    async with sending() as send:
        setup = Setup(send, directory, limits or Limits(timeout_s=10), **options)
        await setup.broadcaster.start(destinations)
        yield setup
        await setup.broadcaster.close(timeout_s=0.5)


def spooled(directory: Path) -> list[bytes]:
    """Return what is in the files on disk."""
    return [file.read_bytes() for file in directory.rglob("*.spool")]


def is_empty(directory: Path) -> bool:
    return not any(directory.iterdir())


def ids(arrivals: list[Arrival]) -> list[str]:
    return [generation_id for arrival in arrivals for generation_id in arrival.generation_ids]


def in_order(generation_ids: list[str]) -> list[str]:
    return sorted(generation_ids, key=lambda text: int(text.removeprefix("gen-")))


async def eventually(condition: Callable[[], bool], time: FakeTime | None = None) -> None:
    """Wait in real time, while simulated time passes if there is one to move.

    It has to where a request may run into its timeout, which is real: the pause after that is simulated.
    """
    for _ in range(1000):
        if condition():
            return
        if time is not None:
            await time.advance(1)
        await asyncio.sleep(0.01)
    pytest.fail("it did not come true in time")
