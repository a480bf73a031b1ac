"""What arrives of each way that a generation can go, at a destination with content and at one in privacy mode."""

import json
import time
from collections.abc import Callable, Generator, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import httpx2
import pytest

from fakes.anthropic_provider import CALL_ID, THOUGHT, running_anthropic
from fakes.gateway import Gateway, provider_config, running_gateway, wait_for
from fakes.otlp_receiver import Receiver, running_receiver
from fakes.provider import TEXT, FakeProvider, running_provider
from fakes.responses_provider import running_responses_provider

QUESTION = "question-8d1f What is the weather in Paris?"
DOCUMENT = "document-41c6 It rains in Paris."
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": QUESTION}]}
MODELS = {"fake/answer": "answer", "fake/endless": "endless", "fake/failing": "status:500", "fake/cut": "cut"}
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
PRICE = 'pricing = { prompt = "0.000003", completion = "0.000015" }'
SKINS: dict[str, dict[str, Any]] = {
    "/chat/completions": CHAT,
    "/messages": CHAT | {"max_tokens": 100},
    "/responses": {"input": QUESTION},
    "/completions": {"prompt": QUESTION},
}


class Broadcasting(NamedTuple):
    """A gateway with two endpoints for each model of text, and two destinations."""

    gateway: Gateway
    whole: Receiver
    private: Receiver

    def post(self, path: str, model: str, headers: Sequence[tuple[str, str]] = (), **fields: Any) -> str:
        """Send a request; return the id of its generation."""
        body = {"model": model, "trace": {"team": "blue"}, "session_id": "s-1"} | fields
        response = httpx2.post(f"{self.gateway.base_url}{path}", json=body, headers=list(headers), timeout=30)
        return response.headers["x-generation-id"]

    def record(self, generation_id: str) -> dict[str, Any]:
        """Return the ledger's row, with its numbers to the last digit."""
        url = f"{self.gateway.base_url}/generation?id={generation_id}"
        wait_for(lambda: httpx2.get(url).status_code == 200, within_s=10)
        return json.loads(httpx2.get(url).text, parse_float=Decimal)["data"]

    def told(self, generation_id: str, *, private: tuple[str, ...] = (QUESTION, TEXT)) -> dict[str, Any]:
        """Return the one span at the destination with content, checked against the ledger and the other destination."""
        for receiver in (self.whole, self.private):
            wait_for(lambda receiver=receiver: generation_id in receiver.generations, within_s=10)
        (span,) = spans_of(self.whole, generation_id)
        (hidden,) = spans_of(self.private, generation_id)
        for place in ("traceId", "spanId", "parentSpanId", "name", "startTimeUnixNano", "endTimeUnixNano", "status"):
            assert span[place] == hidden[place]
        content = {"gen_ai.input.messages", "gen_ai.output.messages"}
        attributes = span["attributes"]
        assert {key: held for key, held in attributes.items() if key not in content} == hidden["attributes"]
        assert all(text.encode() not in body for text in private for body in self.private.bodies)
        self._agrees(attributes, self.record(generation_id))
        return span

    def _agrees(self, told: dict[str, Any], record: dict[str, Any]) -> None:
        assert record["total_cost"] == Decimal(told["openrouter.cost"])
        (row,) = [row for row in self.gateway.generations(1) if row["id"] == record["id"]]
        assert (row["usage"]["prompt_tokens"], row["usage"]["completion_tokens"]) == (
            told["gen_ai.usage.input_tokens"],
            told["gen_ai.usage.output_tokens"],
        )
        assert record["model"] == told.get("gen_ai.response.model", told["gen_ai.request.model"])
        assert record["provider_name"] == told.get("gen_ai.system")
        assert record["finish_reason"] == told.get("gen_ai.response.finish_reason")
        assert record["cancelled"] is (told["openrouter.ending"] == "cancelled")
        assert record["streamed"] is told.get("gen_ai.request.stream", False)
        assert ("blue", "s-1") == (told["trace.metadata.team"], told["session.id"])


def spans_of(receiver: Receiver, generation_id: str) -> list[dict[str, Any]]:
    return [span for span in receiver.spans if span["attributes"].get("openrouter.generation.id") == generation_id]


def texts(span: dict[str, Any], side: str) -> list[str] | None:
    """Return what the messages of the input or output say; None if there are none."""
    said = span["attributes"].get(f"gen_ai.{side}.messages")
    if said is None:
        return None
    return [part["content"] for message in json.loads(said) for part in message["parts"]]


def webhook(name: str, url: str, more: str = "") -> str:
    return f'[[destinations]]\ntype = "webhook"\nname = "{name}"\nconfig = {{ url = "{url}" }}\n{more}\n'


@pytest.fixture(scope="module")
def provider() -> Generator[FakeProvider]:
    with running_provider() as running:
        yield running


@pytest.fixture(scope="module")
def broadcasting(tmp_path_factory: pytest.TempPathFactory, provider: FakeProvider) -> Generator[Broadcasting]:
    """See `Broadcasting`."""
    directory = tmp_path_factory.mktemp("broadcasting")
    with (
        running_receiver() as whole,
        running_receiver() as private,
        running_anthropic() as claude,
        running_responses_provider() as responses,
    ):
        config = [
            provider_config({"first": provider.base_url, "second": provider.base_url}, MODELS),
            '[[providers.first.models]]\nid = "fake/vectors"\nupstream_id = "vectors"',
            f'output_modalities = ["embeddings"]\n{PRICE}\n',
            '[[providers.first.models]]\nid = "fake/rank"\nupstream_id = "rank"\noutput_modalities = ["rerank"]',
            'pricing = { request = "0.002" }\n',
            *(
                f'[providers.{slug}]\nprotocol = "{slug}"\nbase_url = "{url}"\napi_key = "sk"\n'
                f'[[providers.{slug}.models]]\nid = "fake/{name}"\nupstream_id = "{name}"\n{PRICE}\n'
                for slug, url, name in (
                    ("anthropic", claude.base_url, "claude-sonnet-4-5"),
                    ("openai_responses", responses.base_url, "agent"),
                )
            ),
            f'[broadcast]\ndirectory = "{directory}/spool"\n',
            webhook("whole", whole.url),
            webhook("private", private.url, "privacy_mode = true"),
        ]
        with running_gateway(directory, "\n".join(config)) as gateway:
            yield Broadcasting(gateway, whole, private)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("path", SKINS)
def test_an_answer_in_every_dialect(broadcasting: Broadcasting, path: str, *, streamed: bool) -> None:
    """The same in all: what was asked and answered, tokens, and what it cost."""
    span = broadcasting.told(broadcasting.post(path, "fake/answer", stream=streamed, **SKINS[path]))
    told = span["attributes"]
    assert ([QUESTION], [TEXT]) == (texts(span, "input"), texts(span, "output"))
    assert ("chat", "stop", 200, 11, 7) == (
        told["gen_ai.operation.name"],
        told["gen_ai.response.finish_reason"],
        told["http.response.status_code"],
        told["gen_ai.usage.input_tokens"],
        told["gen_ai.usage.output_tokens"],
    )
    assert Decimal(11 * 3 + 7 * 15) / 1_000_000 == Decimal(told["openrouter.cost"])
    assert {} == span["status"]


@pytest.mark.parametrize("streamed", [False, True])
def test_thoughts_and_calls_of_claude(broadcasting: Broadcasting, *, streamed: bool) -> None:
    """Also where a request and its answer pass unchanged, as its provider speaks the caller's dialect."""
    tools = [{"name": "get_weather", "input_schema": PARAMETERS}]
    thinking = {"type": "enabled", "budget_tokens": 1024}
    body: dict[str, Any] = CHAT | {
        "max_tokens": 2000,
        "system": "system-77",
        "tools": tools,
        "thinking": thinking,
        "stream": streamed,
    }
    span = broadcasting.told(
        broadcasting.post("/messages", "fake/claude-sonnet-4-5", **body),
        private=(QUESTION, "system-77", THOUGHT, "get_weather"),
    )
    asked = json.loads(span["attributes"]["gen_ai.input.messages"])
    assert [("system", "system-77"), ("user", QUESTION)] == [
        (message["role"], message["parts"][0]["content"]) for message in asked
    ]
    (said,) = json.loads(span["attributes"]["gen_ai.output.messages"])
    call = {"type": "tool_call", "id": CALL_ID, "name": "get_weather", "arguments": {"city": "Paris"}}
    assert [{"type": "reasoning", "content": THOUGHT}, {"type": "text", "content": "Let me look."}, call] == said[
        "parts"
    ]
    assert ("tool_calls", 4, 100) == (
        span["attributes"]["gen_ai.response.finish_reason"],
        span["attributes"]["gen_ai.usage.reasoning.output_tokens"],
        span["attributes"]["gen_ai.usage.cache_read.input_tokens"],
    )


@pytest.mark.parametrize("streamed", [False, True])
def test_thoughts_and_calls_of_responses(broadcasting: Broadcasting, *, streamed: bool) -> None:
    """As above, in OpenAI's newer dialect."""
    tools = [{"type": "function", "name": name, "parameters": PARAMETERS} for name in ("here", "there")]
    body: dict[str, Any] = {"input": QUESTION, "instructions": "system-77", "tools": tools, "stream": streamed}
    span = broadcasting.told(
        broadcasting.post("/responses", "fake/agent", **body), private=(QUESTION, "system-77", "San Francisco")
    )
    assert ["system-77", QUESTION] == texts(span, "input")
    (said,) = json.loads(span["attributes"]["gen_ai.output.messages"])
    assert ["reasoning", "tool_call", "tool_call"] == [part["type"] for part in said["parts"]]
    assert "San Francisco." in said["parts"][0]["content"]
    assert ["here", "there"] == [part["name"] for part in said["parts"][1:]]
    assert 40 == span["attributes"]["gen_ai.usage.reasoning.output_tokens"]


@pytest.mark.parametrize("path", SKINS)
def test_a_cancelled_stream(broadcasting: Broadcasting, path: str) -> None:
    """What had arrived until the caller hung up, which is no error; used and paid for is what the ledger says."""
    body = {"model": "fake/endless", "stream": True, "trace": {"team": "blue"}, "session_id": "s-1"} | SKINS[path]
    url = f"{broadcasting.gateway.base_url}{path}"
    with httpx2.stream("POST", url, json=body, timeout=30) as response:
        generation_id = response.headers["x-generation-id"]
        read_until(response, lambda text: " 1 " in text or '"1 "' in text)
    span = broadcasting.told(generation_id, private=(QUESTION,))
    told = span["attributes"]
    assert [QUESTION] == texts(span, "input")
    (said,) = texts(span, "output") or [""]
    assert said.startswith("0 1 ")
    assert ("cancelled", 499, "fake/endless") == (
        told["openrouter.ending"],
        told["http.response.status_code"],
        told["gen_ai.response.model"],
    )
    assert Decimal(told["openrouter.cost"]) > 0
    assert "gen_ai.response.finish_reason" not in told
    assert {} == span["status"]


def read_until(response: httpx2.Response, enough: Callable[[str], bool]) -> None:
    text = ""
    for piece in response.iter_text():
        text += piece
        if enough(text):
            return


@pytest.mark.parametrize("path", SKINS)
def test_all_endpoints_fail(broadcasting: Broadcasting, path: str) -> None:
    """One generation, whatever was tried: its error, and an event for each endpoint."""
    span = broadcasting.told(broadcasting.post(path, "fake/failing", **SKINS[path]))
    told = span["attributes"]
    assert ([QUESTION], []) == (texts(span, "input"), texts(span, "output") or [])
    assert 2 == span["status"]["code"]
    assert told["error.type"] in span["status"]["message"]
    assert ("failed", "error", 2, 1) == (
        told["openrouter.ending"],
        told["gen_ai.response.finish_reason"],
        told["openrouter.attempts"],
        told["openrouter.failovers"],
    )
    assert 0 == Decimal(told["openrouter.cost"])
    assert ["openrouter.attempt", "openrouter.attempt", "exception"] == [event["name"] for event in span["events"]]


def test_a_model_that_is_not_there(broadcasting: Broadcasting) -> None:
    """Nobody was asked; the generation is called as the caller called the model."""
    span = broadcasting.told(broadcasting.post("/chat/completions", "fake/nothing", **CHAT))
    assert ("fake/nothing", 2) == (span["name"], span["status"]["code"])
    assert ("failed", 0) == (span["attributes"]["openrouter.ending"], span["attributes"]["openrouter.attempts"])
    assert [QUESTION] == texts(span, "input")


def test_a_stream_that_breaks_off(broadcasting: Broadcasting) -> None:
    """With what had arrived by then."""
    span = broadcasting.told(broadcasting.post("/chat/completions", "fake/cut", stream=True, **CHAT))
    assert ["Hello, "] == texts(span, "output")
    assert ("failed", "error") == (
        span["attributes"]["openrouter.ending"],
        span["attributes"]["gen_ai.response.finish_reason"],
    )


@pytest.mark.parametrize("path", SKINS)
@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_from_the_cache(broadcasting: Broadcasting, path: str, *, streamed: bool) -> None:
    """It has a generation of its own, for nothing, that names whose answer it is; what was said is said again."""
    cached = [("X-OpenRouter-Cache", "true")]
    wanted = {"stream": streamed, "temperature": 0.5} | SKINS[path]
    first, again = (broadcasting.post(path, "fake/answer", cached, **wanted) for _ in range(2))
    span = broadcasting.told(again)
    told = span["attributes"]
    assert (first, "0", 0, 0) == (
        told["openrouter.cache_source_id"],
        told["openrouter.cost"],
        told["gen_ai.usage.input_tokens"],
        told["gen_ai.usage.output_tokens"],
    )
    assert ([QUESTION], [TEXT]) == (texts(span, "input"), texts(span, "output"))
    assert ("fake/answer", "stop", 200) == (
        told["gen_ai.response.model"],
        told["gen_ai.response.finish_reason"],
        told["http.response.status_code"],
    )
    assert "openrouter.cache_source_id" not in broadcasting.told(first)["attributes"]


def test_embeddings(broadcasting: Broadcasting) -> None:
    """Without the vectors."""
    span = broadcasting.told(broadcasting.post("/embeddings", "fake/vectors", input=[QUESTION, "two"]))
    told = span["attributes"]
    assert ([QUESTION, "two"], None) == (texts(span, "input"), texts(span, "output"))
    assert ("embeddings", "fake/vectors", 6, 0, 200) == (
        told["gen_ai.operation.name"],
        told["gen_ai.response.model"],
        told["gen_ai.usage.input_tokens"],
        told["gen_ai.usage.output_tokens"],
        told["http.response.status_code"],
    )
    assert Decimal("0.000018") == Decimal(told["openrouter.cost"])


def test_rerank(broadcasting: Broadcasting) -> None:
    """The query, and what a request costs whatever its tokens."""
    asked = broadcasting.post("/rerank", "fake/rank", query=QUESTION, documents=[DOCUMENT, "two"])
    span = broadcasting.told(asked, private=(QUESTION, DOCUMENT))
    told = span["attributes"]
    assert [QUESTION] == texts(span, "input")
    assert ("rerank", "fake/rank", 200) == (
        told["gen_ai.operation.name"],
        told["gen_ai.response.model"],
        told["http.response.status_code"],
    )
    assert Decimal("0.002") == Decimal(told["openrouter.cost"])


@pytest.mark.parametrize("path", [*SKINS, "/embeddings", "/route/explain"])
def test_a_session_of_the_header_is_as_long_as_one_of_the_body(broadcasting: Broadcasting, path: str) -> None:
    """Longer ones are refused, and named: cut, two sessions could become one."""
    body = {"model": "fake/vectors", "input": "x"} if path == "/embeddings" else {"model": "fake/answer"}
    url, body = f"{broadcasting.gateway.base_url}{path}", body | SKINS.get(path, {} if "input" in body else CHAT)
    refused, served = (
        httpx2.post(url, json=body, headers={"X-Session-Id": "s" * length}, timeout=30) for length in (257, 256)
    )
    assert (400, True) == (refused.status_code, "x-session-id" in refused.json()["error"]["message"])
    assert 200 == served.status_code


def test_several_parents_are_none(broadcasting: Broadcasting) -> None:
    """Of two `traceparent` neither counts, though both are right; one does."""
    one, other = (f"00-{digit * 32}-{digit * 16}-01" for digit in "ab")
    placed = broadcasting.told(broadcasting.post("/chat/completions", "fake/answer", [("traceparent", one)], **CHAT))
    assert ("a" * 32, "a" * 16) == (placed["traceId"], placed["parentSpanId"])
    both = [("traceparent", one), ("traceparent", other)]
    alone = broadcasting.told(broadcasting.post("/chat/completions", "fake/answer", both, **CHAT))
    assert alone["traceId"] not in ("a" * 32, "b" * 32)


def test_nothing_arrives_twice(broadcasting: Broadcasting) -> None:
    """At neither destination, after all of the above."""
    time.sleep(1)  # twice the interval in which records come together
    for receiver in (broadcasting.whole, broadcasting.private):
        arrived = [span["attributes"].get("openrouter.generation.id") for span in receiver.spans]
        generations = [generation_id for generation_id in arrived if generation_id]
        assert len(generations) == len(set(generations))
        recorded = {row["id"] for row in broadcasting.gateway.generations(len(generations))}
        assert set(generations) == recorded
