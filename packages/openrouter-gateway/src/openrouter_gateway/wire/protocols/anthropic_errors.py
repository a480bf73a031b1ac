"""What an error of Anthropic's API means, as a status of its own or within a stream.

Source: platform.claude.com/docs/en/api/errors, 2026-11.
"""

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from openrouter_gateway.errors import Refused, UpstreamError
from openrouter_gateway.wire.protocols.refusal import parse_openai_error, refusal_from_status

_STATUS: Final = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
# The API has no code for these: its sentences begin like this (seen in issues of its clients, 2026-11).
_TOO_LONG: Final = ("prompt is too long", "input length and `max_tokens` exceed context limit")
_NO_CREDIT: Final = "Your credit balance is too low"

_encode = msgspec.json.Encoder().encode


def refusal_from_body(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """Return the error that a reply which is not 2xx means."""
    return _refusal(status, headers, body, headers.get("request-id") or _request_id(body))


def error_in_stream(event: dict[str, Any]) -> UpstreamError:
    """Return the error that a 2xx reply carries in its body or as an event; its type counts as a status."""
    given: object = event.get("error")
    kind = cast("dict[str, Any]", given).get("type") if isinstance(given, dict) else None
    status = _STATUS.get(kind, 502) if isinstance(kind, str) else 502
    try:
        body = _encode(event)
    except RecursionError:
        body = b""
    return _refusal(status, {}, body, _request_id(body))


def _refusal(status: int, headers: Mapping[str, str], body: bytes, request_id: str | None) -> UpstreamError:
    message, code = parse_openai_error(body)
    if status == 400 and message.startswith(_NO_CREDIT):
        status = 402  # the gateway's account: no fault of the caller's
    error = refusal_from_status(status, headers, message=message, code=code)
    if isinstance(error, Refused) and message.startswith(_TOO_LONG):
        error.error_type = "context_length_exceeded"
    if status == 529:
        error.error_type = "provider_overloaded"
    if request_id:
        error.metadata["provider_request_id"] = request_id[:200]
    return error


def _request_id(body: bytes) -> str | None:
    try:
        return _decode_id(body).request_id
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


class _Identified(msgspec.Struct, frozen=True):
    request_id: str | None = None


_decode_id = msgspec.json.Decoder(_Identified).decode
