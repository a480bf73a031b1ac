"""The command `activity`: what was used, by model, key, day and provider, as the ledger has it, to the last decimal."""

import asyncio
import datetime as dt
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, cast

import msgspec
import typer
from msgspec import Struct
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.text import Text
from sqlalchemy import select

from openrouter_gateway.config.settings import config_path, load_settings, locate
from openrouter_gateway.errors import ConfigError
from openrouter_gateway.stores.database import Database, DatabaseUnavailable
from openrouter_gateway.stores.journal import count_waiting
from openrouter_gateway.stores.queries import DAY_US, Activity, Dimension, sum_activity
from openrouter_gateway.stores.schema import KEYS

_MOST_DAYS: Final = 36_500
_BAR_WIDTH: Final = 24
_LEAST_BAR_WIDTH: Final = 4
_GAP: Final = "  "
_TITLES: Final = ("USD", "Requests", "Tokens in", "Tokens out")
_PARTS: Final = ("", *"▏▎▍▌▋▊▉")
_HASH_SHOWN: Final = 12
_SUMS: Final = ("requests", "prompt_tokens", "completion_tokens", "reasoning_tokens", "cost", "reported_cost")
_out = Console(highlight=False)
_errors = Console(stderr=True, highlight=False, soft_wrap=True)


class Group(StrEnum):
    """What sums are for."""

    model = "model"
    key = "key"
    day = "day"
    provider = "provider"


_COLUMNS: Final[dict[Group, Dimension]] = {
    Group.model: "model",
    Group.key: "key_hash",
    Group.day: "day",
    Group.provider: "provider",
}
_OVERVIEW: Final = (Group.day, Group.model, Group.key)
_NOBODY: Final = {Group.model: "(no model found)", Group.key: "(no key)", Group.provider: "(nobody answered)"}


class Report(Struct, frozen=True, kw_only=True):
    """Sums over the UTC days from `since` to `until`, both included. `names` has those of keys by hash."""

    since: dt.date
    until: dt.date
    total: Activity
    groups: dict[Group, list[Activity]]
    names: dict[str, str]


def activity(
    days: Annotated[int, typer.Option(help="So many UTC days, today included.", min=1, max=_MOST_DAYS)] = 30,
    by: Annotated[Group | None, typer.Option(help="Only these sums.  [default: day, model and key]")] = None,
    config: Annotated[Path | None, typer.Option(help="Configuration file (TOML).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show spend, requests and tokens by day, model and key, from the ledger, whether or not a gateway runs."""
    path = config or config_path()
    today = dt.datetime.now(dt.UTC).date()
    try:
        record = load_settings(path).ledger
        report = asyncio.run(read_report(record.database_url, today, days, _OVERVIEW if by is None else (by,)))
    except ConfigError as error:
        _errors.print(f"[red]Cannot read the ledger:[/] {escape(locate(error, path))}")
        raise typer.Exit(2) from None
    except DatabaseUnavailable as error:
        _errors.print(f"[red]Cannot read the ledger:[/] {escape(error.message)}")
        raise typer.Exit(1) from None
    if as_json:
        text = msgspec.json.Encoder(decimal_format="number").encode(to_json(report))
        typer.echo(msgspec.json.format(text, indent=2).decode())
    else:
        _show(report)
    if waiting := count_waiting(record.journal_directory).lines:
        _errors.print(f"{waiting} generations are not in it yet: a running gateway writes them, or the next start.")


async def _is_empty(database: Database) -> bool:
    """Return whether nothing was ever recorded."""
    try:
        return not database.exists() or await database.read_revision() is None
    except DatabaseUnavailable as error:
        raise ConfigError(f"ledger.url: {error.message}") from None


async def read_report(url: str, today: dt.date, days: int, wanted: tuple[Group, ...]) -> Report:
    """Return the sums of the last days, all of one moment.

    Raises:
        ConfigError: the database cannot be used.
        DatabaseUnavailable: it cannot be read now.
    """
    since = max(today - dt.timedelta(days=days - 1), dt.date(1970, 1, 1))
    since_us, until_us = (_to_us(day) for day in (since, today + dt.timedelta(days=1)))
    database = Database(url)
    if await _is_empty(database):  # looking leaves nothing behind
        return Report(since=since, until=today, total=Activity(), groups={group: [] for group in wanted}, names={})
    await database.open(upgrade=False)
    try:
        async with database.transaction(isolation="REPEATABLE READ") as connection:

            async def sums(*by: Dimension) -> list[Activity]:
                return await sum_activity(connection, since_us=since_us, until_us=until_us, by=by, key_hash=None)

            total = await sums()
            groups = {group: await sums(_COLUMNS[group]) for group in wanted}
            rows = (await connection.execute(select(KEYS.c.hash, KEYS.c.name))).all()
    finally:
        await database.close()
    for group, found in groups.items():
        if group is Group.day:
            groups[group] = _with_empty_days(found, today)
        else:
            found.sort(key=lambda row: (-row.cost, -row.requests))
    names = {row.hash: row.name for row in rows}
    return Report(since=since, until=today, total=total[0] if total else Activity(), groups=groups, names=names)


def _with_empty_days(found: list[Activity], until: dt.date) -> list[Activity]:
    """Return one row for each day from the first that has any, so that a chart shows the pauses."""
    known = {row.day: row for row in found if row.day is not None}
    if not known:
        return []
    first = min(known)
    every = (first + dt.timedelta(days=number) for number in range((until - first).days + 1))
    return [known.get(day) or Activity(day=day) for day in every]


def to_json(report: Report) -> dict[str, Any]:
    """Return what `--json` prints: amounts are numbers with all of their digits."""
    groups = {
        group.value: [_identify(group, row, report) | {name: getattr(row, name) for name in _SUMS} for row in rows]
        for group, rows in report.groups.items()
    }
    total = {name: getattr(report.total, name) for name in _SUMS}
    return {"since": report.since, "until": report.until, "total": total, "by": groups}


def _identify(group: Group, row: Activity, report: Report) -> dict[str, Any]:
    value = getattr(row, _COLUMNS[group])
    if group is Group.key:
        return {"key_hash": value, "name": report.names.get(value)}
    return {group.value: value}


def _show(report: Report) -> None:
    total = report.total
    _out.print(
        f"{report.since} to {report.until} (UTC): {total.cost:f} USD, requests: {total.requests:,}, "
        f"tokens: {total.prompt_tokens:,} in, {total.completion_tokens:,} out",
        style="bold",
        soft_wrap=True,
    )
    for group, rows in report.groups.items():
        if rows:
            _out.print()
            _out.print(_table(group, rows, report), soft_wrap=True)


def _table(group: Group, rows: list[Activity], report: Report) -> Text:
    """Return lines whose amounts are whole however narrow the terminal is: bars are what gives way."""
    cells: list[tuple[str, ...]] = [(group.title(), *_TITLES)]
    for row in rows:
        counts = (f"{count:,}" for count in (row.requests, row.prompt_tokens, row.completion_tokens))
        cells.append((_name(group, row, report), f"{row.cost:f}", *counts))
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    room = _out.width - sum(widths) - len(_GAP) * len(widths) if _out.is_terminal else _BAR_WIDTH
    # Free models have bars, too: of their requests.
    weights = [row.cost for row in rows] if report.total.cost else [Decimal(row.requests) for row in rows]
    bars = ["", *(bar(weight, max(weights), _out.encoding, min(room, _BAR_WIDTH)) for weight in weights)]
    text = Text()
    for place, (line, drawn) in enumerate(zip(cells, bars, strict=True)):
        numbers = _GAP.join(f"{cell:>{width}}" for cell, width in zip(line[1:], widths[1:], strict=True))
        name = line[0] + " " * (widths[0] - cell_len(line[0]))
        text.append(f"{name}{_GAP}{numbers}", style="bold" if place == 0 else "")
        text.append(f"{_GAP}{drawn}\n" if drawn else "\n", style="cyan")
    text.rstrip()
    return text


def _name(group: Group, row: Activity, report: Report) -> str:
    value = getattr(row, _COLUMNS[group])
    if value is None:
        return _NOBODY[group]
    if group is Group.key:
        return _printable(report.names.get(value) or f"{cast('str', value)[:_HASH_SHOWN]}...")
    return _printable(str(value))


def bar(weight: Decimal, most: Decimal, encoding: str, width: int) -> str:
    """Return a bar that is `width` cells for the most; what is not nothing has at least an eighth of one."""
    if not weight > 0 or not most > 0 or width < _LEAST_BAR_WIDTH:
        return ""
    eighths = max(1, round(weight / most * width * 8))
    if not encoding.lower().startswith("utf"):
        return "#" * max(1, round(eighths / 8))
    return "█" * (eighths // 8) + _PARTS[eighths % 8]


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def _to_us(day: dt.date) -> int:
    return (day - dt.date(1970, 1, 1)).days * DAY_US
