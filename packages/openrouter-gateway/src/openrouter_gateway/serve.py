r"""One generation, from bytes in to bytes out. Read this first: it is the only orchestration.

    bytes -parse-> ChatRequest -authorize-> Grant -plan-> RoutePlan -failover-> endpoint -> caller -> provider
    client <-encoder- events <------------------------------------------ decoder <--------------------'
                       \ meter -> Usage -> price -> Generation -> ledger

Facts are fetched here, decisions are made by the pure functions that this file calls; `delivery` has the way back to
the caller. Nothing of an answer, not even its status, is sent before its first event, so that a failing provider costs
the caller nothing but time; the one exception is a stream that stays silent, which is opened with comments so that no
proxy in between gives it up. What is known of a generation is recorded before the last byte of its answer is sent.
"""

import asyncio
import contextlib
import logging
from decimal import Decimal
from typing import Any, Final

import msgspec

from openrouter_gateway.accounting.authorize import Grant, hide_user
from openrouter_gateway.accounting.budget import estimate
from openrouter_gateway.accounting.insurance import is_billed
from openrouter_gateway.accounting.meter import Meter
from openrouter_gateway.accounting.price import price_served, price_usage
from openrouter_gateway.accounting.response_cache import (
    CachedAnswer,
    CacheWish,
    cache_key,
    hit_headers,
    miss_headers,
    place_of,
)
from openrouter_gateway.attempts import Attempts
from openrouter_gateway.broadcast.transcript import Transcript
from openrouter_gateway.callers.plugins import PluginRun, Prepared
from openrouter_gateway.contents import content_of, may_keep
from openrouter_gateway.core.account import Estimate
from openrouter_gateway.core.catalog import Endpoint, Price
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.events import Ended, Event, Step, UsageReported
from openrouter_gateway.core.generation import Ending, Generation
from openrouter_gateway.core.usage import Cost, Usage
from openrouter_gateway.delivery import Client, Headers, Heartbeat, StreamedReply, WholeReply
from openrouter_gateway.errors import (
    AccessError,
    AtCapacity,
    DeadlineExceeded,
    Garbled,
    GatewayError,
    InternalError,
    RoutingError,
    TimedOut,
    Unavailable,
    UpstreamError,
)
from openrouter_gateway.identifier import new_generation_id
from openrouter_gateway.logs import bind_generation
from openrouter_gateway.planning import facts_of, recall
from openrouter_gateway.routing.explain import router_metadata, unresolved
from openrouter_gateway.routing.failover import failover
from openrouter_gateway.routing.plan import RoutePlan, draft_route, refusal_of
from openrouter_gateway.routing.sticky import Conversation, remember
from openrouter_gateway.services import Call, Services
from openrouter_gateway.stores.state import Claim
from openrouter_gateway.wire.skins.base import Closing, Forgiving, ReplyHead, StreamEncoder

_GOODBYE_S: Final = 1.0
_NO_METADATA: Final = frozenset({401, 402, 429, 500})
"""Errors that come without router metadata (OpenRouter API, router metadata, 2026-08-22)."""
_CLIENT_CLOSED_REQUEST: Final = 499
"""In records, of those who hung up: nobody was sent a status, or an answer to its end. The number is nginx's."""
_NOTHING: Final = Estimate(Decimal(0), 0)
_log = logging.getLogger(__name__)


async def serve(services: Services, call: Call, client: Client) -> None:
    """Serve one inference call. Every failure is answered in the caller's dialect; only cancellation passes through."""
    created = services.clock()
    generation_id = new_generation_id(int(created), services.dice)
    bind_generation(generation_id)
    try:
        grant = services.accountant.admit_again(call.grant)
        request = hide_user(call.skin.parse(call.body), grant)
    except GatewayError as error:
        await client.answer(error.status, call.skin.encode_error_body(error), _error_headers(error, generation_id))
        return
    if call.betas:
        request = msgspec.structs.replace(request, betas=call.betas)
    await _Generation(services, call, client, request, grant, generation_id, created).run()


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
        self._headers: Headers = [(b"x-generation-id", generation_id.encode())]
        self._created = created
        self._began = services.timer()
        self._attempts = Attempts(generation_id, services.health, services.timer)
        self._plan: RoutePlan | None = None
        self._plugins: PluginRun | None = None
        self._endpoint: Endpoint | None = None
        self._conversation: Conversation | None = None
        self.meter = Meter()
        self._error: GatewayError | None = None
        self._bill: tuple[Usage, Cost] | None = None  # once the answer is complete
        self._claim: Claim | None = None
        self._kept: tuple[str, CacheWish, list[msgspec.Raw]] | None = None  # for the response cache, as it comes
        self._source: CachedAnswer | None = None  # it is from there
        self._may_keep = may_keep(request, services.policy)
        self._content_log = services.contents if self._may_keep else None
        self.transcript: Transcript | None = None
        self._deadline: asyncio.Timeout | None = None  # the whole request's
        self._concluded = False  # an answer is complete
        self._recorded = False
        self.given = False  # some of the answer itself has been sent

    async def run(self) -> None:
        """Try endpoints until one serves; record the generation whatever happens."""
        heartbeat = None
        if self._request.stream:
            heartbeat = Heartbeat(self._client, self.skin, self._headers, self._services.comment_interval_s)
        try:
            try:
                if self._call.cache is None or not await self._repeat(self._call.cache):
                    limit_s = self._services.request_limit_s
                    await (self._try_endpoints() if limit_s is None else self._try_within_limit(limit_s))
            except GatewayError as error:
                await self._fail(error)
            except Exception:  # noqa: BLE001 - the last line of defence
                _log.exception("generation %s failed inside the gateway", self._id)
                await self._fail(InternalError("Internal Server Error"))
        except asyncio.CancelledError:
            stopped = not self._client.gone and not self._client.finished  # not the caller's doing: the gateway ends
            if stopped and self._error is None:
                self._error = Unavailable("The gateway is shutting down; please send the request again")
            self._record("cancelled")  # first: a caller who does not read may hold up the goodbye
            if stopped and self._error is not None:
                await self._say_goodbye(self._error)
            raise
        finally:
            if heartbeat is not None:
                heartbeat.stop()
            self._record("cancelled")

    async def _repeat(self, wish: CacheWish) -> bool:
        """Answer from the response cache, if it has the answer and may give it; else get ready to keep it."""
        services = self._services
        if services.policy.zdr:  # a request's own `zdr` is about providers
            return False
        dialect = f"{self.skin.api_type} {type(self.skin).__name__}"
        key = cache_key(self._grant.key_hash, dialect, self._call.body)
        answer = None if wish.clear else await services.answers.get(key, self._created)
        if answer is None:
            self._headers += miss_headers(wish)
            self._kept = (key, wish, [])
            return False
        await self._reserve(_NOTHING)
        self._source = answer
        self._headers += hit_headers(answer, self._created)
        head = ReplyHead(id=self._id, created=int(self._created), model=answer.model, provider=answer.provider_name)
        steps: list[Event] = [Step(msgspec.json.decode(chunk)) for chunk in answer.chunks]
        await self._reply(head, answer.service_tier).take([*steps, UsageReported(Usage()), Ended()])
        return True

    async def _try_within_limit(self, limit_s: float) -> None:
        deadline = self._deadline = asyncio.timeout(limit_s)
        try:
            async with deadline:
                await self._try_endpoints()
        except TimeoutError:
            if not deadline.expired():
                raise
            raise DeadlineExceeded(f"The request was not answered within {limit_s:g} s") from None

    async def _try_endpoints(self) -> None:
        services = self._services
        plugins = self._plugins = await services.plugins.begin(self._request, services.catalog)
        plan = await self._make_plan(plugins)
        await self._reserve(estimate(self._request, plan.endpoints))
        ways = failover(plan)
        endpoint = next(ways)
        while True:
            prepared = await plugins.prepare(endpoint)
            self._endpoint = endpoint
            self.meter = Meter()
            self._attempts.begin(endpoint)
            try:
                await self._attempt(endpoint, prepared)
            except asyncio.CancelledError:
                if not self._concluded:
                    late = self._deadline is not None and self._deadline.expired() and not self._client.gone
                    self._attempts.abandon(endpoint, late=late)
                raise
            except UpstreamError as error:
                error.provider = error.provider or endpoint.provider.name
                self._attempts.end(endpoint, error, self._request, self.meter)
                if self.given:
                    raise
                try:
                    endpoint = ways.send(error)
                except StopIteration as stop:
                    raise stop.value from error
            else:
                return

    async def _make_plan(self, plugins: PluginRun) -> RoutePlan:
        services = self._services
        self._conversation, facts = await recall(
            services,
            plugins.asked,
            facts_of(services, self._began),
            account=self._grant.key_hash,
            session_id=self._call.session_id,
            now=self._created,
        )
        plan = self._plan = draft_route(plugins.request, services.catalog, facts)
        if not plan.endpoints:
            raise refusal_of(plan)
        return plan

    async def _reserve(self, expected: Estimate) -> None:
        """Take an estimate from the key's limits. Who has none left is not served, which is no generation."""
        if self._grant.key is None:
            return
        try:
            self._claim = await self._services.accountant.reserve(self._grant, self._id, expected, self._created)
        except GatewayError:
            self._recorded = True
            raise

    async def _attempt(self, endpoint: Endpoint, prepared: Prepared) -> None:
        """Bring one endpoint's answer to the client.

        Raises:
            UpstreamError: the endpoint failed, before or (see `given`) within its answer.
        """
        limit_s = self._services.attempt_limit_s
        if endpoint.max_concurrent is not None:
            await self._attempt_in_place(endpoint, prepared)
        elif limit_s is None:
            await self._call_endpoint(endpoint, prepared, None)
        else:
            await self._call_within_limit(endpoint, prepared, limit_s)
        if not self._concluded:
            raise Garbled("the provider's answer has no end")

    async def _attempt_in_place(self, endpoint: Endpoint, prepared: Prepared) -> None:
        places, name = self._services.places, f"{self._id}:{len(self._attempts.records)}"
        if not await places.take(endpoint, name):
            raise AtCapacity(f"{endpoint.tag} has as many requests at a time as it may")
        try:
            await self._call_within_limit(endpoint, prepared, self._services.attempt_limit_s)
        finally:
            places.give_back(endpoint, name)

    async def _call_within_limit(self, endpoint: Endpoint, prepared: Prepared, limit_s: float | None) -> None:
        deadline = asyncio.timeout(limit_s)
        try:
            async with deadline:
                await self._call_endpoint(endpoint, prepared, deadline)
        except TimeoutError:
            if not deadline.expired():
                raise
            raise TimedOut(f"the provider did not begin to answer within {limit_s:g} s") from None

    async def _call_endpoint(self, endpoint: Endpoint, prepared: Prepared, deadline: asyncio.Timeout | None) -> None:
        reply = self._reply(self._head(endpoint), endpoint.service_tier)
        caller = self._services.caller_of(endpoint, self._grant)
        if self._kept is not None:
            self._kept[2].clear()
        batches = prepared.call(caller)
        try:  # `aclosing` would be two coroutines more for every answer
            async for events in batches:
                if self._attempts.first_event_at is None:
                    self._attempts.first_event_at = self._services.timer()
                    if deadline is not None:
                        deadline.reschedule(None)
                if self._kept is not None:
                    self._kept[2].extend(_encode_chunk(event) for event in events if type(event) is Step)
                await reply.take(events)
        finally:
            await batches.aclose()

    def _reply(self, head: ReplyHead, tier: str | None = None) -> StreamedReply | WholeReply:
        self.transcript = self._services.observer.transcribe(self._request)
        if self.transcript is None and self._content_log is not None:
            self.transcript = Transcript()
        if self._request.stream:
            self._encoder = self.skin.stream_encoder(head, self._request)
            return StreamedReply(self, self._encoder, tier)
        return WholeReply(self, self.skin.body_encoder(head, self._request), tier)

    def _usage_and_cost(self) -> tuple[Usage, Cost]:
        """What the answer so far has used and costs; final once asked for at its end."""
        if self._bill is None:
            usage = self.meter.usage(self._request)
            endpoint = self._endpoint
            finish_reason = "error" if self._error else self.meter.finish_reason
            billed = self._request.task is not None or is_billed(usage, finish_reason)
            self._bill = (usage, price_usage(usage, self._price(endpoint)) if endpoint and billed else Cost())
        return self._bill

    def _price(self, endpoint: Endpoint) -> Price | None:
        listing = self._services.catalog.listings.get(endpoint.model_id)
        return price_served(endpoint, self.meter.service_tier, listing.endpoints if listing else ())

    def closing(self) -> Closing:
        """See `delivery.Generating`."""
        usage, cost = self._usage_and_cost()
        metadata = None
        if self._call.wants_metadata and self._plan is not None and self._endpoint is not None:
            tried = [*self._attempts.tried, (self._endpoint, 200)]
            stages = self._plugins.stages if self._plugins else ()
            metadata = router_metadata(self._plan, tried, self._endpoint, pipeline=stages)
        return Closing(usage=usage, cost=cost, at=int(self._services.clock()), metadata=metadata)

    async def give(self, data: bytes, *, last: bool) -> None:
        """See `delivery.Generating`."""
        self.given = True
        if not self._client.started:
            await self._client.start_stream(self.skin.stream_type, self._headers)
        if last:
            self._conclude()
        await self._client.write(data, last=last)

    async def give_whole(self, body: bytes) -> None:
        """See `delivery.Generating`."""
        self.given = True
        self._conclude()
        await self._client.answer(200, body, self._headers)

    def _conclude(self) -> None:
        """The answer is complete. It is recorded before the caller has its end, which a crash then cannot undo."""
        self._concluded = True
        endpoint = self._endpoint
        if endpoint is not None:
            self._attempts.end(endpoint, None, self._request, self.meter)
            self._remember(endpoint)
        self._record("finished")

    def _remember(self, endpoint: Endpoint) -> None:
        services = self._services
        if self._conversation is not None:
            usage, _ = self._usage_and_cost()
            if found := remember(self._conversation, endpoint, usage):
                services.conversations.put(self._conversation.key, found, self._created)
        if self._kept is not None and self.meter.finish_reason != "error":
            key, wish, chunks = self._kept
            answer = CachedAnswer(
                source_id=self._id,
                stored_at=services.clock(),
                ttl_s=wish.ttl_s,
                model=endpoint.model_id,
                provider=endpoint.provider.slug,
                provider_name=endpoint.provider.name,
                endpoint=endpoint.tag,
                chunks=chunks,
                service_tier=endpoint.service_tier,
            )
            services.answers.put(key, answer, answer.stored_at)

    async def _fail(self, error: GatewayError) -> None:
        """Tell the caller, with a status if none is out yet, within the stream otherwise."""
        if self._error is None:
            self._error = error
        self._record("failed")
        client = self._client
        if client.finished or client.gone:
            return
        client.failed = True
        metadata = self._metadata_of_failure(error)
        if client.started:
            await client.write(self._encode_in_stream(error, metadata), last=True)
        elif (answer := self._forgiven(error)) is not None:
            if self._request.stream:
                await client.start_stream(self.skin.stream_type, self._headers)
                await client.write(answer, last=True)
            else:
                await client.answer(200, answer, self._headers)
        else:
            body = self.skin.encode_error_body(error, self._id, metadata)
            await client.answer(error.status, body, _error_headers(error, self._id))

    def _metadata_of_failure(self, error: GatewayError) -> dict[str, Any] | None:
        if not self._call.wants_metadata or isinstance(error, AccessError) or error.status in _NO_METADATA:
            return None
        plan = self._plan
        if plan is None and isinstance(error, RoutingError):
            plan = unresolved(self._request.requested_models)
        return None if plan is None else router_metadata(plan, self._attempts.tried, None)

    def _forgiven(self, error: GatewayError) -> bytes | None:
        skin = self.skin
        return skin.forgive(error, self._head(self._endpoint), self._request) if isinstance(skin, Forgiving) else None

    def _encode_in_stream(self, error: GatewayError, metadata: dict[str, Any] | None) -> bytes:
        encoder = self._encoder
        if encoder is None or not self.given:  # what an encoder has said counts once it is sent
            encoder = self.skin.stream_encoder(self._head(self._endpoint), self._request)
        return encoder.encode_error(error, metadata)

    def _head(self, endpoint: Endpoint | None) -> ReplyHead:
        return ReplyHead(
            id=self._id,
            created=int(self._created),
            model=endpoint.model_id if endpoint else next(iter(self._request.requested_models), ""),
            provider=endpoint.provider.name if endpoint else "",
        )

    async def _say_goodbye(self, error: GatewayError) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE_S):
                await self._fail(error)

    def _record(self, ending: Ending) -> None:
        if self._recorded:
            return
        self._recorded = True
        now, first = self._services.timer(), self._attempts.first_event_at
        endpoint, error, meter, call = self._endpoint, self._error, self.meter, self._call
        params, place = self._request.params, place_of(endpoint, self._source)
        usage, cost = self._usage_and_cost()
        generation = Generation(
            id=self._id,
            created=self._created,
            ending=ending,
            requested_models=self._request.requested_models,
            model=place.model,
            provider=place.provider,
            provider_name=place.provider_name,
            endpoint=place.endpoint,
            cache_source_id=place.cache_source_id,
            upstream_id=meter.upstream_id or None,
            service_tier=meter.service_tier or place.service_tier,
            catalog_version=self._services.catalog.version,
            streamed=self._request.stream,
            usage=usage,
            cost=cost,
            finish_reason="error" if error else meter.finish_reason,
            native_finish_reason=meter.native_finish_reason,
            error_type=error.error_type if error else None,
            status=error.status if error else _CLIENT_CLOSED_REQUEST if ending == "cancelled" else 200,
            attempts=self._attempts.records,
            latency_s=None if first is None else first - self._began,
            duration_s=now - self._began,
            key_hash=self._grant.key_hash,
            app_url=call.app_url,
            app_title=call.app_title,
            app_categories=call.app_categories,
            user_agent=call.user_agent,
            user=params.user,
            session_id=params.session_id or call.session_id,
            trace=params.trace,
            api_type=self.skin.api_type,
        )
        self._services.ledger.record(generation)
        if self._content_log is not None:
            self._content_log.keep(content_of(self._request, generation, self.transcript, error))
        self._services.observer.observe(
            generation, self._request, self.transcript, call.origin, self._grant.key, may_keep=self._may_keep
        )
        if self._claim is not None:
            self._services.accountant.settle(self._claim, generation)


def _encode_chunk(step: Step) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(step.chunk))


def _error_headers(error: GatewayError, generation_id: str) -> list[tuple[bytes, bytes]]:
    return [(b"x-generation-id", generation_id.encode()), *error.headers()]
