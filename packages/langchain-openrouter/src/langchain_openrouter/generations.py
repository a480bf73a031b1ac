"""The record of one generation: who served it, how long it took, what it cost. Source: API digest 8.1."""

import json
import random
from collections.abc import Callable, Generator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NotRequired, Unpack, cast

from typing_extensions import TypedDict

from langchain_openrouter._access import Access, ApiOptions, check_clients
from langchain_openrouter._answers import decode_answer
from langchain_openrouter._decoding import Secrets, excerpt
from langchain_openrouter._replies import dict_of
from langchain_openrouter._retry import RetryPolicy, plan_waits
from langchain_openrouter.costs import to_usd
from langchain_openrouter.errors import NotFound, OpenRouterError, ProtocolViolation

if TYPE_CHECKING:
    import httpx2

__all__ = ["GenerationRecord", "aget_generation", "get_generation"]

RECORD_WAIT_S: Final = 10.0
"""A record took more than half a second with many providers (RooCodeInc/Roo-Code#915, 2025); an unknown id takes
this long to be reported."""

_MONEY: Final = ("total_cost", "usage", "upstream_inference_cost", "cache_discount")
_FIRST_PAUSE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 2.0


class GenerationRecord(TypedDict):
    """One generation, as the API describes it; only money is converted, and nothing is left out or checked.

    Money is USD with every digit that was sent. Durations are milliseconds, `created_at` is ISO 8601. Tokens
    without `native_` are counted alike for all models; the native ones are billed.
    """

    id: str
    upstream_id: str | None
    request_id: NotRequired[str | None]
    session_id: NotRequired[str | None]
    model: str
    provider_name: str | None
    created_at: str
    api_type: str | None
    streamed: bool | None
    cancelled: bool | None
    finish_reason: str | None
    native_finish_reason: str | None
    service_tier: str | None
    total_cost: Decimal
    usage: Decimal
    upstream_inference_cost: Decimal | None
    cache_discount: Decimal | None
    is_byok: bool
    tokens_prompt: int | None
    tokens_completion: int | None
    native_tokens_prompt: int | None
    native_tokens_completion: int | None
    native_tokens_completion_images: int | None
    native_tokens_reasoning: int | None
    native_tokens_cached: int | None
    num_media_prompt: int | None
    num_input_audio_prompt: int | None
    num_media_completion: int | None
    num_search_results: int | None
    num_fetches: int | None
    web_search_engine: str | None
    latency: float | None
    generation_time: float | None
    moderation_latency: float | None
    app_id: int | None
    origin: str
    http_referer: str | None
    user_agent: str | None
    external_user: str | None
    preset_id: str | None
    router: str | None
    data_region: str
    workspace_id: NotRequired[str | None]
    response_cache_source_id: NotRequired[str | None]
    provider_responses: list[dict[str, Any]] | None


def get_generation(
    generation_id: str,
    *,
    wait_s: float = RECORD_WAIT_S,
    http_client: "httpx2.Client | None" = None,
    **options: Unpack[ApiOptions],
) -> GenerationRecord:
    """Return the record of a generation.

        get_generation(message.response_metadata["id"])["total_cost"]

    Args:
        generation_id: `gen-...`: `response_metadata["id"]` of a message, `generation_id` of an error.
        wait_s: A record appears a little after its answer, and is a 404 until then; that is tried again with
            pauses of together this many seconds. 0 tries once.
        http_client: A client of your own instead of the shared one.
        options: `api_key` (of the account that the generation belongs to), `base_url`, `default_headers`, `timeout`
            and `max_retries` (after other failures), as for `ChatOpenRouter`.

    Raises:
        NotFound: No such record, also after `wait_s`.
        OpenRouterError: The request failed, or an argument cannot work.
    """
    api = Access.from_arguments(**options)
    api.check()
    check_clients(http_client=http_client)
    from langchain_openrouter._fetch import fetch

    waits = plan_record_waits(api.policy, wait_s, random.random)
    return fetch(api.request("/generation", query={"id": generation_id}), waits, parse_generation, http_client)


async def aget_generation(
    generation_id: str,
    *,
    wait_s: float = RECORD_WAIT_S,
    http_async_client: "httpx2.AsyncClient | None" = None,
    **options: Unpack[ApiOptions],
) -> GenerationRecord:
    """Do as `get_generation` does, asynchronously."""
    api = Access.from_arguments(**options)
    api.check()
    check_clients(http_async_client=http_async_client)
    from langchain_openrouter._fetch import afetch

    call = api.request("/generation", query={"id": generation_id})
    waits = plan_record_waits(api.policy, wait_s, random.random)
    return await afetch(call, waits, parse_generation, http_async_client)


def plan_record_waits(
    policy: RetryPolicy, wait_s: float, dice: Callable[[], float]
) -> Generator[float, OpenRouterError, None]:
    """Do as `plan_waits` does, and wait for a record that is not there yet.

    Args:
        policy: Bounds of retries after other failures.
        wait_s: Sum of the pauses after a 404; they double from a quarter of a second to two.
        dice: See `plan_waits`.
    """
    others = plan_waits(policy, dice)
    pause_s = next(others)
    next_pause_s = _FIRST_PAUSE_S
    while True:
        failure = yield pause_s
        if not isinstance(failure, NotFound) or wait_s <= 0:
            pause_s = others.send(failure)
            continue
        pause_s = min(next_pause_s, wait_s)
        wait_s -= pause_s
        next_pause_s = min(2 * next_pause_s, _LONGEST_PAUSE_S)


def parse_generation(body: bytes, headers: Mapping[str, str], /, *, secrets: Secrets) -> GenerationRecord:
    """Read the body of a record.

    Raises:
        APIError: The body holds an error.
        ProtocolViolation: It holds no record.
    """
    record = dict_of(decode_answer(body, headers, secrets).get("data"))
    if record is None:
        raise ProtocolViolation("the answer holds no generation", body=excerpt(body, secrets))
    exact = json.loads(body, parse_float=Decimal)["data"]
    money = {name: to_usd(exact[name]) for name in _MONEY if name in exact}
    return cast("GenerationRecord", {**record, **money})
