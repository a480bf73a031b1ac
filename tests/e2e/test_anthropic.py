"""Anthropic's dialect behind the gateway, in front of it, and on both sides: real processes and a strict fake."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from fakes.anthropic_provider import (
    ANSWER,
    CALL_ID,
    CITATION,
    GREETING,
    REDACTED,
    SIGNATURE,
    THOUGHT,
    FakeAnthropic,
    running_anthropic,
)
from fakes.gateway import Gateway, chunks_of, running_gateway, text_of
from fakes.provider import TEXT, FakeProvider, running_provider

SONNET: Final = "anthropic/claude-sonnet-4.5"
BEHAVIOURS: Final = ("status:400", "status:429", "status:529", "slow", "overloaded", "cut", "cited", "refusal")
PARAMETERS: Final = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL: Final = {"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}
QUESTION: Final[dict[str, Any]] = {"role": "user", "content": "What is the weather in Paris?"}
MESSAGES_TOOL: Final[dict[str, Any]] = {"name": "get_weather", "input_schema": PARAMETERS}


@pytest.fixture(scope="module")
def provider() -> Generator[FakeAnthropic]:
    """A provider of the dialect."""
    with running_anthropic() as running:
        yield running


@pytest.fixture(scope="module")
def openai() -> Generator[FakeProvider]:
    """A provider of another one."""
    with running_provider() as running:
        yield running


def claude_config(provider: FakeAnthropic) -> str:
    """Return the provider's table."""
    return (
        f'[providers.claude]\nname = "Claude"\nprotocol = "anthropic"\n'
        f'base_url = "{provider.base_url}"\napi_key = "sk-c"\n'
    )


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, provider: FakeAnthropic, openai: FakeProvider
) -> Generator[Gateway]:
    """A gateway in front of both; the model `fake/<behaviour>` does what its name says."""
    parts = [
        "[embedded]\nenabled = false\n[server]\ncomment_interval_s = 0.3\n",
        claude_config(provider),
        f'[providers.first]\nname = "First"\nbase_url = "{openai.base_url}"\napi_key = "sk-first"\n',
    ]
    names = {f"fake/{name.replace(':', '-')}": name for name in BEHAVIOURS}
    names |= {SONNET: "claude-sonnet-4-5", "fake/redacted": "redacted"}
    prices = 'prompt = "0.000003", completion = "0.000015", input_cache_read = "0.0000003"'
    prices += ', input_cache_write = "0.00000375", input_cache_write_1h = "0.000006"'
    for model, upstream in names.items():
        parts.append(
            f'[[providers.claude.models]]\nid = "{model}"\nupstream_id = "{upstream}"\npricing = {{ {prices} }}'
        )
    parts += [
        f'[[providers.first.models]]\nid = "fake/{name}"\nupstream_id = "{name}"' for name in ("answer", "error-chunk")
    ]
    with running_gateway(tmp_path_factory.mktemp("anthropic"), "\n".join(parts)) as running:
        yield running


def ask(gateway: Gateway, body: dict[str, Any], **headers: str) -> httpx2.Response:
    """Send a request in Anthropic's dialect, as its clients do it."""
    body = {"max_tokens": 4000, **body}
    return httpx2.post(f"{gateway.base_url}/messages", json=body, headers={"x-api-key": "k", **headers}, timeout=60)


def events_of(response: httpx2.Response) -> list[dict[str, Any]]:
    """Return the events of a stream."""
    assert response.headers["content-type"].startswith("text/event-stream"), response.text
    blocks = response.text.split("\n\n")[:-1]
    events = [json.loads(block.partition("\ndata: ")[2]) for block in blocks]
    assert [f"event: {event['type']}" for event in events] == [block.partition("\n")[0] for block in blocks]
    return events


def message_of(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the message that a stream brings: see the reader of the unit tests for every rule of it."""
    content: list[dict[str, Any]] = []
    events = [event for event in events if event["type"] != "ping"]
    for event in events:
        match event["type"]:
            case "content_block_start":
                assert len(content) == event["index"]
                content.append(event["content_block"])
            case "content_block_delta":
                grow(content[int(event["index"])], event["delta"])
            case _:
                pass
    for block in content:
        if "json" in block:
            block["input"] = json.loads(block.pop("json"))
    (end,) = [event for event in events if event["type"] == "message_delta"]
    return events[0]["message"] | end["delta"] | {"content": content, "usage": end["usage"]}


def grow(block: dict[str, Any], delta: dict[str, Any]) -> None:
    """Add a delta to its block."""
    if "partial_json" in delta:
        block["json"] = block.get("json", "") + delta["partial_json"]
    elif "citation" in delta:
        block["citations"] = [*(block["citations"] or ()), delta["citation"]]
    else:
        key = delta["type"].removesuffix("_delta")
        block[key] += delta[key]


class TestChat:
    """Chat completions, served by the provider of the other dialect."""

    @pytest.mark.covers("protocols.anthropic", "cost", "usage of every bucket", "finish reasons", "system messages")
    def test_an_answer(self, gateway: Gateway, provider: FakeAnthropic) -> None:
        """Text, reasons in both vocabularies, every bucket of tokens, and its exact price."""
        response = gateway.post(
            SONNET, messages=[{"role": "system", "content": "Be brief."}, QUESTION], temperature=0.5
        )

        body = response.json()
        assert (SONNET, "Claude") == (body["model"], body["provider"])
        (choice,) = body["choices"]
        assert (GREETING, "stop", "end_turn") == (
            choice["message"]["content"],
            choice["finish_reason"],
            choice["native_finish_reason"],
        )
        usage = body["usage"]
        assert (170, 12, 182) == (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"])
        assert (100, 50) == tuple(
            usage["prompt_tokens_details"][key] for key in ("cached_tokens", "cache_write_tokens")
        )
        assert 4 == usage["completion_tokens_details"]["reasoning_tokens"]
        expected = 20 * 3e-6 + 100 * 3e-7 + 30 * 3.75e-6 + 20 * 6e-6 + 12 * 1.5e-5
        assert expected == pytest.approx(usage["cost"], abs=1e-12)
        sent, headers = provider.requests[-1], provider.headers[-1]
        assert ([{"type": "text", "text": "Be brief."}], 0.5, 4096) == (
            sent["system"],
            sent["temperature"],
            sent["max_tokens"],
        )
        assert ("sk-c", "2023-06-01") == (headers["x-api-key"], headers["anthropic-version"])
        assert not {"authorization", "anthropic-beta"} & headers.keys()

    @pytest.mark.covers("protocols.anthropic", "streaming")
    def test_a_stream(self, gateway: Gateway) -> None:
        """The same text, in pieces, and the usage once."""
        chunks, _ = gateway.stream(SONNET)

        assert GREETING == text_of(chunks)
        assert [170] == [chunk["usage"]["prompt_tokens"] for chunk in chunks if "usage" in chunk]

    def test_features_are_passed_on(self, gateway: Gateway, provider: FakeAnthropic) -> None:
        """In OpenRouter's header, under Anthropic's name."""
        beta = "interleaved-thinking-2025-05-14"
        httpx2.post(
            f"{gateway.base_url}/chat/completions",
            json={"model": SONNET, "messages": [QUESTION]},
            headers={"x-anthropic-beta": beta},
            timeout=20,
        )

        assert beta == provider.headers[-1]["anthropic-beta"]

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("model", [SONNET, "fake/redacted"])
    @pytest.mark.covers("protocols.anthropic", "reasoning replayed over turns", "tools")
    def test_a_loop_of_tools_with_reasoning(
        self, gateway: Gateway, provider: FakeAnthropic, model: str, *, stream: bool
    ) -> None:
        """What Claude thought goes back to it unchanged, or the strict provider would refuse the second turn."""
        fields: dict[str, Any] = {"tools": [TOOL], "reasoning": {"max_tokens": 2000}, "stream": stream}

        message = turn_of(gateway, model, messages=[QUESTION], **fields)

        (call,) = message["tool_calls"]
        assert (CALL_ID, "get_weather", {"city": "Paris"}) == (
            call["id"],
            call["function"]["name"],
            json.loads(call["function"]["arguments"]),
        )
        assert THOUGHT == message["reasoning"]
        result = {"role": "tool", "tool_call_id": call["id"], "content": "Sunny, 21 degrees."}
        answer = turn_of(gateway, model, messages=[QUESTION, message, result], **fields)
        assert ANSWER == answer["content"]
        thoughts = [{"type": "thinking", "thinking": THOUGHT, "signature": SIGNATURE}]
        thoughts += [{"type": "redacted_thinking", "data": REDACTED}] if "redacted" in model else []
        assert [*thoughts, {"type": "text", "text": "Let me look."}] == provider.requests[-1]["messages"][1]["content"][
            :-1
        ]

    @pytest.mark.covers("protocols.anthropic", "citations")
    def test_citations_are_annotations(self, gateway: Gateway) -> None:
        """Of the text that they are about; the search itself is the provider's matter."""
        message = gateway.post("fake/cited").json()["choices"][0]["message"]

        cited = {
            "url": CITATION["url"],
            "title": "Weather",
            "content": "Sunny.",
            "start_index": 0,
            "end_index": len(ANSWER),
        }
        assert [{"type": "url_citation", "url_citation": cited}] == message["annotations"]
        assert ANSWER == message["content"]

    @pytest.mark.covers("protocols.anthropic", "refusals and safety blocks")
    def test_a_refusal(self, gateway: Gateway) -> None:
        """It is a filter's doing."""
        (choice,) = gateway.post("fake/refusal").json()["choices"]

        assert ("content_filter", "refusal") == (choice["finish_reason"], choice["native_finish_reason"])

    @pytest.mark.parametrize(
        ("behaviour", "expected"),
        [
            ("status-400", (400, "invalid_request")),
            ("status-429", (429, "rate_limit_exceeded")),
            ("status-529", (503, "provider_overloaded")),
        ],
    )
    @pytest.mark.covers("protocols.anthropic", "errors with status")
    def test_errors_before_output(self, gateway: Gateway, behaviour: str, expected: tuple[int, str]) -> None:
        """Typed, with the provider's own code and the id under which it knows the request."""
        response = gateway.post(f"fake/{behaviour}")

        metadata = response.json()["error"]["metadata"]
        assert expected == (response.status_code, metadata["error_type"])
        assert ("req_fake", "Claude") == (metadata["provider_request_id"], metadata["provider_name"])

    @pytest.mark.parametrize(
        ("behaviour", "kind"), [("overloaded", "provider_overloaded"), ("cut", "provider_unavailable")]
    )
    @pytest.mark.covers("protocols.anthropic", "errors within streams")
    def test_errors_within_output(self, gateway: Gateway, behaviour: str, kind: str) -> None:
        """The text that had come is given out, and the error behind it."""
        chunks, _ = gateway.stream(f"fake/{behaviour}")

        assert "Hello from" == text_of(chunks)
        assert kind == chunks[-1]["error"]["metadata"]["error_type"]

    @pytest.mark.covers("protocols.anthropic", "audio in")
    def test_a_part_that_the_api_lacks(self, gateway: Gateway) -> None:
        """Named, before anything is sent."""
        content = [{"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}]
        response = gateway.post(SONNET, messages=[{"role": "user", "content": content}])

        assert 400 == response.status_code
        assert "messages[0].content[0]" in response.json()["error"]["message"]


def turn_of(gateway: Gateway, model: str, *, stream: bool, **fields: Any) -> dict[str, Any]:
    """Return the assistant's message, joined from its chunks where it is streamed, as clients keep it."""
    if not stream:
        return gateway.post(model, **fields).json()["choices"][0]["message"]
    chunks, _ = gateway.stream(model, **fields)
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    message: dict[str, Any] = {"role": "assistant", "content": text_of(chunks)}
    message["reasoning"] = "".join(delta.get("reasoning") or "" for delta in deltas)
    message["reasoning_details"] = [detail for delta in deltas for detail in delta.get("reasoning_details", ())]
    pieces = [piece for delta in deltas for piece in delta.get("tool_calls", ())]
    if pieces:
        arguments = "".join(piece["function"].get("arguments", "") for piece in pieces)
        message["tool_calls"] = [pieces[0] | {"function": pieces[0]["function"] | {"arguments": arguments}}]
    return message


class TestMessages:
    """Anthropic's dialect from the caller to the provider."""

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_loop_of_tools_with_reasoning(self, gateway: Gateway, provider: FakeAnthropic, *, stream: bool) -> None:
        """Blocks come as the provider sent them, and go back as the caller does; so do breakpoints."""
        mark = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
        body: dict[str, Any] = {
            "model": "fake/redacted",
            "system": [{"type": "text", "text": "Be brief.", **mark}],
            "messages": [QUESTION],
            "tools": [MESSAGES_TOOL | mark],
            "thinking": {"type": "enabled", "budget_tokens": 2000},
            "metadata": {"user_id": "ada"},
            "stream": stream,
        }

        first = ask(gateway, body)
        message = message_of(events_of(first)) if stream else first.json()

        assert [
            {"type": "thinking", "thinking": THOUGHT, "signature": SIGNATURE},
            {"type": "redacted_thinking", "data": REDACTED},
            {"type": "text", "text": "Let me look.", "citations": None},
            {
                "type": "tool_use",
                "id": CALL_ID,
                "name": "get_weather",
                "input": {"city": "Paris"},
                "caller": {"type": "direct"},
            },
        ] == message["content"]
        assert ("tool_use", 20, 100, 50) == (
            message["stop_reason"],
            *(
                message["usage"][key]
                for key in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
            ),
        )
        assert message["usage"]["cost"] > 0
        result = {"type": "tool_result", "tool_use_id": CALL_ID, "content": [{"type": "text", "text": "Sunny."}]}
        turns = [QUESTION, {"role": "assistant", "content": message["content"]}, {"role": "user", "content": [result]}]
        second = ask(gateway, body | {"messages": turns})
        answer = message_of(events_of(second)) if stream else second.json()
        assert ANSWER == answer["content"][-1]["text"]
        sent = provider.requests[-1]
        assert (turns, body["system"], body["tools"], body["thinking"]) == tuple(
            sent[key] for key in ("messages", "system", "tools", "thinking")
        )
        assert "ada" != sent["metadata"]["user_id"]

    def test_blocks_that_the_hub_does_not_know(self, gateway: Gateway) -> None:
        """A search of the provider's own, with its citation."""
        events = events_of(ask(gateway, {"model": "fake/cited", "messages": [QUESTION], "stream": True}))

        message = message_of(events)
        assert ["server_tool_use", "web_search_tool_result", "text"] == [block["type"] for block in message["content"]]
        assert [CITATION] == message["content"][2]["citations"]
        assert message["content"] == ask(gateway, {"model": "fake/cited", "messages": [QUESTION]}).json()["content"]

    def test_the_callers_features_and_key(self, gateway: Gateway, provider: FakeAnthropic) -> None:
        """The header has the name that Anthropic's clients use; the caller's key stays here."""
        response = ask(gateway, {"model": SONNET, "messages": [QUESTION]}, **{"anthropic-beta": "a-1,b-2"})

        assert (GREETING, SONNET) == (response.json()["content"][0]["text"], response.json()["model"])
        assert ("a-1,b-2", "sk-c") == (provider.headers[-1]["anthropic-beta"], provider.headers[-1]["x-api-key"])
        assert response.headers["x-generation-id"].removeprefix("gen-").replace("-", "_") in response.json()["id"]

    def test_silence_is_filled_with_pings(self, gateway: Gateway) -> None:
        """What Anthropic's own service sends."""
        events = events_of(ask(gateway, {"model": "fake/slow", "messages": [QUESTION], "stream": True}))

        assert [{"type": "ping"}] * 2 == events[:2]
        assert GREETING == message_of(events)["content"][0]["text"]

    @pytest.mark.parametrize(
        ("behaviour", "expected"),
        [
            ("status-400", (400, "invalid_request_error")),
            ("status-429", (429, "rate_limit_error")),
            ("status-529", (503, "overloaded_error")),
        ],
    )
    def test_errors_before_output(self, gateway: Gateway, behaviour: str, expected: tuple[int, str]) -> None:
        """In Anthropic's shape, with the generation's id."""
        response = ask(gateway, {"model": f"fake/{behaviour}", "messages": [QUESTION], "stream": True})

        body = response.json()
        assert expected == (response.status_code, body["error"]["type"])
        assert response.headers["x-generation-id"] == body["request_id"]

    @pytest.mark.parametrize(("behaviour", "kind"), [("overloaded", "overloaded_error"), ("cut", "api_error")])
    def test_errors_within_output(self, gateway: Gateway, behaviour: str, kind: str) -> None:
        """One event at the end of what had come."""
        events = events_of(ask(gateway, {"model": f"fake/{behaviour}", "messages": [QUESTION], "stream": True}))

        assert ("error", kind) == (events[-1]["type"], events[-1]["error"]["type"])
        assert "Hello from" == "".join(event["delta"]["text"] for event in events if "delta" in event)

    def test_what_is_wrong_with_a_request(self, gateway: Gateway) -> None:
        """Named in the caller's terms, before it is routed."""
        response = ask(gateway, {"model": SONNET, "messages": [{"role": "user", "content": [{"type": "image"}]}]})

        assert 400 == response.status_code
        assert {
            "type": "invalid_request_error",
            "message": "messages[0].content[0].source: Expected `object`",
            "error_type": "invalid_request",
        } == response.json()["error"]
        assert response.json()["request_id"] is None

    def test_unknown_models(self, gateway: Gateway) -> None:
        """Anthropic's shape, with what OpenRouter adds."""
        body = ask(gateway, {"model": "claude-unknown", "messages": [QUESTION]}).json()

        assert ("invalid_request_error", "model_not_found") == (
            body["error"]["type"],
            body["error"]["availability"]["code"],
        )

    def test_fallbacks(self, gateway: Gateway) -> None:
        """Another model answers, and says so."""
        body = {"model": "fake/status-529", "fallbacks": [{"model": SONNET}], "messages": [QUESTION]}

        assert SONNET == ask(gateway, body).json()["model"]

    def test_generations_are_recorded(self, tmp_path: Path, provider: FakeAnthropic) -> None:
        """As those of any other skin, with every bucket."""
        model = f'[[providers.claude.models]]\nid = "{SONNET}"\nupstream_id = "claude-sonnet-4-5"\n'
        config = "[embedded]\nenabled = false\n" + claude_config(provider) + model
        with running_gateway(tmp_path, config) as gateway:
            ask(gateway, {"model": SONNET, "messages": [QUESTION], "stream": True})
            (record,) = gateway.generations(1)
        assert ("finished", "end_turn", 170, 20) == (
            record["ending"],
            record["native_finish_reason"],
            record["usage"]["prompt_tokens"],
            record["usage"]["cache_write_1h_tokens"],
        )


class TestOtherModels:
    """Anthropic's dialect in front of models that are not Claude."""

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_provider_of_the_openai_dialect(self, gateway: Gateway, openai: FakeProvider, *, stream: bool) -> None:
        """The request is translated, and the reply."""
        body = {
            "model": "fake/answer",
            "system": "s",
            "messages": [QUESTION],
            "stop_sequences": ["END"],
            "thinking": {"type": "disabled"},
            "stream": stream,
        }
        response = ask(gateway, body)

        message = message_of(events_of(response)) if stream else response.json()

        assert [{"type": "text", "text": TEXT, "citations": None}] == message["content"]
        assert ("end_turn", 11, 7) == (
            message["stop_reason"],
            message["usage"]["input_tokens"],
            message["usage"]["output_tokens"],
        )
        sent = openai.requests[-1]
        assert [{"role": "system", "content": "s"}, QUESTION] == sent["messages"]
        assert ["END"] == sent["stop"]
        assert not {"system", "thinking", "stop_sequences"} & sent.keys()

    def test_an_error_of_it(self, gateway: Gateway) -> None:
        """In the caller's dialect."""
        events = events_of(ask(gateway, {"model": "fake/error-chunk", "messages": [QUESTION], "stream": True}))

        assert ("error", "api_error") == (events[-1]["type"], events[-1]["error"]["type"])

    def test_the_embedded_model(self, embedded: Gateway) -> None:
        """A real answer, whole and in pieces, and a call of a tool."""
        model = "local/smollm2-135m-instruct"
        body = {
            "model": model,
            "max_tokens": 12,
            "temperature": 0,
            "messages": [{"role": "user", "content": "Say hello."}],
        }

        whole = ask(embedded, body).json()
        streamed = message_of(events_of(ask(embedded, body | {"stream": True})))

        assert whole["content"] == streamed["content"]
        assert whole["content"][0]["text"].strip()
        assert 0 < whole["usage"]["output_tokens"] <= 12
        tools = {"tools": [MESSAGES_TOOL], "tool_choice": {"type": "any"}, "max_tokens": 60, "messages": [QUESTION]}
        called = message_of(events_of(ask(embedded, body | tools | {"stream": True})))
        assert ("tool_use", ["tool_use"]) == (called["stop_reason"], [block["type"] for block in called["content"]])
        assert isinstance(called["content"][0]["input"]["city"], str)


class TestCountTokens:
    """How long a request would be."""

    def test_an_estimate(self, gateway: Gateway) -> None:
        """More text is more tokens; nothing is sent for it."""
        counts = [
            count(gateway, {"model": SONNET, "messages": [{"role": "user", "content": "word " * n}]})
            for n in (10, 1000)
        ]

        assert 10 <= counts[0] < 100
        assert 1000 <= counts[1] < 2000

    def test_errors_have_anthropics_shape(self, gateway: Gateway) -> None:
        """A model that is not there, a request that is none."""
        for body in ({"model": "nobody/knows", "messages": [QUESTION]}, {"model": SONNET}):
            response = httpx2.post(f"{gateway.base_url}/messages/count_tokens", json=body, timeout=20)
            assert (400, "invalid_request_error") == (response.status_code, response.json()["error"]["type"])

    def test_where_it_is(self, gateway: Gateway) -> None:
        """Under every base; other methods are refused."""
        assert 405 == httpx2.get(f"{gateway.root}/v1/messages/count_tokens", timeout=20).status_code


def count(gateway: Gateway, body: dict[str, Any]) -> int:
    """Return the estimate for a request."""
    return httpx2.post(f"{gateway.base_url}/messages/count_tokens", json=body, timeout=20).json()["input_tokens"]


def test_pings_do_not_reach_chat(gateway: Gateway) -> None:
    """Its comments do."""
    _, text = gateway.stream("fake/slow")

    assert ": OPENROUTER PROCESSING" in text
    assert GREETING == text_of(chunks_of(text))
