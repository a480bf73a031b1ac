"""Payloads that are refused for what is in them, taken apart again: one trace of them may be to blame. Pure."""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from msgspec import Raw, Struct

from openrouter_gateway.broadcast.destinations.base import Payload
from openrouter_gateway.broadcast.otlp import CONTENT_TYPES, join_parts, read_varint


class _Export(Struct, rename="camel"):
    resource_spans: list[Raw]


class _Row(Struct, rename="upper"):
    span_type: str


_decode_export = msgspec.json.Decoder(_Export).decode
_decode_row = msgspec.json.Decoder(_Row).decode


def halve(payload: Payload) -> tuple[Payload, Payload] | None:
    """Return two payloads with half of the traces each; None if there is one trace, or no telling them apart.

    Of a payload nothing else is known than its body, as it may come from disk.
    """
    form = _FORMS.get(payload.name)
    if payload.traces < 2 or form is None:
        return None
    part, join = form
    try:
        parts = part(payload.body)
    except ValueError:
        return None
    if len(parts) != payload.traces:
        return None
    middle = len(parts) // 2
    first, second = (
        msgspec.structs.replace(payload, body=join(half), traces=len(half)) for half in (parts[:middle], parts[middle:])
    )
    return first, second


def _part_json(body: bytes) -> list[bytes]:
    return [bytes(raw) for raw in _decode_export(body).resource_spans]


def _join_json(parts: Sequence[bytes]) -> bytes:
    return join_parts("json", parts)


def _part_protobuf(body: bytes) -> list[bytes]:
    """Each trace is a field of its own: one byte of a tag, the length as a varint, and as many bytes."""
    parts: list[bytes] = []
    start = 0
    while start < len(body):
        length, position = read_varint(body, start + 1)
        parts.append(body[start : position + length])
        start = position + length
    return parts


def _part_rows(body: bytes) -> list[bytes]:
    """The rows of a trace are those of its groups, and then that of its generation."""
    parts: list[bytes] = []
    rows = b""
    for row in body.splitlines(keepends=True):
        rows += row
        if _decode_row(row).span_type == "GENERATION":
            parts.append(rows)
            rows = b""
    return parts


_FORMS: Final[dict[str, tuple[Callable[[bytes], list[bytes]], Callable[[Sequence[bytes]], bytes]]]] = {
    CONTENT_TYPES["json"]: (_part_json, _join_json),
    CONTENT_TYPES["protobuf"]: (_part_protobuf, b"".join),
    "": (_part_rows, b"".join),
}
"""How bodies are taken apart and put together, by the payload's name: OTLP's is its content type, rows have none."""
