"""The `responses` skin: requests in by their vectors, replies out whole and streamed alike, errors in their forms."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from gateway_samples import ANY_JSON, DELTA_LIKE, HEAD, dicts_like, make_chunk, make_endpoint, to_sse
from hypothesis import example, given
from hypothesis import strategies as st
from responses_reader import Reader, events_in

from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.events import Step
from openrouter_gateway.core.usage import Cost, Usage
from openrouter_gateway.errors import (
    BadRequest,
    Cut,
    Garbled,
    GatewayError,
    InternalError,
    Refused,
    Throttled,
    Unauthenticated,
)
from openrouter_gateway.wire.protocols.openai import StreamDecoder
from openrouter_gateway.wire.protocols.openai_responses import OpenAIResponses
from openrouter_gateway.wire.skins import SKINS, chat
from openrouter_gateway.wire.skins.base import Closing, Forgiving
from openrouter_gateway.wire.skins.chat import Chat
from openrouter_gateway.wire.skins.responses import Responses

VECTORS = Path(__file__).parent / "vectors" / "responses"
SKIN = Responses()
USAGE = Usage(prompt_tokens=12, completion_tokens=5, total_tokens=17, cached_tokens=4, reasoning_tokens=2)
COST = Cost(prompt=Decimal("0.00002"), completion=Decimal("0.0000001"))
END = Closing(usage=USAGE, cost=COST, at=1771043115)
METADATA = {"requested": "a/one", "strategy": "direct"}
REQUIRED = {
    "id", "object", "created_at", "model", "status", "completed_at", "output", "error", "incomplete_details",
    "temperature", "top_p", "presence_penalty", "frequency_penalty", "instructions", "metadata", "tools",
    "tool_choice", "parallel_tool_calls",
}  # fmt: skip
"""Of `BaseResponsesResult` (OpenRouter API, responses, 2026-08-22)."""


def load(name: str) -> list[Any]:
    """Return the cases of a file as parameters."""
    return [pytest.param(case, id=case["name"]) for case in json.loads((VECTORS / f"{name}.json").read_text())]


def parse(**fields: object) -> ChatRequest:
    return SKIN.parse(json.dumps({"input": "x"} | fields).encode())


def to_steps(choices: list[dict[str, Any]], **top: object) -> list[Step]:
    """Return fresh steps of one choice each: encoders may change them."""
    copies = json.loads(json.dumps(choices))
    return [Step({"choices": [{"index": 0, "finish_reason": None} | choice], **top}) for choice in copies]


def whole(request: ChatRequest, steps: list[Step]) -> dict[str, Any]:
    encoder = SKIN.body_encoder(HEAD, request)
    for step in steps:
        encoder.add_step(step)
    return json.loads(encoder.encode_end(END))


def streamed(request: ChatRequest, steps: list[Step]) -> bytes:
    encoder, out = SKIN.stream_encoder(HEAD, request), bytearray()
    for step in steps:
        encoder.encode_step(step, out)
    return bytes(out) + encoder.encode_end(END)


def broken(request: ChatRequest, steps: list[Step], error: GatewayError) -> bytes:
    encoder, out = SKIN.stream_encoder(HEAD, request), bytearray()
    for step in steps:
        encoder.encode_step(step, out)
    return bytes(out) + encoder.encode_error(error)


class TestRequest:
    """What a request means in a chat."""

    @pytest.mark.parametrize("case", load("requests"))
    def test_what_it_means(self, case: dict[str, Any]) -> None:
        """Field by field; what the reply repeats is remembered."""
        request = SKIN.parse(json.dumps(case["request"]).encode())

        assert case["chat"] == {key: json.loads(bytes(value)) for key, value in request.fields.items()}
        assert chat.parse(json.dumps(case["chat"]).encode()).params == request.params
        if "echo" in case:
            assert case["echo"] == request.echo

    @pytest.mark.parametrize(
        ("body", "named"),
        [
            (b"", "not valid JSON"),
            (b"[]", "Expected `object`"),
            (b'{"input":"\xff"}', "not valid JSON"),
            (b'{"input":"x","metadata":{"a":"\\q"}}', "not valid JSON"),
            (b"{}", "input: is missing"),
            (b'{"input":null}', "input: is missing"),
            (b'{"input":[]}', "input: there is neither"),
            (b'{"input":1}', "input: Expected"),
            (b'{"input":[1]}', r"input\[0\]: Expected"),
            (b'{"input":"x","temperature":"hot"}', "temperature: "),
            (b'{"input":"x","max_output_tokens":0}', "max_output_tokens: "),
            (b'{"input":"x","top_logprobs":21}', "top_logprobs: "),
            (b'{"input":"x","truncation":"some"}', "truncation: "),
            (b'{"input":"x","provider":{"nope":1}}', "provider: "),
            (b'{"input":"x","text":{"format":{"type":"json_schema"}}}', r"text\.format\.name: is missing"),
            (b'{"input":"x","text":{"format":{"type":"bogus"}}}', r"text\.format\.type: 'bogus' is none of text, "),
        ],
    )
    def test_what_is_no_request(self, body: bytes, named: str) -> None:
        """The message names the field as the caller wrote it."""
        with pytest.raises(BadRequest, match=named):
            SKIN.parse(body)

    @pytest.mark.parametrize(
        "fields",
        [
            {"store": True},
            {"background": True},
            {"previous_response_id": "resp_1"},
            {"conversation": "conv_1"},
            {"conversation": {"id": "conv_1"}},
            {"prompt": {"id": "pmpt_1"}},
            {"context_management": [{"type": "compaction"}]},
        ],
    )
    def test_nothing_is_stored(self, fields: dict[str, object]) -> None:
        """What asks for it is an error that says what to do instead."""
        (name,) = fields
        with pytest.raises(BadRequest, match=f"^{name}: "):
            parse(**fields)
        assert parse(**{name: None}).params == parse().params

    @pytest.mark.parametrize(
        ("item", "named"),
        [
            ({"type": "item_reference", "id": "x"}, "item_reference: nothing is stored"),
            ({"type": "computer_call"}, r"type: items of type 'computer_call' are not supported"),
            ({"type": "custom_tool_call", "call_id": "c", "name": "f"}, "input: is missing"),
            ({"type": "custom_tool_call_output", "output": "x"}, "call_id: is missing"),
            (
                {"type": "local_shell_call"},
                "'local_shell_call' are not supported: it runs at the caller, send it as a ",
            ),
            ({"type": "mcp_approval_request"}, "not supported: no MCP server is called from here"),
            ({"type": "compaction"}, "'compaction' are not supported$"),
            ({"type": ["message"]}, r"\['message'\]"),
            ({}, "None"),
            ({"role": "tool"}, "role: 'tool'"),
            ({"type": "message"}, "role: None"),
            ({"role": "user", "content": 1}, "content: is neither"),
            ({"role": "user", "content": [1]}, "content: has a part"),
            ({"role": "user", "content": [{"type": "new"}]}, r"content\[0\]\.type: parts of type 'new'"),
            ({"role": "user", "content": [{"type": "input_text"}]}, r"content\[0\]\.text: is missing"),
            ({"role": "user", "content": [{"type": "input_text", "text": 1}]}, r"content\[0\]\.text: is not text"),
            ({"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}, "file_id: images are sent"),
            ({"role": "user", "content": [{"type": "input_image"}]}, "image_url: is missing"),
            ({"role": "user", "content": [{"type": "input_file"}]}, "has none of"),
            ({"role": "user", "content": [{"type": "input_audio"}]}, "input_audio: is missing"),
            ({"role": "user", "content": [{"type": "input_video"}]}, "video_url: is missing"),
            ({"role": "assistant", "content": [{"type": "input_image"}]}, "no parts of type 'input_image'"),
            ({"type": "function_call", "name": "f", "arguments": "{}"}, "call_id: is missing"),
            ({"type": "function_call", "call_id": "c", "arguments": "{}"}, "name: is missing"),
            ({"type": "function_call", "call_id": "c", "name": "f"}, "arguments: is missing"),
            ({"type": "function_call_output", "output": "x"}, "call_id: is missing"),
            (
                {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_audio"}]},
                r"output\[0\]\.type: parts of type 'input_audio'",
            ),
            ({"type": "image_generation_call", "id": "ig"}, "result: is missing"),
        ],
    )
    def test_items_without_a_meaning(self, item: dict[str, object], named: str) -> None:
        """The message says which item and what of it."""
        with pytest.raises(BadRequest, match=r"^input\[1\].*" + named):
            parse(input=[{"role": "user", "content": "x"}, item])

    @pytest.mark.parametrize(
        ("fields", "named"),
        [
            ({"tools": [{"type": "custom"}]}, r"tools\[0\]\.name: is missing"),
            (
                {"tools": [{"type": "custom", "name": "x", "format": {"type": "new"}}]},
                r"tools\[0\]\.format\.type: 'new'",
            ),
            ({"tools": [{"type": "custom", "name": "x", "format": "text"}]}, r"tools\[0\]\.format\.type: None"),
            (
                {"tools": [{"type": "custom", "name": "x", "format": {"type": "grammar", "syntax": "lark"}}]},
                r"tools\[0\]\.format\.definition: is missing",
            ),
            ({"tool_choice": {"type": "custom"}}, r"tool_choice\.name: is missing"),
            (
                {"tools": [{"type": "mcp"}]},
                "'mcp' are not supported: no MCP server is called from here, call it yourself",
            ),
            (
                {"tools": [{"type": "local_shell"}]},
                r"'local_shell' .*: it runs at the caller, send it as a `function` or `",
            ),
            ({"tools": [{"type": "file_search"}]}, "'file_search' are not supported: nothing here runs it"),
            ({"tools": [{"type": "new"}]}, "'new' are not supported: there are `function`, `custom`, `web_search`, "),
            ({"tools": [{}]}, "None"),
            ({"tools": [{"type": "function"}]}, r"tools\[0\]\.name: is missing"),
            ({"tool_choice": {"type": "function"}}, r"tool_choice\.name: is missing"),
            ({"tool_choice": {"type": "shell"}}, r"tool_choice\.type: 'shell' is not supported: it runs at the caller"),
            ({"tool_choice": {"type": "allowed_tools", "mode": "any"}}, r"tool_choice\.mode: 'any'"),
            ({"tool_choice": {"type": "allowed_tools", "tools": []}}, r"tool_choice\.tools: none"),
        ],
    )
    def test_tools_without_a_meaning(self, fields: dict[str, object], named: str) -> None:
        """Those whose calls could not be shown, or that are incomplete."""
        with pytest.raises(BadRequest, match=named):
            parse(**fields)

    def test_deep_nesting(self) -> None:
        """However deep, it is read or refused, here and by the protocol of the same API."""
        for depth in (10, *range(150, 1000, 5), 100_000):
            value = b"[" * depth + b"]" * depth
            part = b'{"type":"input_text","text":"x","prompt_cache_breakpoint":{"a":%s}}' % value
            try:
                request = SKIN.parse(b'{"input":[{"role":"user","content":[%s]}],"metadata":%s}' % (part, value))
                assert OpenAIResponses().encode_chat(request, make_endpoint())
            except (BadRequest, Refused) as error:
                assert depth > 100
                assert "nested too deeply" in error.message  # noqa: PT017

    @given(st.recursive(ANY_JSON, lambda inner: st.lists(inner, max_size=2), max_leaves=4))
    def test_anything_as_input(self, value: Any) -> None:
        """It is read or refused."""
        for item in (value, [value], [{"role": "user", "content": value}], [{"type": "reasoning", "summary": value}]):
            try:
                assert parse(input=item).params.messages
            except BadRequest:
                continue


@pytest.mark.parametrize("case", load("replies"))
class TestReply:
    """Replies by their vectors."""

    def steps(self, case: dict[str, Any]) -> list[Step]:
        tier = {"service_tier": case["service_tier"]} if "service_tier" in case else {}
        return to_steps(case["steps"], **tier)

    def test_whole(self, case: dict[str, Any]) -> None:
        """Every key that clients require, and what is said of this reply."""
        response = whole(parse(**case.get("request", {})), self.steps(case))

        assert REQUIRED | {"output_text", "usage", "text"} <= response.keys()
        assert case["response"] == {key: response[key] for key in case["response"]}

    def test_streamed(self, case: dict[str, Any]) -> None:
        """A client of the events' schema puts the same response together, from events in this order."""
        request = parse(**case.get("request", {}))
        stream = streamed(request, self.steps(case))

        assert whole(request, self.steps(case)) == Reader().read(stream)
        if "events" in case:
            assert case["events"] == [event["type"] for event in events_in(stream)]


class TestResponseObject:
    """What is around the items."""

    def test_what_it_repeats(self) -> None:
        """The caller's own words, as they came."""
        said = {
            "instructions": "Be brief.", "metadata": {"a": "b"}, "temperature": 0.5, "top_p": 0.25,
            "presence_penalty": 1, "frequency_penalty": -1, "max_output_tokens": 20, "parallel_tool_calls": False,
            "tools": [{"type": "function", "name": "f", "parameters": {}, "strict": None}],
            "tool_choice": {"type": "function", "name": "f"}, "text": {"format": {"type": "json_object"}},
            "reasoning": {"effort": "low"}, "prompt_cache_key": "k", "user": "u", "truncation": "auto",
            "top_logprobs": 3,
        }  # fmt: skip
        response = whole(parse(**said), [])

        assert said == {key: response[key] for key in said}

    def test_what_it_says_of_what_was_not_said(self) -> None:
        """Nulls and defaults, and who answered."""
        assert {
            "id": "resp_1771043112-abcdefghij0123456789",
            "object": "response",
            "created_at": 1771043112,
            "model": "a/one",
            "provider": "Acme",
            "status": "completed",
            "completed_at": 1771043115,
            "error": None,
            "incomplete_details": None,
            "output": [],
            "output_text": "",
            "background": False,
            "frequency_penalty": None,
            "instructions": None,
            "max_output_tokens": None,
            "max_tool_calls": None,
            "metadata": None,
            "parallel_tool_calls": True,
            "presence_penalty": None,
            "previous_response_id": None,
            "reasoning": None,
            "service_tier": None,
            "store": False,
            "temperature": None,
            "text": {"format": {"type": "text"}},
            "tool_choice": "auto",
            "tools": [],
            "top_p": None,
            "truncation": "disabled",
            "usage": {
                "input_tokens": 12,
                "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
                "output_tokens": 5,
                "output_tokens_details": {"reasoning_tokens": 2},
                "total_tokens": 17,
                "cost": 0.0000201,
                "is_byok": False,
                "cost_details": {
                    "upstream_inference_cost": None,
                    "upstream_inference_input_cost": 0.00002,
                    "upstream_inference_output_cost": 0.0000001,
                },
            },
        } == whole(parse(), [])

    @pytest.mark.parametrize(
        ("reason", "at"), [("stop", 1771043115), ("tool_calls", 1771043115), ("length", None), ("error", None)]
    )
    def test_when_it_was_complete(self, reason: str, at: int | None) -> None:
        """Also in the event that ends a stream; an answer that is cut off or fails never was."""
        choices = [{"delta": {"content": "x"}, "finish_reason": reason}]

        answers = (whole(parse(), to_steps(choices)), Reader().read(streamed(parse(), to_steps(choices))))

        assert [at, at] == [answer["completed_at"] for answer in answers]

    def test_a_request_with_line_ends_does_not_break_the_stream(self) -> None:
        """What is repeated is written anew."""
        request = SKIN.parse(b'{"input":"x",\n"metadata":{\n"a":\r\n"b"},\n"tools":[\n]}')

        assert {"a": "b"} == Reader().read(streamed(request, []))["metadata"]

    def test_what_the_router_says(self) -> None:
        """On the response that ends a stream, on a whole one, and on errors, for callers who asked for it."""
        closing = Closing(usage=USAGE, cost=COST, metadata=METADATA)
        body = json.loads(SKIN.body_encoder(HEAD, parse()).encode_end(closing))
        last = Reader().read(SKIN.stream_encoder(HEAD, parse()).encode_end(closing))
        failed = Reader().read(SKIN.stream_encoder(HEAD, parse()).encode_error(Garbled("x"), METADATA))
        error = json.loads(SKIN.encode_error_body(Garbled("x"), None, METADATA))

        assert [METADATA] * 4 == [answer["openrouter_metadata"] for answer in (body, last, failed, error)]
        assert "openrouter_metadata" not in whole(parse(), [])


class TestErrors:
    """Errors in this API's forms."""

    @pytest.mark.parametrize(
        ("error", "code", "message"),
        [
            (Throttled("slow"), "rate_limit_exceeded", "slow"),
            (Refused("no"), "invalid_prompt", "no"),
            (Refused("bad", error_type="content_policy_violation"), "image_content_policy_violation", "bad"),
            (Refused("x", error_type="invalid_prompt"), "server_error", "x"),
            (Cut("cut"), "server_error", "cut"),
            (InternalError("a secret"), "server_error", "Internal Server Error"),
        ],
    )
    def test_an_answer_that_breaks_off(self, error: GatewayError, code: str, message: str) -> None:
        """It failed, with what it had; the exact type is beside the API's own code."""
        response = Reader().read(broken(parse(), to_steps([{"delta": {"content": "So"}}]), error))

        assert ("failed", "incomplete") == (response["status"], response["output"][0]["status"])
        assert {"code": code, "message": message} == response["error"]
        assert (error.error_type, "So") == (response["error_type"], response["output_text"])
        assert "usage" not in response

    @pytest.mark.parametrize(
        "kind", ["context_length_exceeded", "max_tokens_exceeded", "token_limit_exceeded", "string_too_long"]
    )
    def test_errors_of_length_are_ends(self, kind: str) -> None:
        """As an answer that became too long is one."""
        response = Reader().read(broken(parse(), [], Refused("long", error_type=kind)))

        assert ("incomplete", {"reason": "max_output_tokens"}) == (response["status"], response["incomplete_details"])
        assert (None, False) == (response["error"], "error_type" in response)

    def test_they_are_also_before_any_output(self) -> None:
        """Then they are the whole answer, in the form that was asked for; other errors are errors."""
        long = Refused("long", error_type="context_length_exceeded")
        body, stream = (SKIN.forgive(long, HEAD, parse(stream=stream)) for stream in (False, True))

        assert body is not None
        assert stream is not None
        assert json.loads(body) == Reader().read(stream)
        assert "incomplete" == json.loads(body)["status"]
        assert None is SKIN.forgive(Garbled("x"), HEAD, parse())

    def test_only_this_skin_forgives(self) -> None:
        """A chat has an error for it."""
        assert [False, True] == [isinstance(skin, Forgiving) for skin in (Chat(), SKINS["/responses"])]

    def test_before_any_output_the_body_is_as_in_a_chat(self) -> None:
        """With an integer code: strict clients read no other."""
        error = Unauthenticated("No key")

        assert {**json.loads(chat.encode_error_body(error)), "error_type": "authentication"} == json.loads(
            SKIN.encode_error_body(error)
        )


# -- anything that a decoder may let pass

_TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=4)
_DETAIL = st.fixed_dictionaries(
    {"type": st.sampled_from(["reasoning.text", "reasoning.summary", "reasoning.encrypted", "reasoning.new"])},
    optional={
        "text": _TEXT,
        "summary": _TEXT,
        "data": _TEXT,
        "signature": _TEXT | st.none(),
        "id": st.sampled_from(["rs_1", "rs_2", "x", None]),
        "format": st.sampled_from(["openai-responses-v1", "anthropic-claude-v1", None]),
        "index": st.integers(0, 3) | st.integers(1000, 1002),
    },
)
_CALL = st.fixed_dictionaries(
    {"index": st.integers(0, 2), "function": st.fixed_dictionaries({}, optional={"name": _TEXT, "arguments": _TEXT})},
    optional={"id": _TEXT, "type": st.just("function")},
)
_DELTA = st.fixed_dictionaries(
    {},
    optional={
        "content": _TEXT | st.none(),
        "phase": st.sampled_from(["commentary", "final_answer"]),
        "reasoning": _TEXT | st.none(),
        "reasoning_details": st.lists(_DETAIL, max_size=3),
        "refusal": _TEXT | st.none(),
        "annotations": st.lists(
            dicts_like(type=st.just("url_citation"), url_citation=dicts_like(url=_TEXT)), max_size=2
        ),
        "images": st.lists(dicts_like(image_url=dicts_like(url=st.just("data:image/png;base64,AA"))), max_size=2),
        "tool_calls": st.lists(_CALL, min_size=1, max_size=3),
    },
)
_CHOICES = st.lists(
    st.fixed_dictionaries(
        {"delta": _DELTA},
        optional={
            "finish_reason": st.sampled_from([None, "stop", "length", "tool_calls", "content_filter", "error"]),
            "logprobs": st.none() | dicts_like(content=st.lists(dicts_like(token=_TEXT), max_size=2)),
        },
    ),
    max_size=7,
)


@given(_CHOICES)
@example([{"delta": {"tool_calls": [{"index": 0, "function": {}}]}}, {"delta": {"content": "x"}}])
@example([{"delta": {"reasoning_details": [{"type": "reasoning.encrypted", "data": "x", "id": "rs_1"}] * 2}}])
def test_any_steps_are_the_same_streamed_and_whole(choices: list[dict[str, Any]]) -> None:
    """What a client puts together from the events is what the body says, and every item has its own id."""
    response = whole(parse(), to_steps(choices))

    assert response == Reader().read(streamed(parse(), to_steps(choices)))
    ids = [item["id"] for item in response["output"]]
    assert sorted(set(ids)) == sorted(ids)
    texts = "".join(choice["delta"].get("content") or "" for choice in choices)
    assert texts == response["output_text"]


@given(_CHOICES)
def test_any_steps_may_break_off(choices: list[dict[str, Any]]) -> None:
    """The stream is whole all the same."""
    response = Reader().read(broken(parse(), to_steps(choices), Garbled("x")))

    assert "failed" == response["status"]


@given(st.lists(DELTA_LIKE, max_size=4))
def test_whatever_an_openai_server_sends(deltas: list[Any]) -> None:
    """What that protocol lets pass, this skin can show."""
    events = StreamDecoder().feed(to_sse(*(make_chunk(delta) for delta in deltas)))
    steps = [event for event in events if isinstance(event, Step)]
    again = [Step(json.loads(json.dumps(step.chunk))) for step in steps]

    assert whole(parse(), steps) == Reader().read(streamed(parse(), again))
