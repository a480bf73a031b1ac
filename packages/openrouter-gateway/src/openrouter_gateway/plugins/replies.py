"""Replies as plugins change them: annotations onto choices as they end, and whole replies kept back to be healed."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from openrouter_gateway.core.events import ChoiceStep, Ended, Event, Step, UsageReported
from openrouter_gateway.core.usage import Usage
from openrouter_gateway.plugins.web import SearchResult, cite

_COMPLETE: Final = frozenset({"stop", None})


class Annotator:
    """Adds to each choice of a reply which files were read for it, and which of the results of a search it cites."""

    def __init__(self, files: Sequence[dict[str, Any]] = (), sources: Sequence[SearchResult] = ()) -> None:
        self._files = files
        self._sources = sources
        self._texts: dict[int, list[str]] = {}  # of the choices that have not ended

    def take(self, events: list[Event]) -> list[Event]:
        """Return the events with annotations in them, in the step in which a choice ends."""
        out: list[Event] = []
        for event in events:
            if type(event) is Step:
                for choice in event.choices:
                    self._watch(choice)
            elif type(event) is Ended:
                out += self._late()
            out.append(event)
        return out

    def _watch(self, choice: ChoiceStep) -> None:
        texts = self._texts.setdefault(choice["index"], [])
        content = choice["delta"].get("content")
        if isinstance(content, str):
            texts.append(content)
        if choice["finish_reason"] is not None:
            del self._texts[choice["index"]]
            annotations = self._annotations(texts)
            if annotations:
                delta = choice["delta"]
                delta["annotations"] = [*(delta.get("annotations") or ()), *annotations]

    def _late(self) -> list[Step]:
        """Return a step for choices that ended without a reason."""
        choices: list[ChoiceStep] = [
            {"index": index, "delta": {"annotations": annotations}, "finish_reason": None}
            for index, texts in sorted(self._texts.items())
            if (annotations := self._annotations(texts))
        ]
        self._texts.clear()
        return [Step({"choices": choices})] if choices else []

    def _annotations(self, texts: list[str]) -> list[dict[str, Any]]:
        return [*self._files, *(cite("".join(texts), self._sources) if self._sources else ())]


class HeldReply:
    """The events of a whole reply, kept back until it has ended."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self.usage: Usage | None = None

    def add(self, events: list[Event]) -> None:
        """Take what came."""
        for event in events:
            if type(event) is UsageReported:
                self.usage = event.usage
            self._events.append(event)

    @property
    def has_ended(self) -> bool:
        """Whether it came to its end; if not, there is nothing to heal."""
        return bool(self._events) and type(self._events[-1]) is Ended

    def texts(self) -> dict[int, str]:
        """Return the texts that can be healed, by choice: none that were cut, and none beside tool calls."""
        found: dict[int, list[str]] = {}
        others: set[int] = set()
        for choice in self._choices():
            content = choice["delta"].get("content")
            if isinstance(content, str):
                found.setdefault(choice["index"], []).append(content)
            is_text = content is None or isinstance(content, str)
            if not is_text or choice["delta"].get("tool_calls") or choice["finish_reason"] not in _COMPLETE:
                others.add(choice["index"])
        joined = {index: "".join(pieces) for index, pieces in found.items() if index not in others}
        return {index: text for index, text in joined.items() if text}

    def release(self, texts: Mapping[int, str], usage: Usage | None = None) -> list[Event]:
        """Return the events with these texts in the place of what was there, and with this usage."""
        placed: set[int] = set()
        for choice in self._choices():
            index = choice["index"]
            if index in texts and isinstance(choice["delta"].get("content"), str):
                choice["delta"]["content"] = "" if index in placed else texts[index]
                placed.add(index)
        if usage is None:
            return self._events
        return [UsageReported(usage) if type(event) is UsageReported else event for event in self._events]

    def _choices(self) -> list[ChoiceStep]:
        return [choice for event in self._events if type(event) is Step for choice in event.choices]


def add_usage(one: Usage, other: Usage) -> Usage:
    """Return what two calls have used together."""
    sums: dict[str, Any] = {}
    for name, value in msgspec.structs.asdict(one).items():
        more = getattr(other, name)
        sums[name] = value or more if isinstance(value, bool) else more if value is None else value + (more or 0)
    return Usage(**sums)
