"""What an OTLP destination says it did not take of what it accepted. Pure.

`ExportTraceServiceResponse.partial_success` of opentelemetry-proto (collector/trace/v1/trace_service.proto), in the
encoding of the request; what it rejected must not be sent again (opentelemetry.io/docs/specs/otlp, Partial Success,
2026-11-27). An answer that says nothing of the kind, or is none of OTLP's, has accepted everything.
"""

import contextlib
from typing import Final

import msgspec
from msgspec import Struct

from openrouter_gateway.broadcast.otlp import CONTENT_TYPES, read_varint

_LENGTH_DELIMITED: Final = 2
_VARINT: Final = 0
_LARGEST: Final = 2**63 - 1


class Partial(Struct, frozen=True, kw_only=True, rename="camel"):
    """Spans that were rejected, and why, as the destination words it."""

    rejected_spans: int = 0
    error_message: str = ""


class _Answer(Struct, rename="camel"):
    partial_success: Partial | None = None


_NOTHING: Final = Partial()
_decode = msgspec.json.Decoder(_Answer, strict=False).decode  # 64-bit numbers are texts, or numbers


def parse_partial(content_type: str, body: bytes) -> Partial:
    """Return what was rejected; `content_type` is the request's. Of a protobuf answer the beginning is enough."""
    if content_type == CONTENT_TYPES["protobuf"]:
        return _parse_protobuf(body)
    if content_type != CONTENT_TYPES["json"]:
        return _NOTHING
    try:
        found = _decode(body).partial_success or _NOTHING
    except msgspec.DecodeError:
        return _NOTHING
    return found if 0 < found.rejected_spans <= _LARGEST else _NOTHING


def _parse_protobuf(body: bytes) -> Partial:
    rejected, message = 0, b""
    for number, held in _fields(body):
        if number == 1 and isinstance(held, bytes):
            for inner, value in _fields(held):
                if inner == 1 and isinstance(value, int):
                    rejected = value
                elif inner == 2 and isinstance(value, bytes):
                    message = value
    if not 0 < rejected <= _LARGEST:
        return _NOTHING
    return Partial(rejected_spans=rejected, error_message=message.decode("utf-8", "replace"))


def _fields(body: bytes) -> list[tuple[int, int | bytes]]:
    """Return the fields up to what is no text and no number, of which an answer has none (protobuf.dev, Encoding)."""
    fields: list[tuple[int, int | bytes]] = []
    position = 0
    with contextlib.suppress(ValueError):  # of what is cut off, the whole fields count
        while position < len(body):
            tag, position = read_varint(body, position)
            held, position = read_varint(body, position)
            if tag & 7 == _VARINT:
                fields.append((tag >> 3, held))
            elif tag & 7 == _LENGTH_DELIMITED:
                fields.append((tag >> 3, body[position : position + held]))
                position += held
            else:
                break
    return fields
