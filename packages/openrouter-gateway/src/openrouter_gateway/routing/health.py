"""How endpoints are doing, from what became of attempts: the one place in routing that keeps state.

`Health.views` is what plans read (`Facts.health`), a value per endpoint that holds until its times are over. Recording
costs a few microseconds and constant memory per endpoint. Rules, OpenRouter's (provider health, 2026-08-22) and ours:

* An outage is significant when fewer than 95 percent of the attempts of the last 30 seconds were served; it is over 30
  seconds after the last failure.
* Five failures in a row open the circuit for 30 seconds, a failed probe for twice as long as before, up to 5 minutes.
  Then one attempt at a time is let through in the endpoint's normal place; a success closes the circuit.
* A 429 leaves the endpoint alone for as long as `Retry-After` says, at most an hour; 5 seconds without it.

Where several processes serve together, each tells the others its `Tally` of every endpoint, and takes in theirs as if
it had made their attempts itself.
"""

from collections.abc import Container, Iterable, Mapping
from typing import Final

from openrouter_gateway.core.health import EndpointHealth, HealthReport, Percentiles, Standing, Verdict
from openrouter_gateway.errors import AtCapacity, NotRecorded, Refused, Throttled, UpstreamError
from openrouter_gateway.routing.tally import Tally
from openrouter_gateway.routing.windows import Counts, Rolling, bin_of, new_histogram, percentiles

OPENS_AFTER: Final = 5
OPEN_S: Final = 30.0
MAX_OPEN_S: Final = 300.0
OUTAGE_S: Final = 30.0
COOLING_S: Final = 5.0
MAX_COOLING_S: Final = 3600.0

_NORMAL_UPTIME: Final = 0.95
_DEGRADED_UPTIME: Final = 0.80
_MIN_ATTEMPTS: Final = 100
_MEASURED_S: Final = 300.0
_REFRESH_S: Final = 1.0
_MINUTE: Final = 60.0
_TWO_HOURS: Final = 7200.0
_DAY: Final = 86400.0
_UNKNOWN: Final = EndpointHealth()


def verdict_of(error: UpstreamError | None) -> Verdict:
    """Return what the end of an attempt says about its endpoint; None for a success.

    A finish reason `error` in a complete reply is a failure too: the shell says `failed` itself.
    """
    if error is None:
        return "served"
    if isinstance(error, (AtCapacity, NotRecorded)):
        return "abandoned"
    if isinstance(error, Throttled) or error.provider_status == 429:
        return "throttled"
    if error.provider_status == 403:
        return "forbidden"
    return "refused" if isinstance(error, Refused) else "failed"


class Health:
    """All endpoints that have been tried, by key. `now` is seconds of a clock that never jumps.

    `shared`: other processes are told, so that tallies are kept until they are drained.
    """

    def __init__(self, *, shared: bool = False) -> None:
        self.views: dict[str, EndpointHealth] = {}
        self._records: dict[str, _Record] = {}
        self._tallies: dict[str, Tally] | None = {} if shared else None

    def __repr__(self) -> str:
        return f"<Health of {len(self._records)} endpoints>"

    def begin(self, key: str, now: float) -> None:
        """Note that an endpoint is being tried: one whose circuit was open is on probation until the outcome."""
        record = self._records.get(key)
        if record is not None and record.open_until and now >= record.open_until:
            record.probing_until = now + OPEN_S
            self.views[key] = record.view()
            if self._tallies is not None:
                self._tallies.setdefault(key, Tally()).probing = True

    def record(
        self,
        key: str,
        now: float,
        verdict: Verdict,
        *,
        latency_s: float | None = None,
        tokens_per_s: float | None = None,
        retry_after_s: float | None = None,
        tools_ok: bool | None = None,
    ) -> None:
        """Take in what became of an attempt.

        `latency_s`: to the first token. `tokens_per_s`: tokens of the answer over the whole duration. `tools_ok`: for
        a reply that calls tools, whether all calls were well-formed (parsable, of known tools, matching the schema).
        """
        record = self._record_of(key)
        record.take(now, verdict, _pause(verdict, retry_after_s))
        latency = None if latency_s is None else bin_of(latency_s)
        throughput = None if tokens_per_s is None else bin_of(tokens_per_s)
        if latency is not None:
            record.measure(record.latencies, now, latency)
        if throughput is not None:
            record.measure(record.throughputs, now, throughput)
        if tools_ok is not None:
            record.count_tools(now, 1, int(tools_ok))
        if self._tallies is not None:
            self._tallies.setdefault(key, Tally()).add(verdict, latency, throughput, tools_ok=tools_ok)
        self._renew(key, record, now)

    def drain(self, now: float) -> dict[str, Tally]:
        """Return what happened since the last call, for other processes."""
        if self._tallies is None:
            return {}
        tallies, self._tallies = self._tallies, {}
        for key, tally in tallies.items():
            record = self._records.get(key)
            if record is not None and any(verdict == "throttled" for verdict, _ in tally.runs):
                tally.cooling_s = max(0.0, record.cooling_until - now)
        return tallies

    def absorb(self, tallies: Mapping[str, Tally], now: float) -> None:
        """Take in what another process drained, as if it had happened here at `now`."""
        for key, tally in tallies.items():
            record = self._record_of(key)
            for verdict, count in tally.runs:
                record.take(now, verdict, tally.cooling_s if verdict == "throttled" else 0.0, count)
            for place, count in tally.latencies.items():
                record.measure(record.latencies, now, place, count)
            for place, count in tally.throughputs.items():
                record.measure(record.throughputs, now, place, count)
            record.count_tools(now, tally.tool_requests, tally.tool_successes)
            if tally.probing and record.open_until:
                record.probing_until = now + OPEN_S
                record.changed = True
            self._renew(key, record, now)

    def _record_of(self, key: str) -> "_Record":
        record = self._records.get(key)
        if record is None:
            record = self._records[key] = _Record()
        return record

    def _renew(self, key: str, record: "_Record", now: float) -> None:
        if now - record.refreshed_at >= _REFRESH_S or record.refreshed_at > now:
            record.refresh(now)
        if record.changed:
            self.views[key] = record.view()

    def report(self, key: str, now: float) -> HealthReport:
        """Return what the models API shows of an endpoint."""
        record = self._records.get(key)
        return HealthReport() if record is None else record.report(now)

    def retain(self, keys: Container[str]) -> None:
        """Forget endpoints that are not among these, such as those that a reload has taken out."""
        for key in [key for key in self._records if key not in keys]:
            del self._records[key], self.views[key]


class _Record:
    """One endpoint's windows, and the state of its circuit."""

    __slots__ = (
        "_failed_at", "_failures", "_measured_until", "_openings", "_outage_until", "_percentiles",
        "_standing", "_statistics", "changed", "coarse", "cooling_until", "fine", "latencies", "open_until",
        "probing_until", "refreshed_at", "throughputs",
    )  # fmt: skip

    def __init__(self) -> None:
        # Each reaches back for five minutes, half an hour or a day, and has one more for the stretch that has begun.
        self.fine = Rolling(5.0, 61, Counts)
        self.coarse = Rolling(300.0, 289, Counts)
        self.latencies = (Rolling(30.0, 11, new_histogram), Rolling(300.0, 7, new_histogram))
        self.throughputs = (Rolling(30.0, 11, new_histogram), Rolling(300.0, 7, new_histogram))
        self.open_until = 0.0  # 0: the circuit is closed
        self.probing_until = 0.0
        self.refreshed_at = float("-inf")
        self.changed = True  # since the last view
        self._failures = 0
        self._failed_at = float("-inf")
        self._openings = 0
        self._outage_until = 0.0
        self.cooling_until = 0.0
        self._measured_until = 0.0
        self._standing: Standing = 0
        self._percentiles: tuple[Percentiles | None, Percentiles | None] = (None, None)
        self._statistics: tuple[int, int, float | None] = (0, 0, None)

    def take(self, now: float, verdict: Verdict, pause_s: float, count: int = 1) -> None:
        """Count attempts that went alike, and move the circuit."""
        if verdict != "served" or self._failures or self.probing_until:
            self.changed = True
        self.probing_until = 0.0
        fine, coarse = self.fine.at(now), self.coarse.at(now)
        if verdict == "served":
            fine.served += count
            coarse.served += count
            self._failures = self._openings = 0
            self.open_until = 0.0
        elif verdict == "failed":
            fine.failed += count
            coarse.failed += count
            self._fail(now, count)
        elif verdict == "throttled":
            coarse.throttled += count
            self.cooling_until = max(self.cooling_until, now + pause_s)
        elif verdict == "forbidden":
            coarse.forbidden += count
        if now - self._failed_at < OUTAGE_S:
            served, failed = _sums(self.fine.since(now, OUTAGE_S))
            significant = served < _NORMAL_UPTIME * (served + failed)
            self._outage_until = self._failed_at + OUTAGE_S if significant else 0.0
            self.changed = True

    def _fail(self, now: float, count: int) -> None:
        self._failed_at = now
        self._failures += count
        probe_failed = self.open_until and now >= self.open_until
        if probe_failed or (self._failures >= OPENS_AFTER and not self.open_until):
            self.open_until = now + min(OPEN_S * 2**self._openings, MAX_OPEN_S)
            self._openings += 1

    def measure(
        self, rings: tuple[Rolling[dict[int, int]], Rolling[dict[int, int]]], now: float, place: int, count: int = 1
    ) -> None:
        """Put measurements into their bin."""
        for ring in rings:
            histogram = ring.at(now)
            histogram[place] = histogram.get(place, 0) + count
        until = now + _MEASURED_S
        if until - self._measured_until >= _REFRESH_S:
            self._measured_until = until
            self.changed = True

    def count_tools(self, now: float, requests: int, successes: int) -> None:
        """Count replies that call tools."""
        counts = self.coarse.at(now)
        counts.tool_requests += requests
        counts.tool_successes += successes

    def refresh(self, now: float) -> None:
        """Work out what is too costly for every attempt."""
        self.refreshed_at = now
        self.changed = True
        self._percentiles = (
            percentiles(self.latencies[0].since(now, _MEASURED_S), higher_is_better=False),
            percentiles(self.throughputs[0].since(now, _MEASURED_S), higher_is_better=True),
        )
        served, failed = _sums(self.coarse.since(now, 30 * _MINUTE))
        attempts = served + failed
        self._standing = _standing(served, attempts)
        tool_requests = tool_successes = 0
        for counts in self.coarse.since(now, _TWO_HOURS):
            tool_requests += counts.tool_requests
            tool_successes += counts.tool_successes
        success = tool_successes / tool_requests if tool_requests else None
        self._statistics = (attempts, tool_requests, success)

    def view(self) -> EndpointHealth:
        """Return the value that plans read, of everything up to now."""
        self.changed = False
        attempts, tool_requests, tool_success = self._statistics
        latency, throughput = self._percentiles
        failing_until = max(self.open_until, self.probing_until)
        return EndpointHealth(
            broken_until=max(failing_until, self.cooling_until),
            failing_until=failing_until,
            outage_until=self._outage_until,
            standing=self._standing,
            failures_in_a_row=self._failures,
            cooling_until=self.cooling_until,
            measured_until=self._measured_until,
            latency=latency,
            throughput=throughput,
            attempts_30m=attempts,
            tool_requests=tool_requests,
            tool_success=tool_success,
        )

    def report(self, now: float) -> HealthReport:
        """Return what the models API shows."""
        half_hour = 30 * _MINUTE
        recent = list(self.coarse.since(now, half_hour))
        return HealthReport(
            uptime_last_5m=_uptime(self.fine.since(now, 5 * _MINUTE)),
            uptime_last_30m=_uptime(recent),
            uptime_last_1d=_uptime(self.coarse.since(now, _DAY)),
            latency_last_30m=percentiles(self.latencies[1].since(now, half_hour), higher_is_better=False),
            throughput_last_30m=percentiles(self.throughputs[1].since(now, half_hour), higher_is_better=True),
            throttled_last_30m=sum(counts.throttled for counts in recent),
            forbidden_last_30m=sum(counts.forbidden for counts in recent),
        )


def _pause(verdict: Verdict, retry_after_s: float | None) -> float:
    if verdict != "throttled":
        return 0.0
    return COOLING_S if retry_after_s is None else min(retry_after_s, MAX_COOLING_S)


def _sums(slots: Iterable[Counts]) -> tuple[int, int]:
    served = failed = 0
    for counts in slots:
        served += counts.served
        failed += counts.failed
    return served, failed


def _uptime(slots: Iterable[Counts]) -> float | None:
    served, failed = _sums(slots)
    return 100 * served / (served + failed) if served + failed else None


def _standing(served: int, attempts: int) -> Standing:
    if attempts < _MIN_ATTEMPTS or served >= _NORMAL_UPTIME * attempts:
        return 0
    return 1 if served >= _DEGRADED_UPTIME * attempts else 2
