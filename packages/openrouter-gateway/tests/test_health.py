"""What becomes of endpoints that fail, are slow, or ask for a pause."""

from typing import Any, TypeAlias, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from route_samples import priced, route, tags

from openrouter_gateway.core.health import HealthReport, Verdict
from openrouter_gateway.errors import Cut, Garbled, Refused, Throttled, TimedOut, Unavailable, UpstreamError
from openrouter_gateway.routing.facts import Facts
from openrouter_gateway.routing.health import MAX_OPEN_S, OPEN_S, OPENS_AFTER, Health, verdict_of
from openrouter_gateway.routing.tally import Tally
from openrouter_gateway.routing.windows import Rolling, bin_of, new_histogram, percentiles

START = 1000.0
KEY = "a/one|x"


def health_after(*verdicts: Verdict, every_s: float = 1.0) -> tuple[Health, float]:
    """Return health after these attempts, and the time of the last."""
    health, now = Health(), START
    for place, verdict in enumerate(verdicts):
        now = START + place * every_s
        health.record(KEY, now, verdict)
    return health, now


def broken(health: Health, now: float) -> bool:
    return health.views[KEY].broken_until > now


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (None, "served"),
        (Throttled("x"), "throttled"),
        (Unavailable("x", provider_status=429), "throttled"),
        (Unavailable("x", provider_status=403), "forbidden"),
        (Refused("x", status=400), "refused"),
        (Refused("x", status=413, provider_status=413), "refused"),
        (Unavailable("x", provider_status=401), "failed"),
        (Unavailable("x", provider_status=402), "failed"),
        (Unavailable("x", provider_status=404), "failed"),
        (Unavailable("x", provider_status=500), "failed"),
        (Unavailable("x"), "failed"),
        (TimedOut("x"), "failed"),
        (Garbled("x"), "failed"),
        (Cut("x"), "failed"),
    ],
)
def test_verdicts(error: UpstreamError | None, verdict: Verdict) -> None:
    """What counts against an endpoint, and what does not."""
    assert verdict == verdict_of(error)


class TestOutage:
    """Significant failures in the last 30 seconds."""

    @pytest.mark.parametrize(
        ("verdicts", "outage"),
        [
            (["served"], False),
            (["failed"], True),
            (["served"] * 18 + ["failed"], True),
            (["served"] * 19 + ["failed"], False),
            (["failed"] + ["served"] * 18, True),
            (["failed"] + ["served"] * 19, False),
            (["throttled"], False),
            (["refused", "abandoned", "forbidden"], False),
        ],
    )
    def test_fewer_than_95_percent_served(self, verdicts: list[Verdict], outage: bool) -> None:
        """Of what counts for uptime."""
        health, now = health_after(*verdicts, every_s=0.1)

        assert outage == (health.views[KEY].outage_until > now)

    def test_it_is_over_after_30_seconds(self) -> None:
        """Counted from the last failure, whatever follows it."""
        health, now = health_after("failed")

        assert now + 30 == health.views[KEY].outage_until

        health.record(KEY, now + 10, "served")

        assert now + 30 == health.views[KEY].outage_until

    def test_old_successes_do_not_count(self) -> None:
        """A minute of success does not hide a failure now."""
        health, now = health_after(*["served"] * 60)

        health.record(KEY, now + 40, "failed")

        assert health.views[KEY].outage_until == now + 70


class TestCircuit:
    """Five failures in a row."""

    def test_it_opens(self) -> None:
        """For half a minute."""
        health, now = health_after(*["failed"] * OPENS_AFTER)

        assert broken(health, now)
        assert broken(health, now + OPEN_S - 0.1)
        assert not broken(health, now + OPEN_S)

    @pytest.mark.parametrize("between", ["served", "throttled", "refused", "abandoned", "forbidden"])
    def test_failures_in_a_row(self, between: Verdict) -> None:
        """A success in between starts the count again; what says nothing does not."""
        health, now = health_after(*["failed"] * 4, between, "failed")

        assert (between != "served") == (health.views[KEY].broken_until >= now + OPEN_S)

    def test_one_probe_at_a_time(self) -> None:
        """While it lasts, other requests leave the endpoint alone."""
        health, now = health_after(*["failed"] * OPENS_AFTER)
        now += OPEN_S

        health.begin(KEY, now)

        assert broken(health, now)
        assert not broken(health, now + OPEN_S)

    @pytest.mark.parametrize("verdict", ["abandoned", "refused"])
    def test_a_probe_without_a_result(self, verdict: Verdict) -> None:
        """The next request may try."""
        health, now = health_after(*["failed"] * OPENS_AFTER)
        health.begin(KEY, now + OPEN_S)

        health.record(KEY, now + OPEN_S + 1, verdict)

        assert not broken(health, now + OPEN_S + 1)

    def test_a_success_closes_it(self) -> None:
        """It takes five failures again to open it, for as long as the first time."""
        health, now = health_after(*["failed"] * OPENS_AFTER)
        now += OPEN_S
        health.begin(KEY, now)
        health.record(KEY, now, "served")
        for _ in range(OPENS_AFTER - 1):
            health.record(KEY, now, "failed")

        assert not broken(health, now)

        health.record(KEY, now, "failed")

        assert now + OPEN_S == health.views[KEY].broken_until == health.views[KEY].failing_until

    def test_failed_probes_double_the_pause(self) -> None:
        """Up to five minutes."""
        health, now = health_after(*["failed"] * OPENS_AFTER)
        pauses: list[float] = []
        for _ in range(6):
            until = health.views[KEY].broken_until
            pauses.append(until - now)
            now = until
            health.begin(KEY, now)
            health.record(KEY, now, "failed")

        assert [30, 60, 120, 240, 300, 300] == pauses
        assert MAX_OPEN_S == pauses[-1]

    def test_failures_of_the_last_resort(self) -> None:
        """Tried while it is open, an endpoint does not stay away for longer."""
        health, now = health_after(*["failed"] * OPENS_AFTER)
        until = health.views[KEY].broken_until

        health.record(KEY, now + 10, "failed")

        assert until == health.views[KEY].broken_until

    def test_a_closed_circuit_has_no_probes(self) -> None:
        """The beginning of an attempt changes nothing."""
        health, now = health_after("failed")

        health.begin(KEY, now)
        health.begin("unknown", now)

        assert not broken(health, now)
        assert {KEY} == set(health.views)


class TestPause:
    """429 and `Retry-After`."""

    @pytest.mark.parametrize(("hint", "pause"), [(None, 5), (0, 0), (7, 7), (90, 90), (10**9, 3600)])
    def test_it_is_respected(self, hint: float | None, pause: float) -> None:
        """Up to an hour."""
        health = Health()

        health.record(KEY, START, "throttled", retry_after_s=hint)

        assert START + pause == health.views[KEY].broken_until
        assert health.views[KEY].failing_until <= START
        assert START + pause == health.views[KEY].cooling_until

    def test_the_longest_counts(self) -> None:
        """A later answer to an earlier request does not shorten it, nor does a success."""
        health = Health()
        health.record(KEY, START, "throttled", retry_after_s=60)
        health.record(KEY, START + 1, "throttled", retry_after_s=5)
        health.record(KEY, START + 2, "served")

        assert START + 60 == health.views[KEY].broken_until


class TestMeasurements:
    """Percentiles and uptime."""

    def test_percentiles(self) -> None:
        """So many requests were better: faster to begin, and faster to write."""
        health = Health()
        for n in range(1, 101):
            health.record(KEY, START + n * 2, "served", latency_s=n / 100, tokens_per_s=float(n))

        view = health.views[KEY]

        assert view.latency is not None
        assert view.throughput is not None
        assert [0.5, 0.75, 0.9, 0.99] == pytest.approx(
            [view.latency.p50, view.latency.p75, view.latency.p90, view.latency.p99], rel=0.03
        )
        assert [51, 26, 11, 2] == pytest.approx(
            [view.throughput.p50, view.throughput.p75, view.throughput.p90, view.throughput.p99], rel=0.03
        )

    def test_five_minutes(self) -> None:
        """Older ones are forgotten; the last ones hold for as long when nothing follows."""
        health = Health()
        health.record(KEY, START, "served", latency_s=100.0)
        health.record(KEY, START + 400, "served", latency_s=1.0)

        view = health.views[KEY]

        assert view.latency is not None
        assert view.latency.p99 == pytest.approx(1, rel=0.03)
        assert START + 700 == view.measured_until

    def test_odd_values(self) -> None:
        """A clock may show no time between two events."""
        health = Health()

        health.record(KEY, START, "served", latency_s=0.0, tokens_per_s=0.0)

        assert health.views[KEY].latency is not None

    @pytest.mark.parametrize(
        ("served", "failed", "standing"),
        [(95, 5, 0), (94, 6, 1), (80, 20, 1), (79, 21, 2), (10, 89, 0), (0, 100, 2), (1000, 0, 0)],
    )
    def test_standing(self, served: int, failed: int, standing: int) -> None:
        """From a hundred attempts on."""
        health, now = health_after(*["failed"] * failed, *["served"] * served, every_s=1.0)
        health.record(KEY, now + 1, "refused")

        assert standing == health.views[KEY].standing

    def test_tools(self) -> None:
        """The share of replies whose calls were well-formed."""
        health = Health()
        for n in range(10):
            health.record(KEY, START + n, "served", tools_ok=n > 2)
        health.record(KEY, START + 20, "served")

        assert (10, 0.7) == (health.views[KEY].tool_requests, health.views[KEY].tool_success)

    def test_the_report(self) -> None:
        """Each window has its own share; 429 and 403 are counted apart."""
        health = Health()
        health.record(KEY, START, "failed")
        health.record(KEY, START + 7200, "failed")
        health.record(KEY, START + 7200, "served", latency_s=2.0, tokens_per_s=50.0)
        health.record(KEY, START + 8400, "served", latency_s=1.0)
        health.record(KEY, START + 8400, "throttled")
        health.record(KEY, START + 8400, "forbidden")

        found = health.report(KEY, START + 8400)

        assert (100.0, 200 / 3, 50.0) == (found.uptime_last_5m, found.uptime_last_30m, found.uptime_last_1d)
        assert (1, 1) == (found.throttled_last_30m, found.forbidden_last_30m)
        assert found.latency_last_30m is not None
        assert found.latency_last_30m.p99 == pytest.approx(2, rel=0.03)
        assert found.throughput_last_30m is not None
        assert found.throughput_last_30m.p50 == pytest.approx(50, rel=0.03)

    def test_no_report(self) -> None:
        """Nothing is made up."""
        health, _ = health_after("refused")

        assert HealthReport() == health.report("unknown", START)
        assert HealthReport() == health.report(KEY, START)


def test_endpoints_that_are_gone() -> None:
    """A reload takes them out."""
    health, now = health_after("served")
    health.record("other", now, "served")

    health.retain({"other", "new"})

    assert ["other"] == list(health.views)
    assert "<Health of 1 endpoints>" == repr(health)


def test_plans_read_it() -> None:
    """An endpoint that fails goes behind at once, last when it is broken, and comes back as a probe."""
    endpoints = (priced("x", "1"), priced("y", "2"))
    health, now = Health(), START

    def order() -> list[str]:
        return tags(route(endpoints, Facts(now=now, health=health.views), provider={"sort": "price"}))

    for _ in range(OPENS_AFTER):
        assert ["x", "y"] == order()
        health.record(KEY, now, "failed")
    assert ["y", "x"] == order()
    now += OPEN_S
    assert ["x", "y"] == order()
    health.begin(KEY, now)
    assert ["y", "x"] == order()
    health.record(KEY, now, "served")
    assert ["x", "y"] == order()


def test_windows_are_bounded() -> None:
    """However long they are used, and whatever the clock does."""
    ring = Rolling(10.0, 3, new_histogram)
    for now in (*range(0, 1000, 5), 50, 3, 2000):
        ring.at(now)[now] = 1

    assert 3 == len(list(ring.since(10**6, 10**6)))
    assert [{2000: 1}] == list(ring.since(2000, 15))


@given(st.lists(st.floats(0.001, 1000), min_size=1, max_size=50), st.booleans())
def test_percentiles_are_close(values: list[float], higher_is_better: bool) -> None:
    """Each is within three percent of a measurement that so many others are no worse than."""
    histogram = new_histogram()
    for value in values:
        histogram[bin_of(value)] = histogram.get(bin_of(value), 0) + 1
    ordered = sorted(values, reverse=higher_is_better)

    found = percentiles(iter([histogram]), higher_is_better=higher_is_better)

    assert found is not None
    for share, value in ((50, found.p50), (75, found.p75), (90, found.p90), (99, found.p99)):
        exact = ordered[-(-share * len(values) // 100) - 1]
        assert exact == pytest.approx(value, rel=0.03)


Attempt: TypeAlias = tuple[Verdict, int | None, float | None, float | None, bool | None]


class TestTogether:
    """What one process tells another."""

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(get_args(Verdict)),
                st.none() | st.integers(1, 100),
                st.none() | st.floats(0.01, 60),
                st.none() | st.floats(0.1, 500),
                st.none() | st.booleans(),
            ),
            max_size=60,
        )
    )
    def test_both_know_the_same(self, attempts: list[Attempt]) -> None:
        """As if the other had made the attempts."""
        one, other = Health(shared=True), Health()
        for verdict, hint, latency, throughput, tools_ok in attempts:
            one.record(
                KEY,
                START,
                verdict,
                retry_after_s=hint,
                latency_s=latency,
                tokens_per_s=throughput,
                tools_ok=tools_ok,
            )
        news = msgspec.json.decode(msgspec.json.encode(one.drain(START)), type=dict[str, Tally])
        other.absorb(news, START)
        assert one.report(KEY, START) == other.report(KEY, START)
        later = START + 2  # figures that cost more are worked out once a second
        for health in (one, other):
            health.record(KEY, later, "refused")
        assert one.views == other.views
        assert {} == other.drain(later), "it does not tell what it was told"

    def test_each_attempt_is_told_once(self) -> None:
        """Nothing is left of what was drained."""
        health = Health(shared=True)
        health.record(KEY, START, "failed")
        assert [("failed", 1)] == health.drain(START)[KEY].runs
        assert {} == health.drain(START)

    def test_a_probe_is_one_for_all(self) -> None:
        """While one process finds out whether the circuit can close, the others leave the endpoint alone."""
        one, other = Health(shared=True), Health(shared=True)
        for _ in range(OPENS_AFTER):
            one.record(KEY, START, "failed")
        other.absorb(one.drain(START), START)
        now = START + OPEN_S
        assert (False, False) == (broken(one, now), broken(other, now))
        one.begin(KEY, now)
        other.absorb(one.drain(now), now)
        assert broken(other, now)
        one.record(KEY, now, "served")
        other.absorb(one.drain(now), now)
        assert not broken(other, now)

    def test_a_tally_is_small(self) -> None:
        """However the verdicts take turns, none is lost."""
        tally = Tally()
        for number in range(10_000):
            tally.add("served" if number % 2 else "failed", None, None, tools_ok=None)
        assert len(tally.runs) <= 65
        assert {"served": 5000, "failed": 5000} == {
            verdict: sum(count for each, count in tally.runs if each == verdict) for verdict in ("served", "failed")
        }


VERDICTS: list[Verdict] = ["served", "failed", "throttled", "forbidden", "refused", "abandoned"]


class HealthMachine(RuleBasedStateMachine):
    """Any attempts at any times: what plans read stays within its rules."""

    @initialize()
    def start(self) -> None:
        self.health = Health()
        self.now = START
        self.failures = 0
        self.hints = 0.0

    @rule(seconds=st.floats(0, 400))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def begin(self) -> None:
        self.health.begin(KEY, self.now)

    @rule(
        verdict=st.sampled_from(VERDICTS), hint=st.none() | st.integers(0, 5000), latency=st.none() | st.floats(0, 60)
    )
    def attempt(self, verdict: Verdict, hint: int | None, latency: float | None) -> None:
        self.health.record(KEY, self.now, verdict, retry_after_s=hint, latency_s=latency)
        if verdict == "served":
            self.failures = 0
        elif verdict == "failed":
            self.failures += 1
        elif verdict == "throttled":
            self.hints = max(self.hints, self.now + min(5 if hint is None else hint, 3600))

    @invariant()
    def holds(self) -> None:
        view = self.health.views.get(KEY)
        if view is None:
            return
        cooling = self.hints > self.now
        assert view.failures_in_a_row == self.failures
        assert view.broken_until <= max(self.hints, self.now + MAX_OPEN_S)
        assert cooling <= (view.broken_until > self.now)
        if self.failures < OPENS_AFTER and not cooling:
            assert view.broken_until <= self.now
        assert view.outage_until <= self.now + 30
        assert (view.outage_until > self.now) <= bool(self._failed_lately())

    def _failed_lately(self) -> Any:
        report = self.health.report(KEY, self.now)
        return report.uptime_last_5m is not None and report.uptime_last_5m < 95


TestAnyHistory = HealthMachine.TestCase
TestAnyHistory.settings = settings(max_examples=60, stateful_step_count=40)


@given(
    st.lists(
        st.tuples(
            st.sampled_from((0.0, 0.01, 0.01, 0.3, 2.0, 31.0)),
            st.sampled_from(get_args(Verdict)),
            st.booleans(),
            st.booleans(),
        ),
        max_size=40,
    )
)
@settings(deadline=None)
def test_plans_read_what_is_so(attempts: list[tuple[float, Verdict, bool, bool]]) -> None:
    """Views are only made anew when something has changed; until when speeds are known may be a second old."""
    health, now = Health(), START
    for pause_s, verdict, measured, begun in attempts:
        now += pause_s
        if begun:
            health.begin(KEY, now)
        speed = 1.0 if measured else None
        health.record(KEY, now, verdict, latency_s=speed, tokens_per_s=speed)
        read, record = health.views[KEY], health._records[KEY]
        fresh = record.view()
        assert msgspec.structs.replace(read, measured_until=0.0) == msgspec.structs.replace(fresh, measured_until=0.0)
        assert fresh.measured_until - read.measured_until < 1
