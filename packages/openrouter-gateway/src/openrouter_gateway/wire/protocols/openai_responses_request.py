"""A chat request as the body of a request to the Responses API.

Fields that the API has no word for are left out, as OpenRouter does with what a provider does not support; a request
for something else than it can give is refused. Reference: github.com/openai/openai-openapi at f85dbe2 (2026-08-21),
`CreateResponse`; developers.openai.com/api/docs/guides (reasoning, migrate-to-responses), 2026-11.
"""

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec
from msgspec import Raw

from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.core.chat import ChatParams, ChatRequest, ResponseFormat
from openrouter_gateway.errors import Refused
from openrouter_gateway.wire.protocols.openai_responses_input import to_input
from openrouter_gateway.wire.reasoning import effort_for, hides_reasoning, never_reasons
from openrouter_gateway.wire.reasoning_items import dicts_in

_PASSED: Final = (
    "temperature", "top_p", "parallel_tool_calls", "metadata", "prompt_cache_key", "prompt_cache_options",
    "prompt_cache_retention",
)  # fmt: skip
_LEAST_TOKENS: Final = 16
"""Fewer are a 400: "Expected a value >= 16" (github.com/earendil-works/pi/issues/6265, 2026-07)."""
_ENCRYPTED: Final = "reasoning.encrypted_content"
_LOGPROBS: Final = "message.output_text.logprobs"
_VERBOSITIES: Final = {"xhigh": "high", "max": "high"}

_HOSTED_TOOLS: Final = frozenset(
    {
        "web_search", "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11",
        "image_generation", "file_search", "code_interpreter",
    }
)  # fmt: skip
"""Tools that run at the provider, and whose outcome is in the text, its annotations or the images."""
_OWN_SEARCH: Final = "openrouter:web_search"
_IMAGES: Final = {"type": "image_generation"}

_decode = msgspec.json.Decoder().decode
Json = dict[str, Any]


def to_body(request: ChatRequest, endpoint: Endpoint) -> Json:
    """Return the body. The provider is never asked to store it.

    Raises:
        Refused: something that the API cannot do, or that is malformed.
    """
    params, fields = request.params, request.fields
    if (params.n or 1) > 1:
        raise Refused("n: this provider gives one answer to a request")
    body: Json = {"model": endpoint.upstream_id, "input": to_input(_decode(fields["messages"])), "store": False}
    body |= {key: fields[key] for key in _PASSED if _is_set(fields.get(key))}
    if (tier := endpoint.tier_field(params.service_tier)) is not None:
        body["service_tier"] = tier
    if params.stream:
        body["stream"] = True
    limit = params.max_completion_tokens or params.max_tokens
    if limit is not None:
        body["max_output_tokens"] = max(limit, _LEAST_TOKENS)
    if _is_set(fields.get("user")):
        body["safety_identifier"] = fields["user"]  # which replaces `user`; a hash of it by now
    _set_reasoning(body, request, endpoint)
    _set_text(body, params.response_format, fields.get("verbosity"))
    _set_tools(body, fields)
    _set_logprobs(body, params)
    return body


def _is_set(value: Raw | None) -> bool:
    return value is not None and bytes(value) != b"null"


def _read(fields: Mapping[str, Raw], key: str) -> Any:
    value = fields.get(key)
    return None if value is None else _decode(value)


def _set_reasoning(body: Json, request: ChatRequest, endpoint: Endpoint) -> None:
    """Ask for reasoning, and for what it takes to send it back.

    Not of endpoints that are known not to reason: "Encrypted content is not supported with this model"
    (github.com/pydantic/pydantic-ai/issues/2865, 2025-09).
    """
    if never_reasons(endpoint):
        return
    body["include"] = [_ENCRYPTED]
    reasoning = to_reasoning(request, endpoint)
    if reasoning:
        body["reasoning"] = reasoning


def to_reasoning(request: ChatRequest, endpoint: Endpoint) -> Json:
    """Return the API's `reasoning`.

    A summary is asked for only where the request speaks of reasoning: organizations that OpenAI has not verified are
    refused if they ask (github.com/openai/openai-cookbook/issues/2271, 2025-12).
    """
    asked: object = _read(request.fields, "reasoning")
    said: Json = cast("Json", asked) if isinstance(asked, dict) else {}
    made: Json = {key: said[key] for key in ("context", "mode") if said.get(key) is not None}
    effort = effort_for(request, endpoint)
    if effort is not None:
        made["effort"] = effort
    if effort == "none" or hides_reasoning(request):
        return made
    if said.get("summary") is not None:
        made["summary"] = said["summary"]
    elif isinstance(asked, dict) or _read(request.fields, "include_reasoning") is True:
        made["summary"] = "auto"
    return made


def _set_text(body: Json, form: ResponseFormat | None, verbosity: Raw | None) -> None:
    text: Json = {}
    if form is not None:
        text["format"] = _to_format(form)
    if _is_set(verbosity):
        asked = _decode(cast("Raw", verbosity))
        text["verbosity"] = _VERBOSITIES.get(asked, asked) if isinstance(asked, str) else asked
    if text:
        body["text"] = text


def _to_format(form: ResponseFormat) -> Json:
    match form.type:
        case "text" | "json_object":
            return {"type": form.type}
        case "json_schema" if form.json_schema is not None:
            schema = form.json_schema
            made: Json = {"type": "json_schema", "name": schema.name, "schema": schema.schema or {}}
            if schema.description is not None:
                made["description"] = schema.description
            if schema.strict is not None:
                made["strict"] = schema.strict
            return made
        case kind:
            raise Refused(f"response_format of type {kind!r} is not known to this provider")


def _set_tools(body: Json, fields: Mapping[str, Raw]) -> None:
    tools = [_to_tool(tool) for tool in _read(fields, "tools") or ()]
    search: object = _read(fields, "web_search_options")
    if isinstance(search, dict):
        tools.append(_to_search(cast("Json", search)))
    modalities: object = _read(fields, "modalities")
    wanted = cast("list[object]", modalities) if isinstance(modalities, list) else []
    if "audio" in wanted:
        raise Refused("modalities: this provider's API does not speak")
    if "image" in wanted and not any(tool["type"] == "image_generation" for tool in tools):
        tools.append(_IMAGES)
    if tools:
        body["tools"] = tools
    choice = _read(fields, "tool_choice")
    if choice is not None:
        body["tool_choice"] = choice if isinstance(choice, str) else _to_choice(choice)


def _to_tool(tool: Json) -> Json:
    kind = tool.get("type", "function")
    if kind == "function":
        function: Json = tool.get("function") or {}
        made: Json = {"type": "function", "name": function.get("name")}
        if function.get("description") is not None:
            made["description"] = function["description"]
        made["parameters"] = function.get("parameters") or {"type": "object", "properties": {}}
        # In this API functions are strict unless they say otherwise, in chat completions they are not.
        made["strict"] = function.get("strict") or False
        return made
    if kind in _HOSTED_TOOLS:
        return tool
    if kind == _OWN_SEARCH:
        return _to_search(tool.get("parameters") or {})
    raise Refused(f"tools of type {kind!r} are not known to this provider")


def _to_search(options: Json) -> Json:
    """Return the provider's own search, from what chat completions and OpenRouter's tool call its options."""
    tool: Json = {"type": "web_search"}
    if options.get("search_context_size") is not None:
        tool["search_context_size"] = options["search_context_size"]
    place: object = options.get("user_location")
    if isinstance(place, dict):
        place = cast("Json", place)
        inner: object = place.get("approximate")
        tool["user_location"] = {**cast("Json", inner), "type": "approximate"} if isinstance(inner, dict) else place
    if options.get("allowed_domains"):
        tool["filters"] = {"allowed_domains": options["allowed_domains"]}
    return tool


def _to_choice(choice: Json) -> Json:
    """Return a choice that is an object: one tool, or several that are allowed."""
    if choice.get("type") != "allowed_tools":
        return _to_choice_of_one(choice)
    inner: object = choice.get("allowed_tools")
    allowed = cast("Json", inner) if isinstance(inner, dict) else choice
    tools = [_to_choice_of_one(tool) for tool in dicts_in(allowed.get("tools"))]
    return {"type": "allowed_tools", "mode": allowed.get("mode", "auto"), "tools": tools}


def _to_choice_of_one(choice: Json) -> Json:
    kind: object = choice.get("type")
    if kind == "function":
        function: object = choice.get("function")
        named = cast("Json", function) if isinstance(function, dict) else choice
        return {"type": "function", "name": named.get("name")}
    if kind == _OWN_SEARCH:
        return {"type": "web_search"}
    if isinstance(kind, str) and kind in _HOSTED_TOOLS:
        return {"type": kind}
    raise Refused(f"tool_choice of type {kind!r} is not known to this provider")


def _set_logprobs(body: Json, params: ChatParams) -> None:
    if not params.logprobs:
        return
    body.setdefault("include", []).append(_LOGPROBS)
    if params.top_logprobs is not None:
        body["top_logprobs"] = params.top_logprobs
