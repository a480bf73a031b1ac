"""The `local` protocol: llama.cpp's server with a model whose chat template knows nothing of tools.

The wire is the `openai` protocol's and its code is reused; this file adds what the embedded model lacks. Tools are
described in the prompt and a grammar decides what the model can write, so a call always parses:

| request | what the model can write |
|---|---|
| `tool_choice` required or a name | one call: `{"name": ..., "arguments": {...}}`, the arguments after their schema |
| `auto`, no answer format | one such call, or text that does not start with `{` |
| `auto`, `response_format` JSON | one such call, or a JSON answer after its schema |
| `auto` after tool results, `none`, no tools | text, or JSON after its schema; tools are not offered |

The last row lets agents end: SmolLM2-135M, shown its own call, the result and the request to answer in plain text,
repeats the call in 4 of 5 conversations (measured 2026-11-23). So a user's turn gets one round of tools.

llama.cpp's own converter turns JSON Schema into a grammar where the whole reply is JSON. Where it may be text, too,
`Grammar` below does: structure, types, enumerations, lengths and common formats, but no `pattern`.
Small models loop in unbounded strings and lists, so those get a bound where the caller gave none (`Bounds`), and a
reply gets at most `DEFAULT_MAX_TOKENS` tokens unless the request says otherwise.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

import msgspec
from msgspec import Raw

from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.core.chat import ChatParams, ChatRequest, FunctionTool, Message, NamedToolChoice, ToolCall
from openrouter_gateway.errors import Refused, UpstreamError
from openrouter_gateway.wire.failed_results import say_failure
from openrouter_gateway.wire.gbnf import ARGUMENT_BOUNDS, Bounds, Grammar, bounded_schema
from openrouter_gateway.wire.protocols.base import Address, Decoder
from openrouter_gateway.wire.protocols.local_calls import CallDecoder, ReplyPlan, Trimmer
from openrouter_gateway.wire.protocols.openai import OpenAI

DEFAULT_MAX_TOKENS: Final = 512
"""Tokens of a reply when the request sets no limit: a small model that loops would fill its whole context."""

_TOOL_TEMPERATURE: Final = 0.2
"""Where tools are offered and the request sets none: the right choice in 42 of 52 cases, as at 0; at llama.cpp's own
default of 0.8 in 38 (measured 2026-11-23)."""

_PASSED: Final = frozenset(
    {
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "frequency_penalty",
        "presence_penalty",
        "seed",
        "n",
        "logprobs",
        "top_logprobs",
        "logit_bias",
        "stream",
    }
)
"""Fields that travel on. Nothing else does: llama.cpp has dozens of its own (`n_predict`, `grammar`, `samplers`,
`n_probs`) that would undo limits, and they are not part of the API."""

_MOST_TOKENS: Final = 2**31 - 1  # llama.cpp counts in 32 bits

_TOOL_RULES: Final = (
    "When a tool can do what the user asks, reply with a JSON call of that tool. Otherwise answer in plain text.\n"
    "Tools:\n"
)
_DEFAULT_SYSTEM: Final = "You are a helpful assistant."
# A conversation before the real one. Without examples SmolLM2-135M called a tool in 0 to 3 of 16 cases where it
# should, with these in 14 of 16. Over all 52 cases of the measurement, half of them for tools, it calls when it should
# in 23 of 26 and answers in text when it should in 19 of 26 (measured 2026-11-23). Which examples there are, how many
# and in which order matters more than any instruction.
_EXAMPLE_TOOLS: Final = "get_price(item): Get the price of an item\nfind_flight(destination): Find a flight\n"
_EXAMPLES: Final = (
    ("Why do cats purr?", "Cats purr when they are relaxed. The sound comes from small muscles in the throat."),
    ("What is the price of gold?", '{"name": "get_price", "arguments": {"item": "gold"}}'),
    ("Good morning!", "Good morning! How can I help you today?"),
    ("Find a flight to Rome", '{"name": "find_flight", "arguments": {"destination": "Rome"}}'),
    ("Who wrote Hamlet?", "Hamlet was written by William Shakespeare."),
    ("How much is a ticket to the zoo?", '{"name": "get_price", "arguments": {"item": "ticket to the zoo"}}'),
)
_CALL_IN_WORDS: Final = "Let me look that up."

_encode = msgspec.json.Encoder().encode

# llama.cpp refuses repetitions of 2,000 and more.
_ANSWER_BOUNDS: Final = Bounds(max_length=1_000, max_items=16)


class Local:
    """The protocol's functions; see `base.Protocol`."""

    def __init__(self) -> None:
        self._openai = OpenAI()

    def chat_address(self, request: ChatRequest, endpoint: Endpoint) -> Address:
        """As llama.cpp's server has it."""
        return self._openai.chat_address(request, endpoint)

    def auth_headers(self, key: str) -> dict[str, str]:
        """Bearer token."""
        return self._openai.auth_headers(key)

    def encode_chat(self, request: ChatRequest, endpoint: Endpoint) -> bytes:
        """Rewrite messages, tools and format for llama.cpp; sampling fields travel on untouched, others stay here.

        Raises:
            Refused: content that is not text, or a contradiction between `tools` and `tool_choice`.
        """
        params = request.params
        plan = plan_reply(params)
        fields = {key: value for key, value in request.fields.items() if key in _PASSED and bytes(value) != b"null"}
        fields["messages"] = Raw(_encode(to_prompt(params.messages, plan, name_parts=endpoint.stands_in)))
        asked = params.max_completion_tokens or params.max_tokens or DEFAULT_MAX_TOKENS
        fields["max_tokens"] = Raw(_encode(min(asked, endpoint.context_length or _MOST_TOKENS)))
        if params.repetition_penalty is not None:
            fields["repeat_penalty"] = Raw(_encode(params.repetition_penalty))
        if plan.tools and "temperature" not in fields:
            fields["temperature"] = Raw(_encode(_TOOL_TEMPERATURE))
        if plan.may_be_text and (stops := _stops_of(params)):  # within JSON they would cut it in two
            fields["stop"] = Raw(_encode(stops))
        try:
            constraint = _constraint(plan)
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise Refused("a JSON Schema in the request is malformed, or refers to itself without end") from error
        fields |= {key: Raw(_encode(value)) for key, value in constraint.items()}
        return self._openai.encode_chat(ChatRequest(params=params, fields=fields), endpoint)

    def chat_decoder(self, request: ChatRequest, content_type: str) -> Decoder:
        """Return the `openai` decoder, with an eye on calls when tools were offered."""
        decoder = Trimmer(self._openai.chat_decoder(request, content_type))
        plan = plan_reply(request.params)
        if not plan.tools:
            return decoder
        messages = request.fields.get("messages")
        return CallDecoder(decoder, plan, seed=b"" if messages is None else bytes(messages))

    def parse_refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """As `openai`: llama.cpp's `type` names the reason, such as `exceed_context_size_error`."""
        return self._openai.parse_refusal(status, headers, body)


def plan_reply(params: ChatParams) -> ReplyPlan:
    """Return what the model may write for a request.

    Raises:
        Refused: `tool_choice` asks for a tool that is not there, a tool is none of the caller's own functions, or its
            parameters are not an object.
    """
    answer = _answer_schema(params)
    tools = _functions(params)
    for tool in tools:
        if (tool.parameters or {}).get("type", "object") != "object":
            raise Refused(f"the parameters of the tool {tool.name!r} are not of type object")
    match params.tool_choice:
        case "none":
            return ReplyPlan(answer_schema=answer)
        case None | "auto":
            answered = params.messages[-1].role == "tool"
            return ReplyPlan(tools=() if answered else tools, answer_schema=answer)
        case "required":
            if not tools:
                raise Refused("tool_choice is 'required' and there are no tools")
            return ReplyPlan(tools=tools, required=True)
        case NamedToolChoice(function=function) if function is not None:
            named = tuple(tool for tool in tools if tool.name == function.name)
            if not named:
                raise Refused(f"tool_choice names {function.name!r}, which is not among the tools")
            return ReplyPlan(tools=named[:1], required=True)
        case NamedToolChoice(type=kind):
            raise Refused(
                f"tool_choice of type {kind!r} names no function, and the embedded model knows no other tools"
            )
        case other:
            raise Refused(f"tool_choice {other!r} is not known to the embedded model")


def _functions(params: ChatParams) -> tuple[FunctionTool, ...]:
    """Return the tools; an answer without the search that was asked for would look like one with it."""
    functions: list[FunctionTool] = []
    for place, tool in enumerate(params.tools or ()):
        if tool.function is None:
            raise Refused(f"tools[{place}]: `{tool.type}` cannot be run by the embedded model")
        functions.append(tool.function)
    return tuple(functions)


def _stops_of(params: ChatParams) -> list[str]:
    """Return the sequences that end a text; llama.cpp would find an empty one in front of every answer."""
    stops = [params.stop] if isinstance(params.stop, str) else params.stop or []
    return [sequence for sequence in stops if sequence]


def _answer_schema(params: ChatParams) -> dict[str, Any] | None:
    form = params.response_format
    if form is None or form.type == "text":
        return None
    if form.type == "json_object":
        return {"type": "object"}
    if form.type == "json_schema" and form.json_schema is not None:
        return form.json_schema.schema or {"type": "object"}
    raise Refused(f"the response format {form.type!r} is not known to the embedded model")


def _constraint(plan: ReplyPlan) -> dict[str, Any]:
    """Return the body's fields that bind the reply to the plan."""
    if plan.tools:
        schema = calls_schema(plan)
    elif plan.answer_schema is not None:
        schema = bounded_schema(plan.answer_schema, _ANSWER_BOUNDS)
    else:
        return {}
    grammar = Grammar(schema)  # made in any case: a schema that is too large is so for llama.cpp's converter, too
    if plan.tools and plan.may_be_text:
        return {"grammar": grammar.text_or_root()}
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema}}}


def calls_schema(plan: ReplyPlan) -> dict[str, Any]:
    """Return the schema of one call of one of the tools, or of the JSON answer if the plan allows one."""
    choices: list[dict[str, Any]] = []
    definitions: dict[str, Any] = {}
    for position, tool in enumerate(plan.tools):
        place = f"#/$defs/tool{position}"
        parameters: dict[str, Any] = {"type": "object", **(tool.parameters or {"properties": {}})}
        definitions[f"tool{position}"] = bounded_schema(parameters, ARGUMENT_BOUNDS, place=place)
        properties = {"name": {"const": tool.name}, "arguments": {"$ref": place}}
        choices.append({"type": "object", "properties": properties, "required": ["name", "arguments"]})
    if plan.answer_schema is not None and not plan.required:
        place = "#/$defs/answer"
        definitions["answer"] = bounded_schema(plan.answer_schema, _ANSWER_BOUNDS, place=place)
        choices.append({"$ref": place})
    return {"anyOf": choices, "$defs": definitions}


def to_prompt(messages: list[Message], plan: ReplyPlan, *, name_parts: bool = False) -> list[dict[str, str]]:
    """Return messages of the roles system, user and assistant, all text, as the model's template takes them.

    With `name_parts`, a content part that is not text is named in its place, as in `[image_url]`.

    Raises:
        Refused: a content part is not text, and parts are not to be named.
    """
    names = {call.id: call.function.name for message in messages for call in message.tool_calls or ()}
    prompt: list[dict[str, str]] = []
    results: list[str] = []
    question = ""
    for message in messages:
        text = _text_of(message, name_parts=name_parts)
        if message.role == "tool":
            name = names.get(message.tool_call_id) or message.name or "The tool"
            text = say_failure(text) if message.is_error else text
            results.append(f"{name} returned: {text}")
            continue
        if results:
            prompt.append({"role": "user", "content": "\n".join(results)})
            results.clear()
        if message.role == "user":
            question = text
        role = "system" if message.role == "developer" else message.role
        if message.tool_calls:
            text = _calls_as_text(text, message.tool_calls, as_json=bool(plan.tools))
        prompt.append({"role": role, "content": text})
    if results:
        if question and not plan.tools:
            results.append(f"Use this to answer: {question}")
        prompt.append({"role": "user", "content": "\n".join(results)})
    return _offer_tools(prompt, plan) if plan.tools else prompt


def _text_of(message: Message, *, name_parts: bool) -> str:
    content = message.content
    if content is None or isinstance(content, str):
        return content or ""
    texts: list[str] = []
    for part in content:
        kind, text = part.get("type"), part.get("text")
        if kind == "text" and isinstance(text, str):
            texts.append(text)
        elif name_parts and isinstance(kind, str):
            texts.append(f"[{kind}]")
        else:
            raise Refused(f"the embedded model reads text only, and a message has a part of type {kind!r}")
    return "\n".join(texts)


def _calls_as_text(text: str, calls: Iterable[ToolCall], *, as_json: bool) -> str:
    """Return an assistant's calls as it would write them, or in words when it should not write another."""
    if not as_json:
        return text or _CALL_IN_WORDS
    written = [
        f'{{"name": {_encode(call.function.name).decode()}, "arguments": {call.function.arguments or "{}"}}}'
        for call in calls
    ]
    return "\n".join([text, *written] if text else written)


def _offer_tools(prompt: list[dict[str, str]], plan: ReplyPlan) -> list[dict[str, str]]:
    """Put the tools and the example conversation before the real one."""
    leading = 0
    while leading < len(prompt) and prompt[leading]["role"] == "system":
        leading += 1
    rules = [message["content"] for message in prompt[:leading]] or [_DEFAULT_SYSTEM]
    tools = "\n".join(_signature(tool) for tool in plan.tools)
    offered = [{"role": "system", "content": "\n\n".join(rules) + " " + _TOOL_RULES + _EXAMPLE_TOOLS + tools}]
    for question, answer in _EXAMPLES:
        if plan.may_be_text or answer.startswith("{"):
            offered.append({"role": "user", "content": question})
            offered.append({"role": "assistant", "content": answer})
    return offered + prompt[leading:]


def _signature(tool: FunctionTool) -> str:
    properties: object = (tool.parameters or {}).get("properties")
    names = ", ".join(cast("dict[str, Any]", properties)) if isinstance(properties, dict) else ""
    return f"{tool.name}({names})" + (f": {tool.description}" if tool.description else "")
