"""The hub's conversation as Anthropic's: system blocks, and turns of user and assistant in alternation.

Sources: platform.claude.com/docs/en/{api/messages, agents-and-tools/tool-use/handle-tool-calls,
build-with-claude/thinking}, 2026-11; OpenRouter API, messages and reasoning, 2026-08-22.
"""

from typing import Any, Final, NamedTuple, cast

import msgspec
from msgspec import Raw

from openrouter_gateway.errors import Refused
from openrouter_gateway.wire.anthropic import FORMAT, as_tool_id, is_foreign
from openrouter_gateway.wire.protocols.anthropic_parts import Block, to_blocks
from openrouter_gateway.wire.reasoning_items import dicts_in

_SHOWN: Final = frozenset({"image", "document"})

_decode_object = msgspec.json.Decoder(dict[str, Raw]).decode


class Conversation(NamedTuple):
    """What the API takes as `system` and `messages`."""

    system: list[Block]
    turns: list[Block]


def to_conversation(messages: list[dict[str, Any]]) -> Conversation:
    """Translate messages that have been checked against `core.chat.Message`.

    All system and developer messages become system blocks, wherever they stand. Results of tools come first in the
    user's turn, as the API wants. Nothing but system messages is the user's turn. Pictures and files are the user's to
    show, to the API: those of other messages are in the next turn of the user.

    Raises:
        Refused: something that the API has no form for, named by its place.
    """
    system: list[Block] = []
    turns: list[Block] = []
    shown: list[Block] = []
    for place, message in enumerate(messages):
        where = f"messages[{place}]"
        role = message["role"]
        if role == "tool":
            _add_result(turns, _tool_result(message, where))
            continue
        blocks = _named(to_blocks(message.get("content"), f"{where}.content"), message.get("name"))
        if role == "user" or (role == "assistant" and _is_users(turns)):
            _add(turns, "user", shown)
            shown = []
        if role == "user":
            _add(turns, "user", blocks)
            continue
        shown += [block for block in blocks if block["type"] in _SHOWN]
        said = [block for block in blocks if block["type"] not in _SHOWN]
        if role == "assistant":
            _add(turns, "assistant", _assistant_blocks(message, said, where))
            shown += _images_of(message, where)
        else:
            system += said
    if not turns or _is_users(turns):
        _add(turns, "user", shown)
    if not turns and system:
        return Conversation([], [{"role": "user", "content": system}])
    if turns and turns[-1]["role"] == "assistant":
        _trim_prefill(turns)
    return Conversation(system, turns)


def _is_users(turns: list[Block]) -> bool:
    """Whether the last turn is the user's."""
    return bool(turns) and turns[-1]["role"] == "user"


def _add(turns: list[Block], role: str, blocks: list[Block]) -> None:
    if not blocks:
        return
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"] += blocks
    else:
        turns.append({"role": role, "content": blocks})


def _add_result(turns: list[Block], result: Block) -> None:
    """Add a result behind those of the same turn, before anything else in it."""
    if not _is_users(turns):
        turns.append({"role": "user", "content": []})
    content = turns[-1]["content"]
    content.insert(sum(block["type"] == "tool_result" for block in content), result)


def _trim_prefill(turns: list[Block]) -> None:
    """What the model is to go on from must not end in a blank."""
    last = turns[-1]["content"][-1]
    if last["type"] == "text":
        last["text"] = last["text"].rstrip()


def _named(blocks: list[Block], name: object) -> list[Block]:
    """Put the speaker's name before the text, as OpenRouter does where there is no field for it."""
    if isinstance(name, str) and name:
        for block in blocks:
            if block["type"] == "text":
                block["text"] = f"{name}: {block['text']}"
                break
    return blocks


def _tool_result(message: dict[str, Any], where: str) -> Block:
    call_id = message.get("tool_call_id")
    if not call_id:
        raise Refused(f"{where}.tool_call_id: the result of a tool without the id of its call")
    block: Block = {"type": "tool_result", "tool_use_id": as_tool_id(call_id)}
    content = message.get("content")
    if isinstance(content, list):
        blocks = to_blocks(cast("list[dict[str, Any]]", content), f"{where}.content")
        for inner in blocks:
            mark = inner.pop("cache_control", None)
            if mark is not None:
                block["cache_control"] = mark
        block["content"] = blocks
    elif content:
        block["content"] = content
    if message.get("is_error") is True:
        block["is_error"] = True
    return block


def _images_of(message: dict[str, Any], where: str) -> list[Block]:
    """Return the images that a model made, in the member that OpenRouter has for them."""
    images = dicts_in(message.get("images"))
    return to_blocks([{"type": "image_url", **image} for image in images], f"{where}.images")


def _assistant_blocks(message: dict[str, Any], said: list[Block], where: str) -> list[Block]:
    """Reasoning first, as it came; then text, then calls."""
    if not said and isinstance(message.get("refusal"), str):
        said = to_blocks(message["refusal"], where)
    calls = [
        _tool_use(call, f"{where}.tool_calls[{place}]") for place, call in enumerate(message.get("tool_calls") or ())
    ]
    rest = said + calls
    # The API refuses a message that ends with reasoning.
    return _thinking_blocks(message.get("reasoning_details")) + rest if rest else []


def _tool_use(call: dict[str, Any], where: str) -> Block:
    function = call["function"]
    arguments = _arguments_of(function.get("arguments") or "")
    call_id = call.get("id")
    if not call_id:
        raise Refused(f"{where}.id: a call without an id")
    block: Block = {"type": "tool_use", "id": as_tool_id(call_id), "name": function["name"], "input": arguments}
    if isinstance(call.get("cache_control"), dict):
        block["cache_control"] = call["cache_control"]
    return block


def _arguments_of(text: str) -> object:
    """Return a call's arguments: an object, which is all that the API takes, with its numbers as they were written.

    Anything else, such as the broken JSON of a model whose tool has then reported it, goes as text under `arguments`:
    the conversation can go on, and the model sees what was called. The skin of this dialect and Gemini's protocol do
    the same.
    """
    if not text.strip():
        return {}
    try:
        _decode_object(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return {"arguments": text}
    return Raw(text.encode())


def _thinking_blocks(details: object) -> list[Block]:
    """Return the blocks that Claude signed, unchanged and in order. Others would be refused."""
    blocks: list[Block] = []
    for detail in _joined(details):
        if detail.get("format") not in (FORMAT, None, "unknown"):
            continue
        if detail.get("type") == "reasoning.text":
            text = detail.get("text")
            block: Block = {"type": "thinking", "thinking": text if isinstance(text, str) else ""}
            block["signature"] = detail.get("signature")
        elif detail.get("type") == "reasoning.encrypted" and isinstance(detail.get("data"), str):
            block = {"type": "redacted_thinking", "data": detail["data"]}
        else:
            continue
        if not is_foreign(block):
            blocks.append(block)
    return blocks


def _joined(details: object) -> list[dict[str, Any]]:
    """Join fragments of a stream that a client has kept as they came: same type and index, one behind the other."""
    joined: list[dict[str, Any]] = []
    for detail in cast("list[Any]", details) if isinstance(details, list) else []:
        if not isinstance(detail, dict):
            continue
        fragment = cast("dict[str, Any]", detail)
        last = joined[-1] if joined else None
        if last is None or not _continues(fragment, last):
            joined.append(dict(fragment))
            continue
        for key, value in fragment.items():
            if key == "text" and isinstance(value, str):
                last["text"] = (last.get("text") or "") + value
            elif value is not None:
                last[key] = value
    return joined


def _continues(fragment: dict[str, Any], last: dict[str, Any]) -> bool:
    if fragment.get("type") != "reasoning.text" or last.get("type") != "reasoning.text":
        return False
    if fragment.get("index") is None or last.get("index") is None:
        # Without an index a signature alone ends the text before it.
        return not fragment.get("text") and not last.get("signature")
    return fragment["index"] == last["index"]
