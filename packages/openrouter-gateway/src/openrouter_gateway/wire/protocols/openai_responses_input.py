"""Chat messages as input items of the Responses API, the reasoning of earlier turns among them.

Shapes: github.com/openai/openai-openapi at f85dbe2 (2026-08-21), `InputItem`. Items are sent without ids of messages
and calls, and with `type` everywhere: some servers want it (llama.cpp does, of assistant messages; 2026.10).
"""

import re
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, Final, cast

from openrouter_gateway.errors import Refused
from openrouter_gateway.wire.failed_results import say_failure
from openrouter_gateway.wire.reasoning_items import OPENAI_FORMAT, ReasoningItem, dicts_in, to_items

_MOST_ID: Final = 64
"""Characters of a `call_id` (the same, `FunctionCallOutputItemParam`)."""
_ITEM_ID: Final = re.compile("[A-Za-z0-9_-]{1,64}")
"""What ids of items may be: others are a 400 (github.com/mweinbach/open-grok/pull/23, 2026-09)."""
_SOUNDS: Final = frozenset({"mp3", "wav"})

Json = dict[str, Any]


def to_input(messages: list[Json]) -> list[Json]:
    """Return the items of a conversation.

    Raises:
        Refused: a part, or a kind of call, that the API has no item for, or one that is malformed.
    """
    items: list[Json] = []
    for message in messages:
        match message["role"]:
            case "assistant":
                items += _assistant_items(message)
            case "tool":
                items.append(_result_item(message))
            case role:
                items.append({"type": "message", "role": role, "content": _content_of(message)})
    return items


def _content_of(message: Json) -> str | list[Json]:
    """Return what a message of the system, developer or user says.

    Their names, which the API has no field for, go before the text, as for every provider without (OpenRouter API,
    chat completions, 2026-08-22).
    """
    content, name = message.get("content"), message.get("name")
    prefix = f"{name}: " if name and message["role"] == "user" else ""
    if not isinstance(content, list):
        return prefix + (content or "")
    parts = [_input_part(part) for part in dicts_in(cast("object", content))]
    if prefix:
        parts.insert(0, {"type": "input_text", "text": prefix})
    return parts


def _input_part(part: Json) -> Json:
    kind = part.get("type")
    convert = _PARTS.get(kind) if isinstance(kind, str) else None
    if convert is None:
        raise Refused(f"content parts of type {kind!r} cannot be sent to this provider, whose API has none")
    return convert(part)


def _text_part(part: Json) -> Json:
    made: Json = {"type": "input_text", "text": _text_in(part, "text", "text")}
    if isinstance(part.get("prompt_cache_breakpoint"), dict):
        made["prompt_cache_breakpoint"] = part["prompt_cache_breakpoint"]
    return made


def _image_part(part: Json) -> Json:
    image = _object_in(part, "image_url")
    return {
        "type": "input_image",
        "image_url": _text_in(image, "url", "image_url"),
        "detail": image.get("detail") or "auto",
    }


def _file_part(part: Json) -> Json:
    """A file by its id, URL or data. With data the API wants a name."""
    file = _object_in(part, "file")
    if file.get("file_id"):
        return {"type": "input_file", "file_id": file["file_id"]}
    data, name = _text_in(file, "file_data", "file"), file.get("filename")
    if data.startswith(("http://", "https://")):
        return {"type": "input_file", "file_url": data}
    if not name:
        name = "file.pdf" if data.startswith("data:application/pdf") else "file"
    return {"type": "input_file", "filename": name, "file_data": data}


def _sound_part(part: Json) -> Json:
    """Sounds have a schema, `InputAudio`, and messages are said to take them. Which models do is not documented."""
    sound = _object_in(part, "input_audio")
    form = sound.get("format")
    if form not in _SOUNDS:
        raise Refused(f"input_audio of format {form!r} cannot be sent to this provider, whose API takes mp3 and wav")
    return {"type": "input_audio", "input_audio": {"data": _text_in(sound, "data", "input_audio"), "format": form}}


_PARTS: Final[Mapping[str, Callable[[Json], Json]]] = {
    "text": _text_part,
    "image_url": _image_part,
    "file": _file_part,
    "input_audio": _sound_part,
}
_RESULT_PARTS: Final = frozenset({"text", "image_url", "file"})


def _object_in(part: Json, key: str) -> Json:
    value = part.get(key)
    if not isinstance(value, dict):
        raise Refused(f"a content part of type {part.get('type')!r} has no object {key!r}")
    return cast("Json", value)


def _text_in(holder: Json, key: str, kind: str) -> str:
    value = holder.get(key)
    if not isinstance(value, str):
        raise Refused(f"a content part of type {kind!r} has no text {key!r}")
    return value


def _result_item(message: Json) -> Json:
    content = message.get("content")
    if message.get("is_error") is True:
        content = say_failure(content)
    output: str | list[Json] = content if isinstance(content, str) else ""
    if isinstance(content, list):
        parts = dicts_in(cast("object", content))
        for part in parts:
            if part.get("type") not in _RESULT_PARTS:
                raise Refused(f"content parts of type {part.get('type')!r} cannot be the result of a tool here")
        output = [_input_part(part) for part in parts]
    return {"type": "function_call_output", "call_id": _call_id(message.get("tool_call_id"), 0), "output": output}


def _assistant_items(message: Json) -> list[Json]:
    """Return what the model gave in a turn: reasoning, text, calls; and its images as something that it is shown.

    Each reasoning item takes the place that it had; text and calls fill the others.
    """
    others = _message_items(message) + [
        _call_item(call, number) for number, call in enumerate(dicts_in(message.get("tool_calls")))
    ]
    items: list[Json] = []
    for reasoning in to_items(message.get("reasoning_details")):
        if not _is_replayable(reasoning):
            continue
        while others and reasoning.place is not None and len(items) < reasoning.place:
            items.append(others.pop(0))
        items.append(_reasoning_item(reasoning))
    shown = [part for image in dicts_in(message.get("images")) if (part := _shown_image(image)) is not None]
    if shown:
        # A model's own images are items that refer to what the provider has stored, and here nothing is.
        others.append({"type": "message", "role": "user", "content": shown})
    return items + others


def _is_replayable(reasoning: ReasoningItem) -> bool:
    """Return whether the provider can take it back: it is of this API, and holds what was reasoned.

    A summary alone is looked up by its id, and with `store` false there is nothing to find: "Item with id ... not
    found" (github.com/vercel/ai/issues/7543, 2025-07).
    """
    has_text = any(kind == "text" for kind, _ in reasoning.parts)
    return reasoning.format in (None, OPENAI_FORMAT) and (reasoning.encrypted is not None or has_text)


def _reasoning_item(reasoning: ReasoningItem) -> Json:
    item = reasoning.to_item()
    if not _ITEM_ID.fullmatch(item.get("id", "")):
        item.pop("id", None)
    return item


def _message_items(message: Json) -> list[Json]:
    content, refusal = message.get("content"), message.get("refusal")
    parts: list[Json] = []
    if isinstance(content, str) and content:
        parts.append(_output_text(content))
    for part in dicts_in(content):
        if part.get("type") == "refusal":
            parts.append({"type": "refusal", "refusal": _text_in(part, "refusal", "refusal")})
        elif part.get("type") == "text":
            parts.append(_output_text(_text_in(part, "text", "text")))
        else:
            raise Refused(f"content parts of type {part.get('type')!r} cannot be in an assistant's message here")
    if isinstance(refusal, str) and refusal:
        parts.append({"type": "refusal", "refusal": refusal})
    if not parts:
        return []
    if parts[0]["type"] == "output_text":
        parts[0]["annotations"] = [flat_annotation(note) for note in dicts_in(message.get("annotations"))]
    item: Json = {"type": "message", "role": "assistant", "content": parts}
    if isinstance(message.get("phase"), str):
        item["phase"] = message["phase"]
    return [item]


def _output_text(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": []}


def flat_annotation(annotation: Json) -> Json:
    """Return an annotation as this API has it: `{"type": T, T: {...}}` on the hub, flat here."""
    kind = annotation.get("type")
    inner = annotation.get(kind) if isinstance(kind, str) else None
    return {"type": kind, **cast("Json", inner)} if isinstance(inner, dict) else annotation


def _call_item(call: Json, number: int) -> Json:
    function = call.get("function")
    if call.get("type", "function") != "function" or not isinstance(function, dict):
        raise Refused(f"tool calls of type {call.get('type')!r} cannot be sent to this provider")
    named = cast("Json", function)
    return {
        "type": "function_call",
        "call_id": _call_id(call.get("id"), number),
        "name": named.get("name") or "",
        "arguments": named.get("arguments") or "",
    }


def _call_id(given: object, number: int) -> str:
    """Return an id that the API takes, the same for a call and its result. Other providers' may be longer."""
    if not isinstance(given, str) or not given:
        return f"call_{number}"
    if len(given) <= _MOST_ID:
        return given
    return f"call_{blake2b(given.encode(), digest_size=16).hexdigest()}"


def _shown_image(image: Json) -> Json | None:
    inner = image.get("image_url")
    url = cast("Json", inner).get("url") if isinstance(inner, dict) else None
    return {"type": "input_image", "image_url": url, "detail": "auto"} if isinstance(url, str) else None
