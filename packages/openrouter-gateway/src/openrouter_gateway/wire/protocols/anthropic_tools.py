"""Tools of the hub, and which of them are to be called, as Anthropic's API takes them.

Sources: platform.claude.com/docs/en/agents-and-tools/tool-use/{define-tools,web-search-tool}, 2026-11; OpenRouter API,
tools and server tools, 2026-08-22.
"""

from typing import Any, Final, cast

import msgspec

from openrouter_gateway.core.chat import ChatParams, ChatRequest, NamedToolChoice
from openrouter_gateway.errors import Refused
from openrouter_gateway.wire.protocols.anthropic_schema import narrow_schema

STRICT_BETA: Final = "structured-outputs-2025-11-13"
"""Callers who ask for this feature get `strict` tools, others do not (OpenRouter API, tools, 2026-08-22)."""

_CHOICES: Final = {"auto": "auto", "none": "none", "required": "any", "any": "any"}
_WEB_SEARCH: Final = "openrouter:web_search"
_SEARCHES: Final = frozenset(
    {_WEB_SEARCH, "web_search", "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11"}
)
"""OpenRouter takes OpenAI's names of it for its own (tools, 2026-08-22)."""
_NATIVE_ENGINES: Final = (None, "auto", "native")
_WEB_SEARCH_FIELDS: Final = {
    "max_uses": "max_uses",
    "allowed_domains": "allowed_domains",
    "excluded_domains": "blocked_domains",
    "user_location": "user_location",
}

_decode_tools = msgspec.json.Decoder(list[dict[str, Any]]).decode


def to_tools(request: ChatRequest) -> list[dict[str, Any]]:
    """Return the tools of a request that has some.

    Raises:
        Refused: one that only the gateway could run, named by its place.
    """
    tools: list[dict[str, Any]] = []
    for place, tool in enumerate(_decode_tools(request.fields["tools"])):
        where = f"tools[{place}]"
        is_function = tool.get("type", "function") == "function"
        tools.append(_to_function(tool, request, where) if is_function else to_server_tool(tool, where))
    return tools


def to_server_tool(tool: dict[str, Any], where: str) -> dict[str, Any]:
    """Return a tool that is run at the provider: OpenRouter's web search as Anthropic's, its own as they are."""
    kind = str(tool.get("type"))
    if not kind.startswith("openrouter:") and kind not in _SEARCHES:
        return tool
    parameters = _search_options(tool)
    if kind not in _SEARCHES or parameters.get("engine") not in _NATIVE_ENGINES:
        raise Refused(f"{where}: `{kind}` cannot be run at this provider")
    own: dict[str, Any] = {"type": "web_search_20250305", "name": "web_search"}
    return own | {name: parameters[key] for key, name in _WEB_SEARCH_FIELDS.items() if parameters.get(key) is not None}


def _search_options(tool: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a search: OpenRouter has them in `parameters`, OpenAI beside the type and in `filters`."""
    found: dict[str, Any] = dict(tool)
    for key in ("filters", "parameters"):
        given: object = tool.get(key)
        if isinstance(given, dict):
            found |= cast("dict[str, Any]", given)
    return found


def _to_function(tool: dict[str, Any], request: ChatRequest, where: str) -> dict[str, Any]:
    given: object = tool.get("function")
    if not isinstance(given, dict):
        raise Refused(f"{where}.function: missing")
    function = cast("dict[str, Any]", given)
    schema: dict[str, Any] = {"type": "object", **(function.get("parameters") or {})}
    entry: dict[str, Any] = {"name": function["name"], "input_schema": schema}
    if function.get("description"):
        entry["description"] = function["description"]
    if function.get("strict") and STRICT_BETA in request.betas:
        entry["strict"] = True
        entry["input_schema"] = narrow_schema(schema)
    mark = tool.get("cache_control") or function.get("cache_control")
    if isinstance(mark, dict):
        entry["cache_control"] = mark
    if request.stream:
        # As OpenRouter does it (tools, 2026-08-22): otherwise long arguments arrive in one piece at their end.
        entry["eager_input_streaming"] = True
    return entry


def to_tool_choice(params: ChatParams) -> dict[str, Any] | None:
    """Return which tools are to be called, None for the API's default.

    Raises:
        Refused: a choice that the API has no form for.
    """
    wanted = params.tool_choice
    choice: dict[str, Any] | None
    if isinstance(wanted, NamedToolChoice):
        if wanted.function is not None:
            choice = {"type": "tool", "name": wanted.function.name}
        elif wanted.type in _SEARCHES:
            choice = {"type": "tool", "name": "web_search"}
        else:
            raise Refused(f"tool_choice: `{wanted.type}` cannot be forced at this provider")
    elif wanted is None:
        choice = None
    elif wanted in _CHOICES:
        choice = {"type": _CHOICES[wanted]}
    else:
        raise Refused(f"tool_choice: {wanted!r} is none of auto, none, required")
    if params.parallel_tool_calls is False and (choice is None or choice["type"] != "none"):
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    return choice
