"""The ledger: one row per generation whatever happened, safe before its caller has the last byte.

`record` appends to a journal on local disk (`journal`); a task writes what has come together to the database (`writer`,
`database`), from where it is asked for (`queries`, `reports`).
"""

import asyncio
import contextlib
import datetime as dt
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from openrouter_gateway.core.generation import Generation
from openrouter_gateway.stores.database import Database, DatabaseUnavailable
from openrouter_gateway.stores.journal import Journal
from openrouter_gateway.stores.lines import decode_line, encode_line
from openrouter_gateway.stores.queries import (
    DAY_US,
    Activity,
    Dimension,
    retire_oldest_day,
    select_ended_after,
    select_generation,
    sum_activity,
    sum_costs,
)
from openrouter_gateway.stores.writer import Writer

_FIND_TIMEOUT_S: Final = 3.0
_SWEEP_INTERVAL_S: Final = 3600.0
_MICRO: Final = 1_000_000
_log = logging.getLogger(__name__)

Chore: TypeAlias = Callable[[Database], Awaitable[object]]
"""Deletes what is too old.

Raises:
    DatabaseUnavailable: something is left.
"""


class Tally(NamedTuple):
    """What keys have cost, in USD by hash, and which of the generations that are counted in it ended lately."""

    costs: dict[str, Decimal]
    lately: list[str]


class Ledger:
    """The ledger of one process. `url` names a database (`Database`), `journal` a directory that processes may share.

    `keep_days` is how many whole UTC days generations are kept, None for ever; older ones live on in daily totals.
    `chores` are run when it starts and every hour, as that is.
    `max_backlog_bytes` and `max_memory_bytes`: see `writer`. Journals of processes that are gone are looked for every
    `adopt_interval_s`.

    Raises:
        ConfigError: the URL is wrong.
    """

    def __init__(
        self,
        url: str,
        journal: Path,
        *,
        keep_days: int | None = None,
        chores: Sequence[Chore] = (),
        max_backlog_bytes: int = 1024**3,
        max_memory_bytes: int = 64 * 1024**2,
        adopt_interval_s: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = Database(url)
        self._journal = Journal(journal, decode_line)
        self._writer = Writer(
            self._database,
            self._journal,
            max_backlog_bytes=max_backlog_bytes,
            max_memory_bytes=max_memory_bytes,
            adopt_interval_s=adopt_interval_s,
        )
        self._chores: list[Callable[[], Awaitable[object]]] = [partial(chore, self._database) for chore in chores]
        if keep_days is not None:
            self._chores.append(partial(self.retire, keep_days))
        self._clock = clock
        self._sweeping: asyncio.Task[None] | None = None
        self._lost = 0
        self.recorded = 0

    def __repr__(self) -> str:
        return (
            f"<Ledger {self._database} recorded={self.recorded} waiting={self._writer.waiting} lost={self.lost} "
            f"torn={self._journal.torn} rejected={self._journal.rejected}>"
        )

    @property
    def lost(self) -> int:
        """How many generations are in neither journal nor database, and will not be."""
        return self._lost + self._writer.lost + self._journal.lost

    def check(self) -> None:
        """Try journal and database before anything is served, and bring the schema up to date. Needs no event loop.

        Raises:
            ConfigError: one of them cannot be used.
        """
        self._journal.check()
        self._database.check()

    async def start(self) -> None:
        """Begin. Returns when everything that earlier processes have left in the journal is in the database.

        Raises:
            ConfigError: journal or database cannot be used.
        """
        await self._database.open()
        try:
            left = self._journal.open()
        except BaseException:
            await self._database.close()
            raise
        self._writer.start()
        if left:
            _log.warning("writing %d generations that an earlier process left in the journal", left)
            await self._writer.flush()
        if self._chores:
            self._sweeping = asyncio.create_task(self._sweep_forever(), name="ledger-sweeper")

    async def close(self, timeout_s: float = 10.0) -> None:
        """Write what waits, if the database takes it in time; leave the rest in the journal."""
        await self._flush_within(timeout_s)
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)
        await self._writer.stop()
        if self._writer.waiting:
            _log.error("%d generations stay in the journal: the next start writes them", self._writer.waiting)
        self._journal.close()
        await self._database.close()

    def record(self, generation: Generation) -> None:
        """Make one generation safe: one write to a file. Never raises; `lost` counts what could not be saved."""
        self.recorded += 1
        try:
            generation, line = encode_line(generation)
        except Exception:  # noqa: BLE001 - a record must not spoil the answer
            self._lost += 1
            _log.exception("generation %s cannot be written down: it is lost", generation.id)
            return
        self._writer.take(generation, line)

    def why_not_ready(self) -> str | None:
        """Return why new requests should be refused now (503), or None."""
        return self._writer.why_not_ready()

    async def flush(self) -> None:
        """Return when all that was recorded is in the database; while that is down, for ever not."""
        await self._writer.flush()

    async def _flush_within(self, timeout_s: float, *, adopt: bool = False) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._writer.flush(adopt=adopt)

    async def find(self, generation_id: str) -> Generation | None:
        """Return a generation, also one that was recorded a moment ago: in this process, or in one that is gone.

        Raises:
            DatabaseUnavailable: it cannot be read now.
        """
        found = await self._select(generation_id)
        if found is None:
            await self._flush_within(_FIND_TIMEOUT_S, adopt=True)
            found = await self._select(generation_id)
        return found

    async def _select(self, generation_id: str) -> Generation | None:
        async with self._database.transaction() as connection:
            return await select_generation(connection, generation_id)

    async def activity(
        self,
        since: dt.date,
        until: dt.date,
        *,
        by: Collection[Dimension] = ("day", "model", "provider", "endpoint"),
        key_hash: str | None = None,
    ) -> list[Activity]:
        """Return sums over the UTC days from `since` up to, not including, `until`, for each group that has any.

        Raises:
            DatabaseUnavailable: it cannot be read now.
        """
        async with self._database.transaction() as connection:
            return await sum_activity(
                connection, since_us=_to_us(since), until_us=_to_us(until), by=by, key_hash=key_hash
            )

    async def costs(self, since_s: float = 0.0, *, key_hash: str | None = None) -> dict[str, Decimal]:
        """Return the exact USD that each key, or one key, has cost since a moment in unix seconds; no key, no entry.

        What waits does not count: `flush` first. Days that are no longer kept count whole.

        Raises:
            DatabaseUnavailable: it cannot be read now.
        """
        async with self._database.transaction() as connection:
            return await sum_costs(connection, round(since_s * _MICRO), key_hash)

    async def tally(self, since_s: float, *, ended_after_us: int, key_hash: str | None = None) -> Tally:
        """Return `costs`, and the ids of those among the generations in them that ended after a moment.

        Raises:
            DatabaseUnavailable: it cannot be read now.
        """
        since_us = round(since_s * _MICRO)
        async with self._database.transaction(isolation="REPEATABLE READ") as connection:  # one snapshot for both
            sums = await sum_costs(connection, since_us, key_hash)
            return Tally(sums, await select_ended_after(connection, ended_after_us, since_us, key_hash))

    async def retire(self, keep_days: int) -> int:
        """Delete the generations of all but the last `keep_days` whole UTC days and today; their totals stay.

        Returns how many were deleted.

        Raises:
            DatabaseUnavailable: some are left. The totals are right all the time.
        """
        before_us = (round(self._clock() * _MICRO) // DAY_US - keep_days) * DAY_US
        deleted = 0
        while (count := await retire_oldest_day(self._database, before_us)) is not None:
            deleted += count
        return deleted

    async def _sweep_forever(self) -> None:
        while True:
            for chore in self._chores:
                try:
                    await chore()
                except DatabaseUnavailable as error:
                    _log.error("cannot delete what is too old: %s", error.message)
            await asyncio.sleep(_SWEEP_INTERVAL_S)


def _to_us(day: dt.date) -> int:
    return (day - dt.date(1970, 1, 1)).days * DAY_US
