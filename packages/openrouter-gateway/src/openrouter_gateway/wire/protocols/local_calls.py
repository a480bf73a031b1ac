"""Calls that a model wrote as JSON text: read back into the hub's `tool_calls` while they arrive."""

from hashlib import blake2b
from re import compile as compile_pattern
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from openrouter_gateway.core.chat import FunctionTool
from openrouter_gateway.core.events import ChoiceStep, Event, Step
from openrouter_gateway.wire.protocols.base import Decoder

_encode = msgspec.json.Encoder().encode


class ReplyPlan(Struct, frozen=True, kw_only=True):
    """What the model may write. `answer_schema` is None for free text; `required`: a call and nothing else."""

    tools: tuple[FunctionTool, ...] = ()
    required: bool = False
    answer_schema: dict[str, Any] | None = None

    @property
    def may_be_text(self) -> bool:
        """Whether the model may write something that is not JSON."""
        return not self.required and self.answer_schema is None


_CALL_HEAD: Final = compile_pattern(r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*(?=\S)')


class Trimmer:
    """Takes llama.cpp's own measurements out of another decoder's steps: they are no part of any dialect."""

    def __init__(self, inner: Decoder) -> None:
        self._inner = inner

    def feed(self, data: bytes) -> list[Event]:
        """See `base.Decoder`."""
        return self._trim(self._inner.feed(data))

    def finish(self) -> list[Event]:
        """See `base.Decoder`."""
        return self._trim(self._inner.finish())

    def _trim(self, events: list[Event]) -> list[Event]:
        for event in events:
            if isinstance(event, Step):
                event.chunk.pop("timings", None)
        return events


class CallDecoder:
    """Turns the JSON of a call, within another decoder's text, into `tool_calls`; text passes as it comes.

    What could still become a call is held back until that is decided, which takes a few tokens.
    """

    def __init__(self, inner: Decoder, plan: ReplyPlan, *, seed: bytes) -> None:
        self._inner = inner
        self._plan = plan
        self._seed = seed
        self._readers: dict[int, _ChoiceReader] = {}

    def feed(self, data: bytes) -> list[Event]:
        """See `base.Decoder`."""
        return self._read(self._inner.feed(data))

    def finish(self) -> list[Event]:
        """See `base.Decoder`."""
        return self._read(self._inner.finish())

    def _read(self, events: list[Event]) -> list[Event]:
        out: list[Event] = []
        for event in events:
            if isinstance(event, Step):
                for choice in event.choices:
                    reader = self._reader(choice["index"])
                    out += [event.with_choices([shown]) for shown in reader.read(choice)]
            else:
                out.append(event)
        return out

    def _reader(self, index: int) -> "_ChoiceReader":
        reader = self._readers.get(index)
        if reader is None:
            # The same request gets the same id, so replays agree; within a conversation, each call gets another.
            digest = blake2b(self._seed + (index & 0xFFFF_FFFF).to_bytes(4, "big"), digest_size=12).hexdigest()
            reader = self._readers[index] = _ChoiceReader(self._plan, f"call_{digest}")
        return reader


class _ChoiceReader:
    """The state of one choice: undecided, then text or call."""

    def __init__(self, plan: ReplyPlan, call_id: str) -> None:
        self._heads = {
            "".join(f'{{"name":{_encode(tool.name).decode()},"arguments":'.split()): tool.name for tool in plan.tools
        }
        self._json_is_a_call = plan.required or plan.answer_schema is None
        self._call_id = call_id
        self._state: Literal["undecided", "text", "call"] = "undecided"
        self._text = ""
        self._held: list[ChoiceStep] = []
        self._arguments = _ObjectReader()

    def read(self, choice: ChoiceStep) -> list[ChoiceStep]:
        """Take a choice of a step; return what may be shown now, in order."""
        match self._state:
            case "text":
                return [choice]
            case "call":
                delta: dict[str, Any] = {}
                piece = self._arguments.read(choice["delta"].get("content") or "")
                if piece:
                    delta["tool_calls"] = [{"index": 0, "function": {"arguments": piece}}]
                return self._call_step(delta, choice)
            case "undecided":
                self._text += choice["delta"].get("content") or ""
                return self._decide(choice)

    def _decide(self, choice: ChoiceStep) -> list[ChoiceStep]:
        head = _CALL_HEAD.match(self._text)
        if head is not None and msgspec.json.decode(head[1]) in self._heads.values():
            self._state = "call"
            self._held.clear()
            function = {
                "name": msgspec.json.decode(head[1]),
                "arguments": self._arguments.read(self._text[head.end() :]),
            }
            call = {"index": 0, "id": self._call_id, "type": "function", "function": function}
            return self._call_step({"role": "assistant", "content": None, "tool_calls": [call]}, choice)
        self._held.append(choice)
        start = "".join(self._text.split())
        if any(known.startswith(start) for known in self._heads):
            if choice["finish_reason"] is None:
                return []
            if start and self._json_is_a_call:
                # Cut within the head of a call: half a head is no answer.
                self._held.clear()
                return [_with_end({"role": "assistant", "content": ""}, choice, "length")]
        self._state = "text"
        held, self._held = self._held, []
        return held

    def _call_step(self, delta: dict[str, Any], choice: ChoiceStep) -> list[ChoiceStep]:
        if choice["finish_reason"] is None:
            return [{"index": choice["index"], "delta": delta, "finish_reason": None}] if delta else []
        # A call that is not whole was cut, whatever the server calls it.
        return [_with_end(delta, choice, "tool_calls" if self._arguments.whole else "length")]


def _with_end(delta: dict[str, Any], choice: ChoiceStep, reason: str) -> ChoiceStep:
    return {
        "index": choice["index"],
        "delta": delta,
        "finish_reason": reason,
        "native_finish_reason": choice.get("native_finish_reason"),
    }


class _ObjectReader:
    """Passes one JSON object's text and nothing that follows it."""

    def __init__(self) -> None:
        self.whole = False
        self._depth = 0
        self._in_string = False
        self._escaped = False

    def read(self, text: str) -> str:
        """Return the part of the text that belongs to the object."""
        if self.whole:
            return ""
        for position, char in enumerate(text):
            if self._in_string:
                if self._escaped:
                    self._escaped = False
                elif char == "\\":
                    self._escaped = True
                elif char == '"':
                    self._in_string = False
            elif char == '"':
                self._in_string = True
            elif char in "{[":
                self._depth += 1
            elif char in "}]":
                self._depth -= 1
                if self._depth == 0:
                    self.whole = True
                    return text[: position + 1]
        return text
