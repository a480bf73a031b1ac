"""Brings traces to one destination, whatever that does: batches, retries, and what waits in memory and on disk.

    add -> batch -> ready ------> workers -> destination
                      |              |
                      '-> spill -> disk, once it fails or is too slow; read back when memory is empty

While the destination fails, one worker tries, with growing pauses, and everything else goes to disk, oldest dropped
first. A payload that alone makes the destination fail does not hold up the others: it goes behind them, and is given
up when it has failed some more times while others were delivered. One that is refused for its content is delivered by
halves, so that what is refused in the end is the single trace that is to blame.
"""

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from openrouter_gateway.broadcast.attempt import Environment, Outcome, attempt
from openrouter_gateway.broadcast.backlog import Backlog, Item
from openrouter_gateway.broadcast.backoff import wait_s
from openrouter_gateway.broadcast.check import check_destination
from openrouter_gateway.broadcast.destinations import KINDS
from openrouter_gateway.broadcast.destinations.base import Part, Payload, parse_config
from openrouter_gateway.broadcast.record import Record
from openrouter_gateway.broadcast.selection import select, tailor
from openrouter_gateway.broadcast.spans import Trace
from openrouter_gateway.broadcast.split import halve
from openrouter_gateway.broadcast.spool import Spool, to_the_end
from openrouter_gateway.broadcast.terms import terms_of
from openrouter_gateway.core.destination import Destination

_log = logging.getLogger(__name__)

_MOST_ROOTS: Final = 10_000
_STRIKES: Final = 10
_HOPELESS: Final = 16
"""Traces refused one by one, with none accepted in between, after which payloads are no longer taken apart."""


class Counts(Struct, kw_only=True):
    """Traces, since the start. `dropped` had no room, `rejected` were refused, `retries` counts requests."""

    offered: int = 0
    delivered: int = 0
    rejected: int = 0
    dropped: int = 0
    unencodable: int = 0
    retries: int = 0


class Courier:
    """See the module. `start` before anything else, in the event loop.

    Raises:
        ValueError: the destination's configuration cannot be used.
    """

    def __init__(self, destination: Destination, environment: Environment) -> None:
        self._environment = environment
        self._limits = environment.limits
        self._set(destination)
        self._batch: list[Part] = []
        self._batch_bytes = 0
        self._roots: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._backlog = Backlog(self._limits.memory_bytes)
        self._in_flight = 0
        self._looking = 0  # workers that look for what is next
        self._withheld = 0  # traces, since it was last said
        self._traces_in_flight = 0  # that are not on disk
        self._refused = 0  # one by one, since something was accepted
        self._failures = 0
        self._failed_at = 0.0
        self._resume_at = 0.0
        self._changed = asyncio.Event()
        self._spool: Spool | None = None
        self._disk = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self.counts = Counts()

    def __repr__(self) -> str:
        state = "failing" if self.is_failing else "working"
        return f"<Courier {self.destination.type} {self.destination.name!r} {state} waiting={self.waiting}>"

    def _set(self, destination: Destination) -> None:
        self._kind = KINDS[destination.type]
        self._config = parse_config(self._kind, destination.config)
        self.wants: Callable[[Record], bool] = select(destination)
        self.destination = destination
        self._terms = terms_of(destination)

    def reconfigure(self, destination: Destination) -> None:
        """Go on with what waits, to a destination of the same type that is configured otherwise.

        What it may not have any more is dropped when its turn comes, which is at once.

        Raises:
            ValueError: its configuration cannot be used; nothing has changed.
        """
        check_destination(destination)
        self.flush()  # what is encoded already is so for the old configuration
        if destination.config != self.destination.config:
            self._roots.clear()  # it may be at another place now, which has no group spans
        self._set(destination)
        self._failures = self._refused = 0
        self._wake()

    @property
    def is_failing(self) -> bool:
        """Whether the last attempts did not succeed."""
        return self._failures > 0

    @property
    def waiting(self) -> int:
        """Traces that are to be delivered, in memory and on disk."""
        on_disk = 0 if self._spool is None else self._spool.traces
        return len(self._batch) + self._backlog.traces + on_disk + self._traces_in_flight

    @property
    def memory_bytes(self) -> int:
        """Bytes of payloads in memory that are not on disk as well."""
        return self._backlog.size + self._batch_bytes

    @property
    def disk_bytes(self) -> int:
        """Bytes on disk."""
        return 0 if self._spool is None else self._spool.size

    # In: never waits.

    def encode(self, trace: Trace) -> Part | Exception:
        """Return a trace as the destination is to get it, or why it cannot. Changes nothing: a thread may do it."""
        try:
            return self._kind.encode(self._config, self._without_known_groups(tailor(trace, self.destination)))
        except Exception as error:  # noqa: BLE001 - one odd trace must not stop the others
            return error

    def encode_alone(self, trace: Trace) -> Payload | Exception:
        """Return a trace as a payload of its own, or why there is none. As `encode`."""
        part = self.encode(trace)
        return part if isinstance(part, Exception) else self._join([part])

    def add(self, trace: Trace) -> None:
        """Take a trace. What cannot be encoded is counted and forgotten."""
        part = self.encode(trace)
        self._count(trace, part)
        if isinstance(part, Exception):
            return
        if self._batch and self._batch_bytes + len(part.body) > self._limits.batch_bytes:
            self.flush()
        self._batch.append(part)
        self._batch_bytes += len(part.body)
        if len(self._batch) >= self._kind.most:
            self.flush()

    def add_encoded(self, trace: Trace, payload: Payload | Exception) -> None:
        """Take a trace that `encode_alone` has encoded, since which the courier got no other and no configuration."""
        self._count(trace, payload)
        if not isinstance(payload, Exception):
            self._put(payload)

    def _count(self, trace: Trace, encoded: Part | Payload | Exception) -> None:
        self.counts.offered += 1
        if isinstance(encoded, Exception):
            self.counts.unencodable += 1
            if self.counts.unencodable == 1:
                _log.error("%s: a trace cannot be encoded: %s", self._name, type(encoded).__name__)
            return
        for span in trace.groups:
            self._roots[trace.trace_id, span.span_id] = None
            self._roots.move_to_end((trace.trace_id, span.span_id))
        while len(self._roots) > _MOST_ROOTS:
            self._roots.popitem(last=False)

    def _without_known_groups(self, trace: Trace) -> Trace:
        """Group spans belong to several generations, and are sent with the first of them."""
        if not trace.groups:
            return trace
        fresh = tuple(span for span in trace.groups if (trace.trace_id, span.span_id) not in self._roots)
        return trace if len(fresh) == len(trace.groups) else msgspec.structs.replace(trace, groups=fresh)

    def flush(self) -> None:
        """Let what has been added so far be one payload."""
        if not self._batch:
            return
        payload = self._join(self._batch)
        self._batch = []
        self._batch_bytes = 0
        self._put(payload)

    def _join(self, parts: Sequence[Part]) -> Payload:
        return msgspec.structs.replace(self._kind.join(self._config, parts), terms=self._terms)

    def _put(self, payload: Payload) -> None:
        item = Item(payload=payload)
        if self._spool is None:
            gone = self._backlog.put(item)
        else:
            gone = self._backlog.put_before_disk(item, is_failing=self.is_failing)
        for each in gone:
            self._drop(each)
        self._wake()

    def _drop(self, item: Item) -> None:
        self.counts.dropped += item.payload.traces
        self._roots.clear()  # group spans may be among what is lost: they are sent again with what comes next

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    # Life

    async def start(self) -> None:
        """Begin to deliver; what an earlier process left comes first."""
        directory = self._environment.directory
        if directory is not None and self._limits.disk_bytes > 0:
            spool = Spool(directory / f"{self.destination.type}-{self.destination.id}", self._limits.disk_bytes)
            try:
                await asyncio.to_thread(spool.open)
            except OSError as error:
                _log.error("%s: nothing is kept on disk: %s: %s", self._name, directory, error.strerror)
            else:
                self._spool = spool
        self._tasks = [asyncio.create_task(self._work(number)) for number in range(self._kind.connections)]
        if self._spool is not None:
            self._tasks.append(asyncio.create_task(self._keep()))

    async def close(self, timeout_s: float) -> None:
        """Deliver what waits, if it can be done in time; leave the rest on disk."""
        self.flush()
        self._wake()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not self.is_failing and (self._backlog or self._in_flight):
                    await self._changed.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._say_what_is_withheld()
        spool, lost = self._spool, -self.counts.dropped
        for item in self._backlog.clear():
            if not await self._keep_on_disk(spool, item):
                self._drop(item)
        lost += self.counts.dropped - self._withheld
        self._say_what_is_withheld()
        if lost:
            _log.warning("%s: %d traces that waited are lost, as they cannot be kept on disk", self._name, lost)
        if spool is not None:
            self._spool = None
            self._note_dropped(spool)
            await asyncio.to_thread(spool.close)

    async def destroy(self) -> None:
        """Drop what waits, and count it: the destination is gone."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        spool, lost = self._spool, self.waiting
        self._batch, self._batch_bytes, self._failures = [], 0, 0
        self._backlog.clear()
        if spool is not None:
            self._note_dropped(spool)
            self._spool = None
            await asyncio.to_thread(spool.destroy)
        self.counts.dropped += lost
        if lost:
            _log.warning("%s is gone: %d traces that waited for it are dropped", self._name, lost)

    # Out

    async def _work(self, number: int) -> None:
        """Deliver one payload after the other. The first worker is the one that tries while the destination fails."""
        while True:
            if self.is_failing:
                if number:
                    await self._changed.wait()
                    continue
                await self._pause()
            item = await self._next(prefers_old=number == 0)
            if item is None:
                await self._changed.wait()
                continue
            traces = item.payload.traces if item.segment is None else 0
            self._in_flight += 1
            self._traces_in_flight += traces
            try:
                await self._deliver(item)
            except asyncio.CancelledError:
                if not item.is_settled:
                    self._backlog.put_back(item)
                raise
            except Exception:  # noqa: BLE001 - the last line of defence: a worker that ends would be missed
                await self._give_up(item)
            finally:
                self._in_flight -= 1
                self._traces_in_flight -= traces
                self._wake()

    async def _pause(self) -> None:
        """Wait until the destination may be tried again. A new configuration ends it."""
        changed = self._changed
        while self.is_failing and (left_s := self._resume_at - self._environment.clock()) > 0:
            sleeping = asyncio.ensure_future(self._environment.sleep(left_s))
            changing = asyncio.ensure_future(changed.wait())
            try:
                await asyncio.wait((sleeping, changing), return_when=asyncio.FIRST_COMPLETED)
            finally:
                sleeping.cancel()
                changing.cancel()
            changed = self._changed

    async def _next(self, *, prefers_old: bool) -> Item | None:
        """Return what to deliver next: both what is fresh and what is on disk make progress."""
        self._looking += 1
        try:
            while True:
                if prefers_old and not self._backlog.has_loaded:
                    await self._load()
                item = self._backlog.take(prefers_old=prefers_old)
                if item is None or self._may_have(item):
                    return item
                self._drop(item)
                await self._forget(item)
        finally:
            self._looking -= 1
            if not self._looking:
                self._say_what_is_withheld()

    def _may_have(self, item: Item) -> bool:
        """Whether the destination may have a payload as it is configured now; those that it may not are counted."""
        if self._terms.cover(item.payload.terms):
            return True
        self._withheld += item.payload.traces
        return False

    def _say_what_is_withheld(self) -> None:
        count, self._withheld = self._withheld, 0
        if count:
            _log.warning("%s: %d traces that waited are dropped: it may not have them any more", self._name, count)

    async def _load(self) -> None:
        spool = self._spool
        if spool is None or not spool.size:
            return
        async with self._disk:
            found = await to_the_end(spool.load)
        self._note_dropped(spool)  # what could not be read
        if found is not None:
            self._backlog.put_loaded(*found)

    async def _deliver(self, item: Item) -> None:
        began = self._environment.clock()
        outcome = await attempt(self._kind, self._config, item.payload, self._environment)
        verdict = outcome.verdict
        if outcome.may_be_poison and self._is_poison(item):
            verdict = "rejected"
        if verdict == "retry":
            self.counts.retries += 1
            self._backlog.put_back(item)
            self._fail(began, outcome)
            return
        if verdict == "rejected" and outcome.is_about_content and await self._take_apart(item):
            self._recover()
            return
        traces = item.payload.traces
        rejected = traces if verdict == "rejected" else min(outcome.rejected_spans, traces)  # most traces are one span
        self.counts.delivered += traces - rejected
        self.counts.rejected += rejected
        if verdict == "accepted":
            self._refused = 0
        elif traces == 1:
            self._refused += 1
        if rejected:
            self._roots.clear()  # see `_drop`
            _log.error("%s refuses %d traces for good: %s", self._name, rejected, outcome.reason)
        await self._forget(item)
        self._recover()

    async def _take_apart(self, item: Item) -> bool:
        """Let the halves of a payload be delivered in its place, as one of its traces may be to blame.

        A destination that refuses whatever it gets is not asked about each trace.
        """
        halves = halve(item.payload) if self._refused < _HOPELESS else None
        if halves is None:
            return False
        if item.segment is not None:
            async with self._disk:
                item.segment.left += 1
        items = [Item(payload=payload, segment=item.segment) for payload in halves]
        self._backlog.put_first(items)
        item.is_settled = True
        return True

    def _is_poison(self, item: Item) -> bool:
        """Whether a payload has failed again and again while others were delivered."""
        if self.counts.delivered > item.delivered_before:
            item.strikes += 1
        item.delivered_before = self.counts.delivered
        return item.strikes > _STRIKES

    async def _give_up(self, item: Item) -> None:
        """Lose a payload to something unexpected, from disk as well, or it would come back for ever."""
        _log.exception("%s: delivering %d traces did not end well", self._name, item.payload.traces)
        if item.is_settled:
            return
        self._drop(item)
        try:
            await self._forget(item)
        except Exception:  # noqa: BLE001 - see `_work`
            _log.exception("%s: what is lost may come back", self._name)

    async def _forget(self, item: Item) -> None:
        item.is_settled = True
        if item.segment is not None and self._spool is not None:
            async with self._disk:
                await to_the_end(self._spool.delivered, item.segment)

    def _fail(self, began: float, outcome: Outcome) -> None:
        """Note a failure. Those of requests that were under way at an earlier one say nothing new."""
        if self._failures and began <= self._failed_at:
            return
        if not self._failures:
            _log.warning("%s cannot be reached, traces wait: %s", self._name, outcome.reason)
        self._failures += 1
        now = self._environment.clock()
        self._failed_at = now
        self._resume_at = now + wait_s(self._failures, self._environment.dice(), outcome.asked_s)
        if self._spool is not None:
            self._backlog.spill()
        self._wake()

    def _recover(self) -> None:
        if self._failures:
            self._failures = 0
            _log.warning("%s can be reached again; %d traces wait", self._name, self.waiting)
        self._wake()

    async def _keep(self) -> None:
        """Bring what spills to disk."""
        spool = self._spool
        assert spool is not None  # noqa: S101 - see `start`
        while True:
            changed = self._changed
            while self._backlog.has_spill:
                await self._disk.acquire()  # before the item is taken: who is cancelled here has nothing in hand
                try:
                    item = self._backlog.take_spill()
                    if item is None:
                        break
                    kept = await self._keep_on_disk(spool, item)
                    self._backlog.leave(item)
                    if not kept:
                        self._drop(item)
                finally:
                    self._disk.release()
                self._wake()
            self._note_dropped(spool)
            await changed.wait()

    async def _keep_on_disk(self, spool: Spool | None, item: Item) -> bool:
        """Return whether it could be done, and may be."""
        return spool is not None and self._may_have(item) and await to_the_end(spool.append, item.payload)

    def _note_dropped(self, spool: Spool) -> None:
        if spool.dropped:
            self.counts.dropped += spool.dropped
            spool.dropped = 0
            self._roots.clear()  # see `_drop`

    @property
    def _name(self) -> str:
        return f"destination {self.destination.name!r} ({self.destination.type})"
