"""`LANGSMITH_TRACING=true` is all it takes: the real client of LangSmith sends what a run was, and what it cost.

Each test asks in a process of its own, whose environment has nothing but what the test says.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from langsmith_receiver import LangSmith, running_langsmith
from scripted_server import Json, ScriptedServer, completion, event, json_reply, sse_reply

KEY = "sk-or-v1-0123456789abcdef"
HEADER = "header-secret-0123"
USAGE: Json = {
    "prompt_tokens": 100,
    "completion_tokens": 50,
    "total_tokens": 150,
    "prompt_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 20},
    "completion_tokens_details": {"reasoning_tokens": 30},
    "cost": 0.00042,
    "cost_details": {"upstream_inference_cost": None},
}
COUNTED: Json = {
    "input_tokens": 100,
    "output_tokens": 50,
    "total_tokens": 150,
    "input_token_details": {"cache_read": 10, "cache_creation": 20},
    "output_token_details": {"reasoning": 30},
}
ANSWER: Json = {**completion("23", reasoning="Hm."), "usage": USAGE}
STREAM = sse_reply(
    event({"reasoning": "Hm."}), event({"content": "2"}), event({"content": "3"}), event({}, "stop", usage=USAGE)
)

CONFIG = "config={'run_name': 'WAY'}"
WAYS = {
    "invoke": f"model.invoke('hi', {CONFIG})",
    "ainvoke": f"asyncio.run(model.ainvoke('hi', {CONFIG}))",
    "stream": f"list(model.stream('hi', {CONFIG}))",
    "astream": f"asyncio.run(collect(model.astream('hi', {CONFIG})))",
    "streamed invoke": f"model.invoke('hi', stream=True, {CONFIG})",
    "typed events": f"model.stream_events('hi', version='v3', {CONFIG}).output",
}

SCRIPT = f"""
import asyncio, warnings
warnings.simplefilter("ignore")
from langchain_core.tracers.langchain import wait_for_all_tracers
from langchain_openrouter import ChatOpenRouter, OpenRouterError

async def collect(stream):
    return [chunk async for chunk in stream]

def length(text: str) -> int:
    "Return the length of a text."
    return len(text)

model = ChatOpenRouter(
    model="acme/asked", temperature=0.5, max_tokens=9, max_retries=0, default_headers={{"x-auth": "{HEADER}"}}
)
try:
    WHAT
except OpenRouterError as error:
    print(error)
wait_for_all_tracers()
"""


@pytest.fixture(scope="module")
def runs() -> dict[str, Json]:
    """One run for each way to ask, by its name; in one process, because importing takes longer than asking."""
    with running_langsmith() as langsmith, ScriptedServer() as server:
        server.answer(*(json_reply(ANSWER) if way in {"invoke", "ainvoke"} else STREAM for way in WAYS))
        run(langsmith, server, "; ".join(code.replace("WAY", way) for way, code in WAYS.items()))
        assert {"ls-0123456789"} == langsmith.keys
        return {traced["name"]: traced for traced in langsmith.runs.values()}


@pytest.fixture
def langsmith() -> Iterator[LangSmith]:
    with running_langsmith() as running:
        yield running


def run(langsmith: LangSmith, server: ScriptedServer, what: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LANG", "OPENROUTER", "OTEL"))}
    environment = {
        **kept,
        "LANGSMITH_TRACING": "true",
        "LANGSMITH_ENDPOINT": langsmith.url,
        "LANGSMITH_API_KEY": "ls-0123456789",
        "LANGSMITH_PROJECT": "mine",
        "OPENROUTER_API_BASE": server.url,
        "OPENROUTER_API_KEY": KEY,
    }
    code = SCRIPT.replace("WHAT", what)
    return subprocess.check_output([sys.executable, "-c", code], env=environment, text=True, timeout=60)


def message_of(traced: Json) -> Json:
    (((generation,),),) = (traced["outputs"]["generations"],)
    return generation["message"]["kwargs"]


@pytest.mark.parametrize("way", WAYS)
def test_a_run_is_all_there(runs: dict[str, Json], way: str) -> None:
    """Model, provider, tokens with their details, cost, and the id under which the API knows it."""
    traced = runs[way]
    assert (traced["run_type"], traced["session_name"], traced.get("error")) == ("llm", "mine", None)
    metadata = traced["extra"]["metadata"]
    asked = {"provider": "openrouter", "model_name": "acme/asked", "model_type": "chat", "temperature": 0.5}
    assert {**asked, "max_tokens": 9} == {name: metadata[f"ls_{name}"] for name in (*asked, "max_tokens")}
    assert metadata["usage_metadata"] == COUNTED
    message = message_of(traced)
    assert message["usage_metadata"] == COUNTED
    assert message["additional_kwargs"]["reasoning_content"] == "Hm."
    about: Json = message["response_metadata"]
    assert {
        "id": "gen-1",
        "model_name": "acme/one",
        "model_provider": "openrouter",
        "provider": "Acme",
        "finish_reason": "stop",
        "cost": 0.00042,
    } == {name: about.get(name) for name in ("id", "model_name", "model_provider", "provider", "finish_reason", "cost")}


def test_no_secret_is_sent(langsmith: LangSmith, server: ScriptedServer) -> None:
    """Neither with a run that succeeds nor with one that fails, whatever the server repeats."""
    failure = {"error": {"code": 401, "message": f"no such key {KEY}, {HEADER}"}}
    server.answer(json_reply(ANSWER), json_reply(failure, status=401))
    assert "401: no such key [key], [key]" in run(langsmith, server, "model.invoke('a'); model.invoke('b')")
    assert len(langsmith.runs) == 2
    everything = b"".join(langsmith.received)
    assert [secret for secret in (KEY, HEADER) if secret.encode() in everything] == []


def test_a_run_that_fails_says_why(langsmith: LangSmith, server: ScriptedServer) -> None:
    """With what had arrived before."""
    broken: Any = {**event({}, "error"), "error": {"code": 502, "message": "gone"}}
    server.answer(sse_reply(event({"content": "Hel"}), event({"content": "lo"}), broken))
    run(langsmith, server, "list(model.stream('hi'))")
    (traced,) = langsmith.runs.values()
    assert "ServerFailed" in traced["error"]
    assert traced["outputs"]["generations"][0][0]["text"] == "Hello"


def test_runs_of_an_agent_hang_together(langsmith: LangSmith, server: ScriptedServer) -> None:
    """Two calls of the model and one of a tool under one root, each call with its own tokens and cost."""
    call = {"id": "c1", "type": "function", "function": {"name": "length", "arguments": '{"text": "abc"}'}}
    first: Json = {**completion(None, tool_calls=[call]), "usage": USAGE}
    server.answer(json_reply(first), json_reply(ANSWER))
    agent = "from langchain.agents import create_agent; agent = create_agent(model, tools=[length])"
    run(langsmith, server, f"{agent}; agent.invoke({{'messages': [('human', 'How long is abc?')]}})")
    (root,) = (traced for traced in langsmith.runs.values() if traced.get("parent_run_id") is None)
    calls = [traced for traced in langsmith.runs.values() if traced["run_type"] == "llm"]
    tools = [traced for traced in langsmith.runs.values() if traced["run_type"] == "tool"]
    assert [0.00042, 0.00042] == [message_of(traced)["response_metadata"]["cost"] for traced in calls]
    assert [COUNTED, COUNTED] == [traced["extra"]["metadata"]["usage_metadata"] for traced in calls]
    assert ["length"] == [traced["name"] for traced in tools]
    assert {root["id"]} == {traced["trace_id"] for traced in langsmith.runs.values()}
