"""The `openai_responses` protocol beyond its vectors: refusals, efforts, broken streams, bytes that are anything."""

import json
import random
from typing import Any

import msgspec
import pytest
from gateway_samples import (
    ANY_CUTS,
    ANY_JSON,
    HEAD,
    cut_at,
    dicts_like,
    encode_step,
    make_endpoint,
    make_request,
    show,
    to_sse,
)
from hypothesis import example, given
from hypothesis import strategies as st
from noise import spoil
from test_openai_responses_vectors import load, to_stream

from openrouter_gateway.accounting.meter import Meter
from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.events import Ended, Event, Failed, Step
from openrouter_gateway.core.usage import Cost
from openrouter_gateway.errors import BadRequest, Cut, Garbled, Refused, Throttled, Unavailable, UpstreamError
from openrouter_gateway.wire.protocols import codec_of
from openrouter_gateway.wire.protocols.base import Decoder
from openrouter_gateway.wire.protocols.openai_responses import BodyDecoder, OpenAIResponses, StreamDecoder
from openrouter_gateway.wire.skins import chat
from openrouter_gateway.wire.skins.base import Closing
from openrouter_gateway.wire.skins.responses import Responses

FULL = next(case.values[0] for case in load("streams") if "reasoning, a call" in str(case.id))


def sent(endpoint: Endpoint | None = None, **fields: object) -> dict[str, Any]:
    """Return the body of the provider's request."""
    return json.loads(OpenAIResponses().encode_chat(make_request(**fields), endpoint or make_endpoint()))


def read(decoder: Decoder, *pieces: bytes) -> list[Event]:
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return events + decoder.finish()


def with_parts(*parts: object, role: str = "user") -> list[dict[str, object]]:
    return [{"role": role, "content": list(parts), "tool_call_id": "c"}]


class TestRequest:
    """What a request becomes, and what it cannot become."""

    def test_where_it_goes(self) -> None:
        """One path, with the key as a bearer token."""
        protocol = OpenAIResponses()

        assert ("/responses", ()) == protocol.chat_address(make_request(stream=True), make_endpoint())
        assert {"Authorization": "Bearer k"} == protocol.auth_headers("k")

    @pytest.mark.parametrize(
        ("fields", "named"),
        [
            ({"n": 2}, "n: "),
            ({"messages": with_parts({"type": "video_url", "video_url": {"url": "u"}})}, "'video_url'"),
            ({"messages": with_parts({"type": "new"})}, "'new'"),
            ({"messages": with_parts({"no": "type"})}, "None"),
            ({"messages": with_parts({"type": ["text"]})}, r"\['text'\]"),
            ({"messages": with_parts({"type": "text"})}, "no text 'text'"),
            ({"messages": with_parts({"type": "image_url", "image_url": "u"})}, "no object 'image_url'"),
            ({"messages": with_parts({"type": "image_url", "image_url": {}})}, "no text 'url'"),
            ({"messages": with_parts({"type": "file", "file": {}})}, "no text 'file_data'"),
            (
                {"messages": with_parts({"type": "input_audio", "input_audio": {"data": "", "format": "flac"}})},
                "input_audio of format 'flac'",
            ),
            ({"messages": with_parts({"type": "input_audio", "input_audio": {}}, role="tool")}, "'input_audio'"),
            ({"messages": with_parts({"type": "image_url"}, role="assistant")}, "'image_url'"),
            (
                {"messages": [{"role": "assistant", "tool_calls": [{"type": "custom", "function": {"name": "f"}}]}]},
                "'custom'",
            ),
            ({"tools": [{"type": "openrouter:datetime"}]}, "'openrouter:datetime'"),
            ({"tools": [{"type": "custom"}]}, "'custom'"),
            ({"tool_choice": {"type": "custom"}}, "'custom'"),
            (
                {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"tools": [{"type": ["x"]}]}}},
                r"\['x'\]",
            ),
            ({"response_format": {"type": "grammar"}}, "'grammar'"),
            ({"modalities": ["audio"]}, "modalities"),
        ],
    )
    @pytest.mark.covers("protocols.openai_responses", "video in", "audio out")
    def test_what_the_api_has_no_word_for_is_refused(self, fields: dict[str, object], named: str) -> None:
        """The message names it, and no other endpoint of the same kind is tried."""
        with pytest.raises(Refused, match=named):
            sent(**fields)

    @pytest.mark.parametrize(("asked", "limit"), [(1, 16), (16, 16), (17, 17)])
    @pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
    def test_the_least_number_of_tokens(self, name: str, asked: int, limit: int) -> None:
        """OpenAI refuses fewer than 16."""
        assert limit == sent(**{name: asked})["max_output_tokens"]

    def test_an_endpoint_of_a_service_tier(self) -> None:
        """It is asked for that tier, whatever the request says."""
        endpoint = msgspec.structs.replace(make_endpoint(), tag="openai/flex")

        assert "flex" == sent(endpoint, service_tier="priority")["service_tier"]

    @pytest.mark.parametrize(
        ("parameters", "left"),
        [
            (None, {"temperature", "top_p", "include", "reasoning"}),
            ({"tools", "reasoning"}, {"include", "reasoning"}),
            ({"temperature"}, {"temperature"}),
        ],
    )
    def test_what_an_endpoint_is_known_not_to_take(self, parameters: set[str] | None, left: set[str]) -> None:
        """Sampling that a reasoning model refuses, encrypted reasoning of a model that does not reason."""
        request = make_request(temperature=0, top_p=1, reasoning={"effort": "low"})
        body = json.loads(codec_of("openai_responses", request).encode(request, make_endpoint(parameters=parameters)))

        assert left == body.keys() - {"model", "input", "store"}

    def test_reasoning_in_an_answer_that_was_only_reasoned(self) -> None:
        """A turn without text or calls has no empty message."""
        details = [{"type": "reasoning.encrypted", "data": "x", "id": "rs_1"}]
        body = sent(
            messages=[{"role": "assistant", "content": "", "reasoning_details": details}, {"role": "assistant"}]
        )

        assert [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}] == body["input"]

    def test_nesting_that_could_just_be_read(self) -> None:
        """Where the stack is deeper it cannot be written again: refused, no crash."""

        def deepest(depth: int) -> ChatRequest:
            note: Any = 1
            for _ in range(depth):
                note = [note]
            try:
                return make_request(
                    messages=with_parts({"type": "text", "text": "x", "prompt_cache_breakpoint": {"a": note}})
                )
            except BadRequest:
                return deepest(depth - 10)

        def from_below(frames: int, request: ChatRequest) -> bytes:
            if frames:
                return from_below(frames - 1, request)
            return OpenAIResponses().encode_chat(request, make_endpoint())

        request = deepest(900)
        with pytest.raises(Refused, match="nested too deeply"):
            from_below(100, request)


class TestReasoning:
    """How reasoning is asked for."""

    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({}, None),
            ({"reasoning": {}}, {"summary": "auto"}),
            ({"include_reasoning": True}, {"summary": "auto"}),
            ({"include_reasoning": False}, None),
            ({"reasoning_effort": "low"}, {"effort": "low"}),
            ({"reasoning_effort": "none"}, {"effort": "none"}),
            ({"reasoning": {"effort": "xhigh"}}, {"effort": "xhigh", "summary": "auto"}),
            ({"reasoning": {"effort": "low"}, "reasoning_effort": "low"}, {"effort": "low", "summary": "auto"}),
            ({"reasoning": {"effort": "low", "exclude": True}}, {"effort": "low"}),
            ({"reasoning": {"effort": "none"}}, {"effort": "none"}),
            ({"reasoning": {"enabled": False}}, {"effort": "none"}),
            ({"reasoning": {"enabled": True}}, {"effort": "medium", "summary": "auto"}),
            ({"reasoning": {"summary": "detailed"}}, {"summary": "detailed"}),
            (
                {"reasoning": {"effort": "low", "context": "all_turns", "mode": "pro"}},
                {"context": "all_turns", "mode": "pro", "effort": "low", "summary": "auto"},
            ),
            ({"reasoning": {"max_tokens": 100}}, {"effort": "medium", "summary": "auto"}),
            ({"reasoning": {"max_tokens": 100}, "max_tokens": 1000}, {"effort": "low", "summary": "auto"}),
            ({"reasoning": {"max_tokens": 349}, "max_tokens": 1000}, {"effort": "low", "summary": "auto"}),
            ({"reasoning": {"max_tokens": 351}, "max_tokens": 1000}, {"effort": "medium", "summary": "auto"}),
            ({"reasoning": {"max_tokens": 950}, "max_tokens": 1000}, {"effort": "high", "summary": "auto"}),
        ],
    )
    @pytest.mark.covers("protocols.openai_responses", "reasoning effort", "reasoning budget", "thoughts in answers")
    def test_what_is_asked_for(self, fields: dict[str, object], expected: dict[str, str] | None) -> None:
        """Effort, from a name or a budget; a summary where the request speaks of reasoning and does not hide it."""
        assert expected == sent(**fields).get("reasoning")

    def test_a_budget_against_what_the_endpoint_can_give(self) -> None:
        """Where the request sets no limit of its own."""
        endpoint = msgspec.structs.replace(make_endpoint(), max_completion_tokens=10_000)

        assert "high" == sent(endpoint, reasoning={"max_tokens": 7_000})["reasoning"]["effort"]


@pytest.mark.parametrize(
    ("status", "body", "kind", "error_type"),
    [
        (400, {"error": {"message": "m", "code": "context_length_exceeded"}}, Refused, "context_length_exceeded"),
        (400, {"error": {"code": 400, "type": "exceed_context_size_error"}}, Refused, "context_length_exceeded"),
        (400, {"error": {"message": "m", "code": None, "param": "x"}}, Refused, "invalid_request"),
        (401, {"error": {"message": "m"}}, Unavailable, "provider_unavailable"),
        (404, {"error": {"message": "m", "code": "model_not_found"}}, Unavailable, "provider_unavailable"),
        (429, {"error": {"message": "m", "code": "rate_limit_exceeded"}}, Throttled, "rate_limit_exceeded"),
        (503, {"error": {"message": "m"}}, Unavailable, "provider_unavailable"),
    ],
)  # fmt: skip
@pytest.mark.covers("protocols.openai_responses", "errors with status")
def test_refusals(status: int, body: object, kind: type[UpstreamError], error_type: str) -> None:
    """By status and code, as for every server of OpenAI's kind."""
    error = OpenAIResponses().parse_refusal(status, {}, json.dumps(body).encode())

    assert (kind, error_type, status) == (type(error), error.error_type, error.provider_status)


class TestBrokenStreams:
    """Streams that end, or go on, as they should not."""

    @pytest.mark.parametrize("data", [b"", b": nothing\n\n", b"event: x\n\n", b'data: {"type":"response.created"}\n\n'])
    def test_an_end_without_a_response_is_a_cut(self, data: bytes) -> None:
        """Never a success."""
        with pytest.raises(Cut):
            read(StreamDecoder(), data)

    @pytest.mark.parametrize("mark", [b"[DONE]", b" [DONE] "])
    def test_an_end_mark_is_no_end(self, mark: bytes) -> None:
        """The response is."""
        decoder = StreamDecoder()

        (event,) = decoder.feed(b"data: " + mark + b"\n\n")

        assert isinstance(event, Failed)
        assert Cut is type(event.error)
        assert [] == decoder.finish()

    @pytest.mark.covers("protocols.openai_responses", "errors within streams")
    def test_a_cut_anywhere(self) -> None:
        """What came before is passed on; only a whole last event ends the reply."""
        data = to_stream(FULL["upstream"])
        whole = [show(event) for event in read(StreamDecoder(), data)]
        assert whole[-1] == ("ended",)

        for place in range(len(data)):
            decoder = StreamDecoder()
            events = [show(event) for event in decoder.feed(data[:place])]
            if place == len(data) - 1:  # the blank line's second LF
                continue
            assert events == whole[: len(events)]
            assert ("ended",) not in events
            with pytest.raises(Cut):
                decoder.finish()

    def test_garbage_does_not_lose_what_came_before(self) -> None:
        """Text of the same read is an event, then comes the failure, once."""
        delta = {"type": "response.output_text.delta", "output_index": 0, "delta": "x"}
        decoder = StreamDecoder()

        events = decoder.feed(to_sse(delta, b"{oops", delta))

        assert [Step, Failed] == [type(event) for event in events]
        assert decoder.feed(to_sse(delta)) == decoder.finish() == []

    @pytest.mark.parametrize("payload", [b"", b"  "])
    def test_events_without_data_are_passed_over(self, payload: bytes) -> None:
        """They keep a connection open."""
        end = {"type": "response.completed", "response": {"status": "completed"}}

        assert [Step, Ended] == [type(event) for event in read(StreamDecoder(), to_sse(payload, end))]

    @pytest.mark.parametrize(
        "body", [b"", b"{", b"[]", b"{}", b'{"output":null}', b'{"output":[],"status":"queued"}', b"\xff"]
    )
    def test_what_is_no_response(self, body: bytes) -> None:
        """A page of a proxy in between, half a body, one of another protocol."""
        with pytest.raises(Garbled):
            read(BodyDecoder(), body)


# -- anything at all

_TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=6)
_ID = st.sampled_from(["a", "b", "rs_1", ""])
_PART = dicts_like(
    type=st.sampled_from(["output_text", "refusal", "reasoning_text", "summary_text"]),
    text=_TEXT,
    refusal=_TEXT,
    annotations=st.lists(dicts_like(type=st.just("url_citation"), url=_TEXT), max_size=2),
    logprobs=st.lists(dicts_like(token=_TEXT, logprob=st.floats(-9, 0), top_logprobs=ANY_JSON), max_size=2),
)
_ITEM = dicts_like(
    id=_ID,
    type=st.sampled_from(["message", "reasoning", "function_call", "image_generation_call", "web_search_call"]),
    content=st.lists(_PART, max_size=2),
    summary=st.lists(_PART, max_size=2),
    encrypted_content=_TEXT,
    name=_TEXT,
    call_id=_TEXT,
    arguments=_TEXT,
    result=_TEXT,
    phase=_TEXT,
)
_RESPONSE = dicts_like(
    status=st.sampled_from(["completed", "incomplete", "failed", "queued"]),
    output=st.lists(_ITEM, max_size=3),
    usage=dicts_like(input_tokens=st.integers(0, 9), output_tokens=st.integers(0, 9)),
    incomplete_details=dicts_like(reason=_TEXT),
    error=dicts_like(code=_TEXT, message=_TEXT),
    service_tier=_TEXT,
)
_TYPES = [
    "response.created", "response.output_item.added", "response.output_item.done", "response.content_part.done",
    "response.output_text.delta", "response.output_text.done", "response.output_text.annotation.added",
    "response.refusal.delta", "response.refusal.done", "response.function_call_arguments.delta",
    "response.function_call_arguments.done", "response.reasoning_summary_text.delta",
    "response.reasoning_summary_text.done", "response.reasoning_text.delta", "response.reasoning_text.done",
    "response.completed", "response.incomplete", "response.failed", "response.error", "error", "response.new",
]  # fmt: skip
EVENT_LIKE = dicts_like(
    type=st.sampled_from(_TYPES),
    output_index=st.integers(0, 2),
    content_index=st.integers(0, 1),
    summary_index=st.integers(0, 1),
    item_id=_ID,
    item=_ITEM,
    part=_PART,
    delta=_TEXT,
    text=_TEXT,
    arguments=_TEXT,
    refusal=_TEXT,
    annotation=dicts_like(type=_TEXT, url=_TEXT),
    logprobs=ANY_JSON,
    response=_RESPONSE,
    error=dicts_like(code=_TEXT, message=_TEXT),
    code=_TEXT,
    message=_TEXT,
)


def check_hub_rules(events: list[Event]) -> None:
    """Assert what every decoder promises (see `core/events`); every encoder must take it."""
    request = Responses().parse(b'{"input":"x"}')
    streams = [chat.StreamEncoder(HEAD), Responses().stream_encoder(HEAD, request)]
    bodies = [chat.BodyEncoder(HEAD), Responses().body_encoder(HEAD, request)]
    meter = Meter()
    for event in events:
        if not isinstance(event, Step):
            continue
        for choice in event.choices:
            assert 0 == choice["index"]
            assert choice["finish_reason"] in {None, "stop", "length", "tool_calls", "content_filter"}
            for call in choice["delta"].get("tool_calls", ()):
                assert int is type(call["index"])
                assert str is type(call["function"]["arguments"])
        meter.watch(event)
        for body in bodies:
            body.add_step(Step(msgspec.json.decode(msgspec.json.encode(event.chunk))))
        for stream in streams:
            encode_step(stream, Step(msgspec.json.decode(msgspec.json.encode(event.chunk))))  # type: ignore[arg-type]
    closing = Closing(usage=meter.usage(make_request()), cost=Cost())
    for encoder in bodies:
        assert json.loads(encoder.encode_end(closing))


def check_end(events: list[Event], *, cut: bool) -> None:
    """Assert that a reply ends once, at its end, and that a cut is not a success."""
    ends = [event for event in events if isinstance(event, Ended | Failed)]
    assert ends == (events[-1:] if ends else [])
    assert cut == (not ends)
    calls = {
        call["index"]: call["function"].get("name")
        for event in events
        if isinstance(event, Step)
        for call in event.choices[0]["delta"].get("tool_calls", ())
        if "id" in call
    }
    assert not ends or isinstance(ends[0], Failed) or all(calls.values())


@given(st.lists(EVENT_LIKE | ANY_JSON, max_size=6))
@example([{"type": "response.output_item.added", "item": {"type": "function_call", "name": "f", "call_id": 1}}])
def test_any_json_is_read_or_garbled(payloads: list[Any]) -> None:
    """Whatever a provider sends as JSON ends in events that keep the hub's rules, or in a typed error."""
    decoder = StreamDecoder()
    events = decoder.feed(to_sse(*payloads, done=False))
    try:
        events += decoder.finish()
    except Cut:
        check_end(events, cut=True)
    else:
        check_end(events, cut=False)
    check_hub_rules(events)


@given(_RESPONSE | ANY_JSON)
def test_any_body_is_read_or_garbled(body: Any) -> None:
    """The same holds for a JSON body."""
    try:
        events = read(BodyDecoder(), json.dumps(body).encode())
    except Garbled:
        return
    check_end(events, cut=False)
    check_hub_rules(events)


@given(st.lists(EVENT_LIKE, max_size=5), ANY_CUTS)
@pytest.mark.covers("protocols.openai_responses", "any cut of the bytes")
def test_any_pieces_give_the_same_events(payloads: list[Any], cuts: list[int]) -> None:
    """How the network cuts a stream changes nothing, not even where it fails."""

    def outcome(pieces: list[bytes]) -> list[object]:
        decoder = StreamDecoder()
        seen = [show(event) for piece in pieces for event in decoder.feed(piece)]
        try:
            return seen + [show(event) for event in decoder.finish()]
        except Cut as error:
            return [*seen, str(error)]

    data = to_sse(*payloads, done=False)

    assert outcome([data]) == outcome(cut_at(data, cuts))


@pytest.mark.covers("protocols.openai_responses", "fuzzed streams")
def test_ten_thousand_streams_of_broken_bytes() -> None:
    """Real streams with bytes changed, dropped, doubled or cut: read, failed or cut, never anything else."""
    dice = random.Random(20261127)  # noqa: S311 - the same streams each time
    streams = [to_stream(case.values[0]["upstream"]) for case in load("streams")]
    for _ in range(10_000):
        data = bytearray(dice.choice(streams))
        for _ in range(dice.randrange(1, 6)):
            spoil(data, dice)
        if dice.random() < 0.3:
            del data[dice.randrange(len(data)) + 1 :]
        decoder = StreamDecoder()
        place = dice.randrange(len(data) + 1)
        events = decoder.feed(bytes(data[:place])) + decoder.feed(bytes(data[place:]))
        try:
            events += decoder.finish()
        except Cut:
            check_end(events, cut=True)
        else:
            check_end(events, cut=False)
