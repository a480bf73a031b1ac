"""Parameters that an endpoint is known to lack stay here."""

import json
from typing import Any

import pytest
from gateway_samples import make_endpoint, make_request
from msgspec.structs import replace

from openrouter_gateway.config.catalog import local_endpoint
from openrouter_gateway.config.settings import Settings
from openrouter_gateway.wire.protocols import codec_of

TOOL = {"type": "function", "function": {"name": "f"}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}
SENT: dict[str, Any] = {
    "temperature": 0.5,
    "top_k": 3,
    "max_tokens": 9,
    "stop": ["x"],
    "logprobs": True,
    "tools": [TOOL],
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "response_format": SCHEMA,
    "safe_prompt": True,
}
ALWAYS = {
    "model", "messages", "max_tokens", "safe_prompt", "tools", "tool_choice", "parallel_tool_calls", "response_format",
}  # fmt: skip


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (None, ALWAYS | SENT.keys()),
        (set[str](), ALWAYS),
        ({"temperature"}, ALWAYS | {"temperature"}),
        ({"top_logprobs"}, ALWAYS | {"logprobs"}),
    ],
)
def test_what_is_sent(known: set[str] | None, expected: set[str]) -> None:
    """All that is supported or has no name at OpenRouter, limits, tools and formats; nothing is known: all of it."""
    request, endpoint = make_request(**SENT), make_endpoint(parameters=known)

    assert expected == json.loads(codec_of("openai", request).encode(request, endpoint)).keys()


@pytest.mark.parametrize("protocol", ["anthropic", "gemini", "openai_responses"])
def test_it_holds_for_every_protocol(protocol: str) -> None:
    """Sampling is left out of translated requests, too."""
    request, endpoint = make_request(**SENT), make_endpoint(parameters=set())

    body = json.loads(codec_of(protocol, request).encode(request, endpoint))

    assert "tools" in body
    sent = body.keys() | body.get("generationConfig", {}).keys()
    assert {"temperature", "top_k", "topK", "stop_sequences", "stopSequences"}.isdisjoint(sent)


def test_another_openrouter_decides_itself() -> None:
    """It has newer lists than ours may be."""
    request = make_request(top_k=3)
    endpoint = make_endpoint(parameters=set(), quirks=frozenset({"openrouter_fields"}))

    assert json.loads(codec_of("openai", request).encode(request, endpoint))["top_k"] == 3


def test_the_embedded_model_gets_all_that_it_can_do() -> None:
    """What is said of it and what its protocol passes on are lists in two places."""
    sampling = {"temperature": 0, "top_p": 1, "top_k": 3, "min_p": 0.1, "frequency_penalty": 1, "presence_penalty": 1}
    request = make_request(
        **sampling, repetition_penalty=1.5, seed=3, stop=["x"], logit_bias={"1": 5}, logprobs=True, top_logprobs=2
    )
    codec, endpoint = codec_of("local", request), local_endpoint(Settings())

    whole = codec.encode(request, replace(endpoint, supported_parameters=None))

    assert sampling.keys() | {"logit_bias", "logprobs", "top_logprobs"} <= json.loads(whole).keys()
    assert whole == codec.encode(request, endpoint)
