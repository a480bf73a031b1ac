"""The commands `keys` and `credits`: on the configured store, whether or not a gateway runs.

A running gateway sees what changes here within about a second.
"""

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import msgspec
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from openrouter_gateway.accounting.authorize import hash_key
from openrouter_gateway.accounting.limits import period_start
from openrouter_gateway.core.account import Key, Rates
from openrouter_gateway.errors import ConfigError, GatewayError
from openrouter_gateway.stores.accounts import Accounts
from openrouter_gateway.stores.database import Database
from openrouter_gateway.stores.money import usd_text
from openrouter_gateway.stores.queries import sum_costs

StoreURL = Callable[[Path | None], str]
"""Returns the store's URL of a configuration file, or of the environment.

Raises:
    ConfigError: there is none.
"""

_T = TypeVar("_T")
_MICRO: Final = 1_000_000
_MOST: Final = Decimal(1_000_000)
_FINEST: Final = -18
_ZERO: Final = Decimal(0)
_errors = Console(stderr=True, highlight=False, soft_wrap=True)
_out = Console(highlight=False)

Config = Annotated[Path | None, typer.Option(help="Configuration file (TOML).")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Period(StrEnum):
    """When a limit starts anew, in UTC."""

    daily = "daily"
    weekly = "weekly"
    monthly = "monthly"


def build_apps(store_url: StoreURL) -> tuple[typer.Typer, typer.Typer]:
    """Return the commands `keys` and `credits`."""
    return _build_keys(store_url), _build_credits(store_url)


def _run(url: Callable[[], str], work: Callable[[Database, Accounts], Awaitable[_T]]) -> _T:
    try:
        return asyncio.run(_with_store(url(), work))
    except ConfigError as error:
        _errors.print(f"[red]Cannot use the store:[/] {escape(str(error))}")
        raise typer.Exit(2) from None
    except GatewayError as error:
        _errors.print(f"[red]Failed:[/] {escape(str(error))}")
        raise typer.Exit(1) from None


def _build_keys(store_url: StoreURL) -> typer.Typer:
    keys = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)

    @keys.command("create")
    def create(  # pyright: ignore[reportUnusedFunction]
        name: Annotated[str, typer.Argument(help="What it is for.")],
        config: Config = None,
        limit: Annotated[str | None, typer.Option(help="USD that it may use.", metavar="USD")] = None,
        limit_reset: Annotated[Period | None, typer.Option(help="The limit is per day, week or month.")] = None,
        expires_at: Annotated[
            dt.datetime | None, typer.Option(help="When it ends, in UTC.", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"])
        ] = None,
        requests_per_minute: Annotated[int | None, typer.Option(min=1)] = None,
        tokens_per_minute: Annotated[int | None, typer.Option(min=1)] = None,
        concurrent_requests: Annotated[int | None, typer.Option(min=1)] = None,
        management: Annotated[bool, typer.Option("--management", help="May manage keys, not run inference.")] = False,
        as_json: Json = False,
    ) -> None:
        """Make a key. It is shown this once."""
        wanted = Key(
            hash="",
            label="",
            name=name,
            created_at=0,
            management=management,
            limit=None if limit is None else _parse_usd(limit, lowest=_ZERO),
            limit_reset=None if limit_reset is None else limit_reset.value,
            expires_at=None if expires_at is None else expires_at.replace(tzinfo=dt.UTC).timestamp(),
            rates=Rates(
                requests_per_minute=requests_per_minute,
                tokens_per_minute=tokens_per_minute,
                concurrent_requests=concurrent_requests,
            ),
        )

        made = _run(lambda: store_url(config), lambda _, accounts: accounts.create(wanted))
        if as_json:
            _print_json({"key": made.secret, "data": _row(made.key, _ZERO)})
            return
        typer.echo(made.secret)
        _errors.print(f"This is the only time that it is shown. Its hash is {made.key.hash}")

    @keys.command("list")
    def show(config: Config = None, as_json: Json = False) -> None:  # pyright: ignore[reportUnusedFunction]
        """List keys, with what they have used in the period of their limit."""
        rows = _run(lambda: store_url(config), _list_keys)
        if as_json:
            _print_json(rows)
            return
        table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        table.add_column("Key", no_wrap=True)  # to find it again by: whatever is narrow, this is whole
        for title in ("Name", "Kind", "Limit", "Used", "Rates", "Expires", "State"):
            table.add_column(title, overflow="fold", min_width=10 if title == "Expires" else None)  # whole days
        for row in rows:
            table.add_row(*(escape(text) for text in _cells(row)))
        _out.print(table if rows else "There are no keys: `openrouter-gateway keys create NAME` makes one.")

    @keys.command("revoke")
    def revoke(  # pyright: ignore[reportUnusedFunction]
        which: Annotated[str, typer.Argument(help="The key, its hash, its label or its name.", metavar="KEY")],
        config: Config = None,
        as_json: Json = False,
    ) -> None:
        """Revoke a key for good. What it has used stays in the ledger."""

        async def work(_: Database, accounts: Accounts) -> Key:
            key = _find(accounts, which)
            await accounts.delete(key.hash)
            return key

        key = _run(lambda: store_url(config), work)
        if as_json:
            _print_json({"deleted": True, "hash": key.hash})
        else:
            _out.print(f"Revoked {escape(key.name)} ({escape(key.label)}).")

    return keys


def _build_credits(store_url: StoreURL) -> typer.Typer:
    credit = typer.Typer(help="Credits, which all keys share.", no_args_is_help=True)

    @credit.callback()
    def _group() -> None: ...  # pyright: ignore[reportUnusedFunction]

    @credit.command("add", context_settings={"ignore_unknown_options": True})
    def add(  # pyright: ignore[reportUnusedFunction]
        amount: Annotated[str, typer.Argument(help="USD; negative to take back.", metavar="USD")],
        config: Config = None,
        note: Annotated[str | None, typer.Option(help="What it was for.")] = None,
        as_json: Json = False,
    ) -> None:
        """Pay in. From the first time on, all keys together may use no more than was paid in."""
        paid = _parse_usd(amount, lowest=-_MOST)
        total = _run(lambda: store_url(config), lambda _, accounts: accounts.add_credits(paid, note))
        if as_json:
            _print_json({"total_credits": total})
        else:
            _out.print(f"{usd_text(total)} USD were paid in altogether.")

    return credit


async def _with_store(url: str, work: Callable[[Database, Accounts], Awaitable[_T]]) -> _T:
    database = Database(url)
    await database.open()
    try:
        accounts = Accounts(database)
        await accounts.open(poll=False)
        return await work(database, accounts)
    finally:
        await database.close()


def has_keys(url: str) -> bool:
    """Return whether a store has, or ever had, a key.

    Raises:
        ConfigError: the store cannot be used.
    """

    async def look(_: Database, accounts: Accounts) -> bool:
        return accounts.has_keys

    return asyncio.run(_with_store(url, look))


async def _list_keys(database: Database, accounts: Accounts) -> list[dict[str, Any]]:
    now = dt.datetime.now(dt.UTC).timestamp()
    rows: list[dict[str, Any]] = []
    async with database.transaction() as connection:
        for key in sorted(accounts.keys.values(), key=lambda key: key.created_at):
            start = round(period_start(key.limit_reset, now) * _MICRO)
            used = (await sum_costs(connection, start, key.hash)).get(key.hash, _ZERO)
            rows.append(_row(key, used))
    return rows


def _row(key: Key, used: Decimal) -> dict[str, Any]:
    expired = key.expires_at is not None and key.expires_at <= dt.datetime.now(dt.UTC).timestamp()
    return {
        "hash": key.hash,
        "label": key.label,
        "name": key.name,
        "management": key.management,
        "limit": key.limit,
        "limit_reset": key.limit_reset,
        "usage_in_period": used,
        **{name: getattr(key.rates, name) for name in Rates.__struct_fields__},
        "created_at": _iso(key.created_at),
        "expires_at": _iso(key.expires_at),
        "state": "disabled" if key.disabled else "expired" if expired else "active",
    }


def _cells(row: dict[str, Any]) -> list[str]:
    limit = "-" if row["limit"] is None else f"{usd_text(row['limit'])} USD {row['limit_reset'] or ''}".rstrip()
    units = (("requests_per_minute", "req/min"), ("tokens_per_minute", "tok/min"), ("concurrent_requests", "at once"))
    rates = "\n".join(f"{row[name]} {unit}" for name, unit in units if row[name] is not None)
    return [
        row["label"],
        row["name"],
        "manage" if row["management"] else "infer",
        limit,
        f"{usd_text(row['usage_in_period'])} USD",
        rates or "-",
        (row["expires_at"] or "-").replace("T", " ").removesuffix("+00:00"),
        row["state"],
    ]


def _find(accounts: Accounts, which: str) -> Key:
    """Return the key that a text names, if it is just one.

    Raises:
        ConfigError: none, or several.
    """
    hashes = {which, hash_key(which)}
    found = [key for key in accounts.keys.values() if key.hash in hashes or which in (key.label, key.name)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise ConfigError("there is no such key: `openrouter-gateway keys list` shows them")
    raise ConfigError(f"{len(found)} keys are called so; give the hash, as `keys list --json` shows it")


def _parse_usd(text: str, *, lowest: Decimal) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise typer.BadParameter(f"{text!r} is not an amount of USD such as 12.50") from None
    if not amount.is_finite() or not lowest <= amount <= _MOST or int(amount.as_tuple().exponent) < _FINEST:
        raise typer.BadParameter(f"must be from {lowest} to {_MOST} USD, with at most {-_FINEST} decimals")
    return amount


def _iso(moment: float | None) -> str | None:
    return None if moment is None else dt.datetime.fromtimestamp(moment, dt.UTC).isoformat(timespec="seconds")


def _print_json(content: object) -> None:
    text = msgspec.json.Encoder(decimal_format="number").encode(content)
    typer.echo(msgspec.json.format(text, indent=2).decode())
