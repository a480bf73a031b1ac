"""Grammars for llama.cpp: what a model may write, from a JSON Schema.

llama.cpp turns schemas into grammars itself where the whole reply is JSON; `Grammar` does it where the reply may be
text, too. It covers structure, types, enumerations, lengths and common formats, but no `pattern`.
"""

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec
from msgspec import Struct

from openrouter_gateway.errors import Refused

_encode = msgspec.json.Encoder().encode


class Bounds(Struct, frozen=True, kw_only=True):
    """Limits for what a schema leaves open: characters of a string, items of a list."""

    max_length: int
    max_items: int


ARGUMENT_BOUNDS: Final = Bounds(max_length=200, max_items=8)
"""For the arguments of calls, and for everything that a `Grammar` finds unbounded."""


def bounded_schema(schema: dict[str, Any], bounds: Bounds, *, place: str = "#") -> dict[str, Any]:
    """Return a copy with bounds where there are none, whose references hold when it stands at `place`."""

    def visit(value: object) -> Any:
        if not isinstance(value, dict):
            return value
        out: dict[str, Any] = dict(cast("dict[str, Any]", value))
        for key, member in out.items():
            if key in _SCHEMAS_BY_NAME and isinstance(member, dict):
                out[key] = {name: visit(entry) for name, entry in cast("dict[str, Any]", member).items()}
            elif key in _SCHEMA_LISTS and isinstance(member, list):
                out[key] = [visit(entry) for entry in cast("list[Any]", member)]
            elif key in _SCHEMAS:
                out[key] = visit(member)
            elif key == "$ref" and isinstance(member, str) and member.startswith("#"):
                out[key] = place + member[1:]
        types = _types_of(out)
        if "string" in types and not out.keys() & {"enum", "const", "pattern", "format"}:
            out.setdefault("maxLength", max(bounds.max_length, _whole(out.get("minLength"), 0)))
        if "array" in types:
            out.setdefault("maxItems", max(bounds.max_items, _whole(out.get("minItems"), 0)))
        return out

    return visit(schema)


_SCHEMAS_BY_NAME: Final = frozenset({"properties", "$defs", "definitions", "patternProperties"})
_SCHEMA_LISTS: Final = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_SCHEMAS: Final = frozenset({"items", "additionalProperties"})


def _types_of(schema: Mapping[str, Any]) -> list[str]:
    kinds: object = schema.get("type")
    if isinstance(kinds, list):
        return [kind for kind in cast("list[Any]", kinds) if isinstance(kind, str)]
    return [kinds] if isinstance(kinds, str) else []


def _whole(value: object, default: int) -> int:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else default


_FORMATS: Final = {
    "date": '[0-9]{4} "-" [0-1] [0-9] "-" [0-3] [0-9]',
    "time": '[0-2] [0-9] ":" [0-5] [0-9] ":" [0-5] [0-9] "Z"',
    "date-time": ('[0-9]{4} "-" [0-1] [0-9] "-" [0-3] [0-9] "T" [0-2] [0-9] ":" [0-5] [0-9] ":" [0-5] [0-9] "Z"'),
    "uuid": '[0-9a-f]{8} "-" [0-9a-f]{4} "-" [0-9a-f]{4} "-" [0-9a-f]{4} "-" [0-9a-f]{12}',
}
# Loose JSON below an open schema is this deep at most.
_OPEN_DEPTH: Final = 2
_MOST_LITERALS: Final = 100
_CHAR: Final = r'[^"\\\x00-\x1F\x7F] | "\\" ["\\/bfnrt]'
_COMMA: Final = '", "'


class Grammar:
    """A GBNF grammar (llama.cpp, `grammars/README.md`) for a JSON Schema; spaces are placed as in the examples.

    What it does not know of a schema it leaves open, except that everything is of bounded length.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        self._schema = schema
        self._rules: dict[str, str] = {"char": _CHAR}
        self._by_ref: dict[str, str] = {}
        self._root = self._visit(schema)

    def text_or_root(self) -> str:
        """Return the grammar of the schema or of any text that does not start with a brace or white space."""
        root = f"root ::= {self._root} | [^{{\\x00-\\x20] [^\\x00]*"
        return "\n".join([root, *(f"{name} ::= {body}" for name, body in self._rules.items())])

    def _visit(self, schema: object, depth: int = 0) -> str:
        if not isinstance(schema, dict):
            return self._anything(depth)
        fields = cast("dict[str, Any]", schema)
        if isinstance(ref := fields.get("$ref"), str):
            return self._reference(ref)
        if "const" in fields:
            return _literal(fields["const"])
        if isinstance(choices := fields.get("enum"), list):
            return _any_of([_literal(choice) for choice in cast("list[Any]", choices)])
        for key in ("anyOf", "oneOf"):
            if isinstance(choices := fields.get(key), list):
                return _any_of([self._visit(choice, depth) for choice in cast("list[Any]", choices)])
        if isinstance(parts := fields.get("allOf"), list):
            return self._visit(self._merged(fields, cast("list[Any]", parts)), depth)
        kinds = _types_of(fields) or (["object"] if "properties" in fields else [])
        if not kinds:
            return self._anything(depth)
        return _any_of([self._of_type(kind, fields, depth) for kind in kinds])

    def _reference(self, ref: str) -> str:
        if ref not in self._by_ref:
            name = self._by_ref[ref] = f"ref{len(self._by_ref)}"
            self._rules[name] = self._visit(self._resolve(ref))
        return self._by_ref[ref]

    def _resolve(self, ref: str) -> Any:
        target: Any = self._schema
        for step in ref.removeprefix("#").strip("/").split("/"):
            key = step.replace("~1", "/").replace("~0", "~")
            members = cast("dict[str, Any]", target)
            if key not in members:
                raise Refused(f"a tool's parameters refer to {ref!r}, which is not there")
            target = members[key]
        return target

    def _merged(self, fields: dict[str, Any], parts: list[Any]) -> dict[str, Any]:
        """Return one schema for `allOf`: properties and required names together, else the last word."""
        whole = {key: value for key, value in fields.items() if key != "allOf"}
        for entry in parts:
            part = cast("dict[str, Any]", entry)
            if "$ref" in part:
                part = self._resolve(part["$ref"])
            for key, value in part.items():
                if key == "properties":
                    whole[key] = {**whole.get(key, {}), **value}
                elif key == "required":
                    whole[key] = [*whole.get(key, []), *value]
                else:
                    whole[key] = value
        return whole

    def _of_type(self, kind: str, fields: dict[str, Any], depth: int) -> str:
        match kind:
            case "object":
                return self._object(fields, depth)
            case "array":
                return self._array(fields, depth)
            case "string":
                return self._string(fields)
            case "integer":
                return _integer(fields)
            case "number":
                return _integer({"minimum": fields.get("minimum")}) + ' ("." [0-9]{1,6})?'
            case "boolean":
                return '("true" | "false")'
            case "null":
                return '"null"'
            case _:
                raise Refused(f"a tool's parameters have the unknown type {kind!r}")

    def _object(self, fields: dict[str, Any], depth: int) -> str:
        properties: dict[str, Any] = fields.get("properties") or {}
        if not properties:
            extra: object = fields.get("additionalProperties", "properties" not in fields)
            return self._map(extra, depth) if extra is not False else '"{}"'
        required: list[str] = fields.get("required") or []
        members = {
            name: f"{_quoted(_encode(name).decode() + ': ')} {self._visit(schema, depth)}"
            for name, schema in properties.items()
        }
        first = [members[name] for name in members if name in required]
        optional = [members[name] for name in members if name not in required]
        if first:
            rest = "".join(f" ({_COMMA} {member})?" for member in optional)
            return f'"{{" {f" {_COMMA} ".join(first)}{rest} "}}"'
        chains = [
            member + "".join(f" ({_COMMA} {later})?" for later in optional[position + 1 :])
            for position, member in enumerate(optional)
        ]
        return f'"{{" ({" | ".join(chains)})? "}}"'

    def _map(self, values: object, depth: int) -> str:
        member = f'{self._string({"maxLength": 40})} ": " {self._visit(values, depth + 1)}'
        return f'"{{" ({member} ({_COMMA} {member}){{0,7}})? "}}"'

    def _array(self, fields: dict[str, Any], depth: int) -> str:
        least = _whole(fields.get("minItems"), 0)
        most = max(_whole(fields.get("maxItems"), ARGUMENT_BOUNDS.max_items), least)
        if isinstance(prefix := fields.get("prefixItems"), list):
            items = [self._visit(entry, depth) for entry in cast("list[Any]", prefix)]
            return f'"[" {f" {_COMMA} ".join(items)} "]"' if items else '"[]"'
        if most == 0:
            return '"[]"'
        item = self._rule("item", self._visit(fields.get("items"), depth + 1))
        body = f"{item} ({_COMMA} {item}){{{max(least - 1, 0)},{most - 1}}}"
        return f'"[" {body} "]"' if least else f'"[" ({body})? "]"'

    def _string(self, fields: dict[str, Any]) -> str:
        form = _FORMATS.get(str(fields.get("format")))
        if form is not None:
            return rf'"\"" {form} "\""'
        least = _whole(fields.get("minLength"), 0)
        most = max(_whole(fields.get("maxLength"), ARGUMENT_BOUNDS.max_length), least)
        name = f"string-{least}-{most}"
        self._rules.setdefault(name, rf'"\"" char{{{least},{most}}} "\""')
        return name

    def _anything(self, depth: int) -> str:
        flat = f'{self._string({})} | {_integer({})} ("." [0-9]{{1,6}})? | "true" | "false" | "null"'
        if depth >= _OPEN_DEPTH:
            return f"({flat})"
        deeper = self._visit({"type": ["object", "array"]}, depth)
        return self._rule("any", f"{flat} | {deeper}")

    def _rule(self, kind: str, body: str) -> str:
        """Return the name of a rule with this body: bodies that stand in several places are written once."""
        for name, known in self._rules.items():
            if known == body:
                return name
        name = f"{kind}{len(self._rules)}"
        self._rules[name] = body
        return name


def _integer(fields: Mapping[str, Any]) -> str:
    low, high = fields.get("minimum"), fields.get("maximum")
    if isinstance(low, int) and isinstance(high, int) and 0 <= high - low < _MOST_LITERALS:
        return _any_of([_quoted(str(number)) for number in range(low, high + 1)])
    sign = "" if isinstance(low, int | float) and low >= 0 else '"-"? '
    return f'{sign}("0" | [1-9] [0-9]{{0,11}})'


def _any_of(choices: list[str]) -> str:
    return choices[0] if len(choices) == 1 else f"({' | '.join(choices)})"


def _literal(value: object) -> str:
    return _quoted(_encode(value).decode())


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
