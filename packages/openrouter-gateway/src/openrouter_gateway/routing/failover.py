"""What to try next: a generator that yields endpoints and is sent how each try ended.

The one place that knows the rule "no failover after the first output", and which failures move on.
"""

from collections.abc import Generator
from typing import Final

from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.errors import Throttled, TimedOut, Unavailable, UpstreamError
from openrouter_gateway.routing.plan import RoutePlan

_OVERLOADED: Final = 529
"""Anthropic's status, which OpenRouter passes on of a single provider only."""


def failover(plan: RoutePlan) -> Generator[Endpoint, UpstreamError, UpstreamError]:
    """Yield endpoints to try; send the error of each failed try; return the error that the caller is told.

    The driver sends an error only while nothing of the answer has been given out, and stops asking once it has. An
    error that is the request's own fault ends the plan for its model; the fallback models still get their try, as
    OpenRouter promises for `models`.
    """
    failures: list[tuple[Endpoint, UpstreamError]] = []
    refused_by: set[str] = set()
    for endpoint in plan.endpoints:
        if endpoint.model_id in refused_by:
            continue
        error = yield endpoint
        failures.append((endpoint, error))
        if not error.failover:
            refused_by.add(endpoint.model_id)
    return _sum_up(failures, plan)


def _sum_up(failures: list[tuple[Endpoint, UpstreamError]], plan: RoutePlan) -> UpstreamError:
    """Return one error for all: OpenRouter's summary, or the provider's own where there was no way to fall back.

    A model that no provider has (any more) is told even of a single try: its 502 would invite another one.
    """
    errors = [error for _, error in failures]
    last = errors[-1]
    if all(error.provider_status == 404 for error in errors):
        summary = Unavailable(last.message, provider=last.provider, provider_status=404)
        summary.provider_code = last.provider_code
        summary.status, summary.error_type = 404, "not_found"
        summary.availability = _availability("model_unavailable_upstream", plan, retryable=False)
    elif len(errors) == 1 or not last.failover or not plan.allow_fallbacks:
        if last.provider_status == _OVERLOADED:
            last.status = _OVERLOADED if _is_pinned(plan) else 503
        return last
    else:
        summary = _sum_up_outage(errors, plan)
    if len(errors) > 1:
        summary.metadata["previous_errors"] = [_history_row(endpoint, error) for endpoint, error in failures]
    return summary


def _is_pinned(plan: RoutePlan) -> bool:
    """Return whether the request itself leaves no other provider: then it gets that provider's own status."""
    if not plan.allow_fallbacks:
        return True
    providers = {endpoint.provider.slug for endpoint in plan.endpoints}
    others = (row for row in plan.removed if row.endpoint.provider.slug not in providers)
    return len(providers) == 1 and any(row.excluded_by == "allowed_providers" for row in others)


def _sum_up_outage(errors: list[UpstreamError], plan: RoutePlan) -> UpstreamError:
    last = errors[-1]
    hint = min((error.retry_after_s for error in errors if error.retry_after_s is not None), default=None)
    if all(isinstance(error, Throttled) for error in errors):
        summary: UpstreamError = Throttled(last.message, provider=last.provider)
        summary.availability = _availability("capacity_exhausted", plan, retryable=True, retry_after_s=hint)
    elif all(error.status >= 500 or isinstance(error, TimedOut) for error in errors):
        summary = Unavailable(last.message, provider=last.provider)
        summary.status, summary.error_type = 503, "provider_overloaded"
        summary.availability = _availability("temporarily_unavailable", plan, retryable=True, retry_after_s=hint)
    else:
        summary = last
    summary.retry_after_s = hint
    return summary


def _history_row(endpoint: Endpoint, error: UpstreamError) -> dict[str, object]:
    """Return what of a failed try is shown: the provider by its slug (OpenRouter API, appendix B), never its words."""
    return {
        "provider": endpoint.provider.slug,
        "code": error.provider_code or error.error_type,
        "status": error.provider_status or error.status,
    }


def _availability(
    code: str, plan: RoutePlan, *, retryable: bool, retry_after_s: int | None = None
) -> dict[str, object]:
    found: dict[str, object] = {
        "code": code,
        "retryable": retryable,
        "requested_models": list(plan.requested or dict.fromkeys(endpoint.model_id for endpoint in plan.endpoints)),
        "affected_providers": list(dict.fromkeys(endpoint.provider.slug for endpoint in plan.endpoints)),
        "docs_url": f"https://openrouter.ai/docs/errors#{code}",
    }
    if retry_after_s is not None:
        found["retry_after"] = retry_after_s
    return found
