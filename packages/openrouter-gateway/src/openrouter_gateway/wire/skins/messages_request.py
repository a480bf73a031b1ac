"""A request in Anthropic's dialect, with OpenRouter's additions, as a request of the hub.

The caller's own fields are kept beside it (`wire/anthropic.Verbatim`): a provider of the same dialect gets those.
Source: OpenRouter API, Anthropic messages, 2026-08-22.
"""

from typing import Annotated, Any, Final, Literal, cast

import msgspec
from msgspec import Meta, Raw, Struct

from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.errors import BadRequest
from openrouter_gateway.wire.anthropic import ECHO, Verbatim, is_foreign
from openrouter_gateway.wire.skins import chat
from openrouter_gateway.wire.skins.messages_blocks import text_of, to_call, to_detail, to_parts

_MOST_FALLBACKS: Final = 3

_PASSED: Final = (
    "model", "models", "provider", "plugins", "route", "session_id", "trace", "stream", "temperature", "top_p", "top_k",
    "max_tokens", "cache_control", "stop_server_tools_when", "max_tool_calls", "debug", "preset", "transforms",
    "service_tier",
)  # fmt: skip
"""Fields that are the hub's as they are."""


_WEB_SEARCH: Final = {
    "max_uses": "max_uses",
    "allowed_domains": "allowed_domains",
    "blocked_domains": "excluded_domains",
    "user_location": "user_location",
}


class _Turn(Struct, frozen=True, kw_only=True):
    role: Literal["user", "assistant", "system"]
    content: str | list[dict[str, Any]]


class _ToolChoice(Struct, frozen=True, kw_only=True):
    type: Literal["auto", "any", "none", "tool"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class _Thinking(Struct, frozen=True, kw_only=True):
    type: str
    budget_tokens: int | None = None
    display: str | None = None


class _Format(Struct, frozen=True, kw_only=True):
    type: str
    schema: dict[str, Any] | None = None


class _OutputConfig(Struct, frozen=True, kw_only=True):
    effort: str | None = None
    format: _Format | None = None


class _Metadata(Struct, frozen=True, kw_only=True):
    user_id: str | None = None


class _Fallback(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    model: str


class _Params(Struct, frozen=True, kw_only=True):
    """What is translated or checked here; the chat skin checks the rest."""

    messages: Annotated[list[_Turn], Meta(min_length=1)]
    models: list[str] | None = None
    system: str | list[dict[str, Any]] | None = None
    stop_sequences: list[str] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: _ToolChoice | None = None
    thinking: _Thinking | None = None
    output_config: _OutputConfig | None = None
    output_format: _Format | None = None
    metadata: _Metadata | None = None
    fallbacks: Annotated[list[_Fallback], Meta(max_length=_MOST_FALLBACKS)] | None = None
    service_tier: str | None = None
    speed: Literal["fast", "standard"] | None = None
    user: Annotated[str, Meta(max_length=256)] | None = None


_decode_params = msgspec.json.Decoder(_Params).decode
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode


def parse(body: bytes) -> ChatRequest:
    """Read a request.

    Raises:
        BadRequest: not a JSON object, or a field of the wrong type or out of range; the message names it.
    """
    try:
        if not body.isascii():
            body.decode()  # fields that travel on undecoded are not looked into below
        params, fields = _decode_params(body), _decode_fields(body)
        translation = _Conversation()
        translation.add_all(params)
        request = chat.parse(_encode(_to_hub(params, fields, translation.messages)))
    except msgspec.ValidationError as error:
        raise BadRequest(_explain(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"The request body is not valid JSON: {error}") from None
    except RecursionError:
        raise BadRequest("The request body is nested too deeply") from None
    verbatim = Verbatim(
        fields=fields,
        messages=request.fields["messages"],
        tools=request.fields.get("tools"),
        foreign=translation.foreign,
        turns=any(turn.role == "system" for turn in params.messages),
    )
    return msgspec.structs.replace(request, echo={ECHO: verbatim})


def _explain(problem: str) -> str:
    """Name the field the way the caller wrote it."""
    reason, _, path = problem.partition(" - at `$")
    field = path.rstrip("`").lstrip(".")
    return f"{field}: {reason}" if field else reason


def _to_hub(params: _Params, fields: dict[str, Raw], messages: list[dict[str, Any]]) -> dict[str, Any]:
    hub: dict[str, Any] = {key: fields[key] for key in _PASSED if key in fields}
    hub["messages"] = messages
    if params.fallbacks:
        if params.models:
            raise BadRequest("fallbacks: cannot be combined with `models`")
        hub["models"] = [fallback.model for fallback in params.fallbacks]
    if params.stop_sequences:
        hub["stop"] = params.stop_sequences
    if params.tools:
        hub["tools"] = [_to_tool(tool, f"tools[{place}]") for place, tool in enumerate(params.tools)]
    if params.tool_choice is not None:
        hub |= _to_tool_choice(params.tool_choice)
    if (reasoning := _to_reasoning(params)) is not None:
        hub["reasoning"] = reasoning
    format_ = (params.output_config.format if params.output_config else None) or params.output_format
    if format_ is not None and format_.schema is not None:
        schema = {"name": "answer", "schema": format_.schema, "strict": True}
        hub["response_format"] = {"type": "json_schema", "json_schema": schema}
    user = params.user or (params.metadata.user_id if params.metadata else None)
    if user:
        hub["user"] = user
    if params.service_tier == "standard_only":
        hub["service_tier"] = "default"
    if params.speed == "fast" and params.service_tier is None:
        hub["service_tier"] = "priority"
    return hub


def _to_tool(tool: dict[str, Any], where: str) -> dict[str, Any]:
    kind = tool.get("type")
    if isinstance(kind, str) and kind != "custom":
        if kind.startswith("web_search_"):
            settings = {name: tool[key] for key, name in _WEB_SEARCH.items() if tool.get(key) is not None}
            return {"type": "openrouter:web_search", "parameters": settings}
        return tool
    function: dict[str, Any] = {"name": text_of(tool, "name", where)}
    schema = tool.get("input_schema")
    if not isinstance(schema, dict):
        raise BadRequest(f"{where}.input_schema: Expected `object`")
    if isinstance(tool.get("description"), str):
        function["description"] = tool["description"]
    function["parameters"] = cast("dict[str, Any]", schema)
    if isinstance(tool.get("strict"), bool):
        function["strict"] = tool["strict"]
    entry: dict[str, Any] = {"type": "function", "function": function}
    if isinstance(tool.get("cache_control"), dict):
        entry["cache_control"] = tool["cache_control"]
    return entry


def _to_tool_choice(choice: _ToolChoice) -> dict[str, Any]:
    hub: dict[str, Any] = {}
    if choice.type == "tool":
        if choice.name is None:
            raise BadRequest("tool_choice.name: missing")
        hub["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
    else:
        hub["tool_choice"] = "required" if choice.type == "any" else choice.type
    if choice.disable_parallel_tool_use:
        hub["parallel_tool_calls"] = False
    return hub


def _to_reasoning(params: _Params) -> dict[str, Any] | None:
    thinking = params.thinking
    effort = params.output_config.effort if params.output_config else None
    if thinking is None:
        return {"effort": effort} if effort else None
    if thinking.type in ("disabled", "between_tools"):
        return {"enabled": False}
    hidden = {"exclude": True} if thinking.display == "omitted" else {}
    if thinking.type == "enabled" and thinking.budget_tokens is not None:
        return {"max_tokens": thinking.budget_tokens, **hidden}
    return {"enabled": True, **({"effort": effort} if effort else {}), **hidden}


class _Conversation:
    """The hub's messages, in the making."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.foreign = False

    def add_all(self, params: _Params) -> None:
        """Add the system prompt, then every turn."""
        if params.system:
            self._add("system", to_parts(params.system, "system"))
        for place, turn in enumerate(params.messages):
            where = f"messages[{place}].content"
            content = turn.content
            if isinstance(content, str):
                self._add(turn.role, content)
            elif turn.role == "assistant":
                self._add_assistant(content, where)
            elif turn.role == "user":
                self._add_user(content, where)
            else:
                texts = [block for block in content if block.get("type") == "text"]
                if texts:
                    self._add("system", to_parts(texts, where))

    def _add(self, role: str, content: str | list[dict[str, Any]]) -> None:
        self.messages.append({"role": role, "content": content})

    def _add_user(self, blocks: list[dict[str, Any]], where: str) -> None:
        """Results of tools are messages of their own, before what the user says besides."""
        rest: list[dict[str, Any]] = []
        for place, block in enumerate(blocks):
            if block.get("type") != "tool_result":
                rest.append(block)
                continue
            here = f"{where}[{place}]"
            content = block.get("content")
            if content is not None and not isinstance(content, str | list):
                raise BadRequest(f"{here}.content: Expected `str | array`")
            parts = to_parts(cast("str | list[dict[str, Any]]", content or ""), f"{here}.content")
            call_id = text_of(block, "tool_use_id", here)
            result = {"role": "tool", "tool_call_id": call_id, "content": parts}
            self.messages.append(result | ({"is_error": True} if block.get("is_error") is True else {}))
        if rest or not blocks:
            self._add("user", to_parts(rest, where))

    def _add_assistant(self, blocks: list[dict[str, Any]], where: str) -> None:
        """Blocks of tools that ran at Anthropic are left out: no other provider has a form for them."""
        texts: list[dict[str, Any]] = []
        details: list[dict[str, Any]] = []
        calls: list[dict[str, Any]] = []
        for place, block in enumerate(blocks):
            here = f"{where}[{place}]"
            match text_of(block, "type", here):
                case "text":
                    texts.append(block)
                case "thinking" | "redacted_thinking":
                    self.foreign = self.foreign or is_foreign(block)
                    if (detail := to_detail(block, len(details), here)) is not None:
                        details.append(detail)
                case "tool_use":
                    calls.append(to_call(block, here))
                case _:
                    pass
        content = to_parts(texts, where)
        if isinstance(content, list) and not any("cache_control" in part for part in content):
            content = "".join(part["text"] for part in content)
        message: dict[str, Any] = {"role": "assistant", "content": content or None}
        if calls:
            message["tool_calls"] = calls
        if details:
            message["reasoning_details"] = details
        self.messages.append(message)
