"""A provider that speaks Google's wire, on loopback; what it does, the model's name says.

answer           text, in one body or as a stream
tools            a signed call; text once its result and its signature have come back, 400 without the signature
gemini-3-tools   the same; takes Google's word for calls that another model made in place of a signature
list             the chunks of a stream as a JSON list, as without `alt=sse`
throttled        429 with a delay in its details
key-refused      400 that speaks of the key, and quotes it
too-long         400 that speaks of the prompt's length
blocked          a prompt that a filter refuses
cut              a stream without a finish reason
error-chunk      a stream with an error after two pieces of text
"""

import asyncio
import json
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

WORDS = ("Hel", "lo ", "from Gemini.")
TEXT = "".join(WORDS)
THOUGHT = "The user wants the weather."
SIGNATURE = "c2lnbmF0dXJlKy8="
UNSIGNED = "skip_thought_signature_validator"
CALL = {"name": "get_weather", "args": {"city": "Paris"}}
RESULT = "sunny"


@dataclass
class FakeGemini:
    """The running server's address, and what came in."""

    port: int = 0
    paths: list[str] = field(default_factory=list[str])
    keys: list[str | None] = field(default_factory=list[str | None])
    bodies: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    ready: threading.Event = field(default_factory=threading.Event)
    stop: Callable[[], object] = lambda: None

    @property
    def base_url(self) -> str:
        """Where the gateway is to send."""
        return f"http://127.0.0.1:{self.port}/v1beta"

    async def run(self) -> None:
        """Serve until `stop` is called."""
        stopping, loop = asyncio.Event(), asyncio.get_running_loop()
        self.stop = lambda: loop.call_soon_threadsafe(stopping.set)
        app = web.Application()
        app.router.add_post("/v1beta/models/{call}", self.serve)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        self.ready.set()
        await stopping.wait()
        await runner.cleanup()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        self.paths.append(request.path_qs)
        self.keys.append(request.headers.get("x-goog-api-key"))
        body: dict[str, Any] = await request.json()
        self.bodies.append(body)
        behaviour, _, method = request.match_info["call"].rpartition(":")
        refusal = _refusal(behaviour, self.keys[-1])
        if refusal is not None:
            return web.json_response(refusal, status=refusal["error"]["code"])
        taken = (SIGNATURE, UNSIGNED) if behaviour == "gemini-3-tools" else (SIGNATURE,)
        chunks = _tool_chunks(body, taken) if behaviour.endswith("tools") else _text_chunks(behaviour)
        if chunks is None:
            return web.json_response(
                _error(400, "INVALID_ARGUMENT", "Function call is missing a thought_signature."), status=400
            )
        if behaviour == "list":
            return web.json_response(chunks)
        if method == "generateContent":
            return web.json_response(_whole(chunks))
        return await _stream(request, chunks)


def _refusal(behaviour: str, key: str | None) -> dict[str, Any] | None:
    match behaviour:
        case "throttled":
            delay = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "16.2s"}
            return _error(429, "RESOURCE_EXHAUSTED", "Quota exceeded.", delay)
        case "key-refused":
            info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
            return _error(400, "INVALID_ARGUMENT", f"API key not valid: {key}", info)
        case "too-long":
            message = "The input token count (9) exceeds the maximum number of tokens allowed (8)."
            return _error(400, "INVALID_ARGUMENT", message)
        case _:
            return None


def _error(code: int, status: str, message: str, *details: dict[str, Any]) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


def _text_chunks(behaviour: str) -> list[dict[str, Any]]:
    if behaviour == "blocked":
        return [{"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 4}}]
    chunks = [_chunk([{"text": word}]) for word in WORDS]
    if behaviour == "cut":
        return chunks[:2]
    if behaviour == "error-chunk":
        return [*chunks[:2], _error(503, "UNAVAILABLE", "The model is overloaded.")]
    return [*chunks[:-1], _chunk([{"text": WORDS[-1]}], finish="STOP")]


def _tool_chunks(body: dict[str, Any], taken: tuple[str, ...]) -> list[dict[str, Any]] | None:
    """Return the turn that is next; None where a call came back without a signature that is taken."""
    turns = body["contents"]
    if len(turns) == 1:
        thought = {"text": THOUGHT, "thought": True}
        return [
            _chunk([thought]),
            _chunk([{"functionCall": CALL, "thoughtSignature": SIGNATURE}]),
            _chunk([{"text": ""}], finish="STOP"),
        ]
    calls = [part for turn in turns for part in turn["parts"] if "functionCall" in part]
    if any(part.get("thoughtSignature") not in taken for part in calls):
        return None
    result = turns[-1]["parts"][-1]["functionResponse"]["response"]["output"]
    return [_chunk([{"text": f"It is {result}."}], finish="STOP")]


def _chunk(parts: list[dict[str, Any]], finish: str | None = None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    usage = {"promptTokenCount": 11, "candidatesTokenCount": 7, "thoughtsTokenCount": 5, "totalTokenCount": 23}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "fake", "responseId": "fake-response"}


def _whole(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the chunks as one body."""
    last = chunks[-1]
    if "candidates" not in last:
        return last
    (candidate,) = last["candidates"]
    parts = [part for chunk in chunks for part in chunk["candidates"][0]["content"]["parts"]]
    return {**last, "candidates": [{**candidate, "content": {"parts": parts, "role": "model"}}]}


async def _stream(request: web.Request, chunks: list[dict[str, Any]]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for chunk in chunks:
        await response.write(b"data: " + json.dumps(chunk).encode() + b"\r\n\r\n")
        await asyncio.sleep(0.01)
    await response.write_eof()
    return response


@contextmanager
def running_gemini() -> Generator[FakeGemini]:
    """Run the provider in a thread of its own."""
    provider = FakeGemini()
    thread = threading.Thread(target=asyncio.run, args=(provider.run(),), daemon=True)
    thread.start()
    assert provider.ready.wait(10), "the fake provider did not start"
    try:
        yield provider
    finally:
        provider.stop()
        thread.join(10)
