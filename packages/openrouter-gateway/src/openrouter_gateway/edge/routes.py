"""The table of routes besides inference, and how their failures look. All of it is read from memory."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NoReturn, TypeAlias

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from openrouter_gateway.core.embedding import Embedding
from openrouter_gateway.edge.asgi import credential_of, session_of
from openrouter_gateway.edge.catalog import (
    endpoints_object,
    find_listing,
    models_object,
    named_model_object,
    providers_object,
)
from openrouter_gateway.edge.messages import count_tokens
from openrouter_gateway.edge.model_query import parse_query
from openrouter_gateway.edge.openapi import Describer
from openrouter_gateway.errors import (
    GatewayError,
    InternalError,
    MethodNotAllowed,
    NotFound,
    RequestError,
    UnknownRoute,
)
from openrouter_gateway.planning import explain_plan
from openrouter_gateway.services import Services
from openrouter_gateway.wire.skins import SKINS, chat

_log = logging.getLogger(__name__)

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]
Lifespan: TypeAlias = Callable[[Starlette], AbstractAsyncContextManager[None]]

_encode = msgspec.json.Encoder(decimal_format="string").encode


def build_routes(
    *,
    services: Callable[[], Services],
    ready: Callable[[], str | None],
    lifespan: Lifespan,
    bases: tuple[str, ...],
    more: Sequence[Route] = (),
) -> Starlette:
    """Return the application of all routes but inference.

    `ready` returns why the gateway cannot serve now, or None when it can.
    """

    async def healthz(_: Request) -> Response:
        return _json({"status": "ok"})

    async def readyz(_: Request) -> Response:
        reason = ready()
        if reason is None:
            return _json({"status": "ready"})
        return _json({"status": "not ready", "reason": reason}, status=503)

    async def models(request: Request) -> Response:
        query = parse_query(request.query_params, services().clock())
        return _json(models_object(services().catalog, query))

    async def embedding_models(request: Request) -> Response:
        query = parse_query(request.query_params, 0, path="/embeddings/models", outputs=Embedding.output)
        return _json(models_object(services().catalog, query))

    async def model(request: Request) -> Response:
        name = _named(request)
        return _json({"data": named_model_object(services().catalog, name) or _refuse(name)})

    async def endpoints(request: Request) -> Response:
        name = _named(request)
        _, listing = find_listing(services().catalog, name) or _refuse(name)
        now, health = services().timer(), services().health
        return _json({"data": endpoints_object(listing, lambda key: health.report(key, now))})

    async def explain_route(request: Request) -> Response:
        headers = dict(request.scope["headers"])
        account = services().accountant.identify(credential_of(headers)).key_hash
        body = await request.body()
        return _json(await explain_plan(services(), body, account=account, session_id=session_of(headers)))

    async def count_route(request: Request) -> Response:
        return count_tokens(services().catalog, await request.body())

    async def providers(_: Request) -> Response:
        return _json(providers_object(services().catalog))

    describer = Describer(SKINS, bases)
    table: list[tuple[str, Handler]] = [
        ("/models", models),
        ("/embeddings/models", embedding_models),
        ("/model/{author}/{slug}", model),
        ("/models/{author}/{slug}/endpoints", endpoints),
        ("/providers", providers),
        ("/openapi.json", describer.describe),
    ]
    dry_run = [Route(base + "/route/explain", explain_route, methods=["POST"]) for base in bases]
    dry_run += [Route(base + "/messages/count_tokens", count_route, methods=["POST"]) for base in bases]
    application = Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/openapi.json", describer.describe),
            *more,
            *(Route(base + path, handler) for base in bases for path, handler in table),
            *dry_run,
        ],
        lifespan=lifespan,
        exception_handlers={HTTPException: _on_http_error, GatewayError: _on_error, Exception: _on_defect},
    )
    describer.routes = application.routes
    application.router.redirect_slashes = False  # a redirect would be built from the caller's Host header
    return application


def _named(request: Request) -> str:
    return f"{request.path_params['author']}/{request.path_params['slug']}"


def _refuse(name: str) -> NoReturn:
    raise NotFound(f"Model {name} is not in this gateway's catalogue; GET /api/v1/models lists it")


def _json(content: object, *, status: int = 200) -> Response:
    return Response(_encode(content), status, media_type="application/json")


async def _on_http_error(request: Request, failure: Exception) -> Response:
    status = failure.status_code if isinstance(failure, HTTPException) else 500
    error: RequestError
    if status == 405:
        error = MethodNotAllowed(f"{request.url.path} does not take {request.method}")
    else:
        error = UnknownRoute(f"No such route: {request.method} {request.url.path}")
    answer = _error(error)
    if isinstance(failure, HTTPException) and failure.headers:
        answer.headers.update(failure.headers)  # a 405 says which methods there are
    return answer


async def _on_error(_: Request, error: Exception) -> Response:
    return _error(error if isinstance(error, GatewayError) else InternalError("Internal Server Error"))


async def _on_defect(request: Request, failure: Exception) -> Response:
    _log.error("%s %s failed inside the gateway", request.method, request.url.path, exc_info=failure)
    return _error(InternalError("Internal Server Error"))


def _error(error: GatewayError) -> Response:
    headers = {name.decode(): value.decode() for name, value in error.headers()}
    return Response(chat.encode_error_body(error), error.status, headers, media_type="application/json")
