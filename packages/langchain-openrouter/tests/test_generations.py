"""The record of a generation: waiting for it, its money, and its faults."""

import asyncio
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from scripted_server import Json, Reply, ScriptedServer, json_reply
from test_drivers import AT_ONCE, KEY, error_reply

from langchain_openrouter import (
    ConfigurationError,
    NotFound,
    OpenRouterError,
    PermissionDenied,
    ProtocolViolation,
    ServerFailed,
)
from langchain_openrouter._access import Access
from langchain_openrouter._fetch import afetch, fetch
from langchain_openrouter._http import Surroundings
from langchain_openrouter._retry import RetryPolicy
from langchain_openrouter.generations import (
    GenerationRecord,
    aget_generation,
    get_generation,
    parse_generation,
    plan_record_waits,
)

RECORD: Json = {"id": "gen-1", "model": "acme/one", "total_cost": 0.1, "usage": 0.1, "latency": 12.5, "is_byok": False}
Ask = Callable[..., GenerationRecord]


def aget(*arguments: Any, **options: Any) -> GenerationRecord:
    return asyncio.run(aget_generation(*arguments, **options))


WAYS = pytest.mark.parametrize("ask", [get_generation, aget])


@WAYS
class TestAsking:
    """Requests, waits and faults."""

    def test_a_record(self, server: ScriptedServer, ask: Ask) -> None:
        """As the API sent it, but for money."""
        server.answer(json_reply({"data": {**RECORD, "brand_new": [1.5]}}))
        record = ask("gen-1/ä", base_url=server.url, api_key=KEY)
        assert record == {**RECORD, "total_cost": Decimal("0.1"), "usage": Decimal("0.1"), "brand_new": [1.5]}
        (seen,) = server.seen
        assert seen.path == "/api/v1/generation?id=gen-1%2F%C3%A4"
        assert seen.headers["authorization"] == f"Bearer {KEY}"

    def test_it_may_appear_late(self, server: ScriptedServer, ask: Ask) -> None:
        server.answer(error_reply(404), error_reply(404), json_reply({"data": RECORD}))
        assert ask("gen-1", base_url=server.url, wait_s=0.3, max_retries=0)["id"] == "gen-1"
        assert len(server.seen) == 3

    def test_the_wait_is_bounded(self, server: ScriptedServer, ask: Ask) -> None:
        server.answer(error_reply(404))
        began = time.monotonic()
        with pytest.raises(NotFound):
            ask("gen-1", base_url=server.url, wait_s=0.3)
        assert 0.3 <= time.monotonic() - began < 2
        assert len(server.seen) == 3

    def test_no_wait(self, server: ScriptedServer, ask: Ask) -> None:
        server.answer(error_reply(404), json_reply({"data": RECORD}))
        with pytest.raises(NotFound):
            ask("gen-1", base_url=server.url, wait_s=0)
        assert len(server.seen) == 1

    def test_other_failures_are_retried_as_always(self, server: ScriptedServer, ask: Ask) -> None:
        server.answer(error_reply(503, headers=AT_ONCE), json_reply({"data": RECORD}))
        assert ask("gen-1", base_url=server.url)["id"] == "gen-1"
        server.answer(error_reply(503, headers=AT_ONCE))
        with pytest.raises(ServerFailed):
            ask("gen-1", base_url=server.url, max_retries=1)
        server.answer(error_reply(403))
        with pytest.raises(PermissionDenied):
            ask("gen-1", base_url=server.url)
        assert len(server.seen) == 5

    def test_it_sleeps_as_long_as_the_policy_says(self, server: ScriptedServer, ask: Ask) -> None:
        """Driven by hand, with a clock of its own."""
        slept: list[float] = []

        async def asleep(wait_s: float) -> None:
            slept.append(wait_s)

        around = Surroundings(sleep=slept.append, asleep=asleep)
        call = Access(base_url=server.url).request("/generation", query={"id": "gen-1"})
        waits = plan_record_waits(RetryPolicy(), 1.0, lambda: 0.0)
        server.answer(error_reply(404), error_reply(503), error_reply(404), json_reply({"data": RECORD}))
        if ask is aget:
            asyncio.run(afetch(call, waits, parse_generation, around=around))
        else:
            fetch(call, waits, parse_generation, around=around)
        assert slept == [0.25, 0.25, 0.5]

    def test_no_key(self, ask: Ask) -> None:
        with pytest.raises(ConfigurationError, match="OPENROUTER_API_KEY"):
            ask("gen-1")

    def test_silence(self, server: ScriptedServer, ask: Ask) -> None:
        server.answer(Reply(wait_s=5))
        with pytest.raises(OpenRouterError, match="silent"):
            ask("gen-1", base_url=server.url, timeout=0.05, max_retries=0)


class TestWaits:
    """The policy by itself."""

    def test_pauses_double_up_to_their_sum(self) -> None:
        waits = plan_record_waits(RetryPolicy(), 10.0, lambda: 0.0)
        next(waits)
        late = NotFound("no", status=404)
        pauses = [waits.send(late) for _ in range(8)]
        assert pauses == [0.25, 0.5, 1.0, 2.0, 2.0, 2.0, 2.0, 0.25]
        assert sum(pauses) == 10.0
        with pytest.raises(NotFound):
            waits.send(late)

    def test_other_failures_have_their_own_count(self) -> None:
        waits = plan_record_waits(RetryPolicy(max_retries=1), 1.0, lambda: 0.0)
        next(waits)
        late, busy = NotFound("no", status=404), ServerFailed("no", status=503)
        assert [waits.send(failure) for failure in (late, busy, late)] == [0.25, 0.25, 0.5]
        with pytest.raises(ServerFailed):
            waits.send(busy)


class TestParsing:
    """Money keeps its digits."""

    def test_every_digit_of_a_cost(self) -> None:
        body = b'{"data": {"total_cost": 0.12345678901234567890123, "usage": 1e-7, "cache_discount": null}}'
        assert parse_generation(body, {}, secrets=()) == {
            "total_cost": Decimal("0.12345678901234567890123"),
            "usage": Decimal("1e-7"),
            "cache_discount": None,
        }

    @pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"data": []}'])
    def test_what_is_no_record(self, body: bytes) -> None:
        with pytest.raises(ProtocolViolation):
            parse_generation(body, {}, secrets=())

    def test_an_error_in_a_200(self) -> None:
        with pytest.raises(NotFound):
            parse_generation(b'{"error": {"code": 404, "message": "no"}}', {}, secrets=())
