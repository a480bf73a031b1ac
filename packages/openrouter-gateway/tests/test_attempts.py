"""What is kept of attempts that nobody waits for any more, and what it says of their endpoints."""

import pytest
from gateway_samples import make_endpoint, make_request

from openrouter_gateway.accounting.meter import Meter
from openrouter_gateway.attempts import Attempts
from openrouter_gateway.core.generation import AttemptRecord
from openrouter_gateway.errors import Unavailable, UpstreamError
from openrouter_gateway.routing.health import Health

ENDPOINT = make_endpoint()


@pytest.mark.parametrize(
    ("late", "answered", "uptime", "outcome", "tried"),
    [
        (True, False, 0.0, "TimedOut", 504),
        (True, True, None, "TimedOut", 504),
        (False, False, None, "cancelled", None),
        (False, True, None, "cancelled", None),
    ],
    ids=["hangs", "is slow", "caller leaves early", "caller leaves"],
)
def test_an_attempt_that_is_given_up(
    *, late: bool, answered: bool, uptime: float | None, outcome: str, tried: int | None
) -> None:
    """It is kept, whyever; only silence until the request's time is over is the endpoint's failure."""
    now = 100.0
    health = Health()
    attempts = Attempts("gen-1", health, lambda: now)
    attempts.begin(ENDPOINT)
    if answered:
        attempts.first_event_at = now

    now = 102.5
    attempts.abandon(ENDPOINT, late=late)

    assert uptime == health.report(ENDPOINT.key, now).uptime_last_5m
    assert [(ENDPOINT, tried)] == attempts.tried
    assert attempts.records == [
        AttemptRecord(
            provider="acme",
            provider_name="Acme",
            tag="acme",
            outcome=outcome,
            status=None,
            duration_s=2.5,
            model="a/one",
        )
    ]


@pytest.mark.parametrize(
    ("error", "logged"),
    [
        (Unavailable("cannot read 'my secret'", provider_status=500, provider_code="bad"), "status 500, code 'bad'"),
        (Unavailable("cannot connect to the provider"), "'cannot connect to the provider'"),
    ],
    ids=["the provider's words", "ours"],
)
def test_what_a_provider_says_is_not_logged(
    caplog: pytest.LogCaptureFixture, error: UpstreamError, logged: str
) -> None:
    """It may quote what it was asked."""
    attempts = Attempts("gen-1", Health(), lambda: 100.0)
    attempts.begin(ENDPOINT)

    attempts.end(ENDPOINT, error, make_request(), Meter())

    assert caplog.messages == [f"gen-1: acme failed: Unavailable: {logged}"]
