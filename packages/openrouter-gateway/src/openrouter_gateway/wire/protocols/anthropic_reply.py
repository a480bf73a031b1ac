"""Replies of Anthropic's Messages API to events of the hub: a stream of events, or one JSON body as if it were one.

Sources: platform.claude.com/docs/en/{api/messages, build-with-claude/{streaming,handling-stop-reasons}},
2026-11. New kinds of events and blocks may appear at any time, and are passed over.
"""

from typing import Any, Final, cast

import msgspec

from openrouter_gateway.core.events import Ended, Event, Failed, Step, UsageReported
from openrouter_gateway.core.finish import to_finish_reason
from openrouter_gateway.core.usage import Usage
from openrouter_gateway.errors import Cut, Garbled
from openrouter_gateway.wire.anthropic import NATIVE
from openrouter_gateway.wire.protocols.anthropic_blocks import BLOCKS, Block, Counts, Delta
from openrouter_gateway.wire.protocols.anthropic_errors import error_in_stream
from openrouter_gateway.wire.protocols.framing import BodyBuffer
from openrouter_gateway.wire.protocols.reply_stream import feed_reader
from openrouter_gateway.wire.sse import EventStream
from openrouter_gateway.wire.tolerant import as_count, parse_json

_encode = msgspec.json.Encoder().encode

_TIERS: Final = {"standard": "default"}


class ReplyReader:
    """Events of one reply, decoded, to events of the hub.

    With `native`, steps carry the provider's own events for a skin of the same dialect, also those that the hub has
    nothing for.
    """

    __slots__ = ("_blocks", "_counts", "_finished", "_started", "_usage", "done", "native")

    def __init__(self, *, native: bool) -> None:
        self.native = native
        self._blocks: dict[int, Block] = {}
        self._counts = Counts()
        self._usage: dict[str, Any] = {}
        self._started = False
        self._finished = False
        self.done = False

    def read(self, event: dict[str, Any], events: list[Event]) -> None:
        """Append what one event means.

        Raises:
            Garbled: it is none of this protocol.
        """
        match event.get("type"):
            case "content_block_delta":
                block, delta = self._blocks.get(_index_of(event)), _object(event, "delta")
                self._step(event, None if block is None else block.grow(delta), events)
            case "content_block_start":
                self._start_block(event, events)
            case "content_block_stop":
                block = self._blocks.pop(_index_of(event), None)
                self._step(event, None if block is None else block.stop(), events)
            case "message_start":
                self._started = True
                self._take_usage(_object(event, "message").get("usage"))
                self._step(event, None, events)
            case "message_delta":
                self._finish(event, events)
            case "message_stop":
                self._end(events)
            case "error":
                self.done = True
                events.append(Failed(error_in_stream(event)))
            case "ping":
                pass
            case str():
                self._step(event, None, events)
            case _:
                raise Garbled("the provider sent an event without a type")

    def _start_block(self, event: dict[str, Any], events: list[Event]) -> None:
        found = _object(event, "content_block")
        index = _index_of(event)
        name = found.get("type")
        kind = BLOCKS.get(name) if isinstance(name, str) else None
        delta: Delta | None = None
        if kind is None:
            self._blocks.pop(index, None)
        else:
            block = self._blocks[index] = kind(self._counts)
            delta = block.start(found)
        self._step(event, delta, events)

    def _finish(self, event: dict[str, Any], events: list[Event]) -> None:
        delta = _object(event, "delta")
        self._take_usage(event.get("usage"))
        reason = delta.get("stop_reason")
        if reason is not None and type(reason) is not str:
            raise Garbled("the provider's `stop_reason` is not a string")
        if reason:
            self._finished = True
            choice: dict[str, Any] = {
                "index": 0,
                "delta": _refusal_of(delta),
                "finish_reason": to_finish_reason(reason),
                "native_finish_reason": reason,
            }
            chunk: dict[str, Any] = {"choices": [choice]}
            tier = self._usage.get("service_tier")
            if isinstance(tier, str):
                chunk["service_tier"] = _TIERS.get(tier, tier)
            if self.native:
                chunk[NATIVE] = event
            events.append(Step(chunk))
        else:
            self._step(event, None, events)
        events.append(UsageReported(read_usage(self._usage)))

    def _end(self, events: list[Event]) -> None:
        if not self._started:
            raise Garbled("the provider ended a message that it had not begun")
        if not self._finished:
            choice: dict[str, Any] = {
                "index": 0,
                "delta": {},
                "finish_reason": "stop",
                "native_finish_reason": "end_turn",
            }
            events.append(Step({"choices": [choice]}))
            events.append(UsageReported(read_usage(self._usage)))
        self.done = True
        events.append(Ended())

    def _take_usage(self, usage: object) -> None:
        """Counts are cumulative, and some come in the first event only."""
        if isinstance(usage, dict):
            given = cast("dict[str, Any]", usage)
            self._usage |= {key: value for key, value in given.items() if value is not None}

    def _step(self, event: dict[str, Any], delta: Delta | None, events: list[Event]) -> None:
        choices = [{"index": 0, "delta": delta, "finish_reason": None}] if delta else []
        if self.native:
            events.append(Step({"choices": choices, NATIVE: event}))
        elif choices:
            events.append(Step({"choices": choices}))


def _object(event: dict[str, Any], key: str) -> dict[str, Any]:
    value = event.get(key)
    if type(value) is not dict:
        raise Garbled(f"the provider sent a `{event['type']}` whose `{key}` is not an object")
    return cast("dict[str, Any]", value)


def _index_of(event: dict[str, Any]) -> int:
    index = event.get("index")
    if type(index) is not int:
        raise Garbled(f"the provider sent a `{event['type']}` without an index")
    return index


def _refusal_of(delta: dict[str, Any]) -> Delta:
    """Return why the model refused, where it says so."""
    details = delta.get("stop_details")
    explanation = cast("dict[str, Any]", details).get("explanation") if isinstance(details, dict) else None
    return {"refusal": explanation} if isinstance(explanation, str) and explanation else {}


def read_usage(fields: dict[str, Any]) -> Usage:
    """Read token counts. What was read from a cache or written to it is not in `input_tokens`."""
    read, written = as_count(fields.get("cache_read_input_tokens")), as_count(fields.get("cache_creation_input_tokens"))
    prompt = as_count(fields.get("input_tokens")) + read + written
    completion = as_count(fields.get("output_tokens"))
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        cached_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=min(_count_in(fields, "cache_creation", "ephemeral_1h_input_tokens"), written),
        reasoning_tokens=_count_in(fields, "output_tokens_details", "thinking_tokens"),
        web_search_requests=_count_in(fields, "server_tool_use", "web_search_requests"),
    )


def _count_in(fields: dict[str, Any], key: str, name: str) -> int:
    details = fields.get(key)
    return as_count(cast("dict[str, Any]", details).get(name)) if isinstance(details, dict) else 0


class StreamDecoder:
    """Server-sent events to events.

    What is wrong with a stream ends it as `Failed` behind the events of the same bytes that were right: raising would
    lose them.
    """

    __slots__ = ("_reader", "_stream")

    def __init__(self, reader: ReplyReader) -> None:
        self._stream = EventStream()
        self._reader = reader

    def feed(self, data: bytes) -> list[Event]:
        """See `base.Decoder`. Never raises."""
        return feed_reader(self._stream, self._reader, data, self._read)

    def _read(self, payload: bytes, events: list[Event]) -> None:
        stripped = payload.strip()
        if not stripped or stripped == b"[DONE]":
            return  # from proxies in between: to keep a connection open, or by the habits of another dialect
        self._reader.read(_read_object(payload), events)

    def finish(self) -> list[Event]:
        """A stream without `message_stop` was cut, whatever came before."""
        if not self._reader.done:
            raise Cut("the provider's stream ended before the answer did")
        return []


def _read_object(payload: bytes) -> dict[str, Any]:
    value = parse_json(payload)
    if type(value) is not dict:
        raise Garbled("the provider sent JSON that is not an object")
    return cast("dict[str, Any]", value)


class BodyDecoder:
    """One JSON body to events: read as the stream that it would have been."""

    __slots__ = ("_buffer", "_reader")

    def __init__(self, reader: ReplyReader) -> None:
        self._buffer = BodyBuffer()
        self._reader = reader

    def feed(self, data: bytes) -> list[Event]:
        """See `BodyBuffer`."""
        self._buffer.take(data)
        return []

    def finish(self) -> list[Event]:
        """See `base.Decoder`."""
        body = _read_object(self._buffer.whole())
        events: list[Event] = []
        for event in _as_stream(body, in_deltas=self._reader.native):
            self._reader.read(event, events)
            if self._reader.done:
                break
        return events


def _as_stream(body: dict[str, Any], *, in_deltas: bool) -> list[dict[str, Any]]:
    """Return the events that a stream would have had; `in_deltas`: blocks are empty at first, as in a real one."""
    if body.get("type") == "error" or body.get("error"):
        return [{**body, "type": "error"}]
    content = body.get("content")
    if type(content) is not list or not (content or body.get("stop_reason")):
        raise Garbled("the provider answered without any content")
    events: list[dict[str, Any]] = [{"type": "message_start", "message": body | _UNFINISHED | {"content": []}}]
    for index, found in enumerate(cast("list[Any]", content)):
        if type(found) is not dict:
            raise Garbled("the provider sent a content block that is not an object")
        block = cast("dict[str, Any]", found)
        start, deltas = _split(block) if in_deltas else (block, [])
        events.append({"type": "content_block_start", "index": index, "content_block": start})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    delta = {key: body.get(key) for key in ("stop_reason", "stop_sequence", "stop_details", "container")}
    events.append({"type": "message_delta", "delta": delta, "usage": body.get("usage")})
    events.append({"type": "message_stop"})
    return events


_UNFINISHED: Final[dict[str, Any]] = {"stop_reason": None, "stop_sequence": None}
_GROWING: Final = (("text", "text_delta"), ("thinking", "thinking_delta"), ("signature", "signature_delta"))


def _split(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a whole block as it would begin in a stream, and its deltas."""
    kind = block.get("type")
    if kind in ("tool_use", "server_tool_use") and isinstance(block.get("input"), dict):
        text = _encode(block["input"]).decode()
        return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": text}]
    if kind not in ("text", "thinking"):
        return block, []
    deltas = [{"type": name, key: block[key]} for key, name in _GROWING if isinstance(block.get(key), str)]
    return block | {delta_key: "" for delta_key, _ in _GROWING if isinstance(block.get(delta_key), str)}, deltas
