"""The `local` protocol, without a server: requests in, bodies out; reply bytes in, events out."""

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrouter_gateway.core.catalog import Endpoint, Provider
from openrouter_gateway.core.chat import ChatParams, ChatRequest
from openrouter_gateway.core.events import Ended, Event, Step, UsageReported
from openrouter_gateway.errors import Cut, Refused
from openrouter_gateway.wire.protocols.local import DEFAULT_MAX_TOKENS, Local

LOCAL = Local()
ENDPOINT = Endpoint(
    model_id="local/small",
    provider=Provider(slug="local", name="Local", protocol="local"),
    upstream_id="small",
    tag="local",
)
QUESTION = {"role": "user", "content": "What is the weather like in Rome?"}
WEATHER = {
    "type": "function",
    "function": {
        "name": "GetWeather",
        "description": "Get the current weather",
        "parameters": {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]},
    },
}
CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "GetWeather", "arguments": '{"location": "Rome"}'}}
    ],
}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "22 degrees"}
PERSON = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
AS_PERSON = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}


def request_of(*messages: dict[str, Any], **fields: Any) -> ChatRequest:
    body = json.dumps({"messages": list(messages) or [QUESTION], **fields}).encode()
    return ChatRequest(
        params=msgspec.json.decode(body, type=ChatParams),
        fields=msgspec.json.decode(body, type=dict[str, msgspec.Raw]),
    )


def body_of(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return json.loads(LOCAL.encode_chat(request_of(*messages, **fields), ENDPOINT))


# --- requests ---------------------------------------------------------------------------------------------------


@pytest.mark.covers("protocols.local", "text", "sampling", "seed")
def test_a_plain_request_keeps_its_fields_and_gets_a_limit() -> None:
    """Sampling fields travel on; the model's name is the provider's; nulls and what is not known are left out."""
    body = body_of(temperature=0.5, top_k=7, seed=3, stop=None, provider={"order": ["x"]}, unheard_of=[1])

    assert body == {
        "messages": [QUESTION],
        "model": "small",
        "temperature": 0.5,
        "top_k": 7,
        "seed": 3,
        "max_tokens": DEFAULT_MAX_TOKENS,
    }


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ({"max_tokens": 9}, {"max_tokens": 9}),
        ({"max_completion_tokens": 8}, {"max_tokens": 8}),
        ({"repetition_penalty": 1.5}, {"repeat_penalty": 1.5}),
        ({"n": 2}, {"n": 2}),
        ({"stop": "END"}, {"stop": ["END"]}),
        ({"stop": ["", "END", ""]}, {"stop": ["END"]}),
        ({"stop": ""}, {}),
        ({"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}),
        ({"response_format": {"type": "text"}}, {}),
        ({"tool_choice": "none", "tools": [WEATHER]}, {}),
    ],
)
@pytest.mark.covers("protocols.local", "stop sequences", "sampling", "tool choice: none")
def test_fields_are_translated(asked: dict[str, Any], sent: dict[str, Any]) -> None:
    """llama.cpp's names for what OpenRouter calls differently."""
    expected = {"messages": [QUESTION], "model": "small", "max_tokens": DEFAULT_MAX_TOKENS, **sent}

    assert expected == body_of(**asked)


@pytest.mark.covers("protocols.local", "logprobs")
def test_probabilities_are_asked_for_and_shown() -> None:
    """llama.cpp has OpenAI's fields for them, on both ways."""
    body = body_of(logprobs=True, top_logprobs=2)
    logprobs = {"content": [{"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": []}]}
    chunk = {"choices": [{"index": 0, "delta": {"content": "Hi"}, "logprobs": logprobs, "finish_reason": "stop"}]}
    events = decode(b"data: " + json.dumps(chunk).encode() + b"\n\ndata: [DONE]\n\n", PLAIN, "text/event-stream")

    assert (True, 2) == (body["logprobs"], body["top_logprobs"])
    assert [logprobs] == [choice["logprobs"] for choice in choices_in(events)]


@pytest.mark.covers("protocols.local", "system messages")
def test_roles_and_parts_become_what_the_template_knows() -> None:
    """Developer messages are system messages, text parts are joined."""
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]

    assert body_of({"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts})["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "one\ntwo"},
    ]


@pytest.mark.covers("protocols.local", "images by URL", "images as base64", "audio in", "video in", "PDF and files")
def test_other_parts_are_refused_by_name() -> None:
    """A picture cannot be read, and the caller is told which part it was."""
    with pytest.raises(Refused, match="image_url") as caught:
        body_of({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]})

    assert (caught.value.status, caught.value.error_type) == (400, "invalid_request")


def test_a_stand_in_is_told_which_parts_it_cannot_read() -> None:
    """An application that sends pictures goes on; the model knows that there was one."""
    stand_in = msgspec.structs.replace(ENDPOINT, stands_in=True)
    picture = {"type": "image_url", "image_url": {"url": "data:,"}}
    request = request_of({"role": "user", "content": [{"type": "text", "text": "What is this?"}, picture]})

    assert [{"role": "user", "content": "What is this?\n[image_url]"}] == json.loads(
        LOCAL.encode_chat(request, stand_in)
    )["messages"]


@pytest.mark.covers("protocols.local", "tools", "tool choice: auto")
def test_tools_are_described_and_a_grammar_allows_call_or_text() -> None:
    """`auto`: the caller's rules stay first, examples follow, then the question."""
    body = body_of({"role": "system", "content": "Be kind."}, QUESTION, tools=[WEATHER], stop=["END"])

    assert body["messages"][0]["content"].startswith("Be kind. ")
    assert body["messages"][0]["content"].endswith("GetWeather(location): Get the current weather")
    assert body["messages"][-1] == QUESTION
    assert body["grammar"].startswith("root ::= ")
    assert body["stop"] == ["END"]
    assert not body.keys() & {"tools", "tool_choice", "response_format"}


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "GetWeather"}}])
@pytest.mark.covers("protocols.local", "tool choice: required", "tool choice: one tool")
def test_a_demanded_call_is_enforced_by_its_schema(choice: object) -> None:
    """One alternative per tool that may be called, arguments bounded, no stop sequence to cut it."""
    body = body_of(tools=[WEATHER], tool_choice=choice, stop=["END"])

    assert body["response_format"]["json_schema"]["schema"] == {
        "anyOf": [
            {
                "type": "object",
                "properties": {"name": {"const": "GetWeather"}, "arguments": {"$ref": "#/$defs/tool0"}},
                "required": ["name", "arguments"],
            }
        ],
        "$defs": {
            "tool0": {
                "type": "object",
                "properties": {"location": {"type": "string", "maxLength": 200}},
                "required": ["location"],
            }
        },
    }
    assert "stop" not in body
    assert "grammar" not in body


@pytest.mark.covers("protocols.local", "structured output", "JSON mode")
def test_a_json_answer_is_not_cut_in_two() -> None:
    """An answer after a schema parses, whatever ends a text."""
    assert "stop" not in body_of(response_format=AS_PERSON, stop=["}", "\n"])


def test_after_its_result_a_tool_is_not_offered_again() -> None:
    """So an agent ends: the model gets the result and its question, and can only write text."""
    body = body_of(QUESTION, CALL, RESULT, tools=[WEATHER])

    assert "grammar" not in body
    assert [
        QUESTION,
        {"role": "assistant", "content": "Let me look that up."},
        {"role": "user", "content": f"GetWeather returned: 22 degrees\nUse this to answer: {QUESTION['content']}"},
    ] == body["messages"]


def test_the_next_question_gets_tools_again() -> None:
    """Earlier calls are shown as the model would write them."""
    body = body_of(QUESTION, CALL, RESULT, {"role": "assistant", "content": "Warm."}, QUESTION, tools=[WEATHER])

    assert body["messages"][-5:] == [
        QUESTION,
        {"role": "assistant", "content": '{"name": "GetWeather", "arguments": {"location": "Rome"}}'},
        {"role": "user", "content": "GetWeather returned: 22 degrees"},
        {"role": "assistant", "content": "Warm."},
        QUESTION,
    ]
    assert "grammar" in body


@pytest.mark.covers("protocols.local", "structured output", "tools")
def test_a_schema_and_tools_allow_call_or_answer() -> None:
    """Before results either; after them the schema alone."""
    before = body_of(tools=[WEATHER], response_format=AS_PERSON)["response_format"]["json_schema"]["schema"]
    after = body_of(QUESTION, CALL, RESULT, tools=[WEATHER], response_format=AS_PERSON)

    assert before["anyOf"][-1] == {"$ref": "#/$defs/answer"}
    assert before["$defs"]["answer"] == PERSON
    assert after["response_format"]["json_schema"]["schema"] == PERSON


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"tool_choice": "required"}, "there are no tools"),
        ({"tools": [WEATHER], "tool_choice": "maybe"}, "maybe"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "Nope"}}}, "Nope"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "array"}}}]}, "type object"),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "openrouter:web_search"}},
            "^tool_choice of type 'openrouter:web",
        ),
        ({"tools": [WEATHER, {"type": "web_search"}]}, r"^tools\[1\]: `web_search` cannot be run"),
        ({"tools": [{"type": "openrouter:datetime"}]}, r"^tools\[0\]: `openrouter:datetime` cannot be run"),
        ({"tools": [{"type": "web_search"}], "tool_choice": "none"}, r"^tools\[0\]: `web_search` cannot be run"),
        ({"response_format": {"type": "python"}}, "python"),
    ],
)
def test_contradictions_are_refused(fields: dict[str, Any], reason: str) -> None:
    """The message says what is wrong."""
    with pytest.raises(Refused, match=reason):
        body_of(**fields)


ONE_TWO: dict[str, Any] = {"a": {"const": 1}, "b": {"const": 2}}
LOOP: dict[str, Any] = {"allOf": [{"$ref": "#/$defs/loop"}]}


@pytest.mark.parametrize(
    "parameters",
    [
        {"properties": 5},
        {"properties": {"a": {"$ref": "#/nowhere"}}},
        {"properties": {"a": {"type": "banana"}}},
        {"properties": {"a": {}}, "required": 5},
        {"properties": {"a": {"$ref": "#/$defs/loop"}}, "$defs": {"loop": LOOP}},
    ],
)
def test_malformed_schemas_are_the_callers_fault(parameters: dict[str, Any]) -> None:
    """Never an internal error."""
    with pytest.raises(Refused):
        body_of(tools=[{"type": "function", "function": {"name": "f", "parameters": parameters}}])


@pytest.mark.parametrize(
    "field",
    ["n_predict", "n_probs", "grammar", "samplers", "cache_prompt", "id_slot", "json_schema", "lora", "min_tokens"],
)
def test_llama_cpps_own_fields_do_not_reach_it(field: str) -> None:
    """They would undo the limits: `n_predict` that of tokens, `grammar` that of the reply's form."""
    assert body_of() == body_of(**{field: 7})


@pytest.mark.parametrize(("asked", "sent"), [(2**62, 4096), (5000, 4096), (4096, 4096), (9, 9)])
@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_no_reply_may_be_longer_than_the_context(field: str, asked: int, sent: int) -> None:
    """llama.cpp counts in 32 bits, and a larger number overflowed."""
    endpoint = msgspec.structs.replace(ENDPOINT, context_length=4096)

    assert json.loads(LOCAL.encode_chat(request_of(**{field: asked}), endpoint))["max_tokens"] == sent
    assert body_of(max_tokens=2**62)["max_tokens"] == 2**31 - 1


@pytest.mark.parametrize("fields", [{"tool_choice": "auto"}, {"tool_choice": "required"}])
def test_a_schema_that_is_too_large_is_refused(fields: dict[str, Any]) -> None:
    """However the call is enforced: llama.cpp's own converter would take seconds and fail."""
    properties = {f"p{number}": {"type": "integer"} for number in range(2000)}
    tool = {"type": "function", "function": {"name": "f", "parameters": {"properties": properties}}}

    with pytest.raises(Refused, match=r"tool's .*schema is too large for the embedded model") as caught:
        body_of(tools=[tool], **fields)
    assert caught.value.status == 400


# --- replies ----------------------------------------------------------------------------------------------------


def sse(pieces: list[str], *, finish: str) -> bytes:
    """Return llama.cpp's stream of a reply whose text arrives in these pieces."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": None}, *({"content": piece} for piece in pieces)]
    chunks: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": delta, "finish_reason": None}], "id": "chatcmpl-x"} for delta in deltas
    ]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    chunks.append({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}})
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"


def decode(data: bytes, request: ChatRequest, content_type: str, cuts: list[int] | None = None) -> list[Event]:
    decoder = LOCAL.chat_decoder(request, content_type)
    edges = [0, *sorted(cuts or []), len(data)]
    events: list[Event] = []
    for start, end in pairwise(edges):
        events += decoder.feed(data[start:end])
    return events + decoder.finish()


def choices_in(events: list[Event]) -> Iterator[dict[str, Any]]:
    for event in events:
        if isinstance(event, Step):
            for choice in event.choices:
                yield dict(choice)


def summary(events: list[Event]) -> tuple[str, list[tuple[str, str]], str | None]:
    """Return text, calls and finish reason, put together as a client does."""
    text, calls, finish = "", list[list[str]](), None
    for choice in choices_in(events):
        text += choice["delta"].get("content") or ""
        for call in choice["delta"].get("tool_calls", []):
            if "id" in call:
                calls.append([call["function"]["name"], ""])
            calls[call["index"]][1] += call["function"]["arguments"]
        finish = choice["finish_reason"] or finish
    return text, [(name, arguments) for name, arguments in calls], finish


PLAIN = request_of(stream=True)
AUTO = request_of(tools=[WEATHER], stream=True)
UNION = request_of(tools=[WEATHER], response_format=AS_PERSON, stream=True)
CALL_TEXT = '{ "name": "GetWeather",\n "arguments": {"location": "a\\"} {[ b", "x": [{}]} }\n'
ARGUMENTS = '{"location": "a\\"} {[ b", "x": [{}]}'


OTHER_TEXT = '{"name": "GetOther", "arguments": {}}'
NO_CALLS: list[tuple[str, str]] = []


@pytest.mark.parametrize(
    ("request_", "text", "native", "expected"),
    [
        (AUTO, CALL_TEXT, "stop", ("", [("GetWeather", ARGUMENTS)], "tool_calls")),
        (AUTO, CALL_TEXT[:60], "length", ("", [("GetWeather", CALL_TEXT[38:60])], "length")),
        (AUTO, CALL_TEXT[:60], "stop", ("", [("GetWeather", CALL_TEXT[38:60])], "length")),
        (AUTO, CALL_TEXT[:12], "length", ("", NO_CALLS, "length")),
        (AUTO, "Hello {you}", "stop", ("Hello {you}", NO_CALLS, "stop")),
        (AUTO, "", "stop", ("", NO_CALLS, "stop")),
        (UNION, CALL_TEXT, "stop", ("", [("GetWeather", ARGUMENTS)], "tool_calls")),
        (UNION, '{"age": 3}', "stop", ('{"age": 3}', NO_CALLS, "stop")),
        (
            UNION,
            '{"name": "GetOther", "arguments": {}}',
            "stop",
            ('{"name": "GetOther", "arguments": {}}', NO_CALLS, "stop"),
        ),
        (UNION, '{"na', "length", ('{"na', NO_CALLS, "length")),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.covers("protocols.local", "tools", "finish reasons")
def test_replies(
    request_: ChatRequest, text: str, native: str, expected: tuple[str, list[tuple[str, str]], str], size: int
) -> None:
    """Whatever the size of the model's tokens, and the same when the reply is one JSON body."""
    streamed = decode(
        sse([text[i : i + size] for i in range(0, len(text), size)], finish=native), request_, "text/event-stream"
    )
    body = {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": native}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
    }
    whole = decode(json.dumps(body).encode(), request_, "application/json")

    for events in (streamed, whole):
        assert expected == summary(events)
        assert native == next(
            choice["native_finish_reason"] for choice in choices_in(events) if choice["finish_reason"]
        )
        assert ([UsageReported, Ended]) == [type(event) for event in events[-2:]]


def test_the_first_delta_of_a_call_is_complete() -> None:
    """Role, null content, id, type and name come once, before the arguments."""
    first, *_ = choices_in(decode(sse(list(CALL_TEXT), finish="stop"), AUTO, "text/event-stream"))

    call = first["delta"]["tool_calls"][0]
    assert {"role", "content", "tool_calls"} == first["delta"].keys()
    assert (first["delta"]["role"], first["delta"]["content"]) == ("assistant", None)
    assert (call["index"], call["type"], call["function"]) == (0, "function", {"name": "GetWeather", "arguments": "{"})
    assert call["id"].startswith("call_")


def test_call_ids_agree_for_one_request_and_differ_within_a_conversation() -> None:
    """Replaying a request gives the same bytes."""
    data = sse([CALL_TEXT], finish="stop")
    later = request_of(QUESTION, CALL, RESULT, QUESTION, tools=[WEATHER])

    ids = [
        next(choices_in(decode(data, request, "text/event-stream")))["delta"]["tool_calls"][0]["id"]
        for request in (AUTO, AUTO, later)
    ]
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.covers("protocols.local", "text", "streaming")
def test_text_streams_as_it_arrives() -> None:
    """The first piece of text is shown before the second has come."""
    data = sse(["Hel", "lo"], finish="stop")
    decoder = LOCAL.chat_decoder(AUTO, "text/event-stream")

    events = decoder.feed(data[: data.index(b'"lo"')])

    assert summary(events) == ("Hel", [], None)


@pytest.mark.covers("protocols.local", "errors within streams")
def test_a_stream_that_breaks_is_cut() -> None:
    """The inner decoder's judgement stands."""
    decoder = LOCAL.chat_decoder(AUTO, "text/event-stream")
    decoder.feed(sse(["Hel"], finish="stop")[:150])

    with pytest.raises(Cut):
        decoder.finish()


@given(
    text=st.sampled_from([CALL_TEXT, CALL_TEXT[:50], "Hello \u2028 there", '{"age": 3}']),
    sizes=st.integers(min_value=1, max_value=9),
    request_=st.sampled_from([AUTO, UNION]),
    cuts=st.lists(st.integers(min_value=0, max_value=600), max_size=8),
)
@pytest.mark.covers("protocols.local", "any cut of the bytes")
def test_any_cut_of_the_bytes_gives_the_same_events(
    text: str, sizes: int, request_: ChatRequest, cuts: list[int]
) -> None:
    """How the network cuts a reply must not show."""
    data = sse([text[i : i + sizes] for i in range(0, len(text), sizes)], finish="stop")

    whole = decode(data, request_, "text/event-stream")
    assert whole == decode(data, request_, "text/event-stream", [cut for cut in cuts if cut < len(data)])


@given(location=st.text(max_size=30), extra=st.recursive(st.none() | st.integers() | st.text(max_size=5), st.lists))
def test_any_arguments_arrive_as_they_were_written(location: str, extra: object) -> None:
    """Brackets and quotes within strings do not end a call."""
    arguments = json.dumps({"location": location, "extra": extra})
    text = f'{{"name": "GetWeather", "arguments": {arguments}}}'

    events = decode(sse(list(text), finish="stop"), AUTO, "text/event-stream")

    assert ("", [("GetWeather", arguments)], "tool_calls") == summary(events)


@pytest.mark.covers("protocols.local", "errors with status")
def test_a_context_overflow_is_named() -> None:
    """llama.cpp's own word for it, as its server of 2026-10 answers."""
    body = (
        b'{"error":{"code":400,"message":"request (6031 tokens) exceeds the available context size (4096 tokens), '
        b'try increasing it","type":"exceed_context_size_error","n_prompt_tokens":6031,"n_ctx":4096}}'
    )

    error = LOCAL.parse_refusal(400, {}, body)

    assert isinstance(error, Refused)
    assert (error.status, error.error_type, error.failover) == (400, "context_length_exceeded", False)
