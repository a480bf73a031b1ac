"""What an agent written with `pydantic-ai` needs of the gateway, over each of the APIs that it can speak."""
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
# The client is installed in this script's own environment only, so the type checker cannot see it.

import openai
from pydantic import BaseModel
from pydantic_ai import Agent, Embedder, NativeOutput, ToolOutput, exceptions
from pydantic_ai.embeddings.openai import OpenAIEmbeddingModel
from pydantic_ai.messages import ThinkingPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.models.openrouter import OpenRouterModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.providers.openrouter import OpenRouterProvider

COVERS = {
    "openrouter": ["chat", "streaming", "tools", "structured output", "usage"],
    "openrouter_thinking": ["reasoning", "tools", "streaming"],
    "openai": ["chat", "streaming", "tools", "structured output", "usage", "embeddings"],
    "responses": ["responses", "streaming", "tools", "structured output", "usage"],
    "responses_thinking": ["responses", "reasoning", "tools"],
    "anthropic": ["messages", "streaming", "tools", "structured output", "usage"],
    "anthropic_thinking": ["messages", "reasoning", "tools", "streaming"],
    "errors": ["errors"],
}
"""What each case shows, for docs/gateway/support.md. The package takes seconds to import, so cases are few."""

MODEL = "local/smollm2-135m-instruct"
CLAUDE = "fake/claude"
HELLO = "Say hello."
WEATHER = "What is the weather in Paris?"
WHO = "Ada is 36 years old. Who is it?"
SHORT = {"temperature": 0, "max_tokens": 8}
ROOMY = {"temperature": 0, "max_tokens": 80}
THINKING = {"thinking": "high", "max_tokens": 8000}


class Person(BaseModel):
    """A person."""

    name: str
    age: int


def get_weather(city: str) -> str:
    """Get the weather of a city."""
    return f"Sunny in {city}, 21 degrees."


def sdk(base_url):
    return openai.AsyncOpenAI(base_url=base_url, api_key="not-checked", max_retries=0, timeout=50)


def over_openrouter(base_url, model=MODEL):
    """The provider's address is fixed, as the package's client for another one is how to reach it."""
    return OpenRouterModel(model, provider=OpenRouterProvider(openai_client=sdk(base_url)))


def over_openai(base_url, model=MODEL):
    return OpenAIChatModel(model, provider=OpenAIProvider(openai_client=sdk(base_url)))


def over_responses(base_url, model=MODEL):
    return OpenAIResponsesModel(model, provider=OpenAIProvider(openai_client=sdk(base_url)))


def over_anthropic(base_url, model=MODEL):
    import anthropic  # takes as long to import as all the rest
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    client = anthropic.AsyncAnthropic(
        base_url=base_url.removesuffix("/v1"), api_key="not-checked", max_retries=0, timeout=50
    )
    return AnthropicModel(model, provider=AnthropicProvider(anthropic_client=client))


def check_usage(usage, *, at_most):
    assert type(usage.input_tokens) is int
    assert type(usage.output_tokens) is int
    assert usage.input_tokens > 5
    assert 0 < usage.output_tokens <= at_most


async def check_chat(model):
    """Return the answer's message."""
    result = await Agent(model, instructions="Be brief.").run(HELLO, model_settings=SHORT)
    assert result.output.strip()
    check_usage(result.usage, at_most=8)
    message = result.all_messages()[-1]
    assert message.model_name == MODEL
    assert message.finish_reason == "length"
    assert message.provider_response_id
    return message


async def check_stream(model):
    """Return the answer's message."""
    async with Agent(model).run_stream(HELLO, model_settings=SHORT) as result:
        pieces = [piece async for piece in result.stream_text(delta=True, debounce_by=None)]
        whole = await result.get_output()
    assert len(pieces) > 1
    assert whole == "".join(pieces)
    check_usage(result.usage, at_most=8)
    return result.all_messages()[-1]


def parts_of(result, kind):
    return [part for message in result.all_messages() for part in message.parts if isinstance(part, kind)]


async def check_tools(model, settings=ROOMY):
    """The tool is called, its result sent back, and the run ends with an answer to it."""
    result = await Agent(model, tools=[get_weather]).run(WEATHER, model_settings=settings)
    calls, returns = parts_of(result, ToolCallPart), parts_of(result, ToolReturnPart)
    assert calls
    assert {call.tool_name for call in calls} == {"get_weather"}
    assert all(isinstance(call.args_as_dict()["city"], str) for call in calls)
    assert [call.tool_call_id for call in calls] == [each.tool_call_id for each in returns]
    assert result.usage.requests == 2
    assert result.output.strip()
    return result


async def check_output(model, *kinds):
    for kind in kinds:
        result = await Agent(model, output_type=kind(Person)).run(WHO, model_settings=ROOMY)
        assert isinstance(result.output, Person)
        assert result.output.name


def check_thoughts(result):
    """What was thought came with its signature, and the strict provider took both back in the second turn."""
    thought = parts_of(result, ThinkingPart)[0]
    assert thought.content
    return thought


async def check_thinking_stream(model, settings):
    async with Agent(model, tools=[get_weather]).run_stream(WEATHER, model_settings=settings) as result:
        assert (await result.get_output()).strip()
    assert parts_of(result, ToolCallPart)
    return check_thoughts(result)


async def error_of(kind, model):
    """Return the error of this type, or one of these, that a run ends with."""
    try:
        await Agent(model).run(HELLO, model_settings=SHORT)
    except kind as error:
        return error
    raise AssertionError(f"no {kind}")


async def check_errors(connect):
    """Whose fault it is, by the package's own types."""
    unknown = await error_of(exceptions.ModelHTTPError, connect("acme/unknown"))
    assert unknown.status_code == 400
    assert "acme/unknown is not a valid model ID" in str(unknown.body)
    throttled = await error_of(exceptions.ModelRateLimitError, connect("fake/status-429"))
    assert throttled.status_code == 429
    kinds = exceptions.ModelUnavailableError, exceptions.ModelOverloadedError
    overloaded = await error_of(kinds, connect("fake/status-529"))
    assert overloaded.status_code == 503


async def case_openrouter(base_url):
    """A whole answer and every chunk pass the package's own schema of OpenRouter's; tools are called and answered."""
    message = await check_chat(over_openrouter(base_url))
    assert message.provider_details["downstream_provider"] == "Local"
    assert message.provider_details["finish_reason"] == "length"
    assert message.provider_response_id.startswith("gen-")
    streamed = await check_stream(over_openrouter(base_url))
    assert streamed.finish_reason == "length"
    assert streamed.provider_details["downstream_provider"] == "Local"
    await check_tools(over_openrouter(base_url))
    await check_output(over_openrouter(base_url), ToolOutput)


async def case_openrouter_thinking(base_url):
    """Reasoning details go back as they came, whole or in pieces."""
    model = over_openrouter(base_url, CLAUDE)
    thoughts = check_thoughts(await check_tools(model, THINKING)), await check_thinking_stream(model, THINKING)
    assert all(thought.signature for thought in thoughts)


async def case_openai(base_url):
    """The same over the model class for OpenAI's own service; an object by a schema, too; and vectors."""
    await check_chat(over_openai(base_url))
    await check_stream(over_openai(base_url))
    await check_tools(over_openai(base_url))
    await check_output(over_openai(base_url), NativeOutput, ToolOutput)
    model = OpenAIEmbeddingModel(MODEL, provider=OpenAIProvider(openai_client=sdk(base_url)))
    result = await Embedder(model).embed_documents(["The cat sat on the mat.", "Stock markets fell."])
    assert [len(vector) for vector in result.embeddings] == [576, 576]
    assert result.usage.input_tokens > 5


async def case_responses(base_url):
    """Over the Responses API: items of calls and results, and a text's format."""
    message = await check_chat(over_responses(base_url))
    assert message.provider_response_id.startswith("resp_")
    await check_stream(over_responses(base_url))
    await check_tools(over_responses(base_url))
    await check_output(over_responses(base_url), NativeOutput, ToolOutput)


async def case_responses_thinking(base_url):
    """Items of reasoning go back as they came, signatures included, or the strict provider would refuse them."""
    settings = {"max_tokens": 8000, "openai_reasoning_effort": "high", "openai_send_reasoning_ids": True}
    result = await check_tools(over_responses(base_url, CLAUDE), settings)
    assert parts_of(result, ThinkingPart)[0].provider_details["raw_content"] == ["The user wants the weather."]


async def case_anthropic(base_url):
    """Over Anthropic's API: blocks of calls and results; an object by a tool that has to be called."""
    message = await check_chat(over_anthropic(base_url))
    assert message.provider_response_id.startswith("msg_")
    await check_stream(over_anthropic(base_url))
    await check_tools(over_anthropic(base_url))
    await check_output(over_anthropic(base_url), ToolOutput)


async def case_anthropic_thinking(base_url):
    """Signed thinking goes back as it came, whole or in pieces."""
    settings = {"anthropic_thinking": {"type": "enabled", "budget_tokens": 2000}, "max_tokens": 4000}
    model = over_anthropic(base_url, CLAUDE)
    thoughts = check_thoughts(await check_tools(model, settings)), await check_thinking_stream(model, settings)
    assert all(thought.signature for thought in thoughts)


async def case_errors(base_url):
    """They are typed in every API, and in a stream behind some text."""
    for connect in (over_openrouter, over_openai, over_responses, over_anthropic):
        await check_errors(lambda model, connect=connect: connect(base_url, model))
    told = None
    try:
        async with Agent(over_openrouter(base_url, "fake/overloaded")).run_stream(HELLO) as result:
            await result.get_output()
    except exceptions.ModelHTTPError as error:
        told = error
    assert told is not None
    assert told.status_code == 502
    assert "verloaded" in str(told.body)
