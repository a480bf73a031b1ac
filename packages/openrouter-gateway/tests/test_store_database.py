"""The durable store's contract, which SQLite and PostgreSQL keep alike."""

import asyncio
import datetime as dt
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_samples import COST, CREATED_S, KEY, make_generation
from ledger_strategies import ANY_GENERATION
from sqlalchemy import Connection, delete, inspect, select, text

from openrouter_gateway.core.generation import Generation
from openrouter_gateway.core.usage import Cost, Usage
from openrouter_gateway.errors import ConfigError
from openrouter_gateway.stores.database import Database, DatabaseUnavailable, RowsRefused, parse_url
from openrouter_gateway.stores.queries import (
    DAY_US,
    Activity,
    Dimension,
    retire_oldest_day,
    select_generation,
    sum_activity,
    sum_costs,
)
from openrouter_gateway.stores.rows import from_row, to_row
from openrouter_gateway.stores.schema import DAILY_TOTALS, GENERATIONS, METADATA, REVISION, VERSION_TABLE

DAY = dt.date(2026, 2, 14)
DAY_START_US = 20498 * DAY_US
"""Of `CREATED_S`."""


def table_names(connection: Connection) -> list[str]:
    return sorted(inspect(connection).get_table_names())


async def insert(database: Database, *generations: Generation) -> None:
    await database.insert_new(GENERATIONS, [to_row(generation) for generation in generations])


async def everything(database: Database) -> list[Generation]:
    async with database.transaction() as connection:
        return [from_row(row) for row in await connection.execute(select(GENERATIONS).order_by(GENERATIONS.c.id))]


async def costs(database: Database, since_us: int = 0, key_hash: str | None = None) -> dict[str, Decimal]:
    async with database.transaction() as connection:
        return await sum_costs(connection, since_us, key_hash)


async def activity(database: Database, *by: Dimension, key_hash: str | None = None) -> list[Activity]:
    async with database.transaction() as connection:
        return await sum_activity(connection, since_us=0, until_us=2**60, by=by, key_hash=key_hash)


def on_day(number: int, day: int, **fields: Any) -> Generation:
    """Return a generation on a day counted from `DAY`."""
    return make_generation(number, created=CREATED_S + day * 86400, **fields)


class TestSchema:
    """Migrations make the tables that the code uses."""

    async def test_they_make_what_the_code_uses(self, database: Database) -> None:
        """No difference of tables, columns, types, nullability or indexes; the newest is the one the code names."""

        def differences(connection: Connection) -> Sequence[Any]:
            options = {"version_table": VERSION_TABLE, "compare_type": True}
            return compare_metadata(MigrationContext.configure(connection, opts=options), METADATA)

        async with database.transaction() as connection:
            assert await connection.run_sync(differences) == []
        config = Config()
        config.set_main_option("script_location", "openrouter_gateway:stores/migrations")
        config.set_main_option("path_separator", "os")
        assert ScriptDirectory.from_config(config).get_heads() == [REVISION]

    async def test_opening_again_changes_nothing(self, url: str, database: Database) -> None:
        """What is in it stays; it can be checked from inside an event loop as well."""
        await insert(database, make_generation(1))
        database.check()
        again = Database(url)
        await again.open()

        assert await everything(again) == [make_generation(1)]
        await again.close()

    def test_processes_that_start_together(self, url: str) -> None:
        """One migrates, the others wait for it."""
        program = "import sys; from openrouter_gateway.stores.database import Database; Database(sys.argv[1]).check()"
        processes = [
            subprocess.Popen([sys.executable, "-c", program, url], stderr=subprocess.PIPE, text=True) for _ in range(4)
        ]

        assert [process.communicate()[1] for process in processes] == [""] * 4

    async def test_a_newer_schema_is_refused(self, url: str, database: Database) -> None:
        """It is left as it is: what a newer version has written may not be understood."""
        async with database.transaction(immediate=True) as connection:
            await connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))  # noqa: S608

        with pytest.raises(ConfigError, match=rf"revision 9999, and this .* knows {REVISION} as the newest"):
            Database(url).check()

    async def test_foreign_tables_are_not_touched(self, url: str) -> None:
        """A table of a name of ours that is not ours stops the start with a reason, and nothing is left half done."""
        database = Database(url)
        await database.open()
        async with database.transaction(immediate=True) as connection:
            await connection.execute(text(f"DROP TABLE {VERSION_TABLE}"))
            await connection.execute(text("DROP TABLE generations"))
            before = await connection.run_sync(table_names)

        with pytest.raises(ConfigError, match="daily_totals"):
            database.check()
        async with database.transaction() as connection:
            assert await connection.run_sync(table_names) == before
        await database.close()


class TestInsertion:
    """Rows go in once."""

    async def test_a_row_that_is_there_stays(self, database: Database) -> None:
        """A journal that is read again changes nothing, also within one batch."""
        await insert(database, make_generation(1), make_generation(2), make_generation(1))
        await insert(database, make_generation(2, status=500), make_generation(3))

        assert await everything(database) == [make_generation(number) for number in (1, 2, 3)]

    async def test_a_value_that_no_database_takes(self, database: Database) -> None:
        """Refuses all of the batch, without saying the value."""
        poison = make_generation(2, status=2**70)

        with pytest.raises(RowsRefused) as refusal:
            await insert(database, make_generation(1), poison)
        assert str(2**70) not in str(refusal.value)
        assert await everything(database) == []
        await insert(database, make_generation(1))
        assert len(await everything(database)) == 1

    def test_any_split_into_batches_gives_the_same_rows(self, url: str) -> None:
        """Whatever comes, in whatever batches, overlapping or not, after any number of repetitions."""
        database = Database(url)

        async def clear() -> None:
            async with database.transaction(immediate=True) as connection:
                await connection.execute(delete(GENERATIONS))

        with asyncio.Runner() as runner:
            runner.run(database.open())

            @settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
            @given(
                st.lists(ANY_GENERATION, max_size=6, unique_by=lambda generation: generation.id),
                st.lists(st.tuples(st.integers(0, 5), st.integers(1, 6)), max_size=4),
            )
            def check(generations: list[Generation], slices: list[tuple[int, int]]) -> None:
                runner.run(clear())
                for start, count in [*slices, (0, 2), (2, 4)]:
                    if batch := generations[start : start + count]:
                        runner.run(insert(database, *batch))
                by_id = {generation.id: generation for generation in runner.run(everything(database))}
                assert {generation.id: generation for generation in generations} == by_id

            check()
            runner.run(database.close())


class TestQueries:
    """What is asked of the ledger."""

    async def test_one_generation(self, database: Database) -> None:
        """By its id, with everything."""
        generation = make_generation(1, trace={"trace_id": "t", "depth": [1, None]}, app_categories=["legal"], user="ü")
        await insert(database, generation, make_generation(2))

        async with database.transaction() as connection:
            assert await select_generation(connection, "gen-1") == generation
            assert await select_generation(connection, "gen-3") is None

    async def test_costs_of_keys(self, database: Database) -> None:
        """Exact sums per key from a moment on; generations without a key belong to none."""
        amounts = [
            Decimal("0.1"),
            Decimal("0.2"),
            Decimal("0.000000000000000001"),
            Decimal("999999.999999999999999999"),
        ]
        await insert(
            database,
            *(make_generation(number, cost=Cost(prompt=amount)) for number, amount in enumerate(amounts)),
            on_day(10, 1, key_hash="other"),
            on_day(11, 1),
            on_day(12, 1, key_hash=None),
        )
        total = sum(amounts, Decimal(0)) + COST

        assert await costs(database) == {KEY: total, "other": COST}
        assert await costs(database, DAY_START_US + DAY_US) == {KEY: COST, "other": COST}
        assert await costs(database, 0, "other") == {"other": COST}
        assert await costs(database, DAY_START_US + 3 * DAY_US) == {}

    async def test_a_billion_in_total(self, database: Database) -> None:
        """Sums do not overflow where a million a call do not."""
        cost = Cost(prompt=Decimal(10**6), completion=Decimal("-0.000000000000000001"))
        await insert(database, *(make_generation(number, cost=cost) for number in range(2_000)))

        assert await costs(database) == {KEY: Decimal(2 * 10**9) - Decimal("0.000000000000002")}

    async def test_activity(self, database: Database) -> None:
        """Sums by what is asked for; providers that report no cost add none."""
        reported = Usage(prompt_tokens=10, completion_tokens=5, reported_cost=Decimal("0.5"))
        await insert(
            database,
            make_generation(1),
            make_generation(2, model="b/two", provider="bmce", endpoint=None, usage=reported),
            on_day(3, 1, key_hash="other"),
            make_generation(4, model=None, provider=None, endpoint=None, cost=Cost(), usage=Usage()),
        )
        one = Activity(requests=1, prompt_tokens=3, completion_tokens=2, reasoning_tokens=1, cost=COST)

        def row(template: Activity = one, **fields: Any) -> Activity:
            return Activity(**{name: getattr(template, name) for name in Activity.__struct_fields__} | fields)

        assert await activity(database, "day", "model") == [
            Activity(day=DAY, requests=1),
            row(day=DAY, model="a/one"),
            row(
                day=DAY,
                model="b/two",
                prompt_tokens=10,
                completion_tokens=5,
                reasoning_tokens=0,
                reported_cost=Decimal("0.5"),
            ),
            row(day=DAY + dt.timedelta(days=1), model="a/one"),
        ]
        assert await activity(database, "key_hash", key_hash="other") == [row(key_hash="other")]
        assert await activity(database, "provider", "endpoint", key_hash="other") == [
            row(provider="acme", endpoint="acme/fp8")
        ]
        assert [total.requests for total in await activity(database)] == [4]
        assert await activity(database, key_hash="nobody") == []


class TestRetirement:
    """Old generations go, their totals stay."""

    async def retire(self, database: Database, day: int) -> list[int]:
        """Retire what ended before the start of a day counted from `DAY`."""
        counts: list[int] = []
        while (count := await retire_oldest_day(database, DAY_START_US + day * DAY_US)) is not None:
            counts.append(count)
        return counts

    async def test_totals_outlive_them(self, database: Database) -> None:
        """Sums are what they were, by every dimension, for whole days."""
        dimensions: list[Dimension] = ["day", "key_hash", "model", "provider", "endpoint"]
        await insert(
            database,
            on_day(1, 0),
            on_day(2, 0),
            on_day(3, 0, key_hash=None, model=None, provider=None, endpoint=None),
            on_day(4, 1, usage=Usage(prompt_tokens=1, reported_cost=Decimal("0.25"))),
            on_day(5, 2),
        )
        before = (
            await activity(database, *dimensions),
            await costs(database),
            await costs(database, DAY_START_US + DAY_US),
        )

        assert await self.retire(database, 2) == [3, 1]

        assert [generation.id for generation in await everything(database)] == ["gen-5"]
        assert before == (
            await activity(database, *dimensions),
            await costs(database),
            await costs(database, DAY_START_US + DAY_US),
        )
        assert await self.retire(database, 2) == []

    async def test_late_ones_are_added(self, database: Database) -> None:
        """A journal that is found later brings generations of a day that is retired already."""
        await insert(database, on_day(1, 0))
        await self.retire(database, 1)
        await insert(database, on_day(2, 0), on_day(3, 0, key_hash="other"))

        assert await self.retire(database, 1) == [2]
        assert await costs(database) == {KEY: 2 * COST, "other": COST}

    async def test_several_processes_at_once(self, url: str, database: Database) -> None:
        """While others retire and insert, nothing is counted twice or forgotten."""
        others = [Database(url) for _ in range(3)]
        for other in others:
            await other.open()
        for day in range(3):
            await insert(database, *(on_day(1_000 * day + number, day) for number in range(200)))

        async def retire_all(own: Database) -> None:
            for _ in range(12):
                try:
                    await retire_oldest_day(own, DAY_START_US + 3 * DAY_US)
                except DatabaseUnavailable:
                    await asyncio.sleep(0.01)

        async def insert_more() -> None:
            for number in range(30):
                await insert(database, on_day(10_000 + number, number % 3))

        await asyncio.gather(*(retire_all(other) for other in others), insert_more())
        await self.retire(database, 3)

        for other in others:
            await other.close()
        assert await costs(database) == {KEY: 630 * COST}
        assert await everything(database) == []
        async with database.transaction() as connection:
            totals = (await connection.execute(select(DAILY_TOTALS.c.requests))).scalars().all()
        assert list(totals) == [210, 210, 210]


class TestURL:
    """What operators write."""

    @pytest.mark.parametrize(
        ("written", "reason"),
        [
            ("mysql://root:hunter2@db/ledger", "mysql is not supported"),
            ("sqlite://", "give SQLite a file"),
            ("sqlite:///:memory:", "give SQLite a file"),
            ("hunter2", "not a database URL"),
            ("postgresql://gateway:hunter2@127.0.0.1:1/ledger", r"postgresql ledger at 127\.0\.0\.1:1: .*"),
            ("postgresql://gateway:hunter2@127.0.0.1:1/ledger?no_such=1", "postgresql ledger at 127"),
            ("sqlite:////proc/no/such/ledger.db", "cannot write /proc/no/such/ledger.db"),
        ],
    )
    def test_a_wrong_one(self, written: str, reason: str) -> None:
        """Is named with the reason, and without what may be a password."""
        with pytest.raises(ConfigError, match=rf"ledger\.url: {reason}") as refusal:
            Database(written).check()

        assert "hunter2" not in str(refusal.value)

    def test_a_file_that_is_no_database(self, tmp_path: Path) -> None:
        """Is not overwritten."""
        file = tmp_path / "notes.txt"
        file.write_text("mine, " * 1_000)

        with pytest.raises(ConfigError, match=r"ledger\.url: sqlite .*notes.txt: file is not a database"):
            Database(f"sqlite:///{file}").check()
        assert file.read_text() == "mine, " * 1_000

    def test_passwords_stay_out_of_sight(self) -> None:
        """Also in what is shown of the object."""
        assert "hunter2" not in repr(Database("postgresql://gateway:hunter2@db/ledger"))

    def test_tls_as_operators_know_it(self) -> None:
        """`sslmode` is libpq's word for what the driver calls `ssl`."""
        assert dict(parse_url("postgres://db/ledger?sslmode=require").query) == {"ssl": "require"}

    def test_without_the_driver(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """PostgreSQL is an extra."""
        monkeypatch.setitem(sys.modules, "asyncpg", None)

        with pytest.raises(ConfigError, match=r"openrouter-gateway\[postgres\]"):
            Database("postgresql://db/ledger").check()

    def test_a_new_file(self, tmp_path: Path) -> None:
        """Its directory is made; only the owner may read it; readers do not wait for writers."""
        Database(f"sqlite:///{tmp_path}/deep/ledger.db").check()

        file = tmp_path / "deep" / "ledger.db"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        connection = sqlite3.connect(file)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        connection.close()


class TestLocks:
    """SQLite has one writer at a time."""

    async def test_a_writer_waits(self, tmp_path: Path) -> None:
        """For another process's transaction to end, while readers go on."""
        database = Database(f"sqlite:///{tmp_path}/ledger.db")
        await database.open()
        other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        writing = asyncio.create_task(insert(database, make_generation(1)))
        await asyncio.sleep(0.1)

        assert await everything(database) == []
        assert not writing.done()
        other.execute("COMMIT")
        await writing
        assert len(await everything(database)) == 1
        other.close()
        await database.close()


def test_days_are_utc() -> None:
    """The constants above are the day of the sample."""
    assert DAY_START_US // DAY_US == (DAY - dt.date(1970, 1, 1)).days == int(CREATED_S // 86400)
