"""Trace and span ids, out of what callers call theirs. The same name always gives the same id."""

import hashlib
import re
from typing import Final

from msgspec import Struct

_TRACE: Final = re.compile(r"[0-9a-f]{32}")
_SPAN: Final = re.compile(r"[0-9a-f]{16}")
_UUID: Final = re.compile(r"([0-9a-f]{8})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{12})")
_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)


class TraceParent(Struct, frozen=True, kw_only=True):
    """A caller's span. `sampled` says whether it is recorded anywhere."""

    trace_id: str
    span_id: str
    sampled: bool


def parse_traceparent(header: str | None) -> TraceParent | None:
    """Read the header `traceparent` (W3C Trace Context, 3.2, 2021-11-23); None if there is no valid one.

    Versions later than 00 may append fields; version ff is not valid; neither are ids of zeros only.
    """
    if header is None or len(header) > 512:
        return None
    match = _TRACEPARENT.fullmatch(header.strip())
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    if version == "ff" or (version == "00" and rest is not None):
        return None
    if not trace_id.strip("0") or not span_id.strip("0"):
        return None
    return TraceParent(trace_id=trace_id, span_id=span_id, sampled=bool(int(flags, 16) & 1))


def trace_id_of(text: str) -> str:
    """Return the OTLP trace id for a caller's: 32 hexadecimal digits and UUIDs as they are, others hashed."""
    lowered = text.strip().lower()
    if uuid := _UUID.fullmatch(lowered):
        lowered = "".join(uuid.groups())
    if _TRACE.fullmatch(lowered) and lowered.strip("0"):
        return lowered
    return _digest(16, "trace", text)


def span_id_of(text: str) -> str:
    """Return the OTLP span id for a caller's: 16 hexadecimal digits as they are, others hashed."""
    lowered = text.strip().lower()
    if _SPAN.fullmatch(lowered) and lowered.strip("0"):
        return lowered
    return _digest(8, "span", text)


def session_trace_id(key_hash: str | None, session_id: str) -> str:
    """Return the trace of a session. Sessions of different keys differ: their ids are often mere numbers."""
    return _digest(16, "session", key_hash or "", session_id)


def derive_trace_id(*names: str) -> str:
    """Return the trace id of what these names stand for together."""
    return _digest(16, "derived", *names)


def derive_span_id(*names: str) -> str:
    """Return the span id of what these names stand for together."""
    return _digest(8, "derived", *names)


def _digest(length: int, *names: str) -> str:
    """Hash names with their lengths, so that no two lists of names run into the same text."""
    text = "".join([f"{len(name)}:{name}" for name in names])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[: 2 * length]
