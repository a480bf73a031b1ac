"""The way of generations into the database: at once into the journal, from there in batches by a task of its own.

Nothing of what `take` was given is lost on the way:

* The process is killed: it is in the journal, and another process of this machine writes it, the next that starts or
  within seconds one that runs: once, since rows that are there already stay as they are.
* The database is down or locked: the journal grows, the task tries again, and from `max_backlog_bytes` on
  `why_not_ready` says so, for new requests to be refused. What runs then is still taken.
* The journal cannot be written (disk full): generations wait in memory, and go to the database from there. If that is
  down, too, new requests are to be refused from half of `max_memory_bytes` on; beyond all of it generations are lost,
  which is counted and reported. So are those in memory when the process is killed.
* The database refuses a row for its values, which is a defect: it is put aside in the journal's directory.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from itertools import islice
from typing import Final

from openrouter_gateway.core.generation import Generation
from openrouter_gateway.stores.database import Database, DatabaseUnavailable, RowsRefused
from openrouter_gateway.stores.journal import Journal
from openrouter_gateway.stores.lines import encode_line
from openrouter_gateway.stores.rows import Row, to_row
from openrouter_gateway.stores.schema import GENERATIONS

_INTERVAL_S: Final = 0.25
_BATCH: Final = 512
_SLICE: Final = 64
"""Rows that are made in one go, which takes half a millisecond: requests are served between."""
_FIRST_PAUSE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 5.0
_COMPLAINT_INTERVAL_S: Final = 10.0
_log = logging.getLogger(__name__)


class Writer:
    """Takes generations of one process and writes them. `lost` counts those that were not to be saved."""

    def __init__(
        self,
        database: Database,
        journal: Journal[Generation],
        *,
        max_backlog_bytes: int,
        max_memory_bytes: int,
        adopt_interval_s: float,
    ) -> None:
        self._database = database
        self._journal = journal
        self._max_backlog_bytes = max_backlog_bytes
        self._max_memory_bytes = max_memory_bytes
        self._adopt_interval_s = adopt_interval_s
        self._memory: deque[tuple[Generation, bytes]] = deque()
        self._memory_bytes = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._wake = asyncio.Event()
        self._adopt_at = 0.0
        self._waiters: list[asyncio.Future[None]] = []
        self._journal_complaint = _Complaint()
        self._database_complaint = _Complaint()
        self.lost = 0

    @property
    def waiting(self) -> int:
        """How many generations are not in the database."""
        return self._journal.appended - self._journal.committed + len(self._memory)

    def start(self) -> None:
        """Begin to write; journal and database are open."""
        self._loop = asyncio.get_running_loop()
        self._adopt_at = self._loop.time() + self._adopt_interval_s
        self._task = self._loop.create_task(self._write_forever(), name="ledger-writer")

    async def stop(self) -> None:
        """End the task. What waits in memory goes to the journal, if that takes it again."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._task = self._loop = None
        lost = sum(not self._journal.append(generation, line) for generation, line in self._memory)
        self._memory.clear()
        self._memory_bytes = 0
        if lost:
            self.lost += lost
            _log.error("%d generations are lost: neither journal nor database could be written", lost)

    def take(self, generation: Generation, line: bytes) -> None:
        """Save one generation, whose line of the journal is `line`. Never raises."""
        if self._loop is None:
            self.lost += 1
            _log.error("generation %s ended after the ledger was closed: it is lost", generation.id)
            return
        if not self._journal.append(generation, line):
            self._keep_in_memory(generation, line)
        if self._timer is None:
            self._timer = self._loop.call_later(_INTERVAL_S, self._wake_up)

    def _wake_up(self) -> None:
        self._timer = None
        self._wake.set()

    def _keep_in_memory(self, generation: Generation, line: bytes) -> None:
        if self._memory_bytes + len(line) > self._max_memory_bytes:
            self.lost += 1
        else:
            self._memory.append((generation, line))
            self._memory_bytes += len(line)
        self._journal_complaint.say(
            "cannot write the ledger's journal: %s; %d generations are in memory only, %d are lost",
            self._journal.error,
            len(self._memory),
            self.lost,
        )

    def why_not_ready(self) -> str | None:
        """Return why new requests should be refused now, or None."""
        if self._journal.bytes > self._max_backlog_bytes:
            return "the ledger's database does not keep up, and its journal is full"
        if self._memory_bytes * 2 > self._max_memory_bytes:
            return "the ledger can write neither its journal nor its database"
        return None

    async def flush(self, *, adopt: bool = False) -> None:
        """Return when all that was taken is in the database; while that is down, for ever not.

        With `adopt` that includes what processes have left that are gone by now.
        """
        if adopt:
            self._adopt_at = 0.0
        elif not self.waiting:
            return
        done = asyncio.get_running_loop().create_future()
        self._waiters.append(done)
        self._wake.set()
        await done

    async def _write_forever(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._adopt_interval_s):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self._write()
            except (DatabaseUnavailable, OSError) as error:
                self._database_complaint.say("cannot write the ledger: %s; %d generations wait", error, self.waiting)
            except Exception:  # noqa: BLE001 - the last line of defence
                _log.exception("the ledger's writer failed; %d generations wait", self.waiting)
            else:
                pause_s = _FIRST_PAUSE_S
                continue
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            self._wake.set()

    async def _write(self) -> None:
        """Write all that has been taken by now.

        Raises:
            DatabaseUnavailable: some of it is left.
            OSError: likewise; the journal cannot be read.
        """
        waiters, self._waiters = self._waiters, []
        try:
            self._adopt_when_due()
            journal = self._journal
            target = journal.appended
            while journal.committed < target and (batch := journal.next_batch(_BATCH)):
                await self._insert(batch)
                journal.commit(len(batch))
            await self._write_memory()
        except BaseException:
            self._waiters = waiters + self._waiters
            raise
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _adopt_when_due(self) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._adopt_at:
            return
        self._adopt_at = now + self._adopt_interval_s
        before = self._journal.appended
        try:
            self._journal.adopt()
        except OSError as error:
            self._journal_complaint.say("cannot look for what other processes left in the ledger's journal: %s", error)
        if self._journal.appended > before:
            _log.warning("writing %d generations of a process that is gone", self._journal.appended - before)

    async def _write_memory(self) -> None:
        left = len(self._memory)
        while left:
            batch = list(islice(self._memory, min(left, _BATCH)))
            await self._insert([generation for generation, _ in batch])
            for _ in batch:
                self._memory_bytes -= len(self._memory.popleft()[1])
            left -= len(batch)

    async def _insert(self, generations: list[Generation]) -> None:
        rows: list[Row] = []
        for number, generation in enumerate(generations, start=1):
            try:
                rows.append(to_row(generation))
            except Exception:  # noqa: BLE001 - one defect must not hold up all others
                _log.exception("generation %s makes no row", generation.id)
                self._journal.reject(encode_line(generation)[1])
            if not number % _SLICE:
                await asyncio.sleep(0)
        try:
            await self._database.insert_new(GENERATIONS, rows)
        except RowsRefused:
            await self._insert_singly(generations)

    async def _insert_singly(self, generations: list[Generation]) -> None:
        """One of them is refused: find it, put it aside, and write the others."""
        for generation in generations:
            try:
                await self._database.insert_new(GENERATIONS, [to_row(generation)])
            except RowsRefused as error:
                _log.error("the database refuses generation %s: %s", generation.id, error)
                self._journal.reject(encode_line(generation)[1])


class _Complaint:
    """Says what is wrong at once, and then from time to time while it goes on."""

    def __init__(self) -> None:
        self._said_at = float("-inf")

    def say(self, message: str, *values: object) -> None:
        now = time.monotonic()
        if now - self._said_at >= _COMPLAINT_INTERVAL_S:
            self._said_at = now
            _log.error(message, *values)
