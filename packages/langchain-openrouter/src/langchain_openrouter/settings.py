"""The dictionaries that users write: typed for the editor, open for keys the API gains later.

They travel verbatim: nothing is checked, filtered or filled in. Each alias ends in `| dict[str, Any]`, so
a key that is not listed here is neither a type error nor lost.
Sources: API digest sections 1.1, 3.2, 3.11, 4.1, 9.1 to 9.6 and 10.1.
"""

from typing import Any, Literal, TypeAlias

from typing_extensions import TypedDict

__all__ = [
    "MaxPrice",
    "Percentiles",
    "Plugin",
    "PluginConfig",
    "Provider",
    "ProviderPreferences",
    "ProviderSort",
    "Reasoning",
    "ReasoningConfig",
    "Trace",
    "TraceConfig",
]

SortKey: TypeAlias = Literal["price", "throughput", "latency", "exacto"]
CostTier: TypeAlias = Literal["low", "medium", "high", "xhigh", "max"]
PluginId: TypeAlias = Literal[
    "auto-router",
    "auto-beta-router",
    "context-compression",
    "file-parser",
    "fusion",
    "moderation",
    "pareto-router",
    "response-healing",
    "web",
    "web-fetch",
]


class MaxPrice(TypedDict, total=False):
    """Highest acceptable prices in USD; a provider that asks for more is not used, and the request may fail."""

    prompt: float | str
    """Per million tokens."""
    completion: float | str
    """Per million tokens."""
    request: float | str
    """Per request."""
    image: float | str
    """Per image."""
    audio: float | str
    """Per unit in which the model prices audio."""


class Percentiles(TypedDict, total=False):
    """A bound for each percentile of what was measured of an endpoint."""

    p50: float
    p75: float
    p90: float
    p99: float


class ProviderSort(TypedDict, total=False):
    """What to order endpoints by, and whether the endpoints of each model stay together ("model") or not ("none")."""

    by: SortKey
    partition: Literal["model", "none"]


class ProviderPreferences(TypedDict, total=False):
    """Which providers may serve a request and in which order (`openrouter_provider`, `provider` on the wire).

    `order`, `only` and `ignore` hold slugs (`google-vertex/us-east5`) or names (`Google`) of providers.
    """

    order: list[str]
    """To try first, in this order; turns load balancing off."""
    only: list[str]
    """To use and no others."""
    ignore: list[str]
    """Not to use."""
    allow_fallbacks: bool
    """Whether others may serve the request when the first one, or those in `order`, cannot. Default true."""
    require_parameters: bool
    """Whether to leave out endpoints that do not know every parameter of the request. Default false."""
    data_collection: Literal["allow", "deny"]
    """"deny" leaves out providers that store or train on prompts. Default "allow"."""
    zdr: bool
    """True leaves out endpoints that retain anything."""
    enforce_distillable_text: bool
    """True leaves out models whose author forbids training on their output."""
    quantizations: list[str]
    """Acceptable precisions, such as "fp8" or "bf16"."""
    sort: SortKey | ProviderSort
    """What to order endpoints by; only without `order`."""
    max_price: MaxPrice
    preferred_min_throughput: float | Percentiles
    """Tokens per second; endpoints below it come last. A number bounds the median."""
    preferred_max_latency: float | Percentiles
    """Seconds to the first token; endpoints above it come last. A number bounds the median."""
    options: dict[str, dict[str, Any]]
    """Passed to the provider of the slug: for images, speech and video, not for chat."""


class ReasoningConfig(TypedDict, total=False):
    """How much a model may think, and what of it is returned. Give `effort` or `max_tokens`, not both."""

    effort: Literal["max", "xhigh", "high", "medium", "low", "minimal", "none"]
    """Share of the answer's tokens to think with, from 0.95 ("max", "xhigh") to 0.1 ("minimal"), or none."""
    max_tokens: int
    """Tokens to think with."""
    exclude: bool
    """Whether to think without returning it. Default false."""
    enabled: bool
    """True alone is `effort` "medium"."""
    summary: Literal["auto", "concise", "detailed"]
    """How long the returned summary is."""
    context: Literal["auto", "all_turns", "current_turn"]
    """Which of the reasoning that is sent back the model may see."""
    mode: Literal["standard", "pro"]


class TraceConfig(TypedDict, total=False):
    """Annotations of one request for observability destinations; other keys travel as custom metadata."""

    trace_id: str
    """Groups requests."""
    trace_name: str
    """Name of the root; the model when not given."""
    span_name: str
    """Name of a span around this request."""
    generation_name: str
    """Name of this request; the model when not given."""
    parent_span_id: str
    """Id of a span that exists already."""


class PDFEngine(TypedDict, total=False):
    """How `file-parser` reads PDF files."""

    engine: Literal["mistral-ocr", "cloudflare-ai", "native", "pdf-text"]


class _PluginId(TypedDict):
    id: PluginId


class PluginConfig(_PluginId, total=False):
    """One plugin, such as `{"id": "web", "max_results": 3}`; which of the other keys count depends on its `id`."""

    enabled: bool
    """False switches off a plugin that is on by default. Default true."""
    engine: str
    """web, web-fetch: who searches or fetches ("native", "exa", ...). context-compression: "middle-out"."""

    mode: str
    """web: how thoroughly to search; the words are the engine's."""
    max_results: int
    """web: results per search, 1 to 25, default 5."""
    max_uses: int
    """web: searches per request, for engines of the provider's own."""
    search_prompt: str
    """web: what introduces the results to the model."""
    include_domains: list[str]
    """web: where to search, such as `*.example.org` or `example.org/blog`."""
    exclude_domains: list[str]
    """web: where not to search."""
    user_location: dict[str, Any]
    """web: for engines of the provider's own."""

    pdf: PDFEngine
    """file-parser."""

    allowed_models: list[str]
    """auto-router: patterns such as `anthropic/*`, at most 1024."""
    excluded_models: list[str]
    """auto-router: patterns that win over the allowed ones, at most 1024."""
    cost_tier: CostTier
    """auto-router: fifth of the models by cost."""
    cost_quality_tradeoff: float
    """auto-router: 0 to 10; the API prefers `cost_tier`."""
    pin_model: bool
    """auto-router: whether to keep the `model` of the last assistant message."""

    min_coding_score: float
    """pareto-router: 0 to 1."""
    max_price: float
    """pareto-router: USD per million input tokens."""
    price_source: Literal["prompt", "weighted_avg"]
    """pareto-router: what `max_price` is compared with."""


Provider: TypeAlias = ProviderPreferences | dict[str, Any]
Reasoning: TypeAlias = ReasoningConfig | dict[str, Any]
Trace: TypeAlias = TraceConfig | dict[str, Any]
Plugin: TypeAlias = PluginConfig | dict[str, Any]
