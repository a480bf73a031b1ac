"""The sections of the configuration for testing applications: recordings of providers, and scripted faults."""

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from openrouter_gateway.accounting.authorize import mask_key
from openrouter_gateway.callers.faults import Faults
from openrouter_gateway.callers.pool import Pool, Poster
from openrouter_gateway.callers.recorder import RecordingPool, make_directory
from openrouter_gateway.callers.replay import Library, ReplayPool, load_library
from openrouter_gateway.config.values import Section
from openrouter_gateway.core.fault import Fault, FaultKind

_log = logging.getLogger(__name__)

_FIELDS_OF: Final[dict[str, frozenset[str]]] = {
    "rate_limit": frozenset({"message", "retry_after_s", "delay_s"}),
    "error": frozenset({"message", "status", "delay_s"}),
    "timeout": frozenset({"message", "delay_s"}),
    "slow_first_token": frozenset({"delay_s"}),
    "cut_stream": frozenset({"message", "after_chunks", "delay_s"}),
    "broken_tool_json": frozenset({"delay_s"}),
}
"""What can be said of some kinds of faults only."""
_SPECIAL: Final = frozenset[str]().union(*_FIELDS_OF.values())


class RecordingSettings(Section):
    """What is exchanged with providers, written down or replayed."""

    mode: Literal["off", "record", "replay"] = "off"
    directory: Path | None = Field(default=None, description="Where recordings are; needed unless the mode is off.")
    timing: bool = Field(default=False, description="Replay after the recorded delays, rather than at once.")

    @model_validator(mode="after")
    def _check_directory(self) -> Self:
        if self.mode != "off" and self.directory is None:
            raise ValueError(f"recording.directory says where to {self.mode}; it is missing")
        return self

    @property
    def replays(self) -> bool:
        """Whether recordings answer in place of providers."""
        return self.mode == "replay"


class FaultSettings(Section):
    """A scripted fault. Without `models`, `providers` and `keys` it is about all of them."""

    kind: FaultKind
    name: str | None = Field(default=None, min_length=1, description="What it is called in answers and the log.")
    models: list[str] = Field(default_factory=list[str], description="Patterns of model ids, with * ? [ ].")
    providers: list[str] = Field(default_factory=list[str], description="Slugs, or tags of endpoints.")
    keys: list[str] = Field(
        default_factory=list[str], description="Of callers: names or labels as `keys list` has them, or SHA-256 in hex."
    )
    every: int | None = Field(default=None, ge=1, description="Each n-th of the calls that fit.")
    probability: float | None = Field(default=None, gt=0, le=1, description="Of each call that fits.")
    times: int | None = Field(default=None, ge=1, description="At most so many, of each worker; without, for ever.")
    seed: int = Field(default=0, description="For `probability`: the same calls fail each time.")
    message: str | None = Field(default=None, description="What the provider says.")
    status: Annotated[int, Field(ge=300, le=599)] | None = Field(default=None, description="Of kind `error`: 500.")
    retry_after_s: int | None = Field(default=None, ge=0, description="Of kind `rate_limit`.")
    delay_s: float | None = Field(default=None, ge=0, description="Before the provider is called, or fails.")
    after_chunks: int | None = Field(default=None, ge=0, description="Of kind `cut_stream`: 1.")

    @model_validator(mode="after")
    def _check_fields(self) -> Self:
        wrong = (self.model_fields_set & _SPECIAL) - _FIELDS_OF[self.kind]
        if wrong:
            raise ValueError(f"{', '.join(sorted(wrong))}: not for faults of kind {self.kind}")
        if self.kind == "slow_first_token" and not self.delay_s:
            raise ValueError("delay_s says how slow; it is missing")
        if self.every is not None and self.probability is not None:
            raise ValueError("every and probability exclude each other")
        return self

    def to_core(self, place: int) -> Fault:
        """Return it as callers take it; `place` is its number in the file, from 0."""
        said: dict[str, Any] = {
            name: value
            for name in (
                "every",
                "probability",
                "times",
                "message",
                "status",
                "retry_after_s",
                "delay_s",
                "after_chunks",
            )
            if (value := getattr(self, name)) is not None
        }
        return Fault(
            kind=self.kind,
            name=self.name or f"faults.{place}",
            models=tuple(self.models),
            providers=tuple(self.providers),
            keys=tuple(self.keys),
            seed=self.seed,
            **said,
        )


def build_faults(settings: Iterable[FaultSettings], configured: Mapping[str, str]) -> Faults | None:
    """Return the faults, None if there are none. `configured` has the callers' keys of the configuration by hash."""
    faults = [fault.to_core(place) for place, fault in enumerate(settings)]
    if not faults:
        return None
    _log.warning("Faults are scripted, answers may fail on purpose: %s", ", ".join(fault.name for fault in faults))
    return Faults(faults, labels={key_hash: mask_key(key) for key_hash, key in configured.items()})


def open_recordings(settings: RecordingSettings) -> Library | None:
    """Return what is replayed, None if nothing is. A directory to record into is there afterwards.

    Raises:
        ConfigError: the directory cannot be used.
    """
    if settings.mode == "off" or settings.directory is None:
        return None
    if settings.replays:
        return load_library(settings.directory)
    make_directory(settings.directory)
    return None


def provider_pool(
    settings: RecordingSettings, library: Library | None, pool: Pool, hidden: Callable[[], Iterable[str]]
) -> Poster:
    """Return what providers are called through; to be closed. `hidden` gives the keys that no recording may hold."""
    if library is not None:
        return ReplayPool(library, hidden, timing=settings.timing)
    if settings.mode == "record" and settings.directory is not None:
        return RecordingPool(pool, settings.directory, hidden)
    return pool


def notes_of(settings: RecordingSettings, library: Library | None, faults: Iterable[FaultSettings]) -> list[str]:
    """Return what the operator should know of it, a sentence each."""
    notes: list[str] = []
    if library is not None:
        notes.append(f"Answers are replayed from {library.directory} ({len(library)} exchanges); no provider is asked.")
    elif settings.mode == "record":
        notes.append(f"What is exchanged with providers is recorded in {settings.directory}, prompts and answers.")
    kinds = ", ".join(dict.fromkeys(fault.kind for fault in faults))
    return [*notes, f"Faults are scripted, answers may fail on purpose: {kinds}."] if kinds else notes
