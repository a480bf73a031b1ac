"""Routes of keys, credits and records (OpenRouter API, accounting and keys, 2026-08-22). Amounts are JSON numbers.

Usage is what the ledger says, after this process has written all of its own; other processes' may be a second behind.
"""

import asyncio
import contextlib
import datetime as dt
import functools
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Final, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from openrouter_gateway.accounting.authorize import Grant, allow_management
from openrouter_gateway.accounting.limits import period_start
from openrouter_gateway.core.account import Key, Rates, Reset
from openrouter_gateway.core.catalog import AccountPolicy, Catalog
from openrouter_gateway.edge.catalog import HealthOf, endpoints_object, models_object
from openrouter_gateway.edge.model_query import parse_query
from openrouter_gateway.edge.texts import check_url
from openrouter_gateway.errors import BadRequest, NotFound
from openrouter_gateway.routing.policy import permitted
from openrouter_gateway.stores.accountant import Accountant
from openrouter_gateway.stores.accounts import Accounts
from openrouter_gateway.stores.contents import ContentLog
from openrouter_gateway.stores.ledger import Ledger
from openrouter_gateway.stores.money import round_usd
from openrouter_gateway.stores.reports import report_activity, report_content, report_generation

_FLUSH_TIMEOUT_S: Final = 3.0
_ACTIVITY_DAYS: Final = 30
_PAGE: Final = 100
_MOST: Final = Decimal(1_000_000)
_PERIODS: Final[tuple[tuple[str, Reset], ...]] = (
    ("usage_daily", "daily"),
    ("usage_weekly", "weekly"),
    ("usage_monthly", "monthly"),
)
_ZERO: Final = Decimal(0)
_encode = msgspec.json.Encoder(decimal_format="number").encode

Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=256)]
Rate: TypeAlias = Annotated[int, Meta(ge=1, le=2**53)]
_T = TypeVar("_T")
Handler: TypeAlias = Callable[[Request, Grant], Awaitable[Response]]


class Office(Struct, frozen=True, kw_only=True):
    """What the routes need; `catalog` and `policy` are asked for at each request, as they may be reloaded.

    `health` says how the endpoint with a key has been doing.
    """

    accounts: Accounts
    accountant: Accountant
    ledger: Ledger
    contents: ContentLog
    catalog: Callable[[], Catalog]
    policy: Callable[[], AccountPolicy]
    health: HealthOf
    clock: Callable[[], float] = time.time


class Creation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /keys`. `disabled` and the three rates are this gateway's own; workspaces and users are what it has not.

    A field that is not known is refused: a misspelt limit must not make a key without one.
    """

    name: Name
    disabled: bool = False
    limit: Decimal | None = None
    limit_reset: Reset | None = None
    include_byok_in_limit: bool = False
    expires_at: dt.datetime | None = None
    workspace_id: None = None
    creator_user_id: None = None
    requests_per_minute: Rate | None = None
    tokens_per_minute: Rate | None = None
    concurrent_requests: Rate | None = None


class Change(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`PATCH /keys/{hash}`: what is left out stays as it is; see `Creation`."""

    name: Name | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET
    limit: Decimal | UnsetType | None = UNSET
    limit_reset: Reset | UnsetType | None = UNSET
    include_byok_in_limit: bool | UnsetType = UNSET
    requests_per_minute: Rate | UnsetType | None = UNSET
    tokens_per_minute: Rate | UnsetType | None = UNSET
    concurrent_requests: Rate | UnsetType | None = UNSET


_decode_creation = msgspec.json.Decoder(Creation).decode
_decode_change = msgspec.json.Decoder(Change).decode


def build_account_routes(
    office: Callable[[], Office], credential_of: Callable[[Mapping[bytes, bytes]], str | None], bases: Sequence[str]
) -> list[Route]:
    """Return the routes. `credential_of` finds the presented key in a request's headers."""
    desk = _Desk(office)

    def guarded(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        @functools.wraps(handler)
        async def handle(request: Request) -> Response:
            credential = credential_of(dict(request.scope["headers"]))
            grant = office().accountant.identify(credential)
            check_url(request)
            return await handler(request, grant)

        return handle

    table: list[tuple[str, str, Handler]] = [
        ("GET", "/keys", desk.list_keys),
        ("POST", "/keys", desk.create_key),
        ("GET", "/keys/{hash}", desk.show_key),
        ("PATCH", "/keys/{hash}", desk.change_key),
        ("DELETE", "/keys/{hash}", desk.delete_key),
        ("GET", "/key", desk.show_own_key),
        ("GET", "/credits", desk.show_credits),
        ("GET", "/generation", desk.show_generation),
        ("GET", "/generation/content", desk.show_content),
        ("GET", "/activity", desk.show_activity),
        ("GET", "/models/user", desk.list_models),
        ("GET", "/models/count", desk.count_models),
        ("GET", "/endpoints/zdr", desk.list_zdr),
    ]
    methods: dict[str, dict[str, Handler]] = {}
    for method, path, handler in table:
        methods.setdefault(path, {})[method] = handler
    return [
        Route(base + path, guarded(_by_method(handlers)), methods=list(handlers))
        for base in bases
        for path, handlers in methods.items()
    ]


def _by_method(handlers: Mapping[str, Handler]) -> Handler:
    async def handle(request: Request, grant: Grant) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        return await handlers[method](request, grant)

    return handle


class _Desk:
    """The handlers."""

    def __init__(self, office: Callable[[], Office]) -> None:
        self._office = office

    async def list_keys(self, request: Request, grant: Grant) -> Response:
        allow_management(grant)
        query = request.query_params
        offset = _parse_offset(query.get("offset"))
        keys = sorted(self._office().accounts.keys.values(), key=lambda key: (-key.created_at, key.hash))
        if query.get("include_disabled", "").lower() not in ("true", "1"):
            keys = [key for key in keys if not key.disabled]
        usages = await self._usages()
        return _json({"data": [_key_object(key, usages(key)) for key in keys[offset : offset + _PAGE]]})

    async def create_key(self, request: Request, grant: Grant) -> Response:
        allow_management(grant)
        wanted = _decode(_decode_creation, await request.body())
        made = await self._office().accounts.create(
            Key(
                hash="",
                label="",
                name=wanted.name,
                created_at=0,
                disabled=wanted.disabled,
                expires_at=_to_unix(wanted.expires_at, self._office().clock()),
                limit=wanted.limit,
                limit_reset=wanted.limit_reset,
                include_byok_in_limit=wanted.include_byok_in_limit,
                rates=Rates(
                    requests_per_minute=wanted.requests_per_minute,
                    tokens_per_minute=wanted.tokens_per_minute,
                    concurrent_requests=wanted.concurrent_requests,
                ),
            )
        )
        return _json({"data": _key_object(made.key, _NO_USAGE), "key": made.secret}, status=201)

    async def show_key(self, request: Request, grant: Grant) -> Response:
        allow_management(grant)
        key = self._office().accounts.keys.get(request.path_params["hash"])
        if key is None:
            raise _no_key()
        return await self._answer_key(key)

    async def change_key(self, request: Request, grant: Grant) -> Response:
        allow_management(grant)
        accounts = self._office().accounts
        change = _decode(_decode_change, await request.body())
        fields = {name: value for name in Change.__struct_fields__ if (value := getattr(change, name)) is not UNSET}
        known = accounts.keys.get(request.path_params["hash"])
        if known is None:
            raise _no_key()
        rates = {name: fields.pop(name) for name in Rates.__struct_fields__ if name in fields}
        if rates:
            fields["rates"] = msgspec.structs.replace(known.rates, **rates)
        key = await accounts.change(known.hash, fields)
        if key is None:
            raise _no_key()
        return await self._answer_key(key)

    async def delete_key(self, request: Request, grant: Grant) -> Response:
        allow_management(grant)
        if not await self._office().accounts.delete(request.path_params["hash"]):
            raise _no_key()
        return _json({"deleted": True})

    async def _answer_key(self, key: Key) -> Response:
        usages = await self._usages(key.hash)
        return _json({"data": _key_object(key, usages(key))})

    async def show_own_key(self, request: Request, grant: Grant) -> Response:
        key = grant.key or Key(hash=grant.key_hash or "", label="", name="", created_at=0)
        usage = _NO_USAGE
        if grant.key_hash is not None:
            usage = (await self._usages(grant.key_hash))(key)
        return _json({"data": _own_key_object(key, usage)})

    async def show_credits(self, request: Request, grant: Grant) -> Response:
        _allow_reading(grant)
        office = self._office()
        await self._flush()
        usage = await office.accountant.total_usage()
        return _json({"data": {"total_credits": office.accounts.credits or _ZERO, "total_usage": usage}})

    async def show_generation(self, request: Request, grant: Grant) -> Response:
        wanted = _wanted_id(request)
        generation = await self._office().ledger.find(wanted)
        if generation is None or not _may_see(grant, generation.key_hash):
            raise NotFound(f"Generation {wanted} not found")
        return _json({"data": report_generation(generation)})

    async def show_content(self, request: Request, grant: Grant) -> Response:
        wanted = _wanted_id(request)
        content = await self._office().contents.find(wanted)
        if content is None or not _may_see(grant, content.key_hash):
            raise NotFound(f"No content of generation {wanted} is kept")
        return _json({"data": report_content(content)})

    async def show_activity(self, request: Request, grant: Grant) -> Response:
        _allow_reading(grant)
        query = request.query_params
        today = dt.datetime.fromtimestamp(self._office().clock(), dt.UTC).date()
        since, until = today - dt.timedelta(days=_ACTIVITY_DAYS), today
        if (wanted := query.get("date")) is not None:
            day = _parse_day(wanted)
            if not since <= day < until:
                raise BadRequest(f"date: must be one of the last {_ACTIVITY_DAYS} completed UTC days")
            since, until = day, day + dt.timedelta(days=1)
        await self._flush()
        activity = await self._office().ledger.activity(since, until, key_hash=query.get("api_key_hash"))
        names = {provider.slug: provider.name for provider in self._office().catalog().providers}
        return _json({"data": report_activity(activity, names)})

    async def list_models(self, request: Request, grant: Grant) -> Response:
        """Those that the account's policy leaves endpoints of; keys are for all of them."""
        office = self._office()
        query = parse_query(request.query_params, office.clock(), path="/models/user")
        return _json(models_object(permitted(office.catalog(), office.policy()), query), decimals_as="string")

    async def count_models(self, request: Request, grant: Grant) -> Response:
        query = parse_query(request.query_params, self._office().clock())
        return _json({"data": {"count": models_object(self._office().catalog(), query)["total_count"]}})

    async def list_zdr(self, request: Request, grant: Grant) -> Response:
        """Those whose provider is known not to retain prompts."""
        rows: list[Any] = []
        office = self._office()
        for listing in office.catalog().listings.values():
            kept = tuple(endpoint for endpoint in listing.endpoints if endpoint.provider.policy.retains is False)
            if kept:
                rows += endpoints_object(msgspec.structs.replace(listing, endpoints=kept), office.health)["endpoints"]
        return _json({"data": rows}, decimals_as="string")

    async def _flush(self) -> None:
        """So that a caller finds what it has just used; while the database is down the query says so."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_TIMEOUT_S):
                await self._office().ledger.flush()

    async def _usages(self, key_hash: str | None = None) -> Callable[[Key], "dict[str, Decimal]"]:
        """Return a function from keys to what they have used, in all and in each period."""
        await self._flush()
        ledger, now = self._office().ledger, self._office().clock()
        sums = {"usage": await ledger.costs(key_hash=key_hash)}
        for name, reset in _PERIODS:
            sums[name] = await ledger.costs(period_start(reset, now), key_hash=key_hash)
        return lambda key: {name: found.get(key.hash, _ZERO) for name, found in sums.items()}


_NO_USAGE: Final = {"usage": _ZERO, **{name: _ZERO for name, _ in _PERIODS}}
_NO_BYOK: Final = {"byok_usage": 0, "byok_usage_daily": 0, "byok_usage_weekly": 0, "byok_usage_monthly": 0}


def _key_object(key: Key, usage: Mapping[str, Decimal]) -> dict[str, Any]:
    return {
        "hash": key.hash,
        "label": key.label,
        "name": key.name,
        "disabled": key.disabled,
        **_shared_fields(key, usage),
        "created_at": _iso(key.created_at),
        "updated_at": _iso(key.updated_at),
        "creator_user_id": None,
        "workspace_id": None,
        "external_user": None,
        "last_used_at": None,
        "requests_per_minute": key.rates.requests_per_minute,
        "tokens_per_minute": key.rates.tokens_per_minute,
        "concurrent_requests": key.rates.concurrent_requests,
    }


def _own_key_object(key: Key, usage: Mapping[str, Decimal]) -> dict[str, Any]:
    requests = key.rates.requests_per_minute
    return {
        "label": key.label,
        **_shared_fields(key, usage),
        "is_free_tier": False,
        "is_management_key": key.management,
        "is_provisioning_key": key.management,
        "creator_user_id": None,
        "organization_id": None,
        "workspace_id": None,
        "allowed_data_regions": None,
        "budgets": None,
        "effective_budget": None,
        "free_model_daily_requests": None,
        "rate_limit": {
            "requests": -1 if requests is None else requests,
            "interval": "1m",
            "note": "This field is deprecated",
        },
    }


def _shared_fields(key: Key, usage: Mapping[str, Decimal]) -> dict[str, Any]:
    in_period = {reset: usage[name] for name, reset in _PERIODS}
    used = usage["usage"] if key.limit_reset is None else in_period[key.limit_reset]
    return {
        "limit": key.limit,
        "limit_reset": key.limit_reset,
        "limit_remaining": None if key.limit is None else max(key.limit - used, _ZERO),
        "include_byok_in_limit": key.include_byok_in_limit,
        **usage,
        **_NO_BYOK,
        "expires_at": _iso(key.expires_at),
    }


def _wanted_id(request: Request) -> str:
    wanted = request.query_params.get("id")
    if not wanted:
        raise BadRequest("id: is missing")
    return wanted


def _may_see(grant: Grant, key_hash: str | None) -> bool:
    """A generation is its key's; management keys see all of them, as everyone does where no keys are."""
    sees_all = grant.key_hash is None or (grant.key is not None and grant.key.management)
    return sees_all or key_hash == grant.key_hash


def _allow_reading(grant: Grant) -> None:
    """Where no keys are, nobody is less than a manager."""
    if grant.key_hash is not None:
        allow_management(grant)


def _no_key() -> NotFound:
    return NotFound("API key not found")


def _decode(decode: Callable[[bytes], _T], body: bytes) -> _T:
    try:
        decoded = decode(body)
    except msgspec.DecodeError as error:
        raise BadRequest(f"The request body is not valid: {error}") from None
    limit = getattr(decoded, "limit", None)
    if isinstance(limit, Decimal) and not (limit.is_finite() and 0 <= limit <= _MOST and round_usd(limit) == limit):
        raise BadRequest(f"limit: must be from 0 to {_MOST} USD, with at most 18 decimals")
    if "\0" in str(getattr(decoded, "name", "")):
        raise BadRequest("name: must not have the character NUL")
    return decoded


def _to_unix(moment: dt.datetime | None, now: float) -> float | None:
    if moment is None:
        return None
    if moment.utcoffset() != dt.timedelta(0):
        raise BadRequest("expires_at: must be in UTC, as in 2027-01-31T00:00:00Z")
    if moment.timestamp() <= now:
        raise BadRequest("expires_at: is in the past")
    return moment.timestamp()


def _parse_offset(text: str | None) -> int:
    if text is None:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise BadRequest("offset: must be a whole number from 0 on")
    return int(text)


def _parse_day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise BadRequest("date: must be a day such as 2026-01-31") from None


def _iso(moment: float | None) -> str | None:
    return None if moment is None else dt.datetime.fromtimestamp(moment, dt.UTC).isoformat().replace("+00:00", "Z")


def _json(content: object, *, status: int = 200, decimals_as: str = "number") -> Response:
    encode = _encode if decimals_as == "number" else msgspec.json.Encoder(decimal_format="string").encode
    return Response(encode(content), status, media_type="application/json")
