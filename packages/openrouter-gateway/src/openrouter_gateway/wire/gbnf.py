"""Grammars for llama.cpp: what a model may write, from a JSON Schema.

llama.cpp turns schemas into grammars itself where the whole reply is JSON; `Grammar` does it where the reply may be
text, too. It covers structure, types, enumerations, lengths and common formats, but no `pattern`.

A schema comes from a stranger, so its grammar grows no faster than the schema does: every part is a rule of its own,
equal rules are written once, and what is still too much for llama.cpp is refused before it is sent.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeGuard, cast

import msgspec
from msgspec import Struct

from openrouter_gateway.errors import Refused

_encode = msgspec.json.Encoder().encode


class Bounds(Struct, frozen=True, kw_only=True):
    """Limits for what a schema leaves open: characters of a string, items of a list."""

    max_length: int
    max_items: int


_MOST_CHARS: Final = 1_999
_MOST_ITEMS: Final = 1_000
# llama.cpp refuses a repetition of 2,000 (`MAX_REPETITION_THRESHOLD`, `src/llama-grammar.cpp`, read 2026-11-23). A list
# stays further below, because an optional group around a repetition counts the rules of both.

_MOST_NESTING: Final = 64
"""Levels of a schema: deeper than anyone writes by hand, far from the recursion limit of Python and of llama.cpp."""

ARGUMENT_BOUNDS: Final = Bounds(max_length=200, max_items=8)
"""For the arguments of calls, and for everything that a `Grammar` finds unbounded."""


def bounded_schema(schema: dict[str, Any], bounds: Bounds, *, place: str = "#") -> dict[str, Any]:
    """Return a copy with bounds where there are none, whose references hold when it stands at `place`.

    Bounds that llama.cpp cannot count to become the largest that it can.

    Raises:
        Refused: the schema is nested too deeply.
    """

    def visit(value: object, level: int = 0) -> Any:
        if not isinstance(value, dict):
            return value
        if level > _MOST_NESTING:
            raise _too_large("is nested too deeply")
        out: dict[str, Any] = dict(cast("dict[str, Any]", value))
        for key, member in out.items():
            if key in _SCHEMAS_BY_NAME and isinstance(member, dict):
                out[key] = {name: visit(entry, level + 1) for name, entry in cast("dict[str, Any]", member).items()}
            elif key in _SCHEMA_LISTS and isinstance(member, list):
                out[key] = [visit(entry, level + 1) for entry in cast("list[Any]", member)]
            elif key in _SCHEMAS:
                out[key] = visit(member, level + 1)
            elif key == "$ref" and isinstance(member, str) and member.startswith("#"):
                out[key] = place + member[1:]
            elif key in _MOST_OF and _is_number(member):
                out[key] = _count(member, 0, _MOST_OF[key])
        types = _types_of(out)
        if "string" in types and not out.keys() & {"enum", "const", "pattern", "format"}:
            out.setdefault("maxLength", max(bounds.max_length, _count(out.get("minLength"), 0, _MOST_CHARS)))
        if "array" in types:
            out.setdefault("maxItems", max(bounds.max_items, _count(out.get("minItems"), 0, _MOST_ITEMS)))
        return out

    return visit(schema)


_MOST_OF: Final = {
    "minLength": _MOST_CHARS,
    "maxLength": _MOST_CHARS,
    "minItems": _MOST_ITEMS,
    "maxItems": _MOST_ITEMS,
}

_SCHEMAS_BY_NAME: Final = frozenset({"properties", "$defs", "definitions", "patternProperties"})
_SCHEMA_LISTS: Final = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_SCHEMAS: Final = frozenset({"items", "additionalProperties"})


def _types_of(schema: Mapping[str, Any]) -> list[str]:
    kinds: object = schema.get("type")
    if isinstance(kinds, list):
        return [kind for kind in cast("list[Any]", kinds) if isinstance(kind, str)]
    return [kinds] if isinstance(kinds, str) else []


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _count(value: object, default: int, most: int) -> int:
    # Limited first: `int` of a float may have 300 digits, and of infinity fails.
    return int(max(0, min(value, most))) if _is_number(value) else default


def _too_large(reason: str) -> Refused:
    return Refused(f"a tool's or answer's schema is too large for the embedded model: it {reason}")


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
_COLON: Final = '": "'
_DIGITS: Final = 12

# What llama.cpp takes in about a second (measured 2026-11-23): its own converter needs 1.7 s for 800 optional
# properties, a grammar of 76 KiB here, and fails after 4 s at 1,300. A repetition becomes as many rules as it counts:
# 47,000 take 0.05 s and 20 MB. Ways through alternatives double with a level, and nothing in llama.cpp ends them.
_MOST_BYTES: Final = 64 * 1024
_MOST_VISITS: Final = 20_000
_MOST_REPEATED: Final = 50_000
_MOST_WAYS: Final = 10_000


class Grammar:
    """A GBNF grammar (llama.cpp, `grammars/README.md`) for a JSON Schema; spaces are placed as in the examples.

    What it does not know of a schema it leaves open, except that everything is of bounded length.

    Raises:
        Refused: the schema is malformed, or its grammar would be more than llama.cpp takes in a moment.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        self._schema = schema
        self._rules: dict[str, str] = {}
        self._by_body: dict[str, str] = {}
        self._by_ref: dict[str, str] = {}
        self._choices: dict[str, list[str]] = {}
        self._pending: list[tuple[str, str]] = []
        self._size = self._visits = self._repeated = self._level = 0
        self._write("char", _CHAR)
        self._root = self._visit(schema)
        while self._pending:
            # Not where it was met: a long chain of references is no deep nesting.
            name, ref = self._pending.pop()
            body = self._visit(self._resolve(ref))
            self._write(name, body)
            self._choices[name] = [body]
        self._count_ways()

    def text_or_root(self) -> str:
        """Return the grammar of the schema or of any text that does not start with a brace or white space."""
        root = f"root ::= {self._root} | [^{{\\x00-\\x20] [^\\x00]*"
        return "\n".join([root, *(f"{name} ::= {body}" for name, body in self._rules.items())])

    def _visit(self, schema: object, depth: int = 0) -> str:
        """Return a term for the schema: the name of a rule, or a literal."""
        self._spend(1)
        if self._level >= _MOST_NESTING:
            raise _too_large("is nested too deeply")
        self._level += 1
        term = self._term(schema, depth)
        self._level -= 1
        return term

    def _spend(self, visits: int) -> None:
        self._visits += visits
        if self._visits > _MOST_VISITS:
            raise _too_large(f"has more than {_MOST_VISITS} parts")

    def _term(self, schema: object, depth: int) -> str:
        if not isinstance(schema, dict):
            return self._anything(depth)
        fields = cast("dict[str, Any]", schema)
        if isinstance(ref := fields.get("$ref"), str):
            return self._reference(ref)
        if "const" in fields:
            return _literal(fields["const"])
        if isinstance(choices := fields.get("enum"), list):
            return self._any_of([_literal(choice) for choice in cast("list[Any]", choices)])
        for key in ("anyOf", "oneOf"):
            if isinstance(choices := fields.get(key), list):
                return self._any_of([self._visit(choice, depth) for choice in cast("list[Any]", choices)])
        if isinstance(parts := fields.get("allOf"), list):
            return self._visit(self._merged(fields, cast("list[Any]", parts)), depth)
        kinds = _types_of(fields) or (["object"] if "properties" in fields else [])
        if not kinds:
            return self._anything(depth)
        return self._any_of([self._of_type(kind, fields, depth) for kind in kinds])

    def _reference(self, ref: str) -> str:
        if ref not in self._by_ref:
            self._by_ref[ref] = name = f"ref{len(self._by_ref)}"
            self._pending.append((name, ref))
        return self._by_ref[ref]

    def _resolve(self, ref: str) -> Any:
        target: Any = self._schema
        for step in ref.removeprefix("#").strip("/").split("/"):
            key = step.replace("~1", "/").replace("~0", "~")
            members = cast("dict[str, Any]", target)
            if key not in members:
                raise Refused(f"a tool's or answer's schema refers to {ref!r}, which is not there")
            target = members[key]
        return target

    def _merged(self, fields: dict[str, Any], parts: list[Any]) -> dict[str, Any]:
        """Return one schema for `allOf`: properties and required names together, else the last word."""
        whole = {key: value for key, value in fields.items() if key != "allOf"}
        for entry in parts:
            part = cast("dict[str, Any]", entry)
            if "$ref" in part:
                part = self._resolve(part["$ref"])
            # Many parts may name one large schema, so what is copied counts, not what is written.
            self._spend(1 + len(part.get("properties", ())) + len(part.get("required", ())))
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
                return self._integer(fields)
            case "number":
                return self._rule("number", self._integer({"minimum": fields.get("minimum")}) + ' ("." [0-9]{1,6})?')
            case "boolean":
                return self._any_of(['"true"', '"false"'])
            case "null":
                return '"null"'
            case _:
                raise Refused(f"a tool's or answer's schema has the unknown type {kind!r}")

    def _object(self, fields: dict[str, Any], depth: int) -> str:
        properties: dict[str, Any] = fields.get("properties") or {}
        if not properties:
            extra: object = fields.get("additionalProperties", "properties" not in fields)
            return self._map(extra, depth) if extra is not False else '"{}"'
        required = frozenset[str](fields.get("required") or [])
        needed: list[str] = []
        optional: list[str] = []
        for name, schema in properties.items():
            key = _quoted(_encode(name).decode() + ": ")
            member = self._rule("member", f"{key} {self._visit(schema, depth)}")
            (needed if name in required else optional).append(member)
        chain = self._chain(optional)
        if not needed:
            return self._rule("object", f'"{{" {chain}? "}}"')
        rest = f" ({_COMMA} {chain})?" if chain else ""
        return self._rule("object", f'"{{" {f" {_COMMA} ".join(needed)}{rest} "}}"')

    def _chain(self, members: list[str]) -> str:
        """Return the term of one or more of the members, in order; "" for none.

        One rule a member: it and perhaps later ones, or only later ones.
        """
        chain = ""
        for member in reversed(members):
            chain = self._rule("some", f"{member} ({_COMMA} {chain})? | {chain}") if chain else member
        return chain

    def _map(self, values: object, depth: int) -> str:
        value = self._visit(values, depth + 1)
        entry = self._rule("entry", f"{self._string({'maxLength': 40})} {_COLON} {value}")
        return self._rule("map", f'"{{" ({entry} ({_COMMA} {entry}){{0,7}})? "}}"')

    def _array(self, fields: dict[str, Any], depth: int) -> str:
        if isinstance(prefix := fields.get("prefixItems"), list):
            items = [self._visit(entry, depth) for entry in cast("list[Any]", prefix)]
            return self._rule("array", f'"[" {f" {_COMMA} ".join(items)} "]"') if items else '"[]"'
        least = _count(fields.get("minItems"), 0, _MOST_ITEMS)
        most = max(_count(fields.get("maxItems"), ARGUMENT_BOUNDS.max_items, _MOST_ITEMS), least)
        if most == 0:
            return '"[]"'
        item = self._rule("item", self._visit(fields.get("items"), depth + 1))
        body = f"{item} ({_COMMA} {item}){{{max(least - 1, 0)},{most - 1}}}"
        return self._rule("array", f'"[" {body} "]"' if least else f'"[" ({body})? "]"', repeated=most)

    def _string(self, fields: dict[str, Any]) -> str:
        form = _FORMATS.get(str(fields.get("format")))
        if form is not None:
            return self._rule("format", rf'"\"" {form} "\""')
        least = _count(fields.get("minLength"), 0, _MOST_CHARS)
        most = max(_count(fields.get("maxLength"), ARGUMENT_BOUNDS.max_length, _MOST_CHARS), least)
        return self._rule("string", rf'"\"" char{{{least},{most}}} "\""', repeated=most)

    def _integer(self, fields: Mapping[str, Any]) -> str:
        low, high = fields.get("minimum"), fields.get("maximum")
        if isinstance(low, int) and isinstance(high, int) and 0 <= high - low < _MOST_LITERALS:
            return self._any_of([_quoted(str(number)) for number in range(low, high + 1)])
        sign = "" if isinstance(low, int | float) and low >= 0 else '"-"? '
        return self._rule("integer", f'{sign}("0" | [1-9] [0-9]{{0,{_DIGITS - 1}}})')

    def _anything(self, depth: int) -> str:
        flat = [self._of_type(kind, {}, depth) for kind in ("string", "number", "boolean", "null")]
        return self._any_of(flat if depth >= _OPEN_DEPTH else [*flat, self._map(None, depth), self._array({}, depth)])

    def _any_of(self, choices: list[str]) -> str:
        if not choices:
            raise Refused("a tool's or answer's schema allows no value: an `enum` or `anyOf` is empty")
        choices = list(dict.fromkeys(choices))
        if len(choices) == 1:
            return choices[0]
        name = self._rule("any", " | ".join(choices))
        self._choices[name] = choices
        return name

    def _rule(self, kind: str, body: str, *, repeated: int = 0) -> str:
        """Return the name of a rule with this body: bodies that stand in several places are written once.

        `repeated`: how often it repeats something, which llama.cpp makes as many rules of.
        """
        if body not in self._by_body:
            self._repeated += repeated
            if self._repeated > _MOST_REPEATED:
                raise _too_large(f"has strings and lists of more than {_MOST_REPEATED} characters and items together")
            self._by_body[body] = name = f"{kind}{len(self._rules)}"
            self._write(name, body)
        return self._by_body[body]

    def _write(self, name: str, body: str) -> None:
        self._rules[name] = body
        self._size += len(name) + len(" ::= ") + len(body.encode()) + 1
        if self._size > _MOST_BYTES:
            raise _too_large(f"needs a grammar of more than {_MOST_BYTES} bytes")

    def _count_ways(self) -> None:
        """Refuse alternatives of alternatives that fan out: llama.cpp walks every way through them to a character."""
        ways: dict[str, int] = {}

        def count(name: str) -> int:
            if name not in self._choices:
                return int(name in self._rules)
            if name not in ways:
                ways[name] = 1  # met again below itself: llama.cpp refuses that by its own words
                ways[name] = min(1 + sum(map(count, self._choices[name])), _MOST_WAYS + 1)
            return ways[name]

        if sum(map(count, self._choices)) > _MOST_WAYS:
            raise _too_large("has too many alternatives within alternatives")


def _literal(value: object) -> str:
    return _quoted(_encode(value).decode())


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
