"""Which recorded request is the one that is made now: the same method, path and JSON, whatever the headers say.

Who asks does not count: providers are told a pseudonym, which depends on the key that the caller has.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any, Final, cast

_ALL: Final = "the body"


def request_key(method: str, resource: str, body: bytes) -> str:
    """Return what two requests have in common if they are the same. `resource` is path and query."""
    whole = b"\n".join([method.encode(), resource.encode(), _canonical(body)])
    return hashlib.sha256(whole).hexdigest()


def find_differences(body: bytes, other: bytes) -> list[str]:
    """Return the places in which two bodies differ, such as `messages[0].content`. No values: they are private."""
    try:
        return list(_differences(_parse(body), _parse(other), ""))
    except RecursionError:
        return [_ALL]


def _parse(body: bytes) -> Any:
    try:
        return _without_user(json.loads(body))
    except (ValueError, RecursionError):
        return body.decode("utf-8", "replace")


def _without_user(value: Any) -> Any:
    """Return a body without `user` (OpenAI's dialect) and `metadata.user_id` (Anthropic's)."""
    if not isinstance(value, dict):
        return value
    fields = {name: held for name, held in cast("dict[str, Any]", value).items() if name != "user"}
    metadata = fields.get("metadata")
    if isinstance(metadata, dict) and "user_id" in metadata:
        fields["metadata"] = {**cast("dict[str, Any]", metadata), "user_id": None}
    return fields


def _canonical(body: bytes) -> bytes:
    """Return JSON in one spelling: keys sorted, no spaces, ASCII; what is no JSON as it is."""
    try:
        return json.dumps(_without_user(json.loads(body)), sort_keys=True, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        return body


def _differences(value: Any, other: Any, path: str) -> Iterator[str]:
    members, others = _members(value, path), _members(other, path)
    if type(value) is not type(other) or not (members or others):
        if value != other or type(value) is not type(other):
            yield path or _ALL
        return
    for place in members | others:
        if place not in members or place not in others:
            yield place
        else:
            yield from _differences(members[place], others[place], place)


def _members(value: Any, path: str) -> dict[str, Any]:
    """Return what an object or a list holds, by its path."""
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        return {f"{path}.{name}" if path else name: held for name, held in fields.items()}
    if isinstance(value, list):
        return {f"{path}[{place}]": held for place, held in enumerate(cast("list[Any]", value))}
    return {}
