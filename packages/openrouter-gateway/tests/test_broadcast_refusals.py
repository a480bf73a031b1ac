"""What a destination refuses for its content: the trace that is to blame, and none of those beside it."""

import math
from pathlib import Path

import pytest
from broadcast_receiver import Arrival, receiving
from broadcast_running import eventually, ids, in_order, is_empty, running, webhook
from broadcast_samples import make_record
from hypothesis import given
from hypothesis import strategies as st

from openrouter_gateway.broadcast.destinations import KINDS
from openrouter_gateway.broadcast.destinations.base import Payload, parse_config
from openrouter_gateway.broadcast.spans import build_trace
from openrouter_gateway.broadcast.split import halve

_CONFIGS = [
    ("webhook", {"url": "http://x"}),
    ("otel-collector", {"endpoint": "http://x", "encoding": "protobuf"}),
    ("clickhouse", {"host": "http://x", "database": "d", "username": "u", "password": "p"}),
]

_NAMED = {"trace_id": "t", "trace_name": "n", "span_name": "s"}


class TestHalves:
    """Whatever was put together can be taken apart."""

    @pytest.mark.parametrize(("type_", "fields"), _CONFIGS)
    @given(
        count=st.integers(2, 9), trace=st.sampled_from([None, {"trace_id": "t", "trace_name": "n", "span_name": "s"}])
    )
    def test_they_are_what_would_have_been_sent_for_each(
        self, type_: str, fields: dict[str, str], count: int, trace: dict[str, str] | None
    ) -> None:
        """Of every format, also where a trace has several spans."""
        kind = KINDS[type_]
        config = parse_config(kind, fields)
        parts = [kind.encode(config, build_trace(make_record(number, trace=trace))) for number in range(count)]
        middle = count // 2
        expected = (kind.join(config, parts[:middle]), kind.join(config, parts[middle:]))
        assert expected == halve(kind.join(config, parts))

    @pytest.mark.parametrize(
        "payload",
        [
            Payload(body=b'{"resourceSpans":[{}]}', traces=1, name="application/json"),
            Payload(body=b'{"resourceSpans":[{}]}', traces=2, name="application/json"),
            Payload(body=b'{"resourceSpans":[', traces=2, name="application/json"),
            Payload(body=b"\x0a\xff", traces=2, name="application/x-protobuf"),
            Payload(body=b"\x0a\x05a\x0a", traces=2, name="application/x-protobuf"),
            Payload(body=b"no rows\n", traces=2),
            Payload(body=b"", traces=2, name="traces/2026/x.json"),
        ],
    )
    def test_what_cannot_be_taken_apart(self, payload: Payload) -> None:
        """It is left whole."""
        assert halve(payload) is None


class TestRefusal:
    """Of batches, by real receivers."""

    @pytest.mark.parametrize("status", [400, 413, 422])
    async def test_one_trace_is_to_blame(self, status: int, caplog: pytest.LogCaptureFixture) -> None:
        """It alone is rejected, by a number of requests that grows with the logarithm of the batch."""
        async with receiving() as receiver, running(webhook("one", receiver.url)) as setup:
            receiver.behave = lambda arrival: status if "gen-77" in arrival.generation_ids else 200
            setup.offer(128)
            await setup.time.advance(1)
            await eventually(lambda: not setup.of("one").waiting)
            assert [each for each in setup.all_ids if each != "gen-77"] == in_order(ids(receiver.accepted))
            counts = setup.of("one").counts
            assert (127, 1, 0, 0) == (counts.delivered, counts.rejected, counts.dropped, counts.retries)
            assert len(receiver.arrivals) <= 1 + 2 * math.log2(128)
        assert 1 == caplog.text.count("refuses 1 traces for good")

    async def test_from_disk(self, tmp_path: Path) -> None:
        """What is read back is taken apart as well, and gone from the disk when all of it is dealt with."""
        async with receiving() as receiver:
            receiver.behave = lambda _: 503
            async with running(webhook("one", receiver.url), directory=tmp_path) as setup:
                for _ in range(3):
                    setup.offer(10)
                    await setup.time.advance(1)
            bad = {"gen-4", "gen-5", "gen-28"}
            receiver.behave = lambda arrival: 400 if bad & set(arrival.generation_ids) else 200
            async with running(webhook("one", receiver.url), directory=tmp_path) as again:
                assert 30 == again.of("one").waiting
                await eventually(lambda: not again.of("one").waiting)
                counts = again.of("one").counts
                assert (27, 3, 0) == (counts.delivered, counts.rejected, counts.dropped)
                assert [each for each in setup.all_ids if each not in bad] == in_order(ids(receiver.accepted))
            assert is_empty(tmp_path)

    async def test_halves_wait_like_anything_else(self) -> None:
        """A destination that fails while a batch is taken apart is left alone for a while, and nothing is lost."""
        async with receiving() as receiver, running(webhook("one", receiver.url)) as setup:

            def behave(arrival: Arrival) -> int:
                if "gen-3" in arrival.generation_ids:
                    return 400
                return 503 if setup.time.now < ends_at else 200

            ends_at = setup.time.now + 60
            receiver.behave = behave
            setup.offer(16)
            await setup.time.advance(30)
            assert len(receiver.arrivals) < 20
            await setup.time.advance(120)
            await eventually(lambda: not setup.of("one").waiting)
            assert [each for each in setup.all_ids if each != "gen-3"] == in_order(ids(receiver.accepted))
            assert 1 == setup.of("one").counts.rejected

    async def test_everything_is_refused(self) -> None:
        """Then it is not asked about each trace, until it accepts something."""
        async with receiving() as receiver, running(webhook("one", receiver.url)) as setup:
            receiver.behave = lambda _: 400
            for _ in range(10):
                setup.offer(100)
                await setup.time.advance(1)
            await eventually(lambda: not setup.of("one").waiting)
            assert (0, 1000) == (setup.of("one").counts.delivered, setup.of("one").counts.rejected)
            assert len(receiver.arrivals) < 100
            receiver.behave = lambda arrival: 400 if "gen-1105" in arrival.generation_ids else 200
            for _ in range(2):
                setup.offer(100)
                await setup.time.advance(1)
            await eventually(lambda: not setup.of("one").waiting)
            assert (199, 1001) == (setup.of("one").counts.delivered, setup.of("one").counts.rejected)

    @pytest.mark.parametrize("status", [401, 403, 404])
    async def test_what_is_not_about_content(self, status: int) -> None:
        """It is tried again, whole."""
        async with receiving() as receiver, running(webhook("one", receiver.url)) as setup:
            receiver.behave = lambda _: status
            setup.offer(8)
            await setup.time.advance(5)
            assert {8} == {len(arrival.generation_ids) for arrival in receiver.arrivals}
            assert 0 == setup.of("one").counts.rejected
