"""What an application written for the official `anthropic` package needs of the gateway."""
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
# The client is installed in this script's own environment only, so the type checker cannot see it.

import asyncio
import json

import anthropic
from pydantic import BaseModel

COVERS = {
    "message": ["messages", "usage"],
    "stream": ["messages", "streaming"],
    "stream_helper": ["messages", "streaming", "usage"],
    "tools": ["messages", "tools"],
    "tools_stream": ["messages", "tools", "streaming"],
    "thinking": ["messages", "reasoning", "tools"],
    "thinking_stream": ["messages", "reasoning", "tools", "streaming"],
    "parse": ["messages", "structured output"],
    "count_tokens": ["messages", "usage"],
    "errors": ["messages", "errors"],
    "error_in_stream": ["messages", "errors"],
}
"""What each case shows, for docs/gateway/support.md."""

MODEL = "local/smollm2-135m-instruct"
CLAUDE = "fake/claude"
HELLO = [{"role": "user", "content": "Say hello."}]
WEATHER = [{"role": "user", "content": "What is the weather in Paris?"}]
TOOLS = [
    {
        "name": "get_weather",
        "description": "Get the weather of a city.",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
]
GREEDY = {"temperature": 0}  # the package has no argument for it since Claude's models take none
THINKING = {"type": "enabled", "budget_tokens": 2000}


class Person(BaseModel):
    """A person."""

    name: str
    age: int


def connect(base_url):
    """The package adds `/v1/messages` to its base: OpenRouter tells its users to set it to `.../api`."""
    root = base_url.removesuffix("/v1")
    return anthropic.Anthropic(base_url=root, api_key="not-checked", max_retries=0, timeout=50)


def check_head(message, model=MODEL):
    """What every message has."""
    assert message.id.startswith("msg_")
    assert (message.type, message.role, message.model) == ("message", "assistant", model)
    assert message.stop_reason in ("end_turn", "max_tokens", "tool_use")
    assert message.stop_sequence is None
    assert {"container", "stop_details"} <= message.model_fields_set
    usage = message.usage
    assert type(usage.input_tokens) is int
    assert type(usage.output_tokens) is int
    assert usage.input_tokens > 0
    assert usage.output_tokens > 0


def text_of(message):
    return "".join(block.text for block in message.content if block.type == "text")


def case_message(base_url):
    """A whole answer has text, tokens, a reason, and says who served it."""
    raw = connect(base_url).messages.with_raw_response.create(
        model=MODEL, messages=HELLO, system="Be brief.", extra_body=GREEDY, max_tokens=8
    )
    message = raw.parse()
    check_head(message)
    assert raw.headers["x-generation-id"].startswith("gen-")
    assert message.stop_reason == "max_tokens"
    assert [block.type for block in message.content] == ["text"]
    assert text_of(message).strip()
    assert message.provider == "Local"
    assert message.usage.output_tokens <= 8
    assert message.usage.cost == 0


def case_stream(base_url):
    """The raw events come in the order that Anthropic's service has."""
    with connect(base_url).messages.create(
        model=MODEL, messages=HELLO, extra_body=GREEDY, max_tokens=8, stream=True
    ) as stream:
        kinds = [event.type for event in stream]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert set(kinds[2:-3]) == {"content_block_delta"}
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]


def case_stream_helper(base_url):
    """The package's own accumulator ends with the text that its events brought."""
    client = connect(base_url)
    with client.messages.stream(model=MODEL, messages=HELLO, extra_body=GREEDY, max_tokens=8) as stream:
        pieces = list(stream.text_stream)
        message = stream.get_final_message()
    check_head(message)
    assert text_of(message) == "".join(pieces)
    assert len(pieces) > 1
    whole = client.messages.create(model=MODEL, messages=HELLO, extra_body=GREEDY, max_tokens=8)
    assert text_of(whole) == text_of(message)
    assert whole.usage.output_tokens == message.usage.output_tokens


def case_tools(base_url):
    """A tool that has to be called is called with arguments that parse; its result can be sent back."""
    client = connect(base_url)
    message = client.messages.create(
        model=MODEL, messages=WEATHER, tools=TOOLS, tool_choice={"type": "any"}, extra_body=GREEDY, max_tokens=60
    )
    check_head(message)
    assert message.stop_reason == "tool_use"
    (call,) = message.content
    assert (call.type, call.name) == ("tool_use", "get_weather")
    assert isinstance(call.input["city"], str)
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "Sunny, 21 degrees."}
    turns = [*WEATHER, {"role": "assistant", "content": message.content}, {"role": "user", "content": [result]}]
    answer = client.messages.create(model=MODEL, messages=turns, tools=TOOLS, extra_body=GREEDY, max_tokens=30)
    assert text_of(answer).strip()


def case_tools_stream(base_url):
    """The package parses arguments while they come."""
    with connect(base_url).messages.stream(
        model=MODEL,
        messages=WEATHER,
        tools=TOOLS,
        tool_choice={"type": "tool", "name": "get_weather"},
        extra_body=GREEDY,
        max_tokens=60,
    ) as stream:
        pieces = [event.partial_json for event in stream if event.type == "input_json"]
        message = stream.get_final_message()
    (call,) = message.content
    assert json.loads("".join(pieces)) == call.input
    assert list(call.input) == ["city"]


def check_thoughts(blocks):
    assert blocks[0].type == "thinking"
    assert blocks[0].thinking
    assert blocks[0].signature


def case_thinking(base_url):
    """Thinking with tools over two turns: what the package keeps of the first is taken in the second."""
    client = connect(base_url)
    ask = {"model": CLAUDE, "tools": TOOLS, "thinking": THINKING, "max_tokens": 4000}
    message = client.messages.create(messages=WEATHER, **ask)
    check_head(message, CLAUDE)
    check_thoughts(message.content)
    call = message.content[-1]
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "Sunny."}
    turns = [*WEATHER, {"role": "assistant", "content": message.content}, {"role": "user", "content": [result]}]
    answer = client.messages.create(messages=turns, **ask)
    assert text_of(answer)
    usage = answer.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (20, 100, 50)
    assert usage.cache_creation.ephemeral_1h_input_tokens == 20
    assert usage.output_tokens_details.thinking_tokens == 4


def case_thinking_stream(base_url):
    """The same, streamed, with the package's own events for thoughts and signatures."""
    ask = {"model": CLAUDE, "tools": TOOLS, "thinking": THINKING, "max_tokens": 4000}
    client = connect(base_url)
    with client.messages.stream(messages=WEATHER, **ask) as stream:
        events = list(stream)
        message = stream.get_final_message()
    check_thoughts(message.content)
    assert "".join(event.thinking for event in events if event.type == "thinking") == message.content[0].thinking
    assert [event.signature for event in events if event.type == "signature"] == [message.content[0].signature]
    result = {"type": "tool_result", "tool_use_id": message.content[-1].id, "content": "Sunny."}
    turns = [*WEATHER, {"role": "assistant", "content": message.content}, {"role": "user", "content": [result]}]
    with client.messages.stream(messages=turns, **ask) as stream:
        assert text_of(stream.get_final_message())


def case_parse(base_url):
    """A pydantic class as the answer's format gives an object of it."""
    message = connect(base_url).messages.parse(
        model=MODEL,
        messages=[{"role": "user", "content": "Ada is 36 years old. Who is it?"}],
        output_format=Person,
        extra_body=GREEDY,
        max_tokens=80,
    )
    assert isinstance(message.parsed_output, Person)


def case_count_tokens(base_url):
    """Some number that grows with the text."""
    client = connect(base_url)
    short = client.messages.count_tokens(model=MODEL, messages=HELLO).input_tokens
    long = client.messages.count_tokens(model=MODEL, messages=HELLO, system="word " * 500, tools=TOOLS).input_tokens
    assert 0 < short < long
    assert long > 500


def error_of(kind, call, *arguments, **named):
    """Return the error of exactly this type that the call ends with."""
    try:
        call(*arguments, **named)
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def case_errors(base_url):
    """They are typed, and say what is wrong."""
    create = connect(base_url).messages.create
    error = error_of(anthropic.BadRequestError, create, model="acme/unknown", messages=HELLO, max_tokens=8)
    assert error.body["error"]["type"] == "invalid_request_error"
    assert "acme/unknown is not a valid model ID" in str(error)
    error = error_of(anthropic.BadRequestError, create, model=MODEL, messages=[], max_tokens=8)
    assert "messages" in error.body["error"]["message"]
    for model, kind in (("fake/status-429", anthropic.RateLimitError), ("fake/status-529", anthropic.APIStatusError)):
        error_of(kind, create, model=model, messages=HELLO, max_tokens=8)


def case_error_in_stream(base_url):
    """An error behind some text is raised, after the text."""
    pieces = []

    def read():
        with connect(base_url).messages.stream(model="fake/overloaded", messages=HELLO, max_tokens=8) as stream:
            pieces.extend(stream.text_stream)

    error = error_of(anthropic.APIStatusError, read)
    assert "".join(pieces) == "Hello from"
    assert "overloaded_error" in str(error)


async def case_async(base_url):
    """The asynchronous client gets a whole and a streamed answer at the same time."""
    root = base_url.removesuffix("/v1")

    async def collect(client):
        async with client.messages.stream(model=MODEL, messages=HELLO, extra_body=GREEDY, max_tokens=8) as stream:
            return [text async for text in stream.text_stream]

    async with anthropic.AsyncAnthropic(base_url=root, api_key="not-checked", max_retries=0, timeout=50) as client:
        message, pieces = await asyncio.gather(
            client.messages.create(model=MODEL, messages=HELLO, extra_body=GREEDY, max_tokens=8), collect(client)
        )
    check_head(message)
    assert text_of(message) == "".join(pieces)


def case_bearer(base_url):
    """OpenRouter's users are told to set the bearer variable."""
    root = base_url.removesuffix("/v1")
    client = anthropic.Anthropic(base_url=root, auth_token="not-checked", max_retries=0, timeout=50)
    assert text_of(client.messages.create(model=MODEL, messages=HELLO, max_tokens=8)).strip()
