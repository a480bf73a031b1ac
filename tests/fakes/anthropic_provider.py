"""A provider that speaks Anthropic's Messages API as strictly as the real one: an aiohttp server on loopback.

It answers 400 to what the API refuses: missing headers and fields, fields that it does not know, turns out of order,
results without calls, budgets and temperatures out of range, and reasoning that is not what it gave out. What it gives
out depends on the request: a call of the first tool, an answer once there is a result, or a greeting; before it the
thoughts, if it is to think. The model's name may ask for more:

    status:N       an error with that status
    slow           nothing for a second, then the answer
    overloaded     a stream that ends with `overloaded_error` after two pieces of text
    cut            a stream that breaks off after two pieces of text
    redacted       thoughts that only it can read
    cited          a text with a citation of the web, after a search of its own
    refusal        a refusal
    terse          no text beside a call

What came in is kept in `requests` and `headers`.
"""

import asyncio
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from fakes.threads import running_loop

THOUGHT: Final = "The user wants the weather."
SIGNATURE: Final = "c2lnbmVkIGJ5IHRoZSBmYWtl"
REDACTED: Final = "cmVkYWN0ZWQgYnkgdGhlIGZha2U="
GREETING: Final = "Hello from Claude."
ANSWER: Final = "It is sunny in Paris."
CALL_ID: Final = "toolu_01fake"
CITATION: Final[dict[str, Any]] = {
    "type": "web_search_result_location",
    "url": "https://example.com/weather",
    "title": "Weather",
    "cited_text": "Sunny.",
    "encrypted_index": "ZW5jcnlwdGVk",
}
USAGE: Final[dict[str, Any]] = {
    "input_tokens": 20,
    "cache_read_input_tokens": 100,
    "cache_creation_input_tokens": 50,
    "cache_creation": {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 20},
    "output_tokens": 12,
    "output_tokens_details": {"thinking_tokens": 4},
    "service_tier": "standard",
}
_FIELDS: Final = frozenset(
    {
        "model", "messages", "max_tokens", "system", "metadata", "stop_sequences", "stream", "temperature", "top_k",
        "top_p", "tools", "tool_choice", "thinking", "output_config", "service_tier", "context_management", "container",
        "cache_control",
    }
)  # fmt: skip
_ERRORS: Final = {400: "invalid_request_error", 429: "rate_limit_error", 500: "api_error", 529: "overloaded_error"}


@dataclass
class FakeAnthropic:
    """The running server's address, and what came in."""

    port: int = 0
    requests: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])

    @property
    def base_url(self) -> str:
        """Where the gateway is to send."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def messages(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        body = await request.json()
        self.requests.append(body)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        wrong = _find_fault(body, request.headers.get("x-api-key"), request.headers.get("anthropic-version"))
        if wrong is not None:
            return _refuse(400, wrong)
        behaviour, _, argument = str(body["model"]).partition(":")
        if behaviour == "status":
            return _refuse(int(argument), "It broke.")
        if behaviour == "slow":
            await asyncio.sleep(1)
        blocks, reason = _answer(body, behaviour)
        if not body.get("stream"):
            message = _message(body, blocks) | {"stop_reason": reason, "usage": USAGE}
            return web.json_response(message, headers={"request-id": "req_fake"})
        return await _stream(request, body, blocks, reason, behaviour)


def _refuse(status: int, message: str) -> web.Response:
    kind = _ERRORS.get(status, "api_error")
    body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_fake"}
    return web.json_response(body, status=status, headers={"request-id": "req_fake"})


def _find_fault(body: dict[str, Any], key: str | None, version: str | None) -> str | None:
    """Return why the API would refuse the request, or None."""
    if not key or not version:
        return "x-api-key and anthropic-version are required"
    if extra := body.keys() - _FIELDS:
        return f"{min(extra)}: Extra inputs are not permitted"
    if missing := {"model", "messages", "max_tokens"} - body.keys():
        return f"{min(missing)}: Field required"
    thinking = _object(body, "thinking")
    if thinking.get("type") == "enabled":
        if not 1024 <= thinking["budget_tokens"] < body["max_tokens"]:
            return "`max_tokens` must be greater than `thinking.budget_tokens`"
        if body.get("temperature", 1) != 1:
            return "`temperature` may only be set to 1 when thinking is enabled"
        if _object(body, "tool_choice").get("type") in ("any", "tool"):
            return "Thinking may not be enabled when tool_choice forces tool use."
    return _find_fault_in_turns(body["messages"])


def _object(body: dict[str, Any], key: str) -> dict[str, Any]:
    return body.get(key) or {}


def _blocks(message: dict[str, Any]) -> list[dict[str, Any]]:
    content: Any = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _find_fault_in_turns(messages: list[dict[str, Any]]) -> str | None:
    if not messages:
        return "messages: at least one message is required"
    called: set[str] = set()
    for place, message in enumerate(messages):
        blocks = _blocks(message)
        results = {block["tool_use_id"] for block in blocks if block["type"] == "tool_result"}
        if results != called:
            return f"messages.{place}: `tool_use` ids were found without `tool_result` blocks immediately after"
        called = {block["id"] for block in blocks if block["type"] == "tool_use"}
        for block in blocks:
            if block["type"] == "text" and not block["text"].strip():
                return "messages: text content blocks must be non-empty"
            if block["type"] == "thinking" and (block["thinking"], block["signature"]) != (THOUGHT, SIGNATURE):
                return f"messages.{place}: `thinking` blocks in the latest assistant message cannot be modified"
            if block["type"] == "redacted_thinking" and block["data"] != REDACTED:
                return f"messages.{place}: `redacted_thinking` blocks cannot be modified"
    return None


def _answer(body: dict[str, Any], behaviour: str) -> tuple[list[dict[str, Any]], str]:
    blocks: list[dict[str, Any]] = []
    if _object(body, "thinking").get("type") in ("enabled", "adaptive"):
        blocks.append({"type": "thinking", "thinking": THOUGHT, "signature": SIGNATURE})
        if behaviour == "redacted":
            blocks.append({"type": "redacted_thinking", "data": REDACTED})
    if behaviour == "refusal":
        return blocks, "refusal"
    if behaviour == "cited":
        blocks.append({"type": "server_tool_use", "id": "srvtoolu_01", "name": "web_search", "input": {"query": "w"}})
        blocks.append({"type": "web_search_tool_result", "tool_use_id": "srvtoolu_01", "content": []})
        return [*blocks, {"type": "text", "text": ANSWER, "citations": [CITATION]}], "end_turn"
    if any(block["type"] == "tool_result" for block in _blocks(body["messages"][-1])):
        return [*blocks, {"type": "text", "text": ANSWER}], "end_turn"
    if body.get("tools") and _object(body, "tool_choice").get("type") != "none":
        call = {"type": "tool_use", "id": CALL_ID, "name": body["tools"][0]["name"], "input": {"city": "Paris"}}
        return [
            *blocks,
            *([] if behaviour == "terse" else [{"type": "text", "text": "Let me look."}]),
            call,
        ], "tool_use"
    return [*blocks, {"type": "text", "text": GREETING}], "end_turn"


def _message(body: dict[str, Any], blocks: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": "msg_01fake",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": blocks,
        "stop_reason": None,
        "stop_sequence": None,
    }


async def _stream(
    request: web.Request, body: dict[str, Any], blocks: list[dict[str, Any]], reason: str, behaviour: str
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
    await response.prepare(request)
    begin = {"type": "message_start", "message": _message(body, []) | {"usage": USAGE | {"output_tokens": 1}}}
    await _send(response, begin)
    pieces = 0
    for index, block in enumerate(blocks):
        start, deltas = _split(block)
        await _send(response, {"type": "content_block_start", "index": index, "content_block": start})
        if index == 0:
            await _send(response, {"type": "ping"})
        for delta in deltas:
            await _send(response, {"type": "content_block_delta", "index": index, "delta": delta})
            pieces += 1
            if pieces == 2 and behaviour in ("cut", "overloaded"):
                await asyncio.sleep(0.2)  # so that the text is read, and given out, before the fault
                if behaviour == "overloaded":
                    error = {"type": "overloaded_error", "message": "Overloaded"}
                    await _send(response, {"type": "error", "error": error, "request_id": "req_fake"})
                elif request.transport is not None:
                    request.transport.abort()
                return response
        await _send(response, {"type": "content_block_stop", "index": index})
    usage = {"output_tokens": USAGE["output_tokens"], "output_tokens_details": USAGE["output_tokens_details"]}
    delta = {"stop_reason": reason, "stop_sequence": None}
    await _send(response, {"type": "message_delta", "delta": delta, "usage": usage})
    await _send(response, {"type": "message_stop"})
    return response


def _split(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return how a block begins in a stream, and its deltas."""
    match block["type"]:
        case "text":
            words = block["text"].split(" ")
            deltas = [{"type": "text_delta", "text": word if n == 0 else f" {word}"} for n, word in enumerate(words)]
            deltas += [{"type": "citations_delta", "citation": citation} for citation in block.get("citations", ())]
            return {"type": "text", "text": ""}, deltas
        case "thinking":
            text, signature = block["thinking"], block["signature"]
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in (text[:9], text[9:])]
            return {**block, "thinking": "", "signature": ""}, [
                *deltas,
                {"type": "signature_delta", "signature": signature},
            ]
        case "tool_use" | "server_tool_use":
            arguments = json.dumps(block["input"])
            pieces = ["", arguments[:6], arguments[6:]]
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
        case _:
            return block, []


async def _send(response: web.StreamResponse, event: dict[str, Any]) -> None:
    await response.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())


@contextmanager
def running_anthropic() -> Generator[FakeAnthropic]:
    """Run the provider in a thread of its own."""
    provider = FakeAnthropic()

    async def main(ready: threading.Event, stopping: asyncio.Event) -> None:
        application = web.Application()
        application.router.add_post("/v1/messages", provider.messages)
        runner = web.AppRunner(application, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        provider.port = runner.addresses[0][1]
        ready.set()
        await stopping.wait()
        await runner.cleanup()

    with running_loop(main):
        yield provider
