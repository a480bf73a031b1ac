"""Tool schemas that llama.cpp once refused, asked of the real model: they are taken, and the calls parse."""

import json
from typing import Any

import msgspec
import pytest

from openrouter_gateway.callers.http import HTTPCaller
from openrouter_gateway.callers.local import LocalCaller, LocalModel, LocalSettings, find_default_model
from openrouter_gateway.callers.pool import Pool, Timeouts
from openrouter_gateway.core.catalog import Endpoint, Provider
from openrouter_gateway.core.chat import ChatParams, ChatRequest
from openrouter_gateway.core.events import Step

ENDPOINT = Endpoint(
    model_id="local/small",
    provider=Provider(slug="local", name="Local", protocol="local"),
    upstream_id="small",
    tag="local",
    context_length=2048,
)


def integers(count: int, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {**{f"p{number}": {"type": "integer"} for number in range(count)}, **more}}


def one(**schema: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": schema}, "required": ["a"]}


SCHEMAS = {
    "20 optional": integers(20),
    "2 levels of 10": integers(9, z=integers(10)),
    "3 levels of 6": integers(5, z=integers(5, z=integers(6))),
    "long string": {"type": "object", "properties": {"a": {"type": "string", "minLength": 5000}}},
    "long list": {"type": "object", "properties": {"a": {"type": "array", "items": integers(3), "maxItems": 5000}}},
    "maps": one(type="object", additionalProperties={"type": "object", "additionalProperties": {}}),
    "600 optional": one(**integers(600)),
    "const": one(const="Rome"),
    "required": {**integers(3, name={"type": "string", "maxLength": 10}), "required": ["name", "p1"]},
}


async def reply_to(caller: LocalCaller, parameters: dict[str, Any], choice: str) -> tuple[str, str, str | None]:
    """Return text, arguments and finish reason of a reply to a request with this tool."""
    body = {
        "messages": [{"role": "user", "content": "Find a thing called Rome"}],
        "tools": [{"type": "function", "function": {"name": "find", "parameters": parameters}}],
        "tool_choice": choice,
        "temperature": 0,
        "max_tokens": 40,
    }
    data = msgspec.json.encode(body)
    request = ChatRequest(
        params=msgspec.json.decode(data, type=ChatParams),
        fields=msgspec.json.decode(data, type=dict[str, msgspec.Raw]),
    )
    text, arguments, finish = "", "", None
    async for batch in caller.call(request, ENDPOINT):
        for event in batch:
            for choice_step in event.choices if isinstance(event, Step) else ():
                text += choice_step["delta"].get("content") or ""
                for call in choice_step["delta"].get("tool_calls", []):
                    arguments += call["function"]["arguments"]
                finish = choice_step["finish_reason"] or finish
    return text, arguments, finish


@pytest.mark.parametrize("choice", ["auto", "required"])
async def test_ordinary_schemas_are_taken_and_their_calls_parse(choice: str) -> None:
    """Nothing is refused, and a call that is whole has arguments of the schema's names."""
    # One thread: llama.cpp's threads spin while they wait for each other, so on busy cores two are far slower than one.
    model = LocalModel(LocalSettings(model_path=find_default_model(), context_length=2048, parallel=1, threads=1))
    pool = Pool(Timeouts())
    whole: list[str] = []
    await model.start()
    try:
        caller = LocalCaller(model, HTTPCaller(pool, {}))
        for name, parameters in SCHEMAS.items():
            text, arguments, finish = await reply_to(caller, parameters, choice)
            assert bool(text) != bool(arguments)
            assert choice == "auto" or arguments
            if finish == "tool_calls":
                assert json.loads(arguments).keys() <= parameters["properties"].keys()
                whole.append(name)
    finally:
        await model.close()
        await pool.close()

    assert {"required", "const"} <= set(whole)
