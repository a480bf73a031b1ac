"""A reader of Anthropic's streams as strict as its clients, for what the `messages` skin writes.

It is put together after the rules of the stream (platform.claude.com/docs/en/build-with-claude/streaming, 2026-11) and
what PyPI's anthropic 2.14.0 does with it: blocks begin in order, grow while they are open, stop once; everything
has stopped before the message ends.
"""

import json
from decimal import Decimal
from typing import Any

USAGE_KEYS = {
    "input_tokens", "output_tokens", "output_tokens_details", "cache_creation_input_tokens", "cache_read_input_tokens",
    "cache_creation", "inference_geo", "server_tool_use", "service_tier",
}  # fmt: skip
MESSAGE_KEYS = {
    "id", "type", "role", "container", "content", "model", "stop_reason", "stop_details", "stop_sequence", "usage",
}  # fmt: skip
_DELTAS = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "signature_delta": ("signature", "thinking"),
    "input_json_delta": ("partial_json", "tool_use"),
    "citations_delta": ("citation", "text"),
}


def read_events(data: bytes) -> list[dict[str, Any]]:
    """Return the events of a stream; each has its type as its name."""
    events: list[dict[str, Any]] = []
    for block in data.decode().split("\n\n")[:-1]:
        name, _, payload = block.partition("\n")
        event = json.loads(payload.removeprefix("data: "), parse_float=Decimal)
        assert name == f"event: {event['type']}"
        events.append(event)
    return events


def accumulate(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the message that a complete stream brings."""
    begin, *rest = events
    assert begin["type"] == "message_start"
    message: dict[str, Any] = begin["message"]
    assert MESSAGE_KEYS <= message.keys()
    assert USAGE_KEYS <= message["usage"].keys()
    assert ([], None) == (message["content"], message["stop_reason"])
    last = rest.pop()
    assert last.pop("type") == "message_stop"
    message |= last
    end = rest.pop()
    assert end["type"] == "message_delta"
    assert {"container", "stop_details", "stop_reason", "stop_sequence"} <= end["delta"].keys()
    assert USAGE_KEYS <= end["usage"].keys()
    blocks = _Blocks()
    for event in rest:
        if event["type"] != "ping":
            blocks.add(event)
    content = blocks.whole()
    return (
        message
        | {key: value for key, value in end.items() if key not in ("type", "delta")}
        | end["delta"]
        | {"content": content}
    )


class _Blocks:
    def __init__(self) -> None:
        self._content: list[dict[str, Any]] = []
        self._inputs: dict[int, str] = {}
        self._open: set[int] = set()

    def add(self, event: dict[str, Any]) -> None:
        index = event["index"]
        match event["type"]:
            case "content_block_start":
                assert len(self._content) == index
                self._content.append(dict(event["content_block"]))
                self._open.add(index)
            case "content_block_delta":
                assert index in self._open
                self._grow(index, event["delta"])
            case "content_block_stop":
                self._open.remove(index)
            case other:
                raise AssertionError(other)

    def _grow(self, index: int, delta: dict[str, Any]) -> None:
        block = self._content[index]
        if delta["type"] not in _DELTAS:
            return
        key, kind = _DELTAS[delta["type"]]
        assert block["type"] == kind or (kind, block["type"]) == ("tool_use", "server_tool_use")
        value = delta[key]
        if key == "citation":
            block["citations"] = [*(block["citations"] or []), value]
        elif key == "partial_json":
            self._inputs[index] = self._inputs.get(index, "") + value
        elif key == "signature":
            block[key] = value
        else:
            block[key] += value

    def whole(self) -> list[dict[str, Any]]:
        assert not self._open
        for index, text in self._inputs.items():
            if text:
                assert text.lstrip()[:1] == "{"
                self._content[index]["input"] = json.loads(text) if _is_json(text) else text
        return self._content


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
