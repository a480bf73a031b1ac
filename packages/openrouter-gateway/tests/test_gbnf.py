"""Grammars for llama.cpp, without llama.cpp: their text, their language, their size."""

import json
import re
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrouter_gateway.errors import Refused
from openrouter_gateway.wire.gbnf import Bounds, Grammar, bounded_schema

BOUNDS = Bounds(max_length=5, max_items=7)
_TOKEN: Final = re.compile(r'"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|\{[0-9,]+\}|[()|?*]|[a-zA-Z0-9-]+')


def rules_of(schema: dict[str, Any]) -> dict[str, str]:
    """Return the rules by name; the root's alternative of any text, which is the same for all, is taken off."""
    rules = dict(line.split(" ::= ", 1) for line in Grammar(schema).text_or_root().split("\n"))
    root, text = rules["root"].rsplit(" | ", 1)
    assert text == r"[^{\x00-\x20] [^\x00]*"
    return {**rules, "root": root}


def pattern_of(schema: dict[str, Any]) -> re.Pattern[str]:
    """Return the grammar as a regular expression: our grammars recurse only where a schema's references do."""
    rules = rules_of(schema)

    def expand(body: str) -> str:
        return "".join(map(expand_token, _TOKEN.findall(body)))

    def expand_token(token: str) -> str:
        if token[0] == '"':
            literal = re.sub(r"\\(.)", r"\1", token[1:-1])
            return f"(?:{re.escape(literal)})"
        return f"(?:{expand(rules[token])})" if token in rules else token

    return re.compile(expand(rules["root"]))


def nested(levels: int, width: int) -> dict[str, Any]:
    """Return objects in objects, of optional properties."""
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        properties: dict[str, Any] = {f"p{number}": {"type": "integer"} for number in range(width - 1)}
        schema = {"type": "object", "properties": {**properties, "z": schema}}
    return schema


def maps(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "object", "additionalProperties": schema}
    return schema


def flat(count: int, **schema: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {f"p{number}": schema or {"type": "integer"} for number in range(count)}}


def fan(levels: int) -> dict[str, Any]:
    """Return a schema with 2 ** levels ways to its leaves."""
    definitions: dict[str, Any] = {f"d{levels}": {"type": "integer"}, f"e{levels}": {"type": "string"}}
    for level in range(levels):
        below = {"anyOf": [{"$ref": f"#/$defs/d{level + 1}"}, {"$ref": f"#/$defs/e{level + 1}"}]}
        definitions |= {f"d{level}": below, f"e{level}": below}
    return {"$ref": "#/$defs/d0", "$defs": definitions}


def test_bounds_are_added_where_there_are_none() -> None:
    """A property that is called `type` is a property; what the caller bounded stays; references follow the move."""
    schema = {
        "type": "object",
        "properties": {
            "type": {"type": "string"},
            "short": {"type": "string", "maxLength": 3},
            "kind": {"type": "string", "enum": ["a"]},
            "list": {"type": "array", "items": {"$ref": "#/$defs/Item"}, "minItems": 9},
        },
        "$defs": {"Item": {"anyOf": [{"type": ["string", "null"]}, {"type": "integer"}]}},
    }

    assert bounded_schema(schema, BOUNDS, place="#/x") == {
        "type": "object",
        "properties": {
            "type": {"type": "string", "maxLength": 5},
            "short": {"type": "string", "maxLength": 3},
            "kind": {"type": "string", "enum": ["a"]},
            "list": {"type": "array", "items": {"$ref": "#/x/$defs/Item"}, "minItems": 9, "maxItems": 9},
        },
        "$defs": {"Item": {"anyOf": [{"type": ["string", "null"], "maxLength": 5}, {"type": "integer"}]}},
    }


@pytest.mark.parametrize(
    ("schema", "bounded"),
    [
        ({"type": "string", "minLength": 5000}, {"type": "string", "minLength": 1999, "maxLength": 1999}),
        ({"type": "string", "maxLength": 1e308}, {"type": "string", "maxLength": 1999}),
        ({"type": "string", "minLength": -5, "maxLength": 1e9}, {"type": "string", "minLength": 0, "maxLength": 1999}),
        ({"type": "array", "minItems": 5000}, {"type": "array", "minItems": 1000, "maxItems": 1000}),
        ({"type": "array", "maxItems": float("inf")}, {"type": "array", "maxItems": 1000}),
    ],
)  # fmt: skip
def test_no_bound_is_more_than_llama_cpp_counts_to(schema: dict[str, Any], bounded: dict[str, Any]) -> None:
    """It refuses repetitions of 2,000, and an optional list counts twice."""
    assert bounded == bounded_schema(schema, BOUNDS)
    assert all(int(count) < 2000 for count in re.findall(r"[{,]([0-9]+)", "\n".join(rules_of(schema).values())))


@pytest.mark.parametrize(
    ("schema", "rules"),
    [
        ({"const": 'a"b'}, [r'root ::= "\"a\\\"b\""']),
        ({"enum": [1, None]}, ["root ::= any1", 'any1 ::= "1" | "null"']),
        ({"enum": [1, 1]}, ['root ::= "1"']),
        ({"type": "string", "maxLength": 4}, ["root ::= string1", r'string1 ::= "\"" char{0,4} "\""']),
        ({"type": "integer", "minimum": 0}, ["root ::= integer1", 'integer1 ::= ("0" | [1-9] [0-9]{0,11})']),
        ({"type": "object", "properties": {}}, ['root ::= "{}"']),
        (
            {"properties": {"a": {"const": 1}, "b": {"const": 2}, "c": {"const": 3}}, "required": ["b"]},
            [
                "root ::= object5",
                r'member1 ::= "\"a\": " "1"',
                r'member2 ::= "\"b\": " "2"',
                r'member3 ::= "\"c\": " "3"',
                'some4 ::= member1 (", " member3)? | member3',
                'object5 ::= "{" member2 (", " some4)? "}"',
            ],
        ),
    ],
)  # fmt: skip
def test_grammar_of_a_schema(schema: dict[str, Any], rules: list[str]) -> None:
    """Every part is a rule of its own."""
    written = [f"{name} ::= {body}" for name, body in rules_of(schema).items() if name != "char"]

    assert rules == written


@given(
    present=st.lists(st.booleans(), min_size=1, max_size=7),
    required=st.lists(st.booleans(), min_size=7, max_size=7),
    data=st.data(),
)
def test_an_object_is_any_choice_of_optional_members(
    present: list[bool], required: list[bool], data: st.DataObject
) -> None:
    """The required ones first, every other one or not, commas between and nowhere else."""
    names = [f"p{number}" for number in range(len(present))]
    needed = [name for name, must in zip(names, required, strict=False) if must]
    chosen = [name for name, is_in in zip(names, present, strict=True) if is_in and name not in needed]
    schema = {"properties": {name: {"type": "boolean"} for name in names}, "required": needed}
    text = json.dumps({name: data.draw(st.booleans()) for name in needed + chosen})
    pattern = pattern_of(schema)

    assert pattern.fullmatch(text)
    assert not pattern.fullmatch(text.replace("{", "{, ", 1))
    assert not pattern.fullmatch(text.replace("}", ", }", 1))
    if needed:
        assert not pattern.fullmatch(text.replace(f'"{needed[0]}"', '"other"'))


@pytest.mark.parametrize(
    ("schema", "texts", "others"),
    [
        ({"type": "array", "items": {"type": "null"}, "maxItems": 2}, ["[]", "[null]", "[null, null]"], ["[, null]"]),
        ({"type": "array", "items": {"type": "null"}, "minItems": 2}, ["[null, null]"], ["[]", "[null]"]),
        ({"type": "object", "additionalProperties": {"type": "number"}}, ["{}", '{"a": 1.5, "b": -2}'], ['{"a": 1, }']),
        ({"type": ["integer", "null"]}, ["17", "null", "-3"], ["01", "nul"]),
        ({"type": "integer", "minimum": 9, "maximum": 11}, ["9", "10", "11"], ["8", "12"]),
        ({}, ["1", "null", '"x"', '{"a": {"b": 1}}', "[[1]]"], ["x"]),
        ({"allOf": [{"properties": {"a": {"const": 1}}, "required": ["a"]}]}, ['{"a": 1}'], ["{}"]),
        ({"type": "string", "format": "date"}, ['"2026-11-28"'], ['"today"']),
    ],
)  # fmt: skip
def test_what_a_grammar_allows(schema: dict[str, Any], texts: list[str], others: list[str]) -> None:
    """One line per kind of schema."""
    pattern = pattern_of(schema)

    assert all(pattern.fullmatch(text) for text in texts)
    assert not any(pattern.fullmatch(text) for text in others)


SCHEMAS = st.recursive(
    st.sampled_from([{}, {"type": "integer"}, {"type": "string"}, {"type": "number"}, {"enum": [1]}, {"const": '"'}]),
    lambda below: st.one_of(
        st.builds(
            lambda members, needed: {"type": "object", "properties": members, "required": list(members)[:needed]},
            st.dictionaries(st.text(max_size=3), below, max_size=8),
            st.integers(min_value=0, max_value=2),
        ),
        below.map(lambda schema: {"type": "object", "additionalProperties": schema}),
        below.map(lambda schema: {"type": "array", "items": schema}),
        st.lists(below, min_size=1, max_size=4).map(lambda choices: {"anyOf": choices}),
    ),
    max_leaves=40,
)  # fmt: skip


@given(SCHEMAS)
def test_a_grammar_is_no_larger_than_its_schema_is(schema: dict[str, Any]) -> None:
    """A constant for what stands in every grammar, and some bytes per byte."""
    assert len(Grammar(schema).text_or_root()) <= 1500 + 10 * len(msgspec.json.encode(schema))


@pytest.mark.parametrize("schema", [nested(1, 20), nested(2, 10), nested(5, 10), maps(20), maps(60), flat(600)])
def test_what_used_to_explode_is_small(schema: dict[str, Any]) -> None:
    """Ten optional properties on five levels were a grammar of 34 MB, twenty levels of maps one of 84 MB."""
    assert len(Grammar(schema).text_or_root()) <= 1500 + 5 * len(msgspec.json.encode(schema))


LARGE: dict[str, Any] = {"allOf": [{"$ref": "#/$defs/large"}]}


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        (flat(2000), "needs a grammar of more than 65536 bytes"),
        (maps(100), "nested too deeply"),
        (fan(30), "alternatives within alternatives"),
        ({"properties": {f"p{n}": {"type": "string", "maxLength": 1900 - n} for n in range(30)}}, "50000"),
        ({"type": "array", "prefixItems": [LARGE] * 500, "$defs": {"large": flat(200)}}, "more than 20000 parts"),
    ],
)  # fmt: skip
def test_what_llama_cpp_would_choke_on_is_refused(schema: dict[str, Any], reason: str) -> None:
    """Before it is sent, and in a moment."""
    with pytest.raises(Refused, match=f"too large for the embedded model: it .*{reason}"):
        Grammar(schema)


def test_a_long_chain_of_references_is_no_deep_nesting() -> None:
    """Each is a rule."""
    definitions = {f"a{n}": {"properties": {"x": {"$ref": f"#/$defs/a{n + 1}"}}} for n in range(300)}
    schema = {"$ref": "#/$defs/a0", "$defs": {**definitions, "a300": {"type": "null"}}}

    assert len(rules_of(schema)) > 300


@pytest.mark.parametrize("schema", [{"enum": []}, {"anyOf": []}])
def test_a_schema_that_allows_nothing_is_refused(schema: dict[str, Any]) -> None:
    """An empty group would have let the model write nothing where a value belongs."""
    with pytest.raises(Refused, match="allows no value"):
        Grammar(schema)


def test_a_deep_schema_is_refused_before_it_is_copied() -> None:
    """`bounded_schema` sees it first."""
    with pytest.raises(Refused, match="nested too deeply"):
        bounded_schema(maps(100), BOUNDS)
