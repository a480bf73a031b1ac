"""The Responses API behind the gateway and in front of it, with real servers on both sides."""

import json
import time
from collections.abc import Generator
from typing import Any

import httpx2
import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool

from fakes.gateway import Gateway, chunks_of, provider_config, running_gateway, text_of
from fakes.llama_server import running_llama
from fakes.provider import TEXT as CHAT_TEXT
from fakes.provider import FakeProvider, running_provider
from fakes.responses_provider import CITATION, REASONING, TEXT, ResponsesProvider, running_responses_provider
from langchain_openrouter import ChatOpenRouter
from openrouter_gateway.callers.local import find_default_model

Json = dict[str, Any]
EMBEDDED = "local/smollm2-135m-instruct"
MODELS = ("answer", "agent", "refuse", "length", "failed", "error", "cut", "throttled", "too-long", "garbage")
CHAT_MODELS = ("answer", "cut", "error-chunk", "error-first", "status:500")
QUESTION = {"role": "user", "content": "What is the weather in San Francisco and Los Angeles?"}
CHAT_TOOLS: list[Json] = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}
    for name in ("weather_here", "weather_there")
]
TOOLS: list[Json] = [{"type": "function", **entry["function"]} for entry in CHAT_TOOLS]


@pytest.fixture(scope="module")
def provider() -> Generator[ResponsesProvider]:
    """A provider that speaks the Responses API."""
    with running_responses_provider() as running:
        yield running


@pytest.fixture(scope="module")
def chat_provider() -> Generator[FakeProvider]:
    """A provider that speaks chat completions."""
    with running_provider() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, provider: ResponsesProvider, chat_provider: FakeProvider
) -> Generator[Gateway]:
    """A gateway in front of llama.cpp, in both protocols, and of two fakes with one each."""
    with running_llama(find_default_model()) as llama:
        config = provider_config(
            {"first": chat_provider.base_url}, {f"chat/{name.replace(':', '-')}": name for name in CHAT_MODELS}
        )
        config += f'''
            [providers.second]
            name = "Second"
            protocol = "openai_responses"
            base_url = "{provider.base_url}"
            api_key = "sk-second"

            [providers.llama]
            base_url = "{llama}"
            [[providers.llama.models]]
            id = "smol/chat"
            [[providers.llama.models]]
            id = "smol/responses"
            protocol = "openai_responses"
        '''
        for name in MODELS:
            config += f"""
            [[providers.second.models]]
            id = "fake/{name}"
            pricing = {{ prompt = "0.000003", completion = "0.000015" }}
            """
        with running_gateway(tmp_path_factory.mktemp("responses"), config) as running:
            yield running


def respond(gateway: Gateway, model: str, **fields: Any) -> httpx2.Response:
    body: Json = {"model": model, "input": [QUESTION]} | fields
    return httpx2.post(f"{gateway.base_url}/responses", json=body, timeout=60)


def events_of(response: httpx2.Response) -> list[Json]:
    """Return the events of a Responses stream, checked for what every one has."""
    assert response.headers["content-type"].startswith("text/event-stream"), response.text
    blocks = [block for block in response.text.split("\n\n") if block and not block.startswith(":")]
    assert "data: [DONE]" == blocks[-1]
    events = [json.loads(block.partition("\ndata: ")[2]) for block in blocks[:-1]]
    assert [f"event: {event['type']}" for event in events] == [block.partition("\n")[0] for block in blocks[:-1]]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


def without_ids(items: list[Json]) -> list[Json]:
    return [{key: value for key, value in item.items() if key not in ("id", "status", "format")} for item in items]


class TestChat:
    """Chat completions over the protocol."""

    @pytest.mark.covers("protocols.openai_responses", "text", "streaming", "citations", "usage of every bucket", "cost")
    def test_json_and_stream_agree(self, gateway: Gateway, provider: ResponsesProvider) -> None:
        """Text, citation, counts and price; the key is the provider's."""
        whole = gateway.post("fake/answer", max_tokens=5).json()
        chunks, _ = gateway.stream("fake/answer", max_tokens=5)

        (choice,) = whole["choices"]
        assert TEXT == choice["message"]["content"] == text_of(chunks)
        note = {"type": "url_citation", "url_citation": {k: v for k, v in CITATION.items() if k != "type"}}
        assert [note] == choice["message"]["annotations"]
        assert ("stop", "completed") == (choice["finish_reason"], choice["native_finish_reason"])
        assert ("fake/answer", "Second") == (whole["model"], whole["provider"])
        usage = whole["usage"]
        assert (75, 50, 25, 40) == (
            usage["prompt_tokens"],
            usage["completion_tokens"],
            usage["prompt_tokens_details"]["cached_tokens"],
            usage["completion_tokens_details"]["reasoning_tokens"],
        )
        assert usage == chunks[-1]["usage"]
        assert pytest.approx(usage["cost"], abs=1e-12) == 75 * 0.000003 + 50 * 0.000015
        assert "Bearer sk-second" == provider.keys[-1]
        assert 16 == provider.requests[-1]["max_output_tokens"]

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.covers("protocols.openai_responses", "reasoning replayed over turns", "tools")
    def test_two_turns_with_reasoning(self, gateway: Gateway, provider: ResponsesProvider, *, stream: bool) -> None:
        """The provider gets its reasoning back as it was, each item before its call: it refuses anything else."""
        fields: Json = {"tools": CHAT_TOOLS, "reasoning": {"effort": "low"}}
        messages: list[Json] = [QUESTION]
        message = _message_of(gateway, "fake/agent", stream=stream, messages=messages, **fields)
        assert ["call_1", "call_2"] == [call["id"] for call in message["tool_calls"]]
        assert [0, 1, 2, 2000] == [detail["index"] for detail in message["reasoning_details"]]
        results = [{"role": "tool", "tool_call_id": call["id"], "content": "ok"} for call in message["tool_calls"]]
        messages += [message, *results]

        answer = _message_of(gateway, "fake/agent", stream=stream, messages=messages, **fields)

        assert TEXT == answer["content"]
        assert "Both are known." == answer["reasoning"]
        sent = provider.requests[-1]["input"]
        assert REASONING[:2] == [item for item in sent if item["type"] == "reasoning"]
        assert {"effort": "low", "summary": "auto"} == provider.requests[-1]["reasoning"]

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.covers("clients.langchain_openrouter", "tools", "reasoning", "streaming")
    def test_two_turns_through_the_client(self, gateway: Gateway, *, stream: bool) -> None:
        """ChatOpenRouter keeps what it takes, streamed or not."""

        @tool
        def weather_here(location: str) -> str:
            """The weather there."""
            return f"Fog in {location}"

        @tool
        def weather_there(location: str) -> str:
            """The weather elsewhere."""
            return f"Sun in {location}"

        model = ChatOpenRouter(
            model="fake/agent", base_url=gateway.base_url, max_retries=0, timeout=30, reasoning={"effort": "low"}
        ).bind_tools([weather_here, weather_there])
        messages: list[BaseMessage] = [HumanMessage("Weather?")]

        def ask() -> AIMessage:
            if not stream:
                return model.invoke(messages)
            total: AIMessageChunk | None = None
            for piece in model.stream(messages):
                assert isinstance(piece, AIMessageChunk)
                total = piece if total is None else total + piece
            assert total is not None
            return total

        called = ask()
        assert ["San Francisco", "Los Angeles"] == [call["args"]["location"] for call in called.tool_calls]
        messages += [called, *(ToolMessage("ok", tool_call_id=call["id"]) for call in called.tool_calls)]

        assert TEXT == ask().text

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.covers("protocols.openai_responses", "thoughts in answers")
    def test_reasoning_can_be_left_out(self, gateway: Gateway, *, stream: bool) -> None:
        """The model reasons, the caller does not see it."""
        fields: Json = {"tools": CHAT_TOOLS, "reasoning": {"effort": "low", "exclude": True}}
        message = _message_of(gateway, "fake/agent", stream=stream, messages=[QUESTION], **fields)

        assert None is message.get("reasoning")
        assert "reasoning_details" not in message
        assert 2 == len(message["tool_calls"])

    @pytest.mark.covers("protocols.openai_responses", "refusals and safety blocks", "finish reasons")
    def test_other_ends(self, gateway: Gateway) -> None:
        """A refusal, and an end for its length."""
        refusal = gateway.post("fake/refuse").json()["choices"][0]
        length = gateway.post("fake/length").json()["choices"][0]

        assert "I will not." == refusal["message"]["refusal"]
        assert ("length", "incomplete:max_output_tokens") == (length["finish_reason"], length["native_finish_reason"])

    @pytest.mark.parametrize(
        ("model", "status", "error_type"),
        [
            ("fake/throttled", 429, "rate_limit_exceeded"),
            ("fake/too-long", 400, "context_length_exceeded"),
            ("fake/garbage", 502, "provider_unavailable"),
        ],
    )
    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.covers("protocols.openai_responses", "errors with status")
    def test_errors_before_any_output(
        self, gateway: Gateway, model: str, status: int, error_type: str, *, stream: bool
    ) -> None:
        """As statuses, with their types."""
        response = gateway.post(model, stream=stream)

        assert (status, error_type) == (response.status_code, response.json()["error"]["metadata"]["error_type"])

    @pytest.mark.parametrize(
        ("model", "streamed", "whole"), [("fake/failed", 429, 502), ("fake/error", 429, 502), ("fake/cut", 502, 502)]
    )
    @pytest.mark.covers("protocols.openai_responses", "errors within streams")
    def test_errors_within_an_answer(self, gateway: Gateway, model: str, streamed: int, whole: int) -> None:
        """In the stream behind what came before; a body that is not whole is no answer."""
        chunks, _ = gateway.stream(model)

        assert TEXT.startswith(text_of(chunks))
        assert text_of(chunks)
        assert (streamed, "error") == (chunks[-1]["error"]["code"], chunks[-1]["choices"][0]["finish_reason"])
        assert whole == gateway.post(model).status_code


def _message_of(gateway: Gateway, model: str, *, stream: bool, **fields: Any) -> Json:
    """Return the message of an answer; a streamed one is put together as clients do."""
    response = gateway.post(model, stream=stream, **fields)
    assert 200 == response.status_code, response.text
    if not stream:
        return response.json()["choices"][0]["message"]
    message: Json = {"role": "assistant", "content": None}
    details: dict[tuple[str, int], Json] = {}
    calls: dict[int, Json] = {}
    for chunk in chunks_of(response.text):
        for choice in chunk["choices"]:
            delta = choice["delta"]
            for key in ("content", "reasoning"):
                if delta.get(key):
                    message[key] = (message.get(key) or "") + delta[key]
            for detail in delta.get("reasoning_details", ()):
                known = details.setdefault((detail["type"], detail["index"]), detail)
                if known is not detail and "summary" in detail:
                    known["summary"] += detail["summary"]
            for call in delta.get("tool_calls", ()):
                known = calls.setdefault(call["index"], call)
                if known is not call:
                    known["function"]["arguments"] += call["function"]["arguments"]
    if details:
        message["reasoning_details"] = list(details.values())
    if calls:
        message["tool_calls"] = [{key: call[key] for key in ("id", "type", "function")} for call in calls.values()]
    return message


def _record_of(gateway: Gateway, generation_id: str) -> Json:
    """Return what the ledger has of a generation, which is written once its answer is out."""
    known = gateway.generations(1)
    while all(record["id"] != generation_id for record in known):
        seen = len(known)
        known = gateway.generations(seen + 1)
        assert len(known) > seen, f"{generation_id} is not recorded"
    return next(record for record in known if record["id"] == generation_id)


class TestResponses:
    """The Responses API in front."""

    @pytest.mark.parametrize("model", ["fake/answer", "chat/answer", "smol/chat", "smol/responses"])
    def test_json_and_stream_agree(self, gateway: Gateway, model: str) -> None:
        """Whatever the provider speaks."""
        fields: Json = {"temperature": 0, "max_output_tokens": 16, "metadata": {"a": "b"}}
        whole = respond(gateway, model, **fields)
        events = events_of(respond(gateway, model, stream=True, **fields))

        body, last = whole.json(), events[-1]["response"]
        assert 200 == whole.status_code
        assert f"resp_{whole.headers['x-generation-id'].removeprefix('gen-')}" == body["id"]
        assert (model, {"a": "b"}, 0) == (body["model"], body["metadata"], body["temperature"])
        assert body["output_text"]
        assert body["output_text"] == last["output_text"]
        assert without_ids(body["output"]) == without_ids(last["output"])
        deltas = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
        assert body["output_text"] == "".join(deltas)
        assert body["usage"]["output_tokens"] == last["usage"]["output_tokens"] > 0

    def test_when_it_was_complete(self, gateway: Gateway) -> None:
        """In whole seconds of unix time, at the end of the answer."""
        began = int(time.time())
        answers = [respond(gateway, "fake/answer").json()]
        answers.append(events_of(respond(gateway, "fake/answer", stream=True))[-1]["response"])

        for answer in answers:
            assert began <= answer["created_at"] <= answer["completed_at"] <= time.time()

    @pytest.mark.parametrize("stream", [False, True])
    def test_two_turns_with_reasoning(self, gateway: Gateway, provider: ResponsesProvider, *, stream: bool) -> None:
        """The items of the first turn go back as they came, which is how the provider wants them."""
        fields: Json = {"tools": TOOLS, "reasoning": {"effort": "low", "summary": "detailed"}, "stream": stream}
        first = respond(gateway, "fake/agent", **fields)
        response = events_of(first)[-1]["response"] if stream else first.json()
        assert ["reasoning", "function_call", "reasoning", "function_call"] == [i["type"] for i in response["output"]]
        assert REASONING[0]["summary"] == response["output"][0]["summary"]
        outputs = [
            {"type": "function_call_output", "call_id": item["call_id"], "output": "ok"}
            for item in response["output"]
            if item["type"] == "function_call"
        ]

        second = respond(gateway, "fake/agent", input=[QUESTION, *response["output"], *outputs], **fields)

        answer = events_of(second)[-1]["response"] if stream else second.json()
        assert ("completed", TEXT) == (answer["status"], answer["output_text"])
        sent = provider.requests[-1]["input"]
        assert REASONING[:2] == [item for item in sent if item["type"] == "reasoning"]
        assert ["call_1", "call_2"] == [item["call_id"] for item in sent if item["type"] == "function_call"]

    @pytest.mark.parametrize("stream", [False, True])
    def test_two_turns_with_custom_tools(self, gateway: Gateway, provider: ResponsesProvider, *, stream: bool) -> None:
        """Text is what the caller gets and gives; the provider has functions, which every model knows."""
        tools = [{"type": "custom", "name": name} for name in ("weather_here", "weather_there")]
        fields: Json = {"tools": tools, "stream": stream}
        first = respond(gateway, "fake/agent", **fields)
        events = events_of(first) if stream else []
        response = events[-1]["response"] if stream else first.json()
        calls = [item for item in response["output"] if item["type"] == "custom_tool_call"]
        assert [("weather_here", "San Francisco"), ("weather_there", "Los Angeles")] == [
            (call["name"], call["input"]) for call in calls
        ]
        for call in calls if stream else ():
            pieces = [event for event in events if event.get("item_id") == call["id"] and "delta" in event]
            assert {"response.custom_tool_call_input.delta"} == {event["type"] for event in pieces}
            assert call["input"] == "".join(event["delta"] for event in pieces)
        outputs = [{"type": "custom_tool_call_output", "call_id": call["call_id"], "output": "ok"} for call in calls]

        second = respond(gateway, "fake/agent", input=[QUESTION, *response["output"], *outputs], **fields)

        answer = events_of(second)[-1]["response"] if stream else second.json()
        assert ("completed", TEXT) == (answer["status"], answer["output_text"])
        sent = [item for item in provider.requests[-1]["input"] if item["type"] == "function_call"]
        assert ['{"input":"San Francisco"}', '{"input":"Los Angeles"}'] == [item["arguments"] for item in sent]

    def test_what_ends_early(self, gateway: Gateway) -> None:
        """Incomplete answers say so; failed ones carry the API's code and the exact type."""
        length = respond(gateway, "fake/length").json()
        failed = events_of(respond(gateway, "fake/failed", stream=True))[-1]
        cut = events_of(respond(gateway, "chat/cut", stream=True))[-1]

        assert ("incomplete", {"reason": "max_output_tokens"}) == (length["status"], length["incomplete_details"])
        assert ("response.failed", "rate_limit_exceeded") == (failed["type"], failed["response"]["error"]["code"])
        assert (cut["response"]["error_type"], cut["response"]["error"]["code"]) == (
            "provider_unavailable",
            "server_error",
        )
        assert CHAT_TEXT.startswith(cut["response"]["output_text"])

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_prompt_that_is_too_long(self, gateway: Gateway, *, stream: bool) -> None:
        """Is an answer of no length, from a provider of either protocol; the ledger has it as an error."""
        for model, content in (
            ("fake/too-long", "x"),
            ("smol/responses", "word " * 9000),
            ("smol/chat", "word " * 9000),
        ):
            answered = respond(gateway, model, input=content, stream=stream)

            response = events_of(answered)[-1]["response"] if stream else answered.json()
            assert 200 == answered.status_code
            assert ("incomplete", []) == (response["status"], response["output"])
            record = _record_of(gateway, answered.headers["x-generation-id"])
            assert ("context_length_exceeded", "error") == (record["error_type"], record["finish_reason"])

    @pytest.mark.parametrize(
        ("fields", "status", "error_type"),
        [
            ({"model": "nobody/knows"}, 400, "invalid_request"),
            ({"model": "fake/throttled"}, 429, "rate_limit_exceeded"),
            ({"model": "chat/status-500"}, 502, "provider_unavailable"),
            ({"model": "fake/answer", "store": True}, 400, "invalid_request"),
            ({"model": "fake/answer", "previous_response_id": "resp_1"}, 400, "invalid_request"),
            ({"model": "fake/answer", "input": [{"type": "computer_call"}]}, 400, "invalid_request"),
        ],
    )
    def test_errors(self, gateway: Gateway, fields: Json, status: int, error_type: str) -> None:
        """Before any output they are statuses, with an integer code, for every client of either API."""
        response = respond(gateway, **fields)
        body = response.json()

        assert (status, status) == (response.status_code, body["error"]["code"])
        assert (error_type, error_type) == (body["error_type"], body["error"]["metadata"]["error_type"])


def test_the_embedded_model_speaks_it(embedded: Gateway) -> None:
    """Text, a call that a grammar makes, and an object of a schema."""
    text = respond(embedded, EMBEDDED, input="Say hello.", max_output_tokens=12, temperature=0).json()
    events = events_of(respond(embedded, EMBEDDED, tools=TOOLS[:1], tool_choice="required", temperature=0, stream=True))
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    form = {"format": {"type": "json_schema", "name": "who", "schema": schema}}
    shaped = respond(embedded, EMBEDDED, input="Who are you?", text=form, max_output_tokens=60, temperature=0).json()

    assert text["output_text"].strip()
    assert ("incomplete", {"reason": "max_output_tokens"}) == (text["status"], text["incomplete_details"])
    (call,) = events[-1]["response"]["output"]
    assert ("function_call", "weather_here", "completed") == (call["type"], call["name"], call["status"])
    assert isinstance(json.loads(call["arguments"]), dict)
    assert ["name"] == list(json.loads(shaped["output_text"]))
