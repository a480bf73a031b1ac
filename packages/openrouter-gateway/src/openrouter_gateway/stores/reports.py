"""What the management API shows of the ledger (API digest: accounting, 8.1 and 8.4)."""

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec

from openrouter_gateway.core.generation import AttemptRecord, Generation
from openrouter_gateway.stores.contents import KeptContent
from openrouter_gateway.stores.queries import Activity

_ROUTERS = ("openrouter/", "~")
"""How names begin that the gateway finds a model for: routers, and the aliases of a family's latest."""


def report_generation(generation: Generation) -> dict[str, Any]:
    """Return the `data` of `GET /generation`: USD as `Decimal`, durations in milliseconds, all documented members.

    `total_cost` is what the gateway computed, `upstream_inference_cost` what the provider reported.
    """
    usage, cost = generation.usage, generation.cost.total
    prompt, completion = generation.normalized_prompt_tokens, generation.normalized_completion_tokens
    native = not usage.estimated
    requested = next(iter(generation.requested_models), "")
    return {
        "id": generation.id,
        "request_id": None,
        "upstream_id": generation.upstream_id,
        "created_at": dt.datetime.fromtimestamp(generation.created, dt.UTC).isoformat(),
        "api_type": generation.api_type,
        "model": generation.model or requested,
        "router": requested if requested.startswith(_ROUTERS) else None,
        "provider_name": generation.provider_name or generation.provider,
        "service_tier": generation.service_tier,
        "streamed": generation.streamed,
        "cancelled": generation.ending == "cancelled",
        "finish_reason": generation.finish_reason,
        "native_finish_reason": generation.native_finish_reason,
        "total_cost": cost,
        "usage": cost,
        "upstream_inference_cost": usage.reported_cost,
        "cache_discount": None,
        "is_byok": False,
        "tokens_prompt": usage.prompt_tokens if prompt is None else prompt,
        "tokens_completion": usage.completion_tokens if completion is None else completion,
        "native_tokens_prompt": usage.prompt_tokens if native else None,
        "native_tokens_completion": usage.completion_tokens if native else None,
        "native_tokens_completion_images": usage.image_tokens if native else None,
        "native_tokens_reasoning": usage.reasoning_tokens if native else None,
        "native_tokens_cached": usage.cached_tokens if native else None,
        "latency": _to_ms(generation.latency_s),
        "generation_time": _to_ms(generation.duration_s),
        "origin": _origin_of(generation.app_url),
        "http_referer": generation.app_url,
        "user_agent": generation.user_agent,
        "external_user": generation.user,
        "session_id": generation.session_id,
        "data_region": "global",
        "response_cache_source_id": generation.cache_source_id,
        "provider_responses": [_report_attempt(attempt) for attempt in generation.attempts] or None,
        **dict.fromkeys(_NOT_KNOWN_HERE),
    }


_NOT_KNOWN_HERE = (
    "app_id",
    "moderation_latency",
    "num_fetches",
    "num_input_audio_prompt",
    "num_media_completion",
    "num_media_prompt",
    "num_search_results",
    "preset_id",
    "web_search_engine",
    "workspace_id",
)


def report_content(content: KeptContent) -> dict[str, Any]:
    """Return the `data` of `GET /generation/content`.

    Documented are the text and the reasoning of one answer; `messages` has what there is besides, such as calls of
    tools and further choices.
    """
    messages: list[dict[str, Any]] = msgspec.json.decode(content.output)
    first = messages[0] if messages else {}
    return {
        "input": content.input,
        "output": {
            "completion": _text_of(first.get("content")),
            "reasoning": first.get("reasoning"),
            "messages": messages,
        },
        "error": content.error,
    }


def _text_of(content: Any) -> str | None:
    if not isinstance(content, list):
        return content
    return "".join(str(part.get("text") or "") for part in cast("list[dict[str, Any]]", content))


def report_activity(activity: Iterable[Activity], names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the `data` of `GET /activity` for sums by day, model, provider and endpoint, newest day first.

    `names` are the display names of providers by slug; one that is not there any more is shown by its slug.
    Generations that no model was found for are left out: a row has a model.
    """
    rows = [
        {
            "date": row.day.isoformat(),
            "model": row.model,
            "model_permaslug": row.model,
            "endpoint_id": row.endpoint or "",
            "provider_name": names.get(row.provider or "", row.provider or ""),
            "usage": row.cost,
            "byok_usage_inference": 0,
            "requests": row.requests,
            "prompt_tokens": row.prompt_tokens,
            "completion_tokens": row.completion_tokens,
            "reasoning_tokens": row.reasoning_tokens,
        }
        for row in activity
        if row.day is not None and row.model is not None
    ]
    return sorted(rows, key=lambda row: row["date"], reverse=True)


def _report_attempt(attempt: AttemptRecord) -> dict[str, Any]:
    return {
        "status": attempt.status,
        "provider_name": attempt.provider_name or attempt.provider,
        "endpoint_id": attempt.tag,
        "model_permaslug": attempt.model,
        "latency": _to_ms(attempt.duration_s),
        "is_byok": False,
    }


def _to_ms(duration_s: float | None) -> int | None:
    return None if duration_s is None else round(duration_s * 1000)


def _origin_of(url: str | None) -> str:
    """Return scheme and host of an app's URL, empty if there is none."""
    try:
        parts = urlsplit(url or "")
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""
