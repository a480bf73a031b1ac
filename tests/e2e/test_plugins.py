"""Plugins, with real processes: a gateway, a provider that has none of their abilities, a search engine."""

import base64
import importlib
import json
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from langchain_core.messages import HumanMessage

from fakes.gateway import Gateway, chat_body, chunks_of, provider_config, running_gateway
from fakes.provider import TEXT, FakeProvider, running_provider
from fakes.search_engine import PAGE, SearchEngine, running_search_engine
from langchain_openrouter import ChatOpenRouter

sys.path.insert(0, str(Path(__file__).parents[2] / "packages/openrouter-gateway/tests"))
make_pdf: Any = importlib.import_module("pdf_samples").make_pdf

NEARLY = "```json\n{'city': 'Paris', \"degrees\": 21,}\n```"
CITED = f"Sunny, says [Paris]({PAGE['url']})."
MODELS = {
    "fake/answer": "answer",
    "fake/nearly": f"says:{NEARLY}",
    "fake/cited": f"says:{CITED}",
    "fake/nothing": "nothing",
}
WEATHER = {
    "type": "json_schema",
    "json_schema": {
        "name": "weather",
        "schema": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "degrees": {"type": "integer"}},
            "required": ["city", "degrees"],
        },
    },
}


@pytest.fixture(scope="module")
def provider() -> Generator[FakeProvider]:
    with running_provider() as running:
        yield running


@pytest.fixture(scope="module")
def engine() -> Generator[SearchEngine]:
    with running_search_engine() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, provider: FakeProvider, engine: SearchEngine
) -> Generator[Gateway]:
    """A gateway with a search engine, in front of a provider with 4096 tokens of context."""
    config = provider_config(
        {"first": provider.base_url}, MODELS, head=f'[web]\nengine = "searxng"\nbase_url = "{engine.base_url}"\n'
    )
    config = config.replace("output_modalities", "context_length = 4096\noutput_modalities")
    with running_gateway(tmp_path_factory.mktemp("plugins"), config) as running:
        yield running


def ask(gateway: Gateway, model: str, **fields: Any) -> dict[str, Any]:
    """Return the answer, with what the gateway did to the request."""
    body = chat_body(model, **fields)
    headers = {"X-OpenRouter-Metadata": "enabled"}
    response = httpx2.post(f"{gateway.base_url}/chat/completions", json=body, headers=headers, timeout=60)
    assert 200 == response.status_code, response.text
    return response.json()


def stages(answer: dict[str, Any]) -> list[str]:
    return [stage["type"] for stage in answer["openrouter_metadata"]["pipeline"]]


@pytest.mark.parametrize("online", [True, False])
def test_web(gateway: Gateway, provider: FakeProvider, engine: SearchEngine, *, online: bool) -> None:
    """The question is searched for, the model sees what was found, and its links come back as citations."""
    if online:
        answer = ask(gateway, "fake/cited:online")
    else:
        answer = ask(gateway, "fake/cited", plugins=[{"id": "web", "max_results": 1}])

    assert "Say hello." == engine.queries[-1]
    assert PAGE["content"] in json.dumps(provider.requests[-1]["messages"])
    message = answer["choices"][0]["message"]
    (annotation,) = message["annotations"]
    citation = annotation["url_citation"]
    assert ("url_citation", PAGE["url"], PAGE["title"]) == (annotation["type"], citation["url"], citation["title"])
    assert PAGE["url"] in message["content"][citation["start_index"] : citation["end_index"]]


def test_web_of_a_stream(gateway: Gateway) -> None:
    """The citations come with the last words."""
    response = gateway.post("fake/cited:online", stream=True)
    deltas = [choice["delta"] for chunk in chunks_of(response.text) for choice in chunk["choices"]]
    (annotation,) = [each for delta in deltas for each in delta.get("annotations") or ()]
    assert PAGE["url"] == annotation["url_citation"]["url"]


def test_a_pdf_for_a_model_without_files(gateway: Gateway, provider: FakeProvider) -> None:
    """It is read here, and not again when its text comes back."""
    data = base64.b64encode(make_pdf("The secret word is heron.")).decode()
    file = {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{data}"}}
    question = {"role": "user", "content": [{"type": "text", "text": "Which word?"}, file]}

    answer = ask(gateway, "fake/answer", messages=[question])

    assert "The secret word is heron." in json.dumps(provider.requests[-1])
    message = answer["choices"][0]["message"]
    (annotation,) = message["annotations"]
    assert ("file", "a.pdf") == (annotation["type"], annotation["file"]["name"])
    forged = json.loads(json.dumps(message).replace("heron", "stork"))
    ask(gateway, "fake/answer", messages=[question, forged, {"role": "user", "content": "Again?"}])
    assert "The secret word is stork." in json.dumps(provider.requests[-1]), "what came back is what is used"


def test_a_pdf_through_the_client(gateway: Gateway, provider: FakeProvider) -> None:
    """In LangChain's own spelling of a file."""
    data = base64.b64encode(make_pdf("The word is ibis.")).decode()
    block = {"type": "file", "base64": data, "mime_type": "application/pdf", "filename": "b.pdf"}
    model = ChatOpenRouter(model="fake/answer", base_url=gateway.base_url, max_retries=0)

    assert TEXT == model.invoke([HumanMessage([{"type": "text", "text": "Which?"}, block])]).text
    assert "The word is ibis." in json.dumps(provider.requests[-1])


def test_a_file_that_is_no_pdf(gateway: Gateway) -> None:
    """Its name is in the error, and it is the caller's fault."""
    file = {"type": "file", "file": {"filename": "c.pdf", "file_data": "data:application/pdf;base64,bm8="}}
    response = gateway.post("fake/answer", messages=[{"role": "user", "content": [file]}])
    assert (400, True) == (response.status_code, "c.pdf" in response.json()["error"]["message"])


def test_json_that_is_nearly_right(gateway: Gateway) -> None:
    """It is put right only when that is asked for."""
    healed = ask(gateway, "fake/nearly", response_format=WEATHER, plugins=[{"id": "response-healing"}])
    left = ask(gateway, "fake/nearly", response_format=WEATHER)

    assert {"city": "Paris", "degrees": 21} == json.loads(healed["choices"][0]["message"]["content"])
    assert NEARLY == left["choices"][0]["message"]["content"]


def test_a_prompt_that_is_too_long(gateway: Gateway, provider: FakeProvider) -> None:
    """It loses its middle for a small context; or it is refused, if its sender would rather have that."""
    messages = [{"role": "user", "content": f"{number} " + "word " * 200} for number in range(40)]

    answer = ask(gateway, "fake/answer", messages=messages)

    sent = [message["content"] for message in provider.requests[-1]["messages"]]
    assert (messages[0]["content"], messages[-1]["content"]) == (sent[0], sent[-1])
    assert len(sent) < 40
    assert ["context_compression"] == stages(answer)
    refused = gateway.post("fake/answer", messages=messages, transforms=[])
    assert (400, "context_length_exceeded") == (
        refused.status_code,
        refused.json()["error"]["metadata"]["error_type"],
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "169.254.169.254", "[::1]", "0.0.0.0"])
def test_nothing_is_fetched_from_within(gateway: Gateway, provider: FakeProvider, host: str) -> None:
    """A caller cannot make the gateway read what only its own network can."""
    port = provider.base_url.rpartition(":")[2].partition("/")[0]
    file = {"type": "file", "file": {"filename": "d.pdf", "file_data": f"http://{host}:{port}/d.pdf"}}
    before = len(provider.requests)
    response = gateway.post("fake/answer", messages=[{"role": "user", "content": [file]}])
    assert (400, before) == (response.status_code, len(provider.requests)), response.text


def test_nothing_to_show_for_it(gateway: Gateway) -> None:
    """An answer of no tokens costs nothing, whatever the prompt was."""
    answer = ask(gateway, "fake/nothing")
    assert 0 == answer["usage"]["cost"]


def test_what_does_not_exist(gateway: Gateway) -> None:
    """Plugins have names, and the error lists them."""
    response = gateway.post("fake/answer", plugins=[{"id": "wbe"}])
    assert (400, True) == (response.status_code, "response-healing" in response.text)
