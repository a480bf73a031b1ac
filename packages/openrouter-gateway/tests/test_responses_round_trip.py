"""The Responses API on both sides of the gateway: what goes through is what came in."""

import json
from typing import Any

import pytest
from gateway_samples import HEAD, make_endpoint
from hypothesis import given
from hypothesis import strategies as st
from responses_reader import Reader
from test_openai_responses_vectors import to_stream

from openrouter_gateway.core.events import Step
from openrouter_gateway.core.usage import Cost, Usage
from openrouter_gateway.wire.protocols.openai_responses import BodyDecoder, OpenAIResponses, StreamDecoder
from openrouter_gateway.wire.skins.base import Closing
from openrouter_gateway.wire.skins.responses import Responses

SKIN, PROTOCOL = Responses(), OpenAIResponses()
Json = dict[str, Any]


def passed_on(**fields: object) -> Json:
    """Return the body that a provider gets for a body of a caller."""
    request = SKIN.parse(json.dumps(fields).encode())
    return json.loads(PROTOCOL.encode_chat(request, make_endpoint()))


_TEXT = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=5)
_NAMES = st.text("abc_-1", min_size=1, max_size=8)


def _message(text: str, phase: str | None) -> Json:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "role": "assistant", "content": [part]} | ({"phase": phase} if phase else {})


_REASONING = st.builds(
    lambda name, summary, data: {
        "type": "reasoning",
        "id": f"rs_{name}",
        "summary": [{"type": "summary_text", "text": text} for text in summary],
        "encrypted_content": data,
    },
    _NAMES,
    st.lists(_TEXT, max_size=3),
    _TEXT,
)
_MESSAGE = st.builds(_message, _TEXT, st.sampled_from([None, "commentary", "final_answer"]))
_CALL = st.builds(
    lambda call_id, name, arguments: {
        "type": "function_call", "call_id": call_id, "name": name, "arguments": arguments,
    },
    _NAMES, _NAMES, _TEXT,
)  # fmt: skip
_OUTPUT = st.builds(
    lambda call_id, output: {"type": "function_call_output", "call_id": call_id, "output": output},
    _NAMES,
    _TEXT | st.just([{"type": "input_text", "text": "a"}, {"type": "input_image", "image_url": "u", "detail": "auto"}]),
)
_SAID = st.builds(
    lambda role, content: {"type": "message", "role": role, "content": content},
    st.sampled_from(["user", "system", "developer"]),
    _TEXT | st.just([{"type": "input_file", "file_url": "https://x"}, {"type": "input_text", "text": "b"}]),
)


def _led_to(item: st.SearchStrategy[Json]) -> st.SearchStrategy[list[Json]]:
    """Return an item, with the reasoning that led to it or without."""
    return st.tuples(st.lists(_REASONING, max_size=2), item).map(lambda pair: [*pair[0], pair[1]])


_TURN = st.tuples(
    st.lists(_led_to(_MESSAGE), max_size=2), st.lists(_led_to(_CALL), max_size=3), st.lists(_OUTPUT | _SAID, min_size=1)
).map(lambda parts: [item for items in (*parts[0], *parts[1], parts[2]) for item in items])


@given(st.lists(_TURN, min_size=1, max_size=3).map(lambda turns: [item for turn in turns for item in turn]))
def test_items_go_through_unchanged(items: list[Json]) -> None:
    """Messages, calls, their outcomes, and reasoning in its place before what it led to."""
    assert items == passed_on(input=items)["input"]


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0.5, "top_p": 0.1, "parallel_tool_calls": False, "metadata": {"a": "b"}, "stream": True},
        {"max_output_tokens": 100, "prompt_cache_key": "k", "top_logprobs": 2},
        {"text": {"format": {"type": "json_schema", "name": "n", "schema": {}, "strict": True}, "verbosity": "low"}},
        {"reasoning": {"effort": "low", "summary": "detailed", "context": "auto"}},
        {"tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False}]},
        {"tools": [{"type": "web_search", "search_context_size": "low"}], "tool_choice": {"type": "web_search"}},
        {"tool_choice": {"type": "function", "name": "f"}},
    ],
)
def test_settings_go_through_unchanged(fields: Json) -> None:
    """Beside those that this gateway decides on: `store`, `include`."""
    body = passed_on(input="x", **fields)

    assert fields == {key: body[key] for key in fields}
    assert [{"type": "message", "role": "user", "content": "x"}] == body["input"]
    assert body["store"] is False


OUTPUT: list[Json] = [
    {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "One."}, {"type": "summary_text", "text": "Two."}],
        "encrypted_content": "eA==",
        "status": "completed",
    },
    {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "phase": "commentary",
        "content": [
            {
                "type": "output_text",
                "text": "Hi",
                "annotations": [{"type": "url_citation", "url": "u", "title": "t", "start_index": 0, "end_index": 2}],
                "logprobs": [],
            }
        ],
    },
    {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "eQ==", "status": "completed"},
    {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "c1",
        "name": "f",
        "arguments": '{"a":1}',
        "status": "completed",
    },
    {"type": "function_call", "id": "fc_2", "call_id": "c2", "name": "g", "arguments": "{}", "status": "completed"},
]
RESPONSE: Json = {"status": "completed", "output": OUTPUT, "usage": {"input_tokens": 1, "output_tokens": 2}}


def without_own_ids(items: list[Json]) -> list[Json]:
    """Return items without what this gateway gives or says anew: ids but for reasoning's, and the format."""
    dropped = ("format",), ("id",)
    return [
        {key: value for key, value in item.items() if key not in dropped[item["type"] != "reasoning"]} for item in items
    ]


@pytest.mark.parametrize("streams", [False, True])
def test_output_comes_back_and_goes_out_again(*, streams: bool) -> None:
    """A provider's items reach the caller, and the provider again when the caller sends them back."""
    decoder, data = (
        (StreamDecoder(), to_stream([{"type": "response.completed", "response": RESPONSE}]))
        if streams
        else (BodyDecoder(), json.dumps(RESPONSE).encode())
    )
    steps = [event for event in decoder.feed(data) + decoder.finish() if isinstance(event, Step)]
    encoder, out = SKIN.stream_encoder(HEAD, SKIN.parse(b'{"input":"x"}')), bytearray()
    for step in steps:
        encoder.encode_step(step, out)
    response = Reader().read(bytes(out) + encoder.encode_end(Closing(usage=Usage(), cost=Cost())))

    assert without_own_ids(OUTPUT) == without_own_ids(response["output"])
    again = passed_on(input=[{"role": "user", "content": "x"}, *response["output"]])["input"][1:]
    dropped = {"status", "id", "logprobs"}
    expected = json.loads(json.dumps(OUTPUT))
    for item in expected:
        for part in item.get("content", ()):
            part.pop("logprobs")
    assert [
        {key: value for key, value in item.items() if key not in dropped or (key, item["type"]) == ("id", "reasoning")}
        for item in expected
    ] == again


DETAILS: list[Json] = [
    {
        "type": "reasoning.text",
        "text": "T",
        "signature": "s",
        "format": "google-gemini-v1",
        "index": 0,
        "new": {"a": 1},
    },
    {"type": "reasoning.encrypted", "data": "x", "format": "google-gemini-v1", "index": 1, "new": [1]},
    {
        "type": "reasoning.summary",
        "summary": "S",
        "format": "openai-responses-v1",
        "index": 2000,
        "id": "rs_1",
        "new": 1,
    },
    {"type": "reasoning.summary", "summary": "M", "format": "openai-responses-v1", "index": 2001, "id": "rs_1"},
    {"type": "reasoning.server_tool_call", "tool_name": "n", "arguments": "{}", "result": "r", "index": 3000},
    {"type": "reasoning.text", "text": "U", "index": 4000, "new": "x"},
]


@pytest.mark.parametrize("streams", [False, True])
def test_details_with_more_than_is_known(*, streams: bool) -> None:
    """What another protocol's provider says of its reasoning comes back to it; this API's provider is not shown it."""
    request = SKIN.parse(b'{"input":"x"}')
    pieces = [DETAILS] if not streams else [[detail] for detail in DETAILS]
    steps = [
        Step({"choices": [{"index": 0, "delta": {"reasoning_details": p}, "finish_reason": None}]}) for p in pieces
    ]
    steps.append(Step({"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]}))
    closing = Closing(usage=Usage(), cost=Cost())
    if streams:
        encoder, out = SKIN.stream_encoder(HEAD, request), bytearray()
        for step in steps:
            encoder.encode_step(step, out)
        output = Reader().read(bytes(out) + encoder.encode_end(closing))["output"]
    else:
        whole = SKIN.body_encoder(HEAD, request)
        for step in steps:
            whole.add_step(step)
        output = json.loads(whole.encode_end(closing))["output"]

    body = json.dumps({"input": [{"role": "user", "content": "x"}, *output]}).encode()
    again = json.loads(bytes(SKIN.parse(body).fields["messages"]))[1]["reasoning_details"]

    def told(detail: Json) -> Json:
        return {key: value for key, value in detail.items() if key != "index" and value is not None}

    assert [told(detail) for detail in DETAILS] == [told(detail) for detail in again]
    assert b'"new"' not in OpenAIResponses().encode_chat(SKIN.parse(body), make_endpoint())
