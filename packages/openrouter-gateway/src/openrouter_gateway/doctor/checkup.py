"""All checks: the configuration first, because the others go by it, then everything else at the same time."""

import asyncio
import datetime as dt
from pathlib import Path
from typing import Final

from msgspec import Struct

from openrouter_gateway.callers.pool import Pool, Timeouts
from openrouter_gateway.config.catalog import build_catalog, load_keys
from openrouter_gateway.config.destinations import build_destinations
from openrouter_gateway.config.settings import LOCAL, Settings, load_settings, locate
from openrouter_gateway.config.snapshot import load_snapshot
from openrouter_gateway.core.catalog import Catalog
from openrouter_gateway.core.destination import Destination
from openrouter_gateway.doctor.destinations import check_destinations
from openrouter_gateway.doctor.findings import Finding, failure, ok, warning
from openrouter_gateway.doctor.machine import check_embedded, check_port
from openrouter_gateway.doctor.providers import ProviderCheck
from openrouter_gateway.doctor.stores import check_database, check_journal, check_state
from openrouter_gateway.errors import ConfigError

_OLD_DAYS: Final = 60
_CONFIG: Final = "configuration"


class Wish(Struct, frozen=True, kw_only=True):
    """How thoroughly to look. `timeout_s` is for each check that asks somebody."""

    deep: bool = False
    offline: bool = False
    timeout_s: float = 5.0


class _Found(Struct, frozen=True, kw_only=True):
    """What the configuration makes."""

    settings: Settings
    keys: dict[str, str]
    catalog: Catalog
    destinations: list[Destination]


async def check_everything(path: Path | None, wish: Wish, today: dt.date) -> list[Finding]:
    """Return what was found, in a fixed order. If the configuration is wrong there is nothing else to look at."""
    try:
        settings = load_settings(path)
        keys = load_keys(settings)
        found = _Found(
            settings=settings,
            keys=keys,
            catalog=build_catalog(settings, frozenset(keys)),
            destinations=build_destinations(settings.destinations),
        )
    except ConfigError as error:
        return [failure(_CONFIG, line) for line in locate(error, path).splitlines()]
    read = f"{path} is right" if path is not None else "no file: defaults and the environment, which are right"
    return [ok(_CONFIG, read), *await _check_rest(found, wish, today)]


async def _check_rest(found: _Found, wish: Wish, today: dt.date) -> list[Finding]:
    settings, timeout_s, offline = found.settings, wish.timeout_s, wish.offline
    pool = Pool(Timeouts(connect_s=timeout_s, idle_s=timeout_s))
    try:
        providers = ProviderCheck(settings, found.catalog, found.keys, timeout_s=timeout_s, offline=offline)
        answered, embedded, port, state, database = await asyncio.gather(
            providers.run(pool),
            check_embedded(settings, pool, deep=wish.deep),
            check_port(settings, pool, timeout_s=timeout_s),
            check_state(settings, timeout_s=timeout_s, offline=offline),
            check_database(settings, timeout_s=timeout_s, offline=offline),
        )
        destinations = await check_destinations(
            settings,
            found.destinations,
            pool,
            stored=database.is_current,
            timeout_s=timeout_s,
            offline=offline,
        )
    finally:
        await pool.close()
    stores = [database.finding, check_journal(settings), state]
    return [_check_catalog(found, today), *answered, embedded, *stores, *destinations, port]


def _check_catalog(found: _Found, today: dt.date) -> Finding:
    check, listings = "catalogue", found.catalog.listings
    endpoints = [endpoint for listing in listings.values() for endpoint in listing.endpoints]
    if not endpoints:
        remedy = "set a provider's key, list models of a provider, or set embedded.enabled to true"
        return failure(check, "nothing is on offer", remedy)
    numbers = f"models: {len(listings)}, endpoints: {len(endpoints)}"
    if all(endpoint.provider.slug == LOCAL for endpoint in endpoints):
        return ok(check, numbers)
    date = load_snapshot(found.settings.catalog.file).date
    age = (today - dt.date.fromisoformat(date)).days
    numbers += f", prices of {date} ({age} days old)"
    if age > _OLD_DAYS:
        return warning(check, numbers, "upgrade genai-prices, then run `openrouter-gateway catalog refresh`")
    return ok(check, numbers)
