"""The denominator of the benchmark: what a proxy costs that has no feature at all.

Bare ASGI on uvicorn and an aiohttp client. It decodes and encodes again the request's JSON, the reply's JSON
and the JSON of each event, and streams, one send per read; it routes, checks, counts and records nothing.
"""

from __future__ import annotations

import argparse

import aiohttp
import msgspec
import uvicorn
from starlette.types import Message, Receive, Scope, Send

_encode = msgspec.json.encode
_decode = msgspec.json.decode
_JSON = [(b"content-type", b"application/json")]
_EVENTS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]


class _Reencoder:
    """Decodes and encodes the events of one stream; keeps what follows the last blank line for later."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """Return the events that `data` completes, encoded anew."""
        *events, self._rest = (self._rest + data).split(b"\n\n")
        return b"".join([self._translate(event) for event in events])

    @staticmethod
    def _translate(event: bytes) -> bytes:
        payload = event.removeprefix(b"data: ")
        if payload is event or payload == b"[DONE]":
            return event + b"\n\n"
        return b"data: " + _encode(_decode(payload)) + b"\n\n"


async def _read(receive: Receive) -> bytes:
    message = await receive()
    if not message.get("more_body"):
        return message.get("body", b"")
    parts = [message.get("body", b"")]
    while message.get("more_body"):
        message = await receive()
        parts.append(message.get("body", b""))
    return b"".join(parts)


class _Proxy:
    """The ASGI application; its session lives as long as the server."""

    def __init__(self, upstream: str) -> None:
        self._url = f"{upstream}/chat/completions"
        self._headers = {"content-type": "application/json", "authorization": "Bearer sk-bench"}
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["path"] == "/healthz":
            await send(_start(200, _JSON))
            await send({"type": "http.response.body", "body": b"{}"})
        else:
            await self._forward(receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
        )
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._session.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _forward(self, receive: Receive, send: Send) -> None:
        assert self._session
        body = _encode(_decode(await _read(receive)))
        async with self._session.post(self._url, data=body, headers=self._headers) as reply:
            if not reply.content_type.startswith("text/event-stream"):
                answer = _encode(_decode(await reply.read()))
                length = (b"content-length", b"%d" % len(answer))
                await send(_start(reply.status, [*_JSON, length]))
                await send({"type": "http.response.body", "body": answer})
                return
            await send(_start(reply.status, _EVENTS))
            reencoder = _Reencoder()
            async for data in reply.content.iter_any():
                if events := reencoder.feed(data):
                    await send({"type": "http.response.body", "body": events, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


def _start(status: int, headers: list[tuple[bytes, bytes]]) -> Message:
    return {"type": "http.response.start", "status": status, "headers": headers}


def main() -> None:
    """Serve on a loopback port until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True, help="base address of the upstream's API")
    args = parser.parse_args()
    config = uvicorn.Config(
        _Proxy(args.upstream),
        host="127.0.0.1",
        port=args.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_level="warning",
    )
    uvicorn.Server(config).run()


if __name__ == "__main__":
    main()
