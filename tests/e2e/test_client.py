"""Both packages together: ChatOpenRouter against the running gateway, with its model and with a faulty provider."""

import asyncio
from typing import Any, Literal, cast

import pytest
from langchain.agents import create_agent  # pyright: ignore[reportUnknownVariableType] - langgraph's generics
from langchain.chat_models import init_chat_model
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage
from langchain_core.tools import tool
from pydantic import BaseModel, Field

from fakes.gateway import Gateway
from fakes.provider import TEXT
from langchain_openrouter import BadRequest, ChatOpenRouter, RateLimited, ServerFailed, list_models

MODEL = "local/smollm2-135m-instruct"


class GetWeather(BaseModel):
    """Get the current weather in a given location."""

    location: str = Field(description="The city and state, e.g. San Francisco, CA")


class Movie(BaseModel):
    """A movie with details."""

    title: str = Field(description="The title of the movie")
    year: int = Field(description="The year the movie was released")


@pytest.fixture
def model(embedded: Gateway) -> ChatOpenRouter:
    """The embedded model."""
    return ChatOpenRouter(model=MODEL, base_url=embedded.base_url, temperature=0, max_tokens=60)


@pytest.fixture
def faulty(gateway: Gateway) -> dict[str, ChatOpenRouter]:
    """Models by how their provider behaves."""
    names = ("answer", "cut", "error-chunk", "throttled", "status-400", "status-500")
    return {
        name: ChatOpenRouter(model=f"fake/{name}", base_url=gateway.base_url, max_retries=0, timeout=20)
        for name in names
    }


@pytest.mark.covers("clients.langchain_openrouter", "chat", "usage")
def test_invoke(model: ChatOpenRouter) -> None:
    """An answer with its token counts and with who gave it."""
    message = model.invoke([SystemMessage("You are brief."), HumanMessage("Say hello.")])
    assert message.text
    assert message.usage_metadata is not None
    assert message.usage_metadata["output_tokens"] > 0
    metadata = message.response_metadata
    assert (
        metadata["model_name"],
        metadata["provider"],
        metadata["model_provider"],
    ) == (MODEL, "Local", "openrouter")
    assert metadata["id"].startswith("gen-")
    assert metadata["cost"] == 0


@pytest.mark.covers("clients.langchain_openrouter", "models")
def test_the_list_of_models(embedded: Gateway) -> None:
    """It has the embedded one, which costs nothing."""
    (found,) = [model for model in list_models(base_url=embedded.base_url) if model["id"] == MODEL]
    assert {0} == {found["pricing"].get(part) for part in ("prompt", "completion")}


@pytest.mark.covers("clients.langchain_openrouter", "streaming", "usage")
def test_a_stream_adds_up_to_the_answer(model: ChatOpenRouter) -> None:
    """Same text, same counts, same finish; more than one piece."""
    whole = model.invoke("Say hello.")
    pieces = list(model.stream("Say hello."))
    total = pieces[0]
    for piece in pieces[1:]:
        total += piece
    assert len(pieces) > 3
    assert isinstance(total, AIMessageChunk)
    assert whole.text == total.text
    assert whole.usage_metadata is not None
    assert total.usage_metadata is not None
    for count in ("input_tokens", "output_tokens", "total_tokens"):  # details differ: the second prompt is cached
        assert whole.usage_metadata[count] == total.usage_metadata[count]
    for key in ("model_name", "provider", "finish_reason", "cost", "model_provider"):
        assert whole.response_metadata[key] == total.response_metadata[key]


def test_async_and_batch(model: ChatOpenRouter) -> None:
    """Every way of calling works, several at once."""

    async def main() -> tuple[AIMessage, list[AIMessageChunk], list[AIMessage]]:
        answer = await model.ainvoke("Say hello.")
        pieces = [piece async for piece in model.astream("Say hello.")]
        return answer, pieces, await model.abatch(["Say hello.", "Say goodbye."])

    answer, pieces, batch = asyncio.run(main())
    assert answer.text == "".join(piece.text for piece in pieces)
    assert all(message.text for message in batch)
    assert all(message.text for message in model.batch(["Say hello.", "Say goodbye."]))


@pytest.mark.covers("clients.langchain_openrouter", "tools")
def test_a_tool_is_called_when_the_question_needs_it(model: ChatOpenRouter) -> None:
    """The guide's example as it stands, then its strict and forced forms."""
    question = "what is the weather like in San Francisco"
    for bound in (
        model.bind_tools([GetWeather]),
        model.bind_tools([GetWeather], strict=True),
        model.bind_tools([GetWeather], tool_choice="GetWeather"),
    ):
        (call,) = bound.invoke(question).tool_calls
        assert call["name"] == "GetWeather"
        assert GetWeather.model_validate(call["args"]).location


@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
@pytest.mark.parametrize("strict", [None, True])
@pytest.mark.covers("clients.langchain_openrouter", "structured output")
def test_objects_come_back(
    model: ChatOpenRouter, method: Literal["function_calling", "json_schema"], strict: bool | None
) -> None:
    """A Pydantic object, by either method."""
    structured = model.with_structured_output(Movie, method=method, strict=strict)
    assert isinstance(structured.invoke("Provide details about the movie Inception"), Movie)


@pytest.mark.covers("clients.langchain_openrouter", "tools")
def test_an_agent_ends(embedded: Gateway) -> None:
    """Tool, result, answer: a small model must not loop."""

    @tool
    def get_weather(location: str) -> str:
        """Get the current weather in a given location."""
        return f"Sunny and 75 degrees in {location}."

    model = init_chat_model(f"openrouter:{MODEL}", base_url=embedded.base_url, temperature=0, max_tokens=60)
    agent = cast("Any", create_agent(model=model, tools=[get_weather]))
    question = {"role": "user", "content": "What is the weather like in San Francisco?"}
    result: dict[str, Any] = agent.invoke({"messages": [question]})
    kinds = [message.type for message in result["messages"]]
    assert kinds == ["human", "ai", "tool", "ai"]
    assert result["messages"][-1].text


@pytest.mark.covers("clients.langchain_openrouter", "errors")
def test_errors_are_told_apart(faulty: dict[str, ChatOpenRouter]) -> None:
    """By what the user can do, with the provider's name and hints."""
    assert faulty["answer"].invoke("x").text == TEXT
    with pytest.raises(RateLimited) as throttled:
        faulty["throttled"].invoke("x")
    assert (throttled.value.status, throttled.value.retry_after, throttled.value.provider) == (429, 7, "First")
    with pytest.raises(BadRequest):
        faulty["status-400"].invoke("x")
    with pytest.raises(ServerFailed) as failed:
        faulty["status-500"].invoke("x")
    assert failed.value.generation_id is not None
    assert failed.value.generation_id.startswith("gen-")


@pytest.mark.parametrize("behaviour", ["cut", "error-chunk"])
@pytest.mark.covers("clients.langchain_openrouter", "errors")
def test_a_broken_stream_is_no_answer(faulty: dict[str, ChatOpenRouter], behaviour: str) -> None:
    """The text so far has arrived, then the gateway's word on it is raised, never a quiet end."""
    pieces: list[str] = []
    with pytest.raises(ServerFailed) as broken:
        pieces.extend(piece.text for piece in faulty[behaviour].stream("x"))
    assert "".join(pieces) == "Hello, "
    assert (broken.value.status, broken.value.provider) == (502, "First")
