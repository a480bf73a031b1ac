"""The `openai_responses` protocol by its vectors: chat requests and what is sent, replies and their events."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from gateway_samples import make_endpoint, make_request
from wire_vectors import marks_of

from openrouter_gateway.core.events import Ended, Event, Failed, Step, UsageReported
from openrouter_gateway.core.usage import Usage
from openrouter_gateway.wire.protocols.base import Decoder
from openrouter_gateway.wire.protocols.openai_responses import OpenAIResponses

VECTORS = Path(__file__).parent / "vectors" / "openai_responses"


def load(name: str) -> list[Any]:
    """Return the cases of a file as parameters."""
    return [
        pytest.param(case, id=case["name"], marks=marks_of("openai_responses", f"{name}.json: {case['name']}", case))
        for case in json.loads((VECTORS / f"{name}.json").read_text())
    ]


def to_stream(events: list[dict[str, Any]]) -> bytes:
    """Return events as the API sends them: named, without an end mark."""
    lines = [f"event: {event.get('type')}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n" for event in events]
    return "".join(lines).encode()


def shown(events: list[Event]) -> list[Any]:
    """Return events in the vectors' short form."""
    return [_shown(event) for event in events]


def _shown(event: Event) -> Any:
    match event:
        case Step(chunk=chunk):
            (choice,) = event.choices
            rest = {key: value for key, value in chunk.items() if key != "choices"}
            if choice["finish_reason"] is None:
                return ["step", choice["delta"], *([choice["logprobs"]] if "logprobs" in choice else [])]
            return ["finish", choice["finish_reason"], choice.get("native_finish_reason"), *([rest] if rest else [])]
        case UsageReported(usage=usage):
            counts = msgspec.to_builtins(usage)
            return ["usage", {key: value for key, value in counts.items() if value != getattr(Usage(), key)}]
        case Failed(error=error):
            return ["failed", type(error).__name__, error.message, error.status]
        case Ended():
            return ["ended"]


def decoder_for(case: dict[str, Any], content_type: str) -> Decoder:
    return OpenAIResponses().chat_decoder(make_request(**case.get("chat", {})), content_type)


def read(decoder: Decoder, *pieces: bytes) -> list[Any]:
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return shown(events + decoder.finish())


@pytest.mark.parametrize("case", load("requests"))
def test_what_is_sent(case: dict[str, Any]) -> None:
    """The body of the provider's request, key by key."""
    sent = json.loads(OpenAIResponses().encode_chat(make_request(**case["chat"]), make_endpoint()))

    assert case["sent"] == sent


@pytest.mark.parametrize("case", load("streams"))
def test_what_a_stream_means(case: dict[str, Any]) -> None:
    """Whole, byte by byte, and in two pieces cut anywhere: the same events."""
    data = to_stream(case["upstream"])

    def decoder() -> Decoder:
        return decoder_for(case, "text/event-stream; charset=utf-8")

    assert case["events"] == read(decoder(), data)
    assert case["events"] == read(decoder(), *(bytes([byte]) for byte in data))
    for place in range(len(data)):
        assert case["events"] == read(decoder(), data[:place], data[place:])


@pytest.mark.parametrize("case", load("bodies"))
def test_what_a_body_means(case: dict[str, Any]) -> None:
    """A body says nothing before it is whole, however it arrives."""
    data = json.dumps(case["upstream"]).encode()

    assert case["events"] == read(decoder_for(case, "application/json"), data)
    assert case["events"] == read(decoder_for(case, "application/json"), *(bytes([byte]) for byte in data))
    assert case["events"] == read(decoder_for(case, ""), data)


@pytest.mark.covers("protocols.openai_responses", "tool choice: auto", "tool choice: none", "tool choice: required")
@pytest.mark.parametrize("choice", ["auto", "none", "required"])
def test_a_choice_of_tools(choice: str) -> None:
    """The words are those of the chat dialect."""
    tools = [{"type": "function", "function": {"name": "f"}}]
    sent = json.loads(OpenAIResponses().encode_chat(make_request(tools=tools, tool_choice=choice), make_endpoint()))

    assert choice == sent["tool_choice"]
