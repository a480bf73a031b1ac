"""What is asked of the ledger, as statements on an open connection."""

import datetime as dt
from collections.abc import Collection
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct
from sqlalchemy import BigInteger, ColumnElement, Subquery, delete, func, literal, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from openrouter_gateway.core.generation import Generation
from openrouter_gateway.stores.database import Database
from openrouter_gateway.stores.money import join_usd
from openrouter_gateway.stores.rows import from_row
from openrouter_gateway.stores.schema import DAILY_TOTALS, DIMENSIONS, GENERATIONS, SUMS

DAY_US: Final = 24 * 60 * 60 * 1_000_000
Dimension: TypeAlias = Literal["day", "key_hash", "model", "provider", "endpoint"]

_generation = GENERATIONS.c
_total = DAILY_TOTALS.c
_total_keys: Final = ("day", *DIMENSIONS)


class Activity(Struct, frozen=True, kw_only=True):
    """Sums over generations, in USD and tokens. What was not grouped by is None, as is what a generation had not.

    `day` is in UTC. `reported_cost` is the sum of what providers reported; those that report nothing add nothing.
    """

    day: dt.date | None = None
    key_hash: str | None = None
    model: str | None = None
    provider: str | None = None
    endpoint: str | None = None
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    cost: Decimal = Decimal(0)
    reported_cost: Decimal = Decimal(0)


async def select_generation(connection: AsyncConnection, generation_id: str) -> Generation | None:
    """Return one generation."""
    row = (await connection.execute(select(GENERATIONS).where(_generation.id == generation_id))).one_or_none()
    return None if row is None else from_row(row)


async def sum_activity(
    connection: AsyncConnection,
    *,
    since_us: int,
    until_us: int,
    by: Collection[Dimension],
    key_hash: str | None,
) -> list[Activity]:
    """Return sums for each group that has any, ordered by the dimensions."""
    every = _every_generation(since_us, until_us, key_hash)
    groups = [every.c[name] for name in by]
    statement = select(*groups, *(func.sum(every.c[name]).label(name) for name in SUMS)).group_by(*groups)
    rows = await connection.execute(statement.order_by(*groups))
    return [_to_activity(row) for row in rows.mappings() if row["requests"]]


def _to_activity(row: Any) -> Activity:
    day = row.get("day")
    return Activity(
        day=None if day is None else dt.date(1970, 1, 1) + dt.timedelta(days=int(day)),
        key_hash=row.get("key_hash") or None,
        model=row.get("model") or None,
        provider=row.get("provider") or None,
        endpoint=row.get("endpoint") or None,
        requests=int(row["requests"]),
        prompt_tokens=int(row["prompt_tokens"]),
        completion_tokens=int(row["completion_tokens"]),
        reasoning_tokens=int(row["reasoning_tokens"]),
        cost=join_usd(row["cost_nano"], row["cost_atto"]),
        reported_cost=join_usd(row["reported_nano"], row["reported_atto"]),
    )


def _every_generation(since_us: int, until_us: int, key_hash: str | None) -> Subquery:
    """Generations as rows of the daily totals' shape, each a total of one, and the daily totals themselves."""
    kept = select(*_as_totals()).where(_generation.created_us >= since_us, _generation.created_us < until_us)
    gone = select(DAILY_TOTALS).where(_total.day >= since_us // DAY_US, _total.day < -(-until_us // DAY_US))
    if key_hash is not None:
        kept = kept.where(_generation.key_hash == key_hash)
        gone = gone.where(_total.key_hash == key_hash)
    return union_all(kept, gone).subquery()


def _as_totals() -> list[ColumnElement[Any]]:
    """The columns of `daily_totals`, for one generation."""
    return [
        (_generation.created_us // DAY_US).label("day"),
        *(func.coalesce(_generation[name], "").label(name) for name in DIMENSIONS),
        literal(1, BigInteger).label("requests"),
        *(func.coalesce(_generation[name], 0).label(name) for name in SUMS[1:]),
    ]


async def sum_costs(connection: AsyncConnection, since_us: int, key_hash: str | None) -> dict[str, Decimal]:
    """Return what each key's generations have cost since a moment, or one key's."""
    sums: dict[str, Decimal] = {}
    for table, recent in (
        (GENERATIONS, _generation.created_us >= since_us),
        (DAILY_TOTALS, _total.day >= since_us // DAY_US),
    ):
        key = table.c.key_hash
        statement = select(key, func.sum(table.c.cost_nano), func.sum(table.c.cost_atto)).where(recent).group_by(key)
        rows = await connection.execute(statement if key_hash is None else statement.where(key == key_hash))
        for found, nano, atto in rows:
            if found:
                sums[found] = sums.get(found, Decimal(0)) + join_usd(nano, atto)
    return sums


async def select_ended_after(
    connection: AsyncConnection, moment_us: int, since_us: int, key_hash: str | None
) -> list[str]:
    """Return the ids of generations that began since one moment and ended after another, of all keys or of one."""
    ended_us = _generation.created_us + _generation.duration_us
    statement = select(_generation.id).where(_generation.created_us >= since_us, ended_us > moment_us)
    if key_hash is not None:
        statement = statement.where(_generation.key_hash == key_hash)
    return list((await connection.execute(statement)).scalars())


async def retire_oldest_day(database: Database, before_us: int) -> int | None:
    """Add the generations of the oldest day that ends by `before_us` to the daily totals, and delete them.

    Returns how many they were; None when there is no such day, or another process is at it.

    Raises:
        DatabaseUnavailable: nothing has changed.
    """
    # What others commit meanwhile must be neither deleted nor counted: one snapshot for both.
    async with database.transaction(immediate=True, isolation="REPEATABLE READ") as connection:
        if not await database.lock(connection, wait=False):
            return None
        oldest_us = (await connection.execute(select(func.min(_generation.created_us)))).scalar()
        if oldest_us is None or (end_us := (oldest_us // DAY_US + 1) * DAY_US) > before_us:
            return None
        every = select(*_as_totals()).where(_generation.created_us < end_us).subquery()
        groups = [every.c[name] for name in _total_keys]
        sums = select(*groups, *(func.sum(every.c[name]) for name in SUMS)).group_by(*groups)
        addition = database.insert_into(DAILY_TOTALS).from_select([*_total_keys, *SUMS], sums)
        added = {name: _total[name] + addition.excluded[name] for name in SUMS}
        await connection.execute(addition.on_conflict_do_update(index_elements=list(_total_keys), set_=added))
        deleted = await connection.execute(delete(GENERATIONS).where(_generation.created_us < end_us))
        return deleted.rowcount
