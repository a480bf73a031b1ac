"""Tools that others wrote to receive traces, each in an environment of its own, behind a gateway that broadcasts."""

import json
import re
import socket
import subprocess
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, cast

import httpx2
import pytest
from langchain.agents import create_agent  # pyright: ignore[reportUnknownVariableType] - langgraph's generics
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool

from conformance.environments import Environment, find_receivers
from fakes.gateway import Gateway, clean_environment, provider_config, running_gateway
from fakes.provider import running_provider
from fakes.thinker import ANSWER
from langchain_openrouter import ChatOpenRouter

_TRACE: Final = {"trace_name": "weather agent", "span_name": "turn 1", "team": "blue"}
_QUESTION: Final = "What is the weather in Paris?"
_START_S: Final = 120.0
_ARRIVAL_S: Final = 30.0


_MOTO, _PHOENIX = find_receivers()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def _running(command: list[str], directory: Path, environment: Mapping[str, str], url: str) -> Generator[None]:
    """Run a server until the end of the block; it is ready when the URL answers."""
    log = directory / "receiver.log"
    with (
        log.open("w") as output,
        subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, cwd=directory, env=clean_environment() | dict(environment)
        ) as process,
    ):
        try:
            deadline = time.monotonic() + _START_S
            while not _answers(url):
                assert process.poll() is None, log.read_text()[-4000:]
                assert time.monotonic() < deadline, log.read_text()[-4000:]
                time.sleep(0.2)
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=5).status_code < 500
    except httpx2.TransportError:
        return False


@contextmanager
def _broadcasting(directory: Path, kind: str, config: Mapping[str, str]) -> Generator[Gateway]:
    """Run a gateway with one destination, and a model that calls a tool and then answers."""
    fields = ", ".join(f"{name} = {json.dumps(value)}" for name, value in config.items())
    with running_provider() as provider:
        settings = provider_config({"first": provider.base_url}, {"fake/thinker": "thinker"}) + (
            f'\n[broadcast]\ndirectory = "{directory}/spool"\n'
            f'[[destinations]]\ntype = "{kind}"\nname = "one"\nconfig = {{ {fields} }}\n'
        )
        with running_gateway(directory / "gateway", settings) as gateway:
            yield gateway
            assert "Traceback" not in gateway.log()
            assert "cannot be reached" not in gateway.log()


@tool("get_weather")
def _get_weather(city: str) -> str:
    """Get the weather of a city."""
    return f"It is sunny in {city}."


def _run_agent(gateway: Gateway, session_id: str) -> dict[str, Any]:
    """Let an agent take its two steps; return the ledger's records by id, as the API shows them."""
    model = ChatOpenRouter(
        model="fake/thinker",
        base_url=gateway.base_url,
        api_key=cast("Any", "none"),
        session_id=session_id,
        trace=cast("Any", _TRACE),
    )
    agent = cast("Any", create_agent(model=model, tools=[_get_weather]))
    messages = agent.invoke({"messages": [HumanMessage(_QUESTION)]})["messages"]
    assert ANSWER == messages[-1].text
    ids = [row["id"] for row in gateway.generations(2)]
    shown = [httpx2.get(f"{gateway.base_url}/generation?id={each}").text for each in ids]
    return {each: json.loads(text, parse_float=Decimal)["data"] for each, text in zip(ids, shown, strict=True)}


def _spans_of(url: str, count: int) -> list[dict[str, Any]]:
    """Return what Phoenix shows of its project, once it has so many spans."""
    deadline = time.monotonic() + _ARRIVAL_S
    while True:
        answer = httpx2.get(f"{url}/v1/projects/default/spans?limit=1000", timeout=10)
        spans: list[dict[str, Any]] = answer.json().get("data", [])
        if len(spans) >= count or time.monotonic() > deadline:
            return spans
        time.sleep(0.2)


@pytest.mark.parametrize("environment", [_PHOENIX], ids=[_PHOENIX.name], indirect=True)
def test_phoenix(environment: Environment, tmp_path: Path) -> None:
    """It shows an agent's run as one tree, with tokens and cost to the last digit."""
    port, rpc_port = _free_port(), _free_port()
    url = f"http://127.0.0.1:{port}"
    settings = {
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(rpc_port),
        "PHOENIX_WORKING_DIR": str(tmp_path / "phoenix"),
        "PHOENIX_TELEMETRY_ENABLED": "false",
    }
    command = [str(environment.python.with_name("phoenix")), "serve"]
    config = {"endpoint": url, "encoding": "protobuf"}
    with (
        _running(command, tmp_path, settings, f"{url}/healthz"),
        _broadcasting(tmp_path, "otel-collector", config) as gateway,
    ):
        records = _run_agent(gateway, "session-7")
        spans = _spans_of(url, 4)
    by_id = {span["context"]["span_id"]: span for span in spans}
    called = {span["attributes"]["gen_ai.response.id"]: span for span in spans if span["span_kind"] == "LLM"}
    assert 4 == len(by_id)
    assert 1 == len({span["context"]["trace_id"] for span in spans})
    assert records.keys() == called.keys()
    for generation_id, span in called.items():
        turn = by_id[span["parent_id"]]
        root = by_id[turn["parent_id"]]
        assert ["fake/thinker", "turn 1", "weather agent"] == [each["name"] for each in (span, turn, root)]
        assert root["parent_id"] is None
        record, shown = records[generation_id], span["attributes"]
        assert record["total_cost"] == Decimal(shown["openrouter.cost"]) == Decimal(str(shown["gen_ai.usage.cost"])) > 0
        # Phoenix's own names, which it makes of OpenTelemetry's.
        assert (record["native_tokens_prompt"], record["native_tokens_completion"], "fake/thinker") == (
            shown["llm.token_count.prompt"],
            shown["llm.token_count.completion"],
            shown["llm.model_name"],
        )
        assert _QUESTION == shown["llm.input_messages.0.message.content"]
    first, second = (called[generation_id]["attributes"] for generation_id in records)
    assert "get_weather" == first["llm.output_messages.0.message.tool_calls.0.tool_call.function.name"]
    assert "It is sunny in Paris." == second["llm.input_messages.2.message.content"]
    assert ANSWER == second["llm.output_messages.0.message.content"]


@pytest.mark.parametrize("environment", [_MOTO], ids=[_MOTO.name], indirect=True)
def test_s3(environment: Environment, tmp_path: Path) -> None:
    """A document per generation is kept there, for who signs as Amazon wants it."""
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(environment.python.with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]

    def call(*arguments: str, fails: bool = False) -> Any:
        command = [str(environment.python), "-I", str(environment.script), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=clean_environment())
        assert fails == bool(done.returncode), done.stderr
        return done.stderr if fails else json.loads(done.stdout)

    with _running(command, tmp_path, {"INITIAL_NO_AUTH_ACTION_COUNT": "4"}, f"{url}/moto-api/"):
        key = call("prepare", url)
        forged = call("list", url, key["accessKeyId"], "x" * 40, fails=True)
        assert "SignatureDoesNotMatch" in forged
        config = key | {"bucketName": "traces", "endpoint": url, "pathTemplate": "{prefix}/{year}/{month}/{apiKeyName}"}
        with _broadcasting(tmp_path, "s3", config) as gateway:
            records = _run_agent(gateway, "session-7")
            gateway.stop()
        objects: dict[str, str] = call("list", url, *key.values())
    documents = sorted((json.loads(text, parse_float=Decimal) for text in objects.values()), key=_when)
    assert all(
        re.fullmatch(r"openrouter-traces/\d{4}/\d\d/none/[0-9a-f]{32}-\d{8}T\d{12}Z\.json", name) for name in objects
    )
    assert ["weather agent"] * 2 == [document["name"] for document in documents]
    assert 1 == len({document["id"] for document in documents})
    seen = [each for document in documents for each in document["observations"]]
    root, turn, first, second = seen
    assert [None, root["id"], turn["id"], turn["id"]] == [each["parentObservationId"] for each in seen]
    for (generation_id, record), each in zip(records.items(), (first, second), strict=True):
        assert generation_id == each["attributes"]["openrouter.generation.id"]
        assert record["total_cost"] == each["cost"] > 0
        assert record["native_tokens_prompt"] == each["usage"]["promptTokens"]
    assert [{"role": "assistant", "content": ANSWER}] == second["output"]


def _when(document: dict[str, Any]) -> str:
    return document["timestamp"]
