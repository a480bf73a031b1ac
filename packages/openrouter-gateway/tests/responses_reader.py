"""A small client of Responses streams, written from the schema of their events: what it puts together is the response.

It is strict: events it does not know, or that do not fit what came before, are failures.
"""

import json
from typing import Any

Json = dict[str, Any]

TERMINAL = ("response.completed", "response.incomplete", "response.failed")


def events_in(stream: bytes) -> list[Json]:
    """Return the events of a stream; their names are their types, their numbers count up, the end mark is last."""
    blocks = [block for block in stream.decode().split("\n\n") if block and not block.startswith(":")]
    assert "data: [DONE]" == blocks[-1]
    events: list[Json] = []
    for number, block in enumerate(blocks[:-1]):
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert f"event: {event['type']}" == name
        assert number == event["sequence_number"]
        events.append(event)
    return events


class Reader:
    """Takes the events of one stream in order; `response` is the last one's."""

    def __init__(self) -> None:
        self.response: Json | None = None
        self.output: list[Json] = []
        self._open: set[int] = set()

    def read(self, stream: bytes) -> Json:
        """Read a whole stream; return the response that it ends with, whose output must be what was put together."""
        events = events_in(stream)
        assert ["response.created", "response.in_progress"] == [event["type"] for event in events[:2]]
        for event in events[:2]:
            assert ("in_progress", []) == (event["response"]["status"], event["response"]["output"])
        *between, last = events[2:]
        for event in between:
            getattr(self, "on_" + event["type"].removeprefix("response.").replace(".", "_"))(event)
        assert last["type"] in TERMINAL
        assert last["type"] == f"response.{last['response']['status']}"
        assert set() == self._open
        assert self.output == last["response"]["output"]
        return last["response"]

    def _item(self, event: Json, kind: str) -> Json:
        assert event["output_index"] in self._open
        item = self.output[event["output_index"]]
        assert (kind, event["item_id"]) == (item["type"], item["id"])
        return item

    def _part(self, event: Json, kind: str, *, of: str = "message") -> Json:
        part = self._item(event, of)["content"][event["content_index"]]
        assert kind == part["type"]
        return part

    def on_output_item_added(self, event: Json) -> None:
        assert event["output_index"] == len(self.output)
        item = event["item"]
        assert "in_progress" == item["status"]
        assert item["id"] not in {known["id"] for known in self.output}
        self.output.append(item)
        self._open.add(event["output_index"])

    def on_output_item_done(self, event: Json) -> None:
        item, known = event["item"], self.output[event["output_index"]]
        self._open.remove(event["output_index"])
        later = {"status", "encrypted_content", "signature", "format", "result", "new"}
        assert {k: v for k, v in item.items() if k not in later} == {k: v for k, v in known.items() if k not in later}
        assert item["status"] in ("completed", "incomplete")
        self.output[event["output_index"]] = item

    def on_content_part_added(self, event: Json) -> None:
        item = self.output[event["output_index"]]
        assert item["id"] == event["item_id"]
        parts = item.setdefault("content", [])
        assert event["content_index"] == len(parts)
        parts.append(event["part"])
        assert "" == event["part"].get("text", event["part"].get("refusal"))

    def on_content_part_done(self, event: Json) -> None:
        self._end_part(self.output[event["output_index"]]["content"], event["content_index"], event["part"])

    @staticmethod
    def _end_part(parts: list[Json], place: int, whole: Json) -> None:
        """At its end a part may have members besides those that it was begun with."""
        assert parts[place] == {key: whole[key] for key in parts[place]}
        parts[place] = whole

    def on_output_text_delta(self, event: Json) -> None:
        part = self._part(event, "output_text")
        part["text"] += event["delta"]
        part["logprobs"] += event["logprobs"]

    def on_output_text_done(self, event: Json) -> None:
        part = self._part(event, "output_text")
        assert (part["text"], part["logprobs"]) == (event["text"], event["logprobs"])

    def on_output_text_annotation_added(self, event: Json) -> None:
        notes = self._part(event, "output_text")["annotations"]
        assert event["annotation_index"] == len(notes)
        notes.append(event["annotation"])

    def on_refusal_delta(self, event: Json) -> None:
        self._part(event, "refusal")["refusal"] += event["delta"]

    def on_refusal_done(self, event: Json) -> None:
        assert self._part(event, "refusal")["refusal"] == event["refusal"]

    def on_reasoning_text_delta(self, event: Json) -> None:
        self._part(event, "reasoning_text", of="reasoning")["text"] += event["delta"]

    def on_reasoning_text_done(self, event: Json) -> None:
        assert self._part(event, "reasoning_text", of="reasoning")["text"] == event["text"]

    def on_reasoning_summary_part_added(self, event: Json) -> None:
        parts = self._item(event, "reasoning")["summary"]
        assert (event["summary_index"], {"type": "summary_text", "text": ""}) == (len(parts), event["part"])
        parts.append(event["part"])

    def on_reasoning_summary_part_done(self, event: Json) -> None:
        self._end_part(self._item(event, "reasoning")["summary"], event["summary_index"], event["part"])

    def on_reasoning_summary_text_delta(self, event: Json) -> None:
        self._item(event, "reasoning")["summary"][event["summary_index"]]["text"] += event["delta"]

    def on_reasoning_summary_text_done(self, event: Json) -> None:
        assert self._item(event, "reasoning")["summary"][event["summary_index"]]["text"] == event["text"]

    def on_function_call_arguments_delta(self, event: Json) -> None:
        self._item(event, "function_call")["arguments"] += event["delta"]

    def on_function_call_arguments_done(self, event: Json) -> None:
        item = self._item(event, "function_call")
        assert (item["name"], item["arguments"]) == (event["name"], event["arguments"])

    def on_custom_tool_call_input_delta(self, event: Json) -> None:
        assert event["delta"]
        self._item(event, "custom_tool_call")["input"] += event["delta"]

    def on_custom_tool_call_input_done(self, event: Json) -> None:
        assert self._item(event, "custom_tool_call")["input"] == event["input"]

    def on_image_generation_call_completed(self, event: Json) -> None:
        self._item(event, "image_generation_call")
