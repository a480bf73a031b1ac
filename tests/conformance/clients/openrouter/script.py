"""What an application written for the official `openrouter` package needs of the gateway.

The package checks every answer against its schema and raises when a field is missing or has another type; what it does
not know it drops, so `provider` and `native_finish_reason` cannot be seen here.
"""
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
# The client is installed in this script's own environments only, so the type checker cannot see it.

import asyncio
import json

from openrouter import OpenRouter, errors

COVERS = {
    "chat": ["chat", "usage"],
    "stream": ["streaming", "usage"],
    "tool_call": ["tools"],
    "tool_call_stream": ["tools", "streaming"],
    "json_schema": ["structured output"],
    "thinking": ["reasoning", "tools"],
    "thinking_stream": ["reasoning", "streaming"],
    "responses": ["responses", "usage"],
    "responses_stream": ["responses", "streaming"],
    "models": ["models"],
    "model_pages": ["models"],
    "embeddings": ["embeddings", "usage"],
    "unknown_model": ["errors"],
    "async": ["chat", "streaming"],
}
"""What each case shows, for docs/gateway/support.md."""

CLAUDE = "fake/claude"
AUTHOR, SLUG = "local", "smollm2-135m-instruct"
MODEL = f"{AUTHOR}/{SLUG}"
ASK = {"model": MODEL, "messages": [{"role": "user", "content": "Say hello."}], "temperature": 0, "max_tokens": 8}
WEATHER_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
PERSON_FORMAT = {
    "type": "json_schema",
    "json_schema": {
        "name": "person",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
            "required": ["name", "age"],
            "additionalProperties": False,
        },
    },
}


def connect(base_url):
    """Without retries: by default the package repeats a request that fails for an hour."""
    return OpenRouter(server_url=base_url, api_key="not-checked", retry_config=None, timeout_ms=50_000)


def check_head(reply):
    assert reply.id.startswith("gen-")
    assert reply.model == MODEL
    assert reply.created > 1_700_000_000


def check_usage(usage):
    assert usage.prompt_tokens > 5
    assert 0 < usage.completion_tokens <= ASK["max_tokens"]
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert type(usage.prompt_tokens_details.cached_tokens) is int
    assert type(usage.completion_tokens_details.reasoning_tokens) is int
    assert usage.cost == 0
    assert usage.cost_details.upstream_inference_prompt_cost == 0
    assert usage.is_byok is False


def check_reply(reply):
    check_head(reply)
    (choice,) = reply.choices
    assert choice.index == 0
    assert choice.finish_reason == "length"
    assert choice.message.role == "assistant"
    assert choice.message.content.strip()
    assert choice.message.tool_calls is None
    check_usage(reply.usage)


def check_chunks(chunks):
    """Text in pieces, one reason to finish, then the usage alone and once."""
    for chunk in chunks:
        check_head(chunk)
        assert chunk.error is None
    assert {chunk.id for chunk in chunks} == {chunks[0].id}
    *body, last = chunks
    assert last.choices == []
    check_usage(last.usage)
    assert [chunk.usage for chunk in body] == [None] * len(body)
    choices = [choice for chunk in body for choice in chunk.choices]
    assert choices[0].delta.role == "assistant"
    assert [choice.finish_reason for choice in choices] == [None] * (len(choices) - 1) + ["length"]
    texts = [choice.delta.content for choice in choices if choice.delta.content]
    assert len(texts) > 1
    assert "".join(texts).strip()


def check_model(model):
    assert model.id == MODEL
    assert model.canonical_slug
    assert model.name
    assert type(model.created) is int
    assert model.context_length > 0
    assert "text" in model.architecture.output_modalities
    assert (model.pricing.prompt, model.pricing.completion) == ("0", "0")
    assert "tools" in model.supported_parameters
    assert model.links.details == f"/api/v1/models/{MODEL}/endpoints"


def case_chat(base_url):
    """A whole answer passes the package's schema and has text and tokens."""
    with connect(base_url) as client:
        check_reply(client.chat.send(**ASK))


def case_stream(base_url):
    """Every chunk passes the package's schema; usage comes once, last and alone."""
    with connect(base_url) as client, client.chat.send(**ASK, stream=True) as stream:
        assert "text/event-stream" in stream.response.headers["content-type"]
        check_chunks(list(stream))


def case_tool_call(base_url):
    """A forced tool is called with arguments that parse, and its result can be sent back."""
    question = {"role": "user", "content": "What is the weather in Paris?"}
    ask = {"model": MODEL, "tools": [WEATHER_TOOL], "temperature": 0, "max_tokens": 60}
    forced = {"type": "function", "function": {"name": "get_weather"}}
    with connect(base_url) as client:
        (choice,) = client.chat.send(**ask, messages=[question], tool_choice=forced).choices
        assert choice.finish_reason == "tool_calls"
        (call,) = choice.message.tool_calls
        assert call.id
        assert call.type == "function"
        assert call.function.name == "get_weather"
        assert json.loads(call.function.arguments)["city"]
        result = {"role": "tool", "tool_call_id": call.id, "content": "Sunny, 21 degrees."}
        (after,) = client.chat.send(**ask, messages=[question, choice.message, result]).choices
    assert after.finish_reason in ("stop", "length")
    assert after.message.content.strip()


def case_tool_call_stream(base_url):
    """The fragments of a streamed tool call pass the schema and add up to arguments that parse."""
    question = {"role": "user", "content": "What is the weather in Paris?"}
    ask = {"model": MODEL, "messages": [question], "tools": [WEATHER_TOOL], "temperature": 0, "max_tokens": 60}
    with connect(base_url) as client, client.chat.send(**ask, tool_choice="required", stream=True) as stream:
        choices = [choice for chunk in stream for choice in chunk.choices]
    fragments = [call for choice in choices for call in choice.delta.tool_calls or ()]
    assert {call.index for call in fragments} == {0}
    assert fragments[0].id
    assert fragments[0].function.name == "get_weather"
    assert json.loads("".join(call.function.arguments or "" for call in fragments))["city"]
    assert choices[-1].finish_reason == "tool_calls"


def case_json_schema(base_url):
    """An answer after a JSON schema is JSON with its fields."""
    ask = {"model": MODEL, "messages": [{"role": "user", "content": "Ada is 36 years old. Who is it?"}]}
    with connect(base_url) as client:
        reply = client.chat.send(**ask, response_format=PERSON_FORMAT, temperature=0, max_tokens=80)
    person = json.loads(reply.choices[0].message.content)
    assert person.keys() == {"name", "age"}
    assert isinstance(person["name"], str)
    assert type(person["age"]) is int


THINKING = {"model": CLAUDE, "tools": [WEATHER_TOOL], "reasoning": {"effort": "high"}, "max_tokens": 4000}
QUESTION = {"role": "user", "content": "What is the weather in Paris?"}


def case_thinking(base_url):
    """The details of the first turn's reasoning pass the schema, and are what the strict provider wants back."""
    with connect(base_url) as client:
        (choice,) = client.chat.send(**THINKING, messages=[QUESTION]).choices
        assert choice.message.reasoning
        assert choice.message.reasoning_details[0].signature
        (call,) = choice.message.tool_calls
        result = {"role": "tool", "tool_call_id": call.id, "content": "Sunny."}
        (after,) = client.chat.send(**THINKING, messages=[QUESTION, choice.message, result]).choices
    assert after.message.content.strip()


def case_thinking_stream(base_url):
    """In pieces they pass it, too."""
    with connect(base_url) as client, client.chat.send(**THINKING, messages=[QUESTION], stream=True) as stream:
        deltas = [choice.delta for chunk in stream for choice in chunk.choices]
    assert "".join(delta.reasoning or "" for delta in deltas).strip()
    details = [detail for delta in deltas for detail in delta.reasoning_details or ()]
    assert [detail.signature for detail in details if detail.signature]


RESPONSE = {"model": MODEL, "input": "Say hello.", "temperature": 0, "max_output_tokens": 16}


def check_response(response):
    assert response.id.startswith("resp_")
    assert response.model == MODEL
    assert response.output[0].content[0].text.strip()
    assert 0 < response.usage.output_tokens <= 16


def case_responses(base_url):
    """A whole response passes the schema."""
    with connect(base_url) as client:
        check_response(responses_of(client).send(**RESPONSE))


def case_responses_stream(base_url):
    """So does every event, and the last has it all."""
    with connect(base_url) as client, responses_of(client).send(**RESPONSE, stream=True) as stream:
        events = list(stream)
    texts = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert len(texts) > 1
    assert events[-1].type == "response.incomplete"
    check_response(events[-1].response)
    assert events[-1].response.output[0].content[0].text == "".join(texts)


def responses_of(client):
    """Where the older release has it."""
    return client.responses if hasattr(client, "responses") else client.beta.responses


def case_models(base_url):
    """Every row of the list passes the schema."""
    with connect(base_url) as client:
        result = client.models.list().result
        (model,) = [each for each in result.data if each.id == MODEL]
        check_model(model)
        assert result.total_count == len(result.data)
        assert result.links.next is None


def case_model_pages(base_url):
    """Walking the list page by page shows each model once, and ends."""
    seen = []
    with connect(base_url) as client:
        whole = [model.id for model in client.models.list().result.data]
        page = client.models.list(limit=1)
        while page is not None and len(seen) <= len(whole):
            seen += [model.id for model in page.result.data]
            page = page.next()
    assert MODEL in seen
    assert sorted(set(seen)) == sorted(seen) == sorted(whole)


def case_embeddings(base_url):
    """Vectors pass the schema in both encodings, and the model is in the list of those that make some."""
    with connect(base_url) as client:
        plain = client.embeddings.generate(model=MODEL, input=["Hello", "world"], user="u")
        packed = client.embeddings.generate(model=MODEL, input="Hello", encoding_format="base64")
        listed = client.embeddings.list_models()
    assert (plain.object, plain.model, len(plain.data)) == ("list", MODEL, 2)
    assert plain.id.startswith("gen-")
    assert len(plain.data[0].embedding) == 576
    assert plain.usage.prompt_tokens == plain.usage.total_tokens > 1
    assert plain.usage.cost == 0
    assert type(packed.data[0].embedding) is str
    models = getattr(listed, "result", listed)
    assert MODEL in [model.id for model in models.data]


def case_rerank_refused(base_url):
    """No model here ranks documents, which the error says."""
    with connect(base_url) as client:
        refused = errors.BadRequestResponseError
        error = error_of(refused, client.rerank.rerank, model=MODEL, query="q", documents=["a", "b"])
    assert "does not rank documents" in error.data.error.message


def case_model(base_url):
    """One model by its name."""
    with connect(base_url) as client:
        check_model(client.models.get(author=AUTHOR, slug=SLUG).data)


def case_endpoints(base_url):
    """The endpoints of a model pass the schema and name their provider."""
    with connect(base_url) as client:
        listing = client.endpoints.list(author=AUTHOR, slug=SLUG).data
    assert listing.id == MODEL
    (endpoint,) = listing.endpoints
    assert endpoint.model_id == MODEL
    assert endpoint.provider_name == "Local"
    assert endpoint.tag == "local"
    assert endpoint.context_length > 0
    assert (endpoint.pricing.prompt, endpoint.pricing.completion) == ("0", "0")
    assert "tools" in endpoint.supported_parameters
    assert endpoint.status == 0
    if hasattr(endpoint, "supports_tool_choice"):  # unknown to releases of the summer of 2026
        assert endpoint.supports_tool_choice.function is True
        assert endpoint.supports_tool_choice.required is True


def case_providers(base_url):
    """The provider of the embedded model is listed."""
    with connect(base_url) as client:
        providers = client.providers.list().data
    assert [(provider.name, provider.slug) for provider in providers if provider.slug == "local"] == [
        ("Local", "local")
    ]


def error_of(kind, call, **named):
    """Return the error of exactly this type that the call ends with."""
    try:
        call(**named)
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def case_unknown_model(base_url):
    """The error has the type for its status, and the gateway's message survives."""
    unknown = ASK | {"model": "acme/unknown"}
    with connect(base_url) as client:
        for ask in (unknown, unknown | {"stream": True}):
            error = error_of(errors.BadRequestResponseError, client.chat.send, **ask)
            assert error.status_code == 400
            assert json.loads(error.body)["error"]["code"] == 400  # the package would take a string, too
            assert error.data.error.metadata["error_type"] == "invalid_request"
            assert error.data.error.message == "acme/unknown is not a valid model ID"
            assert str(error) == error.data.error.message
            assert error.headers["x-generation-id"].startswith("gen-")


def case_unknown_model_endpoints(base_url):
    """A model that is not in the catalogue has no endpoints: a typed error."""
    with connect(base_url) as client:
        error = error_of(errors.NotFoundResponseError, client.endpoints.list, author="acme", slug="unknown")
    assert error.data.error.code == 404
    assert "acme/unknown" in error.data.error.message


async def case_async(base_url):
    """The asynchronous methods get a whole and a streamed answer at the same time."""

    async def collect(client):
        async with await client.chat.send_async(**ASK, stream=True) as stream:
            return [chunk async for chunk in stream]

    async with connect(base_url) as client:
        reply, chunks = await asyncio.gather(client.chat.send_async(**ASK), collect(client))
    check_reply(reply)
    check_chunks(chunks)
    assert reply.id != chunks[0].id
