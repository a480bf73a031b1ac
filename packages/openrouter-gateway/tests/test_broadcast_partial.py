"""What was accepted but for some spans."""

import json
import logging

import pytest
from broadcast_receiver import receiving, sending
from broadcast_running import CANARY, running, webhook
from broadcast_samples import make_destination
from hypothesis import given
from hypothesis import strategies as st

from openrouter_gateway.broadcast.destinations.base import HTTPRequest
from openrouter_gateway.broadcast.partial import parse_partial

JSON = "application/json"
PROTOBUF = "application/x-protobuf"


class TestParsing:
    """Answers in both encodings of OTLP, and what is neither."""

    @pytest.mark.parametrize(
        ("content_type", "body", "expected"),
        [
            (JSON, b'{"partialSuccess":{"rejectedSpans":"3","errorMessage":"old"}}', (3, "old")),
            (JSON, b'{"partialSuccess":{"rejectedSpans":3}}', (3, "")),
            (JSON, b'{"partialSuccess":{}}', (0, "")),
            (JSON, b'{"partialSuccess":null}', (0, "")),
            (JSON, b'{"partialSuccess":{"errorMessage":"take care"}}', (0, "")),
            (JSON, b'{"partialSuccess":{"rejectedSpans":-1}}', (0, "")),
            (JSON, b'{"partialSuccess":[]}', (0, "")),
            (JSON, b"[]", (0, "")),
            (JSON, b"<html>", (0, "")),
            (JSON, b"", (0, "")),
            (PROTOBUF, b"\x0a\x07\x08\x03\x12\x03old", (3, "old")),
            (PROTOBUF, b"\x0a\x03\x08\xac\x02", (300, "")),
            (PROTOBUF, b"\x0a\xe8\x07\x08\x03\x12\xe4\x07the beginning of it", (3, "the beginning of it")),
            (PROTOBUF, b"\x0a\x00", (0, "")),
            (PROTOBUF, b"\x0a\x0b\x08" + b"\xff" * 9 + b"\x01", (0, "")),
            (PROTOBUF, b"", (0, "")),
            ("", b'{"partialSuccess":{"rejectedSpans":"3"}}', (0, "")),
        ],
    )
    def test_what_is_rejected(self, content_type: str, body: bytes, expected: tuple[int, str]) -> None:
        """Warnings without rejected spans are nothing."""
        found = parse_partial(content_type, body)
        assert expected == (found.rejected_spans, found.error_message)

    @given(content_type=st.sampled_from([JSON, PROTOBUF]), body=st.binary(max_size=40))
    def test_nonsense(self, content_type: str, body: bytes) -> None:
        assert parse_partial(content_type, body).rejected_spans >= 0


class TestCounting:
    """They count as rejected, and are not sent again."""

    async def test_json(self, caplog: pytest.LogCaptureFixture) -> None:
        """The log says why, on one short line without the destination's key."""
        async with receiving() as receiver, running(webhook("one", f"{receiver.url}?token=query-{CANARY}")) as setup:
            said = f"too old\nfor {CANARY} " + "x" * 5000
            receiver.says = json.dumps({"partialSuccess": {"rejectedSpans": "2", "errorMessage": said}}).encode()
            setup.offer(5)
            await setup.time.advance(60)
            assert 1 == len(receiver.arrivals)
            counts = setup.of("one").counts
            assert (3, 2, 0) == (counts.delivered, counts.rejected, counts.retries)
        assert "refuses 2 traces for good: it does not take 2 spans: too old for ********" in caplog.text
        assert CANARY not in caplog.text
        assert all(len(record.getMessage()) < 400 for record in caplog.records if record.levelno >= logging.ERROR)

    async def test_protobuf(self) -> None:
        """More spans than traces are all of the traces."""
        async with receiving() as receiver:
            config = {"endpoint": receiver.url, "encoding": "protobuf"}
            async with running(make_destination("otel-collector", config)) as setup:
                receiver.says = b"\x0a\x02\x08\x09"
                setup.offer(5)
                await setup.time.advance(1)
                assert (0, 5) == (setup.of("one").counts.delivered, setup.of("one").counts.rejected)

    async def test_of_a_long_answer_the_beginning_is_kept(self) -> None:
        """And the connection is used again if the answer is not very long."""
        async with receiving() as receiver, sending() as send:
            receiver.says = b"x" * 40_000
            for _ in range(2):
                reply = await send(HTTPRequest(method="POST", url=receiver.url, headers={}, body=b""))
                assert b"x" * 16 * 1024 == reply.body
            assert 1 == receiver.connections
