"""How endpoints have been doing: values that planning reads and that processes can share.

Times are seconds of one clock that never jumps, the one that `now` of a plan comes from.
"""

from typing import Literal, TypeAlias

from msgspec import Struct

Verdict: TypeAlias = Literal["served", "failed", "throttled", "forbidden", "refused", "abandoned"]
"""What an attempt says about its endpoint (OpenRouter API, provider health, 2026-08-22).

Only `served` and `failed` count for uptime; `throttled` (429) and `forbidden` (403) are kept apart; `refused` (the
request's own fault) and `abandoned` (the caller left, or the gateway stopped) say nothing.
"""

Standing: TypeAlias = Literal[0, 1, 2]
"""0: normal; 1: degraded, uptime from 80 to 95 percent; 2: down, below that. Known from 100 attempts on."""


class Percentiles(Struct, frozen=True, gc=False):
    """Seconds to the first token, or tokens per second."""

    p50: float
    p75: float
    p90: float
    p99: float


class EndpointHealth(Struct, frozen=True, kw_only=True, gc=False):
    """An endpoint as planning sees it. Every `..._until` is a time, past when the trouble is over.

    `broken_until`: it is not to be tried before the others: its circuit is open, it is being probed, or it asked for
    a pause. `failing_until`: the same without pauses, which say that it is busy, not that it fails. `outage_until`: it
    had significant failures in the 30 seconds before. `latency` and `throughput` cover five minutes, and hold until
    `measured_until`. `tool_success` is the share of tool-calling replies, of `tool_requests` in two hours, whose calls
    were well-formed.
    """

    broken_until: float = 0.0
    failing_until: float = 0.0
    outage_until: float = 0.0
    standing: Standing = 0
    failures_in_a_row: int = 0
    cooling_until: float = 0.0
    measured_until: float = 0.0
    latency: Percentiles | None = None
    throughput: Percentiles | None = None
    attempts_30m: int = 0
    tool_requests: int = 0
    tool_success: float | None = None


class HealthReport(Struct, frozen=True, kw_only=True):
    """An endpoint as its row in the models API shows it: percents, seconds, tokens per second; None: no data."""

    uptime_last_5m: float | None = None
    uptime_last_30m: float | None = None
    uptime_last_1d: float | None = None
    latency_last_30m: Percentiles | None = None
    throughput_last_30m: Percentiles | None = None
    throttled_last_30m: int = 0
    forbidden_last_30m: int = 0
