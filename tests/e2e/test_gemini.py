"""A running gateway in front of a server that speaks Google's wire, reached by the built-in row of Google AI Studio."""

from collections.abc import Generator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from pydantic import BaseModel

from fakes.gateway import Gateway, provider_config, running_gateway, text_of
from fakes.gemini_provider import CALL, RESULT, SIGNATURE, TEXT, THOUGHT, FakeGemini, running_gemini
from langchain_openrouter import ChatOpenRouter

BEHAVIOURS = ("answer", "tools", "list", "throttled", "key-refused", "too-long", "blocked", "cut", "error-chunk")
TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]
QUESTION = {"role": "user", "content": "What is the weather in Paris?"}


@pytest.fixture(scope="module")
def upstream() -> Generator[FakeGemini]:
    """The provider."""
    with running_gemini() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(upstream: FakeGemini, tmp_path_factory: pytest.TempPathFactory) -> Generator[Gateway]:
    """A gateway that knows the provider's protocol from its own table."""
    models = {f"fake/{name}": name for name in BEHAVIOURS}
    config = provider_config({"google-ai-studio": upstream.base_url}, models)
    with running_gateway(tmp_path_factory.mktemp("gemini"), config) as running:
        yield running


@pytest.mark.covers("protocols.gemini", "text", "cost", "usage of every bucket")
def test_an_answer(gateway: Gateway, upstream: FakeGemini) -> None:
    """As OpenRouter shows it, counted and priced; the key went in Google's header, the model in the path."""
    answer = gateway.post("fake/answer", temperature=0.5).json()
    (choice,) = answer["choices"]
    assert (TEXT, "stop", "STOP") == (
        choice["message"]["content"],
        choice["finish_reason"],
        choice["native_finish_reason"],
    )
    usage = answer["usage"]
    assert (11, 12, 5) == (
        usage["prompt_tokens"],
        usage["completion_tokens"],
        usage["completion_tokens_details"]["reasoning_tokens"],
    )
    assert usage["cost"] == pytest.approx(11 * 0.000003 + 12 * 0.000015)
    assert "/v1beta/models/answer:generateContent" == upstream.paths[-1]
    assert "sk-google-ai-studio" == upstream.keys[-1]
    turn = {"role": "user", "parts": [{"text": "Say hello."}]}
    assert {"contents": [turn], "generationConfig": {"temperature": 0.5}} == upstream.bodies[-1]


@pytest.mark.parametrize("behaviour", ["answer", "list"])
@pytest.mark.covers("protocols.gemini", "streaming")
def test_a_stream(gateway: Gateway, upstream: FakeGemini, behaviour: str) -> None:
    """The same text in pieces, also from a server that sends a list instead of events."""
    chunks, _ = gateway.stream(f"fake/{behaviour}")
    assert TEXT == text_of(chunks)
    assert f"/v1beta/models/{behaviour}:streamGenerateContent?alt=sse" == upstream.paths[-1]
    reasons = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"] if choice["finish_reason"]]
    assert ["stop"] == reasons
    assert 23 == chunks[-1]["usage"]["total_tokens"]


@pytest.mark.covers("protocols.gemini", "tools", "reasoning replayed over turns")
def test_a_tool_and_its_result(gateway: Gateway, upstream: FakeGemini) -> None:
    """The call's signature comes back in the very part that it came with: the provider refuses it otherwise."""
    first = gateway.post("fake/tools", messages=[QUESTION], tools=TOOLS, reasoning={"effort": "low"}).json()
    message = first["choices"][0]["message"]
    (call,) = message["tool_calls"]
    assert "tool_calls" == first["choices"][0]["finish_reason"]
    assert THOUGHT == message["reasoning"]
    signed = {"type": "reasoning.encrypted", "data": SIGNATURE, "id": call["id"], "format": "google-gemini-v1"}
    assert signed | {"index": 1} == message["reasoning_details"][1]

    result = {"role": "tool", "tool_call_id": call["id"], "content": RESULT}
    second = gateway.post("fake/tools", messages=[QUESTION, message, result], tools=TOOLS).json()

    assert f"It is {RESULT}." == second["choices"][0]["message"]["content"]
    sent = {"functionCall": {**CALL, "id": call["id"]}, "thoughtSignature": SIGNATURE}
    assert [{"text": THOUGHT, "thought": True}, sent] == upstream.bodies[-1]["contents"][1]["parts"]


def test_a_tool_call_without_its_signature(gateway: Gateway) -> None:
    """The provider's refusal, in its own words: the caller's fault."""
    call = {"id": "c", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    messages = [
        QUESTION,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": ""},
    ]
    response = gateway.post("fake/tools", messages=messages)
    assert 400 == response.status_code
    assert "thought_signature" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("behaviour", "status", "error_type"),
    [
        ("throttled", 429, "rate_limit_exceeded"),
        ("key-refused", 502, "provider_unavailable"),
        ("too-long", 400, "context_length_exceeded"),
        ("blocked", 400, "content_policy_violation"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.covers("protocols.gemini", "errors with status")
def test_errors(gateway: Gateway, behaviour: str, status: int, error_type: str, stream: bool) -> None:
    """By whose fault, before anything of an answer; the provider's key is not told."""
    response = gateway.post(f"fake/{behaviour}", stream=stream)
    assert (status, error_type) == (response.status_code, response.json()["error"]["metadata"]["error_type"])
    assert "sk-google-ai-studio" not in response.text
    assert ("17" if behaviour == "throttled" else None) == response.headers.get("retry-after")


@pytest.mark.parametrize("behaviour", ["cut", "error-chunk"])
@pytest.mark.covers("protocols.gemini", "errors within streams")
def test_a_stream_that_breaks(gateway: Gateway, behaviour: str) -> None:
    """The text so far, then an error in the stream: no quiet end."""
    chunks, _ = gateway.stream(f"fake/{behaviour}")
    assert "Hello " == text_of(chunks)
    assert 502 == chunks[-1]["error"]["code"]
    assert "error" == chunks[-1]["choices"][0]["finish_reason"]


class GetWeather(BaseModel):
    """Get the current weather of a city."""

    city: str


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.covers("clients.langchain_openrouter", "tools", "reasoning", "streaming")
def test_two_turns_through_the_client(gateway: Gateway, upstream: FakeGemini, streaming: bool) -> None:
    """ChatOpenRouter brings reasoning details back unchanged, from a whole answer and from a stream."""
    model = ChatOpenRouter(model="fake/tools", base_url=gateway.base_url, reasoning={"effort": "low"})
    bound: Any = model.bind_tools([GetWeather])

    def ask(messages: list[BaseMessage]) -> AIMessage:
        if not streaming:
            return bound.invoke(messages)
        total: AIMessageChunk | None = None
        for chunk in bound.stream(messages):
            total = chunk if total is None else total + chunk
        assert total is not None
        return total

    question = HumanMessage("What is the weather in Paris?")
    first = ask([question])
    (call,) = first.tool_calls
    last = ask([question, first, ToolMessage(RESULT, tool_call_id=call["id"])])

    assert ({"city": "Paris"}, f"It is {RESULT}.") == (call["args"], last.text)
    sent = {"functionCall": {**CALL, "id": call["id"]}, "thoughtSignature": SIGNATURE}
    assert [{"text": THOUGHT, "thought": True}, sent] == upstream.bodies[-1]["contents"][1]["parts"]
