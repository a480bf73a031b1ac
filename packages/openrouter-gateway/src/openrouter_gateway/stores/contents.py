"""What was asked and answered, kept for some days where the operator wants that (OpenRouter API, generations).

It is written aside: `keep` puts it into a bounded queue, a task of its own writes what has come together. What finds no
room there, or is in it when the process is killed, is lost; the ledger's record is not.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct
from sqlalchemy import delete, func, select

from openrouter_gateway.stores.database import Database, DatabaseUnavailable, RowsRefused
from openrouter_gateway.stores.schema import CONTENTS

_INTERVAL_S: Final = 0.1
_PAUSE_S: Final = 2.0
_FIND_TIMEOUT_S: Final = 3.0
_BATCH: Final = 64
_BATCH_BYTES: Final = 1024 * 1024
_SLICE: Final = 500
"""Rows that are deleted in one transaction: others wait for its end."""
_DAY_S: Final = 86_400
_MICRO: Final = 1_000_000
_COMPLAINT_INTERVAL_S: Final = 60.0
_log = logging.getLogger(__name__)
_content = CONTENTS.c
_encode = msgspec.json.Encoder(decimal_format="number").encode


class Content(Struct, frozen=True, kw_only=True):
    """One generation's content, as it is handed over: it is read later, so nobody may change it.

    `asked` has what the model reads, as `messages` or `prompt`, undecoded where it can be; `answer` returns the
    messages of the answer, one per choice. `size_bytes` is about what all of it takes up.
    """

    id: str
    created: float
    key_hash: str | None
    asked: dict[str, Any]
    answer: Callable[[], list[dict[str, Any]]]
    error: dict[str, Any] | None
    size_bytes: int

    def __repr__(self) -> str:
        return f"<Content {self.id} of {self.size_bytes} bytes>"


class KeptContent(Struct, frozen=True, kw_only=True):
    """What is kept of one generation: JSON documents; `output` is the list of the answer's messages."""

    key_hash: str | None
    input: Raw
    output: Raw
    error: Raw | None

    def __repr__(self) -> str:
        return f"<KeptContent of {len(self.input) + len(self.output)} bytes>"


class Retention(Struct, frozen=True, kw_only=True):
    """How long content is kept, and how much of all generations: beyond it the oldest goes first."""

    keep_days: int = 7
    max_bytes: int = 1024**3
    clock: Callable[[], float] = time.time

    @property
    def oldest_us(self) -> int:
        """From when on content is kept."""
        return round((self.clock() - self.keep_days * _DAY_S) * _MICRO)

    async def enforce(self, database: Database) -> int:
        """Delete what is too old or too much; return how many rows. Of several processes, one does the work.

        Raises:
            DatabaseUnavailable: some are left.
        """
        before_us, deleted = await self._find_limit(database), 0
        while True:
            async with database.transaction(immediate=True) as connection:
                if not await database.lock(connection, wait=False):
                    return deleted
                oldest = select(_content.id).where(_content.created_us < before_us).order_by(_content.created_us)
                found = await connection.execute(delete(CONTENTS).where(_content.id.in_(oldest.limit(_SLICE))))
            deleted += found.rowcount
            if found.rowcount < _SLICE:
                return deleted

    async def _find_limit(self, database: Database) -> int:
        """Return the moment before which everything is to go."""
        async with database.transaction() as connection:
            total = (await connection.execute(select(func.sum(_content.size_bytes)))).scalar() or 0
            if total <= self.max_bytes:
                return self.oldest_us
            so_far = func.sum(_content.size_bytes).over(order_by=_content.created_us.desc()).label("so_far")
            newer = select(_content.created_us, so_far).subquery()
            newest_beyond = select(func.max(newer.c.created_us)).where(newer.c.so_far > self.max_bytes)
            return max(self.oldest_us, ((await connection.execute(newest_beyond)).scalar() or 0) + 1)


class ContentLog:
    """The content log of one process.

    Args:
        database: open from `start` to `close`.
        retention: also what is found of it: nothing that is too old, whether or not it is deleted yet.
        max_generation_bytes: what is longer is kept without images and files, or else left out.
        without_media: returns messages without what is no text.
        most_records: of the queue.
        most_bytes: of what is in the queue.
    """

    def __init__(
        self,
        database: Database,
        retention: Retention,
        *,
        max_generation_bytes: int,
        without_media: Callable[[dict[str, Any]], list[dict[str, Any]] | None],
        most_records: int = 2_000,
        most_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        self._database = database
        self._retention = retention
        self._max_generation_bytes = max_generation_bytes
        self._without_media = without_media
        self._most_records = most_records
        self._most_bytes = most_bytes
        self._queue: deque[Content] = deque()
        self._bytes = 0
        self._unswept = 0
        self._filled = asyncio.Event()
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._said_at = float("-inf")
        self.dropped = 0

    def __repr__(self) -> str:
        return f"<ContentLog queued={len(self._queue)} dropped={self.dropped}>"

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._run(), name="content-log")

    async def close(self, timeout_s: float = 5.0) -> None:
        """Write what waits, if the database takes it in time."""
        if self._task is None:
            return
        await self._flush_within(timeout_s)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None
        if self._queue:
            _log.error("the content of %d generations is lost: it could not be written", len(self._queue))

    def keep(self, content: Content) -> None:
        """Queue one generation's content. Never waits, never raises; `dropped` counts those for which no room was."""
        queue = self._queue
        if len(queue) >= self._most_records or self._bytes + content.size_bytes > self._most_bytes:
            self.dropped += 1
            self._complain("the content of %d generations is not kept: too much waits to be written", self.dropped)
            return
        if not queue:
            self._filled.set()
        queue.append(content)
        self._bytes += content.size_bytes

    async def find(self, generation_id: str) -> KeptContent | None:
        """Return what is kept of a generation, also of one that ended a moment ago.

        Raises:
            DatabaseUnavailable: it cannot be read now.
        """
        await self._flush_within(_FIND_TIMEOUT_S)
        wanted = select(CONTENTS).where(_content.id == generation_id, _content.created_us >= self._retention.oldest_us)
        async with self._database.transaction() as connection:
            row = (await connection.execute(wanted)).one_or_none()
        if row is None:
            return None
        return KeptContent(
            key_hash=row.key_hash,
            input=Raw(row.input.encode()),
            output=Raw(row.output.encode()),
            error=Raw(row.error.encode()) if row.error else None,
        )

    async def _flush_within(self, timeout_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._write_all()

    async def _run(self) -> None:
        while True:
            await self._filled.wait()
            await asyncio.sleep(_INTERVAL_S)
            self._filled.clear()
            try:
                await self._write_all()
                if self._unswept * 16 > self._retention.max_bytes:  # or an hour's content could be far too much
                    self._unswept = 0
                    await self._retention.enforce(self._database)
            except DatabaseUnavailable as error:
                self._complain("cannot delete content that is too much: %s", error.message)
            except Exception:  # noqa: BLE001 - the last line of defence
                _log.exception("the content log failed; %d generations wait", len(self._queue))

    async def _write_all(self) -> None:
        """Return when the queue is empty; while the database is down, never."""
        queue = self._queue
        async with self._turn:
            while queue:
                batch = self._next_batch()
                try:
                    await self._insert(batch)
                except DatabaseUnavailable as error:
                    self._complain("cannot write content: %s; %d generations wait", error.message, len(queue))
                    await asyncio.sleep(_PAUSE_S)
                    continue
                for content in batch:
                    queue.popleft()
                    self._bytes -= content.size_bytes
                    self._unswept += content.size_bytes

    def _next_batch(self) -> list[Content]:
        batch: list[Content] = []
        size = 0
        for content in islice(self._queue, _BATCH):
            if batch and size + content.size_bytes > _BATCH_BYTES:
                break
            batch.append(content)
            size += content.size_bytes
        return batch

    async def _insert(self, batch: list[Content]) -> None:
        rows = [row for content in batch if (row := self._to_row(content)) is not None]
        try:
            await self._database.insert_new(CONTENTS, rows)
        except RowsRefused:
            for row in rows:
                try:
                    await self._database.insert_new(CONTENTS, [row])
                except RowsRefused as error:
                    _log.error("the database refuses the content of generation %s: %s", row[0], error)

    def _to_row(self, content: Content) -> tuple[Any, ...] | None:
        try:
            asked = self._encode_input(content.asked)
            answered = _to_text(content.answer())
            if len(answered) > self._max_generation_bytes:
                answered = _to_text([{"role": "assistant", "content": _left_out(len(answered))}])
            error = None if content.error is None else _to_text(content.error)
        except Exception:  # noqa: BLE001 - one defect must not hold up all others
            _log.exception("the content of generation %s cannot be written down", content.id)
            return None
        size = len(asked) + len(answered) + len(error or "")
        return (content.id, round(content.created * _MICRO), content.key_hash, size, asked, answered, error)

    def _encode_input(self, asked: dict[str, Any]) -> str:
        text = _to_text(asked)
        if len(text) <= self._max_generation_bytes:
            return text
        shorter = self._without_media(asked)
        if shorter is not None:
            kept = _to_text({"messages": shorter})
            if len(kept) <= self._max_generation_bytes:
                return kept
        return _to_text({"prompt": _left_out(len(text))})

    def _complain(self, message: str, *values: object) -> None:
        now = time.monotonic()
        if now - self._said_at >= _COMPLAINT_INTERVAL_S:
            self._said_at = now
            _log.error(message, *values)


def _left_out(size: int) -> str:
    return f"[{size} bytes left out]"


def _to_text(value: Any) -> str:
    """Return JSON that every database stores: what PostgreSQL does not take, callers may send."""
    return _encode(value).decode(errors="replace").replace("\0", "\ufffd")
