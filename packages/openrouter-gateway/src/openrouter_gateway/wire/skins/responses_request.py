"""A request of the Responses API as a chat request.

What both APIs have under the same name travels on as the caller wrote it, and so does what this gateway does not know.
"""

from typing import Annotated, Any, Final, Literal, TypeAlias, cast

import msgspec
from msgspec import Meta, Struct

from openrouter_gateway.core.chat import ChatRequest, Positive
from openrouter_gateway.errors import BadRequest
from openrouter_gateway.wire.custom_tools import to_function
from openrouter_gateway.wire.reasoning_items import dicts_in
from openrouter_gateway.wire.skins import chat
from openrouter_gateway.wire.skins.responses_advice import advice_for_tool
from openrouter_gateway.wire.skins.responses_input import to_messages

Json: TypeAlias = dict[str, Any]

_FORMATS: Final = ("text", "json_object", "json_schema")


class _Text(Struct, frozen=True, kw_only=True):
    format: Json | None = None
    verbosity: str | None = None


class _Params(Struct, frozen=True, kw_only=True):
    """The fields that have another name or form in a chat, and those that ask for what a stateless API has not."""

    input: str | list[Json] | None = None
    instructions: str | None = None
    max_output_tokens: Positive | None = None
    tools: list[Json] | None = None
    tool_choice: str | Json | None = None
    text: _Text | None = None
    reasoning: Json | None = None
    include: list[str] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    store: bool | None = None
    background: bool | None = None
    previous_response_id: Any = None
    conversation: Any = None
    prompt: Any = None
    context_management: Any = None


_LOGPROBS: Final = "message.output_text.logprobs"
_REFUSED: Final = {
    "store": "responses are not stored here, it can only be false",
    "background": "responses are not made in the background here, it can only be false",
    "previous_response_id": "responses are not stored here, send the whole conversation in `input`",
    "conversation": "conversations are not stored here, send the whole of it in `input`",
    "prompt": "there are no stored prompts here, send `instructions` and `input`",
    "context_management": "is not supported, use the plugin context-compression",
}
_ECHOED: Final = (
    "background", "frequency_penalty", "instructions", "max_output_tokens", "max_tool_calls", "metadata",
    "parallel_tool_calls", "presence_penalty", "prompt_cache_key", "prompt_cache_options", "reasoning",
    "safety_identifier", "service_tier", "temperature", "text", "tool_choice", "tools", "top_logprobs", "top_p",
    "truncation", "user",
)  # fmt: skip
"""What a response repeats of its request."""
_ONLY_OF_CHAT: Final = frozenset(
    {
        "messages", "max_tokens", "max_completion_tokens", "n", "response_format", "verbosity", "logprobs",
        "functions", "function_call", "reasoning_effort", "include_reasoning", "web_search_options", "audio",
    }
)  # fmt: skip
"""Names that this API does not have: passed on, they would say what the caller has not been promised."""
_CONSUMED: Final = (frozenset(_Params.__struct_fields__) | _ONLY_OF_CHAT | {"stream_options"}) - {"user"}
_TOOLS: Final = frozenset(
    {
        "web_search", "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11",
        "image_generation",
    }
)  # fmt: skip
_OWN: Final = "openrouter:"

_decode_params = msgspec.json.Decoder(_Params).decode
_decode_value = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def parse(body: bytes) -> ChatRequest:
    """Read a request; its `echo` has what the response repeats.

    Raises:
        BadRequest: not a JSON object, a field of the wrong type or out of range, or one that asks for what this API
            does not do; the message names it.
    """
    params, fields = chat.read_body(body, _decode_params)
    for name, reason in _REFUSED.items():
        if getattr(params, name) not in (None, False):
            raise BadRequest(f"{name}: {reason}")
    if params.input is None:
        raise BadRequest("input: is missing")
    made: Json = {key: value for key, value in fields.items() if key not in _CONSUMED}
    made["messages"] = to_messages(params.input, params.instructions)
    made |= _settings(params)
    try:
        request = chat.parse(_encode(made))
    except RecursionError:
        raise BadRequest("The request body is nested too deeply") from None
    said = {key: chat.read(bytes(fields[key]), _decode_value) for key in _ECHOED if key in fields}
    return msgspec.structs.replace(request, echo={key: value for key, value in said.items() if value is not None})


def _settings(params: _Params) -> Json:
    made: Json = {}
    if params.max_output_tokens is not None:
        made["max_tokens"] = params.max_output_tokens  # the name that every server knows
    if params.user is None and params.safety_identifier is not None:
        made["user"] = params.safety_identifier
    if params.truncation == "auto":
        made["transforms"] = ["middle-out"]
    if params.reasoning is not None:
        made["reasoning"] = dict(params.reasoning)
        if (summary := made["reasoning"].pop("generate_summary", None)) is not None:  # its older name
            made["reasoning"].setdefault("summary", summary)
    if params.top_logprobs is not None or _LOGPROBS in (params.include or ()):
        made |= {"logprobs": True, "top_logprobs": params.top_logprobs or 0}
    return made | _text_settings(params.text or _Text()) | _tool_settings(params)


def _text_settings(text: _Text) -> Json:
    made: Json = {}
    if text.format is not None and text.format.get("type") != "text":
        made["response_format"] = _to_format(text.format)
    if text.verbosity is not None:
        made["verbosity"] = text.verbosity
    return made


def _tool_settings(params: _Params) -> Json:
    made: Json = {}
    tools, choice = params.tools, params.tool_choice
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        tools, choice = _allowed(choice, tools or [])
    if tools:
        made["tools"] = [_to_tool(tool, f"tools[{position}]") for position, tool in enumerate(tools)]
    if choice is not None:
        made["tool_choice"] = choice if isinstance(choice, str) else _to_choice(choice)
    return made


def _to_format(form: Json) -> Json:
    kind = form.get("type")
    if kind not in _FORMATS:
        raise BadRequest(f"text.format.type: {kind!r} is none of {', '.join(_FORMATS)}")
    if kind != "json_schema":
        return {"type": kind}
    if not isinstance(form.get("name"), str):
        raise BadRequest("text.format.name: is missing")
    return {"type": "json_schema", "json_schema": {key: value for key, value in form.items() if key != "type"}}


def _to_tool(tool: Json, path: str) -> Json:
    kind = tool.get("type")
    if kind == "function":
        if not isinstance(tool.get("name"), str):
            raise BadRequest(f"{path}.name: is missing")
        names = ("name", "description", "parameters", "strict")
        return {"type": kind, "function": {key: tool[key] for key in names if tool.get(key) is not None}}
    if kind == "custom":
        return to_function(tool, path)
    if isinstance(kind, str) and (kind in _TOOLS or kind.startswith(_OWN)):
        return tool
    raise BadRequest(f"{path}.type: tools of type {kind!r} are not supported: {advice_for_tool(kind)}")


def _to_choice(choice: Json) -> Json:
    kind = choice.get("type")
    if kind in ("function", "custom"):
        if not isinstance(choice.get("name"), str):
            raise BadRequest("tool_choice.name: is missing")
        return {"type": "function", "function": {"name": choice["name"]}}
    if isinstance(kind, str) and (kind in _TOOLS or kind.startswith(_OWN)):
        return {"type": kind}
    raise BadRequest(f"tool_choice.type: {kind!r} is not supported: {advice_for_tool(kind)}")


def _allowed(choice: Json, tools: list[Json]) -> tuple[list[Json], str]:
    """Return the tools that a choice allows, and what it is then: a choice that every provider knows."""
    mode = choice.get("mode", "auto")
    if mode not in ("auto", "required"):
        raise BadRequest(f"tool_choice.mode: {mode!r} is not auto or required")
    wanted = [(tool.get("type"), tool.get("name")) for tool in dicts_in(choice.get("tools"))]
    allowed = [tool for tool in tools if (tool.get("type"), tool.get("name")) in wanted]
    if not allowed:
        raise BadRequest("tool_choice.tools: none of them is among the `tools`")
    return allowed, cast("str", mode)
