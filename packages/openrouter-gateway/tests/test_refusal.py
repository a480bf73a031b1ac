"""What a provider's error status and body mean."""

import gzip
import json

import pytest
from gateway_samples import ANY_JSON
from hypothesis import example, given
from hypothesis import strategies as st

from openrouter_gateway.errors import Refused, Throttled, TimedOut, Unavailable, UpstreamError
from openrouter_gateway.wire.protocols.openai import OpenAI
from openrouter_gateway.wire.protocols.refusal import parse_openai_error, parse_retry_after, refusal_from_status

STATUSES = [
    (400, Refused, 400, "invalid_request"),
    (405, Refused, 405, "invalid_request"),
    (409, Refused, 409, "invalid_request"),
    (412, Refused, 412, "precondition_failed"),
    (413, Refused, 413, "payload_too_large"),
    (415, Refused, 415, "invalid_request"),
    (422, Refused, 422, "unprocessable"),
    (401, Unavailable, 502, "provider_unavailable"),
    (402, Unavailable, 502, "provider_unavailable"),
    (403, Unavailable, 502, "provider_unavailable"),
    (404, Unavailable, 502, "provider_unavailable"),
    (301, Unavailable, 502, "provider_unavailable"),
    (429, Throttled, 429, "rate_limit_exceeded"),
    (408, TimedOut, 504, "timeout"),
    (504, TimedOut, 504, "timeout"),
    (524, TimedOut, 504, "timeout"),
    (500, Unavailable, 502, "provider_unavailable"),
    (502, Unavailable, 502, "provider_unavailable"),
    (503, Unavailable, 502, "provider_unavailable"),
    (529, Unavailable, 502, "provider_unavailable"),
]


@pytest.mark.parametrize(("status", "kind", "shown", "error_type"), STATUSES)
def test_a_status_has_a_meaning(status: int, kind: type[UpstreamError], shown: int, error_type: str) -> None:
    """What the caller got wrong goes back to the caller; all else moves on to the next endpoint."""
    error = refusal_from_status(status, {}, message="m", code="c")

    assert (kind, shown, error_type) == (type(error), error.status, error.error_type)
    assert (kind is not Refused) == error.failover
    assert (status, "c") == (error.provider_status, error.provider_code)
    assert ("m" == error.message) == (status not in (301, 401, 402, 403))


@pytest.mark.parametrize("status", [401, 402, 403])
def test_what_is_the_gateways_own_is_not_quoted(status: int) -> None:
    """Providers repeat the key in their message, and speak of bills; the code says enough."""
    error = refusal_from_status(status, {}, message="key sk-ours: see billing of acme.example", code="c")

    assert "sk-ours" not in error.message
    assert "billing" not in error.message
    assert "c" == error.provider_code


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (301, b"moved to http://10.0.0.1/"),
        (302, b'{"error":{"message":"moved"}}'),
        (500, b"<html><body>no</body></html>"),
        (500, b"oops <!-- trace -->"),
        (400, gzip.compress(b'{"error":{"message":"no"}}')),
        (500, b"\xff no"),
        (500, b"no\x00\x1b[31m"),
    ],
)
def test_a_body_that_is_not_for_readers(status: int, body: bytes) -> None:
    """Pages of proxies and binary bytes are no message; nor is what comes with a redirection."""
    error = OpenAI().parse_refusal(status, {}, body)

    assert f"the provider answered with status {status}" == error.message


@given(st.integers(min_value=100, max_value=999))
def test_only_the_callers_faults_stay(status: int) -> None:
    """Whatever the status, 5xx and odd ones move on."""
    error = refusal_from_status(status, {}, message="", code=None)

    assert error.failover or 400 <= status < 500
    assert 400 <= error.status < 600
    assert str(status) in error.message


@pytest.mark.parametrize(
    ("code", "error_type"),
    [
        ("context_length_exceeded", "context_length_exceeded"),
        ("exceed_context_size_error", "context_length_exceeded"),
        ("content_filter", "content_policy_violation"),
        ("string_above_max_length", "string_too_long"),
        ("something_else", "invalid_request"),
        (None, "invalid_request"),
    ],
)
def test_a_code_says_it_more_exactly(code: str | None, error_type: str) -> None:
    """The provider's own code picks OpenRouter's type."""
    assert error_type == refusal_from_status(400, {}, message="m", code=code).error_type


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "0"}, 0),
        ({"Retry-After": " 17 "}, 17),
        ({"Retry-After": "2.1"}, 3),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "9" * 5000}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "Mon, 23 Nov 2026 10:00:30 GMT"}, None),
        ({"Retry-After": "Mon, 23 Nov 2026 10:00:30 GMT", "Date": "Mon, 23 Nov 2026 10:00:00 GMT"}, 30),
        ({"Retry-After": "Mon, 23 Nov 2026 10:00:30 -0000", "Date": "Mon, 23 Nov 2026 10:00:00 GMT"}, 30),
        ({"Retry-After": "Mon, 23 Nov 2026 10:00:00 GMT", "Date": "Mon, 23 Nov 2026 10:00:30 GMT"}, 0),
        ({"Retry-After": "Mon, 23 Nov 2026 10:00:30 GMT", "Date": "today"}, None),
        ({"Retry-After": "Mon, 99 Nov 9999999 10:00:30 GMT", "Date": "Mon, 23 Nov 2026 10:00:30 GMT"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: int | None) -> None:
    """Seconds, or a date by the provider's own clock; anything else is no hint."""
    assert seconds == parse_retry_after(headers)


@pytest.mark.parametrize("status", [429, 503, 504])
def test_the_hint_travels_with_the_error(status: int) -> None:
    """Rate limits and outages may carry one."""
    assert refusal_from_status(status, {"Retry-After": "5"}, message="m", code=None).retry_after_s == 5


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        (b'{"error":{"message":"no","code":"bad","type":"invalid"}}', "no", "bad"),
        (b'{"error":{"message":"no","code":null,"type":"invalid"}}', "no", "invalid"),
        (b'{"error":{"message":"no","code":400,"type":"invalid"}}', "no", "invalid"),
        (b'{"error":{"message":"no","code":400}}', "no", "400"),
        (b'{"error":{"message":"no"}}', "no", None),
        (b'{"error":"no"}', "no", None),
        (b'{"message":"no","code":"bad"}', "no", "bad"),
        (b'{"error":null,"message":"no"}', "no", None),
        (b'{"detail":"no"}', "no", None),
        (b'{"detail":[{"loc":["body"],"msg":"no"}]}', '[{"loc":["body"],"msg":"no"}]', None),
        (b'{"error":{"message":{"a":1}}}', '{"a":1}', None),
        (b'{"error":null}', "", None),
        (b"null", "", None),
        (b"{}", "", None),
        (b'"no"', "no", None),
        (b"no, 1 < 2\n at all", "no, 1 < 2\n at all", None),
        (b"<html>no</html>", "", None),
        (b"\xff no", "", None),
        (b"", "", None),
    ],
)
def test_bodies(body: bytes, message: str, code: str | None) -> None:
    """The common shapes of error bodies; the text itself where it is none of them."""
    assert (message, code) == parse_openai_error(body)


def test_a_status_without_a_message_has_one() -> None:
    """The caller is always told something."""
    error = OpenAI().parse_refusal(503, {}, b"")

    assert error.message == "the provider answered with status 503"


def test_a_page_of_text_is_cut() -> None:
    """An error page of a megabyte does not become a message of a megabyte."""
    for body in (
        b"x" * 1_000_000,
        json.dumps({"error": {"message": "x" * 1_000_000}}).encode(),
        b'"%s"' % (b"x" * 9999),
    ):
        assert len(parse_openai_error(body)[0]) == 2_000


@given(st.binary() | ANY_JSON.map(lambda value: json.dumps({"error": value}).encode()))
@example(b"[" * 2_000 + b"]" * 2_000)
@example(b'{"error":' * 2_000)
def test_any_body_gives_an_error(body: bytes) -> None:
    """No body of a provider breaks the gateway."""
    error = OpenAI().parse_refusal(400, {"Retry-After": "x"}, body)

    assert isinstance(error, Refused)
    assert isinstance(error.provider_code, str | None)
    assert error.message
