"""One conversation of two turns, with thoughts and a tool, over every protocol: the caller sees no difference."""

from collections.abc import Generator
from pathlib import Path
from typing import Any, Literal

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from pydantic import BaseModel

from fakes import anthropic_provider, gemini_provider, thinker
from fakes.anthropic_provider import FakeAnthropic, running_anthropic
from fakes.gateway import Gateway, provider_config, running_gateway
from fakes.gemini_provider import FakeGemini, running_gemini
from fakes.provider import FakeProvider
from langchain_openrouter import ChatOpenRouter

LOCAL = "local/smollm2-135m-instruct"
EXPECTED: list[tuple[str, str, str | None, list[tuple[str, Any]]]] = [
    ("human", "What is the weather in Paris?", None, []),
    ("ai", "", "The user wants the weather.", [("get_weather", {"city": "Paris"})]),
    ("tool", "sunny in Paris", None, []),
    ("ai", "It is sunny in Paris.", None, []),
]


class get_weather(BaseModel):  # noqa: N801 - the tool's name
    """Get the current weather of a city."""

    city: Literal["Paris"]


@pytest.fixture
def upstreams(provider: FakeProvider) -> Generator[tuple[FakeProvider, FakeAnthropic, FakeGemini]]:
    """A provider of each protocol."""
    with running_anthropic() as claude, running_gemini() as gemini:
        yield provider, claude, gemini


@pytest.fixture
def gateway(
    tmp_path: Path, upstreams: tuple[FakeProvider, FakeAnthropic, FakeGemini]
) -> Generator[tuple[Gateway, tuple[FakeProvider, FakeAnthropic, FakeGemini]]]:
    """A gateway in front of them."""
    openai, claude, gemini = upstreams
    parts = [
        provider_config({"first": openai.base_url}, {"fake/openai": "thinker"}),
        provider_config({"anthropic": claude.base_url}, {"fake/anthropic": "terse"}),
        provider_config({"google-ai-studio": gemini.base_url}, {"fake/gemini": "gemini-3-tools"}),
    ]
    config = "\n".join(part.replace("[embedded]\nenabled = false\n", "") for part in parts)
    with running_gateway(tmp_path, config) as running:
        yield running, upstreams


def converse(gateway: Gateway, model_id: str, *, stream: bool, **fields: Any) -> list[BaseMessage]:
    """Have the conversation; return its messages."""
    model: Any = ChatOpenRouter(model=model_id, base_url=gateway.base_url, max_retries=0, timeout=60, **fields)
    forced = model.bind_tools([get_weather], tool_choice="get_weather" if model_id == LOCAL else None)

    def ask(runnable: Any) -> AIMessage:
        if not stream:
            return runnable.invoke(messages)
        total: AIMessageChunk | None = None
        for piece in runnable.stream(messages):
            total = piece if total is None else total + piece
        assert total is not None
        return total

    messages: list[BaseMessage] = [HumanMessage("What is the weather in Paris?")]
    called = ask(forced)
    messages += [called, ToolMessage("sunny in Paris", tool_call_id=called.tool_calls[0]["id"])]
    return [*messages, ask(model.bind_tools([get_weather]))]


def shape(message: BaseMessage) -> tuple[str, str, str | None, list[tuple[str, Any]]]:
    """What a conversation consists of, whoever had it."""
    kind = message.type.removeprefix("AIMessageChunk") or "ai"
    calls = [(call["name"], call["args"]) for call in message.tool_calls] if isinstance(message, AIMessage) else []
    return kind, message.text, message.additional_kwargs.get("reasoning_content"), calls


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("protocol", ["openai", "anthropic", "gemini"])
@pytest.mark.covers("protocols.openai", "tools", "reasoning replayed over turns")
@pytest.mark.covers("protocols.anthropic", "tools", "reasoning replayed over turns")
@pytest.mark.covers("protocols.gemini", "tools", "reasoning replayed over turns")
@pytest.mark.covers("clients.langchain_openrouter", "tools", "reasoning", "streaming")
def test_the_same_conversation(
    gateway: tuple[Gateway, tuple[FakeProvider, FakeAnthropic, FakeGemini]], protocol: str, *, stream: bool
) -> None:
    """The same messages in the end, and what a model thought is before it again, to the byte."""
    running, (openai, claude, gemini) = gateway
    messages = converse(running, f"fake/{protocol}", stream=stream, reasoning={"max_tokens": 2000})
    found = [shape(message) for message in messages]
    assert EXPECTED == [*found[:3], (*found[3][:2], None, found[3][3])]
    match protocol:
        case "openai":
            assert thinker.DETAILS == openai.requests[-1]["messages"][1]["reasoning_details"]
        case "anthropic":
            block, _ = claude.requests[-1]["messages"][1]["content"]
            assert {
                "type": "thinking",
                "thinking": anthropic_provider.THOUGHT,
                "signature": anthropic_provider.SIGNATURE,
            } == block
        case _:
            thought, call = gemini.bodies[-1]["contents"][1]["parts"]
            assert {"text": gemini_provider.THOUGHT, "thought": True} == thought
            assert gemini_provider.SIGNATURE == call["thoughtSignature"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.covers("protocols.local", "tools")
@pytest.mark.covers("clients.langchain_openrouter", "tools")
def test_the_embedded_model(
    gateway: tuple[Gateway, tuple[FakeProvider, FakeAnthropic, FakeGemini]], *, stream: bool
) -> None:
    """It does not think, and finds words of its own; the conversation is the same."""
    messages = converse(gateway[0], LOCAL, stream=stream, temperature=0, max_tokens=60)
    found = [shape(message) for message in messages]
    assert [EXPECTED[0], ("ai", "", None, EXPECTED[1][3]), EXPECTED[2]] == found[:3]
    kind, text, _, calls = found[3]
    assert ("ai", True, []) == (kind, bool(text), calls)


@pytest.mark.parametrize("second", ["fake/openai", "fake/anthropic", "fake/gemini", LOCAL])
@pytest.mark.covers("protocols.openai", "reasoning replayed over turns")
@pytest.mark.covers("protocols.anthropic", "reasoning replayed over turns")
@pytest.mark.covers("protocols.gemini", "reasoning replayed over turns")
def test_another_model_goes_on(
    gateway: tuple[Gateway, tuple[FakeProvider, FakeAnthropic, FakeGemini]], second: str
) -> None:
    """Thoughts of one provider do not make another refuse the conversation."""
    running, _ = gateway
    messages = converse(running, "fake/anthropic", stream=False, reasoning={"max_tokens": 2000})[:3]
    model: Any = ChatOpenRouter(model=second, base_url=running.base_url, max_retries=0, timeout=60, max_tokens=2500)
    answer = model.bind_tools([get_weather]).invoke(messages).text
    assert answer
    if second == "fake/openai":
        assert "not my thoughts" in answer, "what another model thought is passed on, not hidden"
