"""Bytes of a server turned into values that are safe to hand on: decoded, mended, without secrets; pure.

Rules: what JSON decoders of other languages let through is let through here, because a whole answer hangs
on it. Secrets are blotted out of decoded strings, never of raw JSON, which a replacement could break.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final, TypeAlias, cast
from urllib.parse import quote

import msgspec
from pydantic import SecretStr

from langchain_openrouter.errors import ProtocolViolation

Json: TypeAlias = dict[str, Any]
Secrets: TypeAlias = tuple[str, ...]
Path: TypeAlias = tuple[str | int, ...]

SHORTEST_SECRET: Final = 8
"""Characters; what is shorter stands in ordinary text too, and blotting it out would spoil every message."""

EXCERPT_LIMIT: Final = 500
_SECRET_HEADER: Final = re.compile("auth|cookie|key|token|secret|password|credential")
_LONE: Final = re.compile("[\ud800-\udfff]")
_HIGH: Final = ("\ud800", "\udbff")


def secrets_in(headers: Iterable[tuple[bytes, bytes]]) -> Secrets:
    """Return what must not be repeated of a request's headers: their values and the credentials in them."""
    found: set[str] = set()
    for name, value in headers:
        if _SECRET_HEADER.search(name.decode("utf-8", "replace").lower()):
            text = value.decode("utf-8", "replace").strip()
            found |= {text, text.rpartition(" ")[2]}
    found |= {quote(text, safe="") for text in found}
    # The longest first: a part must not be replaced before the whole.
    return tuple(sorted((text for text in found if len(text) >= SHORTEST_SECRET), key=lambda s: (-len(s), s)))


def hide(key: object) -> object:
    """Return a key in a form that no repr and no dump shows."""
    return SecretStr(key) if isinstance(key, str) else key


def redact(text: str, secrets: Secrets) -> str:
    """Return `text` with every secret blotted out."""
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, "[key]")
    return text


def redact_json(value: Any, secrets: Secrets) -> Any:
    """Return a copy of a decoded value with every secret blotted out, also of keys."""
    try:
        return _map_text(value, lambda text, _: redact(text, secrets)) if secrets else value
    except RecursionError:
        return "[nested too deeply]"


def excerpt(body: bytes, secrets: Secrets = (), limit: int = EXCERPT_LIMIT) -> str:
    """Return the beginning of a body as text, for an error; a secret that the limit would halve is gone too."""
    return redact(body.decode("utf-8", "replace"), secrets)[:limit]


def decode_json(body: bytes) -> tuple[object, bool]:
    """Decode JSON, also with NaN, infinities and halves of surrogate pairs.

    Returns:
        The value, and whether its strings may hold lone surrogates; see `mend`.

    Raises:
        ValueError: The bytes are not JSON, or nested too deeply.
    """
    # The errors of the decoders hold the whole body, so none may become the context of what is raised.
    try:
        return msgspec.json.decode(body), False
    except RecursionError:
        problem = "it is nested too deeply"
    except (msgspec.DecodeError, UnicodeDecodeError) as cause:
        problem = str(cause)
    with suppress(ValueError, RecursionError):
        return json.loads(body), True
    raise ValueError(problem)


def decode_object(body: bytes, secrets: Secrets = ()) -> tuple[Json, bool]:
    """Decode a JSON object; see `decode_json`.

    Raises:
        ProtocolViolation: The bytes are not JSON, or another kind of value.
    """
    try:
        payload, odd = decode_json(body)
    except ValueError as cause:
        raise ProtocolViolation(f"the answer is not JSON: {cause}", body=excerpt(body, secrets)) from None
    if not isinstance(payload, dict):
        raise ProtocolViolation("the answer is JSON but not an object", body=excerpt(body, secrets))
    return cast("Json", payload), odd


def mend(value: Any) -> Any:
    """Return a decoded value with halves of surrogate pairs joined, and replaced where the other half is missing."""
    return _map_text(value, lambda text, _: _mend_text(text))


class SurrogateJoiner:
    """Joins characters that a server cut into two surrogates and sent in two deltas.

    A half at the end of a text waits for the text that comes next at the same place of a delta.
    """

    def __init__(self) -> None:
        self._halves: dict[Path, str] = {}

    @property
    def waits(self) -> bool:
        """Whether a half is waiting, so that the next delta needs joining though it is decent itself."""
        return bool(self._halves)

    def join(self, delta: Json) -> Json:
        """Return a delta with whole characters only."""
        return cast("Json", _map_text(delta, self._join))

    def rest(self, key: str) -> str:
        """Return what stands for a half whose other half never came."""
        return "\ufffd" if (key,) in self._halves else ""

    def _join(self, text: str, path: Path) -> str:
        text = self._halves.pop(path, "") + text
        if text and _HIGH[0] <= text[-1] <= _HIGH[1]:
            self._halves[path] = text[-1]
            text = text[:-1]
        return _mend_text(text)


def _mend_text(text: str) -> str:
    if _LONE.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _map_text(value: Any, change: Callable[[str, Path], str], path: Path = ()) -> Any:
    if isinstance(value, str):
        return change(value, path)
    if isinstance(value, Mapping):
        items = cast("Mapping[str, Any]", value).items()
        # A key has a place of its own: it must not take the half that waits at the place of its value.
        return {change(key, (*path, key, 0)): _map_text(inner, change, (*path, key)) for key, inner in items}
    if isinstance(value, list):
        return [_map_text(inner, change, (*path, i)) for i, inner in enumerate(cast("list[Any]", value))]
    return value
