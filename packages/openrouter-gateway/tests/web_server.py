"""A small HTTP server on loopback that answers what a table says, for tests of what the gateway fetches."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import TypeAlias

Answer: TypeAlias = bytes | float


def respond(body: bytes = b"", *, status: int = 200, kind: str = "", **headers: str) -> bytes:
    """Return an answer as bytes."""
    fields = {"content-length": str(len(body)), "content-type": kind} | headers
    lines = [f"HTTP/1.1 {status} X", *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items() if value)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


class WebServer:
    """`requests` are the heads, and bodies, that came."""

    def __init__(self, answers: Mapping[str, list[Answer]], port: int = 0) -> None:
        self.answers = answers
        self.port = port
        self.requests: list[tuple[str, bytes]] = []

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request: bytes are sent, numbers are seconds to wait."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            length = head.lower().partition("content-length: ")[2].partition("\r\n")[0]
            self.requests.append((head, await reader.readexactly(int(length or 0))))
            for piece in self.answers.get(head.split(" ", 2)[1], [respond(status=404)]):
                if isinstance(piece, bytes):
                    writer.write(piece)
                    await writer.drain()
                else:
                    await asyncio.sleep(piece)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def web_server(answers: Mapping[str, list[Answer]], host: str = "127.0.0.1") -> AsyncGenerator[WebServer]:
    """Run one; `answers` is by path and query, and may be filled later."""
    found = WebServer(answers)
    server = await asyncio.start_server(found.serve, host, 0)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
