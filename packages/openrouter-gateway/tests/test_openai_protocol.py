"""The `openai` protocol: requests out, replies in, and what it makes of a provider that gets things wrong."""

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from gateway_samples import (
    ANY_CUTS,
    ANY_JSON,
    HEAD,
    REPLY_LIKE,
    cut_at,
    encode_step,
    make_chunk,
    make_endpoint,
    make_request,
    show,
    to_sse,
)
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import UNSET, UnsetType

from openrouter_gateway.accounting.meter import Meter
from openrouter_gateway.core.catalog import Endpoint, Reasoning
from openrouter_gateway.core.events import Ended, Event, Failed, Step, UsageReported
from openrouter_gateway.core.usage import Cost, Usage
from openrouter_gateway.errors import Cut, Garbled, Refused, Throttled, Unavailable
from openrouter_gateway.wire.protocols import PROTOCOLS
from openrouter_gateway.wire.protocols.base import Decoder
from openrouter_gateway.wire.protocols.framing import MAX_BODY_BYTES, SniffingDecoder
from openrouter_gateway.wire.protocols.openai import GATEWAY_FIELDS, BodyDecoder, OpenAI, StreamDecoder
from openrouter_gateway.wire.skins import chat
from openrouter_gateway.wire.skins.base import Closing
from openrouter_gateway.wire.sse import EventStream

REASONS = {None, "stop", "length", "tool_calls", "content_filter", "error"}


def read(decoder: Decoder, *pieces: bytes) -> list[Event]:
    """Return all events of a reply that arrives in these pieces."""
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return events + decoder.finish()


def read_stream(*chunks: object, done: bool = True) -> list[Event]:
    return read(StreamDecoder(), to_sse(*chunks, done=done))


def garbled_by(events: list[Event]) -> str:
    """Return why a stream was given up as not its protocol."""
    assert isinstance(events[-1], Failed)
    assert Garbled is type(events[-1].error)
    return events[-1].error.message


def read_body(body: object) -> list[Event]:
    return read(BodyDecoder(), json.dumps(body).encode())


def delta_of(delta: object) -> dict[str, Any]:
    """Return what the decoder makes of one delta."""
    step = read_stream(make_chunk(delta))[0]
    assert isinstance(step, Step)
    return step.choices[0]["delta"]


def call_of(call: object) -> dict[str, Any]:
    """Return what the decoder makes of one tool call."""
    return delta_of({"tool_calls": [call]})["tool_calls"][0]


def usage_of(usage: object) -> Usage:
    """Return what the decoder reads from a usage object."""
    reports = read_stream({"choices": [], "usage": usage}, make_chunk({}, finish="stop"))
    assert isinstance(reports[0], UsageReported)
    return reports[0].usage


class TestRequest:
    """What goes out to a provider."""

    def encode(self, body: bytes, quirks: frozenset[str] = frozenset()) -> bytes:
        return OpenAI().encode_chat(chat.parse(body), make_endpoint(quirks=quirks))

    @pytest.mark.covers("protocols.openai", "sampling")
    def test_unknown_fields_and_numbers_travel_verbatim(self) -> None:
        """Nothing but the model is touched: not the digits of a number, not the order, not an escape."""
        sent = self.encode(
            rb'{"model":"a/one","messages":[ {"role":"user","content":"\u00e9"} ],"temperature":1.50,"seed":1e2,'
            rb'"x_new":{"b":0.10,"a":12345678901234567890123},"stop":null}'.replace(b'"seed":1e2,', b"")
        )

        assert sent == (
            rb'{"model":"one-upstream","messages":[ {"role":"user","content":"\u00e9"} ],"temperature":1.50,'
            rb'"x_new":{"b":0.10,"a":12345678901234567890123},"stop":null}'
        )

    def test_the_gateways_own_fields_stay_here(self) -> None:
        """No field that OpenRouter adds to the dialect reaches a strict server."""
        values: dict[str, object] = {"models": ["a/two"], "route": "fallback", "provider": {}, "session_id": "s"}
        values |= {"trace": {}, "usage": {"include": True}}
        request = make_request(model="a/one", **{key: values.get(key) for key in GATEWAY_FIELDS}, top_p=1)

        body = json.loads(OpenAI().encode_chat(request, make_endpoint()))

        assert {"messages", "model", "top_p"} == body.keys()

    @pytest.mark.parametrize("spelling", [b"provider", rb"\u0070rovider"])
    def test_an_escaped_name_is_the_same_name(self, spelling: bytes) -> None:
        """A field cannot be smuggled past by escaping its name."""
        sent = self.encode(b'{"messages":[{"role":"user"}],"' + spelling + b'":{"only":["x"]}}')

        assert {"messages", "model"} == json.loads(sent).keys()

    @pytest.mark.covers("protocols.openai", "usage of every bucket")
    def test_a_stream_always_asks_for_usage(self) -> None:
        """The caller's own stream options do not turn the count off."""
        body = {"messages": [{"role": "user"}], "stream": True, "stream_options": {"include_usage": False}}

        sent = json.loads(self.encode(json.dumps(body).encode()))

        assert sent["stream_options"] == {"include_usage": True}
        assert True is sent["stream"]

    @pytest.mark.parametrize("stream", ["false", "null"])
    def test_without_a_stream_no_options_are_sent(self, stream: str) -> None:
        """Servers refuse stream options on a request that does not stream."""
        sent = self.encode(
            f'{{"messages":[{{"role":"user"}}],"stream":{stream},"stream_options":{{"include_usage":true}}}}'.encode()
        )

        assert "stream_options" not in json.loads(sent)

    def test_an_openrouter_gets_its_fields(self) -> None:
        """With the quirk, preferences travel on; the model list does not, since this gateway has chosen already."""
        request = make_request(
            model="a/one", models=["a/two"], provider={"zdr": True}, reasoning={"effort": "low"}, session_id="s"
        )

        body = json.loads(OpenAI().encode_chat(request, make_endpoint(quirks=frozenset({"openrouter_fields"}))))

        assert {"messages", "model", "provider", "reasoning", "session_id"} == body.keys()
        assert body["model"] == "one-upstream"
        assert body["provider"] == {"zdr": True}

    def test_empty_lists_are_left_out(self) -> None:
        """OpenAI answers 400 to them, and to a choice between no tools; one that cannot be met is still passed on."""
        empty = {"tools": [], "parallel_tool_calls": True, "stop": []}

        sent = [
            json.loads(OpenAI().encode_chat(make_request(**empty, tool_choice=choice), make_endpoint())).keys()
            for choice in ("auto", "none", "required")
        ]

        bare = {"model", "messages"}
        assert [bare, bare, bare | {"tool_choice"}] == sent

    def test_openrouters_own_tools_are_for_another_openrouter(self) -> None:
        """Others would answer 400 to the type; which tool it was is in the error."""
        request = make_request(tools=[{"type": "openrouter:datetime"}])
        own = frozenset({"openrouter_fields"})

        assert "tools" in json.loads(OpenAI().encode_chat(request, make_endpoint(quirks=own)))
        with pytest.raises(Refused, match=r"tools\[0\]: `openrouter:datetime`"):
            OpenAI().encode_chat(request, make_endpoint())

    @pytest.mark.parametrize(
        ("fields", "sent"),
        [
            ({"reasoning": {"effort": "high", "summary": "auto"}}, "high"),
            ({"reasoning": {"effort": "low"}, "reasoning_effort": "low"}, "low"),
            ({"reasoning": {"effort": "default"}}, "default"),
            ({"reasoning": {"enabled": True}}, "medium"),
            ({"reasoning": {"enabled": False}}, "none"),
            ({"reasoning": {"enabled": False, "effort": "high"}}, "none"),
            ({"reasoning": {"max_tokens": 0}}, "none"),
            ({"reasoning": {"max_tokens": 100}}, "medium"),
            ({"reasoning": {"max_tokens": 100}, "max_tokens": 1000}, "low"),
            ({"reasoning": {"max_tokens": 351}, "max_completion_tokens": 1000}, "medium"),
            ({"reasoning": {"max_tokens": 950}, "max_tokens": 1000}, "high"),
            ({"reasoning": {}}, None),
            ({"reasoning": None, "reasoning_effort": None}, None),
        ],
    )
    @pytest.mark.covers("protocols.openai", "reasoning effort", "reasoning budget")
    def test_the_effort_of_reasoning_goes_by_its_name_in_this_dialect(
        self, fields: dict[str, object], sent: str | None
    ) -> None:
        """From a name, a budget (OpenRouter API, reasoning) or a switch."""
        body = json.loads(self.encode(json.dumps({"messages": [{"role": "user"}], **fields}).encode()))

        assert "reasoning" not in body
        assert sent == body.get("reasoning_effort")

    def effort(self, endpoint: Endpoint, **fields: object) -> str | None:
        return json.loads(OpenAI().encode_chat(make_request(**fields), endpoint)).get("reasoning_effort")

    @pytest.mark.parametrize(
        ("efforts", "asked", "sent"),
        [
            (("high", "medium", "low"), "minimal", "low"),
            (("high", "medium", "low"), "max", "high"),
            (("xhigh", "high"), "medium", "high"),
            (("high", "low"), "medium", "low"),
            (("high", "none"), "low", "high"),
            (("high", "none"), "none", "none"),
            (("none",), "low", None),
            (None, "minimal", "minimal"),
            (UNSET, "low", None),
        ],
    )
    @pytest.mark.covers("protocols.openai", "reasoning effort")
    @pytest.mark.parametrize("spelling", ["reasoning", "reasoning_effort"])
    def test_an_effort_that_the_model_does_not_have(
        self, spelling: str, efforts: tuple[str, ...] | UnsetType | None, asked: str, sent: str | None
    ) -> None:
        """It becomes the nearest that it has; where there are none, nothing is asked."""
        endpoint = msgspec.structs.replace(make_endpoint(), reasoning=Reasoning(supported_efforts=efforts))

        assert sent == self.effort(endpoint, **{spelling: {"effort": asked} if spelling == "reasoning" else asked})

    def test_a_budget_among_the_efforts_that_the_model_has(self) -> None:
        """All of them count where they are known."""
        control = Reasoning(supported_efforts=("xhigh", "high", "low", "minimal"))
        endpoint = msgspec.structs.replace(make_endpoint(), reasoning=control, max_completion_tokens=1000)

        assert ["minimal", "low", "high", "xhigh"] == [
            self.effort(endpoint, reasoning={"max_tokens": budget}) for budget in (50, 300, 600, 900)
        ]

    def test_reasoning_that_cannot_be_turned_off(self) -> None:
        """Asking a model by its own name to is an error; behind the alias of a family it is the lowest effort."""
        control = Reasoning(mandatory=True, supported_efforts=("high", "low"))
        endpoint = msgspec.structs.replace(make_endpoint(), reasoning=control)

        with pytest.raises(Refused, match="cannot be turned off") as caught:
            self.effort(endpoint, model="a/one", reasoning={"enabled": False})

        assert 400 == caught.value.status
        assert "low" == self.effort(endpoint, model="~a/one-latest", reasoning={"effort": "none"})

    @pytest.mark.parametrize(
        ("fields", "control", "sent"),
        [
            ({}, None, "medium"),
            ({}, Reasoning(default_effort="high", supported_efforts=None), "high"),
            ({}, Reasoning(supported_efforts=("high",)), "high"),
            ({"reasoning": {"effort": "low"}}, None, "low"),
            ({"reasoning": {"enabled": False}}, None, "none"),
        ],
    )
    def test_the_variant_that_thinks(self, fields: dict[str, Any], control: Reasoning | None, sent: str) -> None:
        """It reasons unless the request says otherwise."""
        endpoint = msgspec.structs.replace(make_endpoint(model_id="a/one:thinking"), reasoning=control)

        assert sent == self.effort(endpoint, **fields)

    @pytest.mark.parametrize("fields", [{"reasoning": {"effort": "high"}}, {"reasoning_effort": "high"}])
    def test_an_endpoint_that_is_known_not_to_reason(self, fields: dict[str, Any]) -> None:
        """It is not asked to: parameters that are not supported are left out."""
        assert None is self.effort(make_endpoint(parameters={"temperature"}), **fields)
        assert "high" == self.effort(make_endpoint(parameters={"reasoning"}), **fields)

    @pytest.mark.parametrize("protocol", ["openai", "openai_responses"])
    @pytest.mark.parametrize(
        ("name", "asked"),
        [
            ("gpt-4o", False),
            ("gpt-4o-mini-2024-07-18", False),
            ("gpt-4.1-nano", False),
            ("gpt-3.5-turbo", False),
            ("gpt-35-turbo", False),
            ("chatgpt-4o-latest", False),
            ("openai/gpt-4", False),
            ("gpt-5.5", True),
            ("gpt-oss-20b", True),
            ("o4-mini", True),
            ("my-gpt-4", True),
        ],
    )
    def test_a_model_that_only_its_name_tells_not_to_reason(self, protocol: str, name: str, asked: bool) -> None:
        """OpenAI would answer 400. What is said of the endpoint has more weight than what it is called."""
        endpoint = msgspec.structs.replace(make_endpoint(), upstream_id=name)
        said = msgspec.structs.replace(endpoint, supported_parameters=frozenset({"reasoning"}))

        for fields in ({"reasoning": {"effort": "high"}}, {"reasoning_effort": "none"}):
            sent = [
                json.loads(PROTOCOLS[protocol].encode_chat(make_request(**fields), each)).keys()
                & {"reasoning", "reasoning_effort"}
                for each in (endpoint, said)
            ]
            assert [asked, True] == [bool(names) for names in sent]

    def test_an_endpoint_of_a_service_tier_is_asked_for_that_tier(self) -> None:
        """Also when a suffix or the tier's slug led there."""
        endpoint = msgspec.structs.replace(make_endpoint(), tag="openai/flex")

        assert "flex" == json.loads(OpenAI().encode_chat(make_request(), endpoint))["service_tier"]
        assert "service_tier" not in json.loads(OpenAI().encode_chat(make_request(), make_endpoint()))

    @pytest.mark.parametrize("protocol", ["openai", "openai_responses"])
    @pytest.mark.parametrize(
        ("tag", "tiers", "asked", "sent"),
        [
            ("openai", ("flex", "priority"), "priority", None),
            ("openai", ("flex", "priority"), "fast", None),
            ("openai", ("flex", "priority"), "flex", None),
            ("openai", ("flex", "priority"), "auto", None),
            ("openai", ("flex", "priority"), "default", "default"),
            ("openai/priority", ("flex", "priority"), "fast", "priority"),
            ("openai/priority", ("flex", "priority"), "flex", "priority"),
            ("openai/flex", (), "default", "flex"),
            ("acme", (), "default", None),
            ("acme", (), "priority", None),
            ("acme", (), None, None),
        ],
    )
    def test_a_provider_hears_of_no_tier_but_its_endpoints(
        self, protocol: str, tag: str, tiers: tuple[Any, ...], asked: str | None, sent: str | None
    ) -> None:
        """What the caller would take is for routing: another tier has another price, or the field is not known."""
        known = make_endpoint(tag)
        endpoint = msgspec.structs.replace(known, provider=msgspec.structs.replace(known.provider, tiers=tiers))

        body = json.loads(PROTOCOLS[protocol].encode_chat(make_request(service_tier=asked), endpoint))

        assert sent == body.get("service_tier")
        assert (sent is not None) == ("service_tier" in body)

    def test_a_model_name_is_encoded_as_json(self) -> None:
        """Quotes in the provider's own name do no harm."""
        request = make_request()
        endpoint = make_endpoint(model_id='a/"x"')

        assert json.loads(OpenAI().encode_chat(request, endpoint))["model"] == '"x"-upstream'

    def test_the_key_is_a_bearer_token(self) -> None:
        """As OpenAI's API wants it."""
        assert OpenAI().auth_headers("k") == {"Authorization": "Bearer k"}


@pytest.mark.parametrize(
    ("content_type", "decoder"),
    [
        ("text/event-stream", StreamDecoder),
        ("text/event-stream; charset=utf-8", StreamDecoder),
        ("Text/Event-Stream", StreamDecoder),
        ("application/json", BodyDecoder),
        ("Application/JSON; charset=utf-8", BodyDecoder),
        ("", SniffingDecoder),
        ("text/plain", SniffingDecoder),
    ],
)
def test_the_decoder_follows_what_the_provider_sent(content_type: str, decoder: type) -> None:
    """Not what was asked for: some answer JSON to a streaming request."""
    assert decoder is type(OpenAI().chat_decoder(make_request(stream=True), content_type))


class TestStream:
    """Chunks to events."""

    @pytest.mark.covers("protocols.openai", "text", "streaming")
    def test_an_ordinary_stream(self) -> None:
        """Steps, then the usage, then the end; the provider's own names and times are dropped."""
        events = read_stream(
            {"id": "x", "object": "o", "created": 1, "model": "m"}
            | make_chunk({"role": "assistant", "content": "Hel"}, system_fingerprint="fp"),
            make_chunk({"content": "lo"}),
            make_chunk({}, finish="stop"),
            {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}},
        )

        assert [
            (
                "step",
                [{"index": 0, "delta": {"role": "assistant", "content": "Hel"}, "finish_reason": None}],
                {"system_fingerprint": "fp"},
            ),
            ("step", [{"index": 0, "delta": {"content": "lo"}, "finish_reason": None}], {}),
            ("step", [{"index": 0, "delta": {}, "finish_reason": "stop", "native_finish_reason": "stop"}], {}),
            ("usage", Usage(prompt_tokens=3, completion_tokens=2, total_tokens=5)),
            ("ended",),
        ] == [show(event) for event in events]

    def test_nothing_counts_after_the_end_mark(self) -> None:
        """What follows `[DONE]` is not read, in the same bytes or later ones."""
        decoder = StreamDecoder()

        events = decoder.feed(to_sse(make_chunk({}, finish="stop")) + to_sse(b"garbage"))

        assert [Step, Ended] == [type(event) for event in events]
        assert decoder.feed(to_sse(b"garbage")) == []
        assert decoder.finish() == []

    @pytest.mark.parametrize("nothing", [b"", b" ", b"\t \t"])
    def test_an_event_without_data_is_passed_over(self, nothing: bytes) -> None:
        """Some servers keep a connection open with it; alone in its read, or among others."""
        data = to_sse(nothing, make_chunk({"content": "x"}), nothing, make_chunk({}, finish="stop"))

        assert [Step, Step, Ended] == [type(event) for event in read(StreamDecoder(), data)]
        assert [Step, Step, Ended] == [type(e) for e in read(StreamDecoder(), data[:7], data[7:], b"data:\n\n")]

    @pytest.mark.parametrize("mark", [b"[DONE] ", b" [DONE]", b"\t[DONE]\t"])
    def test_blanks_around_the_end_mark(self, mark: bytes) -> None:
        """They do not unmake it."""
        events = read_stream(make_chunk({"content": "x"}), mark, done=False)

        assert [Step, Ended] == [type(event) for event in events]

    @pytest.mark.parametrize("chunks", [[], [{"choices": [], "usage": {"prompt_tokens": 1}}], [{"choices": None}]])
    @pytest.mark.parametrize("mark", [b"[DONE]", b"[DONE] "])
    def test_the_end_mark_alone_is_no_answer(self, chunks: list[object], mark: bytes) -> None:
        """Nor is it with a count of tokens."""
        events = read_stream(*chunks, mark, done=False)

        assert garbled_by(events) == "the provider answered without any choice"

    @pytest.mark.covers("protocols.openai", "errors within streams")
    def test_garbage_does_not_lose_what_came_before(self) -> None:
        """Text and usage of the same read are events, then comes the failure, once."""
        usage = {"prompt_tokens": 1, "completion_tokens": 1}
        decoder = StreamDecoder()

        events = decoder.feed(to_sse(make_chunk({"content": "x"}, usage=usage), b"{oops", make_chunk({})))

        assert [Step, UsageReported, Failed] == [type(event) for event in events]
        assert "not JSON" in garbled_by(events)
        assert decoder.feed(to_sse(make_chunk({}), b"{oops")) == decoder.finish() == []

    def test_an_event_that_is_too_large(self) -> None:
        """It fails the stream, behind the events that came with it."""
        decoder = StreamDecoder()
        decoder._stream = EventStream(max_event_bytes=1_000)

        events = decoder.feed(to_sse(make_chunk({"content": "x"}), done=False) + b"data: " + b"x" * 2_000)
        events += decoder.feed(b"x")

        assert [Step, Failed] == [type(event) for event in events]
        assert "larger than 1000 bytes" in garbled_by(events)

    def test_a_pair_of_surrogates_in_two_chunks(self) -> None:
        """Halves of an emoji are lost, the rest of the text is not."""
        halves = [b'{"choices":[{"delta":{"content":"a\\%s b"}}]}' % half for half in (b"ud83d", b"ude00")]
        events = read_stream(*halves)

        assert ["a\ufffd b"] * 2 == [e.choices[0]["delta"]["content"] for e in events if isinstance(e, Step)]
        check_hub_rules(events)

    @pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity"])
    def test_numbers_that_json_does_not_have(self, number: bytes) -> None:
        """They are nothing."""
        events = read_stream(b'{"x":%s,"choices":[{"delta":{"content":"x"},"logprobs":[%s]}]}' % (number, number))
        check_hub_rules(events)

        assert isinstance(events[0], Step)
        assert (None, [None]) == (events[0].chunk.get("x"), events[0].choices[0].get("logprobs"))

    @pytest.mark.parametrize("native", [10**30, {"a": 1}, 1.5, []])
    @pytest.mark.parametrize("finish", [None, "stop"])
    def test_a_native_reason_that_is_no_word(self, native: object, finish: str | None) -> None:
        """The ordinary reason stands in for it."""
        step = read_stream({"choices": [{"delta": {}, "finish_reason": finish, "native_finish_reason": native}]})[0]

        assert isinstance(step, Step)
        assert finish == step.choices[0].get("native_finish_reason")

    def test_a_finished_answer_needs_no_end_mark(self) -> None:
        """Some servers never send `[DONE]`."""
        events = read_stream(make_chunk({"content": "x"}, finish="stop"), done=False)

        assert [Step, Ended] == [type(event) for event in events]

    @pytest.mark.parametrize(
        "data", [b"", b": nothing\n\n", to_sse(make_chunk({"content": "x"}), done=False), b'data: {"choices":[]}\n\n']
    )
    @pytest.mark.covers("protocols.openai", "errors within streams")
    def test_an_unfinished_answer_was_cut(self, data: bytes) -> None:
        """An end before the finish reason is never taken for a success."""
        with pytest.raises(Cut):
            read(StreamDecoder(), data)

    def test_a_cut_within_the_last_chunk_is_a_cut(self) -> None:
        """Half an event is no event."""
        with pytest.raises(Cut):
            read(StreamDecoder(), to_sse(make_chunk({}, finish="stop"), done=False)[:-1])

    @pytest.mark.parametrize(
        ("native", "reason"),
        [
            ("stop", "stop"),
            ("end_turn", "stop"),
            ("MAX_TOKENS", "length"),
            ("function_call", "tool_calls"),
            ("?", "stop"),
        ],
    )
    @pytest.mark.covers("protocols.openai", "finish reasons")
    def test_finish_reasons_are_normalised(self, native: str, reason: str) -> None:
        """The provider's own word is kept beside OpenRouter's."""
        step = read_stream(make_chunk({}, finish=native))[0]

        assert isinstance(step, Step)
        assert (reason, native) == (step.choices[0]["finish_reason"], step.choices[0].get("native_finish_reason"))

    @pytest.mark.parametrize("missing", [{}, {"finish_reason": None}, {"finish_reason": ""}, {"finish_reason": {}}])
    def test_the_finish_reason_is_always_there(self, missing: dict[str, object]) -> None:
        """Null until the end, also where the provider leaves it out or sends nothing in it."""
        step = read_stream({"choices": [{"index": 0, "delta": {}} | missing]})[0]

        assert isinstance(step, Step)
        assert None is step.choices[0]["finish_reason"]

    def test_a_missing_index_is_the_position(self) -> None:
        """Clients tell choices apart by it."""
        step = read_stream({"choices": [{"delta": {}}, {"index": None, "delta": None}]})[0]

        assert isinstance(step, Step)
        assert [choice["index"] for choice in step.choices] == [0, 1]
        assert [choice["delta"] for choice in step.choices] == [{}, {}]

    @pytest.mark.parametrize("key", ["content", "reasoning", "refusal"])
    def test_these_nulls_are_legal(self, key: str) -> None:
        """In a delta they may be null, and stay as the provider sent them."""
        assert {key: None} == delta_of({key: None})

    @pytest.mark.parametrize(
        "key", ["role", "tool_calls", "reasoning_details", "audio", "images", "annotations", "function_call", "new"]
    )
    def test_every_other_null_is_dropped(self, key: str) -> None:
        """Strict clients reject the whole chunk for one of them."""
        assert delta_of({key: None, "content": "x"}) == {"content": "x"}

    @pytest.mark.parametrize("key", ["system_fingerprint", "usage", "error", "service_tier", "openrouter_metadata"])
    def test_nulls_beside_the_choices_are_dropped(self, key: str) -> None:
        """`usage: null` on every chunk is the classic."""
        events = read_stream(make_chunk({"content": "x"}) | {key: None}, make_chunk({}, finish="stop"))

        assert show(events[0]) == ("step", [{"index": 0, "delta": {"content": "x"}, "finish_reason": None}], {})
        assert [Step, Step, Ended] == [type(event) for event in events]

    @pytest.mark.parametrize("role", ["", "model", "Assistant", 1])
    def test_the_role_is_the_assistants(self, role: object) -> None:
        """The one role that clients take; some servers send an empty one on every chunk."""
        assert delta_of({"role": role, "content": "x"}) == {"role": "assistant", "content": "x"}

    def test_unknown_keys_are_kept(self) -> None:
        """What the gateway does not know is the client's to read."""
        assert delta_of({"content": "x", "new": {"deep": None}}) == {"content": "x", "new": {"deep": None}}

    def test_usage_may_ride_on_a_step(self) -> None:
        """Usage is an event of its own, also when a chunk carries both, and on every chunk."""
        usage = {"prompt_tokens": 1, "completion_tokens": 1}

        events = read_stream(make_chunk({"content": "x"}, usage=usage), make_chunk({}, finish="stop", usage=usage))

        assert [Step, UsageReported, Step, UsageReported, Ended] == [type(event) for event in events]
        assert "usage" not in json.dumps([show(event) for event in events if isinstance(event, Step)])


class TestToolCalls:
    """What is put right in the tool calls of a delta."""

    def test_a_proper_fragment_is_untouched(self) -> None:
        """A first fragment with everything in it."""
        call = {"index": 3, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{"}}

        assert call == call_of(dict(call))

    def test_a_missing_index_is_the_position(self) -> None:
        """Two calls stay two calls."""
        delta = delta_of({"tool_calls": [{"function": {"name": "f"}}, {"index": None, "function": {"name": "g"}}]})

        assert [call["index"] for call in delta["tool_calls"]] == [0, 1]

    @pytest.mark.parametrize(
        ("pieces", "indices"),
        [
            ([[{"id": "a"}], [{"id": "b"}], [{}], [{"id": "b"}], [{"id": "a"}], [{}]], [[0], [1], [1], [1], [0], [0]]),
            ([[{"id": "a", "index": 4}], [{"id": "b"}], [{}]], [[4], [5], [5]]),
            ([[{"id": "a"}], [{"id": "", "index": -1}], [{"id": None}]], [[0], [0], [0]]),
            ([[{}, {}], [{}, {}]], [[0, 1], [0, 1]]),
            ([[{"id": "a"}, {"id": "a"}]], [[0, 1]]),
            ([[{"id": "a"}, {"id": "b"}], [{"id": "c"}]], [[0, 1], [2]]),
        ],
    )
    @pytest.mark.covers("protocols.openai", "parallel tool calls")
    def test_calls_without_an_index(self, pieces: list[list[dict[str, Any]]], indices: list[list[int]]) -> None:
        """A new id is the next call, a known one its own, none the last: in chunks of their own, too."""
        events = read_stream(*(make_chunk({"tool_calls": calls}) for calls in pieces))

        assert indices == [
            [call["index"] for call in event.choices[0]["delta"]["tool_calls"]]
            for event in events
            if isinstance(event, Step)
        ]

    def test_calls_of_different_choices(self) -> None:
        """Each choice counts its own."""
        choices = [{"index": at, "delta": {"tool_calls": [{"id": name}]}} for at, name in ((0, "a"), (1, "b"))]
        events = read_stream({"choices": choices[:1]}, {"choices": choices[1:]})

        assert [0, 0] == [e.choices[0]["delta"]["tool_calls"][0]["index"] for e in events if isinstance(e, Step)]

    def test_nulls_are_dropped(self) -> None:
        """Nothing inside a tool call may be null."""
        call = {"index": 0, "id": None, "type": None, "function": {"name": None, "arguments": None}}

        assert {} == call_of(call)["function"]
        assert None not in call_of(call).values()

    @pytest.mark.parametrize("id_", [{}, {"id": None}, {"id": ""}])
    @pytest.mark.parametrize("stream", [True, False])
    def test_calls_without_ids_get_some(self, id_: dict[str, object], *, stream: bool) -> None:
        """Results could not be told apart without: one for each call, of this turn and of every other."""
        calls = [{**id_, "function": {"name": name, "arguments": "{}"}} for name in ("f", "g")]
        part = "delta" if stream else "message"
        choice = {"index": 0, part: {"tool_calls": calls}, "finish_reason": "tool_calls"}
        data = to_sse({"choices": [choice]}) if stream else json.dumps({"choices": [choice]}).encode()
        ids: list[str] = []
        for content in ("one turn", "another"):
            request = make_request(messages=[{"role": "user", "content": content}])
            kind = "text/event-stream" if stream else "application/json"
            step = read(OpenAI().chat_decoder(request, kind), data)[0]
            assert isinstance(step, Step)
            found = step.choices[0]["delta"]["tool_calls"]
            assert ["function", "function"] == [call["type"] for call in found]
            ids += [call["id"] for call in found]

        assert 4 == len(set(ids) - {""})

    def test_only_the_first_piece_of_a_call_has_its_id(self) -> None:
        """Clients join the ids of pieces."""
        pieces = [
            {"index": 0, "function": {"name": "f", "arguments": "{"}},
            {"index": 0, "function": {"arguments": "}"}},
        ]
        events = read_stream(*(make_chunk({"tool_calls": [piece]}) for piece in pieces))

        calls = [event.choices[0]["delta"]["tool_calls"][0] for event in events if isinstance(event, Step)]
        assert [True, False] == ["id" in call for call in calls]

    @pytest.mark.parametrize("call", [{"index": 0, "id": "c"}, {"index": 0, "id": "c", "function": None}])
    def test_the_function_is_always_there(self, call: dict[str, object]) -> None:
        """The official LangChain client skips fragments without it."""
        assert call_of(call) == {"index": 0, "id": "c", "type": "function", "function": {}}

    @pytest.mark.parametrize(("arguments", "text"), [({"a": [1, None]}, '{"a":[1,null]}'), ({}, "{}"), ([], "[]")])
    def test_arguments_become_text(self, arguments: object, text: str) -> None:
        """Some servers send the arguments as an object."""
        assert text == call_of({"index": 0, "function": {"name": "f", "arguments": arguments}})["function"]["arguments"]

    def test_an_empty_list_is_dropped(self) -> None:
        """It would look like a tool call to some clients."""
        assert delta_of({"content": "x", "tool_calls": []}) == {"content": "x"}

    @pytest.mark.parametrize(
        "calls",
        [
            "x",
            {"index": 0},
            [1],
            [None],
            [{"function": "f"}],
            [{"function": {"name": 1}}],
            [{"id": 1}],
            [{"type": {}}],
        ],
    )
    def test_what_no_client_could_read_is_garbled(self, calls: object) -> None:
        """A wrong type that has no obvious meaning is the provider's fault, not a crash."""
        assert garbled_by(read_stream(make_chunk({"tool_calls": calls})))


class TestUsage:
    """Token counts, in every form that providers send them in."""

    @pytest.mark.covers("protocols.openai", "usage of every bucket")
    def test_all_buckets(self) -> None:
        """Every count that OpenRouter's usage object has."""
        assert Usage(
            prompt_tokens=100,
            completion_tokens=50,
            total_tokens=150,
            cached_tokens=1,
            cache_write_tokens=2,
            prompt_audio_tokens=3,
            prompt_video_tokens=4,
            reasoning_tokens=5,
            completion_audio_tokens=6,
            image_tokens=7,
            accepted_prediction_tokens=8,
            rejected_prediction_tokens=9,
            reported_cost=Decimal("0.0015"),
        ) == usage_of(
            {
                "prompt_tokens": 100,
                "completion_tokens": 50,
                "total_tokens": 150,
                "prompt_tokens_details": {
                    "cached_tokens": 1,
                    "cache_write_tokens": 2,
                    "audio_tokens": 3,
                    "video_tokens": 4,
                },
                "completion_tokens_details": {
                    "reasoning_tokens": 5,
                    "audio_tokens": 6,
                    "image_tokens": 7,
                    "accepted_prediction_tokens": 8,
                    "rejected_prediction_tokens": 9,
                },
                "cost": 0.0015,
            }
        )

    @pytest.mark.parametrize(
        ("said", "read", "written"),
        [
            ({"prompt_cache_hit_tokens": 6, "prompt_cache_miss_tokens": 4}, 6, 0),
            ({"prompt_cache_hit_tokens": 6, "completion_tokens_details": {"reasoning_tokens": 1}}, 6, 0),
            ({"cached_tokens": 6}, 6, 0),
            ({"prompt_tokens_details": {"cached_tokens": 5}, "prompt_cache_hit_tokens": 6, "cached_tokens": 6}, 5, 0),
            ({"prompt_tokens_details": {"cached_tokens": 5}, "cache_creation_input_tokens": 3}, 5, 3),
            ({"prompt_cache_hit_tokens": None, "cached_tokens": "6"}, 0, 0),
        ],
    )
    @pytest.mark.covers("protocols.openai", "usage of every bucket")
    def test_counts_of_the_cache_beside_the_others(self, said: dict[str, object], read: int, written: int) -> None:
        """Providers have words of their own for them. Uncounted, their price would be that of fresh tokens."""
        usage = usage_of({"prompt_tokens": 10, "completion_tokens": 2} | said)

        assert (10, read, written) == (usage.prompt_tokens, usage.cached_tokens, usage.cache_write_tokens)

    @pytest.mark.parametrize(("beside", "prompt_tokens"), [({}, 3), ({"usage": {"prompt_tokens": 4}}, 4)])
    def test_counts_within_the_last_choice(self, beside: dict[str, object], prompt_tokens: int) -> None:
        """Moonshot's place for them; where there are some beside the choices, too, those count, once."""
        within = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        choice = {"index": 0, "delta": {"content": "x"}, "finish_reason": "stop", "usage": within}

        step, reported, _ = read_stream({"choices": [choice], **beside})

        assert isinstance(step, Step)
        assert isinstance(reported, UsageReported)
        assert prompt_tokens == reported.usage.prompt_tokens
        assert "usage" not in step.choices[0]

    @pytest.mark.parametrize(
        "details",
        [
            {},
            {"prompt_tokens_details": None, "completion_tokens_details": None},
            {"prompt_tokens_details": {"cached_tokens": None}, "completion_tokens_details": {}},
            {"prompt_tokens_details": [1], "completion_tokens_details": "x"},
            {"prompt_tokens_details": 1, "completion_tokens_details": True},
            {"cost": None},
            {"cost": "a lot"},
            {"cost": True},
            {"total_tokens": None},
        ],
    )
    def test_details_may_be_missing_or_nonsense(self, details: dict[str, object]) -> None:
        """The counts that are there still count; the total is their sum."""
        assert Usage(prompt_tokens=3, completion_tokens=2, total_tokens=5) == usage_of(
            {"prompt_tokens": 3, "completion_tokens": 2} | details
        )

    @pytest.mark.parametrize(
        ("count", "tokens"),
        [(2.0, 2), (2.1, 3), (-5, 0), (-0.5, 0), (None, 0), ("7", 0), (True, 0), ([], 0), (1e300, 0)],
    )
    def test_odd_counts(self, count: object, tokens: int) -> None:
        """Fractions are rounded up, never in the provider's disfavour; what is no count is nothing."""
        assert tokens == usage_of({"prompt_tokens": count, "completion_tokens": 1}).prompt_tokens

    @pytest.mark.parametrize("usage", [None, {}, [], 0, "", "x", 5, [1], True])
    def test_no_usage_object_is_no_report(self, usage: object) -> None:
        """Then the gateway estimates, instead of believing in zero tokens."""
        events = read_stream(make_chunk({"content": "x"}, finish="stop", usage=usage))

        assert [Step, Ended] == [type(event) for event in events]

    @pytest.mark.parametrize(
        "zeros",
        [
            {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
            {"prompt_tokens": 0, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 0}},
            {"prompt_tokens": None, "completion_tokens": "0"},
        ],
    )
    @pytest.mark.parametrize("streamed", [True, False])
    @pytest.mark.covers("protocols.openai", "usage of every bucket")
    def test_nothing_but_zeros_is_no_report(self, zeros: dict[str, object], streamed: bool) -> None:
        """Tokens of an answer are estimated where a provider has counted none, and an earlier count stays."""
        request, meter = make_request(), Meter()
        counted = {"prompt_tokens": 1, "completion_tokens": 2}
        choice = {"index": 0, "message": {"content": "12345678"}, "finish_reason": "stop"}
        events = (
            read_stream(make_chunk({"content": "12345678"}, finish="stop"), {"choices": [], "usage": zeros})
            if streamed
            else read_body({"choices": [choice], "usage": zeros})
        )
        for event in events:
            if isinstance(event, Step):
                meter.watch(event)

        assert [Step, Ended] == [type(event) for event in events]
        assert (True, 2) == (meter.usage(request).estimated, meter.usage(request).completion_tokens)
        later = read_stream(make_chunk({"content": "x"}, finish="stop", usage=counted), {"choices": [], "usage": zeros})
        assert [2] == [event.usage.completion_tokens for event in later if isinstance(event, UsageReported)]

    def test_zeros_that_have_a_cost(self) -> None:
        """A provider that says what it charges is believed."""
        assert Usage(reported_cost=Decimal(0)) == usage_of({"prompt_tokens": 0, "completion_tokens": 0, "cost": 0})


class TestErrorsInReplies:
    """Errors that come with status 200."""

    @pytest.mark.parametrize(
        ("error", "kind", "message", "code"),
        [
            ({"code": 429, "message": "slow down"}, Throttled, "slow down", "429"),
            ({"code": 429, "message": "slow down", "type": "rate_limit"}, Throttled, "slow down", "rate_limit"),
            ({"code": "503", "message": "busy"}, Unavailable, "busy", "503"),
            ({"code": "server_error", "message": "oops"}, Unavailable, "oops", "server_error"),
            ({"code": 400, "message": "no", "type": "invalid"}, Refused, "no", "invalid"),
            ({"code": None, "message": "oops"}, Unavailable, "oops", None),
            ({"code": 0, "message": "oops"}, Unavailable, "oops", "0"),
            ({"message": {"deep": 1}}, Unavailable, '{"deep":1}', None),
            ("it broke", Unavailable, "it broke", None),
            (["it broke"], Unavailable, "['it broke']", None),
        ],
    )
    @pytest.mark.covers("protocols.openai", "errors within streams")
    def test_an_error_chunk(self, error: object, kind: type, message: str, code: str | None) -> None:
        """It ends the reply, whatever shape it has; a numeric code counts as the status."""
        decoder = StreamDecoder()

        (event,) = decoder.feed(to_sse({"error": error, "choices": [{"index": 0, "delta": {"content": "x"}}]}))

        assert isinstance(event, Failed)
        assert (kind, message, code) == (type(event.error), event.error.message, event.error.provider_code)
        assert decoder.feed(to_sse(make_chunk({}, finish="stop"))) == []
        assert decoder.finish() == []

    @pytest.mark.parametrize("code", [True, 200, 600, -400, "", "9" * 5000, [], {"a": 1}, 1e9])
    def test_a_code_that_is_no_status(self, code: object) -> None:
        """The fault is the provider's then."""
        events = read_stream({"error": {"code": code, "message": "x"}})

        assert [show(event)[:4] for event in events] == [("failed", "Unavailable", "x", 502)]  # type: ignore[index]

    def test_an_error_instead_of_a_body(self) -> None:
        """A body without choices but with an error is that error."""
        events = read_body({"error": {"code": 429, "message": "slow down"}, "choices": None})

        assert [show(event) for event in events] == [("failed", "Throttled", "slow down", 429, "429")]


class TestBody:
    """One JSON body to events."""

    @pytest.mark.covers("protocols.openai", "text")
    def test_an_ordinary_body(self) -> None:
        """A step per body, its usage, the end."""
        events = read_body(
            {
                "id": "x",
                "model": "m",
                "service_tier": "default",
                "system_fingerprint": None,
                "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            }
        )

        assert [
            (
                "step",
                [
                    {
                        "index": 0,
                        "finish_reason": "stop",
                        "delta": {"role": "assistant", "content": "Hi"},
                        "native_finish_reason": "stop",
                    }
                ],
                {"service_tier": "default"},
            ),
            ("usage", Usage(prompt_tokens=1, completion_tokens=1, total_tokens=2)),
            ("ended",),
        ] == [show(event) for event in events]

    @pytest.mark.parametrize("body", [{}, {"choices": []}, {"choices": None}, {"choices": 0}, [], 1, None, "x"])
    def test_no_choice_is_no_answer(self, body: object) -> None:
        """A 200 without an answer is the provider's fault."""
        with pytest.raises(Garbled):
            read_body(body)

    @pytest.mark.parametrize("choice", [{}, {"finish_reason": "stop"}, {"message": None}, {"message": {}}])
    def test_no_message_is_no_answer(self, choice: object) -> None:
        """A choice with nothing in it is none."""
        with pytest.raises(Garbled, match="without any message"):
            read_body({"choices": [choice, choice]})

    def test_an_error_beside_choices(self) -> None:
        """Half an answer is not passed off as a whole one."""
        choices = [{"message": {"content": "Hel"}, "finish_reason": "stop"}]

        (event,) = read_body({"choices": choices, "error": {"message": "boom", "code": 500}})

        assert ("failed", "Unavailable", "boom", 502, "500") == show(event)

    def test_an_error_of_a_choice_stays_there(self) -> None:
        """OpenRouter reports it so, and with what the choice has."""
        choice = {"message": {"content": "Hel"}, "finish_reason": "error", "error": {"message": "boom"}}

        step = read_body({"choices": [choice], "error": None})[0]

        assert isinstance(step, Step)
        assert {"message": "boom"} == step.choices[0].get("error")

    def test_a_body_without_end(self) -> None:
        """It is given up before it fills the memory."""
        decoder = BodyDecoder()
        piece = b"x" * (MAX_BODY_BYTES // 4)
        for _ in range(4):
            decoder.feed(piece)

        with pytest.raises(Garbled, match="larger than"):
            decoder.feed(b"x")

    @pytest.mark.parametrize("data", [b"", b"{", b"<html>", b'{"choices":[{"message":{"content":"\xff"}}]}', b"\x00"])
    def test_what_is_not_json(self, data: bytes) -> None:
        """A page of a proxy in between, half a body, wrong bytes."""
        with pytest.raises(Garbled):
            read(BodyDecoder(), data)

    @given(ANY_CUTS)
    def test_any_pieces(self, cuts: list[int]) -> None:
        """A body is read when it is whole."""
        body = json.dumps({"choices": [{"message": {"content": "é"}, "finish_reason": "stop"}]}).encode()

        assert [show(e) for e in read(BodyDecoder(), body)] == [
            show(e) for e in read(BodyDecoder(), *cut_at(body, cuts))
        ]


@pytest.mark.parametrize(
    "chunk",
    [
        [],
        1,
        None,
        "x",
        {"choices": 1},
        {"choices": "x"},
        {"choices": {"a": 1}},
        {"choices": [1]},
        {"choices": [None]},
        {"choices": [{"delta": 1}]},
        {"choices": [{"delta": []}]},
        {"choices": [{"delta": {"content": 1}}]},
        {"choices": [{"delta": {"content": {}}}]},
        {"choices": [{"delta": {"reasoning": True}}]},
        {"choices": [{"delta": {}, "finish_reason": 1}]},
        {"choices": [{"delta": {}, "finish_reason": {"a": 1}}]},
    ],
)
def test_shapes_that_no_client_could_read(chunk: object) -> None:
    """They are the provider's fault, in a stream and in a body."""
    assert garbled_by(read_stream(chunk))
    with pytest.raises(Garbled):
        read_body(json.loads(json.dumps(chunk).replace('"delta"', '"message"')))


@pytest.mark.parametrize("depth", [500, 2_000, 200_000])
@pytest.mark.parametrize("where", [b'{"choices":[{"delta":{"new":%s}}]}', b'{"error":%s}', b"%s"])
def test_deep_nesting(depth: int, where: bytes) -> None:
    """However deep, the reply is read or refused; nothing overflows."""
    payload = where % (b"[" * depth + b"]" * depth)
    for decoder, data in ((StreamDecoder(), to_sse(payload)), (BodyDecoder(), payload)):
        try:
            events = read(decoder, data)
        except Garbled:
            continue
        assert events
        assert depth < 1_000 or garbled_by(events)


def check_hub_rules(events: list[Event]) -> None:
    """Assert what every decoder promises (see `core/events`) and what encoders rely on: they must take it all."""
    streaming, whole, meter = chat.StreamEncoder(HEAD), chat.BodyEncoder(HEAD), Meter()
    for event in events:
        if not isinstance(event, Step):
            continue
        for choice in event.choices:
            assert int is type(choice["index"])
            assert choice["finish_reason"] in REASONS
            delta = choice["delta"]
            assert delta.get("role", "assistant") == "assistant"
            assert not [key for key, value in delta.items() if value is None and key not in chat._TEXTS]
            assert delta.get("tool_calls") != []
            for call in delta.get("tool_calls", ()):
                assert int is type(call["index"])
                parts = [call.get("id", ""), call.get("type", "")]
                parts += [call["function"].get("name", ""), call["function"].get("arguments", "")]
                assert [str] * 4 == [type(part) for part in parts]
        meter.watch(event)
        for line in encode_step(streaming, event).splitlines():
            assert not line or json.loads(line.removeprefix(b"data: "))
        whole.add_step(event)
    assert json.loads(whole.encode_end(Closing(usage=meter.usage(make_request()), cost=Cost())))


@given(st.lists(REPLY_LIKE | ANY_JSON, max_size=4))
@example([make_chunk({"content": "a"}), make_chunk({"content": ["b"]}), make_chunk({"content": "c"})])
@example([make_chunk({"reasoning_details": [1]}), make_chunk({"reasoning_details": 5})])
@example([make_chunk({"images": 5}), make_chunk({"images": ["x"]})])
@example([{"choices": [], "usage": {"prompt_tokens_details": [1]}}])
@pytest.mark.covers("protocols.openai", "fuzzed streams")
def test_any_json_is_read_or_garbled(chunks: list[Any]) -> None:
    """Whatever a provider sends as JSON ends in events that keep the hub's rules, or in its own typed error."""
    decoder = StreamDecoder()
    events: list[Event] = []
    try:
        for chunk in chunks:
            events += decoder.feed(to_sse(chunk, done=False))
        events += decoder.finish()
    except (Garbled, Cut):
        pass
    check_hub_rules(events)


@given(REPLY_LIKE | ANY_JSON)
@example({"choices": [{"message": {"content": ["part"], "tool_calls": [{}]}}], "usage": {"cost": "1e5"}})
def test_any_body_is_read_or_garbled(body: Any) -> None:
    """The same holds for a JSON body."""
    try:
        events = read_body(body)
    except Garbled:
        return
    check_hub_rules(events)


@given(st.binary(), ANY_CUTS)
@example(b"data: \xff\n\n", [])
@example(b"data: [DONE]\n\n", [3])
@pytest.mark.covers("protocols.openai", "fuzzed streams")
def test_any_bytes_are_read_or_garbled(data: bytes, cuts: list[int]) -> None:
    """Noise is the provider's fault; it never escapes as another exception."""
    for decoder in (StreamDecoder(), BodyDecoder()):
        try:
            read(decoder, *cut_at(b"data: " + data + b"\n\n", cuts))
        except (Garbled, Cut):
            continue


@given(st.lists(REPLY_LIKE, max_size=3), ANY_CUTS)
@pytest.mark.covers("protocols.openai", "any cut of the bytes")
def test_any_pieces_give_the_same_events(chunks: list[Any], cuts: list[int]) -> None:
    """How the network cuts a stream changes nothing, not even where it fails."""

    def outcome(pieces: list[bytes]) -> list[object]:
        decoder = StreamDecoder()
        seen: list[object] = []
        try:
            for piece in pieces:
                seen += [show(event) for event in decoder.feed(piece)]
            return seen + [show(event) for event in decoder.finish()]
        except Cut as error:
            return [*seen, type(error), str(error)]

    data = to_sse(*chunks)

    assert outcome([data]) == outcome(cut_at(data, cuts))


SNIFFED_STREAM = to_sse(make_chunk({"content": "é"}), make_chunk({}, finish="stop"))
SNIFFED_BODY = json.dumps({"choices": [{"message": {"content": "é"}, "finish_reason": "stop"}]}).encode()


@pytest.mark.parametrize(
    ("data", "like"),
    [
        (SNIFFED_STREAM, StreamDecoder),
        (b"\xef\xbb\xbf\r\n" + SNIFFED_STREAM, StreamDecoder),
        (b": hello\n\n" + SNIFFED_STREAM, StreamDecoder),
        (b"event: x\n" + SNIFFED_STREAM, StreamDecoder),
        (b"id: 1\n" + SNIFFED_STREAM, StreamDecoder),
        (b"retry: 1\n" + SNIFFED_STREAM, StreamDecoder),
        (SNIFFED_BODY, BodyDecoder),
        (b" \n " + SNIFFED_BODY, BodyDecoder),
        (b"<html>", BodyDecoder),
        (b"dat", BodyDecoder),
        (b"data", BodyDecoder),
        (b"", BodyDecoder),
    ],
)
def test_a_reply_without_a_type(data: bytes, like: type[StreamDecoder | BodyDecoder]) -> None:
    """Its first bytes say whether it is a stream, however they arrive."""

    def outcome(decoder: Decoder, pieces: list[bytes]) -> object:
        try:
            return [show(event) for event in read(decoder, *pieces)]
        except Garbled as error:
            return str(error)

    expected = outcome(like(), [data])
    for cut in range(len(data) + 1):
        assert expected == outcome(SniffingDecoder(StreamDecoder, BodyDecoder), [data[:cut], data[cut:]])
    assert expected == outcome(SniffingDecoder(StreamDecoder, BodyDecoder), [bytes([byte]) for byte in data])
