r"""One generation, from bytes in to bytes out. Read this first: it is the only orchestration.

    bytes -parse-> ChatRequest -authorize-> Grant -plan-> RoutePlan -failover-> endpoint -> caller -> provider
    client <-encoder- events <------------------------------------------ decoder <--------------------'
                       \ meter -> Usage -> price -> Generation -> ledger

Facts are fetched here, decisions are made by the pure functions that this file calls. Nothing of an answer, not even
its status, is sent before its first event, so that a failing provider costs the caller nothing but time; the one
exception is a stream that stays silent, which is opened with comments so that no proxy in between gives it up.
"""

import asyncio
import contextlib
import logging
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Any, Final

import msgspec
from msgspec import Struct

from openrouter_gateway.accounting.authorize import Grant, hide_user
from openrouter_gateway.accounting.budget import estimate
from openrouter_gateway.accounting.meter import Meter
from openrouter_gateway.accounting.price import price_usage
from openrouter_gateway.callers.base import Caller
from openrouter_gateway.core.catalog import Catalog, Endpoint
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.events import Ended, Event, Failed, Step, UsageReported
from openrouter_gateway.core.generation import AttemptRecord, Ending, Generation
from openrouter_gateway.core.usage import Cost, Usage
from openrouter_gateway.errors import GatewayError, InternalError, Unavailable, UpstreamError
from openrouter_gateway.identifier import new_generation_id
from openrouter_gateway.routing.explain import explain
from openrouter_gateway.routing.facts import Facts
from openrouter_gateway.routing.failover import failover
from openrouter_gateway.routing.health import Health, verdict_of
from openrouter_gateway.routing.plan import RoutePlan, draft_route, plan_route
from openrouter_gateway.stores.accountant import Accountant
from openrouter_gateway.stores.ledger import Ledger
from openrouter_gateway.stores.state import Claim
from openrouter_gateway.wire.skins.base import BodyEncoder, ReplyHead, Skin, StreamEncoder
from openrouter_gateway.wire.skins.chat import Chat

_GOODBYE_S: Final = 1.0
_log = logging.getLogger(__name__)


class Call(Struct, frozen=True, kw_only=True):
    """What came in: the dialect, the body, the presented key, and what the headers say."""

    skin: Skin
    body: bytes
    credential: str | None = None
    app_url: str | None = None
    app_title: str | None = None
    session_id: str | None = None
    betas: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Call of {len(self.body)} bytes>"


class Client(ABC):
    """The caller's side of one exchange; `edge` implements it over ASGI.

    `started` once the status is out, `finished` once the last byte is handed over, `gone` once the caller hung up;
    `writes` counts what has been sent.
    """

    started = False
    finished = False
    gone = False
    writes = 0

    @abstractmethod
    async def start_stream(self, generation_id: str, content_type: bytes) -> None:
        """Send status 200 and the headers of an event stream."""

    @abstractmethod
    async def write(self, data: bytes, *, last: bool = False) -> None:
        """Send bytes of an event stream."""

    @abstractmethod
    async def answer(self, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        """Send a whole JSON answer."""


class Services(Struct, frozen=True, kw_only=True):
    """All that serving needs from outside.

    `callers` has one for each provider slug of the catalogue's endpoints; `clock` gives unix seconds, `timer` seconds
    that never jump.
    """

    catalog: Catalog
    callers: Mapping[str, Caller]
    health: Health
    ledger: Ledger
    accountant: Accountant
    clock: Callable[[], float]
    timer: Callable[[], float]
    dice: random.Random
    comment_interval_s: float


async def serve(services: Services, call: Call, client: Client) -> None:
    """Serve one inference call. Every failure is answered in the caller's dialect; only cancellation passes through."""
    created = services.clock()
    generation_id = new_generation_id(int(created), services.dice)
    try:
        grant = services.accountant.admit(call.credential)
        request = hide_user(call.skin.parse(call.body), grant)
    except GatewayError as error:
        await client.answer(error.status, call.skin.encode_error_body(error), _error_headers(error, generation_id))
        return
    if call.betas:
        request = msgspec.structs.replace(request, betas=call.betas)
    await _Generation(services, call, client, request, grant, generation_id, created).run()


def explain_plan(services: Services, body: bytes) -> dict[str, Any]:
    """Return how a chat completion with this body would be routed now, and why; nothing is sent.

    Raises:
        GatewayError: the body is no request, or its models cannot be resolved.
    """
    request = Chat().parse(body)
    facts = _facts_of(services, services.timer())
    return explain(request, draft_route(request, services.catalog, facts), facts)


def _facts_of(services: Services, now: float) -> Facts:
    return Facts(now=now, dice=services.dice.random, health=services.health.views)


class _Generation:
    """The state of one generation while it runs."""

    def __init__(
        self,
        services: Services,
        call: Call,
        client: Client,
        request: ChatRequest,
        grant: Grant,
        generation_id: str,
        created: float,
    ) -> None:
        self._services = services
        self._call = call
        self.skin = call.skin
        self._encoder: StreamEncoder | None = None  # of the running attempt
        self._client = client
        self._request = request
        self._grant = grant
        self._id = generation_id
        self._created = created
        self._began = services.timer()
        self._first_event_at: float | None = None
        self._endpoint: Endpoint | None = None
        self.meter = Meter()
        self._attempts: list[AttemptRecord] = []
        self._error: GatewayError | None = None
        self._bill: tuple[Usage, Cost] | None = None  # once the answer is complete
        self._ended_at: float | None = None
        self._claim: Claim | None = None
        self._recorded = False
        self.given = False  # some of the answer itself has been sent

    async def run(self) -> None:
        """Try endpoints until one serves; record the generation whatever happens."""
        ending: Ending = "cancelled"
        heartbeat = None
        if self._request.stream:
            heartbeat = _Heartbeat(self._client, self._call.skin, self._id, self._services.comment_interval_s)
        try:
            try:
                await self._try_endpoints()
            except GatewayError as error:
                await self._fail(error)
            except Exception:  # noqa: BLE001 - the last line of defence
                _log.exception("generation %s failed inside the gateway", self._id)
                await self._fail(InternalError("Internal Server Error"))
            ending = "finished" if self._error is None else "failed"
        except asyncio.CancelledError:
            self._record(ending)  # first: a caller who does not read may hold up the goodbye
            await self._say_goodbye()
            raise
        finally:
            if heartbeat is not None:
                heartbeat.stop()
            self._record(ending)

    async def _try_endpoints(self) -> None:
        services = self._services
        facts = _facts_of(services, self._began)
        plan = plan_route(self._request, services.catalog, facts)
        await self._reserve(plan)
        attempts = failover(plan)
        endpoint = next(attempts)
        while True:
            began = services.timer()
            self._endpoint = endpoint
            self._first_event_at = None
            self.meter = Meter()
            services.health.begin(endpoint.key, began)
            try:
                await self._attempt(endpoint)
            except asyncio.CancelledError:
                services.health.record(endpoint.key, services.timer(), "abandoned")
                raise
            except UpstreamError as error:
                error.provider = error.provider or endpoint.provider.name
                self._note_attempt(endpoint, began, error)
                if self.given:
                    raise
                try:
                    endpoint = attempts.send(error)
                except StopIteration as stop:
                    raise stop.value from error
            else:
                self._note_attempt(endpoint, began, None)
                return

    async def _reserve(self, plan: RoutePlan) -> None:
        """Take the estimate from the key's limits. Who has none left is not served, which is no generation."""
        expected = estimate(self._request, plan.endpoints)
        try:
            self._claim = await self._services.accountant.reserve(self._grant, self._id, expected, self._created)
        except GatewayError:
            self._recorded = True
            raise

    async def _attempt(self, endpoint: Endpoint) -> None:
        """Bring one endpoint's answer to the client.

        Raises:
            UpstreamError: the endpoint failed, before or (see `given`) within its answer.
        """
        caller = self._services.callers[endpoint.provider.slug]
        head = self._head(endpoint)
        reply: _StreamedReply | _WholeReply
        if self._request.stream:
            self._encoder = self.skin.stream_encoder(head, self._request)
            reply = _StreamedReply(self, self._encoder)
        else:
            reply = _WholeReply(self, self.skin.body_encoder(head, self._request))
        async with aclosing(caller.call(self._request, endpoint)) as batches:
            async for events in batches:
                if self._first_event_at is None:
                    self._first_event_at = self._services.timer()
                await reply.take(events)

    def usage_and_cost(self) -> tuple[Usage, Cost]:
        """What the answer so far has used and costs; final once asked for at its end."""
        if self._bill is None:
            self._bill = self._compute_bill()
        return self._bill

    def _compute_bill(self) -> tuple[Usage, Cost]:
        usage = self.meter.usage(self._request)
        if self._endpoint is None:
            return usage, Cost()
        return usage, price_usage(usage, self._endpoint.price)

    async def give(self, data: bytes, *, last: bool) -> None:
        """Send a part of a streamed answer."""
        self.given = True
        if not self._client.started:
            await self._client.start_stream(self._id, self.skin.stream_type)
        if last:
            self._ended_at = self._services.timer()
        await self._client.write(data, last=last)

    async def give_whole(self, body: bytes) -> None:
        """Send a whole answer."""
        self.given = True
        self._ended_at = self._services.timer()
        await self._client.answer(200, body, [(b"x-generation-id", self._id.encode())])

    async def _fail(self, error: GatewayError) -> None:
        """Tell the caller, with a status if none is out yet, within the stream otherwise."""
        if self._error is None:
            self._error = error
        client = self._client
        if client.finished or client.gone:
            return
        if client.started:
            await client.write(self._encode_in_stream(error), last=True)
        else:
            body = self.skin.encode_error_body(error, self._id)
            await client.answer(error.status, body, _error_headers(error, self._id))

    def _encode_in_stream(self, error: GatewayError) -> bytes:
        encoder = self._encoder
        if encoder is None or not self.given:  # what an encoder has said counts once it is sent
            encoder = self.skin.stream_encoder(self._head(self._endpoint), self._request)
        return encoder.encode_error(error)

    def _head(self, endpoint: Endpoint | None) -> ReplyHead:
        return ReplyHead(
            id=self._id,
            created=int(self._created),
            model=endpoint.model_id if endpoint else next(iter(self._request.requested_models), ""),
            provider=endpoint.provider.name if endpoint else "",
        )

    async def _say_goodbye(self) -> None:
        """The task is being cancelled. If that is not the caller's doing, the gateway is stopping: say so."""
        if self._client.gone or self._client.finished:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE_S):
                await self._fail(Unavailable("The gateway is shutting down; please send the request again"))

    def _note_attempt(self, endpoint: Endpoint, began: float, error: UpstreamError | None) -> None:
        if error is not None:
            # Quoted: what a provider says may hold line ends, and must not look like log lines of ours.
            _log.warning("%s: %s failed: %s: %r", self._id, endpoint.tag, type(error).__name__, error.message)
        now = self._services.timer()
        self._tell_health(endpoint, began, now, error)
        self._attempts.append(
            AttemptRecord(
                provider=endpoint.provider.slug,
                tag=endpoint.tag,
                outcome="served" if error is None else type(error).__name__,
                status=200 if error is None else error.provider_status,
                duration_s=now - began,
                model=endpoint.model_id,
            )
        )

    def _tell_health(self, endpoint: Endpoint, began: float, now: float, error: UpstreamError | None) -> None:
        verdict = verdict_of(error)
        if verdict == "served" and self.meter.finish_reason == "error":
            verdict = "failed"
        reported, first = self.meter.reported, self._first_event_at
        measured = verdict == "served" and reported is not None and reported.completion_tokens and now > began
        self._services.health.record(
            endpoint.key,
            now,
            verdict,
            latency_s=first - began if first is not None and verdict == "served" else None,
            tokens_per_s=reported.completion_tokens / (now - began) if measured and reported is not None else None,
            retry_after_s=None if error is None else error.retry_after_s,
        )

    def _record(self, ending: Ending) -> None:
        if self._recorded:
            return
        self._recorded = True
        ended_at = self._ended_at or self._services.timer()
        endpoint, error, meter, params = self._endpoint, self._error, self.meter, self._request.params
        usage, cost = self.usage_and_cost()
        self._services.ledger.record(
            Generation(
                id=self._id,
                created=self._created,
                ending=ending,
                requested_models=self._request.requested_models,
                model=endpoint.model_id if endpoint else None,
                provider=endpoint.provider.slug if endpoint else None,
                streamed=self._request.stream,
                usage=usage,
                cost=cost,
                finish_reason="error" if error else meter.finish_reason,
                native_finish_reason=meter.native_finish_reason,
                error_type=error.error_type if error else None,
                status=error.status if error else 200,
                attempts=self._attempts,
                latency_s=None if self._first_event_at is None else self._first_event_at - self._began,
                duration_s=ended_at - self._began,
                key_hash=self._grant.key_hash,
                app_url=self._call.app_url,
                app_title=self._call.app_title,
                user=params.user,
                session_id=params.session_id or self._call.session_id,
                api_type=self.skin.api_type,
            )
        )
        if self._claim is not None:
            self._services.accountant.settle(self._claim, cost, usage.prompt_tokens + usage.completion_tokens)


class _StreamedReply:
    """Events to server-sent events: what one read of the provider brought is one write to the client.

    Chunks that say nothing yet, such as the one with the role that many providers open with, wait for the first that
    does: until then another endpoint can take over.
    """

    def __init__(self, generation: _Generation, encoder: StreamEncoder) -> None:
        self._generation = generation
        self._encoder = encoder
        self._out = bytearray()
        self._speaks = False

    async def take(self, events: list[Event]) -> None:
        """Pass events on. A failure after output goes out behind what came before it; one before output does not."""
        generation, out = self._generation, self._out
        ended = False
        failure: UpstreamError | None = None
        for event in events:
            if type(event) is Step:
                generation.meter.watch(event)
                if not self._speaks:
                    self._speaks = _says_something(event)
                self._encoder.encode_step(event, out)
            elif type(event) is UsageReported:
                generation.meter.reported = event.usage
            elif type(event) is Failed:
                failure = event.error
            else:
                out += self._encoder.encode_end(*generation.usage_and_cost())
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


class _WholeReply:
    """Events to one JSON body."""

    def __init__(self, generation: _Generation, encoder: BodyEncoder) -> None:
        self._generation = generation
        self._encoder = encoder

    async def take(self, events: list[Event]) -> None:
        """Collect; answer when the reply has ended."""
        generation = self._generation
        for event in events:
            if type(event) is Step:
                generation.meter.watch(event)
                self._encoder.add_step(event)
            elif type(event) is UsageReported:
                generation.meter.reported = event.usage
            elif type(event) is Failed:
                raise event.error
            elif type(event) is Ended:
                await generation.give_whole(self._encoder.encode_end(*generation.usage_and_cost()))


class _Heartbeat:
    """Comments into a stream while nothing arrives: a timer that looks whether anything was sent since it last did."""

    def __init__(self, client: Client, skin: Skin, generation_id: str, interval_s: float) -> None:
        self._client = client
        self._skin = skin
        self._generation_id = generation_id
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
            await client.start_stream(self._generation_id, self._skin.stream_type)
        await client.write(self._skin.comment)

    def stop(self) -> None:
        """No more comments."""
        self._handle.cancel()
        if self._sending is not None:
            self._sending.cancel()


def _error_headers(error: GatewayError, generation_id: str) -> list[tuple[bytes, bytes]]:
    return [(b"x-generation-id", generation_id.encode()), *error.headers()]
