"""LangChain messages turned into messages of the API; pure.

Rules: what the API understands travels unmodified, also keys and kinds this module has never heard of.
Content blocks come in three spellings: LangChain's own, OpenAI's (which is the wire's) and Anthropic's.
Sources: API digest 1.2, 1.3, 4.6 and 12.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

import msgspec
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from langchain_openrouter._replies import dicts_of, merge_reasoning_details, unmark
from langchain_openrouter.errors import ConfigurationError

Json: TypeAlias = dict[str, Any]

_AUDIO_FORMATS: Final[Mapping[str, str]] = {
    "mpeg": "mp3",
    "mpga": "mp3",
    "x-wav": "wav",
    "wave": "wav",
    "vnd.wave": "wav",
    "x-aiff": "aiff",
    "mp4": "m4a",
    "x-m4a": "m4a",
    "x-flac": "flac",
}
"""MIME subtypes whose name differs from the `format` the API takes."""

_REPLAYED: Final = ("refusal", "images", "audio", "annotations", "model")
"""Keys of `additional_kwargs` that an assistant message takes back as they came."""

_NOT_TEXT: Final = frozenset(
    {
        "tool_call",
        "tool_call_chunk",
        "invalid_tool_call",
        "tool_use",
        "input_json_delta",
        "function_call",
        "reasoning",
        "thinking",
        "redacted_thinking",
        "server_tool_call",
        "server_tool_call_chunk",
        "server_tool_result",
        "server_tool_use",
        "web_search_tool_result",
    }
)
"""Blocks of an assistant message that other keys carry, or that only their own provider understands."""


def to_wire(messages: Iterable[BaseMessage]) -> list[Json]:
    """Return the `messages` of a request.

    Raises:
        ConfigurationError: A message or a block has no form on the wire.
    """
    wire: list[Json] = []
    for message in messages:
        wire.extend(_encode(message))
    return wire


def _encode(message: BaseMessage) -> list[Json]:
    if isinstance(message, AIMessage):
        return [_encode_assistant(message)]
    if isinstance(message, ToolMessage):
        return [_encode_tool(message.tool_call_id, message.content, message)]
    if isinstance(message, HumanMessage):
        return _encode_human(message)
    if isinstance(message, SystemMessage):
        # LangChain keeps the role of a ("developer", ...) tuple here.
        role = message.additional_kwargs.get("__openai_role__", "system")
    elif isinstance(message, ChatMessage):
        role = message.role
    elif isinstance(message, FunctionMessage):
        role = "function"
    else:
        raise ConfigurationError(f"a message of type {message.type!r} has no form in this API")
    return [_named({"role": role, "content": to_parts(message.content)}, message)]


def _named(wire: Json, message: BaseMessage) -> Json:
    # 0.2 versions of this package took it from the second place only.
    if name := message.name or message.additional_kwargs.get("name"):
        wire["name"] = name
    return wire


def _encode_human(message: HumanMessage) -> list[Json]:
    """Return the user message, after the tool results that Anthropic's spelling keeps inside of it."""
    content = message.content
    if isinstance(content, str):
        return [_named({"role": "user", "content": content}, message)]
    results = [block for block in content if isinstance(block, dict) and block.get("type") == "tool_result"]
    rest = [block for block in content if block not in results]
    wire = [_encode_tool(str(block.get("tool_use_id")), _result_content(block), None) for block in results]
    if rest or not results:
        wire.append(_named({"role": "user", "content": to_parts(rest)}, message))
    return wire


def _result_content(block: Json) -> Any:
    """Return what a result of Anthropic's spelling holds, with its cache mark on the last part."""
    content, mark = block.get("content") or "", block.get("cache_control")
    if mark is None:
        return content
    *others, last = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return [*others, {**to_part(last), "cache_control": mark}]


def _encode_tool(call_id: str, content: Any, message: BaseMessage | None) -> Json:
    wire: Json = {"role": "tool", "tool_call_id": call_id, "content": to_parts(content)}
    return wire if message is None else _named(wire, message)


def _encode_assistant(message: AIMessage) -> Json:
    calls = _encode_calls(message)
    blocks = [] if isinstance(message.content, str) else message.content
    content: Any = message.content
    if blocks or not isinstance(content, str):
        content = to_parts([block for block in blocks if not _is_empty(block) and not _is_elsewhere(block, message)])
    # With tool calls and no text the API wants null, not an empty string or list.
    wire: Json = {"role": "assistant", "content": content or (None if calls else "")}
    if calls:
        wire["tool_calls"] = calls
    kwargs = cast("Json", message.additional_kwargs)
    streamed = message.response_metadata.get("object") == "chat.completion.chunk"
    wire.update(_encode_reasoning(kwargs, blocks, in_pieces=streamed))
    wire.update({key: kwargs[key] for key in _REPLAYED if kwargs.get(key)})
    return _named(wire, message)


def _is_empty(block: object) -> bool:
    """Tell whether a block is a text without text, which some providers refuse."""
    if not isinstance(block, dict):
        return block == ""
    wire = cast("Json", block)
    return wire.get("type") == "text" and not wire.get("text")


def _is_elsewhere(block: object, message: AIMessage) -> bool:
    """Tell whether a block stands for something that another key of the wire message carries."""
    wire = cast("Json", block) if isinstance(block, dict) else {}
    kind = wire.get("type")
    if kind == "non_standard" and isinstance(wire.get("value"), dict):
        kind = wire["value"].get("type")
    kept_in = {"image": "images", "audio": "audio", "refusal": "refusal"}.get(str(kind))
    return kind in _NOT_TEXT or bool(kept_in and message.additional_kwargs.get(kept_in))


def _encode_calls(message: AIMessage) -> list[Json]:
    valid = [
        (call.get("id"), call["name"], _encode_arguments(call["name"], call["args"])) for call in message.tool_calls
    ]
    invalid = [
        (call.get("id"), call.get("name") or "", unmark(call.get("args") or "")) for call in message.invalid_tool_calls
    ]
    if not valid and not invalid:
        return list(message.additional_kwargs.get("tool_calls") or [])
    return [
        # A call that came without an id goes back without one: null is no id.
        {**({"id": call_id} if call_id else {}), "type": "function", "function": {"name": name, "arguments": arguments}}
        for call_id, name, arguments in (*valid, *invalid)
    ]


def _encode_arguments(name: str, arguments: object) -> str:
    try:
        return msgspec.json.encode(arguments).decode()
    except (TypeError, ValueError, OverflowError, RecursionError) as cause:
        raise ConfigurationError(f"the arguments of a call of {name} cannot be written as JSON: {cause}") from cause


def _encode_reasoning(kwargs: Json, blocks: Sequence[Any], *, in_pieces: bool) -> Json:
    """Return `reasoning_details` as they came, else the plain text (API digest 4.6: one or the other).

    Messages of other LangChain packages hold it as content blocks: standard ones and Anthropic's.

    Args:
        kwargs: What the message holds beside its content.
        blocks: Its content.
        in_pieces: Whether the details are streamed fragments, which 0.2 versions of this package keep.
    """
    if details := kwargs.get("reasoning_details"):
        return {"reasoning_details": merge_reasoning_details([dicts_of(details)]) if in_pieces else details}
    if reasoning := kwargs.get("reasoning_content"):
        return {"reasoning": reasoning}
    found = [_non_standard(cast("Json", block)) for block in blocks if isinstance(block, dict)]
    thoughts = [block for block in found if block.get("type") in {"reasoning", "thinking", "redacted_thinking"}]
    if any(block["type"] == "redacted_thinking" or _option(block, "signature") for block in thoughts):
        return {"reasoning_details": [_signed_thought(block) for block in thoughts]}
    text = "".join(map(_thought, thoughts))
    return {"reasoning": text} if text else {}


def _thought(block: Json) -> str:
    return str(block.get("reasoning") or block.get("thinking") or "")


def _signed_thought(block: Json) -> Json:
    """Return a block of Claude's, in Anthropic's spelling or LangChain's."""
    if block["type"] == "redacted_thinking":
        kind: Json = {"type": "reasoning.encrypted", "data": block.get("data")}
    else:
        kind = {"type": "reasoning.text", "text": _thought(block), "signature": _option(block, "signature")}
    return {**kind, "format": "anthropic-claude-v1"}


def to_parts(content: Any) -> Any:
    """Return message content for the wire: a string as it is, a list block by block.

    Raises:
        ConfigurationError: A block lacks what its kind needs on the wire.
    """
    if not isinstance(content, list):
        return content
    return [to_part(block) for block in cast("list[Any]", content)]


def to_part(block: str | Json) -> Json:
    """Return one content part; a kind that is unknown here travels verbatim.

    Raises:
        ConfigurationError: See `to_parts`.
    """
    if isinstance(block, str):
        return {"type": "text", "text": block}
    encode = _PARTS.get(str(block.get("type")))
    if encode is None:
        return block
    part = encode(block)
    cache_control = _option(block, "cache_control")
    return part if cache_control is None or part is block else {**part, "cache_control": cache_control}


def _option(block: Json, key: str) -> Any:
    """Return a key that users write on the block and LangChain's own functions move to its `extras`.

    They move what a block has there already, or in its v0 `metadata`, one level deeper.
    """
    if (value := block.get(key)) is not None:
        return value
    for place in ("extras", "metadata"):
        inner = block.get(place)
        if isinstance(inner, dict) and (value := _option(cast("Json", inner), key)) is not None:
            return value
    return None


def _without_bookkeeping(block: Json) -> Json:
    """Return a block of the API without what LangChain keeps on blocks."""
    return {k: v for k, v in block.items() if k not in {"id", "index", "annotations", "extras", "metadata"}}


def _text(block: Json) -> Json:
    return {**_without_bookkeeping(block), "type": "text"}


def _plain_text(block: Json) -> Json:
    if isinstance(text := block.get("text"), str):
        return {"type": "text", "text": text}
    return _file({"mime_type": "text/plain", **block})


def _data_url(block: Json, kind: str) -> str:
    """Return the URL of a block, a data URL for inline data.

    LangChain's v1 spelling has `base64`, its v0 spelling `data`, Anthropic's a `source` object.
    """
    source = block.get("source")
    if isinstance(source, dict):
        block = cast("Json", source)
    if url := block.get("url"):
        return str(url)
    data = block.get("base64") or block.get("data")
    mime_type = block.get("mime_type") or block.get("media_type")
    if not data:
        raise ConfigurationError(f"a block of type {kind!r} needs `url`, or `base64` and `mime_type`")
    if not (mime_type := mime_type or _MIME_TYPES.get(kind)):
        raise ConfigurationError(f"a block of type {kind!r} with inline data needs its `mime_type`")
    return f"data:{mime_type};base64,{data}"


_MIME_TYPES: Final[Mapping[str, str]] = {"file": "application/octet-stream", "video": "video/mp4"}
"""What inline data is when its block does not say; pictures and sound need their type to be read at all."""


def _image(block: Json) -> Json:
    return _with_detail(block, {"url": _data_url(block, "image")})


def _image_url(block: Json) -> Json:
    """Return an image in the spelling of either API of OpenAI: with an object or a bare URL."""
    image = block.get("image_url")
    if isinstance(image, str):
        return _with_detail(block, {"url": image})
    return _without_bookkeeping(block)


def _with_detail(block: Json, image: Json) -> Json:
    if detail := _option(block, "detail"):
        image["detail"] = detail
    return {"type": "image_url", "image_url": image}


def _audio(block: Json) -> Json:
    url = _data_url(block, "audio")
    head, comma, data = url.partition(";base64,")
    if not comma or not head.startswith("data:"):
        raise ConfigurationError("the API takes audio inline only: give `base64` and `mime_type`, not a URL")
    subtype = head.partition("/")[2].partition(";")[0].lower()
    audio = {"data": data, "format": _AUDIO_FORMATS.get(subtype, subtype)}
    return {"type": "input_audio", "input_audio": audio}


def _video(block: Json) -> Json:
    return {"type": "video_url", "video_url": {"url": _data_url(block, "video")}}


def _file(block: Json) -> Json:
    if isinstance(block.get("file"), dict):
        return _without_bookkeeping(block)
    given = block.get("source")
    source = cast("Json", given) if isinstance(given, dict) else {}
    if source.get("type") in {"text", "content"}:
        return {"type": "text", "text": _source_text(source)}
    file: Json = {}
    if filename := _option(block, "filename") or _option(block, "name") or block.get("title"):
        file["filename"] = filename
    if file_id := block.get("file_id") or source.get("file_id"):
        file["file_id"] = file_id
    else:
        # The Responses API of OpenAI has the keys of the wire, without an object around them.
        file["file_data"] = block.get("file_data") or block.get("file_url") or _data_url(block, "file")
    return {"type": "file", "file": file}


def _source_text(source: Json) -> str:
    """Return the text of a document in Anthropic's spelling.

    Raises:
        ConfigurationError: It holds pictures, which the API takes only as parts of their own.
    """
    held = source.get("data") or source.get("content") or ""
    if isinstance(held, str):
        return held
    parts = [to_part(part) for part in cast("list[Any]", held)]
    if any(part.get("type") != "text" for part in parts):
        raise ConfigurationError("a document takes text only: give its pictures as blocks of their own")
    return "\n".join(str(part.get("text")) for part in parts)


def _non_standard(block: Json) -> Json:
    """Return what LangChain wrapped because it knows no such kind."""
    value = block.get("value") if block.get("type") == "non_standard" else None
    return cast("Json", value) if isinstance(value, dict) else block


_PARTS: Final[Mapping[str, Callable[[Json], Json]]] = {
    "text": _text,
    "input_text": _text,
    "output_text": _text,
    "text-plain": _plain_text,
    "image": _image,
    "image_url": _image_url,
    "input_image": _image_url,
    "audio": _audio,
    "input_audio": _without_bookkeeping,
    "video": _video,
    "video_url": _without_bookkeeping,
    "input_video": _without_bookkeeping,
    "file": _file,
    "input_file": _file,
    "document": _file,
    "non_standard": _non_standard,
}
"""How each kind of block is written; a kind that is missing here is on the wire as it is."""
