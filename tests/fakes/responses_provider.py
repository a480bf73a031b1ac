"""A provider that speaks OpenAI's Responses API and is strict about what it is sent: a real server on loopback.

The model's name says what it does:

    answer       a text, with a citation
    agent        reasons and calls both tools; with their results, reasons and answers
    refuse       a refusal instead of a text
    length       a text that ends for its length
    failed       a stream that fails after some text; a failed response
    error        an `error` event after some text; an error instead of a response
    cut          a stream that breaks off after some text; a body that does
    throttled    429
    too-long     400 with the code of a prompt that is too long
    garbage      200 with a page

Reasoning that it gave must come back as it was, each item right before what it led to; anything else is a 400. What
came in is kept in `requests`.
"""

import contextlib
import json
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, TypeAlias

from typing_extensions import override

from fakes.threads import running_server

Json: TypeAlias = dict[str, Any]

TEXT: Final = "Fog in SF, sun in LA."
CITATION: Final[Json] = {
    "type": "url_citation",
    "url": "https://example.com",
    "title": "E",
    "start_index": 0,
    "end_index": 3,
}
USAGE: Final[Json] = {
    "input_tokens": 75,
    "input_tokens_details": {"cached_tokens": 25},
    "output_tokens": 50,
    "output_tokens_details": {"reasoning_tokens": 40},
    "total_tokens": 125,
}
REASONING: Final[list[Json]] = [
    {
        "id": "rs_1",
        "type": "reasoning",
        "summary": [
            {"type": "summary_text", "text": "**Plan**\n\nTwo places, two calls."},
            {"type": "summary_text", "text": "**First**\n\nSan Francisco."},
        ],
        "encrypted_content": "Zmlyc3Q=",
    },
    {"id": "rs_2", "type": "reasoning", "summary": [], "encrypted_content": "c2Vjb25k"},
    {
        "id": "rs_3",
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "Both are known."}],
        "encrypted_content": "dGhpcmQ=",
    },
]
_FIELDS: Final = frozenset(
    {
        "model", "input", "store", "include", "stream", "tools", "tool_choice", "parallel_tool_calls", "reasoning",
        "max_output_tokens", "temperature", "top_p", "text", "metadata", "safety_identifier", "prompt_cache_key",
        "service_tier", "top_logprobs",
    }
)  # fmt: skip
_ITEM_KEYS: Final[dict[str, frozenset[str]]] = {
    "message": frozenset({"type", "role", "content", "phase"}),
    "reasoning": frozenset({"type", "id", "summary", "content", "encrypted_content"}),
    "function_call": frozenset({"type", "call_id", "name", "arguments"}),
    "function_call_output": frozenset({"type", "call_id", "output"}),
}


class WrongShape(Exception):
    """A part of the request is not what the API takes; the text says which."""


@dataclass
class ResponsesProvider:
    """The running server's port, and what it was sent."""

    port: int = 0
    requests: list[Json] = field(default_factory=list[Json])
    keys: list[str] = field(default_factory=list[str])

    @property
    def base_url(self) -> str:
        """Where the gateway is to send."""
        return f"http://127.0.0.1:{self.port}/v1"


def check(path: str, body: Json) -> None:
    """Raise `WrongShape` for what OpenAI would refuse, or for state that it should not have been asked to keep."""
    if path != "/v1/responses":
        raise WrongShape(f"no path {path}")
    if unknown := body.keys() - _FIELDS:
        raise WrongShape(f"Unknown parameter: {sorted(unknown)}")
    if body.get("store") is not False or "reasoning.encrypted_content" not in body.get("include", ()):
        raise WrongShape("store and include")
    if body.get("max_output_tokens", 16) < 16:
        raise WrongShape("max_output_tokens: Expected a value >= 16")
    for item in body["input"]:
        if not item.keys() <= _ITEM_KEYS[item["type"]]:
            raise WrongShape(f"keys of {item}")
    for tool in body.get("tools", ()):
        if tool["type"] == "function" and not {"name", "parameters", "strict"} <= tool.keys():
            raise WrongShape(f"tool {tool}")
    _check_order(body["input"])


def _check_order(items: list[Json]) -> None:
    """Check that calls come after the reasoning that led to them, and that all of it is as it was."""
    given = {"call_1": REASONING[0], "call_2": REASONING[1]}
    for position, item in enumerate(items):
        if item["type"] == "function_call" and item["call_id"] in given:
            before = items[position - 1]
            known = given[item["call_id"]]
            wanted = known if "id" in before else {key: value for key, value in known.items() if key != "id"}
            if before != wanted:
                raise WrongShape(f"{item['call_id']} came without its reasoning item, after {before}")


def output_for(body: Json) -> list[Json]:
    """Return the items of the answer."""
    model, items = body["model"], body["input"]
    if model == "refuse":
        return [_message("msg_1", {"type": "refusal", "refusal": "I will not."})]
    if model != "agent":
        return [_message("msg_1", _text_part(TEXT, [CITATION]))]
    if any(item["type"] == "function_call_output" for item in items):
        return [REASONING[2], _message("msg_1", _text_part(TEXT, []))]
    first, second = body["tools"]
    return [
        REASONING[0],
        _call("fc_1", "call_1", first, "San Francisco"),
        REASONING[1],
        _call("fc_2", "call_2", second, "Los Angeles"),
    ]


def _message(item_id: str, part: Json) -> Json:
    return {"id": item_id, "type": "message", "role": "assistant", "status": "completed", "content": [part]}


def _text_part(text: str, annotations: list[Json]) -> Json:
    return {"type": "output_text", "text": text, "annotations": annotations, "logprobs": []}


def _call(item_id: str, call_id: str, tool: Json, place: str) -> Json:
    """Return a call of a tool with a place for its one parameter."""
    (parameter,) = tool["parameters"].get("required", ["location"])
    return {
        "id": item_id,
        "type": "function_call",
        "status": "completed",
        "call_id": call_id,
        "name": tool["name"],
        "arguments": json.dumps({parameter: place}),
    }


def response_for(body: Json, **fields: object) -> Json:
    """Return the whole response, or its frame with these fields."""
    response: Json = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": body["model"],
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "output": output_for(body),
        "usage": USAGE,
        "service_tier": "default",
    }
    if body["model"] == "length":
        response |= {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    if body["model"] == "failed":
        response |= {"status": "failed", "error": {"code": "server_error", "message": "It broke."}, "output": []}
    return response | fields


def events_for(body: Json) -> Iterator[Json]:
    """Return the events of a streamed answer, in pieces."""
    frame = response_for(body, status="in_progress", output=[], usage=None, error=None, incomplete_details=None)
    yield {"type": "response.created", "response": frame}
    yield {"type": "response.in_progress", "response": frame}
    for index, item in enumerate(output_for(body)):
        for event in _item_events(item):
            yield {**event, "output_index": index}
    response = response_for(body)
    yield {"type": f"response.{response['status']}", "response": response}


def _item_events(item: Json) -> Iterator[Json]:
    where = {"item_id": item["id"]}
    empty: Json = {"content": [], "summary": [], "arguments": "", "encrypted_content": "unfinished"}
    begun = {key: empty.get(key, value) for key, value in item.items()}
    yield {"type": "response.output_item.added", "item": begun | {"status": "in_progress"}}
    for number, part in enumerate(item.get("summary", ())):
        place = {**where, "summary_index": number}
        yield {"type": "response.reasoning_summary_part.added", **place, "part": {"type": "summary_text", "text": ""}}
        for piece in _pieces(part["text"]):
            yield {"type": "response.reasoning_summary_text.delta", **place, "delta": piece, "obfuscation": "x"}
        yield {"type": "response.reasoning_summary_text.done", **place, "text": part["text"]}
        yield {"type": "response.reasoning_summary_part.done", **place, "part": part}
    for number, part in enumerate(item.get("content", ())):
        yield from _part_events(part, {**where, "content_index": number})
    if "arguments" in item:
        for piece in _pieces(item["arguments"]):
            yield {"type": "response.function_call_arguments.delta", **where, "delta": piece, "obfuscation": "x"}
        yield {"type": "response.function_call_arguments.done", **where, "arguments": item["arguments"]}
    yield {"type": "response.output_item.done", "item": item}


def _part_events(part: Json, place: Json) -> Iterator[Json]:
    key = "refusal" if part["type"] == "refusal" else "text"
    name = "response.refusal" if key == "refusal" else "response.output_text"
    yield {"type": "response.content_part.added", **place, "part": {**part, key: "", "annotations": []}}
    for piece in _pieces(part[key]):
        yield {"type": f"{name}.delta", **place, "delta": piece, "logprobs": []}
    for number, annotation in enumerate(part.get("annotations", ())):
        event = {"annotation_index": number, "annotation": annotation}
        yield {"type": "response.output_text.annotation.added", **place, **event}
    yield {"type": f"{name}.done", **place, key: part[key], "logprobs": []}
    yield {"type": "response.content_part.done", **place, "part": part}


def _pieces(text: str) -> list[str]:
    return [text[place : place + 6] for place in range(0, len(text), 6)]


_FAILURES: Final[dict[str, tuple[int, str, str]]] = {
    "throttled": (429, "rate_limit_exceeded", "Slow down."),
    "too-long": (400, "context_length_exceeded", "Your input exceeds the context window of this model."),
}
_AFTER_TEXT: Final = 6
"""Events after which a faulty stream shows its fault."""


class _Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    provider: ResponsesProvider

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.provider.requests.append(body)
        self.provider.keys.append(self.headers.get("Authorization", ""))
        try:
            check(self.path, body)
        except (WrongShape, KeyError, TypeError) as error:
            self._refuse(400, "invalid_value", f"{type(error).__name__}: {error}")
            return
        model = body["model"]
        if model in _FAILURES:
            self._refuse(*_FAILURES[model])
        elif model == "garbage":
            self._send(200, "text/html", b"<html>not what you asked for")
        elif body.get("stream"):
            self._stream(body)
        elif model == "error":
            self._send_json(200, {"error": {"code": "server_error", "message": "It broke."}})
        else:
            self._send_json(200, response_for(body), cut=model == "cut")

    def _stream(self, body: Json) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            for number, event in enumerate(events_for(body)):
                if number == _AFTER_TEXT and body["model"] in ("cut", "error", "failed"):
                    time.sleep(0.2)  # so that the text is read, and given out, before the fault
                    if body["model"] == "cut":
                        self.close_connection = True
                        return
                    error = {"code": "rate_limit_exceeded", "message": "It broke."}
                    failed = response_for(body, status="failed", error=error)
                    fault = {"type": "response.failed", "response": failed}
                    self._event(
                        number, fault if body["model"] == "failed" else {"type": "error", **error, "param": None}
                    )
                    break
                self._event(number, event)
            self.wfile.write(b"0\r\n\r\n")

    def _event(self, number: int, event: Json) -> None:
        data = json.dumps({**event, "sequence_number": number})
        block = f"event: {event['type']}\ndata: {data}\n\n".encode()
        self.wfile.write(b"%x\r\n%b\r\n" % (len(block), block))
        self.wfile.flush()

    def _refuse(self, status: int, code: str, message: str) -> None:
        kind = "invalid_request_error" if status == 400 else "requests"
        self._send_json(status, {"error": {"message": message, "type": kind, "param": None, "code": code}})

    def _send_json(self, status: int, body: Json, *, cut: bool = False) -> None:
        self._send(status, "application/json", json.dumps(body).encode(), missing=100 if cut else 0)

    def _send(self, status: int, kind: str, body: bytes, *, missing: int = 0) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) + missing))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = bool(missing)

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""


@contextmanager
def running_responses_provider() -> Generator[ResponsesProvider]:
    """Run the provider in threads of this process."""
    provider = ResponsesProvider()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Exchange", (_Exchange,), {"provider": provider}))
    server.daemon_threads = True
    provider.port = server.server_port
    with running_server(server):
        yield provider
