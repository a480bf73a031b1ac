"""A fast fake OpenRouter for `client.py`: fixed bytes, no parsing beyond what framing needs.

Run as a process of its own; prints its port. A request whose body holds `"stream":true` gets `EVENTS` events,
each in an HTTP chunk of its own, in one write; any other gets one completion.
"""

import asyncio
import json
import sys
from typing import Any

from typing_extensions import override

EVENTS = int(sys.argv[1]) if len(sys.argv) > 1 else 200
"""Content events per stream; a finish, a usage and an end event follow."""

USAGE = {"prompt_tokens": 12, "completion_tokens": EVENTS, "total_tokens": 12 + EVENTS, "cost": 0.0001}


def _event(choices: list[Any], **more: Any) -> dict[str, Any]:
    head = {
        "id": "gen-1771043112-abcdefghij0123456789",
        "object": "chat.completion.chunk",
        "created": 1771043112,
    }
    return {**head, "model": "acme/one", "provider": "Acme", "choices": choices, **more}


def _delta(text: str, finish: str | None = None) -> dict[str, Any]:
    delta = {"role": "assistant", "content": text}
    return {
        "index": 0,
        "delta": delta,
        "finish_reason": finish,
        "native_finish_reason": finish,
        "logprobs": None,
    }


def _streamed() -> bytes:
    events = [_event([_delta(" word")]) for _ in range(EVENTS)]
    events += [_event([_delta("", "stop")]), _event([], usage=USAGE)]
    datas = [json.dumps(event, separators=(",", ":")).encode() for event in events] + [b"[DONE]"]
    lines = [b"data: " + data + b"\n\n" for data in datas]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(line), line) for line in lines)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + chunks + b"0\r\n\r\n"


def _whole() -> bytes:
    message = {"role": "assistant", "content": " word" * EVENTS, "refusal": None, "reasoning": None}
    choice = {"index": 0, "finish_reason": "stop", "native_finish_reason": "stop", "logprobs": None}
    body = _event([{**choice, "message": message}], usage=USAGE, object="chat.completion", system_fingerprint=None)
    raw = json.dumps(body, separators=(",", ":")).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(raw)}\r\n\r\n"
    return head.encode() + raw


STREAMED, WHOLE = _streamed(), _whole()


class FakeOpenRouter(asyncio.Protocol):
    """Answers as soon as a whole request has arrived."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = b""

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    @override
    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            mark = head.find(b"content-length:")
            length = int(head[mark + 15 :].split(b"\r\n", 1)[0]) if mark >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            body = self._buffer[end + 4 : end + 4 + length]
            self._buffer = self._buffer[end + 4 + length :]
            assert self._transport is not None
            self._transport.write(STREAMED if b'"stream":true' in body else WHOLE)


async def main() -> None:
    """Serve until standard input closes."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(FakeOpenRouter, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
