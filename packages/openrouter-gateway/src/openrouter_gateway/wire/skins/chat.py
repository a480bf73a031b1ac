"""The `chat` skin: OpenRouter's chat completions, JSON and server-sent events, byte for byte as its clients expect.

Shapes: OpenRouter API, chat completions and errors (2026-08-22); what strict clients reject is kept out by the hub's
rules (`core/events`) and by these encoders.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import msgspec
from msgspec import Raw

from openrouter_gateway.core.chat import ChatParams, ChatRequest
from openrouter_gateway.core.events import ChoiceStep, Step
from openrouter_gateway.core.usage import Cost, Usage
from openrouter_gateway.errors import BadRequest, GatewayError, InternalError, UpstreamError
from openrouter_gateway.wire.skins import base
from openrouter_gateway.wire.skins.base import Closing, ReplyHead
from openrouter_gateway.wire.skins.hidden import body_as_asked, stream_as_asked

COMMENT: Final = b": OPENROUTER PROCESSING\n\n"
DONE: Final = b"data: [DONE]\n\n"
STREAM_TYPE: Final = b"text/event-stream; charset=utf-8"
MAX_TRACE_BYTES: Final = 16 * 1024
"""Of `trace`, as the caller writes it. OpenRouter documents no limit; here it waits in memory and is on every span."""

Decoded = TypeVar("Decoded")

_decode_params = msgspec.json.Decoder(ChatParams).decode
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_encoder = msgspec.json.Encoder(decimal_format="number")
_encode = _encoder.encode
_encode_into = _encoder.encode_into

# Members of a message that arrive in pieces and are joined; every other member is replaced by its latest value.
_TEXTS: Final = frozenset({"content", "reasoning", "refusal"})
_LISTS: Final = frozenset({"reasoning_details", "images", "annotations"})


def parse(body: bytes) -> ChatRequest:
    """Read a request.

    Raises:
        BadRequest: not a JSON object, or a field of the wrong type or out of range; the message names it.
    """
    return read(body, _decode)


def _decode(body: bytes) -> ChatRequest:
    request = ChatRequest(params=_decode_params(body), fields=_decode_fields(body))
    _check_trace(request.fields)
    form = request.params.response_format
    if form is not None and form.type == "json_schema" and form.json_schema is None:
        raise BadRequest("response_format.json_schema: is missing")
    if "reasoning" in request.fields:
        _check_reasoning(request.fields)
    return request


def _check_trace(fields: dict[str, Raw]) -> None:
    if "trace" in fields and len(fields["trace"]) > MAX_TRACE_BYTES:
        raise BadRequest(f"trace: Expected an object of at most {MAX_TRACE_BYTES} bytes")


def _check_reasoning(fields: dict[str, Raw]) -> None:
    """Refuse two words for one thing that differ, and an effort beside a budget (OpenRouter API, 1.1 and 4.1)."""
    reasoning: object = msgspec.json.decode(fields["reasoning"])
    if reasoning is None:
        return
    if not isinstance(reasoning, dict):
        raise BadRequest("reasoning: Expected `object | null`")
    said = cast("dict[str, object]", reasoning)
    inside = said.get("effort")
    apart: object = msgspec.json.decode(fields["reasoning_effort"]) if "reasoning_effort" in fields else None
    if apart is not None and inside is not None and apart != inside:
        raise BadRequest("reasoning_effort: differs from `reasoning.effort`, please send one of the two")
    if said.get("max_tokens") is not None and (inside is not None or apart is not None):
        effort = "reasoning.effort" if inside is not None else "reasoning_effort"
        raise BadRequest(f"reasoning.max_tokens: only one of it and `{effort}` can be set")


def read(body: bytes, decode: Callable[[bytes], Decoded]) -> Decoded:
    """Decode a body; any skin's.

    Raises:
        BadRequest: it is not what the decoder reads; the message names the field.
    """
    try:
        if not body.isascii():
            body.decode()  # fields that travel on undecoded are not looked into below
        return decode(body)
    except msgspec.ValidationError as error:
        raise BadRequest(_explain(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"The request body is not valid JSON: {error}") from None
    except RecursionError:
        raise BadRequest("The request body is nested too deeply") from None


def read_body(body: bytes, decode: Callable[[bytes], Decoded]) -> tuple[Decoded, dict[str, Raw]]:
    """Return what a decoder makes of a body, and every top-level field verbatim; raises as `read`."""
    form, fields = read(body, lambda whole: (decode(whole), _decode_fields(whole)))
    _check_trace(fields)
    return form, fields


def _explain(problem: str) -> str:
    """Turn msgspec's sentence into one that names the field the way the caller wrote it."""
    reason, _, path = problem.partition(" - at `$")
    field = path.rstrip("`").lstrip(".")
    return f"{field}: {reason}" if field else reason


class StreamEncoder:
    """Events to server-sent events."""

    __slots__ = ("_own", "_prefix", "_seen")

    def __init__(self, head: ReplyHead) -> None:
        self._own = {
            "id": head.id,
            "object": "chat.completion.chunk",
            "created": head.created,
            "model": head.model,
            "provider": head.provider,
        }
        self._prefix = b"data: " + _encode(self._own)[:-1] + b',"choices":'
        self._seen: set[int] = set()

    def encode_step(self, step: Step, out: bytearray) -> None:
        """Append one chunk. The first of each choice has the role: the stream helper of npm's `openai` wants it."""
        chunk = step.chunk
        for choice in chunk["choices"]:
            if choice["index"] not in self._seen:
                self._seen.add(choice["index"])
                choice["delta"] = {"role": "assistant", **choice["delta"]}
        chunk.update(self._own)
        out += b"data: "
        _encode_into(chunk, out, -1)
        out += b"\n\n"

    def encode_end(self, closing: Closing) -> bytes:
        """The usage chunk, once and alone, and the end mark."""
        usage = _encode(usage_object(closing.usage, closing.cost))
        return self._prefix + b'[],"usage":' + usage + _metadata_member(closing.metadata) + b"}\n\n" + DONE

    def encode_error(self, error: GatewayError, metadata: dict[str, Any] | None = None) -> bytes:
        """An error after output has begun: one last chunk, then the end mark."""
        body = error_object(error)
        native = error.provider_code if isinstance(error, UpstreamError) else None
        choice: ChoiceStep = {
            "index": 0,
            "delta": {"content": ""},
            "finish_reason": "error",
            "native_finish_reason": native,
        }
        return (
            self._prefix
            + _encode([choice])
            + b',"error":'
            + _encode(body)
            + _metadata_member(metadata)
            + b"}\n\n"
            + DONE
        )


class BodyEncoder:
    """Events to one JSON body, however many steps they came in."""

    __slots__ = ("_choices", "_fields", "_head")

    def __init__(self, head: ReplyHead) -> None:
        self._head = head
        self._choices: dict[int, ChoiceStep] = {}
        self._fields: dict[str, Any] = {"system_fingerprint": None}

    def add_step(self, step: Step) -> None:
        """Take what the step adds."""
        self._fields |= step.chunk
        for choice in step.choices:
            known = self._choices.setdefault(choice["index"], choice)
            if known is not choice:
                _merge_choice(known, choice)

    def encode_end(self, closing: Closing) -> bytes:
        """The whole body."""
        head = self._head
        more = {} if closing.metadata is None else {"openrouter_metadata": closing.metadata}
        return _encode(
            {
                **self._fields,
                "id": head.id,
                "object": "chat.completion",
                "created": head.created,
                "model": head.model,
                "provider": head.provider,
                "choices": [_whole_choice(self._choices[index]) for index in sorted(self._choices)],
                "usage": usage_object(closing.usage, closing.cost),
                **more,
            }
        )


def _merge_choice(known: ChoiceStep, more: ChoiceStep) -> None:
    delta, added = known["delta"], more["delta"]
    for key, value in added.items():
        if key in _TEXTS:
            if value is not None:
                delta[key] = _join_texts(delta.get(key), value)
        elif key == "tool_calls":
            _merge_tool_calls(delta.setdefault("tool_calls", []), value)
        elif key in _LISTS and isinstance(value, list) and isinstance(delta.get(key), list):
            delta[key] = delta[key] + value
        else:
            delta[key] = value
    for key, value in more.items():
        if key not in ("delta", "index") and value is not None:
            cast("dict[str, Any]", known)[key] = value


def _join_texts(known: Any, more: Any) -> Any:
    """Join two pieces of a text. Where one of them is a list of content parts, the whole is one."""
    if not known:
        return more
    if type(known) is str and type(more) is str:
        return known + more
    pieces = [[{"type": "text", "text": piece}] if type(piece) is str else piece for piece in (known, more)]
    return [*pieces[0], *pieces[1]]


def _merge_tool_calls(calls: list[dict[str, Any]], added: list[dict[str, Any]]) -> None:
    for call in added:
        same = next((known for known in calls if known["index"] == call["index"]), None)
        if same is None:
            calls.append(call)
            continue
        function = call["function"]
        same_function = same["function"]
        same_function["arguments"] = same_function.get("arguments", "") + function.get("arguments", "")
        # Some servers repeat the keys of the first piece with nothing in them.
        same.update({key: value for key, value in call.items() if key != "function" and value != ""})
        same_function.update({key: value for key, value in function.items() if key != "arguments" and value != ""})


def _whole_choice(choice: ChoiceStep) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None, "reasoning": None}
    message |= choice["delta"]
    if "tool_calls" in message:
        message["tool_calls"] = [_whole_call(call) for call in message["tool_calls"]]
    whole: dict[str, Any] = {"logprobs": None, "native_finish_reason": None, **choice}
    del whole["delta"]
    whole["message"] = message
    return whole


def _whole_call(call: dict[str, Any]) -> dict[str, Any]:
    function = {"name": "", "arguments": "", **call["function"]}
    rest = {key: value for key, value in call.items() if key not in ("index", "function")}
    return {"id": f"call_{call['index']}", "type": "function", **rest, "function": function}


def usage_object(usage: Usage, cost: Cost) -> dict[str, Any]:
    """The wire's `usage`. Costs are JSON numbers with all their digits."""
    completion_details = {
        "reasoning_tokens": usage.reasoning_tokens,
        "audio_tokens": usage.completion_audio_tokens,
        "accepted_prediction_tokens": usage.accepted_prediction_tokens,
        "rejected_prediction_tokens": usage.rejected_prediction_tokens,
    }
    if usage.image_tokens:
        completion_details["image_tokens"] = usage.image_tokens
    searches = usage.web_search_requests
    tool_use = {
        "server_tool_use": {"web_search_requests": searches},
        "server_tool_use_details": {"web_search_requests": searches},
    }
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
            "audio_tokens": usage.prompt_audio_tokens,
            "video_tokens": usage.prompt_video_tokens,
        },
        "completion_tokens_details": completion_details,
        "cost": cost.total,
        "is_byok": False,
        "cost_details": {
            "upstream_inference_cost": usage.reported_cost,
            "upstream_inference_prompt_cost": cost.prompt,
            "upstream_inference_completions_cost": cost.completion,
        },
        **(tool_use if searches else {}),
    }


def error_object(error: GatewayError) -> dict[str, Any]:
    """The wire's `error`: an integer code, a message, the type in the metadata. Our own defects are masked."""
    if isinstance(error, InternalError):
        return {"code": 500, "message": "Internal Server Error", "metadata": {"error_type": error.error_type}}
    metadata: dict[str, Any] = {"error_type": error.error_type, **error.metadata}
    if isinstance(error, UpstreamError):
        if error.provider:
            metadata["provider_name"] = error.provider
        if error.provider_code and error.status != 500:
            metadata["provider_code"] = error.provider_code
    body: dict[str, Any] = {"code": error.status, "message": error.message, "metadata": metadata}
    if error.availability:
        body["availability"] = error.availability
    return body


def encode_error_body(error: GatewayError, metadata: dict[str, Any] | None = None) -> bytes:
    """The JSON body of an error that comes before any output."""
    body = {"error": error_object(error)}
    return _encode(body if metadata is None else body | {"openrouter_metadata": metadata})


def _metadata_member(metadata: dict[str, Any] | None) -> bytes:
    return b"" if metadata is None else b',"openrouter_metadata":' + _encode(metadata)


class Chat:
    """The skin; see `base.Skin`."""

    api_type = "completions"
    stream_type = STREAM_TYPE
    comment = COMMENT

    def parse(self, body: bytes) -> ChatRequest:
        """See `parse`."""
        return parse(body)

    def stream_encoder(self, head: ReplyHead, request: ChatRequest) -> base.StreamEncoder:
        """See `base.Skin`."""
        return stream_as_asked(StreamEncoder(head), request)

    def body_encoder(self, head: ReplyHead, request: ChatRequest) -> base.BodyEncoder:
        """See `base.Skin`."""
        return body_as_asked(BodyEncoder(head), request)

    def encode_error_body(
        self, error: GatewayError, generation_id: str | None = None, metadata: dict[str, Any] | None = None
    ) -> bytes:
        """See `encode_error_body`: the id is in a header."""
        return encode_error_body(error, metadata)
