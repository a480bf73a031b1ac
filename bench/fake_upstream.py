"""A fast upstream with OpenAI's API and Anthropic's: prepared answers over raw asyncio, never the bottleneck.

Answers `POST .../chat/completions` and `.../messages` as the model's name says (see `workload`). Streams are sent one
event per HTTP chunk, as providers do; a burst goes out in a few writes that cut events anywhere. A connection may be
reused; a second request before the answer to the first is complete (pipelining) closes it.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections.abc import Generator
from functools import cache
from typing import cast

import httptools
import msgspec
import uvloop

from workload import ANSWER, CLAUDE, Shape, parse_shape

_BURST_WRITES = 4
_CREATED = 1_700_000_000
_END = b"0\r\n\r\n"
_USAGE = {"prompt_tokens": 220, "completion_tokens": 200, "total_tokens": 420}


class _Ask(msgspec.Struct):
    """The part of a request this server acts on; the messages must be there but are not looked into."""

    model: str
    messages: list[msgspec.Raw]
    stream: bool = False


_decoder = msgspec.json.Decoder(_Ask)


def _respond(status: bytes, body: bytes) -> bytes:
    head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (
        status,
        len(body),
    )
    return head + body


def _refuse(status: bytes, code: str) -> bytes:
    return _respond(status, msgspec.json.encode({"error": {"message": code, "type": "invalid_request", "code": code}}))


@cache
def _completion(model: str) -> bytes:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": ANSWER, "refusal": None},
        "logprobs": None,
        "finish_reason": "stop",
    }
    reply = {
        "id": "chatcmpl-bench0123456789",
        "object": "chat.completion",
        "created": _CREATED,
        "model": model,
        "choices": [choice],
        "usage": _USAGE | {"prompt_tokens_details": {"cached_tokens": 0}},
        "system_fingerprint": "fp_bench",
    }
    return _respond(b"200 OK", msgspec.json.encode(reply))


def _frame(payload: bytes) -> bytes:
    event = b"data: " + payload + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(event), event)


def _chunk(model: str, choices: list[dict[str, object]], **more: object) -> bytes:
    head = {
        "id": "chatcmpl-bench0123456789",
        "object": "chat.completion.chunk",
        "created": _CREATED,
        "model": model,
        "system_fingerprint": "fp_bench",
    }
    return _frame(msgspec.json.encode(head | {"choices": choices} | more))


def _choice(delta: dict[str, object], finish_reason: str | None = None) -> list[dict[str, object]]:
    return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}]


@cache
def _stream(model: str, shape: Shape) -> tuple[bytes, ...]:
    """Return the writes of one stream: a burst's few, or one for each content chunk."""
    head = (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
        b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    if model.startswith(CLAUDE):
        return _split(head + b"".join(_message_events(model, shape)), shape)
    first = head + _chunk(model, _choice({"role": "assistant", "content": "", "refusal": None}))
    contents = [_chunk(model, _choice({"content": word})) for word in shape.words]
    usage = _chunk(model, [], usage=_USAGE)
    last = _chunk(model, _choice({}, "stop")) + usage + _frame(b"[DONE]") + _END
    if shape.gap_s and not shape.cut:
        return (first, *contents[:-1], b"".join(contents[-1:]) + last)
    return _split(first + b"".join(contents) + last, shape)


def _message_events(model: str, shape: Shape) -> Generator[bytes]:
    """The same words in Anthropic's events."""
    message: dict[str, object] = {
        "id": "msg_bench",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
    }
    counts = {"input_tokens": 220, "output_tokens": 1}
    yield _event("message_start", message=message | {"stop_reason": None, "stop_sequence": None, "usage": counts})
    yield _event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    for word in shape.words:
        yield _event("content_block_delta", index=0, delta={"type": "text_delta", "text": word})
    yield _event("content_block_stop", index=0)
    stop = {"stop_reason": "end_turn", "stop_sequence": None}
    yield _event("message_delta", delta=stop, usage={"output_tokens": 200})
    yield _event("message_stop") + _END


def _event(kind: str, **fields: object) -> bytes:
    data = b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode({"type": kind, **fields}))
    return b"%x\r\n%b\r\n" % (len(data), data)


def _split(whole: bytes, shape: Shape) -> tuple[bytes, ...]:
    step = len(whole) // (shape.chunks if shape.cut else _BURST_WRITES) + 1
    return tuple(whole[at : at + step] for at in range(0, len(whole), step))


class _Upstream(asyncio.Protocol):
    """One connection; `_pacing` sends the rest of a stream, None between streams."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._pacing: asyncio.Handle | None = None
        self._url = b""
        self._body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._pacing:
            self._pacing.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._close()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        url, body = self._url, b"".join(self._body)
        self._url = b""
        self._body.clear()
        if self._transport is None or self._pacing:
            self._close()
            return
        self._answer(self._transport, url, body)
        if not self._parser.should_keep_alive() and not self._pacing:
            self._close()

    def _answer(self, transport: asyncio.Transport, url: bytes, body: bytes) -> None:
        if self._parser.get_method() != b"POST" or not url.endswith((b"/chat/completions", b"/messages")):
            transport.write(_refuse(b"404 Not Found", "unknown_url"))
            return
        try:
            ask = _decoder.decode(body)
        except msgspec.DecodeError:
            transport.write(_refuse(b"400 Bad Request", "bad_body"))
            return
        shape = parse_shape(ask.model)
        if shape is None:
            transport.write(_refuse(b"404 Not Found", "unknown_model"))
        elif not ask.stream:
            transport.write(_completion(ask.model))
        else:
            self._pace(_stream(ask.model, shape), 0, shape.gap_s)

    def _pace(self, pieces: tuple[bytes, ...], at: int, gap_s: float) -> None:
        if self._transport is None:
            return
        self._transport.write(pieces[at])
        if at + 1 == len(pieces):
            self._pacing = None
        elif gap_s:
            self._pacing = self._loop.call_later(gap_s, self._pace, pieces, at + 1, gap_s)
        else:  # the next turn of the loop: uvloop joins what is written within one
            self._pacing = self._loop.call_soon(self._pace, pieces, at + 1, gap_s)

    def _close(self) -> None:
        if self._transport:
            self._transport.close()


async def _serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, stop.set)
    server = await loop.create_server(_Upstream, "127.0.0.1", port, backlog=1024)
    await stop.wait()
    server.close()


def main() -> None:
    """Serve on a loopback port until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(_serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
