"""The `completions` skin: the legacy text form, one prompt in and `choices[].text` out (API digest 7.6).

A prompt is served as a conversation of one message: the models behind today's providers take nothing else. What that
cannot give (`suffix`, several prompts, token ids, the best of several answers) is refused, not passed over. `echo` and
`logprobs` are this gateway's doing, in the shape that OpenAI's legacy API has (platform.openai.com/docs/api-reference,
completions, 2026-11).

The same form may come to `/chat/completions`, with `prompt` in the place of `messages` (API digest 1.1).
"""

from typing import Annotated, Any, Final, cast

import msgspec
from msgspec import Meta, Raw, Struct

from openrouter_gateway.core.chat import ChatRequest, Positive
from openrouter_gateway.core.events import ChoiceStep, Step
from openrouter_gateway.errors import BadRequest, GatewayError, UpstreamError
from openrouter_gateway.wire.skins import base, chat
from openrouter_gateway.wire.skins.base import Closing, ReplyHead, Skin
from openrouter_gateway.wire.skins.chat import Chat, error_object, usage_object
from openrouter_gateway.wire.skins.hidden import body_as_asked, stream_as_asked

_OWN_FIELDS: Final = frozenset({"prompt", "echo", "suffix", "best_of", "logprobs", "tools", "tool_choice"})
_TRUE: Final = Raw(b"true")

_encode = msgspec.json.Encoder(decimal_format="number").encode


class CompletionParams(Struct, frozen=True, kw_only=True):
    """The fields that the text form has of its own, and those that it lacks. The others are those of chat."""

    prompt: Any
    echo: bool | None = None
    suffix: str | None = None
    best_of: Positive | None = None
    n: Positive | None = None
    logprobs: bool | Annotated[int, Meta(ge=0, le=20)] | None = None
    tools: list[Any] | None = None


_decode_form = msgspec.json.Decoder(CompletionParams).decode


def parse(body: bytes) -> ChatRequest:
    """Read a request of the text form.

    Raises:
        BadRequest: as `chat.parse`, or it asks for what only the legacy models could do.
    """
    form, fields = chat.read_body(body, _decode_form)
    prompt = _read_prompt(form.prompt)
    _refuse_what_is_gone(form)
    sent = {name: value for name, value in fields.items() if name not in _OWN_FIELDS}
    sent["messages"] = Raw(_encode([{"role": "user", "content": prompt}]))
    if form.logprobs is True:
        sent["logprobs"] = _TRUE
    elif form.logprobs is not None and form.logprobs is not False:  # how many alternatives; 0: none beside the token
        sent |= {"logprobs": _TRUE, "top_logprobs": Raw(_encode(form.logprobs))}
    request = chat.parse(_encode(sent))
    return msgspec.structs.replace(request, echo={"prompt": prompt if form.echo else ""})


def _read_prompt(prompt: Any) -> str:
    match prompt:
        case str() | [str()]:
            return prompt if isinstance(prompt, str) else prompt[0]
        case [str(), *_]:
            raise BadRequest("prompt: one text at a time, please: send a request for each")
        case [int() | list(), *_]:
            raise BadRequest(
                "prompt: token ids are not taken, because each model has its own and the model is found by routing: "
                "send the text"
            )
        case _:
            raise BadRequest("prompt: Expected `str`")


def _refuse_what_is_gone(form: CompletionParams) -> None:
    if form.suffix:
        raise BadRequest("suffix: text cannot be inserted before a suffix: chat models only write on")
    if form.best_of is not None and form.best_of > (form.n or 1):
        raise BadRequest("best_of: no more answers are made than n asks for")
    if form.echo and form.logprobs is not None and form.logprobs is not False:
        raise BadRequest("echo: the prompt's own logprobs are not known, leave out either echo or logprobs")
    if form.tools:
        raise BadRequest("tools: a text completion has no place for tool calls, use /chat/completions")


class _Reader:
    """What choices say, as text: remembers how long each is already, for `text_offset`."""

    __slots__ = ("_lengths", "_prompt")

    def __init__(self, request: ChatRequest) -> None:
        self._prompt: str = request.echo["prompt"]
        self._lengths: dict[int, int] = {}

    def read(self, choice: ChoiceStep) -> dict[str, Any] | None:
        """Return a choice in this dialect; None if it says nothing that has a place there."""
        index, delta = choice["index"], choice["delta"]
        text = _text_of(delta.get("content"))
        if index not in self._lengths:
            self._lengths[index] = 0
            text = self._prompt + text
        offset = self._lengths[index]
        self._lengths[index] += len(text)
        reasoning, error = _text_of(delta.get("reasoning")), choice.get("error")
        if not (text or reasoning or error or choice["finish_reason"]):
            return None
        shown: dict[str, Any] = {
            "index": index,
            "text": text,
            "logprobs": _legacy_logprobs(choice.get("logprobs"), offset),
            "finish_reason": choice["finish_reason"],
            "native_finish_reason": choice.get("native_finish_reason"),
        }
        if reasoning:
            shown["reasoning"] = reasoning
        if error:
            shown["error"] = error
        return shown


def _text_of(content: Any) -> str:
    if isinstance(content, list):
        parts = [cast("dict[str, Any]", part) for part in cast("list[Any]", content) if isinstance(part, dict)]
        return "".join(part["text"] for part in parts if isinstance(part.get("text"), str))
    return content or ""


class _Alternative(Struct, frozen=True):
    token: str
    logprob: float


class _Token(Struct, frozen=True):
    token: str
    logprob: float
    top_logprobs: list[_Alternative] = []


class _Logprobs(Struct, frozen=True):
    content: list[_Token] | None = None


def _legacy_logprobs(logprobs: Any, offset: int) -> dict[str, list[Any]] | None:
    """Return logprobs as lists side by side; None where the provider sent none, or something else."""
    try:
        tokens = msgspec.convert(logprobs or {}, _Logprobs).content
    except msgspec.ValidationError:
        return None
    if tokens is None:
        return None
    shown: dict[str, list[Any]] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
    for token in tokens:
        shown["tokens"].append(token.token)
        shown["token_logprobs"].append(token.logprob)
        shown["top_logprobs"].append({other.token: other.logprob for other in token.top_logprobs})
        shown["text_offset"].append(offset)
        offset += len(token.token)
    return shown


def _head_of(head: ReplyHead) -> dict[str, Any]:
    return {
        "id": head.id,
        "object": "text_completion",
        "created": head.created,
        "model": head.model,
        "provider": head.provider,
    }


class StreamEncoder:
    """Events to server-sent events."""

    __slots__ = ("_own", "_reader")

    def __init__(self, head: ReplyHead, request: ChatRequest) -> None:
        self._own = _head_of(head)
        self._reader = _Reader(request)

    def encode_step(self, step: Step, out: bytearray) -> None:
        """Append one chunk, unless nothing of it has a place in this dialect."""
        choices: list[Any] = [shown for choice in step.choices if (shown := self._reader.read(choice)) is not None]
        if choices:
            out += self._event(step.chunk | {"choices": choices})

    def encode_end(self, closing: Closing) -> bytes:
        """The usage chunk, once and alone, and the end mark."""
        usage = usage_object(closing.usage, closing.cost)
        return self._event(dict[str, Any](choices=[], usage=usage) | _metadata_of(closing.metadata)) + chat.DONE

    def encode_error(self, error: GatewayError, metadata: dict[str, Any] | None = None) -> bytes:
        """An error after output has begun: one last chunk, then the end mark."""
        native = error.provider_code if isinstance(error, UpstreamError) else None
        choice = {
            "index": 0,
            "text": "",
            "logprobs": None,
            "finish_reason": "error",
            "native_finish_reason": native,
        }
        body: dict[str, Any] = {"choices": [choice], "error": error_object(error)}
        return self._event(body | _metadata_of(metadata)) + chat.DONE

    def _event(self, chunk: dict[str, Any]) -> bytes:
        return b"data: " + _encode(chunk | self._own) + b"\n\n"


class BodyEncoder:
    """Events to one JSON body."""

    __slots__ = ("_choices", "_fields", "_own", "_reader")

    def __init__(self, head: ReplyHead, request: ChatRequest) -> None:
        self._own = _head_of(head)
        self._reader = _Reader(request)
        self._choices: dict[int, dict[str, Any]] = {}
        self._fields: dict[str, Any] = {"system_fingerprint": None}

    def add_step(self, step: Step) -> None:
        """Take what the step adds."""
        self._fields |= step.chunk
        for choice in step.choices:
            shown = self._reader.read(choice)
            if shown is not None:
                _merge(self._choices.setdefault(choice["index"], {}), shown)

    def encode_end(self, closing: Closing) -> bytes:
        """The whole body."""
        choices = [self._choices[index] for index in sorted(self._choices)]
        said = {"choices": choices, "usage": usage_object(closing.usage, closing.cost)}
        return _encode(self._fields | self._own | said | _metadata_of(closing.metadata))


def _metadata_of(metadata: dict[str, Any] | None) -> dict[str, Any]:
    return {} if metadata is None else {"openrouter_metadata": metadata}


def _merge(known: dict[str, Any], more: dict[str, Any]) -> None:
    for name, value in more.items():
        held = known.get(name)
        if held is None:
            known[name] = value
        elif name in ("text", "reasoning"):
            known[name] = held + value
        elif name == "logprobs":
            for kind in value or ():
                held[kind] += value[kind]
        elif value is not None:
            known[name] = value


class Completions:
    """The skin; see `base.Skin`."""

    api_type = "completions"
    stream_type = chat.STREAM_TYPE
    comment = chat.COMMENT

    def parse(self, body: bytes) -> ChatRequest:
        """See `parse`."""
        return parse(body)

    def stream_encoder(self, head: ReplyHead, request: ChatRequest) -> base.StreamEncoder:
        """See `base.Skin`."""
        return stream_as_asked(StreamEncoder(head, request), request)

    def body_encoder(self, head: ReplyHead, request: ChatRequest) -> base.BodyEncoder:
        """See `base.Skin`."""
        return body_as_asked(BodyEncoder(head, request), request)

    def encode_error_body(
        self, error: GatewayError, generation_id: str | None = None, metadata: dict[str, Any] | None = None
    ) -> bytes:
        """As in chat."""
        return chat.encode_error_body(error, metadata)


class ChatOrText:
    """What `/chat/completions` speaks: chat, and the text form where `prompt` stands in the place of `messages`."""

    api_type = "completions"
    stream_type = chat.STREAM_TYPE
    comment = chat.COMMENT

    def __init__(self) -> None:
        self._chat = Chat()
        self._text = Completions()

    def parse(self, body: bytes) -> ChatRequest:
        """See `chat.parse`, and `parse`. Chat goes first: most requests are, and pay nothing for the others."""
        try:
            return self._chat.parse(body)
        except BadRequest:
            if not _has_prompt_only(body):
                raise
        return self._text.parse(body)

    def stream_encoder(self, head: ReplyHead, request: ChatRequest) -> base.StreamEncoder:
        """See `base.Skin`."""
        return self._spoken_in(request).stream_encoder(head, request)

    def body_encoder(self, head: ReplyHead, request: ChatRequest) -> base.BodyEncoder:
        """See `base.Skin`."""
        return self._spoken_in(request).body_encoder(head, request)

    def encode_error_body(
        self, error: GatewayError, generation_id: str | None = None, metadata: dict[str, Any] | None = None
    ) -> bytes:
        """As in chat."""
        return chat.encode_error_body(error, metadata)

    def _spoken_in(self, request: ChatRequest) -> Skin:
        return self._text if request.echo else self._chat


class _Start(Struct, frozen=True):
    prompt: Any = None
    messages: Any = None


_decode_start = msgspec.json.Decoder(_Start).decode


def _has_prompt_only(body: bytes) -> bool:
    start, _ = chat.read_body(body, _decode_start)
    return start.messages is None and start.prompt is not None
