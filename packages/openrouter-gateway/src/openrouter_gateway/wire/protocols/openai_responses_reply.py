"""What the events and items of a reply of the Responses API mean, brought into hub form.

Events: github.com/openai/openai-openapi at f85dbe2 (2026-08-21), `ResponseStreamEvent`. What is streamed is passed on;
what a `done` event, a finished item or the final response adds to it is made up for, because servers differ in what
they stream: llama.cpp leaves out every index (2026.10), others send some items whole only.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeAlias, cast

from openrouter_gateway.core.events import ChoiceStep, Ended, Event, Failed, Step, UsageReported
from openrouter_gateway.errors import Garbled, Unavailable, UpstreamError
from openrouter_gateway.wire.protocols.openai_responses_values import error_in, read_token, read_usage
from openrouter_gateway.wire.reasoning_items import OPENAI_FORMAT, block_index, dicts_in

Json: TypeAlias = dict[str, Any]
Kind: TypeAlias = Literal["message", "function_call", "reasoning", "image_generation_call"]
TextKind: TypeAlias = Literal["text", "refusal", "arguments", "summary", "thought"]

_KINDS: Final[Mapping[str, Kind]] = {
    "message": "message",
    "function_call": "function_call",
    "reasoning": "reasoning",
    "image_generation_call": "image_generation_call",
}
"""Items that mean something in a chat. Others, such as searches at the provider, are passed over."""
_REPLAYED: Final = frozenset({"message", "function_call", "reasoning"})
_HOLDERS: Final[Mapping[TextKind, Kind]] = {
    "text": "message",
    "refusal": "message",
    "arguments": "function_call",
    "summary": "reasoning",
    "thought": "reasoning",
}
_DETAILS: Final[Mapping[TextKind, tuple[str, str]]] = {
    "summary": ("reasoning.summary", "summary"),
    "thought": ("reasoning.text", "text"),
}
_REASONS: Final = {"max_output_tokens": "length", "content_filter": "content_filter"}
_TIERS: Final = frozenset({"default", "flex", "priority"})


class _Item:
    """One output item: what of it has been passed on."""

    __slots__ = (
        "announced", "blocks", "call", "encrypted", "id", "kind", "notes", "phase", "place", "shown", "started",
        "texts",
    )  # fmt: skip

    def __init__(self, kind: Kind, place: int, call: int) -> None:
        self.kind: Kind = kind
        self.place = place
        self.call = call
        self.id: str | None = None
        self.phase: str | None = None
        self.announced = False
        self.started = False  # of a call: its name and id have been passed on
        self.shown = False  # of an image
        self.encrypted: str | None = None
        self.texts: dict[tuple[TextKind, int], list[str]] = {}
        self.notes: dict[int, int] = {}
        self.blocks: dict[tuple[str, int], int] = {}


class ReplyReader:
    """Reads one reply."""

    __slots__ = ("_by_id", "_by_index", "_calls", "_items", "_places", "_thought", "done")

    def __init__(self) -> None:
        self.done = False
        self._items: list[_Item] = []
        self._by_index: dict[int, _Item] = {}
        self._by_id: dict[str, _Item] = {}
        self._places = 0
        self._calls = 0
        self._thought = False

    def read(self, event: Json, out: list[Event]) -> None:
        """Append what an event of a stream says.

        Raises:
            Garbled: it is no event of this protocol.
        """
        kind = event.get("type")
        handle = _HANDLERS.get(kind) if type(kind) is str else None
        if handle is not None:
            handle(self, event, out)
        elif event.get("error"):
            self._fail(error_in(event["error"]), out)
        elif type(kind) is not str:
            raise Garbled("the provider sent an event without a type")

    def read_response(self, response: object, out: list[Event], *, otherwise: str = "completed") -> None:
        """Append what a whole response says, and the end. Its status is the `otherwise` one if it names none.

        Raises:
            Garbled: it is no response, or one that is still running.
        """
        if type(response) is not dict:
            raise Garbled("the provider's event has no response")
        fields = cast("Json", response)
        status = fields.get("status") or otherwise
        if status == "failed" or fields.get("error"):
            self._fail(error_in(fields.get("error") or "the provider's answer failed"), out)
            return
        if status == "cancelled":
            self._fail(Unavailable("the provider cancelled its answer"), out)
            return
        if status not in ("completed", "incomplete"):
            raise Garbled(f"the provider ended its answer with the status {status!r}")
        output = dicts_in(fields.get("output"))
        for item, known in zip(output, self._match(output), strict=True):
            self._read_whole(item, known, out)
        self._end(fields, _why_incomplete(fields) if status == "incomplete" else None, out)

    def _end(self, response: Json, reason: str | None, out: list[Event]) -> None:
        if any(item.kind == "function_call" and not item.started for item in self._items):
            raise Garbled("the provider sent a call without a name")
        choice: ChoiceStep = {"index": 0, "delta": {}, "finish_reason": "stop", "native_finish_reason": "completed"}
        if reason is not None:
            choice["finish_reason"] = _REASONS.get(reason, "length")
            choice["native_finish_reason"] = f"incomplete:{reason}" if reason else "incomplete"
        elif self._calls:
            choice["finish_reason"] = "tool_calls"
        chunk: Json = {"choices": [choice]}
        tier = response.get("service_tier")
        if type(tier) is str and tier in _TIERS:
            chunk["service_tier"] = tier
        out.append(Step(chunk))
        usage: object = response.get("usage")
        if type(usage) is dict and usage:
            out.append(UsageReported(read_usage(cast("Json", usage))))
        out.append(Ended())
        self.done = True

    def _fail(self, error: UpstreamError, out: list[Event]) -> None:
        self.done = True
        out.append(Failed(error))

    # -- items

    def _find(self, event: Json, kind: Kind) -> _Item:
        """Return the item that an event is about: by its index, else its id, else the last of its kind; or a new one.

        Ids come second: some servers give out new ones with each event.
        """
        index, item_id = event.get("output_index"), event.get("item_id")
        by_index = self._by_index.get(index) if type(index) is int else None
        by_id = self._by_id.get(item_id) if type(item_id) is str else None
        for item in (by_index, by_id):
            if item is not None and item.kind == kind:
                return item
        if type(index) is not int and type(item_id) is not str:
            last = next((item for item in reversed(self._items) if item.kind == kind), None)
            if last is not None:
                return last
        return self._add(kind, index, item_id)

    def _add(self, kind: Kind, index: object, item_id: object) -> _Item:
        item = _Item(kind, self._places, self._calls)
        self._places += kind in _REPLAYED
        self._calls += kind == "function_call"
        self._items.append(item)
        if type(index) is int:
            self._by_index[index] = item
        if type(item_id) is str and item_id:
            item.id = item_id
            self._by_id.setdefault(item_id, item)
        return item

    def _match(self, output: list[Json]) -> list[_Item | None]:
        """Return for each item of a final response the one that has been streamed.

        That has the same id or place, or else is the next of its kind: some servers give out new ids each time.
        """
        left = list(self._items)
        found: list[_Item | None] = []
        for position, fields in enumerate(output):
            kind = _KINDS.get(str(fields.get("type")))
            candidates = (self._by_id.get(str(fields.get("id"))), self._by_index.get(position))
            known = next((item for item in candidates if item in left and item.kind == kind), None)
            found.append(known)
            if known is not None:
                left.remove(known)
        for position, fields in enumerate(output):
            kind = _KINDS.get(str(fields.get("type")))
            known = found[position] or next((item for item in left if item.kind == kind), None)
            if known in left:
                left.remove(known)
            found[position] = known
        return found

    def added(self, event: Json, out: list[Event]) -> None:
        """An item begins. Encrypted content may be incomplete by now."""
        fields = _object(event, "item")
        kind = _KINDS.get(str(fields.get("type")))
        if kind is None:
            return
        where = {"output_index": event.get("output_index"), "item_id": fields.get("id") or ""}
        item = self._find(where, kind)
        if item.announced:  # what begins is new, even where a server gives all items one index
            item = self._add(kind, *where.values())
        item.announced = True
        self._note(item, fields)
        if kind == "function_call":
            self._start_call(item, fields, out)

    def finished(self, event: Json, out: list[Event]) -> None:
        """An item is whole."""
        fields = _object(event, "item")
        kind = _KINDS.get(str(fields.get("type")))
        if kind is not None:
            where = {"output_index": event.get("output_index"), "item_id": fields.get("id")}
            self._read_whole(fields, self._find(where, kind), out)

    def _note(self, item: _Item, fields: Json) -> None:
        item_id, phase = fields.get("id"), fields.get("phase")
        if item.id is None and type(item_id) is str and item_id:
            item.id = item_id
        if type(phase) is str:
            item.phase = phase

    def _read_whole(self, fields: Json, item: _Item | None, out: list[Event]) -> None:
        """Make up for what has not been streamed of an item."""
        kind = _KINDS.get(str(fields.get("type")))
        if kind is None:
            return
        if item is None:
            item = self._add(kind, None, fields.get("id"))
        self._note(item, fields)
        match kind:
            case "message":
                for position, part in enumerate(dicts_in(fields.get("content"))):
                    self._read_part(item, part, position, out)
            case "function_call":
                self._start_call(item, fields, out)
                self._catch_up(item, "arguments", 0, fields.get("arguments"), out)
            case "reasoning":
                for position, part in enumerate(dicts_in(fields.get("summary"))):
                    self._catch_up(item, "summary", position, part.get("text"), out)
                for position, part in enumerate(dicts_in(fields.get("content"))):
                    self._catch_up(item, "thought", position, part.get("text"), out)
                self._give_encrypted(item, fields.get("encrypted_content"), out)
            case "image_generation_call":
                self._give_image(item, fields, out)

    def _read_part(self, item: _Item, part: Json, position: int, out: list[Event]) -> None:
        if part.get("type") == "refusal":
            self._catch_up(item, "refusal", position, part.get("refusal"), out)
            return
        if part.get("type") not in (None, "output_text"):
            return
        fresh = ("text", position) not in item.texts
        self._catch_up(item, "text", position, part.get("text"), out)
        if fresh and part.get("logprobs"):
            self._give_logprobs(part["logprobs"], out)
        for annotation in dicts_in(part.get("annotations"))[item.notes.get(position, 0) :]:
            self._give_annotation(item, annotation, position, out)

    def _start_call(self, item: _Item, fields: Json, out: list[Event]) -> None:
        """Pass on a call's name, and the arguments that came before it."""
        name, call_id = fields.get("name"), fields.get("call_id") or fields.get("id")
        if item.started or type(name) is not str or not name:
            return
        if type(call_id) is not str:
            raise Garbled("the provider sent a call without an id")
        item.started = True
        held = "".join(item.texts.get(("arguments", 0), ()))
        function = {"name": name, "arguments": held}
        call = {"index": item.call, "id": call_id, "type": "function", "function": function}
        out.append(_step({"tool_calls": [call]}))

    # -- what items gain

    def gain(self, event: Json, kind: TextKind, text: object, out: list[Event]) -> None:
        """A piece of a text, behind the others of its part."""
        if type(text) is not str:
            raise Garbled(f"the provider's {event['type']} has no text")
        position = event.get(_POSITIONS[kind])
        self._give(
            self._find(event, _HOLDERS[kind]),
            kind,
            position if type(position) is int else 0,
            text,
            out,
            logprobs=event.get("logprobs") if kind == "text" else None,
        )

    def settle(self, event: Json, kind: TextKind, text: object, out: list[Event]) -> None:
        """A text is whole."""
        position = event.get(_POSITIONS[kind])
        item = self._find(event, _HOLDERS[kind])
        self._catch_up(item, kind, position if type(position) is int else 0, text, out)

    def _catch_up(self, item: _Item, kind: TextKind, position: int, whole: object, out: list[Event]) -> None:
        """Pass on what a whole text has beyond its pieces. Where it contradicts them, it comes too late."""
        if type(whole) is not str or not whole:
            return
        given = "".join(item.texts.get((kind, position), ()))
        if whole.startswith(given) and len(whole) > len(given):
            self._give(item, kind, position, whole[len(given) :], out)

    def _give(
        self, item: _Item, kind: TextKind, position: int, text: str, out: list[Event], logprobs: object = None
    ) -> None:
        pieces = item.texts.setdefault((kind, position), [])
        pieces.append(text)
        if not text:
            return
        match kind:
            case "text":
                delta: Json = {"content": text}
                if item.phase is not None:
                    delta["phase"] = item.phase
                    item.phase = None
                out.append(_step(delta, logprobs))
            case "refusal":
                out.append(_step({"refusal": text}))
            case "arguments":
                if item.started:
                    out.append(_step({"tool_calls": [{"index": item.call, "function": {"arguments": text}}]}))
            case "summary" | "thought":
                out.append(self._thought_step(item, kind, position, text))

    def _thought_step(self, item: _Item, kind: TextKind, position: int, text: str) -> Step:
        begins = (kind, position) not in item.blocks
        name, key = _DETAILS[kind]
        detail = self._detail(item, (kind, position), {"type": name, key: text})
        # Parts of a summary begin with a headline: read as one text, they are paragraphs.
        shown = f"\n\n{text}" if begins and self._thought else text
        self._thought = True
        return _step({"reasoning": shown, "reasoning_details": [detail]})

    def _detail(self, item: _Item, block: tuple[str, int], fields: Json) -> Json:
        number = item.blocks.setdefault(block, len(item.blocks))
        detail: Json = {**fields, "format": OPENAI_FORMAT, "index": block_index(item.place, number)}
        if item.id is not None:
            detail["id"] = item.id
        return detail

    def _give_encrypted(self, item: _Item, data: object, out: list[Event]) -> None:
        if type(data) is not str or not data or item.encrypted is not None:
            return
        item.encrypted = data
        detail = self._detail(item, ("encrypted", 0), {"type": "reasoning.encrypted", "data": data})
        out.append(_step({"reasoning_details": [detail]}))

    def _give_image(self, item: _Item, fields: Json, out: list[Event]) -> None:
        data, form = fields.get("result"), fields.get("output_format")
        if item.shown or type(data) is not str or not data:
            return
        item.shown = True
        url = data if data.startswith(("data:", "http")) else f"data:image/{form or 'png'};base64,{data}"
        out.append(_step({"images": [{"type": "image_url", "image_url": {"url": url}}]}))

    def _give_logprobs(self, logprobs: object, out: list[Event]) -> None:
        step = _step({}, logprobs)
        if "logprobs" in step.choices[0]:
            out.append(step)

    def annotate(self, event: Json, out: list[Event]) -> None:
        """An annotation of a text."""
        annotation: object = event.get("annotation")
        position = event.get("content_index")
        if isinstance(annotation, dict):
            item = self._find(event, "message")
            self._give_annotation(item, cast("Json", annotation), position if type(position) is int else 0, out)

    def _give_annotation(self, item: _Item, annotation: Json, position: int, out: list[Event]) -> None:
        item.notes[position] = item.notes.get(position, 0) + 1
        kind = annotation.get("type")
        if type(kind) is not str:
            return
        rest = {key: value for key, value in annotation.items() if key != "type"}
        out.append(_step({"annotations": [{"type": kind, kind: rest}]}))

    def part_done(self, event: Json, out: list[Event]) -> None:
        """A part of a message or of reasoning is whole."""
        part = _object(event, "part")
        position = event.get("content_index")
        if part.get("type") == "reasoning_text":
            self.settle(event, "thought", part.get("text"), out)
        elif part.get("type") in ("output_text", "refusal"):
            item = self._find(event, "message")
            self._read_part(item, part, position if type(position) is int else 0, out)


def _why_incomplete(response: Json) -> str:
    details: object = response.get("incomplete_details")
    reason: object = cast("Json", details).get("reason") if isinstance(details, dict) else None
    return reason if isinstance(reason, str) else ""


def _object(event: Json, key: str) -> Json:
    value = event.get(key)
    if type(value) is not dict:
        raise Garbled(f"the provider's {event.get('type')} has no {key}")
    return cast("Json", value)


def _step(delta: Json, logprobs: object = None) -> Step:
    choice: ChoiceStep = {"index": 0, "delta": delta, "finish_reason": None}
    if logprobs:
        tokens = [read_token(token) for token in dicts_in(logprobs) if type(token.get("token")) is str]
        if tokens:
            choice["logprobs"] = {"content": tokens}
    return Step({"choices": [choice]})


_POSITIONS: Final[Mapping[TextKind, str]] = {
    "text": "content_index",
    "refusal": "content_index",
    "arguments": "",
    "summary": "summary_index",
    "thought": "content_index",
}

_Handler: TypeAlias = Callable[[ReplyReader, Json, list[Event]], None]


def _gains(kind: TextKind) -> _Handler:
    return lambda reader, event, out: reader.gain(event, kind, event.get("delta"), out)


def _settles(kind: TextKind, key: str) -> _Handler:
    return lambda reader, event, out: reader.settle(event, kind, event.get(key), out)


def _ends(status: str) -> _Handler:
    return lambda reader, event, out: reader.read_response(event.get("response"), out, otherwise=status)


def _fails(reader: ReplyReader, event: Json, out: list[Event]) -> None:
    """`error` is flat in OpenAI's schema, and an object in what OpenRouter and others send."""
    reader.read({"error": event.get("error") or {key: event.get(key) for key in ("code", "message")}}, out)


_HANDLERS: Final[Mapping[str, _Handler]] = {
    "response.output_item.added": ReplyReader.added,
    "response.output_item.done": ReplyReader.finished,
    "response.content_part.done": ReplyReader.part_done,
    "response.output_text.delta": _gains("text"),
    "response.output_text.done": _settles("text", "text"),
    "response.output_text.annotation.added": ReplyReader.annotate,
    "response.refusal.delta": _gains("refusal"),
    "response.refusal.done": _settles("refusal", "refusal"),
    "response.function_call_arguments.delta": _gains("arguments"),
    "response.function_call_arguments.done": _settles("arguments", "arguments"),
    "response.reasoning_summary_text.delta": _gains("summary"),
    "response.reasoning_summary_text.done": _settles("summary", "text"),
    "response.reasoning_text.delta": _gains("thought"),
    "response.reasoning_text.done": _settles("thought", "text"),
    "response.completed": _ends("completed"),
    "response.incomplete": _ends("incomplete"),
    "response.failed": _ends("failed"),
    "response.error": _fails,
    "error": _fails,
}
