"""Messages to `systemInstruction` and `contents`.

Roles alternate as far as Google wants it: turns of one role are merged, but results of tools stay in a turn of their
own, because some models answer nothing, or 400, when text stands beside them (pydantic-ai issue 4210, 2026-08-12).

Thought signatures go back to the parts they came with, unmodified (ai.google.dev/gemini-api/docs/thought-signatures,
2026-11). `gemini_reply` hands them out in `reasoning_details`: on a thought as its `signature`, on anything else as an
entry `reasoning.encrypted`, whose `id` is the tool call's, `image_<n>`, or absent for text.
"""

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from openrouter_gateway.core.chat import ChatRequest, Message, ToolCall
from openrouter_gateway.errors import Refused
from openrouter_gateway.wire.protocols.gemini_media import to_part

FORMAT: Final = "google-gemini-v1"
"""How OpenRouter names reasoning that only Gemini can read."""

NO_SIGNATURE: Final = "skip_thought_signature_validator"
"""What Google documents for calls that another model made, or whose signature was lost: Gemini 3 answers 400 to a call
without any (thought-signatures, FAQ, 2026-11)."""

# multimodal function responses: ai.google.dev/gemini-api/docs/function-calling, 2026-11
_RESULT_TYPES: Final = frozenset({"image/png", "image/jpeg", "image/webp", "application/pdf", "text/plain"})


class _Extra(Struct, frozen=True, kw_only=True):
    """What an assistant message may carry besides what `Message` reads."""

    refusal: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    reasoning_details: list[dict[str, Any]] | None = None
    images: list[dict[str, Any]] | None = None


_NOTHING: Final = _Extra()
_decode_extras = msgspec.json.Decoder(list[_Extra]).decode
_decode_object = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_container = msgspec.json.Decoder(dict[str, Raw] | list[Raw]).decode


class Contents(Struct, frozen=True, kw_only=True):
    """A conversation in Google's form: parts of the system instruction, and turns, at least one."""

    system: list[dict[str, Any]]
    turns: list[dict[str, Any]]


def to_contents(request: ChatRequest, *, is_3_or_later: bool, takes_system: bool, takes_thoughts: bool) -> Contents:
    """Return the request's messages, for a model of this age that takes this.

    Raises:
        Refused: a part, a tool call or a reasoning entry that cannot be carried over.
    """
    messages = request.params.messages
    extras = [_NOTHING] * len(messages)
    if any(message.role == "assistant" for message in messages):
        extras = _read_extras(request.fields["messages"])
    conversation = _Conversation(is_3_or_later=is_3_or_later, takes_system=takes_system, takes_thoughts=takes_thoughts)
    for place, (message, extra) in enumerate(zip(messages, extras, strict=True)):
        conversation.add(message, extra, f"messages[{place}]")
    return conversation.end()


def _read_extras(raw: Raw) -> list[_Extra]:
    try:
        return _decode_extras(raw)
    except msgspec.ValidationError as error:
        raise Refused(f"messages: {error}") from None


class _Conversation:
    """Turns while they grow. A turn's kind is `user`, `model`, or `tool` for results of tools."""

    def __init__(self, *, is_3_or_later: bool, takes_system: bool, takes_thoughts: bool) -> None:
        self._is_3_or_later = is_3_or_later
        self._takes_system = takes_system
        self._takes_thoughts = takes_thoughts
        self._system: list[dict[str, Any]] = []
        self._turns: list[tuple[str, list[dict[str, Any]]]] = []
        self._functions: dict[str | None, str] = {}
        self._shown: list[dict[str, Any]] = []  # media of results, which go behind the last of them

    def add(self, message: Message, extra: _Extra, place: str) -> None:
        """Take the next message."""
        if message.role == "tool":
            self._append("tool", [self._to_result(message, place)])
            return
        self._show_media()
        if message.role == "assistant":
            for call in message.tool_calls or ():
                self._functions[call.id] = call.function.name
            self._append("model", self._to_model_parts(message, extra, place))
            return
        parts = _to_parts(message, place)
        if message.role == "user":
            self._append("user", parts or [{"text": ""}])
            return
        # A system instruction is text alone; pictures in it are shown as the user would.
        self._system += [part for part in parts if part.get("text")]
        self._append("user", [part for part in parts if "text" not in part])

    def end(self) -> Contents:
        """Return it all."""
        self._show_media()
        if self._system and not self._takes_system:
            self._turns.insert(0, ("user", self._system))
            self._system = []
        if not self._turns or self._turns[0][0] != "user":
            # There must be a turn, and before a call a user's; an empty text is enough of one.
            self._turns.insert(0, ("user", [{"text": ""}]))
        turns: list[dict[str, Any]] = []
        last = ""
        for kind, parts in self._turns:
            if kind == last:
                turns[-1]["parts"] += parts
            else:
                turns.append({"role": "model" if kind == "model" else "user", "parts": parts})
            last = kind
        return Contents(system=self._system, turns=turns)

    def _append(self, kind: str, parts: list[dict[str, Any]]) -> None:
        if parts:
            self._turns.append((kind, parts))

    def _show_media(self) -> None:
        self._append("user", self._shown)
        self._shown = []

    def _to_result(self, message: Message, place: str) -> dict[str, Any]:
        """Return a result. All of it is under `output` or, of a tool that failed, `error`.

        Beside these names others would be overlooked (ai.google.dev/api/caching, FunctionResponse, 2026-11).
        """
        texts: list[str] = []
        inner: list[dict[str, Any]] = []
        for part in [] if message.content is None else _parts_of(message.content, place):
            media = part.get("inlineData")
            if "text" in part:
                texts.append(part["text"])
            elif self._is_3_or_later and media is not None and media["mimeType"] in _RESULT_TYPES:
                inner.append(part)
            else:
                self._shown.append(part)
        response: dict[str, Any] = {
            "name": self._functions.get(message.tool_call_id) or message.name or message.tool_call_id or "tool",
            "response": {"error" if message.is_error else "output": _to_value("\n".join(texts))},
        }
        if message.tool_call_id:
            response["id"] = message.tool_call_id
        if inner:
            response["parts"] = inner
        return {"functionResponse": response}

    def _to_model_parts(self, message: Message, extra: _Extra, place: str) -> list[dict[str, Any]]:
        memory = _Memory(extra)
        signatures = memory.signatures
        text = [part for part in _to_parts(message, place) if part.get("text") != ""]
        if not text and extra.refusal:
            text = [{"text": extra.refusal}]
        images = [to_part({"type": "image_url", **image}, f"{place}.images") for image in extra.images or ()]
        for number, image in enumerate(images):
            _sign(image, signatures.pop(f"image_{number}", None))
        calls = [_to_call(call) for call in message.tool_calls or ()]
        for call, part in zip(message.tool_calls or (), calls, strict=True):
            _sign(part, signatures.pop(call.id or "", None))
        if calls and "thoughtSignature" not in calls[0]:
            # Of calls in parallel the first one is signed. An entry whose id is lost can only be meant for it.
            spare = memory.loose.pop() if memory.loose else next(iter(signatures.values()), None)
            _sign(calls[0], spare or (NO_SIGNATURE if self._is_3_or_later else None))
        thoughts = memory.thoughts if self._takes_thoughts else []
        return [*thoughts, *_sign_text(text, memory.loose), *images, *calls]


class _Memory:
    """What a model's turn remembers of its reasoning: thoughts as parts, signatures by id, and those without an id."""

    def __init__(self, extra: _Extra) -> None:
        self.thoughts: list[dict[str, Any]] = []
        self.signatures: dict[str, str] = {}
        self.loose: list[str] = []
        for entry in extra.reasoning_details or ():
            self._read(entry)
        plain = extra.reasoning or extra.reasoning_content
        if plain and not self.thoughts:
            self.thoughts.append({"text": plain, "thought": True})

    def _read(self, entry: dict[str, Any]) -> None:
        ours = entry.get("format") == FORMAT
        text = entry.get("text") or entry.get("summary")
        signature = entry.get("signature") if ours else None
        data = entry.get("data")
        if entry.get("type") == "reasoning.encrypted":
            if ours and type(data) is str:
                self._keep(entry.get("id"), data)
        elif type(text) is str or type(signature) is str:
            # Thoughts of other models are sent as well, without what only they could read.
            thought: dict[str, Any] = {"text": text if type(text) is str else "", "thought": True}
            self.thoughts.append(_sign(thought, signature if type(signature) is str else None))

    def _keep(self, identifier: object, data: str) -> None:
        if type(identifier) is str and identifier:
            self.signatures[identifier] = data
        else:
            self.loose.append(data)


def _sign(part: dict[str, Any], signature: str | None) -> dict[str, Any]:
    if signature:
        part["thoughtSignature"] = signature
    return part


def _sign_text(parts: list[dict[str, Any]], signatures: list[str]) -> list[dict[str, Any]]:
    """Return the text with its signatures: the last one is the whole text's, earlier ones stand before it alone."""
    if not signatures:
        return parts
    alone = [{"text": "", "thoughtSignature": signature} for signature in signatures]
    if not parts:
        return alone
    return [*alone[:-1], *parts[:-1], _sign(parts[-1], signatures[-1])]


def _to_parts(message: Message, place: str) -> list[dict[str, Any]]:
    """Return a message's content, its author's name in front (OpenRouter API, messages)."""
    if message.content is None:
        return []
    parts = _parts_of(message.content, place)
    if not message.name:
        return parts
    if parts and "text" in parts[0]:
        return [{"text": f"{message.name}: {parts[0]['text']}"}, *parts[1:]]
    return [{"text": f"{message.name}:"}, *parts]


def _parts_of(content: str | list[dict[str, Any]], place: str) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"text": content}]
    return [to_part(part, f"{place}.content[{number}]") for number, part in enumerate(content)]


def _to_call(call: ToolCall) -> dict[str, Any]:
    arguments = call.function.arguments
    function: dict[str, Any] = {"name": call.function.name, "args": _to_arguments(arguments)}
    if call.id:
        function["id"] = call.id
    return {"functionCall": function}


def _to_arguments(arguments: str) -> object:
    """Return a call's arguments: verbatim where they are an object, which is all that the API takes."""
    if not arguments.strip():
        return {}
    try:
        _decode_object(arguments)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return {"arguments": arguments}
    return Raw(arguments.encode())


def _to_value(text: str) -> object:
    """Return a result: verbatim where it is a JSON object or list, so that the model sees its structure."""
    try:
        _decode_container(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text
    return Raw(text.encode())
