"""Vectors of a protocol as data: what a request becomes, and which events a reply's bytes become.

A vector is a JSON file in `vectors/<protocol>/`:

    about         one sentence
    covers        the rows of docs/gateway/support.md that it shows
    upstream_id   the provider's name of the model
    service_tier  the endpoint's, if it is one
    request       OpenRouter's chat request
    address       where it goes, below the base URL
    body          what is sent there
    reply         `sse`, a list of chunks; or `json`, a body; or `text`, whatever comes; with its `content_type`
    ending        how the reply is cut up on the wire, for `sse`: the end of its lines
    events        what the decoder makes of it; `["raised", ...]` for an error that it raises at the end

To write one, leave out what is expected, run `shown(vector.events())` and read every line of it before keeping it.
"""

import json
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from openrouter_gateway.core.catalog import Endpoint, Provider
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.events import Ended, Event, Failed, Step, UsageReported
from openrouter_gateway.core.usage import Usage
from openrouter_gateway.errors import UpstreamError
from openrouter_gateway.wire.protocols import PROTOCOLS
from openrouter_gateway.wire.protocols.base import Decoder, Protocol
from openrouter_gateway.wire.skins import chat

FOLDER = Path(__file__).parent / "vectors"
_NO_USAGE = Usage()


class Vector(Struct, frozen=True, kw_only=True):
    """One vector; `name` is its file's."""

    name: str
    protocol: str
    fields: dict[str, Any]

    def __str__(self) -> str:
        return self.name

    @property
    def speaker(self) -> Protocol:
        """The protocol under test."""
        return PROTOCOLS[self.protocol]

    @property
    def request(self) -> ChatRequest:
        """The request as the skin parses it."""
        return chat.parse(json.dumps(self.fields["request"]).encode())

    @property
    def endpoint(self) -> Endpoint:
        """Where it goes."""
        provider = Provider(slug="acme", name="Acme", protocol=self.protocol)
        return Endpoint(
            model_id="acme/one",
            provider=provider,
            upstream_id=self.fields["upstream_id"],
            tag="acme",
            tier=self.fields.get("service_tier"),
        )

    @property
    def reply(self) -> bytes:
        """The reply's bytes."""
        reply = self.fields["reply"]
        if "text" in reply:
            return reply["text"].encode()
        if "json" in reply:
            return json.dumps(reply["json"], indent=2, ensure_ascii=False).encode()
        end = reply.get("ending", "\r\n")
        return "".join(f"data: {json.dumps(chunk)}{end}{end}" for chunk in reply["sse"]).encode()

    def decoder(self) -> Decoder:
        """A decoder of the reply."""
        return self.speaker.chat_decoder(self.request, self.fields["reply"].get("content_type", ""))

    def events(self, *pieces: bytes) -> list[Event | UpstreamError]:
        """What the decoder makes of the reply when it comes in these pieces, or whole."""
        return decode(self.decoder(), *(pieces or (self.reply,)))


def load_vectors(protocol: str) -> list[Vector]:
    """Return the vectors of a protocol."""
    found = sorted((FOLDER / protocol).glob("*.json"))
    return [Vector(name=path.stem, protocol=protocol, fields=json.loads(path.read_text())) for path in found]


def decode(decoder: Decoder, *pieces: bytes) -> list[Event | UpstreamError]:
    """Return all that a decoder gives, the way a caller uses it: an error that it raises is the last."""
    events: list[Event | UpstreamError] = []
    try:
        for piece in pieces:
            events += decoder.feed(piece)
            if events and isinstance(events[-1], Ended | Failed):
                return events
        events += decoder.finish()
    except UpstreamError as error:
        events.append(error)
    return events


def shown(events: list[Event | UpstreamError]) -> list[Any]:
    """Return events as JSON values, without what is at its default."""
    return [json.loads(msgspec.json.encode(_show(event))) for event in events]


def _show(event: Event | UpstreamError) -> list[Any]:
    match event:
        case Step():
            return ["step", event.choices]
        case UsageReported(usage=usage):
            counts = msgspec.structs.asdict(usage)
            return ["usage", {key: value for key, value in counts.items() if value != getattr(_NO_USAGE, key)}]
        case Failed(error=error):
            return ["failed", _show_error(error)]
        case Ended():
            return ["ended"]
        case UpstreamError():
            return ["raised", _show_error(event)]


def _show_error(error: UpstreamError) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "kind": type(error).__name__,
        "status": error.status,
        "error_type": error.error_type,
        "failover": error.failover,
        "provider_status": error.provider_status,
        "provider_code": error.provider_code,
        "retry_after_s": error.retry_after_s,
        "message": error.message,
    }
    return {key: value for key, value in fields.items() if value is not None}
