"""The `responses` skin: OpenRouter's Responses API, which stores nothing.

| file | has |
|---|---|
| `responses_request` | a request to a chat request; with `responses_input`, the items of its input |
| `responses_advice` | what to use instead of tools that do not run here |
| `responses_output` | what a chat's choice gains to output items and their events |

Shapes: OpenRouter API, responses and errors (2026-08-22). The ids of responses are those of generations with another
prefix.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias, cast

import msgspec

from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.events import Step
from openrouter_gateway.core.usage import Cost, Usage
from openrouter_gateway.errors import GatewayError
from openrouter_gateway.wire.reasoning_items import dicts_in
from openrouter_gateway.wire.skins import base, chat, responses_request
from openrouter_gateway.wire.skins.base import Closing, ReplyHead
from openrouter_gateway.wire.skins.hidden import body_as_asked, stream_as_asked
from openrouter_gateway.wire.skins.responses_output import Output

Json: TypeAlias = dict[str, Any]
Status: TypeAlias = Literal["in_progress", "completed", "incomplete", "failed"]

_CODES: Final = {
    "rate_limit_exceeded": "rate_limit_exceeded",
    "context_length_exceeded": "invalid_prompt",
    "invalid_request": "invalid_prompt",
    "content_policy_violation": "image_content_policy_violation",
}
"""The API's codes, which are fewer; any other error is a `server_error`. `error_type` says which."""
_LENGTHS: Final = frozenset(
    {"context_length_exceeded", "max_tokens_exceeded", "token_limit_exceeded", "string_too_long"}
)
"""Errors that end an answer as its length does (OpenRouter API, errors of the Responses API, 2026-08-22)."""
_REASONS: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}

_encode = msgspec.json.Encoder(decimal_format="number").encode


class _Response:
    """The response object of one reply, from what its request said and what came of it."""

    __slots__ = ("_echo", "_head", "seed", "service_tier")

    def __init__(self, head: ReplyHead, echo: Mapping[str, Any]) -> None:
        self._head = head
        self._echo = echo
        self.seed = head.id.removeprefix("gen-")
        self.service_tier: str | None = None

    def show(self, status: Status, output: Output | None = None, **fields: Any) -> Json:
        """Return it as it is now. All keys that clients require are there (OpenRouter API, `BaseResponsesResult`)."""
        head, echo = self._head, self._echo
        response: Json = {
            "id": f"resp_{self.seed}",
            "object": "response",
            "created_at": head.created,
            "model": head.model,
            "provider": head.provider,
            "status": status,
            "completed_at": None,
            "error": None,
            "incomplete_details": None,
            "output": output.items if output is not None else [],
            "output_text": output.text if output is not None else "",
            **_UNSAID,
            **echo,
        }
        if self.service_tier is not None:
            response["service_tier"] = self.service_tier
        return response | fields

    def show_end(self, output: Output, closing: Closing) -> Json:
        """Return it at the end of an answer that came to one; when that was is said of complete ones only."""
        counts = usage_object(closing.usage, closing.cost)
        if output.finish_reason == "error" or output.error is not None:
            return self.show("failed", output, usage=counts, **_choice_error(output.error or {}))
        reason = _REASONS.get(output.finish_reason or "")
        if reason is not None:
            return self.show("incomplete", output, usage=counts, incomplete_details={"reason": reason})
        return self.show("completed", output, usage=counts, completed_at=closing.at)

    def show_error(self, output: Output, error: GatewayError) -> Json:
        """Return it for an answer that broke off."""
        if error.error_type in _LENGTHS:
            return self.show("incomplete", output, incomplete_details={"reason": "max_output_tokens"})
        return self.show("failed", output, **_error_fields(error.error_type, chat.error_object(error)["message"]))


_UNSAID: Final[Json] = {
    "background": False,
    "frequency_penalty": None,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": None,
    "parallel_tool_calls": True,
    "presence_penalty": None,
    "previous_response_id": None,
    "reasoning": None,
    "service_tier": None,
    "store": False,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "truncation": "disabled",
}
"""What a response says of what its request did not."""


def _error_fields(error_type: str, message: str) -> Json:
    return {
        "error": {"code": _CODES.get(error_type, "server_error"), "message": message},
        "error_type": error_type,
    }


def _choice_error(error: Json) -> Json:
    """Return the fields for an error that the provider reported of its choice, in the hub's form."""
    metadata: object = error.get("metadata")
    kind: object = cast("Json", metadata).get("error_type") if isinstance(metadata, dict) else None
    message = error.get("message")
    return _error_fields(
        kind if isinstance(kind, str) else "provider_unavailable",
        message if isinstance(message, str) else "the provider ended its answer with an error",
    )


def usage_object(usage: Usage, cost: Cost) -> Json:
    """This API's `usage`, whose names differ from chat's."""
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
        "cost": cost.total,
        "is_byok": False,
        "cost_details": {
            "upstream_inference_cost": usage.reported_cost,
            "upstream_inference_input_cost": cost.prompt,
            "upstream_inference_output_cost": cost.completion,
        },
    }


class StreamEncoder:
    """Events to this API's server-sent events, which are named and numbered."""

    __slots__ = ("_number", "_out", "_output", "_response")

    def __init__(self, head: ReplyHead, request: ChatRequest) -> None:
        self._response = _Response(head, request.echo)
        self._output = Output(self._response.seed, self._emit, _custom_names(request))
        self._out = bytearray()
        self._number = 0

    def encode_step(self, step: Step, out: bytearray) -> None:
        """Append the events that tell of it."""
        self._out = out
        self._begin()
        _take(step, self._output, self._response)

    def encode_end(self, closing: Closing) -> bytes:
        """The ends of what is open, the whole response, the end mark."""
        self._out = bytearray()
        self._begin()
        _close(self._output)
        return self._end(_with_metadata(self._response.show_end(self._output, closing), closing.metadata))

    def encode_error(self, error: GatewayError, metadata: Json | None = None) -> bytes:
        """The response as far as it came; for the lengths' errors an end like any other."""
        self._out = bytearray()
        self._begin()
        self._output.close("incomplete")
        return self._end(_with_metadata(self._response.show_error(self._output, error), metadata))

    def _begin(self) -> None:
        if self._number == 0:
            response = self._response.show("in_progress")
            self._emit("response.created", {"response": response})
            self._emit("response.in_progress", {"response": response})

    def _end(self, response: Json) -> bytes:
        self._emit(f"response.{response['status']}", {"response": response})
        return bytes(self._out) + chat.DONE

    def _emit(self, kind: str, fields: Json) -> None:
        data = _encode({"type": kind, **fields, "sequence_number": self._number})
        self._out += b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"
        self._number += 1


class BodyEncoder:
    """Events to one response."""

    __slots__ = ("_output", "_response")

    def __init__(self, head: ReplyHead, request: ChatRequest) -> None:
        self._response = _Response(head, request.echo)
        self._output = Output(self._response.seed, _keep_quiet, _custom_names(request))

    def add_step(self, step: Step) -> None:
        """Take what the step adds."""
        _take(step, self._output, self._response)

    def encode_end(self, closing: Closing) -> bytes:
        """The whole body."""
        _close(self._output)
        return _encode(_with_metadata(self._response.show_end(self._output, closing), closing.metadata))

    def encode_error(self, error: GatewayError, metadata: Json | None = None) -> bytes:
        """The whole body of an answer that broke off."""
        self._output.close("incomplete")
        return _encode(_with_metadata(self._response.show_error(self._output, error), metadata))


def _with_metadata(response: Json, metadata: Json | None) -> Json:
    return response if metadata is None else response | {"openrouter_metadata": metadata}


def _close(output: Output) -> None:
    output.close("incomplete" if output.finish_reason in (*_REASONS, "error") else "completed")


def _custom_names(request: ChatRequest) -> frozenset[str]:
    """Return the names of the request's custom tools, of which the hub knows nothing."""
    tools = dicts_in(request.echo.get("tools"))
    return frozenset(tool["name"] for tool in tools if tool.get("type") == "custom")


def _keep_quiet(kind: str, fields: Json) -> None:
    """Whole responses have no events."""


def _take(step: Step, output: Output, response: _Response) -> None:
    """Take a step: there is one choice in this API."""
    for choice in step.choices:
        if choice["index"] == 0:
            output.take(choice)
    if isinstance(tier := step.chunk.get("service_tier"), str):
        response.service_tier = tier


class Responses:
    """The skin; see `base.Skin` and `base.Forgiving`."""

    api_type = "completions"  # the ledger's kinds of generation have no other for text (generation, `api_type`)
    stream_type = chat.STREAM_TYPE
    comment = chat.COMMENT

    def parse(self, body: bytes) -> ChatRequest:
        """See `responses_request.parse`."""
        return responses_request.parse(body)

    def stream_encoder(self, head: ReplyHead, request: ChatRequest) -> base.StreamEncoder:
        """See `base.Skin`."""
        return stream_as_asked(StreamEncoder(head, request), request)

    def body_encoder(self, head: ReplyHead, request: ChatRequest) -> base.BodyEncoder:
        """See `base.Skin`."""
        return body_as_asked(BodyEncoder(head, request), request)

    def encode_error_body(
        self, error: GatewayError, generation_id: str | None = None, metadata: Json | None = None
    ) -> bytes:
        """As in a chat, where the code is the status, with the exact type beside it."""
        body = {"error": chat.error_object(error), "error_type": error.error_type}
        return _encode(_with_metadata(body, metadata))

    def forgive(self, error: GatewayError, head: ReplyHead, request: ChatRequest) -> bytes | None:
        """A prompt that is too long has an answer: one of no length."""
        if error.error_type not in _LENGTHS:
            return None
        encoder = (StreamEncoder if request.stream else BodyEncoder)(head, request)
        return encoder.encode_error(error)
