"""Answers without what the model reasoned, for callers who excluded it (OpenRouter API, reasoning, 2026-08-22).

Left out here, behind the meter, and once for all protocols: reasoning that nobody sees counts all the same.
"""

from typing import Any, Final

from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.events import ChoiceStep, Step
from openrouter_gateway.errors import GatewayError
from openrouter_gateway.wire.reasoning import hides_reasoning
from openrouter_gateway.wire.skins.base import BodyEncoder, Closing, StreamEncoder

_REASONING: Final = ("reasoning", "reasoning_details")


def stream_as_asked(encoder: StreamEncoder, request: ChatRequest) -> StreamEncoder:
    """Return the encoder, or one that leaves reasoning out."""
    return _HiddenStream(encoder) if hides_reasoning(request) else encoder


def body_as_asked(encoder: BodyEncoder, request: ChatRequest) -> BodyEncoder:
    """Return the encoder, or one that leaves reasoning out."""
    return _HiddenBody(encoder) if hides_reasoning(request) else encoder


class _HiddenStream:
    __slots__ = ("_encoder",)

    def __init__(self, encoder: StreamEncoder) -> None:
        self._encoder = encoder

    def encode_step(self, step: Step, out: bytearray) -> None:
        if _has_more_than_reasoning(step):
            self._encoder.encode_step(step, out)

    def encode_end(self, closing: Closing) -> bytes:
        return self._encoder.encode_end(closing)

    def encode_error(self, error: GatewayError, metadata: dict[str, Any] | None = None) -> bytes:
        return self._encoder.encode_error(error, metadata)


class _HiddenBody:
    __slots__ = ("_encoder",)

    def __init__(self, encoder: BodyEncoder) -> None:
        self._encoder = encoder

    def add_step(self, step: Step) -> None:
        if _has_more_than_reasoning(step):
            self._encoder.add_step(step)

    def encode_end(self, closing: Closing) -> bytes:
        return self._encoder.encode_end(closing)


def _has_more_than_reasoning(step: Step) -> bool:
    """Take the reasoning out of a step; return whether there was none or anything is left."""
    stripped = [choice for choice in step.choices if _strip(choice)]
    return not stripped or any(_says_something(choice) for choice in step.choices)


def _strip(choice: ChoiceStep) -> bool:
    delta = choice["delta"]
    found = [key for key in _REASONING if key in delta]
    for key in found:
        del delta[key]
    if found and not delta.get("content"):
        choice.pop("logprobs", None)  # those of what is left out, which tell it token by token
    return bool(found)


def _says_something(choice: ChoiceStep) -> bool:
    said = any(value for key, value in choice["delta"].items() if key != "role")
    return said or choice["finish_reason"] is not None or bool(choice.get("error"))
