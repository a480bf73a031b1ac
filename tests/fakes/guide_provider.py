"""The providers behind the guide's examples: one real server on loopback in the role of many, with scripted answers.

The path names the provider, `/<slug>/v1/chat/completions`; `down` holds those that answer 503, `paces` how long one of
them takes to answer and how many tokens it says it has written. They answer by the first rule that fits:

    a tool, and the user spoke last     a call of it, for San Francisco
    a JSON Schema                       the object of its name in `OBJECTS`
    anything else                       the first of `SENTENCES` whose key is in the question

Thoughts are added when `reasoning` asks for them; usage is that of `COUNTS`, and a prefix that is marked with
`cache_control` is written once, then read. What came in is kept in `seen`. Beside the providers, everything else
that is posted is kept in `posted`, as a collector of traces would.
"""

import json
import re
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, TypeAlias

from typing_extensions import override

Json: TypeAlias = dict[str, Any]

OBJECTS: Final[dict[str, Json]] = {
    "Movie": {"title": "Inception", "year": 2010, "director": "Christopher Nolan", "rating": 8.8},
    "Weather": {"temperature": 75.0, "condition": "Sunny"},
}
SENTENCES: Final = {
    "programming": "J'adore la programmation.",
    "sea": "Grey waves come and go,\nthe beach keeps no name for long:\nfoam, then sand again.",
    "joke": "Why did the chicken cross the road? To get to the other side.",
    "529": "The square root of 529 is 23.",
    "Transcribe": "Hello from the recording.",
    "image": "A boardwalk leads through a green meadow.",
    "video": "A cat jumps off a table.",
    "document": "It is a dummy file.",
    "": "Hi.",
}
THOUGHTS: Final = ("20 squared is 400 and 25 squared is 625, so it lies between. ", "23 * 23 = 529.")
SIGNATURE: Final = "c2lnbmVk"
COUNTS: Final[dict[str, Json]] = {
    "plain": {"prompt_tokens": 12, "completion_tokens": 25},
    "tools": {"prompt_tokens": 68, "completion_tokens": 17},
    "reasoning": {
        "prompt_tokens": 39,
        "completion_tokens": 98,
        "completion_tokens_details": {"reasoning_tokens": 62},
    },
    "written": {
        "prompt_tokens": 1210,
        "completion_tokens": 12,
        "prompt_tokens_details": {"cache_write_tokens": 1201},
    },
    "read": {"prompt_tokens": 1210, "completion_tokens": 12, "prompt_tokens_details": {"cached_tokens": 1201}},
}
"""Token counts by kind of request; those that a provider has nothing to say about are absent."""


@dataclass(frozen=True)
class Seen:
    """One chat request: the provider that it was sent to, and its body."""

    provider: str
    body: Json


@dataclass
class GuideProvider:
    """The running server's address, what it was sent, and the providers that it lets fail."""

    port: int = 0
    down: set[str] = field(default_factory=set[str])
    paces: dict[str, tuple[float, int]] = field(default_factory=dict[str, tuple[float, int]])
    seen: list[Seen] = field(default_factory=list[Seen])
    posted: list[tuple[str, bytes]] = field(default_factory=list[tuple[str, bytes]])
    cached: set[str] = field(default_factory=set[str])

    @property
    def root(self) -> str:
        """Where the paths of the providers begin, and where traces go."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def asked(self) -> list[str]:
        """Who was asked, in order."""
        return [seen.provider for seen in self.seen]

    def forget(self) -> None:
        """Start afresh."""
        self.down.clear()
        self.paces.clear()
        self.seen.clear()
        self.posted.clear()
        self.cached.clear()

    def answer(self, body: Json) -> Json:
        """Return the whole answer to a request."""
        message = _message_for(body)
        counts = COUNTS[self._kind_of(body)]
        return {
            "id": "chatcmpl-guide",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": [
                {"index": 0, "message": message, "finish_reason": "tool_calls" if "tool_calls" in message else "stop"}
            ],
            "usage": counts | {"total_tokens": counts["prompt_tokens"] + counts["completion_tokens"]},
        }

    def _kind_of(self, body: Json) -> str:
        marked = {part["text"] for part in _parts_of(body) if "cache_control" in part}
        if marked:
            known = marked <= self.cached
            self.cached |= marked
            return "read" if known else "written"
        if body.get("reasoning"):
            return "reasoning"
        return "tools" if body.get("tools") else "plain"


def _parts_of(body: Json) -> Iterator[Json]:
    for message in body["messages"]:
        if isinstance(message["content"], list):
            yield from message["content"]


def _message_for(body: Json) -> Json:
    message: Json = {"role": "assistant", "content": _text_for(body)}
    if body.get("tools") and body["messages"][-1]["role"] == "user":
        message |= {"content": None, "tool_calls": [_call_of(body["tools"][0]["function"])]}
    if body.get("reasoning"):
        whole = "".join(THOUGHTS)
        message |= {"reasoning": whole, "reasoning_details": [_fragment(text=whole, signature=SIGNATURE)]}
    return message


def _fragment(**fields: str) -> Json:
    return {"type": "reasoning.text", "index": 0, **fields}


def _text_for(body: Json) -> str:
    format_ = body.get("response_format")
    if format_ is not None:
        return json.dumps(OBJECTS[format_["json_schema"]["name"]])
    content = next(m["content"] for m in reversed(body["messages"]) if m["role"] == "user")
    question = content if isinstance(content, str) else content[0]["text"]
    return next(sentence for key, sentence in SENTENCES.items() if key in question)


def _call_of(function: Json) -> Json:
    arguments = dict.fromkeys(function["parameters"]["properties"], "San Francisco, CA")
    return {
        "id": "call_abc123",
        "type": "function",
        "function": {"name": function["name"], "arguments": json.dumps(arguments)},
    }


def _chunks_of(answer: Json) -> Iterator[Json]:
    """Cut an answer into a stream's chunks: thoughts in pieces, text word by word, the usage last and alone."""
    (choice,) = answer["choices"]
    message: Json = choice["message"]
    head = {key: answer[key] for key in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    deltas: list[Json] = [{"role": "assistant", "content": ""}]
    if "reasoning" in message:
        deltas += [{"reasoning": piece, "reasoning_details": [_fragment(text=piece)]} for piece in THOUGHTS]
        deltas.append({"reasoning_details": [_fragment(signature=SIGNATURE)]})
    deltas += [{"content": word} for word in re.findall(r"\s*\S+", message["content"] or "")]
    for delta in deltas:
        yield {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]}
    yield {**head, "choices": [], "usage": answer["usage"]}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, provider: GuideProvider) -> None:
        super().__init__(("127.0.0.1", 0), _Exchange)
        self.provider = provider


class _Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride] - the only one that makes these

    def do_GET(self) -> None:
        """What a collector of traces says of itself."""
        self._send(200, b"{}")

    def do_POST(self) -> None:
        provider = self.server.provider
        data = self.rfile.read(int(self.headers["Content-Length"]))
        slug, _, rest = self.path.removeprefix("/").partition("/")
        if rest != "v1/chat/completions":
            provider.posted.append((self.path, data))
            self._send(202, b"{}")
            return
        body = json.loads(data)
        provider.seen.append(Seen(slug, body))
        if slug in provider.down:
            self._send(503, b'{"error": {"message": "Try later."}}', retry_after="0")
            return
        answer = provider.answer(body)
        if slug in provider.paces:
            seconds, answer["usage"]["completion_tokens"] = provider.paces[slug]
            time.sleep(seconds)
        if body.get("stream"):
            events = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in _chunks_of(answer))
            self._send(200, f"{events}data: [DONE]\n\n".encode(), kind="text/event-stream")
        else:
            self._send(200, json.dumps(answer).encode())

    def _send(self, status: int, body: bytes, *, kind: str = "application/json", retry_after: str = "") -> None:
        self.send_response(status)
        if retry_after:
            self.send_header("Retry-After", retry_after)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""


@contextmanager
def running_guide_provider() -> Generator[GuideProvider]:
    """Run the server in threads of this process."""
    provider = GuideProvider()
    with _Server(provider) as server:
        provider.port = server.server_port
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield provider
        finally:
            server.shutdown()
