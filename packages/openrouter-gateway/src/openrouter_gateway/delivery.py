"""How an answer reaches its caller: events encoded as they come, or as one body, and comments while nothing comes."""

import asyncio
from abc import ABC, abstractmethod
from typing import Protocol as Interface
from typing import TypeAlias

from openrouter_gateway.accounting.meter import Meter
from openrouter_gateway.broadcast.transcript import Transcript
from openrouter_gateway.core.events import Ended, Event, Failed, Step, UsageReported
from openrouter_gateway.errors import UpstreamError
from openrouter_gateway.wire.skins.base import BodyEncoder, Closing, Skin, StreamEncoder

Headers: TypeAlias = list[tuple[bytes, bytes]]


class Client(ABC):
    """The caller's side of one exchange; `edge` implements it over ASGI.

    `started` once the status is out, `finished` once the last byte is handed over, `gone` once the caller hung up;
    `failed`: it is an error that was handed over. `writes` counts what has been sent.
    """

    started = False
    finished = False
    gone = False
    failed = False
    writes = 0

    @abstractmethod
    async def start_stream(self, content_type: bytes, headers: Headers) -> None:
        """Send status 200, the headers of an event stream, and more."""

    @abstractmethod
    async def write(self, data: bytes, *, last: bool = False) -> None:
        """Send bytes of an event stream."""

    @abstractmethod
    async def answer(self, status: int, body: bytes, headers: Headers) -> None:
        """Send a whole JSON answer."""


class Generating(Interface):
    """What replies need of the generation that they belong to.

    `given`: some of the answer itself has been sent. `transcript` is there if anyone wants to know what is said.
    """

    meter: Meter
    transcript: Transcript | None
    given: bool

    def closing(self) -> Closing:
        """Return what is said at the end of the answer; final once asked for."""
        ...

    async def give(self, data: bytes, *, last: bool) -> None:
        """Send a part of a streamed answer."""
        ...

    async def give_whole(self, body: bytes) -> None:
        """Send a whole answer."""
        ...


class StreamedReply:
    """Events to server-sent events: what one read of the provider brought is one write to the client.

    Chunks that say nothing yet, such as the one with the role that many providers open with, wait for the first that
    does: until then another endpoint can take over. `tier` is the service tier asked for, which is taken to be the one
    that serves until the provider says otherwise.
    """

    def __init__(self, generation: Generating, encoder: StreamEncoder, tier: str | None = None) -> None:
        self._generation = generation
        self._encoder = encoder
        self._tier = tier
        self._out = bytearray()
        self._speaks = False

    async def take(self, events: list[Event]) -> None:
        """Pass events on. A failure after output goes out behind what came before it; one before output does not."""
        generation, out = self._generation, self._out
        if generation.transcript is not None:
            generation.transcript.take(events)  # first: encoding changes steps
        ended = False
        failure: UpstreamError | None = None
        for event in events:
            if type(event) is Step:
                generation.meter.watch(event)
                if self._tier is not None and generation.meter.service_tier is None:
                    event.chunk["service_tier"] = self._tier
                if not self._speaks:
                    self._speaks = _says_something(event)
                self._encoder.encode_step(event, out)
            elif type(event) is UsageReported:
                generation.meter.reported = event.usage
            elif type(event) is Failed:
                failure = event.error
            else:
                out += self._encoder.encode_end(generation.closing())
                ended = True
        if out and ((self._speaks and failure is None) or ended or generation.given):
            await generation.give(bytes(out), last=ended)
            out.clear()
        if failure is not None:
            raise failure


def _says_something(step: Step) -> bool:
    return any(
        choice["finish_reason"] is not None or any(value for key, value in choice["delta"].items() if key != "role")
        for choice in step.choices
    )


class WholeReply:
    """Events to one JSON body. `tier` is as in `StreamedReply`."""

    def __init__(self, generation: Generating, encoder: BodyEncoder, tier: str | None = None) -> None:
        self._generation = generation
        self._encoder = encoder
        self._tier = tier

    async def take(self, events: list[Event]) -> None:
        """Collect; answer when the reply has ended."""
        generation = self._generation
        if generation.transcript is not None:
            generation.transcript.take(events)  # first: encoding changes steps
        for event in events:
            if type(event) is Step:
                generation.meter.watch(event)
                if self._tier is not None and generation.meter.service_tier is None:
                    event.chunk["service_tier"] = self._tier
                self._encoder.add_step(event)
            elif type(event) is UsageReported:
                generation.meter.reported = event.usage
            elif type(event) is Failed:
                raise event.error
            elif type(event) is Ended:
                await generation.give_whole(self._encoder.encode_end(generation.closing()))


class Heartbeat:
    """Comments into a stream while nothing arrives: a timer that looks whether anything was sent since it last did."""

    def __init__(self, client: Client, skin: Skin, headers: Headers, interval_s: float) -> None:
        self._client = client
        self._skin = skin
        self._headers = headers
        self._interval_s = interval_s
        self._loop = asyncio.get_running_loop()
        self._handle = self._loop.call_later(interval_s, self._beat)
        self._writes_seen = 0
        self._sending: asyncio.Task[None] | None = None

    def _beat(self) -> None:
        writes = self._client.writes
        if writes == self._writes_seen and (self._sending is None or self._sending.done()):
            self._sending = self._loop.create_task(self._comment())
            writes += 1
        self._writes_seen = writes
        self._handle = self._loop.call_later(self._interval_s, self._beat)

    async def _comment(self) -> None:
        client = self._client
        if client.finished or client.gone:
            return
        if not client.started:
            await client.start_stream(self._skin.stream_type, self._headers)
        await client.write(self._skin.comment)

    def stop(self) -> None:
        """No more comments."""
        self._handle.cancel()
        if self._sending is not None:
            self._sending.cancel()
