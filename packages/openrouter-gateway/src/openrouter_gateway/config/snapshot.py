"""The snapshot: models, endpoints and prices in one file, made by `openrouter-gateway catalog refresh`.

A gateway reads the file that `catalog.file` names, or else the one at the default location, or else the one that comes
with the package. It is JSON with one row per line; what has its default value is left out.
"""

import os
from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from openrouter_gateway.config.location import data_directory
from openrouter_gateway.core.catalog import Endpoint, Model, Price, Provider, Tier
from openrouter_gateway.errors import ConfigError

FORMAT: Final = 1
_NAME: Final = "catalog.json"
_REFRESH: Final = "`openrouter-gateway catalog refresh` makes a new one"


class KnownEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One model at one provider; `tag` is empty for the provider's slug. Else as `core.catalog.Endpoint`.

    `parameter_set` stands for `supported_parameters` in a file: their place among the snapshot's sets.
    """

    model: str
    provider: str
    upstream_id: str
    tag: str = ""
    price: Price | None = None
    quantization: str | None = None
    context_length: int | None = None
    max_prompt_tokens: int | None = None
    max_completion_tokens: int | None = None
    supported_parameters: tuple[str, ...] | None = None
    input_modalities: tuple[str, ...] | None = None
    tier: Tier | None = None
    moderated: bool = False
    implicit_caching: bool = False
    parameter_set: Annotated[int, msgspec.Meta(ge=0)] | None = None

    @property
    def full_tag(self) -> str:
        """The tag, spelt out."""
        return self.tag or self.provider

    def to_endpoint(self, provider: Provider) -> Endpoint:
        """Return the endpoint as the catalogue has it."""
        return Endpoint(
            model_id=self.model,
            provider=provider,
            upstream_id=self.upstream_id,
            tag=self.full_tag,
            price=self.price,
            quantization=self.quantization,
            context_length=self.context_length,
            max_prompt_tokens=self.max_prompt_tokens,
            max_completion_tokens=self.max_completion_tokens,
            supported_parameters=_frozen(self.supported_parameters),
            input_modalities=_frozen(self.input_modalities),
            tier=self.tier,
            moderated=self.moderated,
            implicit_caching=self.implicit_caching,
        )


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What is known, whoever has a key for it.

    `sources` names what it was made of, with versions; `date` (`YYYY-MM-DD`) is the day whose prices it has.
    `aliases` maps ids such as `~author/family-latest` to a model id, or to None: then the newest of the family.
    """

    format: int
    sources: tuple[str, ...]
    date: str
    aliases: dict[str, str | None]
    models: tuple[Model, ...]
    endpoints: tuple[KnownEndpoint, ...]
    parameter_sets: tuple[tuple[str, ...], ...] = ()
    """Only in a file: many endpoints have the same parameters."""


def default_location(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where `catalog refresh` writes to, and where a gateway looks, unless told otherwise."""
    return data_directory(environment) / _NAME


def load_snapshot(path: Path | None = None) -> Snapshot:
    """Return the snapshot of a file; without one, that at the default location or else the built-in one.

    Raises:
        ConfigError: the file cannot be read, or is not a snapshot of this format.
    """
    if path is None:
        path = default_location()
        if not path.exists():
            return load_builtin()
    try:
        return decode(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read the catalogue {path}: {error.strerror}; {_REFRESH}") from None
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{path} is not a catalogue: {error}; {_REFRESH}") from None


@cache
def load_builtin() -> Snapshot:
    """Return the snapshot that comes with the package."""
    return decode(resources.files("openrouter_gateway.data").joinpath(_NAME).read_bytes())


def decode(data: bytes) -> Snapshot:
    """Return the snapshot that these bytes are.

    Raises:
        msgspec.MsgspecError: they are none, or one of another format.
    """
    try:
        snapshot = msgspec.json.decode(data, type=Snapshot)
    except msgspec.ValidationError:
        _check_format(msgspec.json.decode(data, type=_Format).format)
        raise
    _check_format(snapshot.format)
    try:
        endpoints = tuple(_unpack(known, snapshot.parameter_sets) for known in snapshot.endpoints)
    except IndexError:
        raise msgspec.ValidationError("an endpoint has a parameter set that is not there") from None
    return msgspec.structs.replace(snapshot, endpoints=endpoints, parameter_sets=())


def encode(snapshot: Snapshot) -> bytes:
    """Return the file's content: the same for the same snapshot, one row per line."""
    sets: dict[tuple[str, ...], int] = {}
    endpoints = [_pack(known, sets) for known in snapshot.endpoints]
    head = {"format": snapshot.format, "sources": snapshot.sources, "date": snapshot.date}
    parts = [f"{_text(key)}: {_text(value)}" for key, value in head.items()]
    aliases = (f"{_text(name)}: {_text(target)}" for name, target in snapshot.aliases.items())
    parts.append('"aliases": ' + _block("{", aliases, "}"))
    parts.append('"parameter_sets": ' + _block("[", (_text(parameters) for parameters in sets), "]"))
    parts.append('"models": ' + _block("[", (_text(_row(model)) for model in snapshot.models), "]"))
    parts.append('"endpoints": ' + _block("[", (_text(_row(endpoint)) for endpoint in endpoints), "]"))
    return ("{\n" + ",\n".join(parts) + "\n}\n").encode()


def _pack(known: KnownEndpoint, sets: dict[tuple[str, ...], int]) -> KnownEndpoint:
    if known.supported_parameters is None:
        return known
    place = sets.setdefault(known.supported_parameters, len(sets))
    return msgspec.structs.replace(known, supported_parameters=None, parameter_set=place)


def _unpack(known: KnownEndpoint, sets: tuple[tuple[str, ...], ...]) -> KnownEndpoint:
    if known.parameter_set is None:
        return known
    return msgspec.structs.replace(known, supported_parameters=sets[known.parameter_set], parameter_set=None)


def _check_format(found: int) -> None:
    if found != FORMAT:
        raise msgspec.ValidationError(f"its format is {found}, this gateway reads {FORMAT}")


class _Format(msgspec.Struct):
    format: int


@cache
def _frozen(values: tuple[str, ...] | None) -> frozenset[str] | None:
    return None if values is None else frozenset(values)


def _block(opening: str, rows: Iterable[str], closing: str) -> str:
    return f"{opening}\n" + ",\n".join(rows) + f"\n{closing}"


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _row(value: Any) -> Any:
    """Return a struct as a dictionary without what has its default value."""
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if not isinstance(value, msgspec.Struct):
        return value
    fields = msgspec.structs.fields(type(value))
    pairs = ((field.name, getattr(value, field.name), field.default) for field in fields)
    return {name: _row(held) for name, held, default in pairs if held is not msgspec.UNSET and held != default}
