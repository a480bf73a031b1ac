"""The record of one served request: exactly one is written per request, however it ended."""

from typing import Literal, TypeAlias

from msgspec import Struct

from openrouter_gateway.core.usage import Cost, Usage

Ending: TypeAlias = Literal["finished", "failed", "cancelled"]


class AttemptRecord(Struct, frozen=True, kw_only=True):
    """One try of one endpoint. `outcome` is `served` or the name of the upstream error."""

    provider: str
    tag: str
    outcome: str
    status: int | None
    duration_s: float


class Generation(Struct, frozen=True, kw_only=True):
    """What is known of a generation when it is over. Times are unix seconds, durations are seconds."""

    id: str
    created: float
    ending: Ending
    requested_models: list[str]
    model: str | None
    provider: str | None
    streamed: bool
    usage: Usage
    cost: Cost
    finish_reason: str | None
    native_finish_reason: str | None
    error_type: str | None
    status: int
    attempts: list[AttemptRecord]
    latency_s: float | None
    duration_s: float
    key_hash: str | None = None
    app_url: str | None = None
    app_title: str | None = None
    user: str | None = None
    session_id: str | None = None
