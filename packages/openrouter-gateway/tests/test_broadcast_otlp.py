"""OTLP's two encodings."""

import json
from typing import Any

import pytest
from broadcast_samples import SPAN_ID, TRACE_ID

from openrouter_gateway.broadcast.otlp import encode_part, join_parts
from openrouter_gateway.broadcast.spans import Attributes, Span, SpanEvent

RESOURCE: Attributes = {"service.name": "openrouter"}
ATTRIBUTES: Attributes = {
    "s": "x",
    "b": True,
    "bf": False,
    "i": 7,
    "neg": -1,
    "big": 2**62,
    "d": 0.1,
    "l": ["a", "b"],
    "e": "",
}
PARENT_ID = "00f067aa0ba902b7"
SPANS = [
    Span(
        span_id=SPAN_ID,
        parent_id=PARENT_ID,
        name="héllo",
        kind="generation",
        start_ns=1771043112500000000,
        end_ns=1771043113000000001,
        attributes=ATTRIBUTES,
        events=(SpanEvent(name="exception", time_ns=5, attributes={"exception.type": "timeout"}),),
        error="timeout (HTTP 504)",
    ),
    Span(span_id=PARENT_ID, parent_id=None, name="root", kind="group", start_ns=1, end_ns=2, attributes={}),
]

# What opentelemetry-proto 1.45.2 with protobuf 7.36.2 makes of the same spans: it parses into the JSON below, and is
# what `SerializeToString` gives (2026-11-27).
PROTOBUF = bytes.fromhex(
    "0a1e0a1c0a0c736572766963652e6e616d65120c0a0a6f70656e726f7574657212d7020a140a126f70656e726f757465722d67617465776179"
    "1286020a100af7651916cd43dd8448eb211c80319c1208b7ad6b7169203331220800f067aa0ba902b72a0668c3a96c6c6f30033900f576d253"
    "02941841015a44f0530294184a080a017312030a01784a070a0162120210014a080a026266120210004a070a0169120218074a120a036e6567"
    "120b18ffffffffffffffffff014a110a03626967120a188080808080808080404a0e0a01641209219a9999999999b93f4a110a016c120c2a0a"
    "0a030a01610a030a01624a070a016512020a005a310905000000000000001209657863657074696f6e1a1b0a0e657863657074696f6e2e7479"
    "706512090a0774696d656f75747a16121274696d656f75742028485454502035303429180212360a100af7651916cd43dd8448eb211c80319c"
    "120800f067aa0ba902b72a04726f6f743001390100000000000000410200000000000000"
)

JSON: dict[str, Any] = {
    "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "openrouter"}}]},
    "scopeSpans": [
        {
            "scope": {"name": "openrouter-gateway"},
            "spans": [
                {
                    "traceId": TRACE_ID,
                    "spanId": SPAN_ID,
                    "parentSpanId": PARENT_ID,
                    "name": "héllo",
                    "kind": 3,
                    "startTimeUnixNano": "1771043112500000000",
                    "endTimeUnixNano": "1771043113000000001",
                    "attributes": [
                        {"key": "s", "value": {"stringValue": "x"}},
                        {"key": "b", "value": {"boolValue": True}},
                        {"key": "bf", "value": {"boolValue": False}},
                        {"key": "i", "value": {"intValue": "7"}},
                        {"key": "neg", "value": {"intValue": "-1"}},
                        {"key": "big", "value": {"intValue": "4611686018427387904"}},
                        {"key": "d", "value": {"doubleValue": 0.1}},
                        {
                            "key": "l",
                            "value": {"arrayValue": {"values": [{"stringValue": "a"}, {"stringValue": "b"}]}},
                        },
                        {"key": "e", "value": {"stringValue": ""}},
                    ],
                    "events": [
                        {
                            "name": "exception",
                            "timeUnixNano": "5",
                            "attributes": [{"key": "exception.type", "value": {"stringValue": "timeout"}}],
                        }
                    ],
                    "status": {"code": 2, "message": "timeout (HTTP 504)"},
                },
                {
                    "traceId": TRACE_ID,
                    "spanId": PARENT_ID,
                    "name": "root",
                    "kind": 1,
                    "startTimeUnixNano": "1",
                    "endTimeUnixNano": "2",
                    "attributes": [],
                    "status": {},
                },
            ],
        }
    ],
}


def test_json() -> None:
    """Ids in hexadecimal, 64-bit integers as text, enumerations as numbers."""
    part = encode_part("json", RESOURCE, TRACE_ID, SPANS)
    assert json.loads(part) == JSON
    assert {"resourceSpans": [JSON, JSON]} == json.loads(join_parts("json", [part, part]))


def test_protobuf() -> None:
    """To the byte what the official library writes."""
    part = encode_part("protobuf", RESOURCE, TRACE_ID, SPANS)
    assert part == PROTOBUF
    length = b"\xfa\x02"  # 378 in groups of seven bits
    assert (b"\x0a" + length + part) * 2 == join_parts("protobuf", [part, part])


@pytest.mark.parametrize(("encoding", "expected"), [("json", b'{"resourceSpans":[]}'), ("protobuf", b"")])
def test_nothing(encoding: Any, expected: bytes) -> None:
    """What a connection is tested with."""
    assert expected == join_parts(encoding, [])
