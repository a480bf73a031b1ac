"""Answers of the API as LangChain messages: whole, streamed, and the two being equal."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk, message_chunk_to_message
from scripted_server import completion, event

from langchain_openrouter import APIError, NotFound, ProtocolViolation, RateLimited, ServerFailed
from langchain_openrouter._replies import merge_reasoning_details, parse_completion, usage_of
from langchain_openrouter._stream import ReplyStream, ToolCallPositions

Json = dict[str, Any]


def whole(body: Json) -> AIMessage:
    result = parse_completion(json.dumps(body).encode(), {}, secrets=())
    message = result.generations[0].message
    assert isinstance(message, AIMessage)
    return message


def chunks_of(*events: Json, with_usage: bool = True) -> list[AIMessageChunk]:
    stream = ReplyStream(with_usage=with_usage)
    generations = [g for e in events for g in stream.feed(b"data: " + json.dumps(e).encode() + b"\n\n")]
    generations += stream.feed(b"data: [DONE]\n\n")
    generations += stream.finish()
    chunks: list[AIMessageChunk] = []
    for generation in generations:
        assert isinstance(generation.message, AIMessageChunk)
        chunks.append(generation.message)
    return chunks


def added_up(chunks: list[AIMessageChunk]) -> AIMessage:
    """Add chunks one by one, as the documentation tells users to."""
    full = chunks[0]
    for chunk in chunks[1:]:
        full = full + chunk
    message = message_chunk_to_message(full)
    assert isinstance(message, AIMessage)
    return message


END = event({"content": ""}, "stop")


ODD_ANSWERS: list[Json] = [
    {"system_fingerprint": ...},
    {"usage": None},
    {"usage": ...},
    {"usage": {}},
    {"usage": {"prompt_tokens": None, "completion_tokens": 2.5, "prompt_tokens_details": None}},
    {"id": None},
    {"id": 7},
    {"model": ...},
    {"object": None},
    {"created": 1.5},
    {"service_tier": "not_invented_yet"},
    {"choices": [{"message": None, "finish_reason": "not_invented_yet"}]},
    {"choices": [{"finish_reason": "stop", "message": {"tool_calls": [{}, None, 1]}}]},
    {"choices": [{"text": "legacy"}]},
]
"""Changes to a complete answer; `...` takes a key out."""


class TestWhole:
    def test_documented_metadata(self) -> None:
        assert whole(completion()).response_metadata == {
            "model_name": "acme/one",
            "id": "gen-1",
            "created": 1771043112,
            "object": "chat.completion",
            "finish_reason": "stop",
            "native_finish_reason": "end_turn",
            "logprobs": None,
            "model_provider": "openrouter",
            "provider": "Acme",
            "cost": 0.5,
        }

    def test_everything_else_the_server_reports_is_kept(self) -> None:
        body = completion()
        body |= {"system_fingerprint": "fp", "service_tier": "flex", "openrouter_metadata": {"attempt": 2}}
        body["usage"] |= {
            "cost_details": {"upstream_inference_cost": 1.5},
            "is_byok": False,
            "server_tool_use": {"a": 1},
        }
        body["choices"][0]["logprobs"] = {"content": [{"token": "a", "logprob": -1}]}
        metadata = whole(body).response_metadata
        expected = {
            "system_fingerprint": "fp",
            "service_tier": "flex",
            "openrouter_metadata": {"attempt": 2},
            "cost_details": {"upstream_inference_cost": 1.5},
            "is_byok": False,
            "server_tool_use": {"a": 1},
            "logprobs": {"content": [{"token": "a", "logprob": -1}]},
        }
        assert {key: metadata[key] for key in expected} == expected

    def test_reasoning(self) -> None:
        details = [{"type": "reasoning.text", "text": "Hm.", "signature": "s", "id": None, "index": 0}]
        message = whole(completion(reasoning="Hm.", reasoning_details=details))
        assert message.additional_kwargs == {"reasoning_content": "Hm.", "reasoning_details": details}
        assert message.content_blocks == [
            {"type": "reasoning", "reasoning": "Hm."},
            {"type": "text", "text": "Hello"},
        ]

    def test_reasoning_text_comes_from_its_details_when_it_has_none_of_its_own(self) -> None:
        details = [
            {"type": "reasoning.summary", "summary": "First. "},
            {"type": "reasoning.encrypted", "data": "xx"},
            {"type": "reasoning.text", "text": "Then."},
        ]
        message = whole(completion(reasoning=None, reasoning_details=details))
        assert message.additional_kwargs["reasoning_content"] == "First. Then."

    @pytest.mark.parametrize("key", ["images", "audio", "annotations", "refusal", "not_invented_yet"])
    def test_nothing_of_the_message_is_lost(self, key: str) -> None:
        value: Any = "no" if key == "refusal" else [{"a": 1}]
        assert whole(completion(**{key: value})).additional_kwargs == {key: value}

    @pytest.mark.parametrize("content", [None, [], ""])
    def test_no_content(self, content: Any) -> None:
        assert whole(completion(content)).content == ""

    def test_content_in_parts(self) -> None:
        text = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
        assert whole(completion(text)).content == "ab"
        rich = [*text, {"type": "image_url", "image_url": {"url": "u"}}]
        assert whole(completion(rich)).content == rich

    @pytest.mark.parametrize(
        ("arguments", "args"),
        [('{"a": 1}', {"a": 1}), ("", {}), (None, {}), ({"a": 1}, {"a": 1}), ("{}", {})],
    )
    def test_tool_calls(self, arguments: Any, args: Json) -> None:
        raw = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": arguments}}
        message = whole(completion(None, tool_calls=[raw]))
        assert message.tool_calls == [{"name": "f", "args": args, "id": "c1", "type": "tool_call"}]

    @pytest.mark.parametrize("arguments", ['{"a": ', "[1]", "null", "nonsense"])
    def test_tool_calls_that_cannot_be_read_are_reported(self, arguments: str) -> None:
        raw = {"id": "c1", "function": {"name": "f", "arguments": arguments}}
        message = whole(completion(None, tool_calls=[raw]))
        assert message.tool_calls == []
        (invalid,) = message.invalid_tool_calls
        assert (invalid["name"], invalid["args"], invalid["id"]) == ("f", arguments, "c1")

    def test_callbacks_are_told_which_answer_it_was(self) -> None:
        """Tracers of other vendors look here."""
        result = parse_completion(json.dumps(completion()).encode(), {}, secrets=())
        about = {"model_name": "acme/one", "id": "gen-1", "created": 1771043112, "object": "chat.completion"}
        assert result.llm_output == about
        stream = ReplyStream()
        chunks = [*stream.feed(b"data: " + json.dumps(END).encode() + b"\n\n"), *stream.finish()]
        info = chunks[-1].generation_info or {}
        assert {**about, "finish_reason": "stop"}.items() <= info.items()

    def test_tokens_are_reported_once_for_several_choices(self) -> None:
        body = completion()
        body["choices"] = body["choices"] * 2
        result = parse_completion(json.dumps(body).encode(), {}, secrets=())
        usages = [g.message.usage_metadata for g in result.generations if isinstance(g.message, AIMessage)]
        assert usages == [{"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}, None]

    @pytest.mark.parametrize("changes", ODD_ANSWERS)
    def test_odd_answers_are_answers(self, changes: Json) -> None:
        body = {k: v for k, v in {**completion(), **changes}.items() if v is not ...}
        whole(body)

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b"1", b'{"choices": []}', b'{"choices": null}', b"{}", b"\xff"])
    def test_what_is_no_completion(self, body: bytes) -> None:
        with pytest.raises(ProtocolViolation):
            parse_completion(body, {}, secrets=())


class TestErrorsInAnswers:
    @pytest.mark.parametrize(
        ("error", "cls", "status"),
        [
            ({"code": 429, "message": "m"}, RateLimited, 429),
            ({"code": "429", "message": "m"}, RateLimited, 429),
            ({"code": "rate_limit_exceeded", "message": "m"}, RateLimited, 429),
            ({"code": "server_error", "message": "m"}, ServerFailed, 500),
            ({"code": None, "message": "m", "metadata": {"error_type": "not_found"}}, NotFound, 404),
            ({"code": "weird", "message": "m", "metadata": None}, APIError, None),
            ("just text", APIError, None),
        ],
    )
    @pytest.mark.parametrize("place", ["top", "choice", "top with choices"])
    def test_raise(self, error: Any, cls: type[APIError], status: int | None, place: str) -> None:
        body: Json = completion() if place != "top" else {}
        if place == "choice":
            body["choices"][0] |= {"error": error, "finish_reason": "error"}
        else:
            body["error"] = error
        with pytest.raises(APIError) as caught:
            whole(body)
        assert type(caught.value) is cls
        assert caught.value.status == status

    def test_a_finish_reason_of_error_raises_without_details(self) -> None:
        body = completion()
        body["choices"][0]["finish_reason"] = "error"
        with pytest.raises(ServerFailed):
            whole(body)


class TestUsage:
    def test_all_details(self) -> None:
        wire = {
            "prompt_tokens": 100,
            "completion_tokens": 50,
            "total_tokens": 150,
            "prompt_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 20, "audio_tokens": 3},
            "completion_tokens_details": {"reasoning_tokens": 30, "audio_tokens": 4},
        }
        assert usage_of(wire) == {
            "input_tokens": 100,
            "output_tokens": 50,
            "total_tokens": 150,
            "input_token_details": {"cache_read": 10, "cache_creation": 20, "audio": 3},
            "output_token_details": {"reasoning": 30, "audio": 4},
        }

    def test_zero_and_null_details_are_absent(self) -> None:
        wire = {
            "prompt_tokens": 1,
            "completion_tokens": 2,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": None},
            "completion_tokens_details": None,
        }
        assert usage_of(wire) == {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}

    def test_money_and_what_else_is_reported_is_no_token_count(self) -> None:
        wire = {
            "prompt_tokens": 1,
            "completion_tokens": 2,
            "total_tokens": 3,
            "cost": 0.1,
            "cost_details": {"upstream_inference_cost": 0.2},
            "is_byok": True,
            "server_tool_use": {"web_search_requests": 2},
            "prompt_tokens_details": {"not_invented_yet": 4},
        }
        assert usage_of(wire) == {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}

    def test_costs_keep_every_digit_that_a_float_has(self) -> None:
        digits = "0.00012345678901234567"
        usage: Json = {"prompt_tokens": 1, "cost": 0.0, "cost_details": {"upstream_inference_cost": 0.0}}
        body, last = completion(), {**END, "usage": usage}
        body["usage"] = usage
        (raw, streamed) = (json.dumps(x).replace("0.0", digits).encode() for x in (body, last))
        result = parse_completion(raw, {}, secrets=())
        stream = ReplyStream()
        chunks = [*stream.feed(b"data: " + streamed + b"\n\n"), *stream.finish()]
        for message in (result.generations[0].message, chunks[-1].message):
            assert message.response_metadata["cost"] == float(digits)
            assert message.response_metadata["cost_details"] == {"upstream_inference_cost": float(digits)}

    def test_fractional_counts_are_rounded(self) -> None:
        usage = usage_of({"prompt_tokens": 12.0, "completion_tokens": 2.6, "total_tokens": 15})
        assert usage == {"input_tokens": 12, "output_tokens": 3, "total_tokens": 15}

    def test_names_of_other_apis(self) -> None:
        """Some servers count chats under the names of Responses."""
        wire = {
            "input_tokens": 4,
            "output_tokens": 5,
            "total_tokens": 9,
            "input_tokens_details": {"cached_tokens": 1},
            "output_tokens_details": {"reasoning_tokens": 2},
        }
        body = completion()
        body["usage"] = {**wire, "cost": 0.5}
        message = parse_completion(json.dumps(body).encode(), {}, secrets=()).generations[0].message
        assert isinstance(message, AIMessage)
        assert message.usage_metadata == {
            "input_tokens": 4,
            "output_tokens": 5,
            "total_tokens": 9,
            "input_token_details": {"cache_read": 1},
            "output_token_details": {"reasoning": 2},
        }
        assert message.response_metadata["cost"] == 0.5
        assert message.response_metadata.keys() & wire.keys() == set()


class TestStream:
    def test_ids_and_position(self) -> None:
        chunks = chunks_of(event({"role": "assistant", "content": ""}), event({"content": "a"}), END)
        assert [(c.content, c.id, c.chunk_position) for c in chunks] == [
            ("a", None, None),
            ("", None, "last"),
        ]

    def test_usage_that_arrives_twice_counts_once(self) -> None:
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        chunks = chunks_of(
            event({"content": "a"}, usage={"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}),
            event({}, "stop", usage=usage),
            {**event(), "choices": [], "usage": usage},
        )
        assert added_up(chunks).usage_metadata == {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}

    def test_a_report_of_the_cost_alone_takes_no_tokens_away(self) -> None:
        chunks = chunks_of(
            event({"content": "a"}, usage={"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}),
            event({}, "stop", usage={"prompt_tokens": 3, "completion_tokens": 2}),
            {**event(), "choices": [], "usage": {"prompt_tokens": None, "cost": 0.5}},
        )
        message = added_up(chunks)
        assert message.usage_metadata == {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
        assert message.response_metadata["cost"] == 0.5

    def test_usage_can_be_left_out(self) -> None:
        last = {**END, "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
        assert added_up(chunks_of(last, with_usage=False)).usage_metadata is None

    @pytest.mark.parametrize("choices", [None, [], [None], [{}], [{"delta": None}], "x"])
    def test_events_without_content(self, choices: Any) -> None:
        odd = {"id": "gen-1", "choices": choices, "usage": None, "error": None, "system_fingerprint": None}
        assert [c.text for c in chunks_of(odd, event({"content": "a"}), odd, END)] == ["a", ""]

    def test_logprobs_arrive_with_their_token_and_add_up(self) -> None:
        def token(text: str) -> Json:
            body = event({"content": text})
            body["choices"][0]["logprobs"] = {"content": [{"token": text, "logprob": -1}], "refusal": None}
            return body

        chunks = chunks_of(token("a"), token("b"), END)
        assert chunks[0].response_metadata["logprobs"]["content"] == [{"token": "a", "logprob": -1}]
        merged = added_up(chunks).response_metadata["logprobs"]["content"]
        assert [entry["token"] for entry in merged] == ["a", "b"]

    @pytest.mark.parametrize("data", [b"nonsense", b"[1]", b"{"])
    def test_garbage(self, data: bytes) -> None:
        with pytest.raises(ProtocolViolation):
            list(ReplyStream().feed(b"data: " + data + b"\n\n"))

    def test_what_follows_the_end_marker_is_ignored(self) -> None:
        stream = ReplyStream()
        assert list(stream.feed(b"data: [DONE]\n\ndata: nonsense\n\n")) == []
        assert stream.done

    def test_state_shows_in_its_repr(self) -> None:
        stream = ReplyStream()
        next(stream.feed(b'data: {"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]}\n\n'))
        assert repr(stream) == "ReplyStream(chunks=1, finish_reason='stop', done=False)"


def fragment(index: int | None, call_id: str | None, name: str | None, args: Any) -> Json:
    function = {k: v for k, v in (("name", name), ("arguments", args)) if v is not None}
    wire: Json = {"id": call_id, "function": function}
    return {k: v for k, v in wire.items() if v is not None} | ({} if index is None else {"index": index})


TWO_CALLS: list[Json] = [
    {"name": "f", "args": {"a": 1}, "id": "c1", "type": "tool_call"},
    {"name": "g", "args": {}, "id": "c2", "type": "tool_call"},
]


STREAMED_CALLS: dict[str, list[tuple[int | None, str | None, str | None, Any]]] = {
    "as documented": [(0, "c1", "f", ""), (0, None, None, '{"a":'), (0, None, None, " 1}"), (1, "c2", "g", "{}")],
    "index always 0": [(0, "c1", "f", '{"a": 1}'), (0, "c2", "g", None)],
    "interleaved": [(0, "c1", "f", '{"a":'), (0, "c2", "g", ""), (0, "c1", None, " 1}")],
    "no index": [(None, "c1", "f", '{"a":'), (None, None, None, " 1}"), (None, "c2", "g", "{}")],
    "repeated names": [(0, "c1", "f", '{"a":'), (0, "c1", "f", " 1}"), (1, "c2", "g", None)],
    "objects": [(None, "c1", "f", {"a": 1}), (None, "c2", "g", {})],
    "gaps": [(3, "c1", "f", '{"a":1}'), (7, "c2", "g", "{}")],
}


class TestStreamedToolCalls:
    @pytest.mark.parametrize("fragments", STREAMED_CALLS.values(), ids=STREAMED_CALLS.keys())
    def test_add_up(self, fragments: list[tuple[int | None, str | None, str | None, Any]]) -> None:
        events = [event({"tool_calls": [fragment(*parts)]}) for parts in fragments]
        message = added_up(chunks_of(*events, event({}, "tool_calls")))
        assert message.tool_calls == TWO_CALLS
        assert message.invalid_tool_calls == []

    def test_calls_without_index_or_id_are_told_apart_by_name(self) -> None:
        places = ToolCallPositions()
        parts = [("f", '{"a"'), (None, ":1}"), ("g", ""), (None, "{}")]
        positions = [places.place(fragment(None, None, name, args))["index"] for name, args in parts]
        assert positions == [0, 0, 1, 1]

    def test_the_same_id_twice_is_two_calls(self) -> None:
        events = [event({"tool_calls": [fragment(i, "c", "f", json.dumps({"a": i}))]}) for i in range(2)]
        message = added_up(chunks_of(*events, event({}, "tool_calls")))
        assert [call["args"] for call in message.tool_calls] == [{"a": 0}, {"a": 1}]


DETAIL_CASES = {
    "text and signature": (
        [
            {
                "type": "reasoning.text",
                "text": "Need ",
                "format": "anthropic-claude-v1",
                "index": 0,
                "id": None,
            },
            {
                "type": "reasoning.text",
                "text": "it.",
                "format": "anthropic-claude-v1",
                "index": 0,
                "id": None,
            },
            {"type": "reasoning.text", "signature": "c2ln", "format": "anthropic-claude-v1", "index": 0},
        ],
        [
            {
                "type": "reasoning.text",
                "text": "Need it.",
                "format": "anthropic-claude-v1",
                "index": 0,
                "id": None,
                "signature": "c2ln",
            }
        ],
    ),
    "two kinds with one index": (
        [
            {"type": "reasoning.summary", "summary": "a", "index": 0, "id": "rs_1"},
            {"type": "reasoning.summary", "summary": "b", "index": 0, "id": "rs_1"},
            {"type": "reasoning.encrypted", "data": "zz", "index": 0, "id": "rs_1"},
        ],
        [
            {"type": "reasoning.summary", "summary": "ab", "index": 0, "id": "rs_1"},
            {"type": "reasoning.encrypted", "data": "zz", "index": 0, "id": "rs_1"},
        ],
    ),
    "interleaved blocks keep their order": (
        [
            {"type": "reasoning.text", "text": "a", "index": 0},
            {"type": "reasoning.encrypted", "data": "x", "index": 1},
            {"type": "reasoning.text", "text": "b", "index": 2},
        ],
        [
            {"type": "reasoning.text", "text": "a", "index": 0},
            {"type": "reasoning.encrypted", "data": "x", "index": 1},
            {"type": "reasoning.text", "text": "b", "index": 2},
        ],
    ),
    "no index": (
        [
            {"type": "reasoning.text", "text": "a"},
            {"type": "reasoning.text", "text": "b"},
            {"type": "reasoning.text", "signature": "s"},
            {"type": "reasoning.text", "text": "c"},
            {"type": "reasoning.encrypted", "data": "x"},
            {"type": "reasoning.encrypted", "data": "y"},
        ],
        [
            {"type": "reasoning.text", "text": "ab", "signature": "s"},
            {"type": "reasoning.text", "text": "c"},
            {"type": "reasoning.encrypted", "data": "x"},
            {"type": "reasoning.encrypted", "data": "y"},
        ],
    ),
    "summaries of other ids, which only their first fragments have": (
        [
            {"type": "reasoning.summary", "summary": "a", "index": 0, "id": "rs_1"},
            {"type": "reasoning.summary", "summary": "b", "index": 0},
            {"type": "reasoning.summary", "summary": "c", "index": 0, "id": "rs_2"},
            {"type": "reasoning.summary", "summary": "d", "index": 0, "id": None},
        ],
        [
            {"type": "reasoning.summary", "summary": "ab", "index": 0, "id": "rs_1"},
            {"type": "reasoning.summary", "summary": "cd", "index": 0, "id": "rs_2"},
        ],
    ),
    "an index on the first fragment only": (
        [
            {"type": "reasoning.text", "text": "a", "index": 3, "id": "x"},
            {"type": "reasoning.text", "text": "b"},
            {"type": "reasoning.text", "signature": "s"},
            {"type": "reasoning.text", "text": "c", "index": 4},
        ],
        [
            {"type": "reasoning.text", "text": "ab", "index": 3, "id": "x", "signature": "s"},
            {"type": "reasoning.text", "text": "c", "index": 4},
        ],
    ),
    "other ids are other blocks": (
        [
            {"type": "reasoning.encrypted", "data": "x", "index": 0, "id": "a"},
            {"type": "reasoning.encrypted", "data": "y", "index": 0, "id": "b"},
        ],
        [
            {"type": "reasoning.encrypted", "data": "x", "index": 0, "id": "a"},
            {"type": "reasoning.encrypted", "data": "y", "index": 0, "id": "b"},
        ],
    ),
}


@pytest.mark.parametrize(("fragments", "blocks"), DETAIL_CASES.values(), ids=DETAIL_CASES.keys())
def test_reasoning_fragments_merge_to_the_whole_form(fragments: list[Json], blocks: list[Json]) -> None:
    before = msgspec.json.encode(fragments)
    assert merge_reasoning_details([[fragment] for fragment in fragments]) == blocks
    assert msgspec.json.encode(fragments) == before
    events = [event({"reasoning_details": [f]}) for f in fragments]
    assert added_up(chunks_of(*events, END)).additional_kwargs["reasoning_details"] == blocks


text = st.text(max_size=12)
call = st.fixed_dictionaries(
    {"name": st.text("abc_", min_size=1, max_size=6), "args": st.dictionaries(text, text, max_size=2)}
)
answer = st.fixed_dictionaries(
    {"content": text, "calls": st.lists(call, max_size=3)},
    optional={
        "reasoning": st.text(min_size=1, max_size=12),
        "refusal": st.text(min_size=1, max_size=12),
        "images": st.lists(
            st.fixed_dictionaries({"image_url": st.fixed_dictionaries({"url": text})}), min_size=1, max_size=3
        ),
        "annotations": st.lists(st.fixed_dictionaries({"index": st.just(0), "type": text}), min_size=1, max_size=3),
        "signature": st.text(min_size=1, max_size=8),
        "not_invented_yet": st.dictionaries(text, text, min_size=1, max_size=2),
    },
)


def pieces_of(value: str, sizes: list[int]) -> list[str]:
    """Cut a text as a model streams it."""
    pieces: list[str] = []
    for size in sizes:
        pieces.append(value[:size])
        value = value[size:]
    return [piece for piece in [*pieces, value] if piece]


def build(drawn: Json, sizes: list[int]) -> tuple[Json, list[Json]]:
    """Return one answer in both forms."""
    message: Json = {
        k: drawn[k] for k in ("reasoning", "refusal", "images", "annotations", "not_invented_yet") if k in drawn
    }
    message["content"] = drawn["content"]
    deltas: list[Json] = [{"role": "assistant", "content": ""}]
    if "reasoning" in drawn:
        block = {"type": "reasoning.text", "text": drawn["reasoning"], "format": "f", "index": 0}
        message["reasoning_details"] = [block | ({"signature": drawn["signature"]} if "signature" in drawn else {})]
        deltas += [
            {"reasoning": part, "reasoning_details": [{**block, "text": part}]}
            for part in pieces_of(drawn["reasoning"], sizes)
        ]
        if "signature" in drawn:
            deltas.append(
                {"reasoning_details": [{"type": "reasoning.text", "index": 0, "signature": drawn["signature"]}]}
            )
    deltas += [{"content": part} for part in pieces_of(drawn["content"], sizes)]
    deltas += [{"refusal": part} for part in pieces_of(drawn.get("refusal", ""), sizes)]
    deltas += [{"images": [image]} for image in drawn.get("images", [])]
    deltas += [{"annotations": drawn[k]} for k in ("annotations",) if k in drawn]
    deltas += [{"not_invented_yet": drawn[k]} for k in ("not_invented_yet",) if k in drawn]
    calls: list[Json] = []
    for index, one in enumerate(drawn["calls"]):
        arguments = json.dumps(one["args"])
        calls.append({"id": f"c{index}", "type": "function", "function": {"name": one["name"], "arguments": arguments}})
        deltas.append({"tool_calls": [{"index": index, "id": f"c{index}", "function": {"name": one["name"]}}]})
        deltas += [
            {"tool_calls": [{"index": index, "function": {"arguments": part}}]} for part in pieces_of(arguments, sizes)
        ]
    if calls:
        message["tool_calls"] = calls
    body = completion(**message)
    del body["choices"][0]["native_finish_reason"]
    usage: Json = {**event(), "choices": [], "usage": body["usage"]}
    return body, [*(event(delta) for delta in deltas), event({"content": ""}, "stop"), usage]


@given(drawn=answer, sizes=st.lists(st.integers(min_value=1, max_value=5), max_size=5))
def test_a_stream_adds_up_to_the_unstreamed_message(drawn: Json, sizes: list[int]) -> None:
    """Content, tool calls, reasoning, usage, metadata: all equal, whichever way the answer came."""
    body, events = build(drawn, sizes)
    chunks = chunks_of(*events)
    assert added_up(chunks) == whole(body)
    first, *others = chunks
    assert message_chunk_to_message(first + others if others else first) == whole(body)


class TestContentBlocks:
    def test_everything_an_answer_may_hold(self) -> None:
        citation = {"url": "u", "title": "t", "content": "c", "start_index": 0, "end_index": 5}
        call = {"id": "c1", "function": {"name": "f", "arguments": "{}"}}
        bad = {"id": "c2", "function": {"name": "f", "arguments": "{"}}
        message = whole(
            completion(
                reasoning="Hm.",
                annotations=[{"type": "url_citation", "url_citation": citation}, {"type": "file"}],
                images=[{"image_url": {"url": "data:image/png;base64,AA"}}, {"image_url": {"url": "u"}}, {"new": 1}],
                audio={"id": "a", "data": "BB", "transcript": "hi"},
                tool_calls=[call, bad],
            )
        )
        cited = {"type": "citation", "url": "u", "title": "t", "cited_text": "c", "start_index": 0, "end_index": 5}
        assert message.content_blocks[:-1] == [
            {"type": "reasoning", "reasoning": "Hm."},
            {
                "type": "text",
                "text": "Hello",
                "annotations": [cited, {"type": "non_standard_annotation", "value": {"type": "file"}}],
            },
            {"type": "image", "base64": "AA", "mime_type": "image/png"},
            {"type": "image", "url": "u"},
            {"type": "non_standard", "value": {"new": 1}},
            {"type": "audio", "base64": "BB"},
            {"type": "tool_call", "name": "f", "args": {}, "id": "c1"},
        ]
        assert message.content_blocks[-1]["type"] == "invalid_tool_call"

    def test_chunks_show_fragments_and_their_sum_shows_calls(self) -> None:
        events = [
            event({"reasoning": "Hm."}),
            event({"content": "a"}),
            event({"tool_calls": [fragment(0, "c1", "f", "{}")]}),
            event({}, "tool_calls"),
        ]
        chunks = chunks_of(*events)
        assert [[block["type"] for block in chunk.content_blocks] for chunk in chunks] == [
            ["reasoning"],
            ["text"],
            ["tool_call_chunk"],
            [],
        ]
        kinds = [block["type"] for block in added_up(chunks).content_blocks]
        assert kinds == ["reasoning", "text", "tool_call"]

    def test_content_in_parts_is_left_to_langchain(self) -> None:
        rich = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "https://a/b"}}]
        message = whole(completion(rich))
        assert [block["type"] for block in message.content_blocks] == ["text", "image"]
