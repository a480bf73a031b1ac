"""The destinations of the configuration as the broadcast takes them."""

import os
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from pydantic import SecretStr

from openrouter_gateway.broadcast.check import check_destination
from openrouter_gateway.config.broadcast import DestinationSettings
from openrouter_gateway.config.settings import SettingError
from openrouter_gateway.core.destination import Destination, FilterRules

_NAMESPACE: Final = uuid.UUID("6f1b7f0e-6c1d-4f0c-9d0a-3b6a3a1c4f55")
"""Of the ids of configured destinations, which are made from their types and names."""
_ENV: Final = "_env"


def build_destinations(
    settings: list[DestinationSettings], environment: Mapping[str, str] = os.environ
) -> list[Destination]:
    """Return the destinations, whose ids stay the same as long as their types and names do.

    Raises:
        SettingError: one cannot be used; the message quotes no value.
    """
    found: dict[str, Destination] = {}
    for place, each in enumerate(settings):
        destination = _build(("destinations", place), each, environment)
        if destination.id in found:
            raise SettingError(("destinations", place, "name"), f"another {each.type} has this name")
        found[destination.id] = destination
    return list(found.values())


def _build(key: tuple[str | int, ...], settings: DestinationSettings, environment: Mapping[str, str]) -> Destination:
    fields = {
        name: getattr(settings, name)
        for name in DestinationSettings.model_fields
        if name not in ("config", "filter_rules")
    }
    try:
        rules = None if settings.filter_rules is None else msgspec.convert(settings.filter_rules, FilterRules)
    except msgspec.ValidationError as error:
        raise SettingError((*key, "filter_rules"), str(error)) from None
    destination = Destination(
        id=str(uuid.uuid5(_NAMESPACE, f"{settings.type}:{settings.name}")),
        config=_reveal((*key, "config"), settings.config, environment, _camel),
        filter_rules=rules,
        **fields,
    )
    try:
        check_destination(destination)
    except ValueError as error:
        raise SettingError(key, str(error)) from None
    return destination


def _reveal(
    key: tuple[str | int, ...],
    config: Mapping[str, SecretStr | dict[str, SecretStr]],
    environment: Mapping[str, str],
    spell: Callable[[str], str],
) -> dict[str, Any]:
    revealed: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, dict):
            revealed[spell(name)] = _reveal((*key, name), value, environment, str)
        elif name.endswith(_ENV):
            variable = value.get_secret_value()
            if not environment.get(variable):
                raise SettingError((*key, name), "the variable that it names is not set")
            revealed[spell(name.removesuffix(_ENV))] = environment[variable]
        else:
            revealed[spell(name)] = value.get_secret_value()
    return revealed


def _camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda match: match[1].upper(), name)
