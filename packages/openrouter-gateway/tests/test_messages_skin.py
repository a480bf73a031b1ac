"""The `messages` skin: requests in, streams and messages out, as Anthropic's clients want them."""

import contextlib
import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from gateway_samples import HEAD, make_endpoint
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from messages_reader import MESSAGE_KEYS, USAGE_KEYS, accumulate, read_events
from test_anthropic_protocol import EVENT_LIKE, claude, read
from wire_vectors import load_vectors, to_named_sse

from openrouter_gateway.accounting.authorize import Grant, hide_user
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.events import Event, Failed, Step, UsageReported
from openrouter_gateway.core.usage import Cost, Usage
from openrouter_gateway.errors import (
    BadRequest,
    GatewayError,
    InternalError,
    ModelNotFound,
    PayloadTooLarge,
    PaymentRequired,
    RateLimited,
    Refused,
    Throttled,
    TimedOut,
    Unauthenticated,
    Unavailable,
)
from openrouter_gateway.wire.protocols.anthropic import Anthropic
from openrouter_gateway.wire.protocols.openai import OpenAI
from openrouter_gateway.wire.skins import SKINS
from openrouter_gateway.wire.skins.base import Closing
from openrouter_gateway.wire.skins.messages import BodyEncoder, Messages, StreamEncoder

SKIN = Messages()
USAGE = Usage(
    prompt_tokens=100,
    completion_tokens=20,
    total_tokens=120,
    cached_tokens=40,
    cache_write_tokens=30,
    cache_write_1h_tokens=10,
    reasoning_tokens=7,
)
COST = Cost(prompt=Decimal("0.001"), completion=Decimal("0.0002"))
HELLO = [{"role": "user", "content": "Hello"}]


def make_step(delta: dict[str, Any], *, finish: str | None = None, native: str | None = None, **top: object) -> Step:
    """Return a step as a decoder gives it."""
    choice: dict[str, Any] = {"index": 0, "delta": delta, "finish_reason": finish}
    if finish is not None:
        choice["native_finish_reason"] = native or finish
    return Step({"id": "x", "choices": [choice]} | top)


def to_stream(
    steps: list[Step], usage: Usage = USAGE, cost: Cost = COST, metadata: dict[str, Any] | None = None
) -> bytes:
    """Return the whole stream of a reply."""
    encoder, out = StreamEncoder(HEAD), bytearray()
    for step in steps:
        encoder.encode_step(step, out)
    return bytes(out) + encoder.encode_end(Closing(usage=usage, cost=cost, metadata=metadata))


def to_message(
    steps: list[Step], usage: Usage = USAGE, cost: Cost = COST, metadata: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return the body of a reply."""
    encoder = BodyEncoder(HEAD)
    for step in steps:
        encoder.add_step(step)
    return json.loads(encoder.encode_end(Closing(usage=usage, cost=cost, metadata=metadata)), parse_float=Decimal)


def copied(steps: list[Step]) -> list[Step]:
    """Return steps of which an encoder may change the content."""
    return [Step(msgspec.json.decode(msgspec.json.encode(step.chunk))) for step in steps]


def short(event: dict[str, Any]) -> str | None:
    """Return an event of a block in a word or three, None for another event."""
    match event["type"]:
        case "content_block_start":
            return f"start {event['index']} {event['content_block']['type']}"
        case "content_block_delta":
            return f"delta {event['index']} {event['delta']['type']}"
        case "content_block_stop":
            return f"stop {event['index']}"
        case _:
            return None


class TestRequests:
    """Bodies to the hub's request."""

    @pytest.mark.parametrize("vector", load_vectors("messages", "requests"))
    def test_vector(self, vector: dict[str, Any]) -> None:
        """The hub's fields are exactly those of the vector, or the caller is told what is wrong, in its own terms."""
        body = json.dumps(vector["body"]).encode()
        if "bad" in vector:
            with pytest.raises(BadRequest) as refused:
                SKIN.parse(body)
            assert vector["bad"] == refused.value.message
            return

        request = SKIN.parse(body)

        assert vector["hub"] == {key: json.loads(bytes(value)) for key, value in request.fields.items()}

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"messages":"\xff"}'])
    def test_what_is_no_request(self, body: bytes) -> None:
        """It is the caller's fault."""
        with pytest.raises(BadRequest):
            SKIN.parse(body)

    @pytest.mark.parametrize("depth", [400, 2_000, 100_000])
    @pytest.mark.parametrize("where", [b'{"messages":[{"role":"user","content":"x"}],"x":%s}', b'{"messages":%s}'])
    def test_deep_nesting(self, depth: int, where: bytes) -> None:
        """Read or refused."""
        with contextlib.suppress(BadRequest):
            SKIN.parse(where % (b"[" * depth + b"]" * depth))

    def test_it_is_served(self) -> None:
        """Where Anthropic's clients look for it."""
        assert isinstance(SKINS["/messages"], Messages)


BLOCKS: list[dict[str, Any]] = [
    {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
    {"type": "redacted_thinking", "data": "ZGF0YQ=="},
    {"type": "text", "text": "I look.", "citations": [{"type": "page_location", "document_index": 0}]},
    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}},
    {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
    {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1.50, "b": [None]}, "caller": {"type": "direct"}},
]
FULL: dict[str, Any] = {
    "model": "anthropic/claude-sonnet-4.5",
    "max_tokens": 100,
    "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
    "messages": [
        {
            "role": "user",
            "content": [
                {
                    "type": "document",
                    "source": {"type": "text", "media_type": "text/plain", "data": "d"},
                    "citations": {"enabled": True},
                    "context": "c",
                }
            ],
        },
        {"role": "assistant", "content": BLOCKS},
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_1",
                    "is_error": True,
                    "cache_control": {"type": "ephemeral"},
                }
            ],
        },
    ],
    "tools": [
        {"name": "f", "input_schema": {"type": "object"}, "input_examples": [{}]},
        {"type": "web_search_20250305", "name": "web_search"},
    ],
    "tool_choice": {"type": "auto"},
    "thinking": {"type": "enabled", "budget_tokens": 2000},
    "stop_sequences": ["END", " "],
    "context_management": {"edits": []},
    "container": None,
    "x_new": 1,
}


class TestSameDialect:
    """A caller of this dialect in front of a provider of it."""

    def send(self, body: dict[str, Any], model: str = "claude-sonnet-4-5", **changes: Any) -> dict[str, Any]:
        request = msgspec.structs.replace(hide_user(SKIN.parse(json.dumps(body).encode()), Grant()), **changes)
        return json.loads(Anthropic().encode_chat(request, claude(model)))

    def test_a_request_arrives_as_it_was_written(self) -> None:
        """Every block, breakpoint, signature and setting, also those that the hub does not know."""
        expected = FULL | {"model": "claude-sonnet-4-5"}
        del expected["container"]

        assert expected == self.send(FULL)

    def test_digits_stay_as_they_are(self) -> None:
        """Nothing is decoded on the way."""
        block = b'{"type":"tool_result","tool_use_id":"t","x":1.50e1}'
        messages = b'[ {"role":"user","content":[%s] , "y": 12345678901234567890123}]' % block
        request = SKIN.parse(b'{"max_tokens":5,"messages":' + messages + b"}")

        assert messages in Anthropic().encode_chat(request, claude())

    def test_openrouters_own_fields_stay_here(self) -> None:
        """The provider gets its model, a pseudonym and a tier that it knows."""
        extras = {
            "models": ["a/b"],
            "provider": {"zdr": True},
            "plugins": [],
            "session_id": "s",
            "trace": {},
            "route": "fallback",
            "user": "ada",
            "speed": "fast",
            "service_tier": "auto",
        }
        sent = self.send({"max_tokens": 5, "messages": HELLO, "metadata": {"user_id": "bob"}, **extras})

        assert {"model", "max_tokens", "messages", "metadata", "service_tier"} == sent.keys()
        assert ("auto", 64) == (sent["service_tier"], len(sent["metadata"]["user_id"]))

    @pytest.mark.parametrize(
        ("model", "thinking", "effort", "expected"),
        [
            ("claude-sonnet-4-5", {"type": "adaptive"}, None, {"type": "enabled", "budget_tokens": 5000}),
            ("claude-sonnet-4-5", {"type": "disabled"}, None, {"type": "disabled"}),
            (
                "claude-opus-4-6",
                {"type": "enabled", "budget_tokens": 2000},
                None,
                {"type": "enabled", "budget_tokens": 2000},
            ),
            (
                "claude-opus-4-8",
                {"type": "enabled", "budget_tokens": 2000},
                None,
                {"type": "adaptive", "display": "summarized"},
            ),
            (
                "claude-opus-4-8",
                {"type": "adaptive", "display": "omitted"},
                "max",
                {"type": "adaptive", "display": "omitted"},
            ),
            ("claude-opus-5-5", {"type": "disabled"}, None, None),
            ("claude-sonnet-5-5", {"type": "disabled"}, None, {"type": "between_tools"}),
            ("claude-opus-5", {"type": "between_tools"}, None, {"type": "disabled"}),
            ("claude-3-5-haiku-20241022", {"type": "enabled", "budget_tokens": 2000}, None, None),
            ("claude-opus-5", {"type": "new"}, None, {"type": "new"}),
            ("claude-opus-4-7", None, "low", None),
            ("glm-4.6", {"type": "adaptive"}, None, {"type": "adaptive"}),
        ],
    )
    def test_thinking_is_fitted_to_the_model(
        self, model: str, thinking: Any, effort: str | None, expected: Any
    ) -> None:
        """A fallback may be another Claude than the request was written for."""
        body: dict[str, Any] = {"max_tokens": 10_000, "messages": HELLO}
        body |= {"thinking": thinking} if thinking else {}
        body |= {"output_config": {"effort": effort}} if effort else {}

        sent = self.send(body, model)

        assert expected == sent.get("thinking")
        assert effort == sent.get("output_config", {}).get("effort")

    def test_an_effort_that_the_model_does_not_know(self) -> None:
        """It gets the one below, or none."""
        body = {"max_tokens": 5, "messages": HELLO, "output_config": {"effort": "xhigh"}}

        assert {"effort": "high"} == self.send(body, "claude-opus-4-6")["output_config"]
        assert "output_config" not in self.send(body, "claude-haiku-4-5")

    def test_reasoning_of_other_models_is_left_out(self) -> None:
        """Claude's API would refuse the signature."""
        foreign = [
            {"type": "thinking", "thinking": "x", "signature": ""},
            {"type": "redacted_thinking", "data": "openrouter.reasoning:e30="},
        ]
        own = {"type": "thinking", "thinking": "y", "signature": "c2ln"}
        messages = [
            *HELLO,
            {"role": "assistant", "content": foreign},
            {"role": "assistant", "content": [*foreign, own, {"type": "text", "text": "z"}]},
        ]

        sent = self.send({"max_tokens": 5, "messages": messages})

        assert [*HELLO, {"role": "assistant", "content": [own, {"type": "text", "text": "z"}]}] == sent["messages"]

    @pytest.mark.parametrize(("thought", "kept"), [({"signature": ""}, False), ({"signature": "c2ln"}, True)])
    @pytest.mark.parametrize("config", [{"type": "enabled", "budget_tokens": 2000}, {"type": "adaptive"}])
    def test_a_loop_of_tools_that_another_model_began(
        self, config: dict[str, Any], thought: dict[str, str], kept: bool
    ) -> None:
        """Without thoughts of Claude's, the API would refuse that it is to think within the turn."""
        call = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
        loop = [
            *HELLO,
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "x", **thought}, call]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "1"}]},
        ]

        sent = self.send({"max_tokens": 10_000, "messages": loop, "thinking": config}, "claude-sonnet-4-5")

        assert kept == ("thinking" in sent)

    def test_system_messages_in_between(self) -> None:
        """They stay for models that take them, and go to the top for others."""
        messages = [
            *HELLO,
            {"role": "system", "content": "Mind."},
            {"role": "system", "content": [{"type": "tool_removal", "tool": {}}]},
        ]
        body = {"max_tokens": 5, "system": "s", "messages": messages}

        assert messages == self.send(body, "claude-opus-4-8")["messages"]
        sent = self.send(body, "claude-sonnet-4-5")
        assert HELLO == sent["messages"]
        assert [{"type": "text", "text": "s"}, {"type": "text", "text": "Mind."}] == sent["system"]

    def test_features_of_the_request_are_named_in_the_header(self) -> None:
        """Also where only this dialect has a form for them."""
        messages = [*HELLO, {"role": "system", "content": [{"type": "tool_addition", "tool": {}}]}]
        request = SKIN.parse(json.dumps({"max_tokens": 5, "messages": messages, "context_management": {}}).encode())

        headers = dict(Anthropic().chat_address(request, claude()).headers)

        assert "mid-conversation-tool-changes-2026-07-01,context-management-2025-06-27" == headers["anthropic-beta"]

    def test_tools_of_the_gateway(self) -> None:
        """The provider has a web search of its own, and runs nothing else of them."""
        tools = [FULL["tools"][0], {"type": "openrouter:web_search"}]

        sent = self.send({"max_tokens": 5, "messages": HELLO, "tools": tools})

        assert [FULL["tools"][0], {"type": "web_search_20250305", "name": "web_search"}] == sent["tools"]
        with pytest.raises(Refused, match=r"tools\[0\]: `openrouter:bash`"):
            self.send({"max_tokens": 5, "messages": HELLO, "tools": [{"type": "openrouter:bash"}]})

    def test_a_request_that_was_changed_on_the_way(self) -> None:
        """What the gateway has made of it goes out, not what the caller wrote."""
        request = SKIN.parse(json.dumps(FULL).encode())
        changed = msgspec.Raw(b'[{"role":"user","content":"changed"}]')
        request = msgspec.structs.replace(request, fields=request.fields | {"messages": changed})

        sent = json.loads(Anthropic().encode_chat(request, claude()))

        assert [{"role": "user", "content": [{"type": "text", "text": "changed"}]}] == sent["messages"]
        assert "context_management" not in sent

    @pytest.mark.parametrize(
        "vector",
        [
            each
            for each in load_vectors("anthropic", "replies")
            if "stream" in each.values[0] and each.values[0]["events"][-1] == "ended"
        ],
    )
    def test_a_stream_arrives_as_it_was_sent(self, vector: dict[str, Any]) -> None:
        """Every event of every block, whether the hub knows it or not."""
        decoder = Anthropic().chat_decoder(self.request(stream=True), "text/event-stream")
        events = read(decoder, to_named_sse(*vector["stream"]))
        sent = [event for event in vector["stream"] if isinstance(event, dict)]

        received = read_events(to_stream(steps_of(events), usage_of(events)))

        blocks = [event for event in sent if event["type"] not in OTHERS]
        for event in blocks:
            if event["type"] == "content_block_start" and event["content_block"]["type"] in EXTRA:
                event["content_block"] = EXTRA[event["content_block"]["type"]] | event["content_block"]
        assert blocks == [event for event in received if event["type"] not in OTHERS]
        (end,) = [event for event in received if event["type"] == "message_delta"]
        reasons = [event["delta"].get("stop_reason") for event in sent if event["type"] == "message_delta"]
        assert (reasons or [None])[-1] == end["delta"]["stop_reason"] or not reasons
        assert {"type": "ping"} == received[1]

    def test_a_body_arrives_as_it_was_sent(self) -> None:
        """Every block, stop reason and detail; ids and models are the gateway's."""
        body = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-4-5",
            "content": BLOCKS,
            "container": {"id": "c", "expires_at": "x"},
            "stop_reason": "refusal",
            "stop_sequence": None,
            "stop_details": {"type": "refusal", "category": "cyber", "explanation": None},
            "context_management": {"applied_edits": []},
            "usage": {
                "input_tokens": 5,
                "cache_read_input_tokens": 40,
                "cache_creation_input_tokens": 30,
                "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 10},
                "output_tokens": 9,
                "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 0},
                "service_tier": "priority",
                "inference_geo": "eu",
                "iterations": [],
            },
        }
        decoder = Anthropic().chat_decoder(self.request(), "application/json")
        events = read(decoder, json.dumps(body).encode())

        message = to_message(steps_of(events), usage_of(events))

        changed = {"id": "msg_1771043112_abcdefghij0123456789", "model": "a/one", "provider": "Acme"}
        usage = message.pop("usage")
        assert {key: value for key, value in body.items() if key != "usage"} | changed == message
        assert body["usage"].items() <= usage.items()
        assert Decimal("0.0012") == usage["cost"]

    def test_a_body_for_a_stream_is_one(self) -> None:
        """Clients read text from deltas only."""
        decoder = Anthropic().chat_decoder(self.request(stream=True), "application/json")
        events = read(decoder, json.dumps({"content": BLOCKS, "stop_reason": "tool_use", "usage": {}}).encode())

        data = to_stream(copied(steps_of(events)))

        assert ["text_delta"] == [e["delta"]["type"] for e in read_events(data) if e.get("index") == 2 and "delta" in e]
        assert BLOCKS == accumulate(read_events(data))["content"]

    @given(st.lists(EVENT_LIKE, max_size=6))
    @settings(suppress_health_check=[HealthCheck.too_slow])
    def test_anything_is_passed_or_refused(self, stream: list[Any]) -> None:
        """Nothing that a provider sends makes the encoders stumble."""
        decoder = Anthropic().chat_decoder(self.request(stream=True), "text/event-stream")
        events = read(decoder, to_named_sse(*stream))

        steps = steps_of(events)
        data = to_stream(copied(steps))

        assert read_events(data)
        assert to_message(copied(steps))["type"] == "message"

    @staticmethod
    def request(**fields: Any) -> ChatRequest:
        return SKIN.parse(json.dumps({"max_tokens": 5, "messages": HELLO, **fields}).encode())


OTHERS = {"message_start", "message_delta", "message_stop", "ping"}
EXTRA: dict[str, dict[str, Any]] = {"text": {"citations": None}, "tool_use": {"caller": {"type": "direct"}}}


def steps_of(events: list[Event]) -> list[Step]:
    """Return the steps of a reply."""
    return [event for event in events if isinstance(event, Step)]


def usage_of(events: list[Event]) -> Usage:
    """Return the last count of a reply."""
    return [event.usage for event in events if isinstance(event, UsageReported)][-1]


class TestReplies:
    """Steps to streams and bodies."""

    @pytest.mark.parametrize("vector", load_vectors("messages", "replies"))
    def test_vector(self, vector: dict[str, Any]) -> None:
        """The events of the blocks, and the message that they make; the body is the same message."""
        steps = [make_step(delta) for delta in vector["steps"]]
        steps.append(make_step({}, finish=vector["finish"], native=vector["native"]))

        events = read_events(to_stream(copied(steps)))

        assert ["message_start", "ping"] == [event["type"] for event in events[:2]]
        assert ["message_delta", "message_stop"] == [event["type"] for event in events[-2:]]
        assert vector["events"] == [word for event in events if (word := short(event))]
        message = accumulate(events)
        assert vector["message"] == {key: message[key] for key in vector["message"]}
        assert message == to_message(copied(steps))

    def test_the_message_around(self) -> None:
        """Its id holds the generation's; model and provider are those that served."""
        message = to_message([make_step({"content": "x"}), make_step({}, finish="stop", service_tier="flex")])

        assert {
            "id": "msg_1771043112_abcdefghij0123456789",
            "type": "message",
            "role": "assistant",
            "model": "a/one",
            "provider": "Acme",
            "container": None,
            "stop_reason": "end_turn",
            "stop_details": None,
            "stop_sequence": None,
            "content": [{"type": "text", "text": "x", "citations": None}],
            "usage": {
                "input_tokens": 30,
                "output_tokens": 20,
                "output_tokens_details": {"thinking_tokens": 7},
                "cache_creation_input_tokens": 30,
                "cache_read_input_tokens": 40,
                "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 10},
                "inference_geo": None,
                "server_tool_use": None,
                "service_tier": "flex",
                "cost": Decimal("0.0012"),
                "is_byok": False,
                "cost_details": {
                    "upstream_inference_cost": None,
                    "upstream_inference_prompt_cost": Decimal("0.001"),
                    "upstream_inference_completions_cost": Decimal("0.0002"),
                },
            },
        } == message

    def test_the_usual_tier_is_called_standard(self) -> None:
        """OpenRouter's name for it on this skin."""
        for tier in ({}, {"service_tier": "default"}):
            assert "standard" == to_message([make_step({}, finish="stop", **tier)])["usage"]["service_tier"]

    def test_the_first_event_has_all_keys(self) -> None:
        """Strict clients want them before anything is known."""
        message = read_events(to_stream([make_step({}, finish="stop")]))[0]["message"]

        assert MESSAGE_KEYS <= message.keys()
        assert USAGE_KEYS == message["usage"].keys()
        assert (0, 0) == (message["usage"]["input_tokens"], message["usage"]["output_tokens"])

    def test_the_routers_metadata(self) -> None:
        """For those who asked: in a stream on its last event."""
        steps = [make_step({"content": "x"}, finish="stop")]

        *_, last = read_events(to_stream(copied(steps), metadata={"attempt": 1}))

        assert {"type": "message_stop", "openrouter_metadata": {"attempt": 1}} == last
        assert {"attempt": 1} == to_message(steps, metadata={"attempt": 1})["openrouter_metadata"]
        for body in (
            SKIN.encode_error_body(BadRequest("x"), None, {"attempt": 0}),
            StreamEncoder(HEAD).encode_error(BadRequest("x"), {"attempt": 0}).partition(b"data: ")[2],
        ):
            assert {"attempt": 0} == json.loads(body)["openrouter_metadata"]

    def test_other_choices_are_not_mixed_in(self) -> None:
        """The dialect has one answer."""
        step = make_step({"content": "a"})
        step.chunk["choices"].append({"index": 1, "delta": {"content": "b"}, "finish_reason": "stop"})

        assert "a" == to_message([step])["content"][0]["text"]

    def test_what_comes_while_nothing_arrives(self) -> None:
        """A ping is what Anthropic's clients know."""
        assert b'event: ping\ndata: {"type":"ping"}\n\n' == SKIN.comment

    def test_a_foreign_models_reasoning_comes_back_whole(self) -> None:
        """Out as a message, in as a request: the details are those that the provider sent."""
        details = [
            {"type": "reasoning.summary", "summary": "Sum.", "id": "rs_1", "format": "openai-responses-v1", "index": 0},
            {"type": "reasoning.encrypted", "data": "x", "id": "rs_1", "format": "openai-responses-v1", "index": 1},
            {"type": "reasoning.text", "text": "T", "signature": "s", "format": "google-gemini-v1", "index": 2},
            {"type": "reasoning.server_tool_call", "tool_name": "n", "arguments": "{}", "result": "r", "index": 3},
        ]
        message = to_message([make_step({"reasoning_details": details}), make_step({"content": "x"}, finish="stop")])
        body = {"messages": [*HELLO, {"role": "assistant", "content": message["content"]}]}

        back = json.loads(bytes(SKIN.parse(json.dumps(body).encode()).fields["messages"]))[1]

        assert ("x", details) == (back["content"], back["reasoning_details"])

    @pytest.mark.parametrize("streamed", [True, False])
    @pytest.mark.parametrize("form", ["google-gemini-v1", "anthropic-claude-v1", None])
    def test_a_signature_without_the_format_of_its_block(self, form: str | None, streamed: bool) -> None:
        """Fragments are one detail by type and index, wherever in them it says whose it is."""
        said: dict[str, Any] = {} if form is None else {"format": form}
        first: dict[str, Any] = {"type": "reasoning.text", "text": "T", "index": 0}
        last = {"type": "reasoning.text", "signature": "s", "index": 0}
        for fragments in ([first | said, last], [first, last | said]):
            steps = [make_step({"reasoning_details": [fragment]}) for fragment in fragments]
            steps += [make_step({"content": "x"}, finish="stop")]
            message = accumulate(read_events(to_stream(steps))) if streamed else to_message(steps)
            body = {"messages": [*HELLO, {"role": "assistant", "content": message["content"]}]}

            back = json.loads(bytes(SKIN.parse(json.dumps(body).encode()).fields["messages"]))[1]

            assert [first | last | {"format": form or "anthropic-claude-v1"}] == back["reasoning_details"]

    def test_details_of_two_kinds_with_one_index(self) -> None:
        """They are two blocks, each with its own format; what comes back to one is of its format still."""
        details = [
            {"type": "reasoning.summary", "summary": "Sum.", "format": "openai-responses-v1", "index": 0},
            {"type": "reasoning.text", "text": "T", "format": "google-gemini-v1", "index": 0},
            {"type": "reasoning.summary", "summary": "More.", "index": 0},
        ]
        steps = [*(make_step({"reasoning_details": [detail]}) for detail in details), make_step({}, finish="stop")]
        body = {"messages": [*HELLO, {"role": "assistant", "content": to_message(steps)["content"]}]}

        back = json.loads(bytes(SKIN.parse(json.dumps(body).encode()).fields["messages"]))[1]["reasoning_details"]

        assert ["Sum.", "T", "More."] == [detail.get("summary") or detail.get("text") for detail in back]
        assert ["openai-responses-v1", "google-gemini-v1"] == [detail["format"] for detail in back[:2]]
        assert "openai-responses-v1" == back[2]["format"]

    def test_the_openai_protocols_steps(self) -> None:
        """What another protocol decodes is a valid stream here."""
        chunks = [
            {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
            for delta, finish in (
                ({"role": "assistant", "content": None}, None),
                ({"content": "Hi"}, None),
                (
                    {
                        "tool_calls": [
                            {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                        ]
                    },
                    None,
                ),
                ({}, "tool_calls"),
            )
        ]
        decoder = OpenAI().chat_decoder(self.parse(stream=True), "text/event-stream")
        events = read(
            decoder,
            b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n",
        )

        message = accumulate(read_events(to_stream(steps_of(events))))

        assert (["text", "tool_use"], "tool_use") == (
            [block["type"] for block in message["content"]],
            message["stop_reason"],
        )

    def test_another_protocol_gets_the_hubs_request(self) -> None:
        """Nothing of Anthropic's reaches an OpenAI-style server."""
        request = SKIN.parse(json.dumps(FULL | {"tools": FULL["tools"][:1]}).encode())

        sent = json.loads(OpenAI().encode_chat(request, make_endpoint()))

        assert {"model", "max_tokens", "messages", "stop", "tools", "tool_choice", "reasoning_effort"} == sent.keys()
        assert ["system", "user", "assistant", "tool"] == [message["role"] for message in sent["messages"]]

    @staticmethod
    def parse(**fields: Any) -> ChatRequest:
        return SKIN.parse(json.dumps({"max_tokens": 5, "messages": HELLO, **fields}).encode())


_PIECES = st.sampled_from(["{", "}", '"a":1', '{"a":1}', "", " ", "x", "[]"])
_DETAILS = st.fixed_dictionaries(
    {"type": st.sampled_from(["reasoning.text", "reasoning.summary", "reasoning.encrypted", "new"])},
    optional={
        "text": st.sampled_from([None, "", "t"]),
        "summary": st.sampled_from(["s"]),
        "data": st.sampled_from(["d", None]),
        "signature": st.sampled_from([None, "", "sig"]),
        "format": st.sampled_from([None, "unknown", "anthropic-claude-v1", "openai-responses-v1"]),
        "index": st.integers(0, 2),
    },
)
_CALLS = st.fixed_dictionaries(
    {
        "index": st.integers(0, 2),
        "function": st.fixed_dictionaries({}, optional={"name": st.sampled_from(["", "f"]), "arguments": _PIECES}),
    },
    optional={"id": st.sampled_from(["", "c.1"])},
)
_DELTAS = st.fixed_dictionaries(
    {},
    optional={
        "content": st.none() | st.sampled_from(["", "a"]) | st.just([{"type": "text", "text": "p"}]),
        "reasoning": st.sampled_from([None, "", "r"]),
        "reasoning_details": st.lists(_DETAILS, max_size=2) | st.just([1]),
        "refusal": st.sampled_from([None, "no"]),
        "annotations": st.lists(
            st.sampled_from(
                [{"type": "url_citation", "url_citation": {"url": "u"}}, {"type": "file"}, {"url_citation": 1}]
            ),
            max_size=2,
        ),
        "tool_calls": st.lists(_CALLS, min_size=1, max_size=3),
        "images": st.just([{}]),
    },
)


@given(st.lists(st.tuples(_DELTAS, st.sampled_from([None, None, "stop", "error"])), max_size=8))
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_any_steps_are_a_valid_stream(pieces: list[tuple[dict[str, Any], str | None]]) -> None:
    """Blocks begin in order, grow while they are open and stop once; the body is the message of the stream."""
    steps = [make_step(delta, finish=finish) for delta, finish in pieces]

    message = accumulate(read_events(to_stream(copied(steps))))
    body = to_message(copied(steps))

    for block, whole in zip(message["content"], body["content"], strict=True):
        if isinstance(block.get("input"), str):  # broken arguments: the body wraps them, a stream cannot
            block["input"] = {"arguments": block["input"]}
        assert block == whole
    assert message["stop_reason"] == body["stop_reason"]


ERRORS: list[tuple[GatewayError, str]] = [
    (BadRequest("x"), "invalid_request_error"),
    (PayloadTooLarge("x"), "invalid_request_error"),
    (Unauthenticated("x"), "authentication_error"),
    (PaymentRequired("x"), "billing_error"),
    (RateLimited("x"), "rate_limit_error"),
    (ModelNotFound("x", requested_models=["a/b"]), "invalid_request_error"),
    (Refused("x", error_type="context_length_exceeded"), "invalid_request_error"),
    (Throttled("x"), "rate_limit_error"),
    (Unavailable("x"), "api_error"),
    (TimedOut("x"), "timeout_error"),
    (InternalError("secret"), "api_error"),
]


class TestErrors:
    """Before output and within it."""

    @pytest.mark.parametrize(("error", "kind"), ERRORS)
    def test_the_kind(self, error: GatewayError, kind: str) -> None:
        """Anthropic's word, beside OpenRouter's own; what is our fault is masked."""
        body = json.loads(SKIN.encode_error_body(error, "gen-1"))

        assert ("error", "gen-1", kind, error.error_type) == (
            body["type"],
            body["request_id"],
            body["error"]["type"],
            body["error"]["error_type"],
        )
        assert "secret" not in json.dumps(body)
        assert ("availability" in body["error"]) is (error.availability is not None)

    def test_before_routing_there_is_no_id(self) -> None:
        """The key is there all the same."""
        assert json.loads(SKIN.encode_error_body(BadRequest("x")))["request_id"] is None

    def test_overloaded(self) -> None:
        """Clients back off for longer."""
        error = Unavailable("x")
        error.error_type = "provider_overloaded"

        assert "overloaded_error" == json.loads(SKIN.encode_error_body(error))["error"]["type"]

    def test_in_the_middle(self) -> None:
        """One event, and nothing after it."""
        encoder, out = StreamEncoder(HEAD), bytearray()
        encoder.encode_step(make_step({"content": "x"}), out)

        *_, last = read_events(bytes(out) + encoder.encode_error(Unavailable("gone")))

        assert {
            "type": "error",
            "error": {"type": "api_error", "message": "gone", "error_type": "provider_unavailable"},
            "request_id": HEAD.id,
        } == last

    def test_a_failure_of_the_provider_keeps_its_words(self) -> None:
        """As an error of its own, not as a success."""
        decoder = Anthropic().chat_decoder(TestReplies.parse(stream=True), "text/event-stream")
        events = read(
            decoder, to_named_sse({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
        )

        assert isinstance(events[-1], Failed)
        (last,) = read_events(StreamEncoder(HEAD).encode_error(events[-1].error))
        assert ("overloaded_error", "Overloaded") == (last["error"]["type"], last["error"]["message"])
