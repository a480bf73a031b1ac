"""How servers of the openai protocol differ: what of reasoning they are asked and take back, and how they sample.

| quirk | |
|---|---|
| `thinking_switch` | `thinking: {"type": "enabled" or "disabled"}` turns reasoning on and off, beside any effort |
| `thinking_off` | the same, but it is only ever turned off: some models do not take the other word |
| `replays_reasoning_content` | reasoning of earlier turns comes back as `reasoning_content`, as it was sent |
| `replays_reasoning_text` | it comes back as text in `reasoning`; other members are refused |
| `replays_no_reasoning` | it does not come back: any such member is refused |
| `automatic_caching` | prompts are cached without marks, which are left out: some of these servers refuse them |
| `openai_sampling` | only OpenAI's own parameters of sampling are taken, those of open models are refused |
| `metadata_if_stored` | `metadata` is for what is stored there: without `store` it is refused |
| `users_show_media` | only users show images and files: those of other messages are shown behind them |

Sources, at the rows of `data/providers.toml` that have the quirks. Without one, messages travel as they are.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, TypeAlias, cast

import msgspec
from msgspec import Raw

from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.errors import Refused
from openrouter_gateway.wire.reasoning_items import dicts_in, kind_of, text_of

_Message: TypeAlias = dict[str, Raw]

THINKING_SWITCH: Final = "thinking_switch"
THINKING_OFF: Final = "thinking_off"
AUTOMATIC_CACHING: Final = "automatic_caching"
_MARK: Final = "cache_control"
_MARKED: Final = b'"cache_control"'
OPENAI_SAMPLING: Final = "openai_sampling"
METADATA_IF_STORED: Final = "metadata_if_stored"
USERS_SHOW_MEDIA: Final = "users_show_media"
_ELSEWHERE: Final = "The result is in the user's next message."
_OPEN_SAMPLING: Final = ("top_k", "min_p", "top_a", "repetition_penalty")
_MEMBERS: Final = ("reasoning", "reasoning_content", "reasoning_details")
_MENTION: Final = b'"reasoning'
_OFF: Final = Raw(b'{"type":"disabled"}')
_ON: Final = Raw(b'{"type":"enabled"}')
_ASSISTANT: Final = "assistant"
_TOOL: Final = "tool"
_USER: Final = "user"
_SAID: Final = ("text", "refusal")
_IMAGES_MENTION: Final = b'"images"'

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_decode_messages = msgspec.json.Decoder(list[_Message]).decode


def set_effort(body: dict[str, Raw], effort: str | None, endpoint: Endpoint) -> None:
    """Write the effort into a request's body the way that the provider knows it; None: nothing was asked."""
    quirks = endpoint.provider.quirks
    if effort is None:
        body.pop("reasoning_effort", None)
        return
    switched = effort == "none" and not quirks.isdisjoint({THINKING_SWITCH, THINKING_OFF})
    if switched:
        body.pop("reasoning_effort", None)
        body.setdefault("thinking", _OFF)
        return
    body["reasoning_effort"] = Raw(_encode(effort))
    if THINKING_SWITCH in quirks:
        body.setdefault("thinking", _ON)


def fit_fields(body: dict[str, Raw], endpoint: Endpoint) -> None:
    """Take fields out of a request's body that the provider answers 400 to."""
    quirks = endpoint.provider.quirks
    if OPENAI_SAMPLING in quirks:
        for name in _OPEN_SAMPLING:
            body.pop(name, None)
    if METADATA_IF_STORED in quirks and bytes(body.get("store", b"")) != b"true":
        body.pop("metadata", None)


def fit_caching(body: dict[str, Raw], endpoint: Endpoint) -> None:
    """Take the marks of what to cache out of a request's messages and tools.

    Raises:
        Refused: they cannot be read.
    """
    if AUTOMATIC_CACHING not in endpoint.provider.quirks:
        return
    for name in ("messages", "tools"):
        if name in body and _MARKED in bytes(body[name]):
            try:
                body[name] = Raw(_encode([_unmarked(entry) for entry in _decode_messages(body[name])]))
            except RecursionError:
                raise Refused("the request is nested too deeply") from None


def _unmarked(entry: _Message) -> _Message:
    """Return a message or a tool without marks, also of its parts."""
    bare = {member: value for member, value in entry.items() if member != _MARK}
    content = bare.get("content")
    if content is not None and _MARKED in bytes(content):
        parts: object = _decode(content)
        if isinstance(parts, list):
            bare["content"] = Raw(_encode([_without_mark(part) for part in cast("list[object]", parts)]))
    return bare


def _without_mark(part: object) -> object:
    if not isinstance(part, dict):
        return part
    return {member: value for member, value in cast("dict[str, object]", part).items() if member != _MARK}


def fit_media(messages: Raw, request: ChatRequest, endpoint: Endpoint) -> Raw:
    """Return a request's messages with the images and files of any but users in a user's message behind them.

    Raises:
        Refused: they cannot be read.
    """
    if USERS_SHOW_MEDIA not in endpoint.provider.quirks:
        return messages
    has_parts = any(message.role != _USER and isinstance(message.content, list) for message in request.params.messages)
    if not has_parts and _IMAGES_MENTION not in bytes(messages):
        return messages
    try:
        return Raw(_encode(list(_shown_by_users(_decode_messages(messages)))))
    except RecursionError:
        raise Refused("the request is nested too deeply") from None


def _shown_by_users(messages: Iterable[_Message]) -> Iterator[_Message]:
    """Results of tools stay together behind their calls: what came before or with them is shown behind the last."""
    shown: list[dict[str, object]] = []
    for message in messages:
        role = _decode(message.get("role", b"null"))
        if shown and role != _TOOL:
            yield _showing(shown)
            shown = []
        if role == _USER:
            yield message
            continue
        parts = dicts_in(_decode(message.get("content", b"null")))
        texts = [part for part in parts if part.get("type") in _SAID]
        media = [part for part in parts if part.get("type") not in _SAID]
        shown += media + [{"type": "image_url", **image} for image in dicts_in(_decode(message.get("images", b"null")))]
        bare = {member: value for member, value in message.items() if member != "images"}
        if media:
            bare["content"] = Raw(_encode(texts or (_ELSEWHERE if role == _TOOL else "")))
        yield bare
    if shown:
        yield _showing(shown)


def _showing(parts: list[dict[str, object]]) -> _Message:
    return {"role": Raw(_encode(_USER)), "content": Raw(_encode(parts))}


def fit_replay(messages: Raw, endpoint: Endpoint) -> Raw:
    """Return the messages with the reasoning of earlier turns in the form that the provider takes back.

    Raises:
        Refused: they cannot be read.
    """
    fit = next((_REPLAYS[quirk] for quirk in endpoint.provider.quirks if quirk in _REPLAYS), None)
    if fit is None or _MENTION not in bytes(messages):
        return messages
    try:
        return Raw(_encode([_fit(message, fit) for message in _decode_messages(messages)]))
    except RecursionError:
        raise Refused("the request is nested too deeply") from None


def _fit(message: _Message, fit: Callable[[str], _Message]) -> _Message:
    if _decode(message.get("role", b"null")) != _ASSISTANT:
        return message
    text = _text_of(message)
    rest = {member: value for member, value in message.items() if member not in _MEMBERS}
    return rest | fit(text) if text else rest


_REPLAYS: Final[Mapping[str, Callable[[str], _Message]]] = {
    "replays_reasoning_content": lambda text: {"reasoning_content": Raw(_encode(text))},
    "replays_reasoning_text": lambda text: {"reasoning": Raw(_encode(text))},
    "replays_no_reasoning": lambda _: {},
}

QUIRKS: Final = frozenset(
    {THINKING_SWITCH, THINKING_OFF, AUTOMATIC_CACHING, OPENAI_SAMPLING, METADATA_IF_STORED, USERS_SHOW_MEDIA, *_REPLAYS}
)
"""The names of all of them."""


def _text_of(message: _Message) -> str:
    """Return what a message says of its reasoning, by the first member that has any text."""
    for member in ("reasoning_content", "reasoning"):
        said: object = _decode(message.get(member, b"null"))
        if isinstance(said, str) and said:
            return said
    texts: list[str] = []
    for detail in dicts_in(_decode(message.get("reasoning_details", b"null"))):
        kind = kind_of(detail)
        if kind is not None and kind != "encrypted":
            texts.append(text_of(detail, kind))
    return "".join(texts)
