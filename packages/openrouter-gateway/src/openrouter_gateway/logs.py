"""Log lines, as text or as JSON. No content of requests or answers is in them, and keys are taken out.

A line that is written for a request or a generation says for which: `bind_request` and `bind_generation` tell it to all
that the current task does.
"""

import contextvars
import datetime as dt
import logging
import random
import re
import sys
import traceback
from collections.abc import Mapping
from typing import Any, Final, Literal, TextIO, TypeAlias

import msgspec

from openrouter_gateway.core.generation import Generation

LogFormat: TypeAlias = Literal["text", "json"]

_request: contextvars.ContextVar[str | None] = contextvars.ContextVar("request", default=None)
_generation: contextvars.ContextVar[str | None] = contextvars.ContextVar("generation", default=None)

_BOUND: Final = (("request_id", _request), ("generation_id", _generation))

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,127}")
_KEYS: Final = re.compile(
    r"""(?ix)
    (?P<scheme> \b (?: bearer | basic ) \s+ ) [a-z0-9._~+/=-]{6,}
    | \b (?: sk | pk | rk | lsv2 | glc | xai | gsk | phc | AIza ) [-_]? [a-z0-9._-]{12,}
    | (?P<url> \b https?:// ) [^\s/@:]* : [^\s/@]* @
    """
)
"""What looks like a credential: behind the name of a scheme, by the prefixes that services use, or within a URL."""

_encode = msgspec.json.Encoder(decimal_format="number").encode
_generations = logging.getLogger("openrouter_gateway.generations")


def request_id_of(given: bytes | None) -> str:
    """Return what log lines call a request: what its header `X-Request-Id` says, or else a number of its own.

    What is no plain word is not taken over: it would be the caller's text in a log line.
    """
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given.decode("ascii")
    return f"{random.getrandbits(64):016x}"


def bind_request(request_id: str) -> None:
    """Let lines of the current task, and of tasks that it starts, say that they belong to a request."""
    _request.set(request_id)


def bind_generation(generation_id: str) -> None:
    """Let lines of the current task, and of tasks that it starts, say that they belong to a generation."""
    _generation.set(generation_id)


def hide_keys(text: str) -> str:
    """Return a text without what looks like a credential."""

    def hide(match: re.Match[str]) -> str:
        return (match["scheme"] or match["url"] or "") + "[key]" + ("@" if match["url"] else "")

    return _KEYS.sub(hide, text)


class TextFormatter(logging.Formatter):
    """Time, level, origin and message, as one line; tracebacks below it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        return hide_keys(super().format(record))


class JSONFormatter(logging.Formatter):
    """One JSON object per line, whatever the message has in it."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        line: dict[str, Any] = {
            "time": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": hide_keys(record.getMessage()),
        }
        for name, bound in _BOUND:
            if (named := getattr(record, name, None) or bound.get()) is not None:
                line[name] = named
        facts: Mapping[str, Any] | None = getattr(record, "facts", None)
        if facts:
            line |= facts
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = hide_keys("".join(traceback.format_exception(*record.exc_info)))
        return _encode(line).decode()


_FORMATTERS: Final = {"text": TextFormatter, "json": JSONFormatter}


def configure_logging(log_format: LogFormat = "text", stream: TextIO | None = None) -> None:
    """Send warnings, and the gateway's own notices, to standard error or a stream, one line each."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_FORMATTERS[log_format]())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("openrouter_gateway").setLevel(logging.INFO)


def log_generation(generation: Generation, request_id: str | None = None) -> None:
    """Write the line of one generation: what it was and what it took, nothing of what was said.

    A line takes ten microseconds, so this is not for the path of a request.
    """
    facts = describe_generation(generation)
    _generations.info(
        "%s %s %s",
        generation.id,
        generation.model,
        generation.status,
        extra={"facts": facts, "generation_id": generation.id, "request_id": request_id},
    )


def describe_generation(generation: Generation) -> dict[str, Any]:
    """Return what a log line says of a generation."""
    usage = generation.usage
    return {
        "model": generation.model,
        "provider": generation.provider,
        "endpoint": generation.endpoint or (generation.attempts[-1].tag if generation.attempts else None),
        "status": generation.status,
        "ending": generation.ending,
        "error_type": generation.error_type,
        "finish_reason": generation.finish_reason,
        "streamed": generation.streamed,
        "attempts": len(generation.attempts),
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "cost": generation.cost.total,
        "latency_s": generation.latency_s,
        "duration_s": generation.duration_s,
        "key_hash": generation.key_hash,
        "upstream_id": generation.upstream_id,
    }
