"""What a skin is: an inbound dialect of the API, as pure functions over bytes and events."""

from typing import Any, runtime_checkable
from typing import Protocol as Interface

from msgspec import Struct

from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.events import Step
from openrouter_gateway.core.usage import Cost, Usage
from openrouter_gateway.errors import GatewayError


class ReplyHead(Struct, frozen=True, kw_only=True):
    """What one reply repeats. `created` is unix seconds, `provider` a display name."""

    id: str
    created: int
    model: str
    provider: str


class Closing(Struct, frozen=True, kw_only=True):
    """What the end of an answer says.

    `at` is when that is, in unix seconds. `metadata` is the router's, for callers who asked for it.
    """

    usage: Usage
    cost: Cost
    at: int | None = None
    metadata: dict[str, Any] | None = None


class StreamEncoder(Interface):
    """Events to server-sent events. One use per reply."""

    def encode_step(self, step: Step, out: bytearray) -> None:
        """Append what the step says; it may be changed."""
        ...

    def encode_end(self, closing: Closing) -> bytes:
        """Return the end of a complete answer."""
        ...

    def encode_error(self, error: GatewayError, metadata: dict[str, Any] | None = None) -> bytes:
        """Return the end of an answer that breaks off."""
        ...


class BodyEncoder(Interface):
    """Events to one JSON body, however many steps they came in."""

    def add_step(self, step: Step) -> None:
        """Take what the step adds; it may be changed."""
        ...

    def encode_end(self, closing: Closing) -> bytes:
        """Return the whole body."""
        ...


class Skin(Interface):
    """One inbound dialect. `api_type` is what the ledger calls it (OpenRouter API, generation, 2026-08-22)."""

    api_type: str
    stream_type: bytes
    """The `Content-Type` of streams."""
    comment: bytes
    """What goes into a stream while nothing arrives."""

    def parse(self, body: bytes) -> ChatRequest:
        """Read a request into the hub's form. What the skin's encoders need of it besides goes into `echo`.

        Raises:
            BadRequest: not a JSON object, or a field of the wrong type or out of range; the message names it.
        """
        ...

    def stream_encoder(self, head: ReplyHead, request: ChatRequest) -> StreamEncoder:
        """Return the encoder of one streamed reply."""
        ...

    def body_encoder(self, head: ReplyHead, request: ChatRequest) -> BodyEncoder:
        """Return the encoder of one whole reply."""
        ...

    def encode_error_body(
        self, error: GatewayError, generation_id: str | None = None, metadata: dict[str, Any] | None = None
    ) -> bytes:
        """Return the JSON body of an error that comes before any output."""
        ...


@runtime_checkable
class Forgiving(Interface):
    """A skin in which some errors that come before any output are answers."""

    def forgive(self, error: GatewayError, head: ReplyHead, request: ChatRequest) -> bytes | None:
        """Return the whole answer, a stream if the request asked for one; None: the error is one here, too."""
        ...
