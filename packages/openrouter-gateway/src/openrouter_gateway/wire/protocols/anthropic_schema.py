"""JSON Schema as structured outputs of Anthropic's API take it.

The API refuses constraints that it does not know and objects that allow other members. So objects are closed, and what
cannot be enforced is told to the model in the description, as Anthropic's own clients do it
(platform.claude.com/docs/en/build-with-claude/structured-outputs, 2026-11; PyPI's anthropic 2.14.0).
"""

from typing import Any, Final, cast

import msgspec

_KEPT: Final = frozenset({"$ref", "const", "default", "description", "enum", "required", "title", "type"})
_FORMATS: Final = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)
_LISTS: Final = {"anyOf": "anyOf", "oneOf": "anyOf", "allOf": "allOf"}
_MAPS: Final = frozenset({"$defs", "definitions", "properties"})

_encode = msgspec.json.Encoder().encode


def narrow_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with closed objects, and with unknown constraints as words."""
    narrowed: dict[str, Any] = {}
    told: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _KEPT or (key == "format" and value in _FORMATS) or (key == "minItems" and value in (0, 1)):
            narrowed[key] = value
        elif key in _MAPS and isinstance(value, dict):
            members = cast("dict[str, Any]", value)
            narrowed[key] = {name: _narrow(member) for name, member in members.items()}
        elif key in _LISTS and isinstance(value, list):
            narrowed[_LISTS[key]] = [_narrow(member) for member in cast("list[Any]", value)]
        elif key == "items" and isinstance(value, dict):
            narrowed[key] = narrow_schema(cast("dict[str, Any]", value))
        elif key not in ("additionalProperties", "$schema", "strict"):
            told[key] = value
    if _is_object(schema):
        narrowed["additionalProperties"] = False
    if told:
        words = ", ".join(f"{key}: {_encode(value).decode()}" for key, value in told.items())
        known = schema.get("description")
        narrowed["description"] = f"{known}\n\n{{{words}}}" if known else f"{{{words}}}"
    return narrowed


def _narrow(schema: Any) -> Any:
    return narrow_schema(cast("dict[str, Any]", schema)) if isinstance(schema, dict) else schema


def _is_object(schema: dict[str, Any]) -> bool:
    kind = schema.get("type")
    return kind == "object" or "properties" in schema or (isinstance(kind, list) and "object" in kind)
