"""What the skins of tasks share: one request, one JSON body, never a stream."""

from collections.abc import Callable
from typing import Any

import msgspec

from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.events import Step
from openrouter_gateway.core.usage import Cost, Usage
from openrouter_gateway.errors import GatewayError
from openrouter_gateway.wire.skins import chat
from openrouter_gateway.wire.skins.base import BodyEncoder, Closing, ReplyHead, StreamEncoder

_encode = msgspec.json.Encoder(decimal_format="number").encode


class OneShot:
    """A skin; see `base.Skin`. Its `parse` refuses requests for a stream.

    `show` returns the answer to a request, but for its usage, out of the chunk of the reply's one step; `show_usage`
    returns that.
    """

    stream_type = chat.STREAM_TYPE
    comment = chat.COMMENT

    def __init__(
        self,
        *,
        api_type: str,
        parse: Callable[[bytes], ChatRequest],
        show: Callable[[ChatRequest, dict[str, Any]], dict[str, Any]],
        show_usage: Callable[[Usage, Cost], dict[str, Any]],
    ) -> None:
        self.api_type = api_type
        self._parse = parse
        self._show = show
        self._show_usage = show_usage

    def parse(self, body: bytes) -> ChatRequest:
        """See `base.Skin`."""
        return self._parse(body)

    def stream_encoder(self, head: ReplyHead, request: ChatRequest) -> StreamEncoder:
        """See `base.Skin`."""
        raise NotImplementedError("answers to tasks are not streamed")

    def body_encoder(self, head: ReplyHead, request: ChatRequest) -> BodyEncoder:
        """See `base.Skin`."""
        return _Answer(head, lambda chunk: self._show(request, chunk), self._show_usage)

    def encode_error_body(
        self, error: GatewayError, generation_id: str | None = None, metadata: dict[str, Any] | None = None
    ) -> bytes:
        """As in chat."""
        return chat.encode_error_body(error, metadata)


class _Answer:
    """One step to one body."""

    __slots__ = ("_chunk", "_head", "_show", "_show_usage")

    def __init__(
        self,
        head: ReplyHead,
        show: Callable[[dict[str, Any]], dict[str, Any]],
        show_usage: Callable[[Usage, Cost], dict[str, Any]],
    ) -> None:
        self._head = head
        self._show = show
        self._show_usage = show_usage
        self._chunk: dict[str, Any] = {}

    def add_step(self, step: Step) -> None:
        """Take the only step."""
        self._chunk = step.chunk

    def encode_end(self, closing: Closing) -> bytes:
        """The whole body."""
        head = self._head
        body = {"id": head.id, "model": head.model, "provider": head.provider, **self._show(self._chunk)}
        body["usage"] = self._show_usage(closing.usage, closing.cost)
        if closing.metadata is not None:
            body["openrouter_metadata"] = closing.metadata
        return _encode(body)
