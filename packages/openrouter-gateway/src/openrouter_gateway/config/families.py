"""The table of model families, `data/families.toml`: what models can do, and what providers let through.

Only `catalog refresh` comes here. The file's header explains its columns.
"""

import tomllib
from collections.abc import Iterable
from datetime import date
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources
from typing import Any, Final, Literal

import msgspec

from openrouter_gateway.core.catalog import Reasoning

_THINKING: Final = frozenset({"reasoning", "include_reasoning"})
_EFFORT: Final = "reasoning_effort"


class Thinking(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a family's reasoning is controlled; `efforts` are left out where there is no control by effort."""

    always: bool = False
    unasked: bool = False
    default: str | None = None
    efforts: tuple[str, ...] | Literal["all"] | None = None
    budgets: bool | None = None

    def to_core(self) -> Reasoning:
        """Return it as the catalogue has it."""
        efforts = None if self.efforts == "all" else msgspec.UNSET if self.efforts is None else self.efforts
        return Reasoning(
            mandatory=self.always,
            default_enabled=self.always or self.unasked,
            default_effort=self.default,
            supported_efforts=efforts,
            supports_max_tokens=self.budgets,
        )


class Facts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is said of a model, or of a model at one provider. None: nothing is."""

    can: tuple[str, ...] | None = None
    adds: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    thinks: Thinking | Literal[False] | None = None
    inputs: tuple[str, ...] | None = None
    outputs: tuple[str, ...] | None = None
    context_length: int | None = None
    max_completion_tokens: int | None = None
    quantization: str | None = None
    tokenizer: str | None = None
    instruct_type: str | None = None
    knowledge_cutoff: str | None = None

    @property
    def parameters(self) -> frozenset[str]:
        """What requests to it may set; of reasoning, what follows from how it is controlled."""
        found = frozenset(self.can or ()) | frozenset(self.adds)
        if self.thinks:
            found |= _THINKING
            if self.thinks.efforts is not None:
                found |= {_EFFORT}
        return found - frozenset(self.lacks)


class Family(Facts, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A row: facts of the models that a pattern fits; with `at`, only at these providers."""

    models: tuple[str, ...]
    at: tuple[str, ...] = ()

    def fits(self, model_id: str, provider: str | None) -> bool:
        """Return whether the row speaks of a model, or of a model at a provider."""
        if self.at and provider not in self.at:
            return False
        return _fits_any(model_id, self.models)


class Host(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a provider lets through, in one of its protocols."""

    parameters: tuple[str, ...]
    inputs: tuple[str, ...]
    implicit_caching: bool = False


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file, with the names of sets replaced by what they stand for."""

    sets: dict[str, tuple[str, ...]]
    hosts: dict[str, Host]
    families: tuple[Family, ...]
    released: dict[date, tuple[str, ...]]

    def facts_of(self, model_id: str, provider: str | None = None) -> Facts:
        """Return what all rows that fit say together: later ones win, `adds` and `lacks` gather until a `can`."""
        said: dict[str, Any] = {}
        for family in self.families:
            if family.fits(model_id, provider):
                _lay_over(said, family)
        return Facts(**said)

    def release_of(self, model_id: str) -> date | None:
        """Return the day that a model came out, if it is said."""
        return next((day for day, patterns in self.released.items() if _fits_any(model_id, patterns)), None)

    def host_of(self, slug: str, protocol: str) -> Host | None:
        """Return what is known of a provider: in this protocol, or in general."""
        return self.hosts.get(f"{slug}/{protocol}") or self.hosts.get(slug)


@cache
def load_families() -> Table:
    """Return the built-in table."""
    text = resources.files("openrouter_gateway.data").joinpath("families.toml").read_text("utf-8")
    return parse_families(text)


def parse_families(text: str) -> Table:
    """Return the table that a text is.

    Raises:
        msgspec.ValidationError: it is none.
    """
    table = msgspec.convert(tomllib.loads(text), Table)
    return msgspec.structs.replace(
        table,
        hosts={
            name: msgspec.structs.replace(host, parameters=_expand(table, host.parameters))
            for name, host in table.hosts.items()
        },
        families=tuple(_expand_family(table, family) for family in table.families),
    )


def _fits_any(model_id: str, patterns: Iterable[str]) -> bool:
    base = model_id.partition(":")[0]
    return any(fnmatchcase(model_id if ":" in pattern else base, pattern) for pattern in patterns)


def _expand_family(table: Table, family: Family) -> Family:
    return msgspec.structs.replace(
        family,
        can=None if family.can is None else _expand(table, family.can),
        adds=_expand(table, family.adds),
        lacks=_expand(table, family.lacks),
    )


def _expand(table: Table, names: Iterable[str]) -> tuple[str, ...]:
    return tuple(part for name in names for part in table.sets.get(name, (name,)))


def _lay_over(said: dict[str, Any], family: Family) -> None:
    for name in Facts.__struct_fields__:
        value = getattr(family, name)
        if name in ("adds", "lacks"):
            continue
        if value is not None:
            said[name] = value
    if family.can is not None:
        said["adds"] = said["lacks"] = ()
    said["adds"] = (*(name for name in said.get("adds", ()) if name not in family.lacks), *family.adds)
    said["lacks"] = (*(name for name in said.get("lacks", ()) if name not in family.adds), *family.lacks)
