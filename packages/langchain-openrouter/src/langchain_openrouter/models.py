"""The list of models: what exists, what it can do, what it costs. Sources: API digest 6.1 to 6.3."""

import random
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, NotRequired, TypeAlias, Unpack, cast

from typing_extensions import TypedDict

from langchain_openrouter._access import Access, ApiOptions, check_clients
from langchain_openrouter._answers import decode_answer
from langchain_openrouter._decoding import Secrets, excerpt
from langchain_openrouter._replies import dict_of, dicts_of
from langchain_openrouter._retry import plan_waits
from langchain_openrouter.errors import ProtocolViolation

if TYPE_CHECKING:
    import httpx2

__all__ = ["ModelFilters", "ModelInfo", "ModelPricing", "alist_models", "list_models"]


class ModelFilters(TypedDict, total=False):
    """Which models to list, and in which order; lists are joined by commas.

    Prices are USD per million tokens, `context` is the least number of tokens. Without `output_modalities`
    the API lists models that write text; "all" lists every one, "embeddings" those for embeddings. With
    `offset` or `limit` (1 to 1000) it lists one page, else every model.
    """

    q: str
    category: str
    supported_parameters: list[str] | str
    input_modalities: list[str] | str
    output_modalities: list[str] | str
    context: int
    min_price: float
    max_price: float
    min_output_price: float
    max_output_price: float
    arch: str
    model_authors: list[str] | str
    providers: list[str] | str
    distillable: bool
    zdr: bool
    region: str
    min_age_days: int
    max_age_days: int
    min_intelligence_index: float
    max_intelligence_index: float
    min_coding_index: float
    max_coding_index: float
    min_agentic_index: float
    max_agentic_index: float
    min_tool_success_rate: float
    max_tool_success_rate: float
    sort: str
    offset: int
    limit: int


class ModelPricing(TypedDict, total=False):
    """USD per token, request, image or search; `discount` is a share of 0 to 1.

    `overrides` holds dicts of conditions and of the prices that replace these when the conditions hold.
    """

    prompt: Decimal
    completion: Decimal
    request: Decimal
    image: Decimal
    image_token: Decimal
    image_output: Decimal
    audio: Decimal
    audio_output: Decimal
    input_audio_cache: Decimal
    web_search: Decimal
    internal_reasoning: Decimal
    input_cache_read: Decimal
    input_cache_write: Decimal
    input_cache_write_1h: Decimal
    discount: Decimal
    overrides: list[dict[str, Any]]


class ModelInfo(TypedDict):
    """One model, as the API describes it; only prices are converted, and nothing is left out or checked.

    `created` is in Unix seconds, lengths are in tokens.
    """

    id: str
    canonical_slug: str
    name: str
    created: int
    description: NotRequired[str]
    context_length: int | None
    architecture: dict[str, Any]
    pricing: ModelPricing
    top_provider: dict[str, Any]
    per_request_limits: dict[str, Any] | None
    supported_parameters: list[str]
    default_parameters: dict[str, Any] | None
    supported_voices: list[str] | None
    links: dict[str, Any]
    reasoning: NotRequired[dict[str, Any]]
    alias_target: NotRequired[dict[str, Any]]
    hugging_face_id: NotRequired[str | None]
    knowledge_cutoff: NotRequired[str | None]
    expiration_date: NotRequired[str | None]
    benchmarks: NotRequired[dict[str, Any]]


Filters: TypeAlias = ModelFilters | Mapping[str, Any]


def list_models(
    filters: Filters | None = None, *, http_client: "httpx2.Client | None" = None, **options: Unpack[ApiOptions]
) -> list[ModelInfo]:
    """Return the models of the API.

        list_models({"supported_parameters": ["tools"], "max_price": 1})

    Args:
        filters: Which ones, see `ModelFilters`; other keys travel too, those that are None do not.
        http_client: A client of your own instead of the shared one.
        options: `api_key` (the list needs none), `base_url`, `default_headers`, `timeout` and `max_retries`, as for
            `ChatOpenRouter`.

    Raises:
        OpenRouterError: The request failed, or an argument cannot work.
    """
    api = Access.from_arguments(**options)
    api.check(key_needed=False)
    check_clients(http_client=http_client)
    from langchain_openrouter._fetch import fetch

    waits = plan_waits(api.policy, random.random)
    return fetch(api.request("/models", query=filters), waits, parse_models, http_client)


async def alist_models(
    filters: Filters | None = None,
    *,
    http_async_client: "httpx2.AsyncClient | None" = None,
    **options: Unpack[ApiOptions],
) -> list[ModelInfo]:
    """Do as `list_models` does, asynchronously."""
    api = Access.from_arguments(**options)
    api.check(key_needed=False)
    check_clients(http_async_client=http_async_client)
    from langchain_openrouter._fetch import afetch

    waits = plan_waits(api.policy, random.random)
    return await afetch(api.request("/models", query=filters), waits, parse_models, http_async_client)


def parse_models(body: bytes, headers: Mapping[str, str], /, *, secrets: Secrets) -> list[ModelInfo]:
    """Read the body of a list of models.

    Raises:
        APIError: The body holds an error.
        ProtocolViolation: It is no list.
    """
    payload = decode_answer(body, headers, secrets)
    if not isinstance(payload.get("data"), list):
        raise ProtocolViolation("the answer holds no list of models", body=excerpt(body, secrets))
    return [cast("ModelInfo", _with_prices(model)) for model in dicts_of(payload["data"])]


def _with_prices(model: dict[str, Any]) -> dict[str, Any]:
    pricing = dict_of(model.get("pricing"))
    return model if pricing is None else {**model, "pricing": _prices(pricing)}


def _prices(pricing: dict[str, Any]) -> dict[str, Any]:
    return {name: _price(value) for name, value in pricing.items()}


def _price(value: Any) -> Any:
    match value:
        case str():
            try:
                return Decimal(value)
            except InvalidOperation:
                return value
        case float():
            return Decimal(repr(value))
        case list():
            return [_prices(override) for override in dicts_of(cast("list[Any]", value))]
        case _:
            return value
