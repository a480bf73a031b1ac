"""The record of one served request: exactly one is written per request, however it ended.

Fields are only ever added, and with defaults that stay as they are: a journal that an older version left is read by the
newer one, and its lines leave out what is as by default. The same holds for `Usage`.
"""

from typing import Any, Literal, TypeAlias

from msgspec import Struct

from openrouter_gateway.core.usage import Cost, Usage

Ending: TypeAlias = Literal["finished", "failed", "cancelled"]


class AttemptRecord(Struct, frozen=True, kw_only=True):
    """One try of one endpoint; `model` is the one tried.

    `outcome` is `served`, `cancelled` (the caller left, or the gateway stopped) or the name of the upstream error.
    """

    provider: str
    tag: str
    outcome: str
    status: int | None
    duration_s: float
    model: str | None = None
    provider_name: str | None = None


class Generation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of a generation when it is over. Times are unix seconds, durations are seconds.

    `usage` holds the counts that are billed: the provider's own ("native") unless `usage.estimated`. The normalized
    counts are the gateway's, comparable between models with different tokenizers; None: not counted. `cost` is what
    the gateway computed with the prices of `catalog_version`; what the provider reported is `usage.reported_cost`.
    `status` is what the caller was told; 499 of one who left before the end, without an error.
    `cache_source_id` is the generation whose answer the response cache gave again.
    """

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
    api_type: str = "completions"
    provider_name: str | None = None
    endpoint: str | None = None
    upstream_id: str | None = None
    service_tier: str | None = None
    catalog_version: str | None = None
    normalized_prompt_tokens: int | None = None
    normalized_completion_tokens: int | None = None
    app_categories: list[str] = []
    user_agent: str | None = None
    trace: dict[str, Any] | None = None
    cache_source_id: str | None = None
