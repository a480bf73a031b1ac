"""What `doctor` and `activity` are made of: findings that are one line, sums that are exact, bars that fit."""

import asyncio
import datetime as dt
import sqlite3
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from ledger_samples import make_generation
from typer.testing import CliRunner

from openrouter_gateway.cli import app
from openrouter_gateway.cli_activity import Group, bar, read_report, to_json
from openrouter_gateway.config.rows import load_provider_rows
from openrouter_gateway.core.destination import Destination
from openrouter_gateway.core.usage import Cost
from openrouter_gateway.doctor.checkup import Wish, check_everything
from openrouter_gateway.errors import ConfigError
from openrouter_gateway.stores.database import Database
from openrouter_gateway.stores.destinations import Destinations
from openrouter_gateway.stores.journal import count_waiting
from openrouter_gateway.stores.ledger import Ledger
from openrouter_gateway.stores.queries import Activity
from openrouter_gateway.stores.schema import REVISION

TODAY = dt.date(2026, 2, 14)
NOON_S = dt.datetime(2026, 2, 14, 12, tzinfo=dt.UTC).timestamp()
DAY_S = 86_400


class TestActivity:
    """Reports of a ledger."""

    async def test_sums_are_exact_and_agree(self, url: str, tmp_path: Path) -> None:
        """Amounts of 18 decimals beside large ones; a day outside does not count, one without any is shown."""
        amounts = [Decimal("123456.000000000000000001"), Decimal("0.000000000000000007"), Decimal("0.1"), Decimal(5)]
        ledger = Ledger(url, tmp_path / "journal")
        await ledger.start()
        for number, (amount, days_ago) in enumerate(zip(amounts, (0, 2, 2, 30), strict=True)):
            created = NOON_S - days_ago * DAY_S
            cost = Cost(prompt=amount)
            key_hash = None if number == 1 else f"hash-{number}"
            ledger.record(make_generation(number, created=created, cost=cost, key_hash=key_hash, model=f"a/{number}"))
        await ledger.close()
        report = await read_report(url, TODAY, 30, tuple(Group))
        assert sum(amounts[:3], Decimal(0)) == report.total.cost
        for rows in report.groups.values():
            assert (report.total.cost, 3) == (sum(row.cost for row in rows), sum(row.requests for row in rows))
        shown = to_json(report)["by"]
        assert [2, 0, 1] == [row["requests"] for row in shown["day"]]
        assert ["a/0", "a/2", "a/1"] == [row["model"] for row in shown["model"]]
        assert ["hash-0", "hash-2", None] == [row["key_hash"] for row in shown["key"]]

    def test_looking_makes_no_database(self, tmp_path: Path) -> None:
        """A ledger that is not there has nothing in it, and a mistyped one is not made."""
        file = tmp_path / "not there" / "ledger.db"
        report = asyncio.run(read_report(f"sqlite:///{file}", TODAY, 30, tuple(Group)))
        assert (0, {group: [] for group in Group}) == (report.total.requests, report.groups)
        assert [] == list(tmp_path.iterdir())

    def test_bars_are_as_long_as_shares(self) -> None:
        """The longest has 24 cells, the least an eighth of one, nothing has none; other terminals get plain ones."""
        shares = [Decimal(24), Decimal(1), Decimal("0.01"), Decimal("1.5"), Decimal(0)]
        assert ["█" * 24, "█", "▏", "█▌", ""] == [bar(share, Decimal(24), "utf-8", 24) for share in shares]
        assert ["#" * 24, "#", "#", "##", ""] == [bar(share, Decimal(24), "ascii", 24) for share in shares]
        assert "" == bar(Decimal(1), Decimal(1), "utf-8", 3)  # there is no room for one


class TestDoctor:
    """Checks that need no other process."""

    async def test_old_prices_are_worth_a_warning(self, tmp_path: Path) -> None:
        """They are those of the snapshot, from whose day on the days are counted."""
        path = tmp_path / "gateway.toml"
        path.write_text(
            f'[embedded]\nenabled = false\n[providers.openai]\napi_key = "x"\n'
            f'[ledger]\nurl = "sqlite:///{tmp_path}/ledger.db"\njournal = "{tmp_path}/journal"\n[server]\nport = 0\n'
        )
        standings: list[str] = []
        for today in (dt.date(2026, 12, 1), dt.date(2027, 12, 1)):
            found = {each.check: each for each in await check_everything(path, Wish(offline=True), today)}
            standings.append(found["catalogue"].standing)
            assert "skipped" == found["provider openai"].standing
        assert ["ok", "warning"] == standings

    async def test_nothing_on_offer_is_a_failure(self, tmp_path: Path) -> None:
        """Whatever else is right."""
        path = tmp_path / "gateway.toml"
        path.write_text(f'[embedded]\nenabled = false\n[server]\nport = 0\n[ledger]\njournal = "{tmp_path}"\n')
        found = {each.check: each for each in await check_everything(path, Wish(offline=True), TODAY)}
        assert "failure" == found["catalogue"].standing

    async def test_a_schema_is_read_and_left_as_it_is(self, url: str) -> None:
        """None, an old one, and today's."""
        assert await Database(url).read_revision() is None
        database = Database(url)
        await database.open()
        await database.close()
        assert REVISION == await Database(url).read_revision()

    async def test_an_old_schema_stays_old(self, tmp_path: Path) -> None:
        """Looking brings nothing up to date."""
        file = tmp_path / "ledger.db"
        database = Database(f"sqlite:///{file}")
        await database.open()
        await database.close()
        connection = sqlite3.connect(file)
        with connection:
            connection.execute("UPDATE openrouter_gateway_schema SET version_num = '0001'")
        connection.close()
        with pytest.raises(ConfigError, match=r"revision 0001, .* reads 0005: the next `openrouter-gateway serve`"):
            await read_report(f"sqlite:///{file}", TODAY, 30, tuple(Group))
        assert ["0001"] * 2 == [await Database(f"sqlite:///{file}").read_revision() for _ in range(2)]

    async def test_a_database_without_tables_gets_none(self, url: str) -> None:
        """There is nothing to tell then."""
        report = await read_report(url, TODAY, 30, tuple(Group))
        assert report.total == Activity()
        assert await Database(url).read_revision() is None

    async def test_destinations_of_the_database_are_tried(self, tmp_path: Path) -> None:
        """As those of the configuration, unless they are switched off."""
        database = Database(f"sqlite:///{tmp_path}/ledger.db")
        await database.open()

        async def ignore(_: Sequence[Destination]) -> None: ...

        store = Destinations(database, ignore)
        await store.open(poll=False)
        for name, enabled in (("Down", True), ("Off", False)):
            config = {"url": "http://127.0.0.1:9/canary-path"}
            await store.create(Destination(id=name, type="webhook", name=name, config=config, enabled=enabled))
        await database.close()
        path = tmp_path / "gateway.toml"
        path.write_text(
            f'[embedded]\nenabled = false\n[server]\nport = 0\n[ledger]\nurl = "sqlite:///{tmp_path}/ledger.db"\n'
            f'journal = "{tmp_path}"\n'
        )
        found = {each.check: each for each in await check_everything(path, Wish(timeout_s=2), TODAY)}
        assert ("failure", "skipped") == (found["destination Down"].standing, found["destination Off"].standing)
        assert "canary" not in repr(found)

    def test_every_provider_has_a_path_to_try(self) -> None:
        """Below its base URL."""
        assert {True} == {row.probe.startswith("/") for row in load_provider_rows().values()}

    def test_names_cannot_steer_the_terminal(self, tmp_path: Path) -> None:
        """What operators and managers typed is shown with its control characters replaced, in one line."""
        path = tmp_path / "gateway.toml"
        path.write_text(
            f'[embedded]\nenabled = false\n[server]\nport = 0\n[ledger]\nurl = "sqlite:///{tmp_path}/l.db"\n'
            f'journal = "{tmp_path}"\n[[destinations]]\ntype = "webhook"\nname = "A\\u001b[31m\\n[bold]B"\n'
            '[destinations.config]\nurl = "http://127.0.0.1:9/x"\n'
        )
        said = CliRunner().invoke(app, ["doctor", "--offline", "--config", str(path)]).output
        assert "destination A\ufffd[31m\ufffd[bold]B" in said
        assert "\x1b" not in said


def test_what_waits_in_a_journal_is_counted_from_outside(tmp_path: Path) -> None:
    """Whole lines, by the oldest file that has any; a directory that is not there has none."""
    assert (0, 0) == count_waiting(tmp_path / "none")[::2]
    (tmp_path / "1-1-00000000.000000.jsonl").write_text("{}\n{}\n{")
    (tmp_path / "1-1-00000000.000001.jsonl").write_text("")
    (tmp_path / "1-1-00000000.rejected").write_text("{}\n")
    waiting = count_waiting(tmp_path)
    assert (2, 1) == (waiting.lines, waiting.rejected)
