"""The gateway with its own model: no key, no network, a real answer."""

import json
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from fakes.gateway import Gateway, chunks_of, running_gateway, text_of

MODEL = "local/smollm2-135m-instruct"
WEATHER_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CITY: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "people": {"type": "integer"}},
    "required": ["name", "people"],
    "additionalProperties": False,
}


@pytest.mark.covers("protocols.local", "text", "cost", "usage of every bucket")
def test_it_answers(embedded: Gateway) -> None:
    """A JSON answer with counted tokens, no cost, and the truth about who served it."""
    body = embedded.post(MODEL, max_tokens=12, temperature=0).json()
    assert re.fullmatch(r"gen-\d{10}-[A-Za-z0-9]{20}", body["id"])
    assert (body["model"], body["provider"]) == (MODEL, "Local")
    assert body["choices"][0]["message"]["content"].strip()
    assert 0 < body["usage"]["completion_tokens"] <= 12
    assert body["usage"]["cost"] == 0


@pytest.mark.covers("protocols.local", "streaming")
def test_it_streams_what_it_answers(embedded: Gateway) -> None:
    """The stream's text is the answer's, in more than one piece."""
    whole = embedded.post(MODEL, max_tokens=12, temperature=0).json()
    chunks, _ = embedded.stream(MODEL, max_tokens=12, temperature=0)
    assert whole["choices"][0]["message"]["content"] == text_of(chunks)
    assert len(chunks) > 4
    assert whole["usage"]["completion_tokens"] == chunks[-1]["usage"]["completion_tokens"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
@pytest.mark.covers("protocols.local", "tool choice: required", "tool choice: one tool")
def test_a_demanded_tool_call_parses(embedded: Gateway, choice: Any, *, stream: bool) -> None:
    """`tool_choice` required or a name always gives a call whose arguments obey the schema."""
    fields: dict[str, Any] = {"tools": [WEATHER_TOOL], "tool_choice": choice, "temperature": 0, "max_tokens": 60}
    if stream:
        chunks, _ = embedded.stream(MODEL, **fields)
        calls = [call for c in chunks for choice in c["choices"] for call in choice["delta"].get("tool_calls", ())]
        name, arguments = calls[0]["function"]["name"], "".join(c["function"].get("arguments", "") for c in calls)
        reason = [choice["finish_reason"] for c in chunks for choice in c["choices"] if choice["finish_reason"]]
    else:
        answer = embedded.post(MODEL, **fields).json()["choices"][0]
        (call,) = answer["message"]["tool_calls"]
        name, arguments, reason = call["function"]["name"], call["function"]["arguments"], [answer["finish_reason"]]
    assert (name, reason) == ("get_weather", ["tool_calls"])
    assert isinstance(json.loads(arguments)["city"], str)


@pytest.mark.covers("protocols.local", "structured output")
def test_a_json_schema_is_obeyed(embedded: Gateway) -> None:
    """The grammar leaves the model no choice."""
    schema = {"type": "json_schema", "json_schema": {"name": "city", "strict": True, "schema": CITY}}
    body = embedded.post(MODEL, response_format=schema, temperature=0, max_tokens=100).json()
    answer = json.loads(body["choices"][0]["message"]["content"])
    assert CITY["properties"].keys() == answer.keys()
    assert isinstance(answer["people"], int)


def test_several_callers_are_all_served(embedded: Gateway) -> None:
    """More requests than the model takes at once wait in line."""
    answers: list[int] = []
    callers = [
        threading.Thread(target=lambda: answers.append(embedded.post(MODEL, max_tokens=5).status_code))
        for _ in range(6)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert answers == [200] * 6


@pytest.mark.covers("protocols.local", "errors with status")
def test_too_long_a_prompt_is_the_callers_fault(embedded: Gateway) -> None:
    """Refused with its own error type, not a hang."""
    response = embedded.post(MODEL, messages=[{"role": "user", "content": "word " * 9000}], transforms=[])
    assert (
        response.status_code,
        response.json()["error"]["metadata"]["error_type"],
    ) == (400, "context_length_exceeded")


@pytest.mark.covers("protocols.local", "errors within streams")
def test_a_model_that_dies_is_started_again(tmp_path: Path) -> None:
    """The request it was serving gets a typed error within its stream, the next one an answer; nothing hangs."""
    with running_gateway(tmp_path) as gateway:
        parts: list[str] = []

        def call() -> None:
            body: dict[str, Any] = {"model": MODEL, "stream": True, "max_tokens": 2000, "temperature": 0}
            body["messages"] = [{"role": "user", "content": "Count to one million."}]
            with httpx2.stream("POST", f"{gateway.base_url}/chat/completions", json=body, timeout=60) as response:
                parts.extend(response.iter_text())

        caller = threading.Thread(target=call)
        caller.start()
        deadline = time.monotonic() + 30
        while len(parts) < 5 and time.monotonic() < deadline:
            time.sleep(0.02)
        for child in _children(gateway.process.pid):
            os.kill(child, signal.SIGKILL)
        caller.join(20)
        assert not caller.is_alive()
        last = chunks_of("".join(parts))[-1]
        assert (last["error"]["code"], last["error"]["metadata"]["error_type"]) == (502, "provider_unavailable")
        assert gateway.post(MODEL, max_tokens=5).status_code == 200
        assert [record["ending"] for record in gateway.generations(2)] == ["failed", "finished"]
        assert gateway.stop() == 0


def test_stopping_leaves_no_process_behind(tmp_path: Path) -> None:
    """Neither SIGTERM nor the gateway's own death leaves the model running."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        with running_gateway(tmp_path) as gateway:
            children = _children(gateway.process.pid)
            assert children
            gateway.process.send_signal(how)
            gateway.process.wait(20)
        deadline = time.monotonic() + 10
        while any(_is_alive(child) for child in children) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert [child for child in children if _is_alive(child)] == []


def test_stand_in_answers_for_every_model(tmp_path: Path) -> None:
    """An application written for any model runs; what it reads of model and provider is the truth."""
    with running_gateway(tmp_path, arguments=["--stand-in"]) as gateway:
        models = httpx2.get(f"{gateway.base_url}/models", timeout=20).json()
        ids = {row["id"] for row in models["data"]}
        assert len(ids) > 300
        assert {"anthropic/claude-sonnet-4.5", "openai/gpt-4o", MODEL} <= ids
        body = gateway.post("anthropic/claude-sonnet-4.5", max_tokens=5).json()
        assert (body["model"], body["provider"]) == (MODEL, "Local")
        assert body["usage"]["cost"] == 0
        assert gateway.post("nobody/knows-this").status_code == 400
        pinned = {"order": ["anthropic"], "allow_fallbacks": False, "zdr": True, "require_parameters": True}
        schema = {"type": "json_schema", "json_schema": {"name": "reply", "schema": {"enum": ["yes", "no"]}}}
        picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
        response = gateway.post(
            "anthropic/claude-sonnet-4.5",
            messages=[{"role": "user", "content": [{"type": "text", "text": "Is it a cat?"}, picture]}],
            max_tokens=64_000,
            provider=pinned,
            reasoning={"effort": "high"},
            response_format=schema,
        )
        assert json.loads(response.json()["choices"][0]["message"]["content"]) in ("yes", "no"), response.text


def _children(pid: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)  # noqa: S607
    return [int(line) for line in found.stdout.split()]


def _is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
