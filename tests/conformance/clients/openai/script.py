"""What an application written for the `openai` package needs of the gateway."""
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
# The client is installed in this script's own environment only, so the type checker cannot see it.

import asyncio
import json

import openai
from pydantic import BaseModel

COVERS = {
    "chat": ["chat", "usage"],
    "stream": ["streaming", "usage"],
    "stream_options": ["streaming", "usage"],
    "stream_helper": ["streaming"],
    "tool_call": ["tools"],
    "tool_call_stream": ["tools", "streaming"],
    "parse": ["structured output"],
    "parse_stream": ["structured output", "streaming"],
    "models": ["models"],
    "embeddings": ["embeddings", "usage"],
    "responses": ["responses", "usage"],
    "responses_conversation": ["responses"],
    "responses_stream": ["responses", "streaming"],
    "responses_tool_call": ["responses", "tools"],
    "responses_tool_call_stream": ["responses", "tools", "streaming"],
    "responses_custom_tool": ["responses", "tools", "streaming"],
    "responses_parse": ["responses", "structured output"],
    "responses_thinking": ["responses", "reasoning", "tools"],
    "responses_refusals": ["responses", "errors"],
    "unknown_model": ["errors"],
    "unknown_model_stream": ["errors"],
    "wrong_type": ["errors"],
}
"""What each case shows, for docs/gateway/support.md."""

CLAUDE = "fake/claude"
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


def case_embeddings(base_url):
    """The package asks for base64 unless told otherwise, and gives out numbers either way: the same."""
    client = connect(base_url)
    texts = ["The cat sat on the mat.", "Stock markets fell."]
    packed = client.embeddings.create(model=MODEL, input=texts)
    plain = client.embeddings.create(model=MODEL, input=texts, encoding_format="float")
    assert (packed.object, packed.model) == ("list", MODEL)
    assert [item.index for item in packed.data] == [0, 1]
    for one, other in zip(packed.data, plain.data, strict=True):
        assert len(one.embedding) == len(other.embedding) == 576
        assert max(abs(a - b) for a, b in zip(one.embedding, other.embedding, strict=True)) < 1e-6
    assert packed.usage.prompt_tokens == packed.usage.total_tokens > 5
    tokens = client.embeddings.create(model=MODEL, input=[1, 2, 3])
    assert len(tokens.data) == 1
    assert tokens.usage.prompt_tokens == 3


def case_completions(base_url):
    """The legacy text form: one prompt, its text, in one piece and in several."""
    client = connect(base_url)
    ask = {"model": MODEL, "prompt": "Say hello.", "temperature": 0, "max_tokens": 8}
    whole = client.completions.create(**ask, echo=True)
    check_head(whole)
    assert whole.object == "text_completion"
    check_usage(whole.usage, at_most=8)
    choice = whole.choices[0]
    assert (choice.index, choice.finish_reason) == (0, "length")
    *chunks, last = client.completions.create(**ask, stream=True)
    assert last.choices == []
    check_usage(last.usage, at_most=8)
    assert {chunk.object for chunk in chunks} == {"text_completion"}
    assert len(chunks) > 1
    assert "Say hello." + "".join(chunk.choices[0].text for chunk in chunks) == choice.text
    told = client.completions.create(**ask, logprobs=1).choices[0].logprobs
    assert len(told.tokens) == len(told.token_logprobs) == len(told.text_offset) == 8
    assert told.text_offset[0] == 0
    assert all(len(alternatives) == 1 for alternatives in told.top_logprobs)


def case_completions_refused(base_url):
    """What the text form cannot give is told by name."""
    ask = {"model": MODEL, "prompt": "x", "max_tokens": 8}
    for changes in ({"suffix": "y"}, {"best_of": 2}, {"prompt": ["x", "y"]}, {"prompt": [1, 2]}):
        error = error_of(openai.BadRequestError, connect(base_url).completions.create, **(ask | changes))
        assert next(iter(changes)) in str(error)


def case_other_base(base_url):
    """The same API is served where clients of other OpenAI-compatible servers look for it."""
    client = connect(base_url.replace("/api/v1", "/v1"))
    assert MODEL in [model.id for model in client.models.list()]
    reply = client.chat.completions.create(model=MODEL, messages=HELLO, temperature=0, max_tokens=8)
    check_head(reply)
    assert reply.choices[0].message.content.strip()


WEATHER_TOOL = {
    "type": "function",
    "name": "GetWeather",
    "description": "Get the weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": True,
}
SAY_HELLO = {"model": MODEL, "input": "Say hello.", "temperature": 0}


def check_response(response, *, status):
    """What every response has, and what this API's usage calls its counts."""
    assert response.object == "response"
    assert response.id.startswith("resp_")
    assert response.model == MODEL
    assert response.provider == "Local"
    assert response.created_at > 1_700_000_000
    assert response.status == status
    assert response.error is None
    assert response.parallel_tool_calls is True
    usage = response.usage
    for count in (usage.input_tokens, usage.output_tokens, usage.total_tokens):
        assert type(count) is int
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    assert type(usage.input_tokens_details.cached_tokens) is int
    assert type(usage.output_tokens_details.reasoning_tokens) is int
    assert usage.cost == 0
    assert len({item.id for item in response.output}) == len(response.output)


def check_function_call(item):
    assert item.type == "function_call"
    assert item.status == "completed"
    assert item.call_id
    assert item.name == "GetWeather"
    assert list(json.loads(item.arguments)) == ["city"]


def case_responses(base_url):
    """A whole response: what the request said, an item with the text, why it is not complete."""
    raw = connect(base_url).responses.with_raw_response.create(
        **SAY_HELLO, instructions="Be brief.", max_output_tokens=16, metadata={"a": "b"}
    )
    response = raw.parse()
    check_response(response, status="incomplete")
    assert raw.headers["x-generation-id"].removeprefix("gen-") == response.id.removeprefix("resp_")
    assert response.incomplete_details.reason == "max_output_tokens"
    assert response.instructions == "Be brief."
    assert response.max_output_tokens == 16
    assert response.metadata == {"a": "b"}
    assert response.temperature == 0
    assert response.tools == []
    assert response.text.format.type == "text"
    (item,) = response.output
    assert (item.type, item.role, item.status) == ("message", "assistant", "incomplete")
    (part,) = item.content
    assert part.type == "output_text"
    assert part.annotations == []
    assert part.text.strip()
    assert response.output_text == part.text


def case_responses_conversation(base_url):
    """What was answered can be sent back as it came, with every kind of message before and after it."""
    client = connect(base_url)
    first = client.responses.create(**SAY_HELLO, max_output_tokens=30)
    said = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "input_text", "text": "Say hello."}]},
        *first.output,
        {"role": "user", "content": "And goodbye."},
    ]
    second = client.responses.create(model=MODEL, input=said, temperature=0, max_output_tokens=30)
    assert second.output_text.strip()
    assert second.usage.input_tokens > first.usage.input_tokens


def case_responses_stream(base_url):
    """The events are the package's own types, in order, and add up to the response."""
    with connect(base_url).responses.create(**SAY_HELLO, max_output_tokens=16, stream=True) as stream:
        events = list(stream)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    names = [event.type for event in events]
    assert names[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert names[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.incomplete",
    ]
    deltas = [event for event in events if event.type == "response.output_text.delta"]
    assert len(deltas) > 1
    assert set(names[4:-4]) == {"response.output_text.delta"}
    for event in events:
        assert type(event).__name__ not in ("dict", "BaseModel")
    response = events[-1].response
    check_response(response, status="incomplete")
    assert "".join(event.delta for event in deltas) == response.output_text
    assert {event.item_id for event in deltas} == {response.output[0].id}


def case_responses_stream_helper(base_url):
    """The package's own accumulator ends with the text that its events brought."""
    with connect(base_url).responses.stream(**SAY_HELLO, max_output_tokens=100) as stream:
        snapshots = [event.snapshot for event in stream if event.type == "response.output_text.delta"]
        response = stream.get_final_response()
    check_response(response, status="completed")
    assert snapshots[-1] == response.output_text


def case_responses_tool_call(base_url):
    """A forced tool is called with arguments that parse, and its result can be sent back."""
    client = connect(base_url)
    asked = {"model": MODEL, "tools": [WEATHER_TOOL], "temperature": 0, "max_output_tokens": 60}
    response = client.responses.create(input=WEATHER, tool_choice={"type": "function", "name": "GetWeather"}, **asked)
    check_response(response, status="completed")
    assert response.tools[0].name == "GetWeather"
    assert response.tool_choice.name == "GetWeather"
    (call,) = response.output
    check_function_call(call)
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "Sunny, 21 degrees."}
    answer = client.responses.create(input=[*WEATHER, call, result], **asked)
    assert answer.output_text.strip()


def case_responses_tool_call_stream(base_url):
    """A streamed call is put together by the package and parsed into the tool's model."""
    tool = openai.pydantic_function_tool(GetWeather)
    flat = {"type": "function", **tool["function"]}
    with connect(base_url).responses.stream(
        model=MODEL, input=WEATHER, tools=[flat], tool_choice="required", temperature=0, max_output_tokens=60
    ) as stream:
        pieces = [event for event in stream if event.type == "response.function_call_arguments.delta"]
        response = stream.get_final_response()
    (call,) = response.output
    check_function_call(call)
    assert pieces[-1].snapshot == call.arguments
    assert "".join(piece.delta for piece in pieces) == call.arguments


def case_responses_custom_tool(base_url):
    """A forced custom tool is called with text, whole and in pieces, and its result can be sent back."""
    client = connect(base_url)
    tool = {"type": "custom", "name": "say", "description": "Says a text aloud.", "format": {"type": "text"}}
    asked = {"model": MODEL, "tools": [tool], "temperature": 0, "max_output_tokens": 100}
    forced = asked | {"input": HELLO, "tool_choice": {"type": "custom", "name": "say"}}
    response = client.responses.create(**forced)
    check_response(response, status="completed")
    assert response.tools[0].name == response.tool_choice.name == "say"
    (call,) = response.output
    assert (call.type, call.name, call.status) == ("custom_tool_call", "say", "completed")
    assert call.input.strip()
    assert not call.input.startswith("{")
    events = list(client.responses.create(**forced, stream=True))
    pieces = [event for event in events if event.type == "response.custom_tool_call_input.delta"]
    (done,) = [event for event in events if event.type == "response.custom_tool_call_input.done"]
    assert len(pieces) > 1
    assert "".join(piece.delta for piece in pieces) == done.input == call.input
    assert events[-1].response.output[0].input == call.input
    result = {"type": "custom_tool_call_output", "call_id": call.call_id, "output": "Said."}
    answer = client.responses.create(input=[*HELLO, call, result], **asked)
    assert answer.output_text.strip()


def case_responses_parse(base_url):
    """A pydantic class as the text's format gives an object of it, whole and streamed."""
    client = connect(base_url)
    response = client.responses.parse(model=MODEL, input=WHO, text_format=Person, temperature=0, max_output_tokens=80)
    check_response(response, status="completed")
    assert isinstance(response.output_parsed, Person)
    assert response.output_parsed.name
    with client.responses.stream(
        model=MODEL, input=WHO, text_format=Person, temperature=0, max_output_tokens=80
    ) as stream:
        streamed = stream.until_done().get_final_response()
    assert streamed.output_parsed == response.output_parsed


def case_responses_thinking(base_url):
    """Items of reasoning go back as they came, or the strict provider behind the gateway would refuse them."""
    client = connect(base_url)
    ask = {"model": CLAUDE, "tools": [WEATHER_TOOL], "reasoning": {"effort": "high"}, "max_output_tokens": 4000}
    for stream in (False, True):
        first = client.responses.create(**ask, input=WEATHER, stream=stream)
        if stream:
            first = list(first)[-1].response
        assert [item.type for item in first.output] == ["reasoning", "message", "function_call"]
        result = {"type": "function_call_output", "call_id": first.output[-1].call_id, "output": "Sunny."}
        second = client.responses.create(**ask, input=[*WEATHER, *first.output, result])
        assert second.output_text.strip()
        assert second.usage.output_tokens_details.reasoning_tokens == 4


def case_responses_refusals(base_url):
    """What this API does not do is a typed error that names it."""
    create = connect(base_url).responses.create
    for named, changes in (
        ("store", {"store": True}),
        ("previous_response_id", {"previous_response_id": "resp_1"}),
        ("input[0]", {"input": [{"type": "item_reference", "id": "msg_1"}]}),
        ("acme/unknown", {"model": "acme/unknown"}),
    ):
        error = error_of(openai.BadRequestError, create, **(SAY_HELLO | changes))
        assert named in error.body["message"]
        assert error.body["code"] == 400


async def case_responses_async(base_url):
    """The asynchronous client streams it, too."""
    async with (
        openai.AsyncOpenAI(base_url=base_url, api_key="not-checked", max_retries=0, timeout=50) as client,
        client.responses.stream(**SAY_HELLO, max_output_tokens=100) as stream,
    ):
        response = await stream.get_final_response()
    check_response(response, status="completed")
    assert response.output_text.strip()


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
