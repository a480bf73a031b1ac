"""The `anthropic` protocol: requests out, replies in, by vectors, by any cut of their bytes, and by noise."""

import json
import random
from typing import Any

import msgspec
import pytest
from gateway_samples import ANY_CUTS, ANY_JSON, cut_at, dicts_like, make_endpoint, make_request
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from noise import spoil
from test_openai_protocol import check_hub_rules
from wire_vectors import load_vectors, to_named_sse

from openrouter_gateway.accounting.authorize import Grant, hide_user
from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.events import Ended, Event, Failed, Step, UsageReported
from openrouter_gateway.core.usage import Usage
from openrouter_gateway.errors import Cut, Garbled, Refused, UpstreamError
from openrouter_gateway.wire.protocols import PROTOCOLS
from openrouter_gateway.wire.protocols.anthropic import Anthropic
from openrouter_gateway.wire.protocols.anthropic_models import EFFORTS, abilities_of, fit_effort
from openrouter_gateway.wire.protocols.anthropic_reply import BodyDecoder, StreamDecoder
from openrouter_gateway.wire.protocols.base import Decoder
from openrouter_gateway.wire.protocols.framing import MAX_BODY_BYTES, SniffingDecoder
from openrouter_gateway.wire.skins import chat

REPLIES = load_vectors("anthropic", "replies")
STREAM = "text/event-stream; charset=utf-8"
GOOD = [
    each.values[0]["stream"]
    for each in REPLIES
    if "stream" in each.values[0] and each.values[0]["events"][-1] == "ended"
]


def claude(model: str = "claude-sonnet-4-5", *, limit: int | None = None, tier: Any = None) -> Endpoint:
    """Return an endpoint of Anthropic's."""
    endpoint = make_endpoint("anthropic", f"anthropic/{model}")
    return msgspec.structs.replace(endpoint, upstream_id=model, max_completion_tokens=limit, tier=tier)


def read(decoder: Decoder, *pieces: bytes) -> list[Event]:
    """Return all events of a reply that arrives in these pieces, and how it failed."""
    events: list[Event] = []
    try:
        for piece in pieces:
            events += decoder.feed(piece)
        events += decoder.finish()
    except UpstreamError as error:
        events.append(Failed(error))
    return events


def stream_decoder(request: ChatRequest | None = None) -> Decoder:
    return Anthropic().chat_decoder(request or make_request(stream=True), STREAM)


def show(event: Event) -> Any:
    """Return an event as vectors write it."""
    match event:
        case Step(chunk=chunk):
            (choice,) = event.choices
            shown: dict[str, Any] = {"delta": choice["delta"]}
            if choice["finish_reason"] is not None:
                shown |= {"finish": choice["finish_reason"], "native": choice.get("native_finish_reason")}
            top = {key: value for key, value in chunk.items() if key != "choices"}
            return shown | ({"top": top} if top else {})
        case UsageReported(usage=usage):
            return {"usage": {name: count for name in Usage.__struct_fields__ if (count := getattr(usage, name))}}
        case Failed(error=error):
            return error
        case Ended():
            return "ended"


def check_events(expected: list[Any], events: list[Event]) -> None:
    """Assert that the events are those of a vector."""
    shown = [show(event) for event in events]
    if isinstance(expected[-1], dict) and "failed" in expected[-1]:
        check_failure(expected[-1], shown.pop())
        expected = expected[:-1]
    assert expected == shown


def check_failure(expected: dict[str, Any], error: Any) -> None:
    """Assert that an error is that of a vector, in everything that the vector mentions."""
    assert expected["failed"] == type(error).__name__
    if "begins" in expected:
        assert error.message.startswith(expected["begins"])
        return
    found = {key: getattr(error, key) for key in ("message", "error_type", "provider_status", "provider_code")}
    if "provider_request_id" in error.metadata:
        found["request_id"] = error.metadata["provider_request_id"]
    assert {key: value for key, value in expected.items() if key != "failed"} == found


class _SentBlock(msgspec.Struct):
    input: dict[str, msgspec.Raw]


class _SentTurn(msgspec.Struct):
    content: list[_SentBlock]


class _Sent(msgspec.Struct):
    messages: list[_SentTurn]


class TestRequests:
    """What goes out."""

    @pytest.mark.parametrize("vector", load_vectors("anthropic", "requests"))
    def test_vector(self, vector: dict[str, Any]) -> None:
        """The body has what the vector says, the headers too, or the request is refused in its words."""
        request = msgspec.structs.replace(make_request(**vector["request"]), betas=tuple(vector.get("betas", ())))
        endpoint = claude(vector.get("model", "claude-sonnet-4-5"), limit=vector.get("limit"), tier=vector.get("tier"))
        if "refused" in vector:
            with pytest.raises(Refused) as refused:
                Anthropic().encode_chat(request, endpoint)
            assert vector["refused"] == refused.value.message
            assert vector.get("error_type", "invalid_request") == refused.value.error_type
            return

        sent = json.loads(Anthropic().encode_chat(request, endpoint))

        if "exactly" in vector:
            assert vector["exactly"] == sent
        expected = vector.get("sent", {})
        assert expected == {key: sent.get(key) for key in expected}
        assert sent["model"] == endpoint.upstream_id
        if "headers" in vector:
            assert vector["headers"] == dict(Anthropic().chat_address(request, endpoint).headers)

    def test_the_address(self) -> None:
        """One path, the version, and no feature that nobody asked for."""
        address = Anthropic().chat_address(make_request(), claude())

        assert ("/messages", (("anthropic-version", "2023-06-01"),)) == address

    def test_the_key_has_a_header_of_its_own(self) -> None:
        """It is no bearer token."""
        assert {"x-api-key": "k"} == Anthropic().auth_headers("k")

    def test_the_table_has_it(self) -> None:
        """Rows of the provider table name it."""
        assert isinstance(PROTOCOLS["anthropic"], Anthropic)

    def test_a_user_is_never_named(self) -> None:
        """The gateway's pseudonym goes out."""
        request = hide_user(make_request(user="ada@example.com"), Grant())

        sent = json.loads(Anthropic().encode_chat(request, claude()))

        assert "ada@" not in json.dumps(sent)
        assert 64 == len(sent["metadata"]["user_id"])

    @pytest.mark.parametrize(
        "field",
        [
            b'"messages":[{"role":"assistant","content":"x","reasoning_details":[1e400]}]',
            b'"messages":[{"role":"user","content":"x"}],"cache_control":1e400',
            b'"messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema","json_schema":'
            b'{"name":"x","schema":%s}}' % (b'{"anyOf":[' * 400 + b"{}" + b"]}" * 400),
        ],
    )
    def test_what_was_not_looked_into_before(self, field: bytes) -> None:
        """Odd JSON in fields that the gateway does not read is refused, not a crash."""
        request = chat.parse(b"{" + field + b"}")

        with pytest.raises(Refused):
            Anthropic().encode_chat(request, claude())

    @given(st.text() | ANY_JSON.map(json.dumps))
    @example("[" * 5_000)
    def test_any_arguments_of_calls(self, arguments: str) -> None:
        """What a model once wrote is no reason to refuse the conversation."""
        call = {"id": "x", "type": "function", "function": {"name": "f", "arguments": arguments}}
        request = make_request(messages=[{"role": "assistant", "tool_calls": [call]}])

        (turn,) = msgspec.json.decode(Anthropic().encode_chat(request, claude()), type=_Sent).messages

        given = turn.content[0].input
        try:
            assert given == (msgspec.json.decode(arguments, type=dict[str, msgspec.Raw]) if arguments.strip() else {})
        except (msgspec.DecodeError, RecursionError):
            assert {"arguments": arguments} == {name: json.loads(bytes(value)) for name, value in given.items()}

    @given(
        st.lists(dicts_like(type=st.sampled_from(["reasoning.text", "reasoning.encrypted"]), text=ANY_JSON), max_size=3)
        | ANY_JSON
    )
    @pytest.mark.covers("protocols.anthropic", "reasoning replayed over turns")
    def test_any_reasoning_details(self, details: Any) -> None:
        """Whatever a caller sends back as reasoning, the request goes out without what Claude would refuse."""
        request = make_request(messages=[{"role": "assistant", "content": "x", "reasoning_details": details}])

        (turn,) = json.loads(Anthropic().encode_chat(request, claude()))["messages"]

        assert {"type": "text", "text": "x"} == turn["content"][-1]


class TestModels:
    """Which Claude takes what."""

    @pytest.mark.parametrize(
        ("name", "budgets", "adaptive", "sampling", "efforts"),
        [
            ("claude-2.1", False, False, True, 0),
            ("claude-3-haiku-20240307", False, False, True, 0),
            ("claude-3-5-sonnet-latest", False, False, True, 0),
            ("claude-3.5-sonnet", False, False, True, 0),
            ("claude-3-7-sonnet-20250219", True, False, True, 0),
            ("claude-opus-4-20250514", True, False, True, 0),
            ("claude-opus-4-1-20250805", True, False, True, 0),
            ("us.anthropic.claude-haiku-4-5-20251001-v1:0", True, False, True, 0),
            ("claude-opus-4.5", True, False, True, 3),
            ("claude-opus-4-6", True, True, True, 4),
            ("anthropic/claude-sonnet-4.6", True, True, True, 4),
            ("claude-opus-4-7", False, True, False, 5),
            ("claude-sonnet-5", False, True, False, 5),
            ("claude-opus-5-5", False, True, False, 5),
            ("claude-haiku-5-5", False, True, False, 5),
            ("claude-fable-5", False, True, False, 5),
            ("claude-mythos-preview", False, True, False, 5),
            ("claude-opus-latest", False, True, False, 5),
            ("claude-opus-6-20270101", False, True, False, 5),
            ("gpt-4o", True, False, True, 0),
        ],
    )  # fmt: skip
    def test_a_name(self, name: str, budgets: bool, adaptive: bool, sampling: bool, efforts: int) -> None:
        """By family and version, however it is written."""
        found = abilities_of(name)

        assert (budgets, adaptive, sampling, efforts) == (
            found.budgets,
            found.adaptive,
            found.sampling,
            len(found.efforts),
        )

    def test_the_second_name_counts_where_the_first_says_nothing(self) -> None:
        """A proxy's own name, for a model that is known here."""
        assert abilities_of("claude-opus-5-5") == abilities_of("my-deployment", "anthropic/claude-opus-5.5")
        assert abilities_of("claude-sonnet-4-5") != abilities_of("claude-opus-5-5")

    @pytest.mark.parametrize("model", ["claude-opus-4-5", "claude-opus-4-6", "claude-opus-5"])
    @pytest.mark.parametrize("wanted", EFFORTS)
    def test_an_effort_is_never_raised(self, model: str, wanted: str) -> None:
        """The next one below stands in for one that the model lacks."""
        fitted = fit_effort(wanted, abilities_of(model))

        assert fitted is not None
        assert EFFORTS.index(fitted) <= EFFORTS.index(wanted)


class TestReplies:
    """What comes in."""

    @pytest.mark.parametrize("vector", REPLIES)
    def test_vector(self, vector: dict[str, Any]) -> None:
        """Whole, byte by byte, and cut at every place, the events are those of the vector."""
        request = make_request(stream="stream" in vector, **vector.get("request", {}))
        if "stream" in vector:
            data, kind = to_named_sse(*vector["stream"]), STREAM
        else:
            data, kind = json.dumps(vector["body"]).encode(), "application/json"

        def decoder() -> Decoder:
            return Anthropic().chat_decoder(request, kind)

        check_events(vector["events"], read(decoder(), data))
        check_events(vector["events"], read(decoder(), *(data[at : at + 1] for at in range(len(data)))))
        for cut in range(0, len(data), 3):
            check_events(vector["events"], read(decoder(), data[:cut], data[cut:]))

    @pytest.mark.parametrize("stream", GOOD)
    @pytest.mark.covers("protocols.anthropic", "errors within streams")
    def test_a_stream_without_its_end_was_cut(self, stream: list[Any]) -> None:
        """Wherever it stops before `message_stop`, even behind the reason why it ended."""
        last = next(
            place for place, event in enumerate(stream) if isinstance(event, dict) and event["type"] == "message_stop"
        )
        data = to_named_sse(*stream[: last + 1])

        for end in range(len(data)):
            events = read(stream_decoder(), data[:end])
            assert Cut is type(show(events[-1]))
            assert Ended not in [type(event) for event in events]
            check_hub_rules(events)

    @pytest.mark.parametrize("stream", GOOD)
    @given(cuts=ANY_CUTS)
    @settings(max_examples=30)
    @pytest.mark.covers("protocols.anthropic", "any cut of the bytes")
    def test_any_pieces(self, stream: list[Any], cuts: list[int]) -> None:
        """However the network cuts the bytes, the events are the same."""
        data = to_named_sse(*stream)

        assert [show(e) for e in read(stream_decoder(), data)] == [
            show(e) for e in read(stream_decoder(), *cut_at(data, cuts))
        ]

    def test_other_line_ends_and_no_names(self) -> None:
        """The event-stream grammar has them, too."""
        named = to_named_sse(*GOOD[0])
        plain = b"".join(b"data:" + json.dumps(event).encode() + b"\r\n\r\n" for event in GOOD[0])

        assert [show(e) for e in read(stream_decoder(), named)] == [show(e) for e in read(stream_decoder(), plain)]

    @pytest.mark.parametrize(
        ("kind", "stream", "decoder"),
        [
            ("text/event-stream", False, StreamDecoder),
            ("Text/Event-Stream; charset=utf-8", True, StreamDecoder),
            ("application/json", True, BodyDecoder),
            ("application/json; charset=utf-8", False, BodyDecoder),
            ("", True, SniffingDecoder),
            ("text/plain", False, SniffingDecoder),
        ],
    )
    def test_the_decoder_follows_what_the_provider_sent(self, kind: str, stream: bool, decoder: type) -> None:
        """Not what was asked for."""
        assert decoder is type(Anthropic().chat_decoder(make_request(stream=stream), kind))

    def test_a_body_without_end(self) -> None:
        """It is given up before it fills the memory."""
        decoder = Anthropic().chat_decoder(make_request(), "application/json")
        for _ in range(4):
            decoder.feed(b"x" * (MAX_BODY_BYTES // 4))

        with pytest.raises(Garbled, match="larger than"):
            decoder.feed(b"x")

    @pytest.mark.parametrize("depth", [500, 2_000, 100_000])
    @pytest.mark.parametrize(
        "where", [b'{"type":"new","x":%s}', b'{"type":"error","error":%s}', b'{"content":%s}', b"%s"]
    )
    def test_deep_nesting(self, depth: int, where: bytes) -> None:
        """However deep, a reply is read or refused; nothing overflows."""
        payload = where % (b"[" * depth + b"]" * depth)
        for decoder, data in (
            (stream_decoder(), b"data: " + payload + b"\n\n"),
            (Anthropic().chat_decoder(make_request(), "application/json"), payload),
        ):
            events = read(decoder, data)
            assert isinstance(events[-1], Failed)


BLOCK_LIKE = dicts_like(
    type=st.sampled_from(["text", "thinking", "redacted_thinking", "tool_use", "server_tool_use"]),
    text=st.text(max_size=3),
    thinking=st.text(max_size=3),
    signature=st.text(max_size=3),
    data=st.text(max_size=3),
    id=st.text(max_size=3),
    name=st.text(max_size=3),
    input=ANY_JSON,
    citations=st.lists(ANY_JSON, max_size=2),
)
DELTA_LIKE = dicts_like(
    type=st.sampled_from(["text_delta", "thinking_delta", "signature_delta", "input_json_delta", "citations_delta"]),
    text=st.text(max_size=3),
    thinking=st.text(max_size=3),
    signature=st.text(max_size=3),
    partial_json=st.text(max_size=3),
    citation=dicts_like(url=st.text(max_size=3), type=st.text(max_size=3)),
    stop_reason=st.sampled_from(["end_turn", "tool_use", "refusal", "pause_turn", "new"]),
    stop_details=ANY_JSON,
)
USAGE_LIKE = dicts_like(
    input_tokens=st.integers(0, 9),
    output_tokens=st.integers(0, 9),
    cache_read_input_tokens=st.integers(0, 9),
    cache_creation_input_tokens=st.integers(0, 9),
    cache_creation=dicts_like(ephemeral_1h_input_tokens=st.integers(0, 20)),
    service_tier=st.text(max_size=3),
)
EVENT_LIKE = dicts_like(
    type=st.sampled_from(
        [
            "message_start",
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
            "ping",
            "new",
        ]
    ),
    index=st.integers(0, 2),
    message=dicts_like(usage=USAGE_LIKE),
    content_block=BLOCK_LIKE,
    delta=DELTA_LIKE,
    usage=USAGE_LIKE,
)


@given(st.lists(EVENT_LIKE | ANY_JSON, max_size=5))
@settings(suppress_health_check=[HealthCheck.too_slow])
@example([{"type": "content_block_start", "index": [], "content_block": {"type": []}}])
@example([{"type": "content_block_delta", "index": {}, "delta": {}}])
@pytest.mark.covers("protocols.anthropic", "fuzzed streams")
def test_any_json_is_read_or_garbled(chunks: list[Any]) -> None:
    """Whatever a provider sends as JSON ends in events that keep the hub's rules, or in a typed error."""
    events = read(stream_decoder(), to_named_sse(*chunks))

    check_end(events)
    check_hub_rules(events)


@given(
    dicts_like(content=st.lists(BLOCK_LIKE | ANY_JSON, max_size=4), stop_reason=st.text(max_size=3), usage=USAGE_LIKE)
    | ANY_JSON
)
def test_any_body_is_read_or_garbled(body: Any) -> None:
    """The same of a body."""
    events = read(Anthropic().chat_decoder(make_request(), "application/json"), json.dumps(body).encode())

    check_end(events)
    check_hub_rules(events)


def check_end(events: list[Event]) -> None:
    """Assert that a reply ends once, and that nothing follows its end."""
    ends = [type(event) in (Ended, Failed) for event in events]
    assert [False] * (len(events) - 1) + [True] == ends


@pytest.mark.covers("protocols.anthropic", "fuzzed streams")
def test_noise() -> None:
    """Ten thousand broken streams: every one is read to an end or to a typed error, and its events keep the rules."""
    dice = random.Random(20261127)  # noqa: S311 - the same noise each time
    originals = [to_named_sse(*stream) for stream in GOOD]
    for _ in range(10_000):
        data = bytearray(dice.choice(originals))
        for _ in range(dice.randint(1, 4)):
            spoil(data, dice)
        events = read(
            stream_decoder(), *cut_at(bytes(data), [dice.randrange(10_000) for _ in range(dice.randint(0, 3))])
        )
        check_end(events)
        if dice.random() < 0.1:
            check_hub_rules(events)


class TestRefusals:
    """Replies that are not 2xx."""

    @pytest.mark.parametrize(
        ("status", "kind", "message", "expected"),
        [
            (400, "invalid_request_error", "max_tokens: too large", ("Refused", 400, "invalid_request")),
            (
                400,
                "invalid_request_error",
                "prompt is too long: 210000 tokens > 200000 maximum",
                ("Refused", 400, "context_length_exceeded"),
            ),
            (
                400,
                "invalid_request_error",
                "input length and `max_tokens` exceed context limit: 1 + 2 > 2",
                ("Refused", 400, "context_length_exceeded"),
            ),
            (
                400,
                "invalid_request_error",
                "Your credit balance is too low to access the Anthropic API.",
                ("Unavailable", 502, "provider_unavailable"),
            ),
            (401, "authentication_error", "invalid x-api-key", ("Unavailable", 502, "provider_unavailable")),
            (403, "permission_error", "no", ("Unavailable", 502, "provider_unavailable")),
            (404, "not_found_error", "model: x", ("Unavailable", 502, "provider_unavailable")),
            (413, "request_too_large", "too large", ("Refused", 413, "payload_too_large")),
            (429, "rate_limit_error", "slow down", ("Throttled", 429, "rate_limit_exceeded")),
            (500, "api_error", "oops", ("Unavailable", 502, "provider_unavailable")),
            (504, "timeout_error", "late", ("TimedOut", 504, "timeout")),
            (529, "overloaded_error", "Overloaded", ("Unavailable", 502, "provider_overloaded")),
        ],
    )
    @pytest.mark.covers("protocols.anthropic", "errors with status")
    def test_a_status(self, status: int, kind: str, message: str, expected: tuple[str, int, str]) -> None:
        """Whose fault it is, and whether another endpoint may be tried."""
        body = json.dumps(
            {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_b"}
        ).encode()

        error = Anthropic().parse_refusal(status, {}, body)

        assert expected == (type(error).__name__, error.status, error.error_type)
        assert kind == error.provider_code
        assert "req_b" == error.metadata["provider_request_id"]
        assert (expected[0] == "Refused") is not error.failover

    def test_the_header_names_the_request_first(self) -> None:
        """Proxies may replace a body."""
        error = Anthropic().parse_refusal(529, {"request-id": "req_h", "Retry-After": "3"}, b'{"request_id": "req_b"}')

        assert ("req_h", 3) == (error.metadata["provider_request_id"], error.retry_after_s)

    @pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"request_id": 1}', b"\xff", b"null"])
    def test_a_body_that_is_none(self, body: bytes) -> None:
        """Then the status says what there is to say."""
        error = Anthropic().parse_refusal(500, {}, body)

        assert {} == error.metadata
        assert "500" in error.message or "[]" in error.message or "request_id" in error.message
