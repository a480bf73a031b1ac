"""Keys and credits: kept in the database, looked up in memory.

Requests never wait for the database: they see what was true at most `POLL_INTERVAL_S` ago, which is how long a key
that another process revokes goes on working. While the database is down, what was known last goes on being true.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import Struct
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from openrouter_gateway.accounting.authorize import KEY_PREFIX, hash_key, mask_key
from openrouter_gateway.core.account import Key, Rates
from openrouter_gateway.errors import GatewayError
from openrouter_gateway.stores.database import Database, DatabaseUnavailable
from openrouter_gateway.stores.money import join_usd, split_usd
from openrouter_gateway.stores.schema import ACCOUNT_VERSION, CREDITS, KEYS

POLL_INTERVAL_S: Final = 1.0
_MICRO: Final = 1_000_000
_log = logging.getLogger(__name__)


class NewKey(Struct, frozen=True, kw_only=True):
    """A key that was just made; `secret` is shown once and kept nowhere."""

    key: Key
    secret: str

    def __repr__(self) -> str:
        return f"<NewKey {self.key.label}>"


class Accounts:
    """The keys and credits of one process's memory. `open` before anything else."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._version = -1
        self._keys: dict[str, Key] = {}
        self._ever: set[str] = set()
        self._poll: asyncio.Task[None] | None = None
        self.credits: Decimal | None = None

    def __repr__(self) -> str:
        return f"<Accounts keys={len(self._keys)} version={self._version}>"

    @property
    def keys(self) -> Mapping[str, Key]:
        """Keys by hash, also disabled and expired ones."""
        return self._keys

    @property
    def hashes(self) -> set[str]:
        """The hashes of all keys that ever were: what they used was used."""
        return self._ever

    @property
    def has_keys(self) -> bool:
        """Whether there has ever been a key: from then on there is no access without one, also when all are gone."""
        return bool(self._ever)

    async def open(self, *, poll: bool = True) -> None:
        """Read everything, and look for changes from now on.

        Raises:
            DatabaseUnavailable: it cannot be read.
        """
        await self.refresh()
        if poll:
            self._poll = asyncio.create_task(self._poll_forever(), name="accounts-poll")

    async def close(self) -> None:
        """Look for changes no longer."""
        if self._poll is not None:
            self._poll.cancel()
            await asyncio.gather(self._poll, return_exceptions=True)
            self._poll = None

    async def _poll_forever(self) -> None:
        complained = False
        while True:
            await asyncio.sleep(POLL_INTERVAL_S)
            try:
                await self.refresh()
                complained = False
            except GatewayError as error:
                if not complained:
                    _log.error("cannot look for changed keys, the known ones go on: %s", error.message)
                complained = True

    async def refresh(self) -> None:
        """Read what has changed.

        Raises:
            DatabaseUnavailable: it cannot be read now.
        """
        async with self._database.transaction() as connection:
            version = (await connection.execute(select(ACCOUNT_VERSION.c.version))).scalar_one()
            if version == self._version:
                return
            rows = (await connection.execute(select(KEYS).where(KEYS.c.version > self._version))).all()
            paid = (
                await connection.execute(
                    select(func.count(CREDITS.c.id), func.sum(CREDITS.c.nano), func.sum(CREDITS.c.atto))
                )
            ).one()
        if version < self._version:  # a slower read of before our own change
            return
        for row in rows:
            self._take(row)
        self.credits = join_usd(paid[1], paid[2]) if paid[0] else None
        self._version = version

    def _take(self, row: Any) -> None:
        self._ever.add(row.hash)
        if row.deleted_us is None:
            self._keys[row.hash] = _from_row(row)
        else:
            self._keys.pop(row.hash, None)

    async def create(self, key: Key) -> NewKey:
        """Make a key with the attributes of one; hash, label and creation time are filled in.

        Raises:
            DatabaseUnavailable: it is not made.
        """
        secret = KEY_PREFIX + secrets.token_hex(32)
        key = msgspec.structs.replace(
            key, hash=hash_key(secret), label=mask_key(secret), created_at=self._now_us() / _MICRO
        )
        async with self._database.transaction(immediate=True) as connection:
            version = await _raise_version(connection)
            await connection.execute(KEYS.insert().values(_to_row(key) | {"version": version}))
        await self._refresh_after_change()
        return NewKey(key=key, secret=secret)

    async def change(self, key_hash: str, fields: Mapping[str, Any]) -> Key | None:
        """Set some of a key's attributes; None if there is no such key.

        Raises:
            DatabaseUnavailable: nothing has changed.
        """
        async with self._database.transaction(immediate=True) as connection:
            version = await _raise_version(connection)
            living = (KEYS.c.hash == key_hash, KEYS.c.deleted_us.is_(None))
            row = (await connection.execute(select(KEYS).where(*living))).one_or_none()
            if row is None:
                return None
            key = msgspec.structs.replace(_from_row(row), **fields, updated_at=self._now_us() / _MICRO)
            await connection.execute(update(KEYS).where(*living).values(_to_row(key) | {"version": version}))
        await self._refresh_after_change()
        return key

    async def delete(self, key_hash: str) -> bool:
        """Revoke a key for good; its generations stay in the ledger. Returns whether there was one.

        Raises:
            DatabaseUnavailable: nothing has changed.
        """
        async with self._database.transaction(immediate=True) as connection:
            version = await _raise_version(connection)
            living = (KEYS.c.hash == key_hash, KEYS.c.deleted_us.is_(None))
            values = {"version": version, "deleted_us": self._now_us()}
            found = await connection.execute(update(KEYS).where(*living).values(values))
        await self._refresh_after_change()
        return found.rowcount > 0

    async def add_credits(self, amount: Decimal, note: str | None = None) -> Decimal:
        """Pay in, or take back what is negative; from the first time on, credits limit all keys together.

        Returns all that was paid in.

        Raises:
            DatabaseUnavailable: nothing has changed.
        """
        nano, atto = split_usd(amount)
        async with self._database.transaction(immediate=True) as connection:
            await _raise_version(connection)
            await connection.execute(
                CREDITS.insert().values(
                    id=secrets.token_hex(10), created_us=self._now_us(), nano=nano, atto=atto, note=note
                )
            )
        await self.refresh()
        return self.credits or Decimal(0)

    async def _refresh_after_change(self) -> None:
        """What was changed is true whether or not it can be read again now: the next poll does."""
        try:
            await self.refresh()
        except DatabaseUnavailable as error:
            _log.warning("cannot read keys back: %s", error.message)

    def _now_us(self) -> int:
        return round(self._clock() * _MICRO)


async def _raise_version(connection: AsyncConnection) -> int:
    """Begin a change. The row's lock puts changes in an order: what has a lower version is committed before."""
    version = ACCOUNT_VERSION.c.version
    statement = update(ACCOUNT_VERSION).values(version=version + 1).returning(version)
    return (await connection.execute(statement)).scalar_one()


def _to_row(key: Key) -> dict[str, Any]:
    limit = (None, None) if key.limit is None else split_usd(key.limit)
    rates = key.rates
    return {
        "hash": key.hash,
        "label": key.label,
        "name": key.name,
        "management": key.management,
        "disabled": key.disabled,
        "limit_nano": limit[0],
        "limit_atto": limit[1],
        "limit_reset": key.limit_reset,
        "include_byok_in_limit": key.include_byok_in_limit,
        "requests_per_minute": rates.requests_per_minute,
        "tokens_per_minute": rates.tokens_per_minute,
        "concurrent_requests": rates.concurrent_requests,
        "created_us": _to_us(key.created_at),
        "updated_us": _to_us(key.updated_at),
        "expires_us": _to_us(key.expires_at),
    }


def _from_row(row: Any) -> Key:
    return Key(
        hash=row.hash,
        label=row.label,
        name=row.name,
        created_at=row.created_us / _MICRO,
        updated_at=None if row.updated_us is None else row.updated_us / _MICRO,
        expires_at=None if row.expires_us is None else row.expires_us / _MICRO,
        management=row.management,
        disabled=row.disabled,
        limit=None if row.limit_nano is None else join_usd(row.limit_nano, row.limit_atto),
        limit_reset=row.limit_reset,
        include_byok_in_limit=row.include_byok_in_limit,
        rates=Rates(
            requests_per_minute=row.requests_per_minute,
            tokens_per_minute=row.tokens_per_minute,
            concurrent_requests=row.concurrent_requests,
        ),
    )


def _to_us(moment: float | None) -> int | None:
    return None if moment is None else round(moment * _MICRO)
