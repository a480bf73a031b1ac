"""Steps of a reply as the events of Anthropic's stream, and such events as one message.

A step of a provider that speaks the dialect brings its own event, which passes but for the fields that OpenRouter
rewrites. Others are translated: blocks one after the other, each started, grown and stopped, in the order in which the
model wrote. Sources: OpenRouter API, Anthropic messages (2026-08-22);
platform.claude.com/docs/en/build-with-claude/streaming (2026-11).
"""

from typing import Any, Final, cast

import msgspec

from openrouter_gateway.core.events import ChoiceStep, Step
from openrouter_gateway.core.usage import Cost, Usage
from openrouter_gateway.wire.anthropic import FORMAT, NATIVE, STOP_REASONS, as_tool_id
from openrouter_gateway.wire.skins import chat
from openrouter_gateway.wire.skins.base import Closing, ReplyHead
from openrouter_gateway.wire.skins.messages_blocks import pack

Event = dict[str, Any]
Key = tuple[str, object]

PING: Final[Event] = {"type": "ping"}

_STOP_REASONS: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "error": None,
}
_DELTA_KEYS: Final = ("container", "stop_details", "stop_reason", "stop_sequence")
_USAGE_KEYS: Final = (
    "output_tokens_details",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "cache_creation",
    "inference_geo",
    "server_tool_use",
    "service_tier",
)
_decode = msgspec.json.Decoder().decode


def message_id(head: ReplyHead) -> str:
    """Return the message's id, in which the generation's can be read."""
    return "msg_" + head.id.removeprefix("gen-").replace("-", "_")


class Translator:
    """Turns one reply's steps into events, and knows how it ended.

    With `hidden`, blocks of thinking have no text. What is in them besides is to be sent back: Anthropic's `display:
    omitted` (platform.claude.com/docs/en/build-with-claude/extended-thinking, 2026-11).
    """

    def __init__(self, head: ReplyHead, *, hidden: bool = False) -> None:
        self._head = head
        self._hidden = hidden
        self._begun = False
        self._next = 0
        self._current: Key | None = None  # the block that grows
        self._index = 0
        self._detail: dict[str, Any] | None = None  # what the block of reasoning has been told besides its text
        self._formats: dict[tuple[object, object], object] = {}  # of reasoning, by type and index
        self._calls: dict[int, _Call] = {}
        self._refused = False
        self._stop_reason: str | None = None
        self._tier: str | None = None
        self._native_end: Event | None = None
        self._native_usage: dict[str, Any] = {}

    def take(self, step: Step) -> list[Event]:
        """Return the events that a step is."""
        events: list[Event] = []
        native = step.chunk.get(NATIVE)
        if native is not None:
            self._take_native(native, events)
        else:
            self._begin(events)
            if isinstance(tier := step.chunk.get("service_tier"), str):
                self._tier = "standard" if tier == "default" else tier
        for choice in step.choices:
            if choice["index"] == 0:
                if native is None:
                    self._take_delta(choice["delta"], events)
                self._note_end(choice)
        return events

    def end(self, closing: Closing) -> list[Event]:
        """Return the last events of a complete answer."""
        events: list[Event] = []
        self._begin(events)
        if self._native_end is None:
            self._close(events)
            for call in self._calls.values():
                call.finish(self, events)
        end = self._native_end or {"type": "message_delta", "delta": {"stop_reason": self._reason()}}
        given = end.get("delta")
        delta = dict.fromkeys(_DELTA_KEYS) | (cast("dict[str, Any]", given) if isinstance(given, dict) else {})
        events.append({**end, "delta": delta, "usage": self._usage(closing.usage, closing.cost)})
        more = {} if closing.metadata is None else {"openrouter_metadata": closing.metadata}
        events.append({"type": "message_stop", **more})
        return events

    def _reason(self) -> str | None:
        if self._refused:
            return "refusal"
        # OpenAI ends a call of a tool that was asked for by its name with `stop`
        # (github.com/vllm-project/vllm/pull/25054, 2025-09); Anthropic's clients run tools by this word alone.
        return "tool_use" if self._calls and self._stop_reason == "end_turn" else self._stop_reason

    def _usage(self, usage: Usage, cost: Cost) -> dict[str, Any]:
        hourly = usage.cache_write_1h_tokens
        known = {key: value for key, value in self._native_usage.items() if value is not None}
        return {
            **known,
            "input_tokens": max(usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens, 0),
            "output_tokens": usage.completion_tokens,
            "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
            "cache_creation_input_tokens": usage.cache_write_tokens,
            "cache_read_input_tokens": usage.cached_tokens,
            "cache_creation": {
                "ephemeral_5m_input_tokens": max(usage.cache_write_tokens - hourly, 0),
                "ephemeral_1h_input_tokens": hourly,
            },
            "inference_geo": known.get("inference_geo"),
            "server_tool_use": known.get("server_tool_use") or _searches(usage),
            "service_tier": known.get("service_tier") or self._tier or "standard",
            **{key: value for key, value in chat.usage_object(usage, cost).items() if key in _COSTS},
        }

    def _begin(self, events: list[Event], native: dict[str, Any] | None = None) -> None:
        if self._begun:
            return
        self._begun = True
        head, given = self._head, native or {}
        usage = {"input_tokens": 0, "output_tokens": 0, **dict.fromkeys(_USAGE_KEYS), "service_tier": "standard"}
        usage |= self._native_usage
        message: dict[str, Any] = {
            "container": None,
            "stop_reason": None,
            "stop_details": None,
            "stop_sequence": None,
            **given,
            "id": message_id(head),
            "type": "message",
            "role": "assistant",
            "model": head.model,
            "provider": head.provider,
            "content": [],
            "usage": usage,
        }
        events += [{"type": "message_start", "message": message}, PING]

    def _take_native(self, event: Event, events: list[Event]) -> None:
        kind = event["type"]
        if kind == "message_start":
            self._note_usage(event["message"].get("usage"))
            self._begin(events, event["message"])
        elif kind == "message_delta":
            self._note_usage(event.get("usage"))
            if self._native_end is None or event["delta"].get("stop_reason"):
                self._native_end = event
        else:
            self._begin(events)
            if kind == "content_block_start":
                _complete(event["content_block"])
            if not self._hidden or _hide_thinking(event):
                events.append(event)

    def _note_usage(self, usage: object) -> None:
        if isinstance(usage, dict):
            self._native_usage |= cast("dict[str, Any]", usage)

    def _note_end(self, choice: ChoiceStep) -> None:
        if choice["finish_reason"] is not None:
            native = choice.get("native_finish_reason")
            known = native in STOP_REASONS
            self._stop_reason = native if known else _STOP_REASONS.get(choice["finish_reason"], "end_turn")

    def _take_delta(self, delta: dict[str, Any], events: list[Event]) -> None:
        details = delta.get("reasoning_details")
        if isinstance(details, list) and details:
            for detail in cast("list[Any]", details):
                if isinstance(detail, dict):
                    self._reason_in_detail(cast("dict[str, Any]", detail), events)
        elif not self._hidden and isinstance(reasoning := delta.get("reasoning"), str) and reasoning:
            self._think(("thinking", None), reasoning, events)
        for text in _texts(delta.get("content")):
            self._say(text, events)
        if isinstance(refusal := delta.get("refusal"), str) and refusal:
            self._refused = True
            self._say(refusal, events)
        for annotation in _list(delta.get("annotations")):
            self._cite(annotation, events)
        for piece in _list(delta.get("tool_calls")):
            call = self._calls.setdefault(piece["index"], _Call(piece["index"]))
            call.take(piece, self, events)

    def _say(self, text: str, events: list[Event]) -> None:
        self.switch(("text", None), {"type": "text", "text": "", "citations": None}, events)
        self.grow(self._index, {"type": "text_delta", "text": text}, events)

    def _think(self, key: Key, text: str, events: list[Event]) -> None:
        self.switch(key, {"type": "thinking", "thinking": "", "signature": ""}, events)
        if text and not self._hidden:
            self.grow(self._index, {"type": "thinking_delta", "thinking": text}, events)

    def _reason_in_detail(self, detail: dict[str, Any], events: list[Event]) -> None:
        """Fragments after the first need not repeat their format (OpenRouter API, reasoning, 2026-08-22)."""
        kind, index = detail.get("type"), detail.get("index")
        if detail.get("format") is not None:
            self._formats[kind, index] = detail["format"]
        elif (known := self._formats.get((kind, index))) is not None:
            detail = {**detail, "format": known}
        if kind in ("reasoning.text", "reasoning.summary"):
            text = detail.get("summary") if kind == "reasoning.summary" else detail.get("text")
            self._think(("thinking", (kind, index)), text if isinstance(text, str) else "", events)
            told = {key: value for key, value in detail.items() if key not in _NOT_PACKED and value is not None}
            self._detail = (self._detail or {}) | told
            return
        data = detail.get("data")
        if detail.get("format") not in _OWN_FORMATS or kind != "reasoning.encrypted" or not isinstance(data, str):
            data = pack(detail)
        self.switch(("redacted", object()), {"type": "redacted_thinking", "data": data}, events)

    def _cite(self, annotation: dict[str, Any], events: list[Event]) -> None:
        """Only citations of the web have a form in both dialects."""
        found = annotation.get("url_citation")
        if not isinstance(found, dict):
            return
        cited = cast("dict[str, Any]", found)
        self.switch(("text", None), {"type": "text", "text": "", "citations": None}, events)
        citation = {
            "type": "web_search_result_location",
            "url": cited.get("url") or "",
            "title": cited.get("title"),
            "cited_text": cited.get("content") or "",
            "encrypted_index": "",
        }
        self.grow(self._index, {"type": "citations_delta", "citation": citation}, events)

    def switch(self, key: Key, block: dict[str, Any], events: list[Event]) -> int:
        """Begin a block unless it is the one that grows, and end that one; return its index."""
        if key != self._current:
            self._close(events)
            self._current, self._index = key, self._next
            self._next += 1
            events.append({"type": "content_block_start", "index": self._index, "content_block": block})
        return self._index

    @staticmethod
    def grow(index: int, delta: dict[str, Any], events: list[Event]) -> None:
        """Add to a block."""
        events.append({"type": "content_block_delta", "index": index, "delta": delta})

    def _close(self, events: list[Event]) -> None:
        """End the block that grows. A call that is not whole yet stays open: its pieces may come between others'."""
        key, self._current = self._current, None
        if key is None:
            return
        if key[0] == "call":
            self._calls[cast("int", key[1])].close_if_whole(events)
            return
        detail, self._detail = self._detail, None
        if detail is not None and (signature := _signature_of(detail)):
            self.grow(self._index, {"type": "signature_delta", "signature": signature}, events)
        events.append({"type": "content_block_stop", "index": self._index})


def _hide_thinking(event: Event) -> bool:
    """Take the text out of an event of thinking; return whether anything is left of it."""
    match event:
        case {"type": "content_block_delta", "delta": {"type": "thinking_delta"}}:
            return False
        case {"type": "content_block_start", "content_block": {"type": "thinking"} as block}:
            cast("dict[str, Any]", block)["thinking"] = ""
        case _:
            pass
    return True


_COSTS: Final = frozenset({"cost", "is_byok", "cost_details"})
_NOT_PACKED: Final = frozenset({"text", "summary", "index"})
_OWN_FORMATS: Final = (FORMAT, None)


def _signature_of(detail: dict[str, Any]) -> str | None:
    """Return what a block is signed with: reasoning that is not Claude's has its kind in it, to be sent back."""
    if detail.get("format") not in _OWN_FORMATS or detail["type"] != "reasoning.text":
        return pack(detail)
    signature = detail.get("signature")
    return signature if isinstance(signature, str) else None


def _searches(usage: Usage) -> dict[str, int] | None:
    count = usage.web_search_requests
    return {"web_search_requests": count, "web_fetch_requests": 0} if count else None


class _Call:
    """One call of a tool: begun once its name is known, open until its arguments are whole."""

    __slots__ = ("_id", "_index", "_key", "_name", "_open", "_sent", "_text")

    def __init__(self, key: int) -> None:
        self._key = key
        self._id = f"toolu_{key}"
        self._name = ""
        self._text = ""
        self._sent = 0  # characters of the text
        self._index = -1  # of the block, once begun
        self._open = True

    def take(self, piece: dict[str, Any], translator: Translator, events: list[Event]) -> None:
        function = piece["function"]
        if not self._open:
            return  # behind a whole document there is nothing that could be read
        if self._index < 0:
            self._id = piece.get("id") or self._id
            self._name = function.get("name") or self._name
        self._text += function.get("arguments") or ""
        if self._index < 0 and self._name:
            self._begin(translator, events)
        if self._index >= 0:
            self._flush(translator, events)

    def _begin(self, translator: Translator, events: list[Event]) -> None:
        block = {"type": "tool_use", "id": as_tool_id(self._id), "name": self._name, "input": {}, "caller": _DIRECT}
        self._index = translator.switch(("call", self._key), block, events)

    def _flush(self, translator: Translator, events: list[Event]) -> None:
        """Clients read the pieces as JSON while they come: what is no object waits for the end."""
        if len(self._text) > self._sent and self._text.lstrip()[:1] == "{":
            translator.grow(self._index, {"type": "input_json_delta", "partial_json": self._text[self._sent :]}, events)
            self._sent = len(self._text)

    def close_if_whole(self, events: list[Event]) -> None:
        if self._open and self._sent and read_arguments(self._text) is not None:
            self._stop(events)

    def finish(self, translator: Translator, events: list[Event]) -> None:
        if not self._open:
            return
        if self._index < 0:
            self._begin(translator, events)
        if self._text.strip() and not self._sent:
            wrapped = msgspec.json.encode({"arguments": self._text}).decode()
            translator.grow(self._index, {"type": "input_json_delta", "partial_json": wrapped}, events)
        self._stop(events)

    def _stop(self, events: list[Event]) -> None:
        self._open = False
        events.append({"type": "content_block_stop", "index": self._index})


_DIRECT: Final = {"type": "direct"}


def read_arguments(text: str) -> dict[str, Any] | None:
    """Return the arguments of a call, None if they are no JSON object."""
    try:
        value = _decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _complete(block: dict[str, Any]) -> None:
    """Add what OpenRouter's schema requires of a block."""
    if block.get("type") == "text":
        block.setdefault("citations", None)
    elif block.get("type") == "tool_use":
        block.setdefault("caller", _DIRECT)


def _text_in(block: dict[str, Any], key: str) -> str:
    text = block.get(key)
    return text if isinstance(text, str) else ""


def _list(value: object) -> list[dict[str, Any]]:
    return [each for each in cast("list[Any]", value) if isinstance(each, dict)] if isinstance(value, list) else []


def _texts(content: object) -> list[str]:
    """Return the texts of a piece of content; some servers send it as parts."""
    if isinstance(content, str):
        return [content] if content else []
    texts = [part.get("text") for part in _list(content)]
    return [text for text in texts if isinstance(text, str) and text]


class Message:
    """Events put together to the message that they are the stream of."""

    def __init__(self) -> None:
        self._fields: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._inputs: dict[int, str] = {}

    def add(self, event: Event) -> None:
        """Take an event."""
        match event["type"]:
            case "message_start":
                self._fields = dict(event["message"])
            case "content_block_start":
                self._blocks[event["index"]] = dict(event["content_block"])
            case "content_block_delta":
                self._grow(event["index"], event["delta"])
            case "message_stop":
                self._fields |= {key: value for key, value in event.items() if key != "type"}
            case "message_delta":
                for gained in (event, event["delta"]):
                    self._fields |= {key: value for key, value in gained.items() if key not in ("type", "delta")}
            case _:
                pass

    def _grow(self, index: int, delta: dict[str, Any]) -> None:
        block = self._blocks.get(index)
        if block is None:
            return
        match delta:
            case {"type": "text_delta", "text": str(text)}:
                block["text"] = _text_in(block, "text") + text
            case {"type": "thinking_delta", "thinking": str(text)}:
                block["thinking"] = _text_in(block, "thinking") + text
            case {"type": "signature_delta", "signature": signature}:
                block["signature"] = signature
            case {"type": "citations_delta", "citation": citation}:
                block["citations"] = [*_list(block.get("citations")), citation]
            case {"type": "input_json_delta", "partial_json": str(piece)}:
                self._inputs[index] = self._inputs.get(index, "") + piece
            case {"type": "compaction_delta"}:
                block.update({key: value for key, value in delta.items() if key != "type"})
            case _:
                pass

    def whole(self) -> dict[str, Any]:
        """Return the message."""
        for index, text in self._inputs.items():
            if text.strip():
                arguments = read_arguments(text)
                self._blocks[index]["input"] = {"arguments": text} if arguments is None else arguments
        return {**self._fields, "content": [self._blocks[index] for index in sorted(self._blocks)]}
