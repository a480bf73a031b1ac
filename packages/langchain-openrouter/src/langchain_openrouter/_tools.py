"""Tools, tool choices and JSON Schemas in the forms that the API takes; pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel

from langchain_openrouter.errors import ConfigurationError

Json: TypeAlias = dict[str, Any]
ToolLike: TypeAlias = Mapping[str, Any] | type | Callable[..., Any] | BaseTool

NAME_LIMIT: Final = 64
"""Characters in the name of a tool or of a response schema (API digest 1.4, 1.5)."""

_CHOICES: Final[Mapping[str, str]] = {
    "auto": "auto",
    "none": "none",
    "required": "required",
    "any": "required",
}


def to_wire_tool(tool: ToolLike, *, strict: bool | None = None) -> Json:
    """Return a tool for the request.

    Args:
        tool: A Pydantic class, TypedDict, function, LangChain tool, JSON Schema with a title, the
            `{"name": ..., "schema": ...}` of a response format, or a dict of the API, which travels verbatim:
            also server tools such as `{"type": "openrouter:web_search"}`.
        strict: True asks for arguments that match the schema exactly, and closes the schema for that;
            None sends nothing.
    """
    given = _dict_in(tool)
    if "input_schema" not in given and given.get("type", "object") != "object":
        wire: Json = dict(given)
    else:
        wire = {"type": "function", "function": _function_of(tool)}
        # Anthropic marks its tools beside the schema, LangChain's have a place for what providers add.
        marks = given if "name" in given else _dict_in(getattr(tool, "extras", None))
        if (mark := marks.get("cache_control")) is not None:
            wire["cache_control"] = mark
    function = wire.get("function")
    if strict is None or not isinstance(function, dict):
        return wire
    closed: Json = {**cast("Json", function), "strict": strict}
    if strict and isinstance(closed.get("parameters"), dict):
        closed["parameters"] = close_schema(closed["parameters"])
    return {**wire, "function": closed}


def _function_of(tool: ToolLike) -> Json:
    """Return name, description and parameters of what is no dict of the API."""
    given = _dict_in(tool)
    if _is_named_schema(given):
        return {("parameters" if key == "schema" else key): value for key, value in given.items()}
    if "name" in given and "input_schema" in given:
        described = {key: given[key] for key in ("name", "description") if key in given}
        return {**described, "parameters": given["input_schema"]}
    function: Json = convert_to_openai_tool(cast("Any", _rooted(given) if given else tool))["function"]
    schema = _rooted(_schema_of(tool))
    # LangChain puts definitions in the place of references, and nothing in the place of one that holds itself.
    if _has_cycle(schema):
        function["parameters"] = {key: value for key, value in schema.items() if key not in {"title", "description"}}
    return function


def _rooted(schema: Mapping[str, Any]) -> Json:
    """Return a schema that is no reference itself, as Pydantic's of a class that holds itself is."""
    root = schema.get("$defs", {}).get(_name_in(str(schema.get("$ref"))))
    return {**schema} if root is None else {**root, "$defs": schema["$defs"]}


def _schema_of(tool: ToolLike) -> Json:
    """Return the JSON Schema that Pydantic has for a class or for the arguments of a LangChain tool, or {}."""
    model: Any = tool.tool_call_schema if isinstance(tool, BaseTool) else tool
    if isinstance(model, type) and issubclass(model, BaseModel):
        return model.model_json_schema()
    return {}


def _has_cycle(schema: Json) -> bool:
    """Tell whether a definition of a schema holds itself, at any depth."""
    definitions = cast("Json", schema.get("$defs", {}))
    reached = {name: {_name_in(ref) for ref in _references_in(inner)} for name, inner in definitions.items()}
    for middle in reached:
        for names in reached.values():
            if middle in names:
                names |= reached[middle]
    return any(name in names for name, names in reached.items())


def _references_in(schema: Any) -> Iterator[str]:
    inner: Iterable[Any] = ()
    if isinstance(schema, dict):
        inner = cast("Json", schema).values()
        if isinstance(reference := cast("Json", schema).get("$ref"), str):
            yield reference
    elif isinstance(schema, list):
        inner = cast("list[Any]", schema)
    for part in inner:
        yield from _references_in(part)


def _name_in(reference: str) -> str:
    return reference.rpartition("/")[2]


def _dict_in(tool: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", tool) if isinstance(tool, Mapping) else {}


def _is_named_schema(given: Mapping[str, Any]) -> bool:
    return "name" in given and isinstance(given.get("schema"), Mapping)


def to_wire_tools(tools: Sequence[ToolLike], *, strict: bool | None = None) -> list[Json]:
    """Return every tool for the request; see `to_wire_tool`."""
    return [to_wire_tool(tool, strict=strict) for tool in tools]


def to_wire_choice(choice: Any, tools: Sequence[Json]) -> Any:
    """Return `tool_choice` for the request.

    Args:
        choice: "auto", "none", "required" or "any" (the same), True for the only tool there is, False or "" for no
            choice of ours, the name of a tool, or a dict: in Anthropic's spelling, or verbatim.
        tools: The tools of the request, to check names against.

    Returns:
        The choice, or None when none is to be sent.

    Raises:
        ConfigurationError: The choice names no tool of the request, or True leaves a choice open.
    """
    names = [name for tool in tools if (name := _name_of(tool))]
    if choice is True:
        if len(tools) != 1:
            raise ConfigurationError(f"tool_choice=True needs exactly one tool, not {len(tools)}")
        return _function_choice(names[0]) if names else {"type": tools[0]["type"]}
    if choice is False or choice == "":
        return None
    if isinstance(choice, Mapping):
        return _from_choice_object(cast("Mapping[str, Any]", choice))
    if not isinstance(choice, str):
        return choice
    if choice in names:
        return _function_choice(choice)
    if choice in _CHOICES:
        return _CHOICES[choice]
    if any(tool.get("type") == choice for tool in tools):
        return {"type": choice}
    raise ConfigurationError(f"tool_choice {choice!r} names none of the tools: {', '.join(names) or 'none'}")


def _from_choice_object(choice: Mapping[str, Any]) -> Any:
    """Return the API's form of `{"type": "any"}` and `{"type": "tool", "name": ...}`; others are its own."""
    if choice.get("type") in ("tool", "function") and "name" in choice:
        return _function_choice(choice["name"])
    word = _CHOICES.get(str(choice.get("type")))
    return dict(choice) if word is None else word


def _function_choice(name: str) -> Json:
    return {"type": "function", "function": {"name": name}}


def _name_of(tool: Json) -> str | None:
    function = tool.get("function")
    return cast("Json", function).get("name") if isinstance(function, dict) else None


def to_response_format(schema: ToolLike, *, strict: bool | None = None) -> Json:
    """Return the `response_format` that makes an answer match a schema.

    Args:
        schema: A Pydantic class, TypedDict, JSON Schema, or `{"name": ..., "schema": ...}` as on the wire.
        strict: As for `to_wire_tool`.
    """
    given = _dict_in(schema)
    if _is_named_schema(given):
        wire: Json = dict(given)
    else:
        function = _function_of(schema)
        # The name must be a plain word; titles of dictionary schemas are free text.
        title = str(function["name"] or "answer")
        name = "".join(c if (c.isascii() and c.isalnum()) or c in "_-" else "_" for c in title)[:NAME_LIMIT]
        wire = {"name": name}
        if description := function.get("description"):
            wire["description"] = description
        wire["schema"] = {k: v for k, v in function.get("parameters", {}).items() if k not in {"title", "description"}}
    if strict is not None:
        wire["strict"] = strict
        if strict:
            wire["schema"] = close_schema(wire["schema"])
    return {"type": "json_schema", "json_schema": wire}


def close_format(response_format: Any) -> Any:
    """Return a `response_format` of the API with its schema closed where it is strict; others as they are.

    LangChain's agents write one, and ask for strictness without closing the schema for it.
    """
    held = _dict_in(_dict_in(response_format).get("json_schema"))
    if held.get("strict") is not True or "schema" not in held:
        return response_format
    return {**response_format, "json_schema": {**held, "schema": close_schema(held["schema"])}}


def close_schema(schema: Any) -> Any:
    """Return a copy of a JSON Schema in which every object requires all its properties and takes no others.

    Definitions, items and alternatives are closed too. Defaults go, because a required property has none.
    An object that lists no properties stays open: closed, it could only be empty.
    """
    if isinstance(schema, list):
        return [close_schema(item) for item in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    source = cast("Json", schema)
    closed: Json = {}
    for key, value in source.items():
        if key in {"properties", "$defs", "definitions"} and isinstance(value, dict):
            closed[key] = {name: close_schema(inner) for name, inner in cast("Json", value).items()}
        elif key in _WITH_SCHEMAS:
            closed[key] = close_schema(value)
        elif key != "default":
            closed[key] = value
    if isinstance(source.get("properties"), dict):
        closed["additionalProperties"] = False
        closed["required"] = list(source["properties"])
    return closed


_WITH_SCHEMAS: Final = frozenset(
    {"items", "prefixItems", "anyOf", "oneOf", "allOf", "not", "if", "then", "else", "additionalProperties"}
)
