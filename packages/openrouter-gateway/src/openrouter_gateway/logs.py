"""Log lines, as text or as JSON. No content of requests or answers is in them, and keys are taken out.

A line that is written while a generation runs says which: `bind_generation` tells it to all that the current task does.
"""

import contextvars
import datetime as dt
import logging
import re
import sys
import traceback
from collections.abc import Mapping
from typing import Any, Final, Literal, TextIO, TypeAlias

import msgspec

from openrouter_gateway.core.generation import Generation

LogFormat: TypeAlias = Literal["text", "json"]

_generation: contextvars.ContextVar[str | None] = contextvars.ContextVar("generation", default=None)

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
        generation_id = getattr(record, "generation_id", None) or _generation.get()
        if generation_id is not None:
            line["generation_id"] = generation_id
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


def log_generation(generation: Generation) -> None:
    """Write the line of one generation: what it was and what it took, nothing of what was said.

    A line takes ten microseconds, so this is not for the path of a request.
    """
    facts = describe_generation(generation)
    _generations.info(
        "%s %s %s",
        generation.id,
        generation.model,
        generation.status,
        extra={"facts": facts, "generation_id": generation.id},
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
