"""Calls endpoints over HTTP: protocol and pool to events."""

from collections.abc import AsyncGenerator, Mapping
from typing import Final

from openrouter_gateway.callers.pool import Answer, Poster, Target
from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.events import Ended, Event, Failed
from openrouter_gateway.errors import UpstreamError
from openrouter_gateway.wire.protocols import PROTOCOLS, codec_of
from openrouter_gateway.wire.protocols.base import Address, Protocol

_MAX_REFUSAL_BYTES: Final = 64 * 1024
_MOST_TARGETS: Final = 4_096  # some are made of what callers send


class HTTPCaller:
    """Calls providers at their base URL with the gateway's key for each.

    `keys` maps provider slugs to keys. Providers that need none, such as local servers, may be absent.
    """

    def __init__(self, pool: Poster, keys: Mapping[str, str]) -> None:
        self._pool = pool
        self._keys = dict(keys)
        self._targets: dict[tuple[str, str, Address], Target] = {}

    def __repr__(self) -> str:
        return f"<HTTPCaller keys_for={sorted(self._keys)}>"

    def call(self, request: ChatRequest, endpoint: Endpoint) -> AsyncGenerator[list[Event]]:
        """See `base.Caller`."""
        provider = endpoint.provider
        address = codec_of(endpoint.protocol, request).address(request, endpoint)
        target = self._targets.get((provider.slug, endpoint.protocol, address))
        if target is None:
            if len(self._targets) >= _MOST_TARGETS:
                self._targets.clear()
            target = target_of(PROTOCOLS[endpoint.protocol], address, provider.base_url, self._keys.get(provider.slug))
            self._targets[provider.slug, endpoint.protocol, address] = target
        return self.call_at(target, request, endpoint)

    async def call_at(self, target: Target, request: ChatRequest, endpoint: Endpoint) -> AsyncGenerator[list[Event]]:
        """Call an endpoint at an address that is only known now."""
        protocol = PROTOCOLS[endpoint.protocol]
        codec = codec_of(endpoint.protocol, request)
        body = codec.encode(request, endpoint)
        reply: Answer | None = None
        try:
            reply = await self._pool.post(target, body)
            if not 200 <= reply.status < 300:
                raise protocol.parse_refusal(reply.status, reply.headers, await _read_refusal(reply))
            decoder = codec.decoder(request, reply.headers.get("Content-Type", ""))
            while data := await reply.read_some():
                events = decoder.feed(data)
                if events:
                    last = events[-1]
                    if type(last) is Failed:
                        target.hide_key(last.error)
                    yield events
                    if type(last) is Ended:
                        reply.finish()
                        return
            events = decoder.finish()
            if events:
                yield events
        except UpstreamError as error:
            target.hide_key(error)
            raise
        finally:
            if reply is not None:
                reply.close()


def target_of(protocol: Protocol, address: Address, base_url: str, key: str | None) -> Target:
    """Return where a provider's requests of one kind go."""
    headers = dict(address.headers) | (protocol.auth_headers(key) if key else {})
    return Target.from_parts(base_url.rstrip("/") + address.path, headers, key or "")


async def _read_refusal(reply: Answer) -> bytes:
    pieces = bytearray()
    while len(pieces) < _MAX_REFUSAL_BYTES and (data := await reply.read_some()):
        pieces += data
    return bytes(pieces)
