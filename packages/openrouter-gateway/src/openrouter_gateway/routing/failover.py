"""What to try next: a generator that yields endpoints and is sent how each try ended.

The one place that knows the rule "no failover after the first output", and which failures move on.
"""

from collections.abc import Generator

from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.errors import Throttled, TimedOut, Unavailable, UpstreamError
from openrouter_gateway.routing.plan import RoutePlan


def failover(plan: RoutePlan) -> Generator[Endpoint, UpstreamError, UpstreamError]:
    """Yield endpoints to try; send the error of each failed try; return the error that the caller is told.

    The driver sends an error only while nothing of the answer has been given out, and stops asking once it has. An
    error that is the request's own fault ends the plan for its model; the fallback models still get their try, as
    OpenRouter promises for `models`.
    """
    failures: list[UpstreamError] = []
    refused_by: set[str] = set()
    for endpoint in plan.endpoints:
        if endpoint.model_id in refused_by:
            continue
        error = yield endpoint
        failures.append(error)
        if not error.failover:
            refused_by.add(endpoint.model_id)
    return _sum_up(failures, plan)


def _sum_up(failures: list[UpstreamError], plan: RoutePlan) -> UpstreamError:
    """Return one error for all: OpenRouter's summary, or the provider's own where there was no way to fall back."""
    last = failures[-1]
    if len(failures) == 1 or not last.failover or not plan.allow_fallbacks:
        return last
    hints = [error.retry_after_s for error in failures if error.retry_after_s is not None]
    history = [
        {
            "provider": e.provider,
            "code": e.provider_code or e.error_type,
            "status": e.provider_status or e.status,
        }
        for e in failures
    ]
    if all(isinstance(error, Throttled) for error in failures):
        summary: UpstreamError = Throttled(last.message, provider=last.provider)
        summary.availability = _availability("capacity_exhausted", plan, min(hints, default=None))
    elif all(error.status >= 500 or isinstance(error, TimedOut) for error in failures):
        summary = Unavailable(last.message, provider=last.provider)
        summary.status, summary.error_type = 503, "provider_overloaded"
        summary.availability = _availability("temporarily_unavailable", plan, min(hints, default=None))
    else:
        summary = last
    summary.retry_after_s = min(hints, default=None)
    summary.metadata["previous_errors"] = history
    return summary


def _availability(code: str, plan: RoutePlan, retry_after_s: int | None) -> dict[str, object]:
    found: dict[str, object] = {
        "code": code,
        "retryable": True,
        "requested_models": list(dict.fromkeys(endpoint.model_id for endpoint in plan.endpoints)),
        "affected_providers": list(dict.fromkeys(endpoint.provider.slug for endpoint in plan.endpoints)),
        "docs_url": f"https://openrouter.ai/docs/errors#{code}",
    }
    if retry_after_s is not None:
        found["retry_after"] = retry_after_s
    return found
