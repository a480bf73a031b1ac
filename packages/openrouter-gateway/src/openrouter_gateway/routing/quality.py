"""Auto Exacto: endpoints that serve tool calls well before those that do not (OpenRouter API, 2026-08-22).

OpenRouter reorders into good, insufficient data, deprioritised, by throughput, tool-call success and benchmark
scores. Of these a gateway knows what it has measured itself: throughput from 100 attempts in 30 minutes, and the
success of tool calls from 200 tool-calling replies in 2 hours where the shell reports it. There are no benchmarks.
Endpoints are compared with each other only when at least four providers of the model have data.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from openrouter_gateway.core.health import EndpointHealth
from openrouter_gateway.routing.index import Row

GOOD, INSUFFICIENT, DEPRIORITISED = 0, 1, 2
_MIN_PROVIDERS: Final = 4
_MIN_ATTEMPTS: Final = 100
_MIN_TOOL_REQUESTS: Final = 200
_THROUGHPUT_SIGMAS: Final = 1.5
_SUCCESS_SIGMAS: Final = 2.0
_SIGMA_PER_MAD: Final = 1.4826
"""The standard deviation of normally distributed values, by their median absolute deviation."""


def quality_tiers(rows: Sequence[Row], health: Mapping[str, EndpointHealth]) -> list[int]:
    """Return the tier of each row; all the same when there is too little to compare."""
    speeds = [_throughput(health.get(row.key)) for row in rows]
    successes = [_tool_success(health.get(row.key)) for row in rows]
    slowest = _cutoff(rows, speeds, _THROUGHPUT_SIGMAS)
    worst = _cutoff(rows, successes, _SUCCESS_SIGMAS)
    if slowest is None and worst is None:
        return [GOOD] * len(rows)
    return [_tier((speed, slowest), (success, worst)) for speed, success in zip(speeds, successes, strict=True)]


def _tier(*measures: tuple[float | None, float | None]) -> int:
    known = [(value, cutoff) for value, cutoff in measures if value is not None and cutoff is not None]
    if not known:
        return INSUFFICIENT
    return DEPRIORITISED if any(value < cutoff for value, cutoff in known) else GOOD


def _cutoff(rows: Sequence[Row], values: Sequence[float | None], sigmas: float) -> float | None:
    """Return median minus so many standard deviations; None when fewer than four providers have a value."""
    known = sorted(value for value in values if value is not None)
    providers = {row.endpoint.provider.slug for row, value in zip(rows, values, strict=True) if value is not None}
    if len(providers) < _MIN_PROVIDERS:
        return None
    median = _median(known)
    deviation = _median(sorted(abs(value - median) for value in known))
    return median - sigmas * _SIGMA_PER_MAD * deviation


def _median(ordered: Sequence[float]) -> float:
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _throughput(health: EndpointHealth | None) -> float | None:
    if health is None or health.throughput is None or health.attempts_30m < _MIN_ATTEMPTS:
        return None
    return health.throughput.p50


def _tool_success(health: EndpointHealth | None) -> float | None:
    return None if health is None or health.tool_requests < _MIN_TOOL_REQUESTS else health.tool_success
