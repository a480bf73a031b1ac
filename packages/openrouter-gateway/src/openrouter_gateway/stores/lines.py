"""Generations as lines of the journal: one JSON document each, that both line and database can hold."""

from typing import Any, Final, cast

import msgspec

from openrouter_gateway.core.generation import Generation

_MAX_LINE_BYTES: Final = 64 * 1024
_MAX_TEXT: Final = 1024
_MAX_ITEMS: Final = 64

_encode = msgspec.json.Encoder().encode
decode_line = msgspec.json.Decoder(Generation).decode
"""Reads a line back. Raises `ValueError` for what is none."""


def encode_line(generation: Generation) -> tuple[Generation, bytes]:
    """Return a generation as it is kept, which is nearly always as it came, and its line with the newline.

    What came with the request can be anything. Texts and lists of a line that is too long are cut, and a trace that is
    too long even so is left out; NUL, which PostgreSQL does not store, and halves of surrogate pairs, which JSON does
    not, are replaced.
    """
    try:
        line = _encode(generation) + b"\n"
    except (UnicodeEncodeError, RecursionError):
        return _encode_tamed(msgspec.structs.replace(generation, trace=None))
    if len(line) > _MAX_LINE_BYTES or b"\\u0000" in line:
        return _encode_tamed(generation)
    return generation, line


def _encode_tamed(generation: Generation) -> tuple[Generation, bytes]:
    tamed = msgspec.convert(_tame(msgspec.to_builtins(generation)), Generation)
    line = _encode(tamed) + b"\n"
    if len(line) > _MAX_LINE_BYTES and tamed.trace:
        return _encode_tamed(msgspec.structs.replace(tamed, trace=None))
    return tamed, line


def _tame(value: Any) -> Any:
    if isinstance(value, str):
        return value[:_MAX_TEXT].encode(errors="replace").decode().replace("\0", "\ufffd")
    if isinstance(value, list):
        return [_tame(item) for item in cast("list[Any]", value)[:_MAX_ITEMS]]
    if isinstance(value, dict):
        return {_tame(name): _tame(item) for name, item in cast("dict[str, Any]", value).items()}
    return value
