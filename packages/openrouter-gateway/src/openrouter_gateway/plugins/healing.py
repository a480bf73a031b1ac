"""The `response-healing` plugin: an answer that was to be JSON, made into what it was to be, or sent back once.

OpenRouter API, response healing (2026-08-22): for whole answers with a `response_format`, never for those that were cut
at their length.
"""

import json
from collections.abc import Iterator
from typing import Any, Final, NoReturn, TypeAlias

from msgspec import Struct

from openrouter_gateway.core.amend import amend, read_messages
from openrouter_gateway.core.chat import ChatRequest, ResponseFormat
from openrouter_gateway.core.plugins import RESPONSE_HEALING
from openrouter_gateway.plugins.repair import BeyondRepair, repair_at
from openrouter_gateway.plugins.schemas import find_problem

_LONGEST_TEXT: Final = 500_000
_MOST_TRIES: Final = 100
_LONGEST_QUOTE: Final = 20_000
_FORMATS: Final = frozenset({"json_object", "json_schema"})
_NOT_JSON: Final = "it is not valid JSON"


class Healed(Struct, frozen=True, kw_only=True, tag=True):
    """The answer as JSON that satisfies the schema. `improved`: it was not so by itself."""

    text: str
    improved: bool


class NotHealed(Struct, frozen=True, kw_only=True, tag=True):
    """The answer as it came, and what is wrong with it."""

    text: str
    problem: str


Healing: TypeAlias = Healed | NotHealed


def is_healed(request: ChatRequest) -> bool:
    """Return whether the answers to a request are looked at."""
    wanted = request.params.response_format
    return not request.stream and wanted is not None and wanted.type in _FORMATS and request.wants(RESPONSE_HEALING)


def heal(text: str, schema: dict[str, Any] | None = None) -> Healing:
    """Return an answer as JSON, an object unless a schema says what it is. JSON that is right stays as it is.

    A schema may take for ever to check (`plugins/schemas`).
    """
    problem: str | None = None
    found = False
    value, is_json = _read(text)
    if is_json:
        problem = _problem_of(value, schema)
        if problem is None:
            return Healed(text=text, improved=False)
        found = True
    if len(text) > _LONGEST_TEXT:
        return NotHealed(text=text, problem=problem or _NOT_JSON)
    # An answer that is JSON within a string is looked into as well.
    source = value if is_json and isinstance(value, str) else "" if is_json else text
    for candidate in sorted(_candidates(source), key=len, reverse=True):
        value, is_json = _read(candidate)
        if not is_json:
            continue
        wrong = _problem_of(value, schema)
        if wrong is None:
            return Healed(text=candidate, improved=True)
        if not found:
            problem, found = wrong, True
    return NotHealed(text=text, problem=problem or _NOT_JSON)


def schema_of(wanted: ResponseFormat | None) -> dict[str, Any] | None:
    """Return the schema that a response format asks for."""
    return wanted.json_schema.schema if wanted is not None and wanted.json_schema is not None else None


def stage_of(before: str, after: Healing, mode: str) -> dict[str, Any]:
    """Return the pipeline stage for router metadata. `mode` is the response format."""
    improved = isinstance(after, Healed) and after.improved
    return {
        "type": "response_healing",
        "name": RESPONSE_HEALING,
        "data": {
            "mode": mode,
            "improved": improved,
            "original_length": len(before),
            "healed_length": len(after.text),
        },
    }


def repair_request(
    request: ChatRequest, bad_text: str, problem: str, wanted: ResponseFormat | None = None
) -> ChatRequest:
    """Return a request that shows the model its answer and what is wrong with it, and asks for it anew.

    `wanted` is the format, by default the request's own.
    """
    ask = (
        f"Your answer cannot be used: {problem}. Answer again with the corrected JSON and nothing else: "
        f"no explanation, no markdown.{_describe(wanted or request.params.response_format)}"
    )
    messages = [
        *read_messages(request),
        {"role": "assistant", "content": bad_text[:_LONGEST_QUOTE]},
        {"role": "user", "content": ask},
    ]
    return amend(request, {"messages": messages, "tools": None, "tool_choice": None, "parallel_tool_calls": None})


def ask_for_json(request: ChatRequest, supported: frozenset[str] | None) -> ChatRequest:
    """Return the request with its format in words, for an endpoint that is known not to enforce it.

    `supported` are the endpoint's parameters, None if they are not known; then it is left to do what it can.
    """
    wanted = request.params.response_format
    if supported is None or wanted is None or "response_format" in supported or "structured_outputs" in supported:
        return request
    instruction = {"role": "system", "content": f"Answer with JSON and nothing else.{_describe(wanted)}"}
    return amend(request, {"messages": [instruction, *read_messages(request)], "response_format": None})


def _describe(wanted: ResponseFormat | None) -> str:
    schema = schema_of(wanted)
    if schema is None:
        return " It has to be one JSON object."
    return f" It has to satisfy this JSON Schema:\n{json.dumps(schema, ensure_ascii=False)}"


def _problem_of(value: Any, schema: dict[str, Any] | None) -> str | None:
    if schema is not None:
        return find_problem(value, schema)
    return None if isinstance(value, dict) else "it is not one JSON object"


def _candidates(text: str) -> Iterator[str]:
    """Yield everything in a text that can be read as an object or array, repaired: in fences, or between words."""
    at = 0
    for _ in range(_MOST_TRIES):
        starts = [start for sign in "{[" if (start := text.find(sign, at)) >= 0]
        if not starts:
            return
        start = min(starts)
        try:
            candidate, at = repair_at(text, start)
        except (BeyondRepair, RecursionError):
            at = start + 1
        else:
            yield candidate


def _read(text: str) -> tuple[Any, bool]:
    """Return the value of a JSON document, and whether it is one."""
    try:
        return json.loads(text, parse_constant=_refuse), True
    except (ValueError, RecursionError):
        return None, False


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
