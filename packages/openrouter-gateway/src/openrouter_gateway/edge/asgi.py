"""The ASGI application: inference goes straight to `serve`, everything else through one table of routes."""

import asyncio
import logging
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from starlette.applications import Starlette

from openrouter_gateway.accounting.response_cache import read_wish
from openrouter_gateway.broadcast.observer import Origin
from openrouter_gateway.edge.exchange import (
    ASGIClient,
    CallerGone,
    HangupWatch,
    Receive,
    Scope,
    Send,
    Watched,
    read_body,
    replay,
    send_json,
)
from openrouter_gateway.edge.host import HostCheck
from openrouter_gateway.edge.repeats import Repeats, read_key
from openrouter_gateway.errors import BadRequest, GatewayError, InternalError, MethodNotAllowed
from openrouter_gateway.logs import bind_request, request_id_of
from openrouter_gateway.serve import serve
from openrouter_gateway.services import Call, Services
from openrouter_gateway.wire.skins import SKINS
from openrouter_gateway.wire.skins.base import Skin

_log = logging.getLogger(__name__)

BASES: Final = ("/api/v1", "/v1")
"""Where the API is served: OpenRouter's base, and the one that OpenAI-style clients expect."""

_INFERENCE: Final = {base + path: skin for base in BASES for path, skin in SKINS.items()}
_CHAT: Final = SKINS["/chat/completions"]
_BETA: Final = re.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_CATEGORIES: Final = frozenset(
    {
        "cli-agent", "ide-extension", "cloud-agent", "programming-app", "native-app-builder", "creative-writing",
        "video-gen", "image-gen", "audio-gen", "writing-assistant", "general-chat", "personal-agent", "legal",
        "roleplay", "game",
    }
)  # fmt: skip
"""What an application may say that it is (OpenRouter API, app attribution, 2026-08-22)."""
_OPEN: Final = frozenset({"/healthz", "/readyz"})
"""Paths that need no key: probes cannot send one."""
_MOST_SESSION: Final = 256
"""Characters (OpenRouter API, headers, 2026-08-22)."""
_BODILESS: Final = frozenset({"GET", "HEAD"})


class Edge:
    """One instance per process. `services` is asked for at each request, so that a reload takes effect at once."""

    def __init__(
        self, *, services: Callable[[], Services], routes: Starlette, hosts: HostCheck, max_body_bytes: int
    ) -> None:
        self._services = services
        self._routes = routes
        self._hosts = hosts
        self._max_body_bytes = max_body_bytes
        self._watch = HangupWatch()
        self._repeats = Repeats()
        self.in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] != "http":
            await self._routes(scope, receive, send)  # lifespan; websockets are refused there
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        path: str = scope["path"]
        request_id = request_id_of(headers.get(b"x-request-id"))
        bind_request(request_id)
        try:
            if path not in _OPEN:
                self._hosts.check(headers)
            skin = _INFERENCE.get(path)
            if skin is not None:
                await self._infer(skin, scope, headers, request_id, receive, send)
                return
            if path not in _OPEN:
                self._services().accountant.identify(credential_of(headers))
            if scope["method"] not in _BODILESS:
                receive = replay(await read_body(receive, headers, self._max_body_bytes), receive)
            await self._routes(scope, receive, send)
        except CallerGone:
            return
        except GatewayError as error:
            allow = [(b"allow", b"POST")] if isinstance(error, MethodNotAllowed) else error.headers()
            body = _skin_of(path).encode_error_body(error)
            await send_json(send, error.status, body, allow, head=scope["method"] == "HEAD")
        except Exception:  # noqa: BLE001 - the last line of defence
            # Whatever the server would do with it, the caller gets our shape and no stack trace.
            _log.exception("%s %s failed inside the gateway", scope["method"], path)
            defect = InternalError("Internal Server Error")
            await send_json(send, defect.status, _skin_of(path).encode_error_body(defect))

    async def _infer(
        self, skin: Skin, scope: Scope, headers: dict[bytes, bytes], request_id: str, receive: Receive, send: Send
    ) -> None:
        if scope["method"] != "POST":
            raise MethodNotAllowed(f"{scope['path']} takes POST only")
        credential = credential_of(headers)
        repeat_key = read_key(headers)
        grant = self._services().accountant.admit(credential)  # before a stranger's body takes up memory
        body = await read_body(receive, headers, self._max_body_bytes)
        call = Call(
            skin=skin,
            body=body,
            grant=grant,
            app_url=_text(headers, b"http-referer", most=1024),
            app_title=_text(headers, b"x-openrouter-title") or _text(headers, b"x-title"),
            session_id=session_of(headers),
            betas=_betas(headers),
            app_categories=_categories(headers),
            user_agent=_text(headers, b"user-agent"),
            wants_metadata=_wants_metadata(headers),
            cache=read_wish(headers),
            origin=Origin(traceparent=_traceparent(scope, headers), request_id=request_id),
        )
        client = ASGIClient(send)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - ASGI servers run applications in tasks
        watched = Watched(receive, client, task)
        self._watch.start(watched)
        self.in_flight += 1
        try:
            if repeat_key is None:
                await serve(self._services(), call, client)
            else:
                name = ((credential or "").encode(), scope["path"].encode(), repeat_key)
                services = self._services()
                shared, keep = services.repeats, not services.policy.zdr
                await self._repeats.serve(name, body, partial(serve, services, call), client, shared, keep=keep)
        except asyncio.CancelledError:
            if not (client.gone or client.finished):
                raise
            task.uncancel()
        finally:
            self._watch.stop(watched)
            self.in_flight -= 1

    async def close(self) -> None:
        """End what goes on without a caller."""
        await self._repeats.close()


def credential_of(headers: Mapping[bytes, bytes]) -> str | None:
    """Return the key that a request presents."""
    authorization = headers.get(b"authorization")
    if authorization is not None:
        scheme, _, key = authorization.decode("latin-1").partition(" ")
        return key.strip() if scheme.lower() == "bearer" else None
    return _text(headers, b"x-api-key", most=4096)


def session_of(headers: Mapping[bytes, bytes]) -> str | None:
    """Return the session that the headers name; a body may name another, which then counts.

    Raises:
        BadRequest: it is longer than one of a body may be. Cut, it could be another session's.
    """
    session_id = _text(headers, b"x-session-id", most=_MOST_SESSION + 1)
    if session_id is not None and len(session_id) > _MOST_SESSION:
        raise BadRequest(f"x-session-id: Expected at most {_MOST_SESSION} characters")
    return session_id


def _traceparent(scope: Scope, headers: Mapping[bytes, bytes]) -> str | None:
    """Return the caller's span; None of several, as nobody can tell which of them is it.

    So w3c/trace-context wants it, test/test.py, test_traceparent_duplicated (2026-11-27).
    """
    value = _text(headers, b"traceparent", most=513)
    if value is None or sum(name == b"traceparent" for name, _ in scope["headers"]) > 1:
        return None
    return value


def _categories(headers: Mapping[bytes, bytes]) -> list[str]:
    """Return at most two of those that are known; others are dropped (OpenRouter API, headers, 2026-08-22)."""
    value = _text(headers, b"x-openrouter-categories", most=1024)
    if value is None:
        return []
    return [name for name in dict.fromkeys(map(str.strip, value.split(","))) if name in _CATEGORIES][:2]


def _wants_metadata(headers: Mapping[bytes, bytes]) -> bool:
    """Read `X-OpenRouter-Metadata`, or its older name."""
    value = headers.get(b"x-openrouter-metadata") or headers.get(b"x-openrouter-experimental-metadata")
    return value is not None and value.strip().lower() == b"enabled"


def _skin_of(path: str) -> Skin:
    """Return whose shape errors have at a path, or below it: chat's, where no other is spoken."""
    return _INFERENCE.get(path.removesuffix("/count_tokens"), _CHAT)


def _betas(headers: Mapping[bytes, bytes]) -> tuple[str, ...]:
    """Read `x-anthropic-beta`, or Anthropic's own name for it. What is no name of a feature is left out."""
    value = _text(headers, b"x-anthropic-beta", most=1024) or _text(headers, b"anthropic-beta", most=1024)
    if value is None:
        return ()
    return tuple(name for part in value.split(",") if _BETA.fullmatch(name := part.strip()))


def _text(headers: Mapping[bytes, bytes], name: bytes, *, most: int = 256) -> str | None:
    value = headers.get(name)
    return value[:most].decode("latin-1") if value else None
