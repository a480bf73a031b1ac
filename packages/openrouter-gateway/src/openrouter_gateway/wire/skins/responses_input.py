"""Input items of the Responses API as chat messages.

Reasoning, text and calls that follow each other are one message of the assistant, which is what they were: a turn.
Items of tools that ran at a provider or in the gateway (`_HISTORY`, `openrouter:*`) are left out without a word: they
tell of what has been done, ask for nothing, and what came of them is in the text that follows.
Shapes: OpenRouter API, responses (2026-08-22), `Inputs`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, cast

from openrouter_gateway.errors import BadRequest
from openrouter_gateway.wire.custom_tools import to_arguments
from openrouter_gateway.wire.reasoning_items import dicts_in, is_plain, to_details
from openrouter_gateway.wire.skins.responses_advice import advice_for_item

Json: TypeAlias = dict[str, Any]


def to_messages(given: str | list[Json], instructions: str | None) -> list[Json]:
    """Return the messages of a conversation.

    Raises:
        BadRequest: an item or part that has no meaning in a chat, or lacks what it needs; the message names it.
    """
    conversation = _Conversation()
    if instructions is not None:
        conversation.messages.append({"role": "system", "content": instructions})
    if isinstance(given, str):
        conversation.messages.append({"role": "user", "content": given})
    else:
        for position, item in enumerate(given):
            conversation.add(item, f"input[{position}]")
    if not conversation.messages:
        raise BadRequest("input: there is neither an item for the model in it nor are there `instructions`")
    return conversation.messages


class _Conversation:
    """The messages so far, and the assistant's turn that the next item may belong to."""

    def __init__(self) -> None:
        self.messages: list[Json] = []
        self._turn: Json | None = None
        self._place = 0  # of the next item in the turn

    def add(self, item: Json, path: str) -> None:
        kind = item.get("type") or ("message" if "role" in item else None)
        if kind == "item_reference":
            raise BadRequest(f"{path}: item_reference: nothing is stored here that could be referred to, send the item")
        if isinstance(kind, str) and (kind in _HISTORY or kind.startswith("openrouter:")):
            return
        add = _ITEMS.get(kind) if isinstance(kind, str) else None
        if add is None:
            raise BadRequest(f"{path}.type: items of type {kind!r} are not supported{advice_for_item(kind)}")
        add(self, item, path)

    def _in_turn(self) -> Json:
        """Return the turn, a new one if the last message is not the assistant's."""
        if self._turn is None:
            self._turn = {"role": "assistant"}
            self._place = 0
            self.messages.append(self._turn)
        self._place += 1
        return self._turn

    def add_message(self, item: Json, path: str) -> None:
        role, content = item.get("role"), item.get("content")
        if role == "assistant":
            if self._turn is not None and "content" in self._turn:
                self._turn = None  # a turn has one message; another is the next
            _add_text(self._in_turn(), item, path)
            return
        if role not in ("user", "system", "developer"):
            raise BadRequest(f"{path}.role: {role!r} is not user, assistant, system or developer")
        self._turn = None
        self.messages.append({"role": role, "content": _content_of(content, f"{path}.content", _PARTS)})

    def add_reasoning(self, item: Json, path: str) -> None:
        turn = self._in_turn()
        details = to_details(item, self._place - 1)
        if all(is_plain(detail) for detail in details):
            texts = [detail["text"] for detail in details]
            turn["reasoning"] = "\n".join([*([turn["reasoning"]] if "reasoning" in turn else []), *texts])
        else:
            turn.setdefault("reasoning_details", []).extend(details)

    def add_call(self, item: Json, path: str) -> None:
        self._call(item, _text_in(item, "arguments", path), path)

    def add_custom_call(self, item: Json, path: str) -> None:
        self._call(item, to_arguments(_text_in(item, "input", path)), path)

    def _call(self, item: Json, arguments: str, path: str) -> None:
        function = {"name": _text_in(item, "name", path), "arguments": arguments}
        call = {"id": _text_in(item, "call_id", path), "type": "function", "function": function}
        self._in_turn().setdefault("tool_calls", []).append(call)

    def add_result(self, item: Json, path: str) -> None:
        self._turn = None
        content = _content_of(item.get("output"), f"{path}.output", _RESULT_PARTS)
        self.messages.append({"role": "tool", "tool_call_id": _text_in(item, "call_id", path), "content": content})

    def add_image(self, item: Json, path: str) -> None:
        if "result" in item and item["result"] is None:  # it failed; without the member it asks for what was stored
            return
        url = f"data:image/png;base64,{_text_in(item, 'result', path)}"
        self._in_turn().setdefault("images", []).append({"type": "image_url", "image_url": {"url": url}})


_HISTORY: Final = frozenset(
    {"web_search_call", "file_search_call", "code_interpreter_call", "mcp_list_tools", "mcp_call"}
)
_ITEMS: Final[Mapping[str, Callable[[_Conversation, Json, str], None]]] = {
    "message": _Conversation.add_message,
    "reasoning": _Conversation.add_reasoning,
    "function_call": _Conversation.add_call,
    "function_call_output": _Conversation.add_result,
    "custom_tool_call": _Conversation.add_custom_call,
    "custom_tool_call_output": _Conversation.add_result,
    "image_generation_call": _Conversation.add_image,
}


def _add_text(turn: Json, item: Json, path: str) -> None:
    """Add what the assistant said: text, annotations, refusal, and the phase of its work that it was said in."""
    content = item.get("content")
    if isinstance(content, str) or content is None:
        turn["content"] = content or ""
    else:
        texts: list[Json] = []
        notes: list[Json] = []
        for position, part in enumerate(_parts_in(content, f"{path}.content")):
            where = f"{path}.content[{position}]"
            match part.get("type"):
                case "output_text" | "input_text" | "text":
                    texts.append({"type": "text", "text": _text_in(part, "text", where)})
                    notes += [nested_annotation(note) for note in dicts_in(part.get("annotations"))]
                case "refusal":
                    turn["refusal"] = turn.get("refusal", "") + _text_in(part, "refusal", where)
                case kind:
                    raise BadRequest(f"{where}.type: an assistant's message has no parts of type {kind!r}")
        turn["content"] = texts[0]["text"] if len(texts) == 1 else texts or None
        if notes:
            turn["annotations"] = notes
    if isinstance(item.get("phase"), str):
        turn["phase"] = item["phase"]


def nested_annotation(annotation: Json) -> Json:
    """Return an annotation as chat has it: what is flat here is nested under its type there."""
    kind = str(annotation.get("type"))
    return {"type": kind, kind: {key: value for key, value in annotation.items() if key != "type"}}


def _content_of(content: object, path: str, kinds: Mapping[str, Callable[[Json, str], Json]]) -> str | list[Json]:
    if content is None or isinstance(content, str):
        return content or ""
    parts: list[Json] = []
    for position, part in enumerate(_parts_in(content, path)):
        kind, where = part.get("type"), f"{path}[{position}]"
        convert = kinds.get(kind) if isinstance(kind, str) else None
        if convert is None:
            raise BadRequest(f"{where}.type: parts of type {kind!r} are not supported here")
        parts.append(convert(part, where))
    # Many servers take text as a string only.
    return parts[0]["text"] if len(parts) == 1 and parts[0].keys() == {"type", "text"} else parts


def _parts_in(content: object, path: str) -> list[Json]:
    if not isinstance(content, list):
        raise BadRequest(f"{path}: is neither text nor a list of parts")
    parts = dicts_in(cast("object", content))
    if len(parts) != len(cast("list[object]", content)):
        raise BadRequest(f"{path}: has a part that is not an object")
    return parts


def _text_part(part: Json, path: str) -> Json:
    made: Json = {"type": "text", "text": _text_in(part, "text", path)}
    if part.get("prompt_cache_breakpoint") is not None:
        made["prompt_cache_breakpoint"] = part["prompt_cache_breakpoint"]
    return made


def _image_part(part: Json, path: str) -> Json:
    if part.get("file_id") is not None:
        raise BadRequest(f"{path}.file_id: images are sent by `image_url`, a URL or data URL")
    image: Json = {"url": _text_in(part, "image_url", path)}
    if part.get("detail") is not None:
        image["detail"] = part["detail"]
    return {"type": "image_url", "image_url": image}


def _file_part(part: Json, path: str) -> Json:
    file: Json = {key: part[key] for key in ("filename", "file_data", "file_id") if part.get(key) is not None}
    if part.get("file_url") is not None:
        file["file_data"] = _text_in(part, "file_url", path)
    if not file.keys() & {"file_data", "file_id"}:
        raise BadRequest(f"{path}: has none of file_data, file_url and file_id")
    return {"type": "file", "file": file}


def _sound_part(part: Json, path: str) -> Json:
    sound: object = part.get("input_audio")
    if not isinstance(sound, dict):
        raise BadRequest(f"{path}.input_audio: is missing")
    return {"type": "input_audio", "input_audio": cast("Json", sound)}


def _video_part(part: Json, path: str) -> Json:
    return {"type": "video_url", "video_url": {"url": _text_in(part, "video_url", path)}}


_RESULT_PARTS: Final[Mapping[str, Callable[[Json, str], Json]]] = {
    "input_text": _text_part,
    "input_image": _image_part,
    "input_file": _file_part,
}
_PARTS: Final[Mapping[str, Callable[[Json, str], Json]]] = {
    **_RESULT_PARTS,
    "input_audio": _sound_part,
    "input_video": _video_part,
    "text": _text_part,
    "output_text": _text_part,
}


def _text_in(holder: Json, key: str, path: str) -> str:
    value = holder.get(key)
    if not isinstance(value, str):
        raise BadRequest(f"{path}.{key}: is missing" if value is None else f"{path}.{key}: is not text")
    return value
