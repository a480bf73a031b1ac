"""Requests changed on their way: the typed view and the verbatim fields stay one and the same."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Raw

from openrouter_gateway.core.chat import ChatParams, ChatRequest

Part: TypeAlias = dict[str, Any]

_encode = msgspec.json.Encoder().encode
_decode_params = msgspec.json.Decoder(ChatParams).decode
_decode_messages = msgspec.json.Decoder(list[Raw]).decode
_decode_message = msgspec.json.Decoder(dict[str, Any]).decode
_TYPED: Final = frozenset(ChatParams.__struct_fields__)
_PLACEHOLDER: Final = [{"role": "user"}]


def amend(request: ChatRequest, changes: Mapping[str, Any]) -> ChatRequest:
    """Return the request with these top-level fields; None takes one out. All others stay as they are."""
    if not changes:
        return request
    fields = dict(request.fields)
    for name, value in changes.items():
        if value is None:
            fields.pop(name, None)
        else:
            fields[name] = Raw(_encode(value))
    read = _decode_params(_encode({"messages": _PLACEHOLDER} | {n: fields[n] for n in changes if n in fields}))
    typed = {name: getattr(read, name) for name in changes if name in _TYPED}
    return msgspec.structs.replace(request, params=msgspec.structs.replace(request.params, **typed), fields=fields)


def read_messages(request: ChatRequest) -> list[Raw]:
    """Return the messages as the caller wrote them, one undecoded JSON value each."""
    return _decode_messages(request.fields["messages"])


def read_message(raw: Raw) -> dict[str, Any]:
    """Return a message with all of its keys."""
    return _decode_message(raw)


def change_parts(request: ChatRequest, change: Callable[[Part], Sequence[Part] | None]) -> ChatRequest:
    """Return the request with content parts replaced. `change` returns what comes in a part's place, None: itself."""
    changed: dict[int, list[Part]] = {}
    for place, message in enumerate(request.params.messages):
        if not isinstance(message.content, list):
            continue
        found = [(part, change(part)) for part in message.content]
        if any(instead is not None for _, instead in found):
            changed[place] = [new for part, instead in found for new in ([part] if instead is None else instead)]
    if not changed:
        return request
    raw = read_messages(request)
    messages = [
        read_message(each) | {"content": changed[place]} if place in changed else each for place, each in enumerate(raw)
    ]
    return amend(request, {"messages": messages})
