"""The `gemini` and `anthropic` protocols against a server of both that others wrote: LiteLLM's proxy.

Behind it is llama.cpp's own server for text. It does not hold its model to calls of tools, so for those the proxy
calls the embedded model of a second gateway, which does.
"""

import json
from collections.abc import Generator
from typing import Any, Final

import pytest

from conformance.environments import Environment, find_environments
from fakes.gateway import Gateway, provider_config, running_gateway, text_of
from fakes.litellm_proxy import KEY, running_litellm
from fakes.llama_server import running_llama
from openrouter_gateway.callers.local import find_default_model

_LITELLM: Final = next(each for each in find_environments() if each.name == "litellm")
_PATHS: Final = {"gemini": "/v1beta", "anthropic": "/v1"}
_ENDS: Final = {"gemini": "MAX_TOKENS", "anthropic": "max_tokens"}
_MODELS: Final = ("smol", "caller", "unknown")
_QUESTION: Final[dict[str, Any]] = {"role": "user", "content": "What is the weather in Paris?"}
_CITY: Final = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
_TOOL: Final = {"type": "function", "function": {"name": "get_weather", "parameters": _CITY}}

pytestmark = [pytest.mark.parametrize("environment", [_LITELLM], ids=[_LITELLM.name], indirect=True)]


def _protocols(*rows: str) -> pytest.MarkDecorator:
    """Run a test over both protocols, each of which it covers."""
    return pytest.mark.parametrize(
        "protocol", [pytest.param(name, marks=pytest.mark.covers(f"protocols.{name}", *rows)) for name in _PATHS]
    )


@pytest.fixture(scope="module")
def front(environment: Environment, gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Generator[Gateway]:
    """A gateway in front of the proxy, which it knows as two providers."""
    with running_llama(find_default_model()) as llama:
        models = {"smol": (llama, "smollm2"), "caller": (gateway.base_url, "local/smollm2-135m-instruct")}
        with running_litellm(environment.python, models, tmp_path_factory.mktemp("litellm")) as root:
            parts = [
                provider_config({name: f"{root}{path}"}, {f"{name}/{model}": model for model in _MODELS})
                .replace(f'"sk-{name}"', f'"{KEY}"\nprotocol = "{name}"')
                .replace("[embedded]\nenabled = false\n", "")
                for name, path in _PATHS.items()
            ]
            config = "\n".join(["[embedded]\nenabled = false\n", *parts])
            with running_gateway(tmp_path_factory.mktemp("front"), config) as running:
                yield running


@_protocols("text", "streaming", "system messages", "usage of every bucket", "finish reasons", "cost")
def test_json_and_stream_agree(front: Gateway, protocol: str) -> None:
    """The same text and end; counted and priced, though the proxy sends zeros for counts in Google's streams."""
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say hello."}]
    ask: dict[str, Any] = {"messages": messages, "temperature": 0, "max_tokens": 12}
    whole = front.post(f"{protocol}/smol", **ask).json()
    chunks, _ = front.stream(f"{protocol}/smol", **ask)
    (choice,) = whole["choices"]
    assert choice["message"]["content"] == text_of(chunks)
    assert ("length", _ENDS[protocol]) == (choice["finish_reason"], choice["native_finish_reason"])
    ends = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"] if choice["finish_reason"]]
    assert ["length"] == ends
    streamed = chunks[-1]["usage"]
    assert 12 == whole["usage"]["completion_tokens"]
    estimated = -(-len(text_of(chunks)) // 4)
    assert (estimated if protocol == "gemini" else 12) == streamed["completion_tokens"]
    for usage in (whole["usage"], streamed):
        cost = usage["prompt_tokens"] * 0.000003 + usage["completion_tokens"] * 0.000015
        assert cost == pytest.approx(usage["cost"], abs=1e-12)


@_protocols("tools", "tool choice: required", "streaming")
@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_and_its_result(front: Gateway, protocol: str, *, stream: bool) -> None:
    """A call that has to be made is made, and its result is answered."""
    ask: dict[str, Any] = {"tools": [_TOOL], "temperature": 0, "max_tokens": 60}
    model = f"{protocol}/caller"
    if stream:
        chunks, _ = front.stream(model, messages=[_QUESTION], tool_choice="required", **ask)
        calls = [call for chunk in chunks for each in chunk["choices"] for call in each["delta"].get("tool_calls", ())]
        call = calls[0] | {"function": {"name": calls[0]["function"]["name"]}}
        call["function"]["arguments"] = "".join(each["function"].get("arguments") or "" for each in calls)
    else:
        (choice,) = front.post(model, messages=[_QUESTION], tool_choice="required", **ask).json()["choices"]
        assert "tool_calls" == choice["finish_reason"]
        (call,) = choice["message"]["tool_calls"]
    assert "get_weather" == call["function"]["name"]
    assert ["city"] == list(json.loads(call["function"]["arguments"]))
    call = {key: call[key] for key in ("id", "type", "function")}
    said = {"role": "assistant", "content": None, "tool_calls": [call]}
    result = {"role": "tool", "tool_call_id": call["id"], "content": "Sunny, 21 degrees."}
    (answer,) = front.post(model, messages=[_QUESTION, said, result], **ask).json()["choices"]
    assert answer["message"]["content"].strip()


@_protocols("errors with status")
@pytest.mark.parametrize("stream", [False, True])
def test_errors(front: Gateway, protocol: str, *, stream: bool) -> None:
    """What the model's server refuses, and what the proxy does, is told in their words."""
    long = [{"role": "user", "content": "word " * 9000}]
    for model, messages, said in (("smol", long, "exceeds the available context size"), ("unknown", None, "unknown")):
        changes: dict[str, Any] = {} if messages is None else {"messages": messages}
        refused = front.post(f"{protocol}/{model}", stream=stream, **changes)
        assert 400 == refused.status_code, refused.text
        assert said in refused.json()["error"]["message"]
