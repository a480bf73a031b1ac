"""What to try next: a generator that yields endpoints and is sent how each try ended.

The one place that knows the rule "no failover after the first output", and which failures move on.
"""

from collections.abc import Generator
from typing import Final

from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.errors import NotRecorded, Throttled, Unavailable, UpstreamError
from openrouter_gateway.routing.plan import RoutePlan

_NO_SUCH_MODEL: Final = 404
_THROTTLED: Final = 429
_OVERLOADED: Final = 529
"""Anthropic's status, which OpenRouter passes on of a single provider only."""
_LOCKED: Final = frozenset({401, 402, 403})
"""Providers' statuses for a gateway whose key or account they do not accept."""
_LASTING: Final = _LOCKED | {_NO_SUCH_MODEL}


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

    It does not depend on the order in which providers failed. A model that no provider has (any more) is told even of
    a single try: its 502 would invite another one. So that the last model of `models` has the last word, refusals by
    those before it do not count.
    """
    last = failures[-1][1]
    if not last.failover:
        return last
    errors = [error for _, error in failures if error.failover]
    if all(error.provider_status == _NO_SUCH_MODEL for error in errors):
        summary: UpstreamError = Unavailable(last.message, provider=last.provider, provider_status=_NO_SUCH_MODEL)
        summary.provider_code = last.provider_code
        summary.status, summary.error_type = 404, "not_found"
        summary.availability = _availability("model_unavailable_upstream", plan, retryable=False)
    elif len(errors) == 1 or not plan.allow_fallbacks:
        summary = _own(last, plan)
        if not plan.allow_fallbacks:
            return summary
    elif any(map(_may_pass, errors)):
        summary = _sum_up_outage(errors, plan)
    else:
        summary = _sum_up_for_operator(failures)
    if len(failures) > 1:
        summary.metadata["previous_errors"] = [_history_row(endpoint, error) for endpoint, error in failures]
    return summary


def _may_pass(error: UpstreamError) -> bool:
    """Return whether trying again later may help: not while this gateway's configuration is what it is."""
    return not (error.provider_status in _LASTING or isinstance(error, NotRecorded))


def _is_throttled(error: UpstreamError) -> bool:
    return isinstance(error, Throttled) or error.provider_status == _THROTTLED


def _own(error: UpstreamError, plan: RoutePlan) -> UpstreamError:
    """Return a provider's own error, with what it says of the model's availability."""
    if error.provider_status == _OVERLOADED:
        error.status = _OVERLOADED if _is_pinned(plan) else 503
        error.error_type = "provider_overloaded"
    if _may_pass(error):
        code = "capacity_exhausted" if _is_throttled(error) else "temporarily_unavailable"
        error.availability = _availability(code, plan, retryable=True, retry_after_s=error.retry_after_s)
    return error


def _is_pinned(plan: RoutePlan) -> bool:
    """Return whether the request itself leaves no other provider: then it gets that provider's own status."""
    if not plan.allow_fallbacks:
        return True
    providers = {endpoint.provider.slug for endpoint in plan.endpoints}
    others = (row for row in plan.removed if row.endpoint.provider.slug not in providers)
    return len(providers) == 1 and any(row.excluded_by == "allowed_providers" for row in others)


def _sum_up_outage(errors: list[UpstreamError], plan: RoutePlan) -> UpstreamError:
    last = [error for error in errors if _may_pass(error)][-1]
    hint = min((error.retry_after_s for error in errors if error.retry_after_s is not None), default=None)
    if all(map(_is_throttled, errors)):
        summary: UpstreamError = Throttled(last.message, provider=last.provider)
        summary.availability = _availability("capacity_exhausted", plan, retryable=True, retry_after_s=hint)
    else:
        summary = Unavailable(last.message, provider=last.provider)
        summary.status, summary.error_type = 503, "provider_overloaded"
        summary.availability = _availability("temporarily_unavailable", plan, retryable=True, retry_after_s=hint)
    summary.retry_after_s = hint
    return summary


def _sum_up_for_operator(failures: list[tuple[Endpoint, UpstreamError]]) -> UpstreamError:
    """Return a 502 that neither blames the caller nor invites to try again; no availability code means that."""
    last = failures[-1][1]
    locked = {endpoint.provider.name: error.provider_status for endpoint, error in failures if _is_locked(error)}
    if not locked:
        return last
    names = ", ".join(f"{name}: {status}" for name, status in locked.items())
    return Unavailable(
        "The providers do not let this gateway in. This is not the request's fault: whoever runs the gateway must look "
        f"at its keys and accounts there ({names})"
    )


def _is_locked(error: UpstreamError) -> bool:
    return error.provider_status in _LOCKED


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
