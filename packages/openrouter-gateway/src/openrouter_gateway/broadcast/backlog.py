"""What waits for one destination in memory: ready to be sent, read back from disk, and on its way to the disk.

With a disk, half of the memory is for what is ready and half for what is on its way to the disk.
"""

from collections import deque
from collections.abc import Sequence

from msgspec import Struct

from openrouter_gateway.broadcast.destinations.base import Payload
from openrouter_gateway.broadcast.spool import Segment


class Item(Struct, kw_only=True, eq=False):
    """A payload that waits; with a `segment` it is on disk as well. `strikes` counts what only it failed at.

    `is_settled`: it is delivered, lost or taken apart, and counted.
    """

    payload: Payload
    segment: Segment | None = None
    strikes: int = 0
    delivered_before: int = 0
    is_settled: bool = False


class Backlog:
    """Queues within a limit of bytes. What is on disk as well does not count."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._ready: deque[Item] = deque()
        self._loaded: deque[Item] = deque()
        self._spill: deque[Item] = deque()
        self._ready_bytes = 0
        self._spill_bytes = 0  # with what is being written

    def __repr__(self) -> str:
        return f"<Backlog ready={len(self._ready)} loaded={len(self._loaded)} spill={len(self._spill)}>"

    def __len__(self) -> int:
        return len(self._ready) + len(self._loaded) + len(self._spill)

    @property
    def traces(self) -> int:
        """Traces that are not on disk as well."""
        return sum(item.payload.traces for queue in (self._ready, self._spill) for item in queue)

    @property
    def size(self) -> int:
        """Bytes of what is not on disk as well."""
        return self._ready_bytes + self._spill_bytes

    @property
    def has_loaded(self) -> bool:
        """Whether anything that was read back from disk waits."""
        return bool(self._loaded)

    @property
    def has_spill(self) -> bool:
        """Whether anything is to be written to disk."""
        return bool(self._spill)

    # In. What has no room any more is returned.

    def put(self, item: Item) -> list[Item]:
        """Let an item wait in memory alone; the oldest go."""
        self._make_ready(item)
        gone: list[Item] = []
        while self._ready_bytes > self._limit and len(self._ready) > 1:
            gone.append(self._take_ready())
        return gone

    def put_before_disk(self, item: Item, *, is_failing: bool) -> list[Item]:
        """Let an item wait where there is a disk, too: it goes there if the destination fails or is too slow."""
        if not is_failing and self._ready_bytes + len(item.payload.body) <= self._limit // 2:
            self._make_ready(item)
            return []
        self._make_spill(item)
        gone: list[Item] = []
        while self._spill_bytes > self._limit // 2 and len(self._spill) > 1:
            oldest = self._spill.popleft()
            self._spill_bytes -= len(oldest.payload.body)
            gone.append(oldest)
        return gone

    def put_back(self, item: Item) -> None:
        """Let an item wait behind the others, so that the next attempt is another's."""
        if item.segment is not None:
            self._loaded.append(item)
            return
        self._make_ready(item)

    def put_first(self, items: Sequence[Item]) -> None:
        """Let what an item was taken apart into be next."""
        for item in reversed(items):
            if item.segment is not None:
                self._loaded.appendleft(item)
            else:
                self._ready.appendleft(item)
                self._ready_bytes += len(item.payload.body)

    def put_loaded(self, segment: Segment, payloads: list[Payload]) -> None:
        """Take what was read back from disk."""
        self._loaded.extend(Item(payload=payload, segment=segment) for payload in payloads)

    def spill(self) -> None:
        """Bring what is ready on its way to the disk, but for one to try with."""
        while len(self._ready) > 1 or (self._ready and self._loaded):
            self._make_spill(self._take_ready())

    def _make_ready(self, item: Item) -> None:
        self._ready.append(item)
        self._ready_bytes += len(item.payload.body)

    def _make_spill(self, item: Item) -> None:
        self._spill.append(item)
        self._spill_bytes += len(item.payload.body)

    # Out

    def take(self, *, prefers_old: bool) -> Item | None:
        """Return what to deliver next."""
        if self._ready and not prefers_old:
            return self._take_ready()
        while self._loaded:
            item = self._loaded.popleft()
            if item.segment is None or not item.segment.gone:  # else it was dropped meanwhile, and counted
                return item
        return self._take_ready() if self._ready else None

    def _take_ready(self) -> Item:
        item = self._ready.popleft()
        self._ready_bytes -= len(item.payload.body)
        return item

    def take_spill(self) -> Item | None:
        """Return what is to be written to disk. Its bytes count until `leave` is told."""
        return self._spill.popleft() if self._spill else None

    def leave(self, item: Item) -> None:
        """Take note that what `take_spill` gave is no longer in memory."""
        self._spill_bytes -= len(item.payload.body)

    def clear(self) -> list[Item]:
        """Return what is not on disk, and forget it."""
        rest = [*self._spill, *self._ready]
        self._ready.clear()
        self._spill.clear()
        self._ready_bytes = self._spill_bytes = 0
        return rest
