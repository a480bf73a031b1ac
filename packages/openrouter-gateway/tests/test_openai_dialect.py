"""Every feature of the chat dialect through the `openai` protocol: it goes out, and comes back, as it was."""

import json
from typing import Any

import pytest
from _pytest.mark import ParameterSet
from gateway_samples import make_chunk, make_endpoint, make_request, to_sse

from openrouter_gateway.core.events import Step
from openrouter_gateway.wire.protocols.openai import BodyDecoder, OpenAI, StreamDecoder

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
SCHEMA = {"name": "n", "strict": True, "schema": {"type": "object"}}
DETAIL = {"type": "reasoning.text", "text": "Hm.", "signature": "c2ln", "format": "anthropic-claude-v1", "index": 0}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CITATION = {"url": "https://example.com", "title": "E", "start_index": 0, "end_index": 2}
LOGPROB = {"token": "Hi", "logprob": -0.25, "bytes": [72, 105], "top_logprobs": []}


def covering(test: str, *cases: tuple[tuple[str, ...], dict[str, Any]]) -> list[ParameterSet]:
    """Return the cases of a test as parameters that say what they cover."""
    names = [f"test_openai_dialect.py::{test}[{', '.join(rows)}]" for rows, _ in cases]
    return [
        pytest.param(fields, id=", ".join(rows), marks=pytest.mark.covers("protocols.openai", *rows, name=name))
        for name, (rows, fields) in zip(names, cases, strict=True)
    ]


def asking(part: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a request with a content part."""
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "Look."}, part]}]}


REQUESTS = covering(
    "test_a_request",
    (("system messages",), {"messages": [{"role": role, "content": "Be brief."} for role in ("system", "developer")]}),
    (("images by URL",), asking({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}})),
    (("images as base64",), asking({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}})),
    (("audio in",), asking({"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}})),
    (("video in",), asking({"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AA=="}})),
    (
        ("PDF and files",),
        asking({"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}}),
    ),
    (("tools",), {"tools": [TOOL]}),
    (("tool choice: auto",), {"tools": [TOOL], "tool_choice": "auto"}),
    (("tool choice: none",), {"tools": [TOOL], "tool_choice": "none"}),
    (("tool choice: required",), {"tools": [TOOL], "tool_choice": "required"}),
    (("tool choice: one tool",), {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}}),
    (("parallel tool calls",), {"tools": [TOOL], "parallel_tool_calls": False}),
    (("structured output",), {"response_format": {"type": "json_schema", "json_schema": SCHEMA}}),
    (("JSON mode",), {"response_format": {"type": "json_object"}}),
    (("stop sequences",), {"stop": ["END", "FIN"]}),
    (("sampling",), {"temperature": 0.5, "top_p": 0.9, "top_k": 7, "min_p": 0.1, "frequency_penalty": 0.5}),
    (("seed",), {"seed": 7}),
    (("logprobs",), {"logprobs": True, "top_logprobs": 3}),
    (
        ("prompt caching", "lifetime of cached prompts"),
        asking({"type": "text", "text": "Long.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}),
    ),
    (
        ("reasoning replayed over turns",),
        {"messages": [{"role": "assistant", "content": None, "reasoning_details": [DETAIL], "tool_calls": [CALL]}]},
    ),
    (("images out",), {"modalities": ["image", "text"]}),
    (("audio out",), {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}),
)
REPLIES = covering(
    "test_a_reply",
    (("thoughts in answers",), {"reasoning": "Hm.", "reasoning_details": [DETAIL]}),
    (("citations",), {"annotations": [{"type": "url_citation", "url_citation": CITATION}]}),
    (("refusals and safety blocks",), {"refusal": "I will not."}),
    (("images out",), {"images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]}),
    (("audio out",), {"audio": {"id": "a", "data": "AA==", "transcript": "Hi"}}),
    (("tools", "parallel tool calls"), {"tool_calls": [{"index": 0, **CALL}, {"index": 1, **CALL, "id": "d"}]}),
)


@pytest.mark.parametrize("fields", REQUESTS)
def test_a_request(fields: dict[str, Any]) -> None:
    """The provider is sent what the caller wrote."""
    sent = json.loads(OpenAI().encode_chat(make_request(**fields), make_endpoint()))

    assert fields == {key: sent.get(key) for key in fields}


@pytest.mark.parametrize("fields", REPLIES)
def test_a_reply(fields: dict[str, Any]) -> None:
    """The caller gets what the provider wrote, in pieces and whole."""
    body = {"choices": [{"index": 0, "message": {"role": "assistant", **fields}, "finish_reason": "stop"}]}

    streamed = StreamDecoder().feed(to_sse(make_chunk(fields), make_chunk({}, finish="stop")))[0]
    whole = BodyDecoder()
    whole.feed(json.dumps(body).encode())
    answered = whole.finish()[0]

    assert isinstance(streamed, Step)
    assert isinstance(answered, Step)
    for step in (streamed, answered):
        assert fields == {key: step.choices[0]["delta"].get(key) for key in fields}


@pytest.mark.covers("protocols.openai", "logprobs")
def test_probabilities() -> None:
    """They are beside the delta."""
    chunk = make_chunk({"content": "Hi"})
    chunk["choices"][0]["logprobs"] = {"content": [LOGPROB]}

    step = StreamDecoder().feed(to_sse(chunk, make_chunk({}, finish="stop")))[0]

    assert isinstance(step, Step)
    assert {"content": [LOGPROB]} == step.choices[0]["logprobs"]
