"""The dictionaries that users write: typed for the editor, open for keys the API gains later.

They travel verbatim: nothing is checked, filtered or filled in. Each alias ends in `| dict[str, Any]`, so
a key that is not listed here is neither a type error nor lost.
Sources: API digest sections 1.1, 3.2, 4.1, 9.1 and 10.1.
"""

from typing import Any, Literal, TypeAlias

from typing_extensions import TypedDict

__all__ = [
    "MaxPrice",
    "Plugin",
    "PluginConfig",
    "Provider",
    "ProviderPreferences",
    "Reasoning",
    "ReasoningConfig",
    "Trace",
    "TraceConfig",
]


class MaxPrice(TypedDict, total=False):
    """Highest acceptable prices in USD: per million tokens, per request, per image."""

    prompt: float | str
    completion: float | str
    request: float | str
    image: float | str


class ProviderPreferences(TypedDict, total=False):
    """Which providers may serve a request and in which order (`openrouter_provider`, `provider` on the wire).

    `order`, `only` and `ignore` hold provider slugs or display names. `sort` is "price", "throughput",
    "latency" or an object. Throughput is tokens per second, latency is seconds.
    """

    order: list[str]
    only: list[str]
    ignore: list[str]
    allow_fallbacks: bool
    require_parameters: bool
    data_collection: Literal["allow", "deny"]
    zdr: bool
    enforce_distillable_text: bool
    quantizations: list[str]
    sort: str | dict[str, Any]
    max_price: MaxPrice
    preferred_min_throughput: float | dict[str, float]
    preferred_max_latency: float | dict[str, float]


class ReasoningConfig(TypedDict, total=False):
    """How much a model may think, and what of it is returned. `max_tokens` counts reasoning tokens."""

    effort: Literal["max", "xhigh", "high", "medium", "low", "minimal", "none"]
    max_tokens: int
    exclude: bool
    enabled: bool
    summary: Literal["auto", "concise", "detailed"]


class TraceConfig(TypedDict, total=False):
    """Annotations of one request for observability destinations; other keys travel as custom metadata."""

    trace_id: str
    trace_name: str
    span_name: str
    generation_name: str
    parent_span_id: str


class _PluginId(TypedDict):
    id: str


class PluginConfig(_PluginId, total=False):
    """One plugin, such as `{"id": "web", "max_results": 3}`."""

    enabled: bool
    max_results: int
    search_prompt: str
    engine: str
    pdf: dict[str, Any]


Provider: TypeAlias = ProviderPreferences | dict[str, Any]
Reasoning: TypeAlias = ReasoningConfig | dict[str, Any]
Trace: TypeAlias = TraceConfig | dict[str, Any]
Plugin: TypeAlias = PluginConfig | dict[str, Any]
