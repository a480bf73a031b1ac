"""What is tried next, and what the caller is told when nothing is left."""

from typing import Any

import pytest
from gateway_samples import make_endpoint
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from route_samples import priced, route

from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.errors import Cut, Garbled, Refused, Throttled, TimedOut, Unavailable, UpstreamError
from openrouter_gateway.routing.failover import failover
from openrouter_gateway.routing.plan import RoutePlan

A, B, C = make_endpoint("alpha"), make_endpoint("beta"), make_endpoint("gamma")
SECOND = make_endpoint("alpha", "a/two")


def drive(plan: list[Endpoint] | RoutePlan, errors: list[UpstreamError]) -> tuple[list[Endpoint], UpstreamError | None]:
    """Fail every try with the next error; return what was tried, and the summary if it came to one."""
    steps = failover(plan if isinstance(plan, RoutePlan) else RoutePlan(tuple(plan)))
    tried = [next(steps)]
    for error in errors:
        try:
            tried.append(steps.send(error))
        except StopIteration as stop:
            return tried, stop.value
    return tried, None


def throttled(retry_after_s: int | None = None) -> Throttled:
    error = Throttled("slow down", provider="P", provider_code="rate_limited", provider_status=429)
    error.retry_after_s = retry_after_s
    return error


@pytest.mark.parametrize(
    "error", [Throttled("x"), Unavailable("x"), TimedOut("x"), Garbled("x"), Cut("x")], ids=lambda e: type(e).__name__
)
def test_a_providers_fault_moves_on(error: UpstreamError) -> None:
    """The next endpoint in the plan's order gets its try."""
    assert drive([A, B, C], [error]) == ([A, B], None)


def test_the_callers_fault_ends_the_model() -> None:
    """Another endpoint would say the same; a fallback model might not."""
    refused = Refused("too long", status=400, error_type="context_length_exceeded")

    assert ([A], refused) == drive([A, B, C], [refused])
    assert drive([A, B, SECOND], [refused]) == ([A, SECOND], None)


def test_one_try_has_its_own_error() -> None:
    """There is nothing to sum up."""
    error = throttled(7)

    tried, summary = drive([A], [error])

    assert tried == [A]
    assert error is summary
    assert None is error.availability


@pytest.mark.parametrize(
    ("hints", "shortest"), [([9, 3, 5], 3), ([None, 4, None], 4), ([None, None, None], None), ([0, 5, 5], 0)]
)
def test_all_at_their_limit(hints: list[int | None], shortest: int | None) -> None:
    """429, retryable, with the shortest hint of all."""
    _, summary = drive([A, B, C], [throttled(hint) for hint in hints])

    assert isinstance(summary, Throttled)
    assert (429, "rate_limit_exceeded", shortest) == (summary.status, summary.error_type, summary.retry_after_s)
    availability = summary.availability
    assert availability is not None
    assert tuple(availability[key] for key in ("code", "retryable", "requested_models")) == (
        "capacity_exhausted",
        True,
        ["a/one"],
    )
    assert availability["affected_providers"] == ["alpha", "beta", "gamma"]
    assert shortest == availability.get("retry_after")


@pytest.mark.parametrize(
    ("provider", "status"),
    [
        ({}, 503),
        ({"only": ["alpha"]}, 529),
        ({"only": ["alpha", "beta"]}, 503),
        ({"order": ["alpha"], "allow_fallbacks": False}, 529),
    ],
)
def test_overload(provider: dict[str, Any], status: int) -> None:
    """Its own status of a provider that the request insists on; else it is an outage like others."""
    endpoints = [priced("alpha", "1"), priced("beta", "2")] if provider else [priced("alpha", "1")]
    plan = route(endpoints, provider=provider or None)
    errors: list[UpstreamError] = [Unavailable("Overloaded", provider_status=529) for _ in plan.endpoints]
    _, summary = drive(plan, errors)
    assert summary is not None
    assert status == summary.status


@pytest.mark.parametrize(
    "errors",
    [
        [Unavailable("x"), Unavailable("x")],
        [Unavailable("x"), TimedOut("x")],
        [Garbled("x"), Cut("x")],
    ],
)
def test_all_down(errors: list[UpstreamError]) -> None:
    """503, retryable."""
    _, summary = drive([A, B], errors)

    assert summary is not None
    assert (summary.status, summary.error_type) == (503, "provider_overloaded")
    assert summary.availability is not None
    assert (summary.availability["code"], summary.availability["retryable"]) == ("temporarily_unavailable", True)


def test_a_refusal_at_the_end_is_told_as_it_is() -> None:
    """It is what the caller can do something about."""
    refused = Refused("too long")

    assert ([A, B], refused) == drive([A, B], [Unavailable("x"), refused])


def test_different_faults() -> None:
    """The last one is told, with the history and the shortest hint."""
    _, summary = drive([A, B], [throttled(5), Unavailable("down", provider="Beta", provider_status=500)])

    assert summary is not None
    assert (summary.status, summary.message, summary.retry_after_s) == (502, "down", 5)
    assert summary.metadata["previous_errors"] == [
        {"provider": "alpha", "code": "rate_limited", "status": 429},
        {"provider": "beta", "code": "provider_unavailable", "status": 500},
    ]


@pytest.mark.parametrize("tries", [1, 2])
def test_a_model_that_no_provider_has(tries: int) -> None:
    """404, and nothing to retry, though each provider's own 404 is a failure of the gateway's configuration."""
    errors: list[UpstreamError] = [Unavailable("no such model", provider_status=404) for _ in range(tries)]
    _, summary = drive([A, B][:tries], errors)

    assert summary is not None
    assert (404, "not_found", True) == (summary.status, summary.error_type, summary.failover)
    assert summary.availability is not None
    assert summary.availability["code"] == "model_unavailable_upstream"
    assert False is summary.availability["retryable"]
    assert ("previous_errors" in summary.metadata) == (tries > 1)


def test_a_404_and_an_outage() -> None:
    """Somebody may have the model later."""
    _, summary = drive([A, B], [Unavailable("x", provider_status=404), Unavailable("x", provider_status=500)])

    assert summary is not None
    assert summary.status == 503


def test_without_fallbacks() -> None:
    """What a listed provider says is what the caller is told, however many were listed."""
    first, last = Unavailable("first"), throttled(7)
    steps = failover(RoutePlan((A, B), allow_fallbacks=False))
    next(steps)
    assert B is steps.send(first)

    with pytest.raises(StopIteration) as stop:
        steps.send(last)

    assert last is stop.value.value
    assert {} == last.metadata
    assert last.availability is None


def test_the_summary_names_what_was_requested() -> None:
    """An alias or router is the caller's word for it."""
    steps = failover(RoutePlan((A, B), requested=("~a/one-latest",)))
    next(steps)
    steps.send(throttled())

    with pytest.raises(StopIteration) as stop:
        steps.send(throttled())

    assert ["~a/one-latest"] == stop.value.value.availability["requested_models"]


def test_fallback_models_after_any_error() -> None:
    """A moderation flag or a prompt that is too long ends a model, not the request; the last error is told."""
    flagged = Refused("flagged", status=400, error_type="content_policy_violation")
    too_long = Refused("too long", status=400, error_type="context_length_exceeded")

    assert drive([A, B, SECOND], [flagged, too_long]) == ([A, SECOND], too_long)


def test_the_history_holds_no_bodies() -> None:
    """Provider, code and status: never what a provider wrote."""
    _, summary = drive([A, B], [Unavailable("secret words"), Unavailable("other words")])

    assert summary is not None
    assert "secret words" not in str(summary.metadata)


def make_error(kind: type[UpstreamError], hint: int | None) -> UpstreamError:
    error = kind("x")
    error.retry_after_s = hint
    return error


ERRORS = st.builds(
    make_error,
    st.sampled_from([Throttled, Unavailable, TimedOut, Garbled, Cut, Refused]),
    st.none() | st.integers(0, 100),
)


PLANS = st.lists(
    st.builds(make_endpoint, st.sampled_from("abcdef"), st.sampled_from(["a/one", "a/two", "a/three"])),
    min_size=1,
    max_size=6,
    unique_by=lambda endpoint: (endpoint.tag, endpoint.model_id),
)


class FailoverMachine(RuleBasedStateMachine):
    """Any plan, any failures: the rules hold at every step."""

    def __init__(self) -> None:
        super().__init__()
        self.plan: list[Endpoint] = []
        self.tried: list[Endpoint] = []
        self.errors: list[UpstreamError] = []
        self.steps: Any = None
        self.summary: UpstreamError | None = None

    @initialize(plan=PLANS)
    def start(self, plan: list[Endpoint]) -> None:
        self.plan = plan
        self.steps = failover(RoutePlan(tuple(plan)))
        self.tried = [next(self.steps)]
        assert plan[0] is self.tried[0]

    @precondition(lambda self: self.summary is None)
    @rule(error=ERRORS)
    def fail(self, error: UpstreamError) -> None:
        self.errors.append(error)
        refused = {e.model_id for e, why in zip(self.tried, self.errors, strict=True) if isinstance(why, Refused)}
        left = [e for e in self.plan[self.plan.index(self.tried[-1]) + 1 :] if e.model_id not in refused]
        try:
            endpoint = self.steps.send(error)
        except StopIteration as stop:
            assert left == []
            self.summary = stop.value
            self.check_summary()
            return
        assert left[0] is endpoint
        assert endpoint not in self.tried
        self.tried.append(endpoint)

    @precondition(lambda self: self.summary is not None)
    @rule()
    def ask_again(self) -> None:
        with pytest.raises(StopIteration):
            next(self.steps)

    def check_summary(self) -> None:
        summary, last = self.summary, self.errors[-1]
        assert isinstance(summary, UpstreamError)
        if len(self.errors) == 1 or isinstance(last, Refused):
            assert last is summary
        elif {Throttled} == {type(error) for error in self.errors}:
            assert summary.status == 429
        elif all(error.status >= 500 for error in self.errors):
            assert summary.status == 503
        else:
            assert last is summary
        if summary is not last:
            hints = [error.retry_after_s for error in self.errors if error.retry_after_s is not None]
            assert min(hints, default=None) == summary.retry_after_s


TestAnyFailures = FailoverMachine.TestCase


@given(PLANS, st.integers(0, 5))
def test_a_driver_may_stop_at_any_time(plan: list[Endpoint], failures: int) -> None:
    """Once something of an answer is out, the driver asks no more: the generator can be dropped."""
    steps = failover(RoutePlan(tuple(plan)))
    next(steps)
    for _ in range(min(failures, len(plan) - 1)):
        steps.send(Unavailable("x"))
    steps.close()
