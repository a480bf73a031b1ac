"""Exchanges with providers as files: a JSON document for each, readable, without secrets, and the same bytes again.

A piece is what one read of the answer gave: the borders are kept, so that what is replayed meets the decoder cut as the
provider's bytes were. A piece that is not UTF-8 by itself, maybe because it was cut within a character, is base64.
"""

import binascii
import re
from base64 import b64decode, b64encode
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import quote, urlsplit

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from openrouter_gateway.errors import Cut, Garbled, TimedOut, Unavailable, UpstreamError

VERSION: Final = 1

HIDDEN: Final = "[key]"
"""What stands for a secret within a text."""

SHORTEST_SECRET: Final = 8
"""Characters. Shorter ones are words that local servers take for a key (`EMPTY`, `ollama`), and are left in texts."""

_REMOVED: Final = "[removed]"
# Names of headers and query parameters whose values are nobody's business. The counts of rate limits have `tokens` in
# their names and tell nothing.
_PRIVATE: Final = re.compile(
    "auth|cookie|key|token|secret|session|credential|signature|passw|organi[sz]ation|project|account", re.IGNORECASE
)
_PUBLIC: Final = re.compile("ratelimit|rate-limit", re.IGNORECASE)
_FAILURES: Final[dict[str, type[UpstreamError]]] = {
    kind.__name__: kind for kind in (Unavailable, TimedOut, Garbled, Cut)
}


class Body(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Bytes: as the JSON that they are, as text, or else as base64. One of the three."""

    json: Raw | UnsetType = UNSET
    text: str | None = None
    base64: str | None = None

    @classmethod
    def of(cls, data: bytes) -> "Body":
        """Return these bytes."""
        try:
            msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return cls(**_spell(data))
        return cls(json=Raw(data))

    def to_bytes(self) -> bytes:
        """Return the bytes; those of JSON mean the same, but may have other spaces between them."""
        return bytes(self.json) if isinstance(self.json, Raw) else _read(self.text, self.base64)


class Piece(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Bytes of an answer, and the milliseconds since what came before them."""

    delay_ms: float = 0.0
    text: str | None = None
    base64: str | None = None

    @classmethod
    def of(cls, delay_ms: float, data: bytes) -> "Piece":
        """Return these bytes."""
        return cls(delay_ms=delay_ms, **_spell(data))

    def to_bytes(self) -> bytes:
        """Return the bytes."""
        return _read(self.text, self.base64)


class RecordedRequest(Struct, frozen=True, kw_only=True):
    """What the provider was sent; the URL has its port."""

    method: str
    url: str
    headers: dict[str, str]
    body: Body


class RecordedReply(Struct, frozen=True, kw_only=True):
    """What it answered: the head, `delay_ms` after the request was begun, and the pieces of the body."""

    status: int
    headers: dict[str, str]
    delay_ms: float
    pieces: list[Piece]


class Failure(Struct, frozen=True, kw_only=True):
    """How the connection failed, instead of an answer or within one: one of the errors of `errors.UpstreamError`."""

    error: str
    message: str

    @classmethod
    def of(cls, error: UpstreamError) -> "Failure":
        """Return what failed."""
        return cls(error=type(error).__name__, message=error.message)

    def to_error(self) -> UpstreamError:
        """Return the error to raise."""
        return _FAILURES.get(self.error, Unavailable)(self.message)


class Recording(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One exchange. `recorded_at` is UTC.

    `ended`: with the whole answer; with `failure`; or the gateway had read what it needed and closed the connection.
    """

    version: int
    recorded_at: str
    request: RecordedRequest
    reply: RecordedReply | None = None
    ended: Literal["complete", "failed", "closed"] = "complete"
    failure: Failure | None = None


class Exchange(NamedTuple):
    """One exchange as it was, with its secrets. A piece is milliseconds and bytes."""

    recorded_at: str
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    status: int | None  # None: there was no answer
    reply_headers: Mapping[str, str]
    delay_ms: float
    pieces: Sequence[tuple[float, bytes]]
    ended: Literal["complete", "failed", "closed"]
    failure: UpstreamError | None


def to_recording(exchange: Exchange, secrets: Iterable[str]) -> Recording:
    """Return an exchange without secrets: neither these, nor values that go by such a name."""
    hidden = frozenset(secrets)
    reply = None
    if exchange.status is not None:
        reply = RecordedReply(
            status=exchange.status,
            headers=_hide_in_headers(exchange.reply_headers, hidden),
            delay_ms=exchange.delay_ms,
            pieces=[Piece.of(*piece) for piece in hide_in_pieces(exchange.pieces, hidden)],
        )
    failure = None
    if exchange.failure is not None:
        failure = Failure.of(exchange.failure)
        failure = Failure(error=failure.error, message=_hide_in_text(failure.message, hidden))
    return Recording(
        version=VERSION,
        recorded_at=exchange.recorded_at,
        request=RecordedRequest(
            method=exchange.method,
            url=hide_in_url(exchange.url, hidden),
            headers=_hide_in_headers(exchange.headers, hidden),
            body=Body.of(hide_in_bytes(exchange.body, hidden)),
        ),
        reply=reply,
        ended=exchange.ended,
        failure=failure,
    )


def encode_recording(recording: Recording) -> bytes:
    """Return a recording as a file has it."""
    return msgspec.json.format(msgspec.json.encode(recording), indent=2) + b"\n"


def decode_recording(data: bytes) -> Recording:
    """Return what a file has.

    Raises:
        ValueError: it is not a recording, or one of another version; the message says which, without quoting it.
    """
    try:
        version = msgspec.json.decode(data, type=_Versioned).version
        if version != VERSION:
            raise ValueError(f"is of version {version} of the format; this gateway reads version {VERSION}")
        recording = msgspec.json.decode(data, type=Recording)
        for held in [recording.request.body, *(recording.reply.pieces if recording.reply else ())]:
            held.to_bytes()
    except (msgspec.DecodeError, binascii.Error) as error:
        raise ValueError(f"is not a recording: {error}") from None
    if recording.reply is None and recording.failure is None:
        raise ValueError("is not a recording: it has neither a reply nor a failure")
    return recording


class _Versioned(Struct):
    version: int


def _spell(data: bytes) -> dict[str, Any]:
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        return {"base64": b64encode(data).decode()}


def _read(text: str | None, base64: str | None) -> bytes:
    return b64decode(base64, validate=True) if base64 is not None else (text or "").encode()


# Without secrets


def hide_in_bytes(data: bytes, secrets: frozenset[str]) -> bytes:
    """Return bytes in which no secret occurs, in any of the spellings that JSON and URLs have for it."""
    pattern = _pattern(secrets)
    return data if pattern is None else pattern.sub(HIDDEN.encode(), data)


def hide_in_url(url: str, secrets: frozenset[str] = frozenset()) -> str:
    """Return a URL without the values of parameters that hold secrets by their name."""
    path, mark, query = url.partition("?")
    parts: list[str] = []
    for part in query.split("&"):
        name, equals, value = part.partition("=")
        parts.append(f"{name}={_REMOVED}" if equals and _PRIVATE.search(name) else f"{name}{equals}{value}")
    return _hide_in_text(path + mark + "&".join(parts), secrets)


def hide_in_pieces(pieces: Sequence[tuple[float, bytes]], secrets: frozenset[str]) -> list[tuple[float, bytes]]:
    """Return the pieces without secrets, also where one lies across a border: it is told where it begins.

    A piece that was nothing but the rest of a secret is gone; its delay is the next one's.
    """
    pattern = _pattern(secrets)
    whole = b"".join(data for _, data in pieces)
    if pattern is None or pattern.search(whole) is None:
        return list(pieces)
    ends = list(accumulate(len(data) for _, data in pieces))
    kept = [bytearray() for _ in pieces]
    done = 0
    for found in pattern.finditer(whole):
        _copy(whole, done, found.start(), ends, kept)
        kept[bisect_right(ends, found.start())] += HIDDEN.encode()
        done = found.end()
    _copy(whole, done, len(whole), ends, kept)
    hidden: list[tuple[float, bytes]] = []
    waited_ms = 0.0
    for (delay_ms, _), data in zip(pieces, kept, strict=True):
        waited_ms += delay_ms
        if data:
            hidden.append((waited_ms, bytes(data)))
            waited_ms = 0.0
    return hidden


def _copy(whole: bytes, begin: int, end: int, ends: list[int], kept: list[bytearray]) -> None:
    while begin < end:
        place = bisect_right(ends, begin)
        until = min(end, ends[place])
        kept[place] += whole[begin:until]
        begin = until


def _hide_in_text(text: str, secrets: frozenset[str]) -> str:
    return hide_in_bytes(text.encode("utf-8", "surrogateescape"), secrets).decode("utf-8", "surrogateescape")


def _hide_in_headers(headers: Mapping[str, str], secrets: frozenset[str]) -> dict[str, str]:
    return {
        name: _REMOVED if _PRIVATE.search(name) and not _PUBLIC.search(name) else _hide_in_text(value, secrets)
        for name, value in headers.items()
    }


@lru_cache(maxsize=8)
def _pattern(secrets: frozenset[str]) -> re.Pattern[bytes] | None:
    spellings: set[str] = set()
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET:
            escaped = msgspec.json.encode(secret).decode()[1:-1]
            spellings |= {secret, escaped, escaped.replace("/", "\\/"), quote(secret, safe="")}
    if not spellings:
        return None
    return re.compile(b"|".join(re.escape(each.encode()) for each in sorted(spellings, key=len, reverse=True)))


# Where a request went


def origin_of(url: str) -> str:
    """Return scheme, host and port of a recorded URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def resource_of(url: str) -> str:
    """Return path and query of a recorded URL."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path
