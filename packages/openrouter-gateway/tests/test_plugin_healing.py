"""Answers that were to be JSON: what is put right, what is left, and what is asked for anew."""

import asyncio
import json
from typing import Any

import msgspec
import pytest
from gateway_samples import ANY_JSON, make_request
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from web_server import respond, web_server

from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.plugins.healing import (
    Healed,
    NotHealed,
    ask_for_json,
    heal,
    is_healed,
    repair_request,
    schema_of,
    stage_of,
)

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
SCHEMA_FORMAT = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}
ANY_OBJECT = st.dictionaries(st.text(st.characters(exclude_categories=("Cs",)), max_size=8), ANY_JSON, max_size=4)


def messages(request: ChatRequest) -> list[dict[str, Any]]:
    return msgspec.json.decode(request.fields["messages"])


class TestRepair:
    """Without a schema."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ('```json\n{"a": 1}\n```', '{"a": 1}'),
            ('```\n{"a": 1}', '{"a": 1}'),
            ('Here you are:\n\n{"a": 1}\n\nAnything else?', '{"a": 1}'),
            ('Fill in {name}: {"a": 1}', '{"a": 1}'),
            ('{"a": 1} or rather {"a": 1, "b": 2}', '{"a": 1, "b": 2}'),
            ('{"a": [1, 2,], "b": 3,}', '{"a": [1, 2], "b": 3}'),
            ('{"a": [1,, 2]}', '{"a": [1, 2]}'),
            ('{a: 1, b_2: 2, $c: 3}', '{"a": 1, "b_2": 2, "$c": 3}'),
            ("{'a': 'it\\'s', 'b': 'say \"hi\"'}", '{"a": "it\'s", "b": "say \\"hi\\""}'),
            ("{“a”: “b”}", '{"a": "b"}'),
            ('{"a": True, "b": False, "c": None, "d": undefined}', '{"a": true, "b": false, "c": null, "d": null}'),
            ('{"a": [1, {"b": 2', '{"a": [1, {"b": 2}]}'),
            ('{"a": [1, 2}', '{"a": [1, 2]}'),
            ('[{"a": 1]', None),
            ('{"a": 1}}', '{"a": 1}'),
            ('{"a": 1 "b": 2}', '{"a": 1 ,"b": 2}'),
            ('{"a": "x"\n"b": "y"}', '{"a": "x"\n,"b": "y"}'),
            ('{"a": ["x" "y"]}', '{"a": ["x" ,"y"]}'),
            ('{"a": "he said "hi", then left"}', '{"a": "he said \\"hi\\", then left"}'),
            ('{"a": "two\nlines\tand \x01"}', '{"a": "two\\nlines\\tand \\u0001"}'),
            ('{"a": "C:\\dir", "b": "\\u00e4\\x41\\q"}', '{"a": "C:\\\\dir", "b": "\\u00e4\\u0041\\\\q"}'),
            ('{"a": .5, "b": +1, "c": -2.50e3, "d": 3.}', '{"a": 0.5, "b": 1, "c": -2.50e3, "d": 3}'),
            ('{"a": 1, // one\n "b": 2 /* two */}', '{"a": 1, \n "b": 2 }'),
            ('"{\\"a\\": 1}"', '{"a": 1}'),
            ('{"a": 12345678901234567890123.10}', '{"a": 12345678901234567890123.10}'),
        ],
    )  # fmt: skip
    def test_what_is_put_right(self, text: str, expected: str | None) -> None:
        """As long as there is one thing that it can mean; what was right keeps its spelling."""
        found = heal(text)

        assert expected == (found.text if isinstance(found, Healed) else None)

    @pytest.mark.parametrize(
        "text",
        [
            "", "I cannot do that.", "{", '{"a": [', '{"a": 1,', '{"a": "broken o', '{"a":', '{"a": 1, "b',
            '{"a": hello}', '{"a": 007}', '{"a": 2026-01-01}', '{"a": NaN}', '{"a" 1}',
            "{" * 5000, '{"a":' * 5000, "[" * 100_000,
        ],
    )  # fmt: skip
    def test_what_is_not(self, text: str) -> None:
        """Nobody knows how it was to go on; the text stays."""
        assert NotHealed(text=text, problem="it is not valid JSON") == heal(text)

    @pytest.mark.parametrize("text", ["[1, 2]", "42", '"text"', "null"])
    def test_no_object(self, text: str) -> None:
        """A JSON mode promises an object."""
        assert NotHealed(text=text, problem="it is not one JSON object") == heal(text)

    @given(value=ANY_OBJECT, indent=st.none() | st.integers(0, 3), ascii_only=st.booleans())
    def test_right_ones_stay(self, value: dict[str, Any], indent: int | None, *, ascii_only: bool) -> None:
        """Byte for byte, however they are spelled."""
        text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)

        assert Healed(text=text, improved=False) == heal(text)

    @settings(deadline=None)  # the first one imports the validator
    @given(value=ANY_JSON)
    def test_other_values_stay(self, value: Any) -> None:
        """A schema that allows them finds nothing to change."""
        text = json.dumps(value)

        assert Healed(text=text, improved=False) == heal(text, {})

    @given(value=ANY_OBJECT, damage=st.sampled_from(["comma", "end", "fence"]), python=st.booleans())
    def test_damaged_ones(self, value: dict[str, Any], damage: str, *, python: bool) -> None:
        """Any object comes back as it was: as Python prints it, in a fence, a comma too many, or without its end."""
        text = repr(value) if python else json.dumps(value, indent=1)
        assume("\\U" not in text)  # which only Python has
        if damage == "fence":
            text = f"Well:\n```json\n{text}\n```\nThat is all."
        elif value:
            text = text[:-1] + (",}" if damage == "comma" else "")

        found = heal(text)

        assert isinstance(found, Healed)
        assert value == json.loads(found.text)
        assert Healed(text=found.text, improved=False) == heal(found.text)

    @given(st.text(alphabet="{}[]\",:'\\ntrue1.-e/* \u201c\u201d", max_size=60))
    def test_anything(self, text: str) -> None:
        """It is JSON, or it is what it was; and once healed it stays."""
        found = heal(text)

        if isinstance(found, NotHealed):
            assert text == found.text
            return
        assert isinstance(json.loads(found.text), dict)
        assert Healed(text=found.text, improved=False) == heal(found.text)


class TestSchema:
    """With one."""

    def test_satisfied(self) -> None:
        """Nothing is changed, or only what had to be."""
        right = '{"name": "Ada", "age": 36}'

        assert Healed(text=right, improved=False) == heal(right, PERSON)
        assert Healed(text=right, improved=True) == heal(f"```json\n{right}\n```", PERSON)

    def test_the_one_that_satisfies_it(self) -> None:
        """Is taken, not the longest."""
        text = 'Not {"name": "Somebody else", "age": "unknown"} but {"name": "Ada", "age": 36}.'

        assert Healed(text='{"name": "Ada", "age": 36}', improved=True) == heal(text, PERSON)

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ('{"name": "Ada"}', "at $: 'age' is a required property"),
            ('{"name": "Ada", "age": "36"}', "at $.age: '36' is not of type 'integer'"),
            ('```\n{"name": "Ada", "age": -1}\n```', "at $.age: -1 is less than the minimum of 0"),
            ("[]", "at $: [] is not of type 'object'"),
        ],
    )
    def test_not_satisfied(self, text: str, problem: str) -> None:
        """The text stays; the problem says where."""
        assert NotHealed(text=text, problem=problem) == heal(text, PERSON)

    def test_a_long_problem(self) -> None:
        """Is cut: it goes into a prompt."""
        found = heal('{"name": ' + json.dumps(["x" * 5000]) + ', "age": 1}', PERSON)

        assert isinstance(found, NotHealed)
        assert 400 == len(found.problem)

    @pytest.mark.parametrize(
        "schema",
        [
            {"type": "no such type"},
            {"$ref": "#/$defs/missing"},
            {"$ref": "http://127.0.0.1:1/schema.json"},
            {"$ref": "#"},
            {"properties": {"name": {"pattern": "("}}},
            {"$schema": "http://127.0.0.1:1/other"} | PERSON,
        ],
    )
    def test_schemas_that_cannot_be_checked(self, schema: dict[str, Any]) -> None:
        """Are no fault of the answer; nothing is fetched for them."""
        text = '{"name": "Ada", "age": 36}'

        assert Healed(text=text, improved=False) == heal(text, schema)

    async def test_references_are_not_followed(self) -> None:
        """A schema cannot make the gateway fetch anything."""
        answer = respond(json.dumps({"type": "integer"}).encode(), kind="application/json")
        async with web_server({"/schema.json": [answer]}) as server:
            text = '{"name": "Ada"}'
            schema = {"properties": {"name": {"$ref": server.url("/schema.json")}}}

            assert Healed(text=text, improved=False) == await asyncio.to_thread(heal, text, schema)

        assert [] == server.requests


class TestRequests:
    """When answers are looked at, and what the model is asked."""

    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({"response_format": {"type": "json_object"}}, True),
            ({"response_format": SCHEMA_FORMAT}, True),
            ({"response_format": {"type": "text"}}, False),
            ({}, False),
            ({"response_format": SCHEMA_FORMAT, "stream": True}, False),
            ({"response_format": SCHEMA_FORMAT, "plugins": []}, False),
            ({"response_format": SCHEMA_FORMAT, "plugins": [{"id": "response-healing", "enabled": False}]}, False),
        ],
    )
    def test_when(self, fields: dict[str, Any], *, expected: bool) -> None:
        """Asked for, not streamed, and JSON wanted."""
        assert expected == is_healed(make_request(**({"plugins": [{"id": "response-healing"}]} | fields)))

    def test_the_repair(self) -> None:
        """Shows the model its answer, the problem and the schema; tools are not called again."""
        tools = [{"type": "function", "function": {"name": "f"}}]
        request = make_request(model="a/one", response_format=SCHEMA_FORMAT, tools=tools, tool_choice="auto", seed=7)

        found = repair_request(request, '{"name": 1}', "at $.name: 1 is not of type 'string'")

        first, answer, ask = messages(found)
        assert {"role": "user", "content": "Hello"} == first
        assert {"role": "assistant", "content": '{"name": 1}'} == answer
        assert ["assistant", "user"] == [message.role for message in found.params.messages[1:]]
        assert "1 is not of type 'string'" in ask["content"]
        assert json.dumps(PERSON) in ask["content"]
        assert {"messages", "model", "response_format", "seed"} == found.fields.keys()
        assert (None, None) == (found.params.tools, found.params.tool_choice)
        assert PERSON == schema_of(found.params.response_format)

    @pytest.mark.parametrize(
        ("supported", "asked"),
        [(None, False), ({"response_format"}, False), ({"structured_outputs"}, False), ({"temperature"}, True)],
    )
    def test_the_format_in_words(self, supported: set[str] | None, *, asked: bool) -> None:
        """For endpoints that are known not to enforce it; others are left to."""
        request = make_request(response_format=SCHEMA_FORMAT)

        found = ask_for_json(request, None if supported is None else frozenset(supported))

        assert asked == ("response_format" not in found.fields) == (found.params.response_format is None)
        assert asked == (json.dumps(PERSON) in messages(found)[0]["content"])
        assert {"role": "user", "content": "Hello"} == messages(found)[-1]

    def test_the_stage(self) -> None:
        """What router metadata tell."""
        text = '```json\n{"a": 1}\n```'

        assert stage_of(text, heal(text), "json_object") == {
            "type": "response_healing",
            "name": "response-healing",
            "data": {"mode": "json_object", "improved": True, "original_length": 20, "healed_length": 8},
        }
