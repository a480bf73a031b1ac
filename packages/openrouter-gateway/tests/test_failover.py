"""What is tried next, and what the caller is told when nothing is left."""

from random import Random
from typing import Any

import pytest
from gateway_samples import make_endpoint
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from route_samples import priced, route

from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.errors import (
    AtCapacity,
    Cut,
    Garbled,
    NotRecorded,
    Refused,
    Throttled,
    TimedOut,
    Unavailable,
    UpstreamError,
)
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


def test_endpoints_without_a_free_place() -> None:
    """One of the gateway's own limits: worth another try soon, alone or with others."""
    for endpoints in ([A], [A, B]):
        _, summary = drive(endpoints, [AtCapacity("full") for _ in endpoints])
        assert summary is not None
        assert (429, [(b"retry-after", b"1")]) == (summary.status, summary.headers())


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (throttled(7), "capacity_exhausted"),
        (AtCapacity("full"), "capacity_exhausted"),
        (Unavailable("x", provider_status=500), "temporarily_unavailable"),
        (TimedOut("x"), "temporarily_unavailable"),
        (Unavailable("x", provider_status=401), None),
        (NotRecorded("x"), None),
        (Refused("x"), None),
    ],
    ids=["429", "full", "500", "timeout", "401", "not recorded", "400"],
)
def test_one_try_has_its_own_error(error: UpstreamError, code: str | None) -> None:
    """There is nothing to sum up; whether to try again is said where it may help."""
    status = error.status

    tried, summary = drive([A], [error])

    assert (tried, summary) == ([A], error)
    assert (status, {}) == (error.status, error.metadata)
    found = error.availability
    assert (code, code and True, error.retry_after_s) == (
        found and found["code"],
        found and found["retryable"],
        found and found.get("retry_after"),
    )


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
    assert (status, "provider_overloaded") == (summary.status, summary.error_type)


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


@pytest.mark.parametrize("order", [1, -1])
def test_different_faults(order: int) -> None:
    """503 whichever came first, with the history and the shortest hint."""
    errors: list[UpstreamError] = [throttled(5), Unavailable("down", provider_code="broken", provider_status=500)]
    _, summary = drive([A, B], errors[::order])

    assert summary is not None
    assert (503, "provider_overloaded", 5) == (summary.status, summary.error_type, summary.retry_after_s)
    assert summary.availability is not None
    assert ("temporarily_unavailable", 5) == (summary.availability["code"], summary.availability["retry_after"])
    history: list[Any] = summary.metadata["previous_errors"]  # pyright: ignore[reportAssignmentType]
    assert ["alpha", "beta"] == [row["provider"] for row in history]
    assert [("rate_limited", 429), ("broken", 500)][::order] == [(row["code"], row["status"]) for row in history]


@pytest.mark.parametrize("statuses", [(401, 401), (401, 402), (403, 401), (401, 404), (404, 402)])
def test_providers_that_do_not_let_the_gateway_in(statuses: tuple[int, int]) -> None:
    """Neither the caller's fault nor gone tomorrow: the operator is told which, in statuses and not in their words."""
    errors: list[UpstreamError] = [Unavailable("sk-secret", provider_status=status) for status in statuses]
    _, summary = drive([A, B], errors)

    assert summary is not None
    assert (502, "provider_unavailable", None) == (summary.status, summary.error_type, summary.availability)
    assert "whoever runs the gateway must look at its keys and accounts" in summary.message
    named = {name: status for name, status in zip(("Alpha", "Beta"), statuses, strict=True) if status != 404}
    assert f"({', '.join(f'{name}: {status}' for name, status in named.items())})" in summary.message
    assert "sk-secret" not in summary.message + str(summary.metadata)
    history: list[Any] = summary.metadata["previous_errors"]  # pyright: ignore[reportAssignmentType]
    assert list(statuses) == [row["status"] for row in history]


@pytest.mark.parametrize("order", [1, -1])
def test_a_wrong_key_and_an_outage(order: int) -> None:
    """It may be over later, and what is said is about that."""
    errors: list[UpstreamError] = [Unavailable("down", provider_status=500), Unavailable("key", provider_status=401)]
    _, summary = drive([A, B], errors[::order])

    assert summary is not None
    assert (503, "down") == (summary.status, summary.message)


def test_an_earlier_models_refusal() -> None:
    """It does not count: the last model's own error is told, with the history."""
    last = throttled(3)

    assert drive([A, SECOND], [Refused("too long"), last]) == ([A, SECOND], last)

    assert last.availability is not None
    assert (429, "capacity_exhausted") == (last.status, last.availability["code"])
    assert "previous_errors" in last.metadata


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
    """What the last listed provider says is what the caller is told, however many were listed."""
    first, last = Unavailable("first"), throttled(7)
    steps = failover(RoutePlan((A, B), allow_fallbacks=False))
    next(steps)
    assert B is steps.send(first)

    with pytest.raises(StopIteration) as stop:
        steps.send(last)

    assert last is stop.value.value
    assert {} == last.metadata
    assert last.availability is not None
    assert "capacity_exhausted" == last.availability["code"]


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


def make_error(kind: type[UpstreamError], hint: int | None, status: int | None) -> UpstreamError:
    error = kind("x")
    error.retry_after_s = hint
    if kind is Unavailable:
        error.provider_status = status
    return error


ERRORS = st.builds(
    make_error,
    st.sampled_from([Throttled, Unavailable, TimedOut, Garbled, Cut, Refused]),
    st.none() | st.integers(0, 100),
    st.sampled_from([None, 401, 402, 403, 404, 500, 529]),
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
        if isinstance(last, Refused):
            assert last is summary
            return
        told = {told_as(error) for error in self.errors if not isinstance(error, Refused)}
        many = sum(not isinstance(error, Refused) for error in self.errors) > 1
        if told == {"missing"}:
            assert summary.status == 404
        elif not many:
            assert last is summary
        elif told == {"throttled"}:
            assert summary.status == 429
        elif told <= {"missing", "locked"}:
            assert (502, None) == (summary.status, summary.availability)
        else:
            assert summary.status == 503
        if many and summary.status in (429, 503):
            hints = [e.retry_after_s for e in self.errors if not isinstance(e, Refused) and e.retry_after_s is not None]
            assert min(hints, default=None) == summary.retry_after_s


def told_as(error: UpstreamError) -> str:
    if isinstance(error, Throttled):
        return "throttled"
    return {404: "missing", 401: "locked", 402: "locked", 403: "locked"}.get(error.provider_status or 0, "down")


TestAnyFailures = FailoverMachine.TestCase


@given(st.lists(ERRORS.filter(lambda error: error.failover), min_size=2, max_size=5), st.randoms())
def test_the_order_of_failures_does_not_matter(errors: list[UpstreamError], dice: Random) -> None:
    """Balancing draws the order: the same outage must look the same to every caller."""
    plan = [make_endpoint(slug) for slug in "abcdef"[: len(errors)]]
    seen: list[object] = []
    for _ in range(2):
        _, summary = drive(plan, errors)
        assert summary is not None
        code = summary.availability and summary.availability["code"]
        seen.append((summary.status, summary.error_type, summary.retry_after_s, code))
        dice.shuffle(errors)
    assert seen[0] == seen[1]


@given(PLANS, st.integers(0, 5))
def test_a_driver_may_stop_at_any_time(plan: list[Endpoint], failures: int) -> None:
    """Once something of an answer is out, the driver asks no more: the generator can be dropped."""
    steps = failover(RoutePlan(tuple(plan)))
    next(steps)
    for _ in range(min(failures, len(plan) - 1)):
        steps.send(Unavailable("x"))
    steps.close()
