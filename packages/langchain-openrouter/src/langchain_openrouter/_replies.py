"""Answers of the API turned into LangChain messages; pure, and tolerant of everything but errors.

Rules: a null, a missing key or an unknown value never fails; what has no place of its own in a message
is kept under its wire name, in `additional_kwargs` (from the message) or `response_metadata` (the rest).
Sources: API digest 1.6 to 1.10 for answers, 4.5 for reasoning, 2 for errors.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, TypeAlias, cast

import msgspec
from langchain_core.messages import AIMessage, InvalidToolCall, ToolCall
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.utils.json import parse_partial_json

from langchain_openrouter._decoding import Secrets, decode_object, excerpt, mend
from langchain_openrouter._error_bodies import error_in
from langchain_openrouter.errors import ProtocolViolation

Json: TypeAlias = dict[str, Any]

MODEL_PROVIDER: Final = "openrouter"

EMPTY: Final[tuple[object, ...]] = (None, "", [], {})
"""Values that say nothing: a key of a message that holds one is as good as absent."""

_BODY_KEYS: Final = frozenset({"id", "object", "created", "model", "choices", "usage", "error"})
_CHOICE_KEYS: Final = frozenset({"index", "message", "delta", "finish_reason", "logprobs", "error"})
MESSAGE_KEYS: Final = frozenset({"role", "content", "tool_calls", "reasoning", "reasoning_content"})
_TOKEN_NAMES: Final[Mapping[str, str]] = {
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "total_tokens": "total_tokens",
    "prompt_tokens_details": "input_tokens_details",
    "completion_tokens_details": "output_tokens_details",
}
"""What is counted in `usage`, and its name in other APIs (digest 7.1), which some servers use in chats too."""

_TOKEN_KEYS: Final = frozenset({*_TOKEN_NAMES, *_TOKEN_NAMES.values()})
_INPUT_DETAILS: Final = (
    ("cached_tokens", "cache_read"),
    ("cache_write_tokens", "cache_creation"),
    ("audio_tokens", "audio"),
    ("video_tokens", "video"),
)
_OUTPUT_DETAILS: Final = (
    ("reasoning_tokens", "reasoning"),
    ("audio_tokens", "audio"),
    ("image_tokens", "image"),
    ("accepted_prediction_tokens", "accepted_prediction"),
    ("rejected_prediction_tokens", "rejected_prediction"),
)
_TEXT_KEYS: Final = frozenset({"text", "summary"})


def parse_completion(body: bytes, headers: Mapping[str, str], *, secrets: Secrets) -> ChatResult:
    """Read the body of a non-streamed answer, one generation per choice.

    Raises:
        APIError: The body holds an error, at its top or in a choice.
        ProtocolViolation: The body is not a completion.
    """
    payload, odd = decode_object(body, secrets)
    payload = mend(payload) if odd else payload
    if (error := error_in(payload, headers=headers, secrets=secrets)) is not None:
        raise error
    choices = dicts_of(payload.get("choices"))
    if not choices:
        raise ProtocolViolation("the answer holds no choices", body=excerpt(body, secrets))
    usage = dict_of(payload.get("usage"))
    generations = [
        # Tokens are those of the whole answer: on the first choice only, so that sums come out right.
        _generation(payload, choice, usage if position == 0 else None)
        for position, choice in enumerate(choices)
    ]
    about = {key: payload.get(key) for key in ("id", "created", "object")}
    return ChatResult(generations=generations, llm_output={"model_name": payload.get("model"), **about})


def dict_of(value: object) -> Json | None:
    """Return `value` when it is a dict, else None."""
    return cast("Json", value) if isinstance(value, dict) else None


def dicts_of(value: object) -> list[Json]:
    """Return the dicts in `value` when it is a list, else an empty list."""
    if not isinstance(value, list):
        return []
    return [cast("Json", item) for item in cast("list[object]", value) if isinstance(item, dict)]


def _generation(payload: Json, choice: Json, usage: Json | None) -> ChatGeneration:
    wire = dict_of(choice.get("message")) or {}
    content = content_of(wire.get("content", choice.get("text")))
    cut = choice.get("finish_reason") == "length"
    tool_calls, invalid_tool_calls = tool_calls_of(dicts_of(wire.get("tool_calls")), cut=cut)
    message = AIMessage(
        content=content,
        tool_calls=tool_calls,
        invalid_tool_calls=invalid_tool_calls,
        usage_metadata=None if usage is None else usage_of(usage),
        additional_kwargs=_additional_kwargs(wire),
        response_metadata=metadata_of(payload, choice, usage),
    )
    return ChatGeneration(message=message, generation_info=finish_info(choice))


def finish_info(choice: Json) -> Json:
    """Return what LangChain's callbacks look for beside the message."""
    return {"finish_reason": choice.get("finish_reason"), "logprobs": choice.get("logprobs")}


def content_of(value: object) -> Any:
    """Return text for a string, null or plain text parts; richer parts stay a list."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        return ""
    parts = cast("list[Any]", value)
    if all(isinstance(part, dict) and set(cast("Json", part)) == {"type", "text"} for part in parts):
        return "".join(part["text"] for part in parts if isinstance(part["text"], str))
    # LangChain takes a text that is added to an empty list for nothing.
    return [part for part in parts if isinstance(part, str | dict)] or ""


def tool_calls_of(raw_calls: Sequence[Json], *, cut: bool) -> tuple[list[ToolCall], list[InvalidToolCall]]:
    """Split tool calls into those whose arguments are a JSON object and the rest.

    Args:
        raw_calls: As on the wire. Missing, null and empty arguments mean no arguments.
        cut: Whether the answer was cut off, so that a last call without arguments may have lost them.
    """
    valid: list[ToolCall] = []
    invalid: list[InvalidToolCall] = []
    for position, raw in enumerate(raw_calls, start=1):
        function = dict_of(raw.get("function")) or {}
        call_id = text_of(raw.get("id")) or None
        name, arguments = text_of(function.get("name")), arguments_of(function.get("arguments"))
        try:
            args = parse_arguments(arguments, cut=cut and position == len(raw_calls))
        except ValueError as cause:
            problem = str(cause)
            invalid.append(
                InvalidToolCall(name=name, args=arguments, id=call_id, error=problem, type="invalid_tool_call")
            )
        else:
            valid.append(ToolCall(name=name, args=args, id=call_id, type="tool_call"))
    return valid, invalid


def parse_arguments(text: str, *, cut: bool) -> Json:
    """Return the arguments of a call; none are an empty object.

    Args:
        text: JSON.
        cut: Whether the answer ended inside of this call: then none may be some that never came.

    Raises:
        ValueError: They are not a JSON object.
    """
    if not text and not cut:
        return {}
    try:
        parsed = _decode_arguments(text)
    except (ValueError, RecursionError) as cause:
        raise ValueError(f"the arguments are not JSON: {cause}") from cause
    if not isinstance(parsed, dict):
        raise ValueError("the arguments are not a JSON object")  # noqa: TRY004 - of a server, not of a caller
    return cast("Json", parsed)


def _decode_arguments(text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError):
        # Models write line breaks into strings as they are; LangChain reads streamed calls as leniently.
        return mend(json.loads(text, strict=False))


UNREADABLE: Final = " (not a JSON object)"
_MARK: Final = re.compile(r' "?[\]}]' + re.escape(UNREADABLE) + r"\Z")


def mark_unreadable(arguments: str) -> str:
    """Return an end for streamed arguments that are not a JSON object, with which LangChain sees that too.

    It completes the JSON of streamed calls: of a path that was cut in two it would make another path, in a
    call that looks valid. A bracket that closes nothing stops it.
    """
    for end in (" ]", " }", ' "]', ' "}'):
        with suppress(ValueError, RecursionError):
            if isinstance(parse_partial_json(arguments + end + UNREADABLE), dict):
                continue
        return end + UNREADABLE
    raise AssertionError("one bracket or the other closes nothing")


def unmark(arguments: str) -> str:
    """Return arguments as they were before `mark_unreadable`."""
    return _MARK.sub("", arguments)


def arguments_of(value: object) -> str:
    """Return tool arguments as JSON text; some servers send an object where the API has a string."""
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def text_of(value: object) -> str:
    """Return a string, or "" for anything else."""
    return value if isinstance(value, str) else ""


def _additional_kwargs(wire: Json) -> Json:
    extra: Json = {}
    if reasoning := reasoning_of(wire):
        extra["reasoning_content"] = reasoning
    for key, value in wire.items():
        if key not in MESSAGE_KEYS and value not in EMPTY:
            extra[key] = value
    return extra


def reasoning_of(wire: Json) -> str:
    """Return the reasoning text of a message, from its details when it has no text of its own."""
    return plain_reasoning_of(wire) or reasoning_in_details(wire)


def plain_reasoning_of(wire: Json) -> str:
    """Return the reasoning text that a message or delta has beside its details."""
    return text_of(wire.get("reasoning") or wire.get("reasoning_content"))


def reasoning_in_details(wire: Json) -> str:
    """Return what the reasoning details of a message or delta say in words."""
    details = dicts_of(wire.get("reasoning_details"))
    return "".join(text_of(detail.get("text")) or text_of(detail.get("summary")) for detail in details)


def merge_reasoning_details(events: Iterable[Sequence[Json]]) -> list[Json]:
    """Join streamed fragments into the blocks that the non-streamed form of the same answer holds.

    Consecutive fragments of one type, index and id belong together: text is concatenated, of other keys
    the last value that is not null wins. A block that already has its signature is complete. Without an index,
    fragments of one event are blocks of their own.

    Args:
        events: The fragments by the event they came in.
    """
    blocks: list[Json] = []
    texts: dict[str, list[str]] = {}
    for event in events:
        for position, fragment in enumerate(event):
            if not blocks or not _continues(blocks[-1], fragment, same_event=position > 0):
                _close(blocks, texts)
                blocks.append({})
            block = blocks[-1]
            for key, value in fragment.items():
                if key in _TEXT_KEYS and isinstance(value, str):
                    texts.setdefault(key, []).append(value)
                    block.setdefault(key, value)
                elif value is not None or key not in block:
                    block[key] = value
    _close(blocks, texts)
    return blocks


def _continues(block: Json, fragment: Json, *, same_event: bool) -> bool:
    index = fragment.get("index")
    if block.get("type") != fragment.get("type") or (index is not None and index != block.get("index")):
        return False
    for key in ("id", "data"):  # encrypted data comes whole: other data is another block
        ours, theirs = block.get(key), fragment.get(key)
        if ours is not None and theirs is not None and ours != theirs:
            return False
    has_text = any(fragment.get(key) for key in _TEXT_KEYS)
    if has_text and block.get("signature"):
        return False
    if index is not None:
        return True
    # Without an index only running text can be told from the next block.
    return not same_event and any(fragment.get(key) is not None for key in (*_TEXT_KEYS, "signature"))


def _close(blocks: list[Json], texts: dict[str, list[str]]) -> None:
    if blocks:
        for key, parts in texts.items():
            blocks[-1][key] = "".join(parts)
    texts.clear()


def usage_of(usage: Json) -> UsageMetadata | None:
    """Return token counts as LangChain names them, or None when nothing was counted.

    Details that are zero or unreported are absent. Counts that are not integers are rounded.
    """
    if "prompt_tokens" not in usage and "completion_tokens" not in usage:
        if "input_tokens" not in usage and "output_tokens" not in usage:
            return None
        usage = {ours: usage.get(theirs) for ours, theirs in _TOKEN_NAMES.items()}
    read, written = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    counted = UsageMetadata(
        input_tokens=read,
        output_tokens=written,
        total_tokens=_count(usage.get("total_tokens")) or read + written,
    )
    if details := _details(usage.get("prompt_tokens_details"), _INPUT_DETAILS):
        counted["input_token_details"] = cast("Any", details)
    if details := _details(usage.get("completion_tokens_details"), _OUTPUT_DETAILS):
        counted["output_token_details"] = cast("Any", details)
    return counted


def later_usage(before: Json, after: Json) -> Json:
    """Return what two reports on one answer say together: the later one counts, nothing is added up.

    Token counts belong together; a report without any, of the cost alone, leaves the earlier ones.
    """
    if any(after.get(key) is not None for key in _TOKEN_KEYS):
        before = {key: value for key, value in before.items() if key not in _TOKEN_KEYS}
    return {**before, **{key: value for key, value in after.items() if value is not None}}


def _details(raw: object, names: tuple[tuple[str, str], ...]) -> dict[str, int]:
    wire = dict_of(raw) or {}
    return {ours: count for theirs, ours in names if (count := _count(wire.get(theirs)))}


def _count(value: object) -> int:
    return round(value) if isinstance(value, int | float) and math.isfinite(value) else 0


def metadata_of(payload: Json, choice: Json, usage: Json | None) -> Json:
    """Return `response_metadata`: the documented keys first, then whatever else the server reported.

    `object` names the complete answer for a streamed one too, so that both forms are equal.
    """
    metadata: Json = {
        "model_name": payload.get("model"),
        "id": payload.get("id"),
        "created": payload.get("created"),
        "object": text_of(payload.get("object")).removesuffix(".chunk") or None,
        "finish_reason": choice.get("finish_reason"),
        "logprobs": choice.get("logprobs"),
        "model_provider": MODEL_PROVIDER,
    }
    for source, known in ((choice, _CHOICE_KEYS), (payload, _BODY_KEYS), (usage or {}, _TOKEN_KEYS)):
        for key, value in source.items():
            if key not in known and value is not None:
                metadata.setdefault(key, value)
    return metadata
