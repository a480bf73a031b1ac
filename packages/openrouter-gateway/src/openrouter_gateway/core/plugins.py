"""The entries of a request's `plugins`: which there are and what each takes (OpenRouter API, plugins, 2026-08-22)."""

from typing import Annotated, Any, Final, Literal, TypeAlias

from msgspec import Meta, Struct

CostTier: TypeAlias = Literal["low", "medium", "high", "xhigh", "max"]
Pattern: TypeAlias = Annotated[str, Meta(max_length=1024)]
Domains: TypeAlias = Annotated[list[Annotated[str, Meta(min_length=1, max_length=256)]], Meta(max_length=100)]
PDFEngine: TypeAlias = Literal["mistral-ocr", "cloudflare-ai", "pdf-text", "native"]

WEB: Final = "web"
FILE_PARSER: Final = "file-parser"
RESPONSE_HEALING: Final = "response-healing"
CONTEXT_COMPRESSION: Final = "context-compression"

IDS: Final = (
    "auto-router",
    "auto-beta-router",
    CONTEXT_COMPRESSION,
    FILE_PARSER,
    "fusion",
    "moderation",
    "pareto-router",
    RESPONSE_HEALING,
    WEB,
    "web-fetch",
)

ENGINES: Final = {
    # OpenRouter's, and those that can be configured here.
    WEB: ("native", "exa", "firecrawl", "parallel", "perplexity", "searxng", "tavily"),
    CONTEXT_COMPRESSION: ("middle-out",),
}

SMALL_CONTEXT: Final = 8192
"""Endpoints with at most so many tokens of context have their prompts compressed unless the request says otherwise."""


class PDFOptions(Struct, frozen=True, kw_only=True):
    """How PDFs are read. `pdf-text` and `cloudflare-ai` are one engine; None: native if the endpoint takes files."""

    engine: PDFEngine | None = None


class Plugin(Struct, frozen=True, kw_only=True):
    """An entry of `plugins`: which one, whether it is on, and its options. Keys of others stay unread.

    The routers read `allowed_models` to `pin_model`, `web` reads `engine` to `user_location`, `file-parser` reads
    `pdf`, `context-compression` reads `engine`.
    """

    id: str
    enabled: bool | None = None
    allowed_models: Annotated[list[Pattern], Meta(max_length=1024)] | None = None
    excluded_models: Annotated[list[Pattern], Meta(max_length=1024)] | None = None
    cost_tier: CostTier | None = None
    pin_model: bool | None = None
    engine: str | None = None
    mode: str | None = None
    max_results: Annotated[int, Meta(ge=1, le=25)] | None = None
    search_prompt: Annotated[str, Meta(max_length=16_384)] | None = None
    include_domains: Domains | None = None
    exclude_domains: Domains | None = None
    max_uses: Annotated[int, Meta(ge=1)] | None = None
    user_location: dict[str, Any] | None = None
    pdf: PDFOptions | None = None

    def __post_init__(self) -> None:
        """Raise `ValueError`, which decoding reports with the entry's place, for a name that does not exist."""
        if self.id not in IDS:
            raise ValueError(f"{self.id[:64]!r} is not a plugin; these are: {', '.join(IDS)}")
        known = ENGINES.get(self.id)
        if known is not None and self.engine is not None and self.engine not in known:
            raise ValueError(f"{self.id} has no engine {self.engine[:64]!r}; these are: {', '.join(known)}")


def compresses(wish: bool | None, context_length: int | None) -> bool:
    """Return whether prompts for an endpoint are compressed. `wish` is the request's, None if it says nothing."""
    if wish is not None:
        return wish
    return context_length is not None and context_length <= SMALL_CONTEXT


def searches_with(plugin: Plugin | None, engine: str | None) -> bool:
    """Return whether the gateway's own search engine is what a `web` entry asks for."""
    return engine is not None and (plugin is None or plugin.engine in (None, engine))
