"""Spans to OTLP: the messages of opentelemetry-proto (trace/v1/trace.proto, 2026-11-27) in JSON and in protobuf.

In JSON, ids are hexadecimal, 64-bit numbers are texts and enumerations are numbers (opentelemetry-proto,
docs/specification.md, JSON Protobuf Encoding, 2026-11-27). In both, parts of several traces can be put side by side.
"""

import functools
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec

from openrouter_gateway.broadcast.spans import Attributes, Span, SpanEvent, Value

Encoding: TypeAlias = Literal["json", "protobuf"]

CONTENT_TYPES: Final[Mapping[Encoding, str]] = {"json": "application/json", "protobuf": "application/x-protobuf"}

_SCOPE: Final = "openrouter-gateway"
_KINDS: Final = {"group": 1, "generation": 3}
"""SpanKind: INTERNAL, CLIENT."""
_ERROR: Final = 2
"""StatusCode."""
_encode_json = msgspec.json.Encoder().encode


def encode_part(encoding: Encoding, resource: Attributes, trace_id: str, spans: Sequence[Span]) -> bytes:
    """Return one trace's spans below their resource: an item of `resourceSpans`."""
    if encoding == "json":
        return _encode_json(_resource_spans(resource, trace_id, spans))
    return _encode_resource_spans(resource, trace_id, spans)


def join_parts(encoding: Encoding, parts: Iterable[bytes]) -> bytes:
    """Return the body of an export request that has these parts; without any, an empty one."""
    if encoding == "json":
        return b'{"resourceSpans":[%b]}' % b",".join(parts)
    return b"".join(_field(1, part) for part in parts)


# JSON


def _resource_spans(resource: Attributes, trace_id: str, spans: Sequence[Span]) -> dict[str, Any]:
    return {
        "resource": {"attributes": _attributes(resource)},
        "scopeSpans": [{"scope": {"name": _SCOPE}, "spans": [_span(trace_id, span) for span in spans]}],
    }


def _span(trace_id: str, span: Span) -> dict[str, Any]:
    fields: dict[str, Any] = {"traceId": trace_id, "spanId": span.span_id}
    if span.parent_id is not None:
        fields["parentSpanId"] = span.parent_id
    fields |= {
        "name": span.name,
        "kind": _KINDS[span.kind],
        "startTimeUnixNano": str(span.start_ns),
        "endTimeUnixNano": str(span.end_ns),
        "attributes": _attributes(span.attributes),
    }
    if span.events:
        fields["events"] = [_event(event) for event in span.events]
    fields["status"] = {} if span.error is None else {"code": _ERROR, "message": span.error}
    return fields


def _event(event: SpanEvent) -> dict[str, Any]:
    return {"name": event.name, "timeUnixNano": str(event.time_ns), "attributes": _attributes(event.attributes)}


def _attributes(attributes: Attributes) -> list[dict[str, Any]]:
    return [
        {"key": key, "value": {"stringValue": value} if type(value) is str else _any_value(value)}
        for key, value in attributes.items()
    ]


def _any_value(value: Value) -> dict[str, Any]:
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"arrayValue": {"values": [{"stringValue": item} for item in value]}}


# Protobuf: fields by number, each behind a tag of number and wire type (protobuf.dev, Encoding, 2026-11-27).


def _varint(number: int) -> bytes:
    if number < 0x80:
        return number.to_bytes(1, "little")
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_varint(body: bytes, position: int) -> tuple[int, int]:
    """Return the number that begins at a position, and where it ends.

    Raises:
        ValueError: the body ends within it, or it is longer than 64 bits are.
    """
    number = 0
    for shift, byte in zip(range(0, 70, 7), body[position : position + 10], strict=False):
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position + shift // 7 + 1
    raise ValueError("there is no whole number")


def _field(number: int, content: bytes) -> bytes:
    return b"%c%b%b" % (number << 3 | 2, _varint(len(content)), content)


def _text_field(number: int, text: str) -> bytes:
    return _field(number, text.encode("utf-8", "replace"))


@functools.lru_cache(maxsize=2048)
def _key(key: str) -> bytes:
    """Most attributes have the same few keys."""
    return _text_field(1, key)


def _fixed64_field(number: int, value: int) -> bytes:
    return struct.pack("<BQ", number << 3 | 1, value)


def _number_field(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _encode_resource_spans(resource: Attributes, trace_id: str, spans: Sequence[Span]) -> bytes:
    scope = _field(1, _text_field(1, _SCOPE))
    identifier = bytes.fromhex(trace_id)
    encoded = b"".join(_field(2, _encode_span(identifier, span)) for span in spans)
    return _field(1, _encode_attributes(1, resource)) + _field(2, scope + encoded)


def _encode_span(trace_id: bytes, span: Span) -> bytes:
    parts = [_field(1, trace_id), _field(2, bytes.fromhex(span.span_id))]
    if span.parent_id is not None:
        parts.append(_field(4, bytes.fromhex(span.parent_id)))
    parts += [
        _text_field(5, span.name),
        _number_field(6, _KINDS[span.kind]),
        _fixed64_field(7, span.start_ns),
        _fixed64_field(8, span.end_ns),
        _encode_attributes(9, span.attributes),
    ]
    parts += [_field(11, _encode_event(event)) for event in span.events]
    if span.error is not None:
        parts.append(_field(15, _text_field(2, span.error) + _number_field(3, _ERROR)))
    return b"".join(parts)


def _encode_event(event: SpanEvent) -> bytes:
    return _fixed64_field(1, event.time_ns) + _text_field(2, event.name) + _encode_attributes(3, event.attributes)


def _encode_attributes(number: int, attributes: Attributes) -> bytes:
    return b"".join(
        _field(number, _key(key) + _field(2, _encode_any_value(value))) for key, value in attributes.items()
    )


def _encode_any_value(value: Value) -> bytes:
    if isinstance(value, str):
        return _text_field(1, value)
    if isinstance(value, bool):
        return _number_field(2, value)
    if isinstance(value, int):
        return _number_field(3, value & 0xFFFF_FFFF_FFFF_FFFF)  # two's complement
    if isinstance(value, float):
        return struct.pack("<Bd", 4 << 3 | 1, value)
    return _field(5, b"".join(_field(1, _text_field(1, item)) for item in value))
