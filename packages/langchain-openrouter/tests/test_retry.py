"""The retry policy: pure, so no sleeping and no sockets."""

import pytest

from langchain_openrouter import (
    APIError,
    BadRequest,
    ConfigurationError,
    ConnectionFailed,
    OpenRouterError,
    ProtocolViolation,
    RateLimited,
    StreamBroken,
    TimedOut,
)
from langchain_openrouter._retry import RetryPolicy, may_retry, parse_retry_after, plan_waits
from langchain_openrouter.errors import class_for


def waits_for(failures: list[OpenRouterError], policy: RetryPolicy, dice: float = 0.0) -> list[float]:
    """Return the waits until the policy gives up; the last failure must be the one it raises."""
    waits = plan_waits(policy, lambda: dice)
    next(waits)
    planned: list[float] = []
    for failure in failures:
        try:
            planned.append(waits.send(failure))
        except OpenRouterError as raised:
            return planned if raised is failure else []
    return planned


def test_back_off_doubles_up_to_its_bound() -> None:
    policy = RetryPolicy(max_retries=7, first_wait_s=0.5, longest_wait_s=8)
    failures: list[OpenRouterError] = [ConnectionFailed("x") for _ in range(8)]
    assert waits_for(failures, policy, dice=0.0) == [0.25, 0.5, 1, 2, 4, 4, 4]
    assert waits_for(failures, policy, dice=0.5) == [0.375, 0.75, 1.5, 3, 6, 6, 6]


@pytest.mark.parametrize("retries", [0, 1, 2, 5])
def test_no_more_waits_than_retries(retries: int) -> None:
    failures: list[OpenRouterError] = [ConnectionFailed("x") for _ in range(9)]
    assert len(waits_for(failures, RetryPolicy(max_retries=retries))) == retries


@pytest.mark.parametrize(("asked", "waited"), [(0.0, 0.0), (3.5, 3.5), (60.0, 60.0), (3600.0, 60.0)])
def test_a_wait_the_server_asks_for_is_kept_up_to_the_cap(asked: float, waited: float) -> None:
    failure = RateLimited("x", status=429, retry_after=asked)
    assert waits_for([failure], RetryPolicy()) == [waited]


def test_one_hopeless_failure_ends_it() -> None:
    failures: list[OpenRouterError] = [ConnectionFailed("x"), BadRequest("x", status=400), ConnectionFailed("x")]
    assert len(waits_for(failures, RetryPolicy(max_retries=5))) == 1


def test_what_may_be_tried_again() -> None:
    assert {status for status in range(400, 600) if may_retry(class_for(status, None)("x", status=status))} == {
        408,
        429,
        500,
        *range(502, 600),
    }
    assert may_retry(TimedOut("x"))
    assert may_retry(StreamBroken("x"))
    assert not may_retry(ConfigurationError("x"))
    assert not may_retry(ProtocolViolation("x"))
    assert not may_retry(APIError("x", code="weird"))


NOW = 1_795_000_000.0


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "7"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
        ({"retry-after": "Wed, 18 Nov 2026 11:07:10 GMT"}, 30.0),
        ({"retry-after": "Wed, 18 Nov 2026 11:07:10 -0000"}, 30.0),
        ({"retry-after": "Wed, 18 Nov 2020 11:07:10 GMT"}, 0.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "later"}, None),
        ({"retry-after": ""}, None),
    ],
)
def test_retry_after(headers: dict[str, str], expected: float | None) -> None:
    assert parse_retry_after(headers, lambda: NOW) == expected
