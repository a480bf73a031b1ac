"""Answers that other clients lose or misread: errors beside tokens, odd JSON, odd framing, pieces of audio."""

import base64
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessageChunk
from scripted_server import Json, Reply, ScriptedServer, completion, event, json_reply, sse_reply
from test_drivers import STREAMED, WHOLE, Ask, model_for

from langchain_openrouter import OpenRouterError, ProtocolViolation, ServerFailed, StreamBroken
from langchain_openrouter._audio import Base64Joiner
from langchain_openrouter._replies import merge_reasoning_details, usage_of
from langchain_openrouter._stream import ReplyStream, ToolCallPositions

OK = sse_reply(event({"content": "again"}), event({}, "stop"))


def sse(*events: object) -> bytes:
    """Return events as one piece, which arrives in one read."""
    return b"".join(sse_reply(*events, done=False).pieces)


def stream_of(*pieces: bytes, kind: str = "text/event-stream") -> Reply:
    return Reply(headers={"content-type": kind}, pieces=pieces)


def chunks_of(*pieces: bytes) -> list[AIMessageChunk]:
    stream = ReplyStream()
    generations = [g for piece in pieces for g in stream.feed(piece)] + list(stream.finish())
    return [g.message for g in generations if isinstance(g.message, AIMessageChunk)]


def added_up(*events: object) -> AIMessageChunk:
    first, *others = chunks_of(sse(*events, b"data: [DONE]\n\n"))
    merged = first + others if others else first
    assert isinstance(merged, AIMessageChunk)
    return merged


async def read(model: Any, how: str, seen: list[str]) -> None:
    """Collect the text of chunks as they come."""
    if how == "sync":
        for chunk in model.stream("hi"):
            seen.append(chunk.text)  # noqa: PERF401 - what came before an error counts
        return
    async for chunk in model.astream("hi"):
        seen.append(chunk.text)  # noqa: PERF401


@pytest.mark.parametrize("how", ["sync", "async"])
class TestTokensBesideAnError:
    """One read of the socket may bring tokens and the error that ends them."""

    async def test_they_are_handed_on_and_nothing_is_tried_again(self, server: ScriptedServer, how: str) -> None:
        failure: Json = {"error": {"code": 502, "message": "gone"}, "choices": []}
        server.answer(stream_of(sse(event({"content": "Hel"}), event({"content": "lo"}), failure)), OK)
        seen: list[str] = []
        with pytest.raises(ServerFailed) as caught:
            await read(model_for(server), how, seen)
        assert seen == ["Hel", "lo"]
        assert caught.value.partial is not None
        assert caught.value.partial.text == "Hello"
        assert len(server.seen) == 1

    @pytest.mark.parametrize("garbage", [b"data: {oops\n\n", b"data: [1]\n\n", b'data: {"choices": "\xff"}\n\n'])
    async def test_a_garbled_event_carries_them(self, server: ScriptedServer, how: str, garbage: bytes) -> None:
        server.answer(stream_of(sse(event({"content": "Hel"}), event({"content": "lo"})) + garbage), OK)
        seen: list[str] = []
        with pytest.raises(StreamBroken) as caught:
            await read(model_for(server), how, seen)
        assert seen == ["Hel", "lo"]
        assert caught.value.partial is not None
        assert caught.value.partial.text == "Hello"
        assert len(server.seen) == 1


def test_content_of_the_error_event_itself_had_arrived() -> None:
    choice = {"index": 0, "delta": {"content": " tail"}, "finish_reason": "error"}
    failure = {"error": {"code": 502, "message": "m"}, "choices": [choice]}
    with pytest.raises(ServerFailed) as caught:
        chunks_of(sse(event({"content": "Hello"}), failure))
    assert caught.value.partial is not None
    assert caught.value.partial.text == "Hello tail"


def test_an_error_that_says_nothing_carries_what_had_arrived() -> None:
    with pytest.raises(OpenRouterError) as caught:
        chunks_of(sse(event({"content": "Hello"}), {**event(), "error": {"code": 500}}))
    assert getattr(caught.value, "partial").text == "Hello"  # noqa: B009 - which class it is does not matter


def test_an_empty_finish_reason_is_no_finish() -> None:
    with pytest.raises(StreamBroken):
        chunks_of(sse(event({"content": "Hel"}, "")))
    message = added_up(event({"content": "a"}, "stop"), event({}, ""))
    assert message.response_metadata["finish_reason"] == "stop"


KEYS = ("content", "reasoning", "reasoning_details", "tool_calls", "images", "audio", "annotations", "refusal", "new")
INNER = ("content", "data", "transcript", "id", "index", "type", "text", "function", "name", "arguments", "url")
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.sampled_from(["", "a", "{", "AAAA"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(INNER), inner, max_size=3),
    max_leaves=4,
)
TOKEN: Json = {"token": "a", "logprob": -1, "bytes": None, "top_logprobs": []}


@given(
    st.lists(st.dictionaries(st.sampled_from(KEYS), ANYTHING, max_size=3), min_size=1, max_size=4),
    st.lists(ANYTHING | st.just({"content": [TOKEN]}), min_size=4, max_size=4),
)
def test_no_value_of_a_delta_spoils_the_answer(deltas: list[Json], logprobs: list[Any]) -> None:
    """Chunks add up whatever their values are; LangChain refuses to add up values of different types."""
    events = [event(delta) for delta in deltas]
    for body, odd in zip(events, logprobs, strict=False):
        body["choices"][0]["logprobs"] = odd
    message = added_up(*events, event({"content": "end"}, "stop"))
    assert message.text.endswith("end")


def test_odd_values_take_nothing_from_decent_ones() -> None:
    decent, odd = ({"content": [TOKEN]}, [{}, -0.5, {"content": "a"}])
    events = [event({"content": "a", "audio": {"id": "i", "data": "AAAA"}, "images": [{"new": 1}]})]
    events += [event({"content": "b", "audio": value, "images": value, "annotations": value}) for value in (7, "x")]
    for body, value in zip(events, [decent, odd, decent], strict=True):
        body["choices"][0]["logprobs"] = value
    message = added_up(*events, event({"audio": {"id": 5, "data": 5, "transcript": "t"}}, "stop"))
    assert message.response_metadata["logprobs"] == {"content": [TOKEN, TOKEN]}
    assert message.additional_kwargs["audio"] == {"id": "i", "data": "AAAA", "transcript": "t"}
    assert message.additional_kwargs["images"] == [{"new": 1}]


def test_logprobs_that_do_not_add_up_are_the_last_ones() -> None:
    """As numbers, one for each token."""
    events = [event({"content": "a"}), event({"content": "b"})]
    for body, value in zip(events, [-0.5, -0.25], strict=True):
        body["choices"][0]["logprobs"] = value
    message = added_up(*events, event({}, "stop"))
    assert (message.text, message.response_metadata["logprobs"]) == ("ab", -0.25)


class TestFraming:
    def test_blanks_around_the_end_marker_and_empty_payloads(self) -> None:
        pieces = (b"data: \n\ndata\n\ndata:   \n\n", sse(event({"content": "a"}, "stop")), b"data: [DONE] \n\n")
        assert [chunk.text for chunk in chunks_of(*pieces)] == ["a", ""]

    @pytest.mark.parametrize("ask", STREAMED)
    @pytest.mark.parametrize("kind", ["Application/JSON; charset=utf-8", "text/plain", "TEXT/PLAIN", ""])
    def test_a_whole_answer_to_a_stream(self, server: ScriptedServer, ask: Ask, kind: str) -> None:
        body = json.dumps(completion()).encode()
        server.answer(stream_of(b"\n", body[:20], body[20:], kind=kind))
        assert ask(model_for(server)) == "Hello"

    @pytest.mark.parametrize("ask", STREAMED)
    def test_a_stream_that_calls_itself_plain_text(self, server: ScriptedServer, ask: Ask) -> None:
        server.answer(stream_of(*OK.pieces, kind="text/plain"))
        assert ask(model_for(server)) == "again"


class TestOddJson:
    def test_a_character_cut_in_two_deltas_is_joined(self) -> None:
        message = added_up(
            event({"content": "Hello \ud83d", "reasoning": "\ud83d"}),
            event({"content": "\ude00!", "reasoning": "\ude01"}),
            event({"content": ""}, "stop"),
        )
        assert message.content == "Hello \U0001f600!"
        assert message.additional_kwargs["reasoning_content"] == "\U0001f601"

    def test_a_half_that_stays_alone_is_replaced(self) -> None:
        assert added_up(event({"content": "a\ud83d"}), event({}, "stop")).content == "a\ufffd"
        assert added_up(event({"content": "a\ud83d"}), event({"content": "b"}, "stop")).content == "a\ufffdb"

    @pytest.mark.parametrize("ask", WHOLE)
    def test_halves_in_a_whole_answer_are_replaced(self, server: ScriptedServer, ask: Ask) -> None:
        server.answer(json_reply(completion("x \ud83d y")))
        assert ask(model_for(server)) == "x \ufffd y"

    def test_numbers_that_json_does_not_have(self, server: ScriptedServer) -> None:
        body = completion()
        body["choices"][0]["logprobs"] = {"content": [{"token": "x", "logprob": -math.inf}]}
        body["usage"]["completion_tokens"] = math.nan
        server.answer(json_reply(body))
        message = model_for(server).invoke("hi")
        assert message.response_metadata["logprobs"]["content"][0]["logprob"] == -math.inf
        assert usage_of({"prompt_tokens": math.inf, "completion_tokens": math.nan}) is not None

    @pytest.mark.parametrize("ask", [*WHOLE, *STREAMED])
    def test_deep_nesting_is_not_this_api(self, server: ScriptedServer, ask: Ask) -> None:
        deep = b'{"choices":' + b"[" * 20_000 + b"]" * 20_000 + b"}"
        server.answer(stream_of(deep, kind="application/json"))
        with pytest.raises(ProtocolViolation, match="nested"):
            ask(model_for(server))

    @pytest.mark.parametrize("text", ['{"a": "x\ny"}', '{"a": "x\ty"}'])
    def test_control_characters_in_tool_arguments(self, server: ScriptedServer, text: str) -> None:
        """Streamed and whole alike."""
        call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": text}}
        server.answer(json_reply(completion(None, tool_calls=[call])))
        whole = model_for(server).invoke("hi").tool_calls
        streamed = added_up(event({"tool_calls": [call]}), event({}, "tool_calls")).tool_calls
        assert whole == streamed
        assert whole[0]["args"] == json.loads(text, strict=False)


def test_reasoning_blocks_of_one_event_stay_apart_without_an_index() -> None:
    first = [{"type": "reasoning.summary", "summary": "A"}, {"type": "reasoning.summary", "summary": "B"}]
    assert merge_reasoning_details([first]) == first
    more = [{"type": "reasoning.summary", "summary": "b"}]
    assert merge_reasoning_details([first, more]) == [first[0], {"type": "reasoning.summary", "summary": "Bb"}]


def test_a_text_of_an_unknown_key_is_not_lost() -> None:
    events = [event({"channel": "final", "notes": part}) for part in ("one ", "two")]
    kept = added_up(*events, event({}, "stop")).additional_kwargs
    assert kept == {"channel": "final", "notes": "one two"}


def test_another_name_after_arguments_is_another_call() -> None:
    """Some servers send index 0 for every call, and no ids."""
    places = ToolCallPositions()
    parts = [("f", ""), (None, '{"a":'), ("f", "1}"), ("g", "{}"), (None, " ")]
    raw: list[Json] = [{"index": 0, "function": {"name": name, "arguments": args}} for name, args in parts]
    assert [places.place(one)["index"] for one in raw] == [0, 0, 0, 1, 1]


class TestAudio:
    @given(sizes=st.lists(st.integers(min_value=0, max_value=7), max_size=6))
    def test_pieces_that_were_encoded_one_by_one(self, sizes: list[int]) -> None:
        joiner, data = Base64Joiner(), [bytes(range(size)) for size in sizes]
        text = "".join([joiner.feed(base64.b64encode(piece).decode()) for piece in data]) + joiner.rest
        assert base64.b64decode(text, validate=True) == b"".join(data)

    @given(data=st.binary(max_size=20), cut=st.integers(min_value=0, max_value=20))
    def test_one_text_that_was_cut_anywhere(self, data: bytes, cut: int) -> None:
        joiner, encoded = Base64Joiner(), base64.b64encode(data).decode()
        assert joiner.feed(encoded[:cut]) + joiner.feed(encoded[cut:]) + joiner.rest == encoded

    def test_what_is_not_base64_is_handed_on(self) -> None:
        joiner = Base64Joiner()
        assert joiner.feed("QQ==") + joiner.feed("!?!?") + joiner.rest == "QQ==!?!?"

    def test_streamed(self) -> None:
        pieces = [base64.b64encode(part).decode() for part in (b"ab", b"cde", b"f")]
        events = [event({"audio": {"id": "a", "data": piece, "transcript": "t"}}) for piece in pieces]
        audio = added_up(*events, event({}, "stop")).additional_kwargs["audio"]
        assert audio == {"id": "a", "data": base64.b64encode(b"abcdef").decode(), "transcript": "ttt"}
