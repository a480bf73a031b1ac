"""What a protocol is: the outbound dialect of a provider, as pure functions over bytes and events."""

from collections.abc import Mapping
from typing import NamedTuple
from typing import Protocol as Interface

from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.events import Event
from openrouter_gateway.errors import UpstreamError


class Address(NamedTuple):
    """Where one kind of request goes: `path`, with its query, is appended to the provider's base URL.

    `headers` are those beside the key's. Values are few, as callers keep what they make of each.
    """

    path: str
    headers: tuple[tuple[str, str], ...] = ()


class Decoder(Interface):
    """Turns one reply's bytes into events. One use per reply."""

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes, cut anywhere; return the events that they complete.

        Raises:
            Garbled: the bytes are not this protocol.
        """
        ...

    def finish(self) -> list[Event]:
        """Take note that no bytes follow; return the last events.

        Raises:
            Cut: the reply stopped before the protocol's own end mark.
            Garbled: the bytes are not this protocol.
        """
        ...


class Codec(Interface):
    """One kind of request in one outbound dialect: chat as its `Protocol` has it, or a task."""

    def address(self, request: ChatRequest, endpoint: Endpoint) -> Address:
        """Return where the provider's request goes."""
        ...

    def encode(self, request: ChatRequest, endpoint: Endpoint) -> bytes:
        """Return the body of the provider's request.

        Raises:
            Refused: the request asks for what the provider does not have.
        """
        ...

    def decoder(self, request: ChatRequest, content_type: str) -> Decoder:
        """Return a decoder for a 2xx reply of that `Content-Type`."""
        ...


class Protocol(Interface):
    """One outbound dialect."""

    def chat_address(self, request: ChatRequest, endpoint: Endpoint) -> Address:
        """Return where the provider's request goes."""
        ...

    def auth_headers(self, key: str) -> dict[str, str]:
        """Return the headers that carry the provider's key."""
        ...

    def encode_chat(self, request: ChatRequest, endpoint: Endpoint) -> bytes:
        """Return the body of the provider's request."""
        ...

    def chat_decoder(self, request: ChatRequest, content_type: str) -> Decoder:
        """Return a decoder for a 2xx reply of that `Content-Type`."""
        ...

    def parse_refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """Return the error that a reply with another status means."""
        ...
