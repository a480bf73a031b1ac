"""Reasoning that the caller excluded: on no protocol and in no dialect is it in the answer, but it is counted."""

import json
from typing import Any

import pytest
from gateway_samples import HEAD

from openrouter_gateway.accounting.meter import Meter
from openrouter_gateway.core.events import Event, Step, UsageReported
from openrouter_gateway.core.usage import Cost, Usage
from openrouter_gateway.wire.protocols import PROTOCOLS
from openrouter_gateway.wire.skins.base import Closing, Skin
from openrouter_gateway.wire.skins.chat import Chat
from openrouter_gateway.wire.skins.completions import Completions
from openrouter_gateway.wire.skins.messages import Messages
from openrouter_gateway.wire.skins.responses import Responses

ASKING: list[dict[str, Any]] = [{"role": "user", "content": "Hi"}]
EXCLUDED = [{"reasoning": {"effort": "low", "exclude": True}}, {"include_reasoning": False}]
ANTHROPIC: dict[str, Any] = {
    "type": "message",
    "role": "assistant",
    "content": [
        {"type": "thinking", "thinking": "SECRET", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "U0VDUkVU"},
        {"type": "text", "text": "Said"},
    ],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 1, "output_tokens": 5, "output_tokens_details": {"thinking_tokens": 4}},
}
OPENAI_USAGE = {
    "prompt_tokens": 1,
    "completion_tokens": 5,
    "total_tokens": 6,
    "completion_tokens_details": {"reasoning_tokens": 4},
}
RESPONSE: dict[str, Any] = {
    "status": "completed",
    "output": [
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "SECRET"}],
            "encrypted_content": "U0VDUkVU",
        },
        {"type": "message", "id": "m", "content": [{"type": "output_text", "text": "Said", "annotations": []}]},
    ],
    "usage": {
        "input_tokens": 1,
        "output_tokens": 5,
        "total_tokens": 6,
        "output_tokens_details": {"reasoning_tokens": 4},
    },
}
DETAILS = [{"type": "reasoning.text", "text": "SECRET", "signature": "U0VDUkVU", "index": 0}]


def _openai(**message: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": "Said", **message}, "finish_reason": "stop"}
    return {"id": "x", "choices": [choice], "usage": OPENAI_USAGE}


REPLIES: dict[str, dict[str, Any]] = {
    "openai": _openai(reasoning="SECRET", reasoning_details=DETAILS),
    "openai, DeepSeek's name": _openai(reasoning_content="SECRET"),
    "openai_responses": RESPONSE,
    "anthropic": ANTHROPIC,
    "gemini": {
        "candidates": [
            {
                "content": {
                    "role": "model",
                    "parts": [
                        {"text": "SECRET", "thought": True},
                        {"text": "Said", "thoughtSignature": "U0VDUkVU"},
                    ],
                },
                "finishReason": "STOP",
            }
        ],
        "usageMetadata": {
            "promptTokenCount": 1,
            "candidatesTokenCount": 1,
            "thoughtsTokenCount": 4,
            "totalTokenCount": 6,
        },
    },
}
SKINS: dict[str, tuple[Skin, dict[str, Any]]] = {
    "chat": (Chat(), {"messages": ASKING}),
    "completions": (Completions(), {"prompt": "Hi"}),
    "responses": (Responses(), {"input": "Hi"}),
}
CASES = [
    pytest.param(reply, name, excluded, id=f"{reply}-{name}-{next(iter(excluded))}")
    for reply in REPLIES
    for name in SKINS
    for excluded in EXCLUDED
    if name != "responses" or "reasoning" in excluded
]


def events_of(reply: str, skin: Skin, body: dict[str, Any]) -> list[Event]:
    """Return what a protocol makes of a reply."""
    protocol = PROTOCOLS[reply.partition(",")[0]]
    decoder = protocol.chat_decoder(skin.parse(json.dumps(body).encode()), "application/json")
    return [*decoder.feed(json.dumps(REPLIES[reply]).encode()), *decoder.finish()]


def answer(events: list[Event], skin: Skin, body: dict[str, Any], *, streamed: bool) -> tuple[str, Usage]:
    """Return what the caller gets and what is counted, the way that an answer is delivered."""
    request, meter = skin.parse(json.dumps(body).encode()), Meter()
    stream, whole = skin.stream_encoder(HEAD, request), skin.body_encoder(HEAD, request)
    out = bytearray()
    for event in events:
        if isinstance(event, UsageReported):
            meter.reported = event.usage
        elif isinstance(event, Step):
            meter.watch(event)
            if streamed:
                stream.encode_step(event, out)
            else:
                whole.add_step(event)
    usage = meter.usage(request)
    closing = Closing(usage=usage, cost=Cost())
    return (bytes(out) + (stream if streamed else whole).encode_end(closing)).decode(), usage


@pytest.mark.covers("protocols.openai", "thoughts in answers")
@pytest.mark.covers("protocols.openai_responses", "thoughts in answers")
@pytest.mark.covers("protocols.anthropic", "thoughts in answers")
@pytest.mark.covers("protocols.gemini", "thoughts in answers")
@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize(("reply", "name", "excluded"), CASES)
def test_excluded_reasoning(reply: str, name: str, excluded: dict[str, Any], streamed: bool) -> None:
    """Neither its text nor what it could be sent back with is in the answer; its tokens are in the usage."""
    skin, body = SKINS[name]
    body = body | excluded

    told, usage = answer(events_of(reply, skin, body), skin, body, streamed=streamed)

    assert "Said" in told
    assert not [word for word in ("SECRET", "U0VDUkVU", "reasoning_details", '"type":"reasoning"') if word in told]
    assert (5, 4) == (usage.completion_tokens, usage.reasoning_tokens)


@pytest.mark.parametrize("reply", REPLIES)
@pytest.mark.parametrize("name", SKINS)
def test_reasoning_that_nobody_excluded(reply: str, name: str) -> None:
    """It is told: what hides it is the request."""
    skin, body = SKINS[name]
    body = body | {"reasoning": {"effort": "low"}}

    assert "SECRET" in answer(events_of(reply, skin, body), skin, body, streamed=True)[0]


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("thinking", [{"type": "adaptive"}, {"type": "enabled", "budget_tokens": 1024}])
@pytest.mark.parametrize("reply", REPLIES)
def test_omitted_thinking(reply: str, thinking: dict[str, Any], streamed: bool) -> None:
    """In Anthropic's dialect blocks lose their text, but keep what they are to be sent back with."""
    skin = Messages()
    body = {"messages": ASKING, "max_tokens": 2048, "thinking": thinking | {"display": "omitted"}}

    told, usage = answer(events_of(reply, skin, body), skin, body, streamed=streamed)

    assert "Said" in told
    assert "SECRET" not in told
    assert ("signature" in told) == (reply != "openai, DeepSeek's name")
    assert 4 == usage.reasoning_tokens


def test_pieces_of_nothing_but_reasoning() -> None:
    """They are no chunks, with what the probabilities of their tokens would tell; pieces of both keep the rest."""
    skin, body = Chat(), {"messages": ASKING, "include_reasoning": False}
    logprobs = {"content": [{"token": "SECRET", "logprob": -1, "bytes": None, "top_logprobs": []}]}
    first: dict[str, Any] = {
        "index": 0,
        "delta": {"content": "", "reasoning": "SECRET"},
        "finish_reason": None,
        "logprobs": logprobs,
    }
    both = {"index": 0, "delta": {"content": "Said", "reasoning": "SECRET"}, "finish_reason": None}
    last = {**first, "delta": dict(first["delta"]), "finish_reason": "stop"}

    told, usage = answer([Step({"choices": [choice]}) for choice in (first, both, last)], skin, body, streamed=True)

    assert 4 == told.count("data: ")  # two chunks, the usage, and the end
    assert "SECRET" not in told
    assert 6 == usage.completion_tokens  # 22 characters, estimated
