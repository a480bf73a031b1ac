"""Error bodies of the API turned into the error tree; pure.

Errors come as an HTTP status with a body, at the top of a 200, in a choice, or in the middle of a stream;
with integer codes, words, or none (API digest 0.4, 2.1, 2.3, 2.4). The key never survives in one.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, cast

import msgspec

from langchain_openrouter._decoding import Secrets, decode_json, excerpt, mend, redact_json
from langchain_openrouter._retry import parse_retry_after
from langchain_openrouter.errors import STATUS_BY_ERROR_TYPE, APIError, class_for

Json: TypeAlias = dict[str, Any]

_NO_HEADERS: Final[Mapping[str, str]] = {}
_BODY_LIMIT: Final = 2000


def error_from_response(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    secrets: Secrets,
    now: Callable[[], float] = time.time,
) -> APIError:
    """Return the error that an answer with a status of 400 or more stands for.

    Args:
        status: HTTP status.
        headers: Response headers; lookup must ignore case.
        body: The whole body; anything, JSON or not.
        secrets: The API key and the like, blotted out wherever the body repeats them.
        now: Unix time in seconds, for a `Retry-After` that is a date.
    """
    try:
        decoded: object = redact_json(mend(decode_json(body)[0]), secrets)
    except (ValueError, RecursionError):
        decoded = None
    payload = cast("Json", decoded) if isinstance(decoded, dict) else {}
    raw = payload.get("error", payload.get("detail", payload.get("message")))
    if raw is None:
        text = excerpt(body, secrets, _BODY_LIMIT)
        raw = text.strip() if decoded is None and not text.lstrip().startswith("<") else ""
        raw = raw or f"the server answered {status} without an explanation"
        payload = {"text": text} if decoded is None else payload
    return _build(raw, payload, status=status, headers=headers, retry_after=parse_retry_after(headers, now))


def error_in(payload: Json, *, headers: Mapping[str, str] = _NO_HEADERS, secrets: Secrets = ()) -> APIError | None:
    """Return the error inside a 200 answer or one streamed event, or None.

    A choice that finished with the reason "error" is one even when no details came with it.
    """
    raw = payload.get("error") or _error_of_choice(payload.get("choices"))
    if not raw:
        return None
    raw, payload = redact_json([raw, payload], secrets)
    return _build(raw, payload, status=None, headers=headers, retry_after=None)


def _error_of_choice(choices: object) -> object:
    if not isinstance(choices, list):
        return None
    for choice in cast("list[object]", choices):
        if isinstance(choice, dict):
            wire = cast("Json", choice)
            if wire.get("error"):
                return wire["error"]
            if wire.get("finish_reason") == "error":
                return {"code": 502, "message": "the provider failed after its answer had begun"}
    return None


def _build(
    raw: object, payload: Json, *, status: int | None, headers: Mapping[str, str], retry_after: float | None
) -> APIError:
    wire = cast("Json", raw) if isinstance(raw, dict) else {"message": raw}
    metadata = cast("Json", wire["metadata"]) if isinstance(wire.get("metadata"), dict) else {}
    code = wire.get("code")
    error_type = _text(metadata.get("error_type")) or _text(wire.get("error_type")) or _text(wire.get("type"))
    status = status or _status_of(code, error_type)
    # OpenAI's own servers have the finer word in `code`.
    return class_for(status, "context_length_exceeded" if code == "context_length_exceeded" else error_type)(
        _message(wire, metadata),
        status=status,
        code=code if isinstance(code, int | str) else None,
        error_type=error_type,
        retry_after=retry_after if retry_after is not None else _body_hint(wire, metadata),
        provider=_text(metadata.get("provider_name")) or _text(payload.get("provider")),
        generation_id=_text(payload.get("id")) or headers.get("x-generation-id"),
        metadata=metadata,
        body=payload,
    )


def _message(wire: Json, metadata: Json) -> str:
    message = wire.get("message")
    text = message if isinstance(message, str) and message else msgspec.json.encode(wire).decode()
    # "Provider returned error" alone explains nothing; the upstream's own words are in `raw` when given.
    upstream = metadata.get("raw")
    return f"{text}: {upstream}" if isinstance(upstream, str) and upstream else text


def _status_of(code: object, error_type: str | None) -> int | None:
    if isinstance(code, str) and code.isdecimal():
        code = int(code)
    if isinstance(code, int) and 400 <= code < 600:
        return code
    word = STATUS_BY_ERROR_TYPE.get(code) if isinstance(code, str) else None
    return word or STATUS_BY_ERROR_TYPE.get(error_type or "")


def _body_hint(wire: Json, metadata: Json) -> float | None:
    """Return the wait asked for in the body (API digest 2.3, `error.availability.retry_after`)."""
    availability = wire.get("availability")
    sources = (cast("Json", availability) if isinstance(availability, dict) else {}, metadata)
    for source in sources:
        hint = source.get("retry_after")
        if isinstance(hint, int | float) and hint >= 0:
            return float(hint)
    return None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
