"""What an application written for the `litellm` package needs of the gateway, by its functions and providers."""
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
# The client is installed in this script's own environment only, so the type checker cannot see it.

import json
import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else importing it asks the network for prices

import litellm
from pydantic import BaseModel

COVERS = {
    "chat": ["chat", "streaming", "structured output", "usage"],
    "tools": ["tools", "streaming"],
    "thinking": ["reasoning", "tools", "streaming"],
    "embeddings": ["embeddings", "models", "usage"],
    "responses": ["responses", "streaming", "tools", "usage"],
    "messages": ["messages", "streaming", "reasoning", "tools", "usage"],
    "errors": ["errors"],
}
"""What each case shows, for docs/gateway/support.md. The package takes seconds to import, so cases are few."""

MODEL = "local/smollm2-135m-instruct"
CLAUDE = "fake/claude"
PREFIXES = ("openrouter/", "openai/")
"""The package's two ways to a server like this one."""
HELLO = [{"role": "user", "content": "Say hello."}]
WEATHER = [{"role": "user", "content": "What is the weather in Paris?"}]
WHO = [{"role": "user", "content": "Ada is 36 years old. Who is it?"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTION = {"name": "get_weather", "description": "Get the weather of a city.", "parameters": SCHEMA}
TOOLS = [{"type": "function", "function": FUNCTION}]
FORCED = {"type": "function", "function": {"name": "get_weather"}}
SUNNY = "Sunny, 21 degrees."

litellm.telemetry = False
litellm.suppress_debug_info = True


class Person(BaseModel):
    """A person."""

    name: str
    age: int


def at(base_url):
    """Where to call, with whose key."""
    return {"api_base": base_url, "api_key": "not-checked", "max_retries": 0, "timeout": 50}


def check_usage(usage, *, at_most):
    for count in (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens):
        assert type(count) is int
    assert usage.prompt_tokens > 5
    assert 0 < usage.completion_tokens <= at_most
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def case_chat(base_url):
    """Text and objects over either of the package's providers."""
    for prefix in PREFIXES:
        check_text(base_url, prefix)
        check_parse(base_url, prefix)


def check_text(base_url, prefix):
    """A whole answer, and pieces that the package's own builder puts together."""
    ask = {"model": prefix + MODEL, "messages": HELLO, "temperature": 0, "max_tokens": 8, **at(base_url)}
    whole = litellm.completion(**ask)
    chunks = list(litellm.completion(**ask, stream=True, stream_options={"include_usage": True}))
    texts = [choice.delta.content for chunk in chunks for choice in chunk.choices if choice.delta.content]
    assert len(texts) > 1
    streamed = litellm.stream_chunk_builder(chunks, messages=HELLO)
    for reply in (whole, streamed):
        (choice,) = reply.choices
        assert choice.message.content == "".join(texts)
        assert choice.finish_reason == "length"
        assert reply.id.startswith("gen-")
        check_usage(reply.usage, at_most=8)


def check_call(call):
    assert call.id
    assert call.function.name == "get_weather"
    assert list(json.loads(call.function.arguments)) == ["city"]


def case_tools(base_url):
    """A forced tool is called with arguments that parse, whole and streamed, and its result can be sent back."""
    for prefix in PREFIXES:
        check_tools(base_url, prefix)


def check_tools(base_url, prefix):
    ask = {"tools": TOOLS, "tool_choice": FORCED, "temperature": 0, "max_tokens": 60}
    message = litellm.completion(prefix + MODEL, WEATHER, **ask, **at(base_url)).choices[0].message
    chunks = list(litellm.completion(prefix + MODEL, WEATHER, **ask, stream=True, **at(base_url)))
    streamed = litellm.stream_chunk_builder(chunks).choices[0].message
    for each in (message, streamed):
        (call,) = each.tool_calls
        check_call(call)
    turns = [*WEATHER, message, {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": SUNNY}]
    answer = litellm.completion(prefix + MODEL, turns, tools=TOOLS, temperature=0, max_tokens=30, **at(base_url))
    assert answer.choices[0].message.content.strip()


def check_parse(base_url, prefix):
    """A pydantic class as the answer's format gives an object of it."""
    ask = {"response_format": Person, "temperature": 0, "max_tokens": 80}
    reply = litellm.completion(prefix + MODEL, WHO, **ask, **at(base_url))
    assert Person.model_validate_json(reply.choices[0].message.content).name


def ask_claude(base_url, messages, *, stream):
    ask = {"tools": TOOLS, "reasoning": {"max_tokens": 2000}, "max_tokens": 4000, "stream": stream}
    reply = litellm.completion("openrouter/" + CLAUDE, messages, **ask, **at(base_url))
    return litellm.stream_chunk_builder(list(reply)) if stream else reply


def case_thinking(base_url):
    """What the package keeps of the first turn's reasoning is what the strict provider wants in the second."""
    for stream in (False, True):
        message = ask_claude(base_url, WEATHER, stream=stream).choices[0].message
        assert message.reasoning_content == "The user wants the weather."
        (call,) = message.tool_calls
        result = {"role": "tool", "tool_call_id": call.id, "content": SUNNY}
        answer = ask_claude(base_url, [*WEATHER, message, result], stream=stream)
        assert answer.choices[0].message.content == "It is sunny in Paris."
        assert answer.usage.completion_tokens_details.reasoning_tokens == 4


def case_embeddings(base_url):
    """Vectors of every text, counted; the list of models has the one that made them."""
    for prefix in PREFIXES:
        texts = ["The cat sat on the mat.", "Stock markets fell."]
        reply = litellm.embedding(prefix + MODEL, texts, encoding_format="float", **at(base_url))
        assert [item["index"] for item in reply.data] == [0, 1]
        assert [len(item["embedding"]) for item in reply.data] == [576, 576]
        assert reply.usage.prompt_tokens == reply.usage.total_tokens > 5
    names = litellm.get_valid_models(
        check_provider_endpoint=True, custom_llm_provider="openai", api_base=base_url, api_key="not-checked"
    )
    assert any(name.removeprefix("openai/") == MODEL for name in names), names


def case_responses(base_url):
    """The Responses API, whole and streamed: the same text; and a call and its result as items."""
    for prefix in PREFIXES:
        ask = {"model": prefix + MODEL, "input": "Say hello.", "temperature": 0, "max_output_tokens": 16}
        whole = litellm.responses(**ask, **at(base_url))
        assert whole.status == "incomplete"
        assert whole.output_text.strip()
        assert 0 < whole.usage.output_tokens <= 16
        events = list(litellm.responses(**ask, stream=True, **at(base_url)))
        assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == (
            whole.output_text
        )
        assert events[-1].type == "response.completed"  # the package's word for every end
        assert events[-1].response.incomplete_details.reason == "max_output_tokens"
    tool = {"type": "function", **FUNCTION}
    ask = {"model": "openai/" + MODEL, "tools": [tool], "temperature": 0, "max_output_tokens": 60}
    reply = litellm.responses(input=WEATHER, tool_choice="required", **ask, **at(base_url))
    (call,) = reply.output
    assert call.type == "function_call"
    assert list(json.loads(call.arguments)) == ["city"]
    result = {"type": "function_call_output", "call_id": call.call_id, "output": SUNNY}
    answer = litellm.responses(input=[*WEATHER, call.model_dump(exclude_none=True), result], **ask, **at(base_url))
    assert answer.output_text.strip()


async def ask_messages(base_url, model, **fields):
    return await litellm.anthropic_messages(
        model="anthropic/" + model, **fields, api_base=base_url.removesuffix("/v1"), api_key="not-checked"
    )


async def case_messages(base_url):
    """Anthropic's API, whole and streamed; signed thinking and a call go back as they came."""
    ask = {"messages": HELLO, "max_tokens": 8, "temperature": 0}
    message = await ask_messages(base_url, MODEL, **ask)
    assert message["stop_reason"] == "max_tokens"
    assert message["content"][0]["text"].strip()
    assert 0 < message["usage"]["output_tokens"] <= 8
    stream = await ask_messages(base_url, MODEL, **ask, stream=True)
    data = b"".join([piece async for piece in stream]).decode()
    events = [json.loads(line.removeprefix("data: ")) for line in data.splitlines() if line.startswith("data: ")]
    texts = [event["delta"]["text"] for event in events if event["type"] == "content_block_delta"]
    assert "".join(texts) == message["content"][0]["text"]
    assert events[-1]["type"] == "message_stop"
    await check_messages_thinking(base_url)


async def check_messages_thinking(base_url):
    tools = [{"name": "get_weather", "description": "Get the weather of a city.", "input_schema": SCHEMA}]
    ask = {"tools": tools, "thinking": {"type": "enabled", "budget_tokens": 2000}, "max_tokens": 4000}
    message = await ask_messages(base_url, CLAUDE, messages=WEATHER, **ask)
    assert message["content"][0]["type"] == "thinking"
    assert message["content"][0]["signature"]
    result = {"type": "tool_result", "tool_use_id": message["content"][-1]["id"], "content": SUNNY}
    said = {"role": "assistant", "content": message["content"]}
    answer = await ask_messages(
        base_url, CLAUDE, messages=[*WEATHER, said, {"role": "user", "content": [result]}], **ask
    )
    assert answer["content"][-1]["text"] == "It is sunny in Paris."


def error_of(kind, call, *arguments, **named):
    """Return the error of this type that the call ends with."""
    try:
        call(*arguments, **named)
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def check_chat_errors(base_url, prefix):
    for stream in (False, True):
        ask = {"messages": HELLO, "max_tokens": 8, "stream": stream, **at(base_url)}
        unknown = error_of(litellm.BadRequestError, litellm.completion, prefix + "acme/unknown", **ask)
        assert "acme/unknown is not a valid model ID" in str(unknown)
        error_of(litellm.RateLimitError, litellm.completion, prefix + "fake/status-429", **ask)
    chunks = []
    begun = litellm.completion(prefix + "fake/overloaded", HELLO, max_tokens=8, stream=True, **at(base_url))
    error_of(Exception, chunks.extend, begun)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello from"


async def case_errors(base_url):
    """They are typed by whose fault it is, and say what is wrong, whichever function and whether streamed or not."""
    for prefix in PREFIXES:
        check_chat_errors(base_url, prefix)
    ask = {"model": "openai/acme/unknown", "input": "Say hello.", **at(base_url)}
    for kind, call in ((litellm.BadRequestError, litellm.responses), (litellm.NotFoundError, litellm.embedding)):
        assert "acme/unknown is not a valid model ID" in str(error_of(kind, call, **ask))
    told = "no error"
    try:
        await ask_messages(base_url, "acme/unknown", messages=HELLO, max_tokens=8)
    except Exception as error:  # noqa: BLE001 - whatever the package makes of it
        told = str(error)
    assert "acme/unknown is not a valid model ID" in told
