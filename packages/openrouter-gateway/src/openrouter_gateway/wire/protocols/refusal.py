"""What a provider's error means for the caller and for failover.

The rules are OpenRouter's (provider routing and errors, 2026-08-22): rate limits, 5xx, timeouts and problems with the
gateway's own account at the provider move on to the next endpoint; what the caller got wrong does not.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final, cast

import msgspec

from openrouter_gateway.errors import Refused, Throttled, TimedOut, Unavailable, UpstreamError

# 401, 402, 403 and 404 speak of the gateway's key, account or configuration at the provider: not the caller's doing.
_CALLER_AT_FAULT: Final = {
    400: "invalid_request",
    405: "invalid_request",
    409: "invalid_request",
    411: "invalid_request",
    412: "precondition_failed",
    413: "payload_too_large",
    414: "payload_too_large",
    415: "invalid_request",
    422: "unprocessable",
    431: "payload_too_large",
}
# Their messages quote the key, whole or in part, and speak of bills and plans: ours, and no business of the caller's.
_GATEWAY_AT_FAULT: Final = {
    401: "the provider does not accept this gateway's key",
    402: "the provider wants to be paid before it serves this gateway again",
    403: "the provider does not let this gateway do that",
}
_TIMEOUTS: Final = frozenset({408, 504, 524})
_MAX_MESSAGE: Final = 2_000
_MAX_CODE: Final = 200
_MARKUP: Final = re.compile(r"<[a-zA-Z/!?]")
_SECONDS: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{0,9})?")

# Codes of OpenAI-compatible servers that name the fault more exactly than the status does.
_ERROR_TYPE_BY_CODE: Final = {
    "context_length_exceeded": "context_length_exceeded",
    "exceed_context_size_error": "context_length_exceeded",
    "string_above_max_length": "string_too_long",
    "content_policy_violation": "content_policy_violation",
    "content_filter": "content_policy_violation",
    "invalid_image_url": "invalid_image",
    "image_parse_error": "invalid_image",
}


def parse_openai_error(body: bytes) -> tuple[str, str | None]:
    """Return message and code of an error body in any common shape.

    Of what is not JSON, the text itself; none if it was not written for a reader: markup, compressed or binary bytes.
    """
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _readable_text(body)[:_MAX_MESSAGE], None
    error = value
    if isinstance(value, dict):
        error = cast("dict[str, object]", value).get("error") or error
    if error is None:
        return "", None
    if not isinstance(error, dict):
        return str(error)[:_MAX_MESSAGE], None
    fields = cast("dict[str, Any]", error)
    message = fields.get("message") or fields.get("detail") or fields.get("error") or ""
    text = message if isinstance(message, str) else msgspec.json.encode(message).decode()
    code = fields.get("code")
    if code is None or isinstance(code, int):
        # llama.cpp and others put the status into `code` and the reason into `type`.
        code = fields.get("type") or code
    return text[:_MAX_MESSAGE], None if code is None else str(code)[:_MAX_CODE]


def _readable_text(body: bytes) -> str:
    try:
        text = body.decode().strip()
    except UnicodeDecodeError:
        return ""
    if _MARKUP.search(text) or not all(character.isprintable() or character in "\r\n\t" for character in text):
        return ""
    return text


def refusal_from_status(status: int, headers: Mapping[str, str], *, message: str, code: str | None) -> UpstreamError:
    """Return the typed error of a reply that is not 2xx."""
    text = f"the provider answered with status {status}"
    if message and status >= 400:  # what comes with a redirection is about the redirection
        text = _GATEWAY_AT_FAULT.get(status, message)
    if status in _CALLER_AT_FAULT:
        kind = _ERROR_TYPE_BY_CODE.get(code or "", _CALLER_AT_FAULT[status])
        refused = Refused(text, status=status, error_type=kind)
        refused.provider_status, refused.provider_code = status, code
        return refused
    if status == 429:
        error: UpstreamError = Throttled(text, provider_status=status, provider_code=code)
        error.retry_after_s = parse_retry_after(headers)
        return error
    kind = TimedOut if status in _TIMEOUTS else Unavailable
    error = kind(text, provider_status=status, provider_code=code)
    error.retry_after_s = parse_retry_after(headers)
    return error


def parse_retry_after(headers: Mapping[str, str]) -> int | None:
    """Return whole seconds from `Retry-After`, rounded up; dates are measured against the reply's own `Date`."""
    value = headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(value):
        return math.ceil(float(value))
    try:
        then, now = parsedate_to_datetime(value), parsedate_to_datetime(headers.get("Date", ""))
    except ValueError:
        return None
    # Dates with the zone -0000 come without one.
    then, now = then.replace(tzinfo=then.tzinfo or UTC), now.replace(tzinfo=now.tzinfo or UTC)
    return max(0, round((then - now).total_seconds()))
