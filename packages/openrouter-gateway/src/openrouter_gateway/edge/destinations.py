"""Routes of the destinations of the broadcast (OpenRouter API, observability, 2026-11-27); for management keys.

Credentials come in and never go out: they are masked. A destination is kept if a test of its connection succeeds.
Those of the configuration are listed, too, and changed there. Each route asks the database, so that what one process
has answered is true in all of them.
"""

import datetime as dt
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from openrouter_gateway.accounting.authorize import Grant, allow_management
from openrouter_gateway.broadcast.destinations import KINDS
from openrouter_gateway.broadcast.destinations.base import mask_config, merge_config
from openrouter_gateway.broadcast.queue import Broadcaster
from openrouter_gateway.core.destination import (
    Destination,
    DestinationName,
    FilterRules,
    KeyHashes,
    SamplingRate,
)
from openrouter_gateway.edge.texts import check_body, check_url
from openrouter_gateway.errors import BadRequest, NotFound
from openrouter_gateway.stores.destinations import MOST_PER_TYPE, Destinations, TooMany

_PAGE: Final = 100
_NO_WORKSPACE: Final = "00000000-0000-0000-0000-000000000000"
"""There are no workspaces here, and clients insist on an id."""
_T = TypeVar("_T")
_encode = msgspec.json.Encoder().encode

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]


class Observatory(Struct, frozen=True, kw_only=True):
    """What the routes need. `identify` finds who presents a key; `configured` are those of the configuration."""

    destinations: Destinations
    broadcaster: Broadcaster
    identify: Callable[[str | None], Grant]
    configured: Sequence[Destination] = ()


class NewDestination(Struct, frozen=True, kw_only=True):
    """`POST /observability/destinations`. Fields that it does not know are passed over."""

    type: str
    name: DestinationName
    config: dict[str, Any]
    enabled: bool = True
    privacy_mode: bool = False
    sampling_rate: SamplingRate = 1.0
    api_key_hashes: KeyHashes | None = None
    filter_rules: FilterRules | None = None
    broadcast_generation_cost: bool = False
    broadcast_generation_identity: bool = False
    broadcast_generation_request_context: bool = False
    workspace_id: str | None = None


class DestinationChange(Struct, frozen=True, kw_only=True):
    """`PATCH /observability/destinations/{id}`: what is left out stays as it is, in `config` as well."""

    name: DestinationName | UnsetType = UNSET
    config: dict[str, Any] | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    privacy_mode: bool | UnsetType = UNSET
    sampling_rate: SamplingRate | UnsetType = UNSET
    api_key_hashes: KeyHashes | UnsetType | None = UNSET
    filter_rules: FilterRules | UnsetType | None = UNSET
    broadcast_generation_cost: bool | UnsetType = UNSET
    broadcast_generation_identity: bool | UnsetType = UNSET
    broadcast_generation_request_context: bool | UnsetType = UNSET


_decode_creation = msgspec.json.Decoder(NewDestination).decode
_decode_change = msgspec.json.Decoder(DestinationChange).decode


def build_destination_routes(
    observatory: Callable[[], Observatory],
    credential_of: Callable[[Mapping[bytes, bytes]], str | None],
    bases: Sequence[str],
) -> list[Route]:
    """Return the routes. `credential_of` finds the presented key in a request's headers."""
    desk = _Desk(observatory)
    table: dict[str, dict[str, Handler]] = {
        "/observability/destinations": {"GET": desk.list_all, "POST": desk.create},
        "/observability/destinations/{id}": {"GET": desk.show, "PATCH": desk.change, "DELETE": desk.delete},
    }

    def managed(handlers: Mapping[str, Handler]) -> Handler:
        async def handle(request: Request) -> Response:
            allow_management(observatory().identify(credential_of(dict(request.scope["headers"]))))
            check_url(request)
            return await handlers["GET" if request.method == "HEAD" else request.method](request)

        return handle

    return [
        Route(base + path, managed(handlers), methods=list(handlers))
        for base in bases
        for path, handlers in table.items()
    ]


class _Desk:
    """The handlers."""

    def __init__(self, observatory: Callable[[], Observatory]) -> None:
        self._observatory = observatory

    async def list_all(self, request: Request) -> Response:
        observatory = self._observatory()
        await observatory.destinations.refresh()
        everything = [*observatory.configured, *observatory.destinations.all]
        offset = _parse_number(request, "offset", 0)
        limit = min(_parse_number(request, "limit", _PAGE), _PAGE)
        shown = [_object(destination) for destination in everything[offset : offset + limit]]
        return _json({"data": shown, "total_count": len(everything)})

    async def create(self, request: Request) -> Response:
        wanted = _decode(_decode_creation, await request.body())
        observatory = self._observatory()
        if wanted.type not in KINDS:
            raise BadRequest(f"type: {wanted.type!r} is not known here; these are: {', '.join(sorted(KINDS))}")
        await observatory.destinations.refresh()
        same = [each for each in observatory.destinations.all if each.type == wanted.type]
        if len(same) >= MOST_PER_TYPE:
            raise _too_many(wanted.type)
        fields = {name: getattr(wanted, name) for name in NewDestination.__struct_fields__}
        destination = Destination(id=str(uuid.uuid4()), **fields)
        await _try(observatory.broadcaster, destination)
        try:
            made = await observatory.destinations.create(destination)
        except TooMany:
            raise _too_many(wanted.type) from None
        return _json({"data": _object(made)}, status=201)

    async def show(self, request: Request) -> Response:
        wanted = request.path_params["id"]
        observatory = self._observatory()
        await observatory.destinations.refresh()
        found = [each for each in [*observatory.configured, *observatory.destinations.all] if each.id == wanted]
        return _json({"data": _object(found[0] if found else _refuse(observatory, wanted))})

    async def change(self, request: Request) -> Response:
        change = _decode(_decode_change, await request.body())
        observatory = self._observatory()
        wanted = request.path_params["id"]
        tried: Destination | None = None

        def merge(known: Destination) -> Destination:
            merged = _merge(known, change)
            if _what_is_tried(merged) not in (_what_is_tried(known), _what_is_tried(tried)):
                raise _Untried(merged)
            return merged

        while True:  # again only if another request changes the same address meanwhile
            try:
                made = await observatory.destinations.change(wanted, merge)
            except _Untried as untried:
                tried = untried.destination
                await _try(observatory.broadcaster, tried)
            else:
                return _json({"data": _object(made or _refuse(observatory, wanted))})

    async def delete(self, request: Request) -> Response:
        observatory = self._observatory()
        wanted = request.path_params["id"]
        if not await observatory.destinations.delete(wanted):
            _refuse(observatory, wanted)
        return _json({"deleted": True})


class _Untried(Exception):
    """A destination must be reached before it is kept as it is to be now."""

    def __init__(self, destination: Destination) -> None:
        super().__init__()
        self.destination = destination


def _merge(known: Destination, change: DestinationChange) -> Destination:
    fields = {
        name: value for name in DestinationChange.__struct_fields__ if (value := getattr(change, name)) is not UNSET
    }
    kind = KINDS.get(known.type)
    if "config" in fields and kind is not None:
        fields["config"] = merge_config(kind, known.config, fields["config"])
    return msgspec.structs.replace(known, **fields)


def _what_is_tried(destination: Destination | None) -> object:
    return None if destination is None else (destination.config, destination.filter_rules)


async def _try(broadcaster: Broadcaster, destination: Destination) -> None:
    """Raise `BadRequest` if a destination cannot be used or reached."""
    try:
        reason = await broadcaster.try_connection(destination)
    except ValueError as error:
        raise BadRequest(str(error)) from None
    if reason is not None:
        raise BadRequest(f"The connection test failed, nothing is saved: {reason}")


def _refuse(observatory: Observatory, wanted: str) -> Destination:
    if any(each.id == wanted for each in observatory.configured):
        raise BadRequest("This destination is in the gateway's configuration, and is changed there")
    raise NotFound("Destination not found")


def _too_many(type_: str) -> BadRequest:
    return BadRequest(f"There are {MOST_PER_TYPE} destinations of the type {type_} already, which is as many as may be")


def _object(destination: Destination) -> dict[str, Any]:
    kind = KINDS.get(destination.type)  # another version of the gateway may know more of them
    return {
        "id": destination.id,
        "type": destination.type,
        "name": destination.name,
        "enabled": destination.enabled,
        "config": {} if kind is None else mask_config(kind, destination.config),
        "privacy_mode": destination.privacy_mode,
        "sampling_rate": destination.sampling_rate,
        "api_key_hashes": destination.api_key_hashes,
        "filter_rules": destination.filter_rules,
        "broadcast_generation_cost": destination.broadcast_generation_cost,
        "broadcast_generation_identity": destination.broadcast_generation_identity,
        "broadcast_generation_request_context": destination.broadcast_generation_request_context,
        "workspace_id": destination.workspace_id or _NO_WORKSPACE,
        "created_at": _iso(destination.created_at),
        "updated_at": _iso(destination.updated_at or destination.created_at),
    }


def _decode(decode: Callable[[bytes], _T], body: bytes) -> _T:
    """The reason names fields and types, never values: they may be credentials."""
    check_body(body)
    try:
        return decode(body)
    except msgspec.ValidationError as error:
        raise BadRequest(f"The request body is not valid: {error}") from None
    except msgspec.DecodeError:
        raise BadRequest("The request body is not valid JSON") from None


def _parse_number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise BadRequest(f"{name}: must be a whole number from 0 on")
    return int(text)


def _iso(moment: float) -> str:
    return dt.datetime.fromtimestamp(moment, dt.UTC).isoformat().replace("+00:00", "Z")


def _json(content: object, *, status: int = 200) -> Response:
    return Response(_encode(content), status, media_type="application/json")
