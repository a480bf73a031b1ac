"""What a reply has used so far, from the events that pass."""

from typing import Any

from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.events import Step
from openrouter_gateway.core.usage import Usage

_CHARACTERS_PER_TOKEN = 4
"""A common rule of thumb for English text; only for replies whose provider counted nothing."""


class Meter:
    """Watches one reply. `usage` is the provider's own count when there is one, an estimate otherwise."""

    __slots__ = ("_characters", "finish_reason", "native_finish_reason", "reported")

    def __init__(self) -> None:
        self.reported: Usage | None = None
        self.finish_reason: str | None = None
        self.native_finish_reason: str | None = None
        self._characters = 0

    def watch(self, step: Step) -> None:
        """Take note of a step."""
        for choice in step.chunk["choices"]:
            delta = choice["delta"]
            content = delta.get("content")
            if content:
                self._characters += len(content)
            if not content or len(delta) > 1:
                self._characters += _length_of_rest(delta)
            if choice["finish_reason"] is not None:
                self.finish_reason = choice["finish_reason"]
                self.native_finish_reason = choice.get("native_finish_reason")

    def usage(self, request: ChatRequest) -> Usage:
        """Return the count; estimated from text lengths when the provider gave none."""
        if self.reported is not None:
            return self.reported
        if not self._characters:
            return Usage()
        prompt = -(-len(request.fields["messages"]) // _CHARACTERS_PER_TOKEN)
        completion = -(-self._characters // _CHARACTERS_PER_TOKEN)
        return Usage(
            prompt_tokens=prompt,
            completion_tokens=completion,
            total_tokens=prompt + completion,
            estimated=True,
        )


def _length_of_rest(delta: dict[str, Any]) -> int:
    """Characters of what a model writes besides content."""
    length = len(delta.get("reasoning") or "")
    for call in delta.get("tool_calls", ()):
        length += len(call["function"].get("arguments", ""))
    return length
