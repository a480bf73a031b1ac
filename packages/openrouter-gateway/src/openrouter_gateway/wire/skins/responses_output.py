"""The output items of a response while they are made of what a chat's choice gains, and the events that tell of it.

One `Output` per reply, streamed or whole: what is streamed is what a whole response would have. Reasoning and messages
follow each other; calls stay open until the end, because pieces of parallel calls may alternate.

Events: github.com/openai/openai-openapi at f85dbe2 (2026-08-21), `ResponseStreamEvent`; OpenRouter API, responses
(2026-08-22), which adds `format` and `signature` to reasoning.
"""

from collections.abc import Callable, Collection
from typing import Any, Final, Literal, TypeAlias, cast

from openrouter_gateway.core.events import ChoiceStep
from openrouter_gateway.wire.custom_tools import InputReader
from openrouter_gateway.wire.reasoning_items import (
    MADE_UP,
    Kind,
    ReasoningItem,
    dicts_in,
    is_other_kind,
    kind_of,
    text_of,
)

Json: TypeAlias = dict[str, Any]
Emit: TypeAlias = Callable[[str, Json], None]
Status: TypeAlias = Literal["completed", "incomplete"]

_READABLE: Final = ("summary", "text")
_SUMMARY: Final = ("response.reasoning_summary_text", "response.reasoning_summary_part", "summary_index")
_THOUGHT: Final = ("response.reasoning_text", "response.content_part", "content_index")


class _Part:
    """A part of a message: text or a refusal."""

    __slots__ = ("kind", "logprobs", "notes", "pieces")

    def __init__(self, kind: Literal["output_text", "refusal"]) -> None:
        self.kind: Literal["output_text", "refusal"] = kind
        self.pieces: list[str] = []
        self.notes: list[Json] = []
        self.logprobs: list[Json] = []

    def to_json(self) -> Json:
        text = "".join(self.pieces)
        if self.kind == "refusal":
            return {"type": "refusal", "refusal": text}
        return {"type": "output_text", "text": text, "annotations": list(self.notes), "logprobs": list(self.logprobs)}


class _Message:
    __slots__ = ("id", "index", "parts", "phase")

    def __init__(self, index: int, item_id: str, phase: str | None) -> None:
        self.index = index
        self.id = item_id
        self.phase = phase
        self.parts: list[_Part] = []


class _Call:
    """A call: it is announced, and has an `index`, once its name is known; `input` is that of a custom tool."""

    __slots__ = ("call_id", "id", "index", "input", "name", "pieces")

    def __init__(self, call_id: str) -> None:
        self.index: int | None = None
        self.input: InputReader | None = None
        self.id = ""
        self.call_id = call_id
        self.name = ""
        self.pieces: list[str] = []


class _Thinking:
    """Reasoning: `kind` is that of the open part, the item's `number`-th, at `position` among those of its kind."""

    __slots__ = ("counts", "id", "index", "item", "kind", "number", "pieces", "position")

    def __init__(self, index: int, item_id: str) -> None:
        self.index = index
        self.id = item_id
        self.item = ReasoningItem()
        self.kind: Kind | None = None
        self.number = 0
        self.position = 0
        self.pieces: list[str] = []
        self.counts: dict[Kind, int] = {}


class Output:
    """Takes what a choice gains; `emit` gets each event's type and fields. `seed` makes the ids of its items unique.

    Calls of tools with the `custom` names are of custom tools.
    """

    def __init__(self, seed: str, emit: Emit, custom: Collection[str] = ()) -> None:
        self.finish_reason: str | None = None
        self.error: Json | None = None  # the choice's own
        self._seed = seed
        self._emit = emit
        self._custom = custom
        self._items: list[Json] = []
        self._ids: set[str] = set()
        self._message: _Message | None = None
        self._thinking: _Thinking | None = None
        self._calls: dict[int, _Call] = {}
        self._texts: list[str] = []

    @property
    def items(self) -> list[Json]:
        """The items, whole once they are closed."""
        return self._items

    @property
    def text(self) -> str:
        """All that the model said."""
        return "".join(self._texts)

    def take(self, choice: ChoiceStep) -> None:
        """Take what a choice of a step says."""
        delta = choice["delta"]
        details = dicts_in(delta.get("reasoning_details"))
        thought: object = delta.get("reasoning")
        if isinstance(thought, str) and thought and not any(kind_of(detail) in _READABLE for detail in details):
            self._think({"type": "reasoning.text", "text": thought})
        for detail in details:
            self._think(detail)
        text, tokens = _plain(delta.get("content")), _tokens(choice.get("logprobs"))
        if text or tokens:
            self._say(text, delta.get("phase"), tokens)
        if isinstance(refusal := delta.get("refusal"), str) and refusal:
            self._refuse(refusal)
        for annotation in dicts_in(delta.get("annotations")):
            self._annotate(annotation)
        for image in dicts_in(delta.get("images")):
            self._show(image)
        for call in delta.get("tool_calls") or ():
            self._call(call)
        if choice["finish_reason"] is not None:
            self.finish_reason = choice["finish_reason"]
        if isinstance(error := choice.get("error"), dict):
            self.error = cast("Json", error)

    def close(self, status: Status) -> None:
        """No more comes. Where the answer is not complete, neither is the item that was last added."""
        for call in self._calls.values():
            if call.index is None:  # it never got a name
                self._begin_call(call)
        self._end_thinking(status if self._is_last(self._thinking) else "completed")
        self._end_message(status if self._is_last(self._message) else "completed")
        for call in self._calls.values():
            self._end_call(call, status if self._is_last(call) else "completed")
        self._calls.clear()

    def _is_last(self, item: _Message | _Thinking | _Call | None) -> bool:
        return item is not None and item.index == len(self._items) - 1

    def _begin(self, item: Json) -> int:
        index = len(self._items)
        self._items.append(item)
        self._ids.add(item["id"])
        self._emit("response.output_item.added", {"output_index": index, "item": item})
        return index

    def _finish(self, index: int, item: Json) -> None:
        self._items[index] = item
        self._emit("response.output_item.done", {"output_index": index, "item": item})

    def _new_id(self, prefix: str) -> str:
        return f"{prefix}{self._seed}_{len(self._items)}"

    # -- messages

    def _open_message(self, phase: object) -> _Message:
        message = self._message
        named = phase if isinstance(phase, str) else None
        if message is not None and (named is None or named == message.phase):
            return message
        self._end_message("completed")
        self._end_thinking("completed")
        item: Json = {"type": "message", "id": self._new_id("msg_"), "role": "assistant", "status": "in_progress"}
        if named is not None:
            item["phase"] = named
        self._message = _Message(self._begin(item | {"content": []}), item["id"], named)
        return self._message

    def _open_part(self, kind: Literal["output_text", "refusal"], phase: object = None) -> tuple[_Part, Json]:
        """Return the part that text of a kind goes into, and where it is."""
        message = self._open_message(phase)
        if not message.parts or message.parts[-1].kind != kind:
            self._end_part(message)
            message.parts.append(_Part(kind))
            self._emit("response.content_part.added", _place(message) | {"part": message.parts[-1].to_json()})
        return message.parts[-1], _place(message)

    def _say(self, text: str, phase: object, tokens: list[Json]) -> None:
        part, place = self._open_part("output_text", phase)
        part.pieces.append(text)
        part.logprobs += tokens
        self._texts.append(text)
        self._emit("response.output_text.delta", place | {"delta": text, "logprobs": tokens})

    def _refuse(self, text: str) -> None:
        part, place = self._open_part("refusal")
        part.pieces.append(text)
        self._emit("response.refusal.delta", place | {"delta": text})

    def _annotate(self, annotation: Json) -> None:
        flat = _flat_annotation(annotation)
        if flat is None:
            return
        part, place = self._open_part("output_text")
        part.notes.append(flat)
        number = len(part.notes) - 1
        self._emit("response.output_text.annotation.added", place | {"annotation_index": number, "annotation": flat})

    def _end_part(self, message: _Message) -> None:
        if not message.parts:
            return
        part, place = message.parts[-1], _place(message)
        whole = part.to_json()
        if part.kind == "refusal":
            self._emit("response.refusal.done", place | {"refusal": whole["refusal"]})
        else:
            self._emit("response.output_text.done", place | {"text": whole["text"], "logprobs": whole["logprobs"]})
        self._emit("response.content_part.done", place | {"part": whole})

    def _end_message(self, status: Status) -> None:
        message, self._message = self._message, None
        if message is None:
            return
        self._end_part(message)
        item: Json = {"type": "message", "id": message.id, "role": "assistant", "status": status}
        if message.phase is not None:
            item["phase"] = message.phase
        self._finish(message.index, item | {"content": [part.to_json() for part in message.parts]})

    # -- reasoning

    def _think(self, detail: Json) -> None:
        kind = kind_of(detail)
        if kind is None:
            if is_other_kind(detail):
                self._keep(detail)
            return
        thinking = self._thinking
        if thinking is None or not thinking.item.accepts(detail):
            thinking = self._begin_thinking(detail)
        fresh = not thinking.item.continues(detail)
        thinking.item.add(detail)
        if kind == "encrypted":
            self._end_thought(thinking)
            return
        if fresh or thinking.kind is None:
            self._begin_thought(thinking, kind)
        text = text_of(detail, kind)
        if text:
            thinking.pieces.append(text)
            self._emit(f"{_names(kind)[0]}.delta", _thought_place(thinking, kind) | {"delta": text})

    def _keep(self, detail: Json) -> None:
        """Give the caller a detail whose kind has no form in this API, to be sent back."""
        self._end_thinking("completed")
        self._end_message("completed")
        item: Json = {"type": "reasoning", "id": self._new_id(MADE_UP), "summary": [], "reasoning_details": [detail]}
        self._finish(self._begin(item | {"status": "in_progress"}), item | {"status": "completed"})

    def _begin_thinking(self, detail: Json) -> _Thinking:
        self._end_thinking("completed")
        self._end_message("completed")
        given = detail.get("id")
        item_id = given if isinstance(given, str) and given and given not in self._ids else self._new_id(MADE_UP)
        item: Json = {"type": "reasoning", "id": item_id, "status": "in_progress", "summary": []}
        self._thinking = _Thinking(self._begin(item), item_id)
        return self._thinking

    def _begin_thought(self, thinking: _Thinking, kind: Kind) -> None:
        self._end_thought(thinking)
        thinking.kind = kind
        thinking.number = len(thinking.item.parts)
        thinking.position = thinking.counts.get(kind, 0)
        thinking.counts[kind] = thinking.position + 1
        thinking.pieces = []
        self._emit(f"{_names(kind)[1]}.added", _thought_place(thinking, kind) | {"part": _thought(kind, "")})

    def _end_thought(self, thinking: _Thinking) -> None:
        kind, thinking.kind = thinking.kind, None
        if kind is None:
            return
        text, place = "".join(thinking.pieces), _thought_place(thinking, kind)
        part = thinking.item.more[thinking.number] | _thought(kind, text)
        self._emit(f"{_names(kind)[0]}.done", place | {"text": text})
        self._emit(f"{_names(kind)[1]}.done", place | {"part": part})

    def _end_thinking(self, status: Status) -> None:
        thinking, self._thinking = self._thinking, None
        if thinking is None:
            return
        self._end_thought(thinking)
        self._finish(thinking.index, thinking.item.to_full_item() | {"id": thinking.id, "status": status})

    # -- calls and images

    def _call(self, piece: Json) -> None:
        number, function = piece["index"], piece["function"]
        call = self._calls.get(number)
        if call is None:
            call = self._calls[number] = _Call(f"call_{number}")
        arguments = function.get("arguments") or ""
        if arguments:
            call.pieces.append(arguments)
        if call.index is None:
            call.name = function.get("name") or ""
            call.call_id = piece.get("id") or call.call_id
            if call.name:
                self._begin_call(call)
        elif arguments:
            self._add_arguments(call, arguments)

    def _begin_call(self, call: _Call) -> None:
        self._end_thinking("completed")
        self._end_message("completed")
        if call.name in self._custom:
            call.input = InputReader()
        call.id = self._new_id("fc_" if call.input is None else "ctc_")
        call.index = self._begin(_call_item(call, "", "in_progress"))
        if call.pieces:
            self._add_arguments(call, "".join(call.pieces))

    def _add_arguments(self, call: _Call, arguments: str) -> None:
        if call.input is None:
            self._emit("response.function_call_arguments.delta", _call_place(call) | {"delta": arguments})
        else:
            self._add_input(call, call.input.feed(arguments))

    def _add_input(self, call: _Call, text: str) -> None:
        if text:
            self._emit("response.custom_tool_call_input.delta", _call_place(call) | {"delta": text})

    def _end_call(self, call: _Call, status: Status) -> None:
        if call.input is None:
            given = "".join(call.pieces)
            whole = {"name": call.name, "arguments": given}
            self._emit("response.function_call_arguments.done", _call_place(call) | whole)
        else:
            self._add_input(call, call.input.finish())
            given = call.input.text
            self._emit("response.custom_tool_call_input.done", _call_place(call) | {"input": given})
        self._finish(cast("int", call.index), _call_item(call, given, status))

    def _show(self, image: Json) -> None:
        inner: object = image.get("image_url")
        url = cast("Json", inner).get("url") if isinstance(inner, dict) else None
        if not isinstance(url, str):
            return
        self._end_thinking("completed")
        self._end_message("completed")
        item: Json = {"type": "image_generation_call", "id": self._new_id("ig_"), "result": None}
        index = self._begin(item | {"status": "in_progress"})
        self._emit("response.image_generation_call.completed", {"item_id": item["id"], "output_index": index})
        data = url.partition(";base64,")[2] if url.startswith("data:") else url
        self._finish(index, item | {"result": data, "status": "completed"})


def _place(message: _Message) -> Json:
    return {"item_id": message.id, "output_index": message.index, "content_index": max(len(message.parts) - 1, 0)}


def _call_place(call: _Call) -> Json:
    return {"item_id": call.id, "output_index": call.index}


def _call_item(call: _Call, given: str, status: str) -> Json:
    """Return a call as it is shown once this much of its arguments or input has been given."""
    kind, key = ("function_call", "arguments") if call.input is None else ("custom_tool_call", "input")
    return {"type": kind, "id": call.id, "call_id": call.call_id, "name": call.name, key: given, "status": status}


def _thought_place(thinking: _Thinking, kind: Kind) -> Json:
    return {"item_id": thinking.id, "output_index": thinking.index, _names(kind)[2]: thinking.position}


def _names(kind: Kind) -> tuple[str, str, str]:
    return _SUMMARY if kind == "summary" else _THOUGHT


def _thought(kind: Kind, text: str) -> Json:
    return {"type": "summary_text" if kind == "summary" else "reasoning_text", "text": text}


def _plain(content: object) -> str:
    """Return content as text: some servers send parts."""
    if isinstance(content, str):
        return content
    return "".join(text for part in dicts_in(content) if isinstance(text := part.get("text"), str))


def _tokens(logprobs: object) -> list[Json]:
    """Return probabilities as this API has them: bytes are never null."""
    content = dicts_in(cast("Json", logprobs).get("content")) if isinstance(logprobs, dict) else []
    return [
        {**_with_bytes(token), "top_logprobs": [_with_bytes(other) for other in dicts_in(token.get("top_logprobs"))]}
        for token in content
    ]


def _with_bytes(token: Json) -> Json:
    if token.get("bytes") is not None:
        return token
    return {**token, "bytes": list(str(token.get("token", "")).encode())}


def _flat_annotation(annotation: Json) -> Json | None:
    """Return an annotation as this API has it: flat. There is none for files that the gateway has read."""
    kind: object = annotation.get("type")
    inner: object = annotation.get(kind) if isinstance(kind, str) else None
    flat = {"type": kind, **cast("Json", inner)} if isinstance(inner, dict) else annotation
    if kind == "file" or not isinstance(kind, str):
        return None
    if kind == "url_citation":
        return {"url": "", "title": "", "start_index": 0, "end_index": 0} | flat
    return flat
