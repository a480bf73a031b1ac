"""Tool calls whose arguments are no JSON object: never taken for good ones, and sent back as they came."""

import json
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain.agents import create_agent  # pyright: ignore[reportUnknownVariableType]
from langchain_core.messages import AIMessage, AIMessageChunk, message_chunk_to_message
from langchain_core.messages.tool import ToolCallChunk
from scripted_server import Json, ScriptedServer, completion, event, json_reply, sse_reply

from langchain_openrouter import ChatOpenRouter, ServerFailed, StreamBroken
from langchain_openrouter._messages import to_wire
from langchain_openrouter._replies import mark_unreadable, parse_arguments, unmark
from langchain_openrouter._stream import ReplyStream

PATH = '{"path": "/home/user/notes"}'

values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(st.text(max_size=4), values, min_size=1, max_size=3)


def wire_call(arguments: str | None, index: int = 0) -> Json:
    return {"index": index, "id": f"c{index}", "type": "function", "function": {"name": "f", "arguments": arguments}}


def chunks_of(*events: Json) -> list[AIMessageChunk]:
    stream = ReplyStream()
    generations = [g for e in events for g in stream.feed(b"data: " + json.dumps(e).encode() + b"\n\n")]
    return [g.message for g in [*generations, *stream.finish()] if isinstance(g.message, AIMessageChunk)]


def added_up(*events: Json) -> AIMessage:
    first, *others = chunks_of(*events)
    full = first
    for chunk in others:
        full = full + chunk
    message = message_chunk_to_message(full)
    assert isinstance(message, AIMessage)
    return message


def is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text, strict=False), dict)
    except ValueError:
        return False


@given(arguments=objects.map(json.dumps), cut=st.integers(min_value=1, max_value=40), ascii_only=st.booleans())
def test_any_cut_is_seen(arguments: str, cut: int, ascii_only: bool) -> None:
    """LangChain completes streamed JSON: a path that was cut in two would be another path."""
    text = arguments if ascii_only else json.dumps(json.loads(arguments), ensure_ascii=False)
    text = text[:cut]
    message = added_up(event({"tool_calls": [wire_call(text)]}), event({}, "length"))
    if is_object(text):
        assert message.tool_calls[0]["args"] == json.loads(text)
        assert message.invalid_tool_calls == []
    else:
        assert message.tool_calls == []
        assert [(call["name"], call["id"]) for call in message.invalid_tool_calls] == [("f", "c0")]
        assert to_wire([message])[0]["tool_calls"][0]["function"]["arguments"] == text


@given(text=st.text(st.sampled_from('{}[]":,\\ax1 \n') | st.characters(codec="utf-8"), max_size=20))
def test_a_mark_can_be_taken_off_again(text: str) -> None:
    try:
        parse_arguments(text, cut=True)
    except ValueError:
        marked = text + mark_unreadable(text)
        assert unmark(marked) == text
        fragment = ToolCallChunk(name="f", args=marked, id="c0", index=0, type="tool_call_chunk")
        assert AIMessageChunk(content="", tool_call_chunks=[fragment]).tool_calls == []
    assert unmark(text) == text


BROKEN = {"cut": PATH[:18], "not JSON": "nonsense", "a list": "[1]", "null": "null", "a missing brace": '{"a": 1'}


@pytest.mark.parametrize("arguments", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("finish", ["length", "tool_calls", "stop"])
def test_streamed_and_whole_agree(arguments: str, finish: str) -> None:
    body = completion(None, tool_calls=[wire_call("{}", 0), wire_call(arguments, 1)])
    body["choices"][0]["finish_reason"] = finish
    calls = [event({"tool_calls": [wire_call(text, i)]}) for i, text in enumerate(("{}", arguments))]
    stream = ReplyStream()
    list(stream.feed(json_reply(body).pieces[0]))
    (one,) = stream.finish()
    assert isinstance(one.message, AIMessageChunk)
    for message in (one.message, added_up(*calls, event({}, finish))):
        assert [call["id"] for call in message.tool_calls] == ["c0"]
        assert [call["id"] for call in message.invalid_tool_calls] == ["c1"]
        assert unmark(str(message.invalid_tool_calls[0]["args"])) == arguments


@pytest.mark.parametrize(("finish", "valid"), [("tool_calls", 2), ("length", 1)])
def test_a_last_call_without_arguments_may_have_lost_them(server: ScriptedServer, finish: str, valid: int) -> None:
    """Only when the answer was cut off, and only the last one: what is followed by another call was complete."""
    body = completion(None, tool_calls=[wire_call(""), wire_call(None, 1)])
    body["choices"][0]["finish_reason"] = finish
    server.answer(json_reply(body))
    whole = ChatOpenRouter(model="acme/one", base_url=server.url).invoke("hi")
    parts = [event({"tool_calls": [wire_call("", index)]}) for index in range(2)]
    for message in (whole, added_up(*parts, event({}, finish))):
        assert len(message.tool_calls) == valid
        assert len(message.invalid_tool_calls) == 2 - valid


@pytest.mark.parametrize("arguments", ["", PATH[:18]])
def test_a_broken_stream_has_no_call_that_looks_complete(server: ScriptedServer, arguments: str) -> None:
    done, broken = wire_call("{}", 0), wire_call(arguments, 1)
    server.answer(sse_reply(event({"tool_calls": [done]}), event({"tool_calls": [broken]}), done=False, cut=True))
    with pytest.raises(StreamBroken) as caught:
        list(ChatOpenRouter(model="acme/one", base_url=server.url).stream("hi"))
    failure: Json = {"error": {"code": 502, "message": "gone"}, "choices": []}
    server.answer(sse_reply(event({"tool_calls": [done]}), event({"tool_calls": [broken]}), failure))
    with pytest.raises(ServerFailed) as failed:
        list(ChatOpenRouter(model="acme/one", base_url=server.url).stream("hi"))
    for partial in (caught.value.partial, failed.value.partial):
        assert partial is not None
        assert [call["id"] for call in partial.tool_calls] == ["c0"]
        assert [call["id"] for call in partial.invalid_tool_calls] == ["c1"]


@pytest.mark.parametrize("streaming", [False, True])
def test_an_agent_does_not_run_a_call_that_was_cut(server: ScriptedServer, streaming: bool) -> None:
    deleted: list[str] = []

    def delete(path: str) -> str:
        """Delete a file."""
        deleted.append(path)
        return "done"

    call = wire_call(PATH[:18])
    call["function"]["name"] = "delete"
    if streaming:
        server.answer(sse_reply(event({"tool_calls": [call]}), event({}, "length")))
    else:
        body = completion(None, tool_calls=[call])
        body["choices"][0]["finish_reason"] = "length"
        server.answer(json_reply(body))
    model = ChatOpenRouter(model="acme/one", base_url=server.url, streaming=streaming)
    agent = cast("Any", create_agent(model, tools=[delete]))
    result = agent.invoke({"messages": [{"role": "user", "content": "delete it"}]})
    assert deleted == []
    assert result["messages"][-1].invalid_tool_calls[0]["name"] == "delete"


def test_the_typed_event_stream_survives_arguments_that_are_a_list(server: ScriptedServer) -> None:
    server.answer(sse_reply(event({"tool_calls": [wire_call("[1]")]}), event({}, "tool_calls")))
    model = ChatOpenRouter(model="acme/one", base_url=server.url)
    output = cast("Any", model.stream_events("hi", version="v3")).output
    assert (output.tool_calls, output.invalid_tool_calls[0]["name"]) == ([], "f")
