"""What a reply has used so far, from the events that pass."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw

from openrouter_gateway.core.chat import ChatRequest, Tool
from openrouter_gateway.core.events import Step
from openrouter_gateway.core.usage import Usage

_CHARACTERS_PER_TOKEN = 4
"""A common rule of thumb for English text; only for replies whose provider counted nothing."""


_MOST_ID = 256

_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode


class Meter:
    """Watches one reply. `usage` is the provider's own count when there is one, an estimate otherwise."""

    __slots__ = (
        "_answered", "_calls", "_characters", "finish_reason", "native_finish_reason", "reported", "service_tier",
        "upstream_id",
    )  # fmt: skip

    def __init__(self) -> None:
        self.reported: Usage | None = None
        self.finish_reason: str | None = None
        self.native_finish_reason: str | None = None
        self.upstream_id: str | None = None
        self.service_tier: str | None = None
        self._answered = False
        self._characters = 0
        self._calls: dict[tuple[int, int], tuple[list[str], list[str]]] | None = None

    def watch(self, step: Step) -> None:
        """Take note of a step, before a skin writes the gateway's own fields into it."""
        self._answered = True
        chunk = step.chunk
        if self.upstream_id is None:
            self._read_head(chunk)
        for choice in chunk["choices"]:
            delta = choice["delta"]
            content = delta.get("content")
            if content:
                self._characters += len(content)
            if not content or len(delta) > 1:
                self._characters += len(delta.get("reasoning") or "")
                if "tool_calls" in delta:
                    self._watch_calls(choice["index"], delta["tool_calls"])
            if choice["finish_reason"] is not None:
                self.finish_reason = choice["finish_reason"]
                self.native_finish_reason = choice.get("native_finish_reason")
                self._read_tier(chunk)

    def _read_head(self, chunk: dict[str, Any]) -> None:
        found = chunk.get("id")
        self.upstream_id = found[:_MOST_ID] if type(found) is str else ""
        self._read_tier(chunk)

    def _read_tier(self, chunk: dict[str, Any]) -> None:
        """Some providers say it with the first chunk, others with the last one."""
        tier = chunk.get("service_tier")
        if type(tier) is str:
            self.service_tier = tier[:_MOST_ID]

    def _watch_calls(self, choice: int, pieces: list[dict[str, Any]]) -> None:
        calls = self._calls
        if calls is None:
            calls = self._calls = {}
        for piece in pieces:
            function = piece["function"]
            names, arguments = calls.setdefault((choice, piece["index"]), ([], []))
            if name := function.get("name"):
                names.append(name)
            if text := function.get("arguments"):
                arguments.append(text)
                self._characters += len(text)

    def calls_are_right(self, tools: Sequence[Tool] | None) -> bool | None:
        """Return whether all calls are of known tools, with arguments that are JSON objects; None without any call."""
        if not tools or not self._calls:
            return None
        known = {tool.function.name for tool in tools if tool.function is not None}
        return all(
            "".join(names) in known and _is_object("".join(arguments)) for names, arguments in self._calls.values()
        )

    def usage(self, request: ChatRequest) -> Usage:
        """Return the count; estimated from text lengths when the provider gave none."""
        if self.reported is not None:
            return self.reported
        if not self._characters and (request.task is None or not self._answered):
            return Usage()
        prompt = -(-request.prompt_size // _CHARACTERS_PER_TOKEN)
        completion = -(-self._characters // _CHARACTERS_PER_TOKEN)
        return Usage(
            prompt_tokens=prompt,
            completion_tokens=completion,
            total_tokens=prompt + completion,
            estimated=True,
        )


def _is_object(text: str) -> bool:
    try:
        _decode_members(text or "{}")
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return False
    return True
