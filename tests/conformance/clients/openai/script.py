"""What an application written for the `openai` package needs of the gateway."""
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
# The client is installed in this script's own environment only, so the type checker cannot see it.

import asyncio
import json

import openai
from pydantic import BaseModel

MODEL = "local/smollm2-135m-instruct"
HELLO = [{"role": "user", "content": "Say hello."}]
WEATHER = [{"role": "user", "content": "What is the weather in Paris?"}]
FORCED = {"type": "function", "function": {"name": "GetWeather"}}


class Person(BaseModel):
    """A person."""

    name: str
    age: int


class GetWeather(BaseModel):
    """Get the weather of a city."""

    city: str


WHO = [{"role": "user", "content": "Ada is 36 years old. Who is it?"}]
TOOLS = [openai.pydantic_function_tool(GetWeather)]


def connect(base_url):
    return openai.OpenAI(base_url=base_url, api_key="not-checked", max_retries=0, timeout=50)


def check_head(reply):
    """What a body and every chunk have in common."""
    assert reply.id.startswith("gen-")
    assert reply.model == MODEL
    assert reply.provider == "Local"
    assert type(reply.created) is int
    assert reply.created > 1_700_000_000


def check_usage(usage, *, at_most):
    for count in (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens):
        assert type(count) is int
    assert usage.prompt_tokens > 5
    assert 0 < usage.completion_tokens <= at_most
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert type(usage.prompt_tokens_details.cached_tokens) is int
    assert type(usage.completion_tokens_details.reasoning_tokens) is int
    assert usage.cost == 0
    assert usage.is_byok is False


def check_chunks(chunks, *, at_most):
    """Text in pieces, one reason to finish, then the usage alone."""
    for chunk in chunks:
        check_head(chunk)
        assert chunk.object == "chat.completion.chunk"
    assert {chunk.id for chunk in chunks} == {chunks[0].id}
    *body, last = chunks
    assert last.choices == []
    check_usage(last.usage, at_most=at_most)
    assert [chunk.usage for chunk in body] == [None] * len(body)
    choices = [choice for chunk in body for choice in chunk.choices]
    assert choices[0].delta.role == "assistant"
    assert [choice.finish_reason for choice in choices[:-1]] == [None] * (len(choices) - 1)
    assert choices[-1].finish_reason in ("stop", "length")
    assert choices[-1].native_finish_reason
    texts = [choice.delta.content for choice in choices if choice.delta.content]
    assert len(texts) > 1
    return "".join(texts)


def check_call(call):
    assert call.id
    assert call.type == "function"
    assert call.function.name == "GetWeather"
    assert list(json.loads(call.function.arguments)) == ["city"]
    assert GetWeather.model_validate_json(call.function.arguments).city


def case_chat(base_url):
    """A whole answer has text, tokens, the reason why it ended, and says who served it."""
    raw = connect(base_url).chat.completions.with_raw_response.create(
        model=MODEL, messages=HELLO, temperature=0, max_tokens=8
    )
    reply = raw.parse()
    check_head(reply)
    assert raw.headers["x-generation-id"] == reply.id
    assert raw.headers["content-type"] == "application/json"
    assert reply.object == "chat.completion"
    assert "system_fingerprint" in reply.model_fields_set
    assert reply.model_extra.keys() == {"provider"}  # nothing that neither OpenAI nor OpenRouter sends
    (choice,) = reply.choices
    assert choice.index == 0
    assert choice.finish_reason == "length"
    assert choice.native_finish_reason == "length"
    assert choice.message.role == "assistant"
    assert choice.message.content.strip()
    assert choice.message.tool_calls is None
    assert choice.message.refusal is None
    check_usage(reply.usage, at_most=8)


def case_stream(base_url):
    """A streamed answer comes in pieces that make up a text."""
    with connect(base_url).chat.completions.create(
        model=MODEL, messages=HELLO, temperature=0, max_tokens=8, stream=True
    ) as stream:
        chunks = list(stream)
    assert check_chunks(chunks, at_most=8).strip()


def case_stream_options(base_url):
    """Asking for usage, as OpenAI's own service wants it, does not bring it twice."""
    with connect(base_url).chat.completions.create(
        model=MODEL,
        messages=HELLO,
        temperature=0,
        max_tokens=8,
        stream=True,
        stream_options={"include_usage": True},
    ) as stream:
        chunks = list(stream)
    assert check_chunks(chunks, at_most=8).strip()


def case_stream_lines(base_url):
    """On the wire: events and comments only, usage in exactly one event, the last before the end mark."""
    with connect(base_url).chat.completions.with_streaming_response.create(
        model=MODEL, messages=HELLO, temperature=0, max_tokens=8, stream=True
    ) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        generation_id = response.headers["x-generation-id"]
        lines = [line for line in response.iter_lines() if line and not line.startswith(":")]
    assert all(line.startswith("data: ") for line in lines)
    *events, end = [line.removeprefix("data: ") for line in lines]
    assert end == "[DONE]"
    chunks = [json.loads(event) for event in events]
    assert {chunk["id"] for chunk in chunks} == {generation_id}
    assert ["usage" in chunk for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1]["choices"] == []
    # Strict clients refuse null where a field may be left out.
    for chunk in chunks:
        nulls = {key for key, value in chunk.items() if value is None}
        assert nulls <= {"service_tier"}
        for choice in chunk["choices"]:
            assert "finish_reason" in choice
            assert {key for key, value in choice["delta"].items() if value is None} <= {"content", "reasoning"}


def case_stream_helper(base_url):
    """The package's own accumulator ends with the text that its events brought."""
    with connect(base_url).chat.completions.stream(
        model=MODEL, messages=HELLO, temperature=0, max_tokens=100
    ) as stream:
        deltas = [event.delta for event in stream if event.type == "content.delta"]
        reply = stream.get_final_completion()
    check_head(reply)
    assert reply.choices[0].finish_reason == "stop"
    assert reply.choices[0].message.content == "".join(deltas)
    assert len(deltas) > 1
    check_usage(reply.usage, at_most=100)


def case_tool_call(base_url):
    """A forced tool is called with arguments that parse, and its result can be sent back."""
    client = connect(base_url)
    reply = client.chat.completions.create(
        model=MODEL, messages=WEATHER, tools=TOOLS, tool_choice=FORCED, temperature=0, max_tokens=60
    )
    (choice,) = reply.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    (call,) = choice.message.tool_calls
    check_call(call)
    result = {"role": "tool", "tool_call_id": call.id, "content": "Sunny, 21 degrees."}
    answer = client.chat.completions.create(
        model=MODEL, messages=[*WEATHER, choice.message, result], tools=TOOLS, temperature=0, max_tokens=30
    )
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.choices[0].message.content.strip()


def case_tool_call_stream(base_url):
    """A streamed tool call is put together by the package and parsed into the tool's model."""
    with connect(base_url).chat.completions.stream(
        model=MODEL, messages=WEATHER, tools=TOOLS, tool_choice="required", temperature=0, max_tokens=60
    ) as stream:
        reply = stream.until_done().get_final_completion()
    (choice,) = reply.choices
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls
    check_call(call)
    assert isinstance(call.function.parsed_arguments, GetWeather)


def case_parse(base_url):
    """A pydantic class as the answer's format gives an object of it."""
    reply = connect(base_url).chat.completions.parse(
        model=MODEL, messages=WHO, response_format=Person, temperature=0, max_tokens=80
    )
    (choice,) = reply.choices
    assert choice.finish_reason == "stop"
    assert isinstance(choice.message.parsed, Person)
    assert choice.message.parsed.name
    assert Person.model_validate_json(choice.message.content) == choice.message.parsed


def case_parse_stream(base_url):
    """The same, streamed."""
    with connect(base_url).chat.completions.stream(
        model=MODEL, messages=WHO, response_format=Person, temperature=0, max_tokens=80
    ) as stream:
        reply = stream.until_done().get_final_completion()
    assert reply.choices[0].message.parsed.name
    assert type(reply.choices[0].message.parsed.age) is int


def case_models(base_url):
    """The list of models has the embedded one."""
    models = list(connect(base_url).models.list())
    assert MODEL in [model.id for model in models]
    assert all(type(model.created) is int for model in models)


def case_other_base(base_url):
    """The same API is served where clients of other OpenAI-compatible servers look for it."""
    client = connect(base_url.replace("/api/v1", "/v1"))
    assert MODEL in [model.id for model in client.models.list()]
    reply = client.chat.completions.create(model=MODEL, messages=HELLO, temperature=0, max_tokens=8)
    check_head(reply)
    assert reply.choices[0].message.content.strip()


def error_of(kind, call, *arguments, **named):
    """Return the error of exactly this type that the call ends with."""
    try:
        call(*arguments, **named)
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def check_refusal(base_url, *mentioned, **changes):
    """A request with these changes ends with status 400 and a message that mentions what is wrong."""
    ask = {"model": MODEL, "messages": HELLO, "max_tokens": 8} | changes
    error = error_of(openai.BadRequestError, connect(base_url).chat.completions.create, **ask)
    assert error.status_code == 400
    assert error.body["code"] == 400
    assert error.body["metadata"]["error_type"] == "invalid_request"
    assert error.response.headers["x-generation-id"].startswith("gen-")
    for text in mentioned:
        assert text in error.body["message"]
        assert text in str(error)


def case_unknown_model(base_url):
    """The error is typed and says which model."""
    check_refusal(base_url, "acme/unknown is not a valid model ID", model="acme/unknown")


def case_unknown_model_stream(base_url):
    """A stream that cannot begin is an error at once, not an empty stream."""
    check_refusal(base_url, "acme/unknown is not a valid model ID", model="acme/unknown", stream=True)


def case_wrong_type(base_url):
    """A field of the wrong type is named."""
    check_refusal(base_url, "temperature", temperature="hot")
    check_refusal(base_url, "messages", messages="Say hello.")


def case_unknown_route(base_url):
    """What is not served is a typed error with a message, too."""
    error = error_of(openai.NotFoundError, connect(base_url).get, "/no/such/route", cast_to=object)
    assert error.body["code"] == 404
    assert "/no/such/route" in error.body["message"]


async def case_async(base_url):
    """The asynchronous client gets a whole and a streamed answer at the same time."""

    async def collect(client):
        stream = await client.chat.completions.create(
            model=MODEL, messages=HELLO, temperature=0, max_tokens=8, stream=True
        )
        return [chunk async for chunk in stream]

    async with openai.AsyncOpenAI(base_url=base_url, api_key="not-checked", max_retries=0, timeout=50) as client:
        reply, chunks = await asyncio.gather(
            client.chat.completions.create(model=MODEL, messages=HELLO, temperature=0, max_tokens=8), collect(client)
        )
    check_head(reply)
    assert reply.choices[0].message.content.strip()
    check_usage(reply.usage, at_most=8)
    assert check_chunks(chunks, at_most=8).strip()
    assert reply.id != chunks[0].id
