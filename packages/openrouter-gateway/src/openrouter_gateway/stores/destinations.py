"""Destinations of the broadcast that were made by the API: kept in the database, known to every process.

Their credentials are in the database as they are: whoever can read it can use them.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import msgspec
from sqlalchemy import Row, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from openrouter_gateway.core.destination import Destination
from openrouter_gateway.errors import GatewayError
from openrouter_gateway.stores.database import Database
from openrouter_gateway.stores.schema import ACCOUNT_VERSION, DESTINATIONS

MOST_PER_TYPE: Final = 5
"""OpenRouter API, observability (2026-11-27)."""
POLL_INTERVAL_S: Final = 2.0
_MICRO: Final = 1_000_000
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Destination).decode
_log = logging.getLogger(__name__)
_T = TypeVar("_T")

OnChange = Callable[[Sequence[Destination]], Awaitable[None]]


class TooMany(Exception):
    """There are as many destinations of a type as there may be."""


class Destinations:
    """The destinations of one process's memory. `open` before anything else.

    `on_change` is told all of them when they have changed, here or in another process.
    """

    def __init__(self, database: Database, on_change: OnChange, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._on_change = on_change
        self._clock = clock
        self._version = -1
        self._known: dict[str, Destination] = {}
        self._turn = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Destinations {len(self._known)} version={self._version}>"

    @property
    def all(self) -> list[Destination]:
        """Every destination, oldest first; what another process has just changed may be missing: see `refresh`."""
        return list(self._known.values())

    async def open(self, *, poll: bool = True) -> None:
        """Read them, and look for changes from now on.

        Raises:
            DatabaseUnavailable: they cannot be read.
        """
        await self.refresh()
        if poll:
            self._watching = asyncio.create_task(self._watch(), name="destinations-watch")

    async def close(self) -> None:
        """Look for changes no longer."""
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
            await asyncio.wait([watching])

    async def _watch(self) -> None:
        """While they cannot be read, the known ones go on; the log says so once."""
        failed = False
        while True:
            await asyncio.sleep(POLL_INTERVAL_S)
            try:
                await self.refresh()
            except (GatewayError, ValueError) as error:
                if not failed:
                    _log.error("cannot look for changed destinations: %s", error)
                failed = True
            else:
                failed = False

    async def refresh(self) -> None:
        """Read them if something has changed, and tell.

        Raises:
            DatabaseUnavailable: they cannot be read now.
        """
        async with self._turn:
            async with self._database.transaction() as connection:
                version = (await connection.execute(select(ACCOUNT_VERSION.c.version))).scalar_one()
                if version == self._version:
                    return
                order = (DESTINATIONS.c.created_us, DESTINATIONS.c.id)
                rows = (await connection.execute(select(DESTINATIONS).order_by(*order))).all()
            known = {row.id: read for row in rows if (read := _from_row(row)) is not None}
            if known != self._known or self._version < 0:
                await self._on_change(list(known.values()))
            self._known = known
            self._version = version

    async def create(self, destination: Destination) -> Destination:
        """Keep a new one; its times are filled in.

        Raises:
            TooMany: of its type.
            DatabaseUnavailable: it is not kept.
        """
        now = self._clock()
        made = msgspec.structs.replace(destination, created_at=now, updated_at=now)

        async def insert(connection: AsyncConnection) -> None:
            of_type = select(func.count()).select_from(DESTINATIONS).where(DESTINATIONS.c.type == made.type)
            if (await connection.execute(of_type)).scalar_one() >= MOST_PER_TYPE:
                raise TooMany
            await connection.execute(DESTINATIONS.insert().values(_to_row(made)))

        await self._change(insert)
        return made

    async def change(self, destination_id: str, merge: Callable[[Destination], Destination]) -> Destination | None:
        """Keep what `merge` makes of one; None if there is no such one any more, or none that can be read.

        `merge` is given what is in the database, whatever other processes have made of it, and nobody else changes it
        meanwhile. What it raises goes through, and nothing has changed; so it must not wait for anything.

        Raises:
            DatabaseUnavailable: nothing has changed.
        """

        async def write(connection: AsyncConnection) -> Destination | None:
            of_id = DESTINATIONS.c.id == destination_id
            row = (await connection.execute(select(DESTINATIONS).where(of_id))).one_or_none()
            known = None if row is None else _from_row(row)
            if known is None:
                return None
            made = msgspec.structs.replace(merge(known), updated_at=self._clock())
            await connection.execute(update(DESTINATIONS).where(of_id).values(_to_row(made)))
            return made

        return await self._change(write)

    async def delete(self, destination_id: str) -> bool:
        """Forget one, with its credentials. Returns whether there was one.

        Raises:
            DatabaseUnavailable: nothing has changed.
        """

        async def remove(connection: AsyncConnection) -> bool:
            return (
                await connection.execute(delete(DESTINATIONS).where(DESTINATIONS.c.id == destination_id))
            ).rowcount > 0

        return await self._change(remove)

    async def _change(self, write: Callable[[AsyncConnection], Awaitable[_T]]) -> _T:
        """Write under the lock of the version's row, so that changes have an order; then read what is true now.

        The row is written first, and so locked on PostgreSQL; SQLite has one writer at a time. Either way what `write`
        reads is what it changes.
        """
        async with self._database.transaction(immediate=True) as connection:
            version = ACCOUNT_VERSION.c.version
            await connection.execute(update(ACCOUNT_VERSION).values(version=version + 1))
            result = await write(connection)
        try:
            await self.refresh()
        except GatewayError as error:
            _log.warning("cannot read destinations back: %s", error.message)
        return result


def _to_row(destination: Destination) -> dict[str, str | int]:
    return {
        "id": destination.id,
        "type": destination.type,
        "settings": _encode(destination).decode(),
        "created_us": round(destination.created_at * _MICRO),
        "updated_us": round((destination.updated_at or destination.created_at) * _MICRO),
    }


def _from_row(row: Row[tuple[str, ...]]) -> Destination | None:
    """Return what a row has; None of one that another version wrote and this one cannot read."""
    try:
        return _decode(row.settings)
    except msgspec.MsgspecError:
        _log.error("destination %s cannot be read by this version, and gets nothing", row.id)
        return None
