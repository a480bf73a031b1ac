"""What Google's errors mean: `{"error": {"code", "message", "status", "details"}}`, alone or in a list of one.

Causes: ai.google.dev/gemini-api/docs/troubleshooting (2026-11). Of the details, `ErrorInfo.reason` names the cause and
`RetryInfo.retryDelay` how long to wait (google.rpc, error_details.proto).
"""

import math
import re
from collections.abc import Mapping
from typing import Any, Final, cast

from openrouter_gateway.errors import Garbled, Refused, Throttled, Unavailable, UpstreamError
from openrouter_gateway.wire.protocols.refusal import parse_openai_error, refusal_from_status
from openrouter_gateway.wire.tolerant import parse_json

_STATUSES: Final = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNKNOWN": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""HTTP statuses of google.rpc.Code, for errors within a stream that tell no number."""

_DELAY: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)s")
_MAX_MESSAGE: Final = 2_000

# The status of all of these is INVALID_ARGUMENT, so their words have to tell them apart (google-gemini/gemini-cli,
# issues 4231, 2025-07, and 13006, 2025-11).
_ERROR_TYPES: Final = (
    (re.compile(r"token count .*exceeds the maximum number of tokens"), "context_length_exceeded"),
    (re.compile(r"[Uu]nable to process input image|[Ii]mage is not valid"), "invalid_image"),
)
_KEY_REFUSED: Final = re.compile(r"API[ _]key (not valid|not found|expired)", re.IGNORECASE)


def to_refusal(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """Return the error of a reply with such a status."""
    try:
        error = find_error(parse_json(body))
    except Garbled:
        error = None
    if error is None:
        message, code = parse_openai_error(body)
        return refusal_from_status(status, headers, message=message, code=code)
    return _to_error(status, headers, error)


def error_in_reply(error: object) -> UpstreamError:
    """Return the error that a chunk or a 2xx body carries."""
    fields = cast("dict[str, Any]", error) if isinstance(error, dict) else {"message": str(error)}
    code: object = fields.get("code")
    if type(code) is not int or not 400 <= code <= 599:
        code = _STATUSES.get(str(fields.get("status")), 502)
    return _to_error(code, {}, fields)


def find_error(value: object) -> dict[str, Any] | None:
    """Return the error object of a body, if it holds one."""
    if isinstance(value, list) and value:
        value = cast("list[object]", value)[0]
    if not isinstance(value, dict):
        return None
    error = cast("dict[str, object]", value).get("error")
    return cast("dict[str, Any]", error) if isinstance(error, dict) else None


def _to_error(status: int, headers: Mapping[str, str], fields: dict[str, Any]) -> UpstreamError:
    text = fields.get("message")
    message = text[:_MAX_MESSAGE] if type(text) is str else ""
    word = fields.get("status")
    code = word if type(word) is str else None
    details = _details_of(fields)
    if status == 400 and (_KEY_REFUSED.search(message) or any(d.startswith("API_KEY") for d in _reasons(details))):
        return _ours(401, status, "API_KEY_INVALID")
    if status == 400 and code == "FAILED_PRECONDITION":
        return _ours(403, status, code)  # no billing, or a country that is not served
    error = refusal_from_status(status, headers, message=message, code=code)
    if isinstance(error, Refused):
        error.error_type = next((kind for words, kind in _ERROR_TYPES if words.search(message)), error.error_type)
    if isinstance(error, Throttled | Unavailable) and error.retry_after_s is None:
        error.retry_after_s = _retry_delay(details)
    return error


def _ours(meaning: int, status: int, code: str) -> UpstreamError:
    """Return the error of a reply that speaks of this gateway's own key or account, though its status does not."""
    error = refusal_from_status(meaning, {}, message="(not passed on)", code=code)
    error.provider_status = status
    return error


def _details_of(fields: dict[str, Any]) -> list[dict[str, Any]]:
    details = fields.get("details")
    if not isinstance(details, list):
        return []
    return [cast("dict[str, Any]", entry) for entry in cast("list[object]", details) if isinstance(entry, dict)]


def _reasons(details: list[dict[str, Any]]) -> list[str]:
    return [reason for entry in details if type(reason := entry.get("reason")) is str]


def _retry_delay(details: list[dict[str, Any]]) -> int | None:
    """Return whole seconds, rounded up."""
    for entry in details:
        match = _DELAY.fullmatch(str(entry.get("retryDelay", "")))
        if match:
            return math.ceil(float(match[1]))
    return None
