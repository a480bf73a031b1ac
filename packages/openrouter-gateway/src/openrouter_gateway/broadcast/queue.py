"""The way from the end of a request to the destinations: `offer` costs the request a microsecond, the rest comes later.

    offer -> queue -> [task] -> trace -> courier -> destination
                                      '-> courier -> destination

The queue is bounded, in records and in bytes of content; what does not fit is counted and forgotten. One task turns
records into traces, in slices of a millisecond, because a thread would hold up the event loop for longer: Python lets
threads take turns of five milliseconds. What takes far longer than that, as it has much content, is done in a thread,
one record at a time, and counts as queued meanwhile. Couriers (`courier`) know nothing of each other.
"""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from openrouter_gateway.broadcast.attempt import Environment, Send
from openrouter_gateway.broadcast.check import check_destination, try_connection
from openrouter_gateway.broadcast.courier import Counts, Courier
from openrouter_gateway.broadcast.destinations.base import Payload
from openrouter_gateway.broadcast.limits import Limits
from openrouter_gateway.broadcast.record import Record
from openrouter_gateway.broadcast.spans import Trace, build_trace
from openrouter_gateway.broadcast.spool import to_the_end
from openrouter_gateway.core.destination import Destination

__all__ = ["Broadcaster", "DestinationStatus", "Limits", "Record", "Send"]

_log = logging.getLogger(__name__)

_INTERVAL_S: Final = 0.5
"""How long records come together before they are sent."""
_SLICE_S: Final = 0.001
_LARGE: Final = 256 * 1024
"""Bytes of content above which a record is encoded in a thread: 10 MB take 60 to 140 ms for each destination."""

_MOST_GONE: Final = 100


class DestinationStatus(Struct, frozen=True, kw_only=True):
    """How one destination is doing. `waiting` counts traces, in memory and on disk."""

    id: str
    type: str
    name: str
    failing: bool
    waiting: int
    memory_bytes: int
    disk_bytes: int
    counts: Counts


class Broadcaster:
    """One per process; all of it in the event loop that `start` ran in.

    `is_wanted` says whether anyone takes records at all, `wants_content` whether any destination takes content or
    looks into it: if not, callers need not keep it. `dropped` counts the records for which there was no room.

    Args:
        send: sends one HTTP request.
        directory: where what cannot be delivered is kept; without one it is kept in memory alone.
        limits: for each destination.
        most_records: of the queue.
        most_bytes: content of the records in the queue.
        observe: called with each record, off the request path, to log it for instance.
    """

    def __init__(
        self,
        *,
        send: Send,
        directory: Path | None = None,
        limits: Limits | None = None,
        most_records: int = 10_000,
        most_bytes: int = 64 * 1024 * 1024,
        observe: Callable[[Record], None] | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._environment = Environment(
            send=send,
            clock=clock,
            sleep=sleep,
            dice=dice,
            limits=limits or Limits(),
            directory=directory,
        )
        self._observe = observe
        self._most_records = most_records
        self._most_bytes = most_bytes
        self._queue: deque[Record] = deque()
        self._bytes = 0
        self._couriers: dict[str, Courier] = {}
        self._gone: deque[DestinationStatus] = deque(maxlen=_MOST_GONE)
        self.is_wanted = observe is not None
        self.wants_content = False
        self._filled = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self.dropped = 0

    def __repr__(self) -> str:
        return f"<Broadcaster queued={len(self._queue)} dropped={self.dropped} {list(self._couriers.values())}>"

    @property
    def queued(self) -> int:
        """Records that are not traces yet."""
        return len(self._queue)

    def offer(self, record: Record) -> bool:
        """Queue a record. Never waits, never raises. Returns whether it was taken.

        It is not if nobody wants it, or if there is no room, which is counted in `dropped`.
        """
        if not self.is_wanted:
            return False
        queue = self._queue
        if len(queue) >= self._most_records or self._bytes + record.size_bytes > self._most_bytes:
            self.dropped += 1
            return False
        if not queue:
            self._filled.set()
        queue.append(record)
        self._bytes += record.size_bytes
        return True

    async def start(self, destinations: Sequence[Destination] = ()) -> None:
        """Begin. What earlier processes left on disk is delivered.

        Raises:
            ValueError: a destination's configuration cannot be used.
        """
        await self.set_destinations(destinations)
        self._pump = asyncio.create_task(self._run(), name="broadcast")

    async def set_destinations(self, destinations: Sequence[Destination]) -> None:
        """Deliver to these from now on. What waits for one that is no longer there is dropped.

        Raises:
            ValueError: one of them cannot be used as it is configured; nothing has changed.
        """
        for destination in destinations:
            check_destination(destination)
        async with self._turn:
            couriers: dict[str, Courier] = {}
            left = dict(self._couriers)
            for destination in destinations:
                courier = left.get(destination.id)
                if courier is not None and courier.destination.type == destination.type:
                    del left[destination.id]
                    if courier.destination != destination:
                        courier.reconfigure(destination)
                else:
                    courier = Courier(destination, self._environment)
                    await courier.start()
                couriers[destination.id] = courier
            self._couriers = couriers
            self.is_wanted = self._observe is not None or any(each.enabled for each in destinations)
            self.wants_content = any(map(_wants_content, destinations))
            for courier in left.values():
                await courier.destroy()
                self._gone.append(_status(courier))

    async def try_connection(self, destination: Destination) -> str | None:
        """Return why a destination cannot be reached, None if it can.

        Raises:
            ValueError: it cannot be used as it is configured.
        """
        return await try_connection(destination, self._environment)

    def status(self) -> list[DestinationStatus]:
        """Return how the destinations are doing."""
        return [_status(courier) for courier in self._couriers.values()]

    def gone(self) -> list[DestinationStatus]:
        """Return how the last of those that are no longer there did: what was dropped with them is to be seen."""
        return list(self._gone)

    async def close(self, timeout_s: float = 5.0) -> None:
        """Deliver what can be delivered in time, and leave the rest on disk."""
        self.is_wanted = False
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
            self._pump = None
        await self._drain()
        await asyncio.gather(*(courier.close(timeout_s) for courier in self._couriers.values()))
        self._couriers = {}

    async def _run(self) -> None:
        while True:
            await self._filled.wait()
            await self._environment.sleep(_INTERVAL_S)
            self._filled.clear()
            await self._drain()

    async def _drain(self) -> None:
        """Turn everything that is queued into traces, and let others run every now and then."""
        queue = self._queue
        began = time.perf_counter()
        while queue:
            record = queue[0]  # and there it stays until it is done: who is cancelled in between has lost nothing
            try:
                if record.size_bytes > _LARGE:
                    await self._distribute_large(record)
                else:
                    self._distribute(record)
            except Exception:  # noqa: BLE001 - one odd record must not stop the others
                self.dropped += 1
                _log.exception("generation %s cannot be broadcast", record.generation.id)
            queue.popleft()
            self._bytes -= record.size_bytes
            if time.perf_counter() - began > _SLICE_S:
                await asyncio.sleep(0)
                began = time.perf_counter()
        for courier in self._couriers.values():
            courier.flush()

    def _distribute(self, record: Record) -> None:
        if self._observe is not None:
            self._observe(record)
        trace: Trace | None = None
        for courier in self._couriers.values():
            if courier.wants(record):
                if trace is None:
                    trace = build_trace(record)
                courier.add(trace)

    async def _distribute_large(self, record: Record) -> None:
        """Nothing changes before all is encoded, and no configuration meanwhile."""
        async with self._turn:
            couriers = list(self._couriers.values())
            encoded = await to_the_end(_encode_for, record, couriers)  # a reply is read by one at a time
            if self._observe is not None:
                self._observe(record)
            for courier, trace, payload in encoded:
                courier.add_encoded(trace, payload)


def _status(courier: Courier) -> DestinationStatus:
    return DestinationStatus(
        id=courier.destination.id,
        type=courier.destination.type,
        name=courier.destination.name,
        failing=courier.is_failing,
        waiting=courier.waiting,
        memory_bytes=courier.memory_bytes,
        disk_bytes=courier.disk_bytes,
        counts=courier.counts,
    )


def _encode_for(record: Record, couriers: Sequence[Courier]) -> list[tuple[Courier, Trace, Payload | Exception]]:
    """Return what those who want a record get."""
    wanting = [courier for courier in couriers if courier.wants(record)]
    if not wanting:
        return []
    trace = build_trace(record)
    return [(courier, trace, courier.encode_alone(trace)) for courier in wanting]


def _wants_content(destination: Destination) -> bool:
    if not destination.enabled:
        return False
    rules = destination.filter_rules
    looks_into = rules is not None and any(
        rule.field in ("input", "output") for group in rules.groups for rule in group.rules
    )
    return looks_into or not destination.privacy_mode
