"""The caller's OpenTelemetry trace goes on in the server that is asked: its span is named in a header."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from scripted_server import Json, ScriptedServer, event, json_reply, sse_reply

from langchain_openrouter import ChatOpenRouter, OpenRouterEmbeddings, get_generation, list_models

pytest.importorskip("opentelemetry.sdk.trace")
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

TRACER = TracerProvider().get_tracer("test")
STREAM = sse_reply(event({"content": "a"}), event({}, "stop"))
VECTORS: Json = {"data": [{"embedding": [0.5], "index": 0}]}


def model_of(server: ScriptedServer, **given: Any) -> ChatOpenRouter:
    return ChatOpenRouter(model="acme/one", base_url=server.url, **given)


def stream(server: ScriptedServer) -> None:
    server.answer(STREAM)
    list(model_of(server).stream("hi"))


def astream(server: ScriptedServer) -> None:
    async def read() -> None:
        async for _ in model_of(server).astream("hi"):
            pass

    server.answer(STREAM)
    asyncio.run(read())


def embed(server: ScriptedServer) -> None:
    server.answer(json_reply(VECTORS))
    OpenRouterEmbeddings(model="acme/one", base_url=server.url).embed_query("hi")


def list_them(server: ScriptedServer) -> None:
    server.answer(json_reply({"data": []}))
    list_models(base_url=server.url)


def get_one(server: ScriptedServer) -> None:
    server.answer(json_reply({"data": {"id": "gen-1"}}))
    get_generation("gen-1", base_url=server.url)


WAYS: dict[str, Callable[[ScriptedServer], Any]] = {
    "invoke": lambda server: model_of(server).invoke("hi"),
    "ainvoke": lambda server: asyncio.run(model_of(server).ainvoke("hi")),
    "batch": lambda server: model_of(server).batch(["hi", "ho"]),
    "stream": stream,
    "astream": astream,
    "embed": embed,
    "list models": list_them,
    "get generation": get_one,
}


@pytest.mark.parametrize("ask", WAYS.values(), ids=WAYS.keys())
def test_the_active_span_is_named(server: ScriptedServer, ask: Callable[[ScriptedServer], Any]) -> None:
    """As OpenTelemetry itself would name it."""
    expected: dict[str, str] = {}
    with TRACER.start_as_current_span("outer"):
        TraceContextTextMapPropagator().inject(expected)
        ask(server)
    assert {expected["traceparent"]} == {seen.headers.get("traceparent") for seen in server.seen}
    assert {None} == {seen.headers.get("tracestate") for seen in server.seen}


def test_each_call_names_its_own_span(server: ScriptedServer) -> None:
    """Also when they run at once."""

    async def ask(span_name: str) -> str:
        with TRACER.start_as_current_span(span_name) as span:
            await model_of(server).ainvoke(span_name)
        return f"{span.get_span_context().span_id:016x}"

    async def both() -> list[str]:
        return await asyncio.gather(ask("a"), ask("b"))

    expected = dict(zip("ab", asyncio.run(both()), strict=True))
    sent = {seen.body["messages"][0]["content"]: seen.headers["traceparent"].split("-")[2] for seen in server.seen}
    assert expected == sent


def test_without_a_span_nothing_is_sent(server: ScriptedServer) -> None:
    model_of(server).invoke("hi")
    assert not server.seen[0].headers.keys() & {"traceparent", "tracestate"}


def test_a_span_that_is_not_sampled_says_so(server: ScriptedServer) -> None:
    with TracerProvider(sampler=ALWAYS_OFF).get_tracer("test").start_as_current_span("outer"):
        model_of(server).invoke("hi")
    flags = int(server.seen[0].headers["traceparent"][-2:], 16)
    assert flags & TraceFlags.SAMPLED == 0


def test_the_state_of_a_trace_that_came_from_elsewhere_is_passed_on(server: ScriptedServer) -> None:
    context = SpanContext(
        trace_id=0x0AF7651916CD43DD8448EB211C80319C,
        span_id=0xB7AD6B7169203331,
        is_remote=True,
        trace_flags=TraceFlags(1),
        trace_state=TraceState([("rojo", "00f067aa0ba902b7"), ("congo", "t61rcWkgMzE")]),
    )
    with trace.use_span(NonRecordingSpan(context)):
        model_of(server).invoke("hi")
    headers = server.seen[0].headers
    assert headers["traceparent"] == "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert headers["tracestate"] == "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"


def test_a_header_of_the_user_wins(server: ScriptedServer) -> None:
    own = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
    with TRACER.start_as_current_span("outer"):
        model_of(server, default_headers={"Traceparent": own}).invoke("hi")
        model_of(server).invoke("hi", extra_headers={"traceparent": own})
    assert [own, own] == [seen.headers["traceparent"] for seen in server.seen]


def test_it_is_never_imported(server: ScriptedServer) -> None:
    """Here it is out of reach, so that an import would fail; the client of LangSmith imports it where it can."""
    code = f"""
import sys
sys.modules.update(dict.fromkeys(["opentelemetry", "opentelemetry.trace"]))
from langchain_openrouter import ChatOpenRouter
print(ChatOpenRouter(model="acme/one", base_url={server.url!r}).invoke("hi").text)
"""
    assert subprocess.check_output([sys.executable, "-c", code], text=True, timeout=60) == "Hello\n"
    assert "traceparent" not in server.seen[0].headers
