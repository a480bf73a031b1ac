"""The body of `generateContent` and `streamGenerateContent`: Google AI, API reference, generate-content (2026-11).

What the API has no word for stays here: `repetition_penalty`, `min_p`, `top_a`, `logit_bias`, `parallel_tool_calls`
and `cache_control`. Caching is implicit; explicit caches are resources that have to be made first (`cachedContents`),
and the newest models have none.
"""

import re
from typing import Any, Final

import msgspec

from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.core.chat import ChatParams, ChatRequest, FunctionTool, NamedToolChoice
from openrouter_gateway.errors import Refused
from openrouter_gateway.wire.protocols.gemini_contents import to_contents
from openrouter_gateway.wire.protocols.gemini_schema import to_google_schema
from openrouter_gateway.wire.protocols.gemini_thinking import can_think, model_name, thinking_config

_OLD_MODELS: Final = re.compile(r"gemini-(pro$|(flash|pro)-1\.5|1|2)|gemma|learnlm")
_NO_SYSTEM: Final = re.compile(r"gemma-[123]")
"""Models before Gemini 3, and those that answer 400 to a system instruction: Gemma had no such role before its fourth
version (ai.google.dev/gemma/docs/core/prompt-structure, 2026-11)."""

_SEED_BITS: Final = 0x7FFF_FFFF  # `seed` is an int32 in the API's definition
_IMAGE_FIELDS: Final = {"aspect_ratio": "aspectRatio", "image_size": "imageSize"}
_IMAGE_SIZES: Final = {"0.5K": "512"}
"""Sizes by their name in OpenRouter's API, where Google's is another (image generation, 2026-11)."""


class _Extras(msgspec.Struct, frozen=True, kw_only=True):
    """Fields of the request that the core does not read."""

    modalities: list[str] | None = None
    image_config: dict[str, Any] | None = None
    audio: dict[str, Any] | None = None


_EXTRA_FIELDS: Final = _Extras.__struct_fields__
_decode_extras = msgspec.json.Decoder(_Extras).decode
_encode = msgspec.json.Encoder().encode


def to_body(request: ChatRequest, endpoint: Endpoint) -> dict[str, Any]:
    """Return the request's body, ready to be encoded.

    Raises:
        Refused: something that the API cannot do, and that must not be passed over in silence.
    """
    params = request.params
    name = model_name(endpoint)
    contents = to_contents(
        request,
        is_3_or_later=_OLD_MODELS.match(name) is None,
        takes_system=_NO_SYSTEM.match(name) is None,
        takes_thoughts=can_think(name),
    )
    body: dict[str, Any] = {"contents": contents.turns}
    if contents.system:
        body["systemInstruction"] = {"parts": contents.system}
    tools = _functions(params)
    if tools:
        body["tools"] = [{"functionDeclarations": [_to_declaration(tool) for tool in tools]}]
    calling = _calling_config(params, tools)
    if calling is not None:
        body["toolConfig"] = {"functionCallingConfig": calling}
    config = _sampling(params) | _answer_format(params) | _output_kinds(request)
    thinking = thinking_config(request, endpoint)
    if thinking is not None:
        config["thinkingConfig"] = thinking
    if config:
        body["generationConfig"] = config
    if endpoint.service_tier is not None:
        body["serviceTier"] = endpoint.service_tier
    return body


def _functions(params: ChatParams) -> list[FunctionTool]:
    """Return the tools; those that somebody else than the caller would have to run are not to be passed over."""
    for place, tool in enumerate(params.tools or ()):
        if tool.function is None:
            raise Refused(f"tools[{place}]: `{tool.type}` cannot be run at this provider")
    return [tool.function for tool in params.tools or () if tool.function is not None]


def _to_declaration(tool: FunctionTool) -> dict[str, Any]:
    declaration: dict[str, Any] = {"name": tool.name}
    if tool.description:
        declaration["description"] = tool.description
    if tool.parameters is not None:
        # The schema must describe an object (`FunctionDeclaration.parametersJsonSchema`).
        declaration["parametersJsonSchema"] = {"type": "object", **to_google_schema(tool.parameters)}
    return declaration


def _calling_config(params: ChatParams, tools: list[FunctionTool]) -> dict[str, Any] | None:
    """Return the mode of calling. Without declarations the API refuses any."""
    match params.tool_choice:
        case None | "auto":
            # VALIDATED is AUTO with calls that are held to their schema: what `strict` asks for.
            return {"mode": "VALIDATED"} if tools and all(tool.strict for tool in tools) else None
        case "none":
            return {"mode": "NONE"} if tools else None
        case "required":
            if not tools:
                raise Refused("tool_choice is 'required' and there are no tools")
            return {"mode": "ANY"}
        case NamedToolChoice(function=function) if function is not None:
            if all(tool.name != function.name for tool in tools):
                raise Refused(f"tool_choice names {function.name!r}, which is not among the tools")
            return {"mode": "ANY", "allowedFunctionNames": [function.name]}
        case other:
            raise Refused(f"tool_choice {other!r} is not known to this provider")


def _sampling(params: ChatParams) -> dict[str, Any]:
    stops = [params.stop] if isinstance(params.stop, str) else params.stop or []
    seed = params.seed
    if seed is not None and not -_SEED_BITS <= seed <= _SEED_BITS:
        seed &= _SEED_BITS
    config: dict[str, Any] = {
        "maxOutputTokens": params.max_completion_tokens or params.max_tokens,
        "temperature": params.temperature,
        "topP": params.top_p,
        "topK": params.top_k or None,  # 0 turns it off, as does leaving it out
        "presencePenalty": params.presence_penalty,
        "frequencyPenalty": params.frequency_penalty,
        "seed": seed,
        "stopSequences": [stop for stop in stops if stop] or None,
        "candidateCount": params.n if params.n != 1 else None,
    }
    if params.logprobs:
        config |= {"responseLogprobs": True, "logprobs": params.top_logprobs or None}
    return {key: value for key, value in config.items() if value is not None}


def _answer_format(params: ChatParams) -> dict[str, Any]:
    form = params.response_format
    if form is None or form.type == "text":
        return {}
    config: dict[str, Any] = {"responseMimeType": "application/json"}
    if form.type == "json_object":
        return config
    if form.type == "json_schema" and form.json_schema is not None:
        if form.json_schema.schema is not None:
            config["responseJsonSchema"] = to_google_schema(form.json_schema.schema)
        return config
    raise Refused(f"the response format {form.type!r} is not known to this provider")


def _output_kinds(request: ChatRequest) -> dict[str, Any]:
    """Return the settings of what the answer may hold besides text."""
    held = {key: request.fields[key] for key in _EXTRA_FIELDS if key in request.fields}
    if not held:
        return {}
    try:
        extras = _decode_extras(_encode(held))
    except msgspec.ValidationError as error:
        raise Refused(f"modalities, image_config or audio: {error}") from None
    config: dict[str, Any] = {}
    if extras.modalities:
        config["responseModalities"] = [kind.upper() for kind in extras.modalities]
    given = extras.image_config or {}
    image = {name: given[key] for key, name in _IMAGE_FIELDS.items() if given.get(key) is not None}
    if image:
        if "imageSize" in image:
            image["imageSize"] = _IMAGE_SIZES.get(str(image["imageSize"]), image["imageSize"])
        config["imageConfig"] = image
    voice = (extras.audio or {}).get("voice")
    if voice:
        config["speechConfig"] = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": voice}}}
    return config
