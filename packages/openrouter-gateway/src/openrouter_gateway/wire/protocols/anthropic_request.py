"""A request of the hub as the body of a request to Anthropic's Messages API.

Sources: platform.claude.com/docs/en/api/messages, .../build-with-claude/{structured-outputs,prompt-caching},
.../agents-and-tools/tool-use/define-tools, .../api/service-tiers (2026-11); OpenRouter API, chat completions, tools
and prompt caching (2026-08-22).
"""

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.core.chat import ChatParams, ChatRequest
from openrouter_gateway.errors import Refused
from openrouter_gateway.wire.anthropic import Verbatim, verbatim_of
from openrouter_gateway.wire.protocols.anthropic_caching import keep_last_marks, mark_end
from openrouter_gateway.wire.protocols.anthropic_messages import to_conversation
from openrouter_gateway.wire.protocols.anthropic_models import Abilities, abilities_of, fit_effort
from openrouter_gateway.wire.protocols.anthropic_schema import narrow_schema
from openrouter_gateway.wire.protocols.anthropic_thinking import (
    goes_on_unthought,
    is_thinking,
    plan_thinking,
    takes_thinking,
)
from openrouter_gateway.wire.protocols.anthropic_tools import to_server_tool, to_tool_choice, to_tools
from openrouter_gateway.wire.protocols.anthropic_verbatim import own_conversation

DEFAULT_MAX_TOKENS: Final = 4_096
"""The API wants a number; where the request has none and the endpoint's own limit is not known, it is this."""

_HUB_FIELDS: Final = frozenset(
    {
        *ChatParams.__struct_fields__, "prompt", "stream_options", "logit_bias", "prediction", "modalities", "audio",
        "image_config", "reasoning", "reasoning_effort", "include_reasoning", "verbosity", "web_search_options",
        "x_search_filter", "plugins", "preset", "metadata", "cache_control", "prompt_cache_options", "max_tool_calls",
        "stop_server_tools_when", "debug", "transforms", "usage", "structured_outputs", "functions", "function_call",
        "store", "safety_identifier", "thinking", "output_config", "speed",
    }
)  # fmt: skip
"""Fields of OpenRouter's dialect: translated or, where this API has nothing for them, left out. Others travel on."""

_GATEWAY_FIELDS: Final = frozenset(
    {
        "model", "models", "fallbacks", "provider", "plugins", "route", "session_id", "trace", "user", "speed",
        "stop_server_tools_when", "debug", "preset", "transforms", "usage", "service_tier", "metadata", "max_tokens",
    }
)  # fmt: skip
"""Fields of a request in Anthropic's dialect that are OpenRouter's, or are translated in any case."""

_TIERS: Final = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}
_GATEWAY_TOOL: Final = b'"openrouter:'
_JSON_NOTE: Final = "Answer with one JSON object and nothing else."

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_decode_messages = msgspec.json.Decoder(list[dict[str, Any]]).decode


def encode_body(request: ChatRequest, endpoint: Endpoint) -> bytes:
    """Return the request's body.

    Raises:
        Refused: something that the API has no form for, named by its place.
    """
    try:
        return _encode(_build_body(request, endpoint))
    except msgspec.DecodeError as error:
        raise Refused(f"the request cannot be read: {error}") from None
    except RecursionError:
        raise Refused("the request is nested too deeply") from None


def _build_body(request: ChatRequest, endpoint: Endpoint) -> dict[str, Any]:
    params = request.params
    abilities = abilities_of(endpoint.upstream_id, endpoint.model_id)
    limit = endpoint.max_completion_tokens
    body: dict[str, Any] = {"model": endpoint.upstream_id}
    body["max_tokens"] = params.max_completion_tokens or params.max_tokens or limit or DEFAULT_MAX_TOKENS
    verbatim = verbatim_of(request)
    if verbatim is None:
        _translate(body, request, abilities)
    else:
        _adopt(body, verbatim, abilities)
    forced = _type_of(body.get("tool_choice")) in ("any", "tool")
    unthought = (verbatim is None or verbatim.foreign) and goes_on_unthought(body["messages"])
    config = _mapping(body.get("thinking"))
    if unthought and config is not None and config.get("type") == "enabled":
        body["thinking"] = config = None
    elif verbatim is None if config is None else not takes_thinking(config, abilities):
        barred = forced or unthought
        thinking = plan_thinking(request.fields, abilities, max_tokens=body["max_tokens"], limit=limit, barred=barred)
        body["thinking"] = config = thinking.config
        body["max_tokens"] = thinking.max_tokens
        if thinking.effort is not None:
            body.setdefault("output_config", {}).setdefault("effort", thinking.effort)
    _fit_effort(body, abilities)
    _sample(body, params, abilities, thinks=is_thinking(config, abilities))
    if params.stream:
        body["stream"] = True
    if "user" in request.fields and params.user:
        body["metadata"] = {"user_id": request.fields["user"]}
    _choose_tier(body, params, endpoint)
    return {key: value for key, value in body.items() if value is not None}


def _adopt(body: dict[str, Any], verbatim: Verbatim, abilities: Abilities) -> None:
    """Take what the caller wrote in this dialect, but for what is OpenRouter's and what the model would refuse."""
    own = {key: value for key, value in verbatim.fields.items() if key not in _GATEWAY_FIELDS}
    body.update({key: value for key, value in own.items() if bytes(value) != b"null"})
    body.update(own_conversation(verbatim, abilities))
    if "tools" in own and _GATEWAY_TOOL in bytes(own["tools"]):
        tools = enumerate(_decode_messages(own["tools"]))
        body["tools"] = [to_server_tool(tool, f"tools[{place}]") for place, tool in tools]
    for key in ("thinking", "output_config", "tool_choice"):
        if key in body:
            body[key] = _decode(body[key])


def _translate(body: dict[str, Any], request: ChatRequest, abilities: Abilities) -> None:
    params, fields = request.params, request.fields
    if (params.n or 1) > 1:
        raise Refused("n: this provider gives one answer to a request")
    body.update({key: value for key, value in fields.items() if key not in _HUB_FIELDS})
    for key in ("thinking", "output_config"):  # the API's own fields, as OpenRouter takes them in this dialect too
        if key in fields and (found := _mapping(_decode(fields[key]))) is not None:
            body[key] = found
    conversation = to_conversation(_decode_messages(fields["messages"]))
    tools = to_tools(request) if params.tools else []
    if params.response_format is not None:
        _format(body, conversation.system, params, abilities)
    mark = _mapping(_decode(fields["cache_control"])) if "cache_control" in fields else None
    if mark is not None:
        mark_end(conversation, tools, mark)
    keep_last_marks(conversation, tools)
    body["messages"] = conversation.turns
    if conversation.system:
        body["system"] = conversation.system
    if tools:
        body["tools"] = tools
        body["tool_choice"] = to_tool_choice(params)
    stops = [params.stop] if isinstance(params.stop, str) else params.stop or []
    if kept := [stop for stop in stops if stop.strip()]:  # the API refuses blank ones
        body["stop_sequences"] = kept


def _format(body: dict[str, Any], system: list[dict[str, Any]], params: ChatParams, abilities: Abilities) -> None:
    """A schema is a field of the API, a bare JSON mode is not: it is said in words."""
    wanted = params.response_format
    if wanted is None:
        return
    schema = wanted.json_schema.schema if wanted.json_schema is not None else None
    if wanted.type == "json_schema" and schema is not None:
        if abilities.formats:
            config = body.setdefault("output_config", {})
            config.setdefault("format", {"type": "json_schema", "schema": narrow_schema(schema)})
    elif wanted.type in ("json_object", "json_schema"):
        system.append({"type": "text", "text": _JSON_NOTE})
    elif wanted.type != "text":
        raise Refused(f"response_format of type {wanted.type!r} is not known to this provider")


def _fit_effort(body: dict[str, Any], abilities: Abilities) -> None:
    config = _mapping(body.get("output_config"))
    if config is None:
        return
    effort = config.get("effort")
    if abilities.known and isinstance(effort, str):
        config = {key: value for key, value in config.items() if key != "effort"}
        if (fitted := fit_effort(effort, abilities)) is not None:
            config["effort"] = fitted
    body["output_config"] = config or None


def _sample(body: dict[str, Any], params: ChatParams, abilities: Abilities, *, thinks: bool) -> None:
    """Leave out what the API would refuse: OpenRouter drops parameters that a model does not take.

    While a model thinks, `temperature` and `top_k` are not taken, and `top_p` from 0.95 on
    (platform.claude.com/docs/en/build-with-claude/extended-thinking, 2026-11).
    """
    temperature, top_p, top_k = params.temperature, params.top_p, params.top_k
    if not abilities.sampling:
        temperature = top_p = top_k = None
    elif thinks:
        temperature = top_k = None
        top_p = top_p if top_p is not None and top_p >= 0.95 else None
    if temperature is not None and abilities.one_sampler:
        top_p = None
    body["temperature"] = None if temperature is None else min(temperature, 1.0)
    body["top_p"] = top_p
    body["top_k"] = top_k or None


def _choose_tier(body: dict[str, Any], params: ChatParams, endpoint: Endpoint) -> None:
    """An endpoint that is priced as priority is Anthropic's fast mode (OpenRouter API, service tiers, 2026-08-22)."""
    if endpoint.service_tier == "priority":
        body["speed"] = "fast"
    elif params.service_tier in _TIERS:
        body["service_tier"] = _TIERS[params.service_tier]


def _mapping(value: object) -> dict[str, Any] | None:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _type_of(value: object) -> object:
    return cast("Mapping[str, object]", value).get("type") if isinstance(value, dict) else None
