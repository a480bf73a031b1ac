"""Reading the configuration again while the gateway runs."""

from typing import Final

from msgspec import Struct

from openrouter_gateway.config.catalog import build_catalog, load_keys
from openrouter_gateway.config.destinations import build_destinations
from openrouter_gateway.config.settings import Settings, config_path, load_settings, locate
from openrouter_gateway.core.catalog import Catalog
from openrouter_gateway.core.destination import Destination
from openrouter_gateway.errors import ConfigError

RELOADED: Final = frozenset({"aliases", "auth", "catalog", "destinations", "faults", "models", "policy", "providers"})
"""The sections that a reload changes; all others are for the next start."""


class Reloaded(Struct, frozen=True, kw_only=True):
    """What serves from now on. `waiting` names the sections whose changes wait for the next start."""

    settings: Settings
    keys: dict[str, str]
    catalog: Catalog
    destinations: list[Destination]
    waiting: tuple[str, ...]


def reload_settings(running: Settings) -> Reloaded:
    """Read the file and the environment again.

    Whether keys are asked for at all stays as it is: without keys only local names are answered, which is decided at
    the start.

    Raises:
        ConfigError: the configuration is wrong; the message has file, line, key and reason.
    """
    path = config_path()
    read = load_settings(path)
    taken = {name: getattr(read, name) for name in RELOADED}
    waiting = {
        name for name in type(read).model_fields.keys() - RELOADED if getattr(read, name) != getattr(running, name)
    }
    if read.has_keys != running.has_keys:
        waiting.add("auth")
        del taken["auth"]
    settings = running.model_copy(update=taken)
    try:
        keys = load_keys(settings)
        catalog = build_catalog(settings, frozenset(keys))
        destinations = build_destinations(settings.destinations)
    except ConfigError as error:
        raise ConfigError(locate(error, path)) from None
    return Reloaded(
        settings=settings, keys=keys, catalog=catalog, destinations=destinations, waiting=tuple(sorted(waiting))
    )
