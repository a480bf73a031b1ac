"""The `local` protocol: llama.cpp's server with a model whose chat template knows nothing of tools.

The wire is the `openai` protocol's and its code is reused; this file adds what the embedded model lacks. Tools are
described in the prompt and a grammar decides what the model can write, so a call always parses:

| request | what the model can write |
|---|---|
| `tool_choice` required or a name | one call: `{"name": ..., "arguments": {...}}`, the arguments after their schema |
| `auto`, no answer format | one such call, or text that does not start with `{` |
| `auto`, `response_format` JSON | one such call, or a JSON answer after its schema |
| `auto` after tool results, `none`, no tools | text, or JSON after its schema; tools are not offered |

The third row's last part ends agents: SmolLM2-135M, shown its own call and the result, repeats the call in 4 of 5
conversations, whatever the prompt says (measured 2026-11-23). So a user's turn gets one round of tools.

llama.cpp's own converter turns JSON Schema into a grammar where the whole reply is JSON. Where it may be text, too,
`Grammar` below does: structure, types, enumerations, lengths and common formats, but no `pattern`.
Small models loop in unbounded strings and lists, so those get a bound where the caller gave none (`Bounds`), and a
reply gets at most `DEFAULT_MAX_TOKENS` tokens unless the request says otherwise.
"""

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from re import compile as compile_pattern
from typing import Any, Final, Literal, cast

import msgspec
from msgspec import Raw, Struct

from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.core.chat import ChatParams, ChatRequest, FunctionTool, Message, NamedToolChoice, ToolCall
from openrouter_gateway.core.events import ChoiceStep, Event, Step
from openrouter_gateway.errors import Refused, UpstreamError
from openrouter_gateway.wire.protocols.base import Decoder
from openrouter_gateway.wire.protocols.openai import OpenAI

DEFAULT_MAX_TOKENS: Final = 512
"""Tokens of a reply when the request sets no limit: a small model that loops would fill its whole context."""

_TOOL_TEMPERATURE: Final = 0.2
"""Where tools are offered and the request sets none: the right choice in 42 of 52 cases, as at 0; at llama.cpp's own
default of 0.8 in 38 (measured 2026-11-23)."""

# Fields that are rewritten below, or that mean nothing here.
_REWRITTEN: Final = frozenset(
    {
        "messages",
        "max_tokens",
        "max_completion_tokens",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "repetition_penalty",
    }
)

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


class Bounds(Struct, frozen=True, kw_only=True):
    """Limits for what a schema leaves open: characters of a string, items of a list."""

    max_length: int
    max_items: int


_ARGUMENT_BOUNDS: Final = Bounds(max_length=200, max_items=8)
# llama.cpp refuses repetitions of 2,000 and more.
_ANSWER_BOUNDS: Final = Bounds(max_length=1_000, max_items=16)


class ReplyPlan(Struct, frozen=True, kw_only=True):
    """What the model may write. `answer_schema` is None for free text; `required`: a call and nothing else."""

    tools: tuple[FunctionTool, ...] = ()
    required: bool = False
    answer_schema: dict[str, Any] | None = None

    @property
    def may_be_text(self) -> bool:
        """Whether the model may write something that is not JSON."""
        return not self.required and self.answer_schema is None


class Local:
    """The protocol's functions; see `base.Protocol`."""

    chat_path = OpenAI.chat_path

    def __init__(self) -> None:
        self._openai = OpenAI()

    def auth_headers(self, key: str) -> dict[str, str]:
        """Bearer token."""
        return self._openai.auth_headers(key)

    def encode_chat(self, request: ChatRequest, endpoint: Endpoint) -> bytes:
        """Rewrite messages, tools and format for llama.cpp; sampling fields travel on untouched.

        Raises:
            Refused: content that is not text, or a contradiction between `tools` and `tool_choice`.
        """
        params = request.params
        plan = plan_reply(params)
        fields = {
            key: value for key, value in request.fields.items() if key not in _REWRITTEN and bytes(value) != b"null"
        }
        fields["messages"] = Raw(_encode(to_prompt(params.messages, plan)))
        fields["max_tokens"] = Raw(_encode(params.max_completion_tokens or params.max_tokens or DEFAULT_MAX_TOKENS))
        if params.repetition_penalty is not None:
            fields["repeat_penalty"] = Raw(_encode(params.repetition_penalty))
        if plan.tools and "temperature" not in fields:
            fields["temperature"] = Raw(_encode(_TOOL_TEMPERATURE))
        if plan.tools and not plan.may_be_text:
            # Stop sequences are for text: within JSON they would cut a call in two.
            fields.pop("stop", None)
        try:
            constraint = _constraint(plan)
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise Refused("a JSON Schema in the request is malformed, or refers to itself without end") from error
        fields |= {key: Raw(_encode(value)) for key, value in constraint.items()}
        return self._openai.encode_chat(ChatRequest(params=params, fields=fields), endpoint)

    def chat_decoder(self, request: ChatRequest, content_type: str) -> Decoder:
        """Return the `openai` decoder, with an eye on calls when tools were offered."""
        decoder = self._openai.chat_decoder(request, content_type)
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
        Refused: `tool_choice` asks for a tool that is not there, or a tool's parameters are not an object.
    """
    answer = _answer_schema(params)
    tools = tuple(tool.function for tool in params.tools or () if tool.function is not None)
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
        case other:
            raise Refused(f"tool_choice {other!r} is not known to the embedded model")


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
    if plan.may_be_text and plan.tools:
        return {"grammar": Grammar(calls_schema(plan)).text_or_root()}
    if plan.tools:
        schema = calls_schema(plan)
    elif plan.answer_schema is not None:
        schema = bounded_schema(plan.answer_schema, _ANSWER_BOUNDS)
    else:
        return {}
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema}}}


def calls_schema(plan: ReplyPlan) -> dict[str, Any]:
    """Return the schema of one call of one of the tools, or of the JSON answer if the plan allows one."""
    choices: list[dict[str, Any]] = []
    definitions: dict[str, Any] = {}
    for position, tool in enumerate(plan.tools):
        place = f"#/$defs/tool{position}"
        parameters: dict[str, Any] = {"type": "object", **(tool.parameters or {"properties": {}})}
        definitions[f"tool{position}"] = bounded_schema(parameters, _ARGUMENT_BOUNDS, place=place)
        properties = {"name": {"const": tool.name}, "arguments": {"$ref": place}}
        choices.append({"type": "object", "properties": properties, "required": ["name", "arguments"]})
    if plan.answer_schema is not None and not plan.required:
        place = "#/$defs/answer"
        definitions["answer"] = bounded_schema(plan.answer_schema, _ANSWER_BOUNDS, place=place)
        choices.append({"$ref": place})
    return {"anyOf": choices, "$defs": definitions}


def bounded_schema(schema: dict[str, Any], bounds: Bounds, *, place: str = "#") -> dict[str, Any]:
    """Return a copy with bounds where there are none, whose references hold when it stands at `place`."""

    def visit(value: object) -> Any:
        if not isinstance(value, dict):
            return value
        out: dict[str, Any] = dict(cast("dict[str, Any]", value))
        for key, member in out.items():
            if key in _SCHEMAS_BY_NAME and isinstance(member, dict):
                out[key] = {name: visit(entry) for name, entry in cast("dict[str, Any]", member).items()}
            elif key in _SCHEMA_LISTS and isinstance(member, list):
                out[key] = [visit(entry) for entry in cast("list[Any]", member)]
            elif key in _SCHEMAS:
                out[key] = visit(member)
            elif key == "$ref" and isinstance(member, str) and member.startswith("#"):
                out[key] = place + member[1:]
        types = _types_of(out)
        if "string" in types and not out.keys() & {"enum", "const", "pattern", "format"}:
            out.setdefault("maxLength", max(bounds.max_length, _whole(out.get("minLength"), 0)))
        if "array" in types:
            out.setdefault("maxItems", max(bounds.max_items, _whole(out.get("minItems"), 0)))
        return out

    return visit(schema)


_SCHEMAS_BY_NAME: Final = frozenset({"properties", "$defs", "definitions", "patternProperties"})
_SCHEMA_LISTS: Final = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_SCHEMAS: Final = frozenset({"items", "additionalProperties"})


def _types_of(schema: Mapping[str, Any]) -> list[str]:
    kinds: object = schema.get("type")
    if isinstance(kinds, list):
        return [kind for kind in cast("list[Any]", kinds) if isinstance(kind, str)]
    return [kinds] if isinstance(kinds, str) else []


def _whole(value: object, default: int) -> int:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else default


# --- messages ---------------------------------------------------------------------------------------------------


def to_prompt(messages: list[Message], plan: ReplyPlan) -> list[dict[str, str]]:
    """Return messages of the roles system, user and assistant, all text, as the model's template takes them.

    Raises:
        Refused: a content part is not text.
    """
    names = {call.id: call.function.name for message in messages for call in message.tool_calls or ()}
    prompt: list[dict[str, str]] = []
    results: list[str] = []
    question = ""
    for message in messages:
        text = _text_of(message)
        if message.role == "tool":
            name = names.get(message.tool_call_id) or message.name or "The tool"
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


def _text_of(message: Message) -> str:
    content = message.content
    if content is None or isinstance(content, str):
        return content or ""
    texts: list[str] = []
    for part in content:
        text = part.get("text")
        if part.get("type") != "text" or not isinstance(text, str):
            raise Refused(f"the embedded model reads text only, and a message has a part of type {part.get('type')!r}")
        texts.append(text)
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


# --- grammar ----------------------------------------------------------------------------------------------------

_FORMATS: Final = {
    "date": '[0-9]{4} "-" [0-1] [0-9] "-" [0-3] [0-9]',
    "time": '[0-2] [0-9] ":" [0-5] [0-9] ":" [0-5] [0-9] "Z"',
    "date-time": ('[0-9]{4} "-" [0-1] [0-9] "-" [0-3] [0-9] "T" [0-2] [0-9] ":" [0-5] [0-9] ":" [0-5] [0-9] "Z"'),
    "uuid": '[0-9a-f]{8} "-" [0-9a-f]{4} "-" [0-9a-f]{4} "-" [0-9a-f]{4} "-" [0-9a-f]{12}',
}
# Loose JSON below an open schema is this deep at most.
_OPEN_DEPTH: Final = 2
_MOST_LITERALS: Final = 100
_CHAR: Final = r'[^"\\\x00-\x1F\x7F] | "\\" ["\\/bfnrt]'
_COMMA: Final = '", "'


class Grammar:
    """A GBNF grammar (llama.cpp, `grammars/README.md`) for a JSON Schema; spaces are placed as in the examples.

    What it does not know of a schema it leaves open, except that everything is of bounded length.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        self._schema = schema
        self._rules: dict[str, str] = {"char": _CHAR}
        self._by_ref: dict[str, str] = {}
        self._root = self._visit(schema)

    def text_or_root(self) -> str:
        """Return the grammar of the schema or of any text that does not start with a brace or white space."""
        root = f"root ::= {self._root} | [^{{\\x00-\\x20] [^\\x00]*"
        return "\n".join([root, *(f"{name} ::= {body}" for name, body in self._rules.items())])

    def _visit(self, schema: object, depth: int = 0) -> str:
        if not isinstance(schema, dict):
            return self._anything(depth)
        fields = cast("dict[str, Any]", schema)
        if isinstance(ref := fields.get("$ref"), str):
            return self._reference(ref)
        if "const" in fields:
            return _literal(fields["const"])
        if isinstance(choices := fields.get("enum"), list):
            return _any_of([_literal(choice) for choice in cast("list[Any]", choices)])
        for key in ("anyOf", "oneOf"):
            if isinstance(choices := fields.get(key), list):
                return _any_of([self._visit(choice, depth) for choice in cast("list[Any]", choices)])
        if isinstance(parts := fields.get("allOf"), list):
            return self._visit(self._merged(fields, cast("list[Any]", parts)), depth)
        kinds = _types_of(fields) or (["object"] if "properties" in fields else [])
        if not kinds:
            return self._anything(depth)
        return _any_of([self._of_type(kind, fields, depth) for kind in kinds])

    def _reference(self, ref: str) -> str:
        if ref not in self._by_ref:
            name = self._by_ref[ref] = f"ref{len(self._by_ref)}"
            self._rules[name] = self._visit(self._resolve(ref))
        return self._by_ref[ref]

    def _resolve(self, ref: str) -> Any:
        target: Any = self._schema
        for step in ref.removeprefix("#").strip("/").split("/"):
            key = step.replace("~1", "/").replace("~0", "~")
            members = cast("dict[str, Any]", target)
            if key not in members:
                raise Refused(f"a tool's parameters refer to {ref!r}, which is not there")
            target = members[key]
        return target

    def _merged(self, fields: dict[str, Any], parts: list[Any]) -> dict[str, Any]:
        """Return one schema for `allOf`: properties and required names together, else the last word."""
        whole = {key: value for key, value in fields.items() if key != "allOf"}
        for entry in parts:
            part = cast("dict[str, Any]", entry)
            if "$ref" in part:
                part = self._resolve(part["$ref"])
            for key, value in part.items():
                if key == "properties":
                    whole[key] = {**whole.get(key, {}), **value}
                elif key == "required":
                    whole[key] = [*whole.get(key, []), *value]
                else:
                    whole[key] = value
        return whole

    def _of_type(self, kind: str, fields: dict[str, Any], depth: int) -> str:
        match kind:
            case "object":
                return self._object(fields, depth)
            case "array":
                return self._array(fields, depth)
            case "string":
                return self._string(fields)
            case "integer":
                return _integer(fields)
            case "number":
                return _integer({"minimum": fields.get("minimum")}) + ' ("." [0-9]{1,6})?'
            case "boolean":
                return '("true" | "false")'
            case "null":
                return '"null"'
            case _:
                raise Refused(f"a tool's parameters have the unknown type {kind!r}")

    def _object(self, fields: dict[str, Any], depth: int) -> str:
        properties: dict[str, Any] = fields.get("properties") or {}
        if not properties:
            extra: object = fields.get("additionalProperties", "properties" not in fields)
            return self._map(extra, depth) if extra is not False else '"{}"'
        required: list[str] = fields.get("required") or []
        members = {
            name: f"{_quoted(_encode(name).decode() + ': ')} {self._visit(schema, depth)}"
            for name, schema in properties.items()
        }
        first = [members[name] for name in members if name in required]
        optional = [members[name] for name in members if name not in required]
        if first:
            rest = "".join(f" ({_COMMA} {member})?" for member in optional)
            return f'"{{" {f" {_COMMA} ".join(first)}{rest} "}}"'
        chains = [
            member + "".join(f" ({_COMMA} {later})?" for later in optional[position + 1 :])
            for position, member in enumerate(optional)
        ]
        return f'"{{" ({" | ".join(chains)})? "}}"'

    def _map(self, values: object, depth: int) -> str:
        member = f'{self._string({"maxLength": 40})} ": " {self._visit(values, depth + 1)}'
        return f'"{{" ({member} ({_COMMA} {member}){{0,7}})? "}}"'

    def _array(self, fields: dict[str, Any], depth: int) -> str:
        least = _whole(fields.get("minItems"), 0)
        most = max(_whole(fields.get("maxItems"), _ARGUMENT_BOUNDS.max_items), least)
        if isinstance(prefix := fields.get("prefixItems"), list):
            items = [self._visit(entry, depth) for entry in cast("list[Any]", prefix)]
            return f'"[" {f" {_COMMA} ".join(items)} "]"' if items else '"[]"'
        if most == 0:
            return '"[]"'
        item = self._rule("item", self._visit(fields.get("items"), depth + 1))
        body = f"{item} ({_COMMA} {item}){{{max(least - 1, 0)},{most - 1}}}"
        return f'"[" {body} "]"' if least else f'"[" ({body})? "]"'

    def _string(self, fields: dict[str, Any]) -> str:
        form = _FORMATS.get(str(fields.get("format")))
        if form is not None:
            return rf'"\"" {form} "\""'
        least = _whole(fields.get("minLength"), 0)
        most = max(_whole(fields.get("maxLength"), _ARGUMENT_BOUNDS.max_length), least)
        name = f"string-{least}-{most}"
        self._rules.setdefault(name, rf'"\"" char{{{least},{most}}} "\""')
        return name

    def _anything(self, depth: int) -> str:
        flat = f'{self._string({})} | {_integer({})} ("." [0-9]{{1,6}})? | "true" | "false" | "null"'
        if depth >= _OPEN_DEPTH:
            return f"({flat})"
        deeper = self._visit({"type": ["object", "array"]}, depth)
        return self._rule("any", f"{flat} | {deeper}")

    def _rule(self, kind: str, body: str) -> str:
        """Return the name of a rule with this body: bodies that stand in several places are written once."""
        for name, known in self._rules.items():
            if known == body:
                return name
        name = f"{kind}{len(self._rules)}"
        self._rules[name] = body
        return name


def _integer(fields: Mapping[str, Any]) -> str:
    low, high = fields.get("minimum"), fields.get("maximum")
    if isinstance(low, int) and isinstance(high, int) and 0 <= high - low < _MOST_LITERALS:
        return _any_of([_quoted(str(number)) for number in range(low, high + 1)])
    sign = "" if isinstance(low, int | float) and low >= 0 else '"-"? '
    return f'{sign}("0" | [1-9] [0-9]{{0,11}})'


def _any_of(choices: list[str]) -> str:
    return choices[0] if len(choices) == 1 else f"({' | '.join(choices)})"


def _literal(value: object) -> str:
    return _quoted(_encode(value).decode())


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


# --- replies ----------------------------------------------------------------------------------------------------

_CALL_HEAD: Final = compile_pattern(r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*(?=\S)')


class CallDecoder:
    """Turns the JSON of a call, within another decoder's text, into `tool_calls`; text passes as it comes.

    What could still become a call is held back until that is decided, which takes a few tokens.
    """

    def __init__(self, inner: Decoder, plan: ReplyPlan, *, seed: bytes) -> None:
        self._inner = inner
        self._plan = plan
        self._seed = seed
        self._readers: dict[int, _ChoiceReader] = {}

    def feed(self, data: bytes) -> list[Event]:
        """See `base.Decoder`."""
        return self._read(self._inner.feed(data))

    def finish(self) -> list[Event]:
        """See `base.Decoder`."""
        return self._read(self._inner.finish())

    def _read(self, events: list[Event]) -> list[Event]:
        out: list[Event] = []
        for event in events:
            if isinstance(event, Step):
                for choice in event.choices:
                    reader = self._reader(choice["index"])
                    out += [event.with_choices([shown]) for shown in reader.read(choice)]
            else:
                out.append(event)
        return out

    def _reader(self, index: int) -> "_ChoiceReader":
        reader = self._readers.get(index)
        if reader is None:
            # The same request gets the same id, so replays agree; within a conversation, each call gets another.
            digest = blake2b(self._seed + index.to_bytes(4, "big"), digest_size=12).hexdigest()
            reader = self._readers[index] = _ChoiceReader(self._plan, f"call_{digest}")
        return reader


class _ChoiceReader:
    """The state of one choice: undecided, then text or call."""

    def __init__(self, plan: ReplyPlan, call_id: str) -> None:
        self._heads = {
            "".join(f'{{"name":{_encode(tool.name).decode()},"arguments":'.split()): tool.name for tool in plan.tools
        }
        self._json_is_a_call = plan.required or plan.answer_schema is None
        self._call_id = call_id
        self._state: Literal["undecided", "text", "call"] = "undecided"
        self._text = ""
        self._held: list[ChoiceStep] = []
        self._arguments = _ObjectReader()

    def read(self, choice: ChoiceStep) -> list[ChoiceStep]:
        """Take a choice of a step; return what may be shown now, in order."""
        match self._state:
            case "text":
                return [choice]
            case "call":
                delta: dict[str, Any] = {}
                piece = self._arguments.read(choice["delta"].get("content") or "")
                if piece:
                    delta["tool_calls"] = [{"index": 0, "function": {"arguments": piece}}]
                return self._call_step(delta, choice)
            case "undecided":
                self._text += choice["delta"].get("content") or ""
                return self._decide(choice)

    def _decide(self, choice: ChoiceStep) -> list[ChoiceStep]:
        head = _CALL_HEAD.match(self._text)
        if head is not None and msgspec.json.decode(head[1]) in self._heads.values():
            self._state = "call"
            self._held.clear()
            function = {
                "name": msgspec.json.decode(head[1]),
                "arguments": self._arguments.read(self._text[head.end() :]),
            }
            call = {"index": 0, "id": self._call_id, "type": "function", "function": function}
            return self._call_step({"role": "assistant", "content": None, "tool_calls": [call]}, choice)
        self._held.append(choice)
        start = "".join(self._text.split())
        if any(known.startswith(start) for known in self._heads):
            if choice["finish_reason"] is None:
                return []
            if start and self._json_is_a_call:
                # Cut within the head of a call: half a head is no answer.
                self._held.clear()
                return [_with_end({"role": "assistant", "content": ""}, choice, "length")]
        self._state = "text"
        held, self._held = self._held, []
        return held

    def _call_step(self, delta: dict[str, Any], choice: ChoiceStep) -> list[ChoiceStep]:
        if choice["finish_reason"] is None:
            return [{"index": choice["index"], "delta": delta, "finish_reason": None}] if delta else []
        # A call that is not whole was cut, whatever the server calls it.
        return [_with_end(delta, choice, "tool_calls" if self._arguments.whole else "length")]


def _with_end(delta: dict[str, Any], choice: ChoiceStep, reason: str) -> ChoiceStep:
    return {
        "index": choice["index"],
        "delta": delta,
        "finish_reason": reason,
        "native_finish_reason": choice.get("native_finish_reason"),
    }


class _ObjectReader:
    """Passes one JSON object's text and nothing that follows it."""

    def __init__(self) -> None:
        self.whole = False
        self._depth = 0
        self._in_string = False
        self._escaped = False

    def read(self, text: str) -> str:
        """Return the part of the text that belongs to the object."""
        if self.whole:
            return ""
        for position, char in enumerate(text):
            if self._in_string:
                if self._escaped:
                    self._escaped = False
                elif char == "\\":
                    self._escaped = True
                elif char == '"':
                    self._in_string = False
            elif char == '"':
                self._in_string = True
            elif char in "{[":
                self._depth += 1
            elif char in "}]":
                self._depth -= 1
                if self._depth == 0:
                    self.whole = True
                    return text[: position + 1]
        return text
