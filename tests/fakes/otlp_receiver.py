"""Where traces go: an HTTP server that takes OTLP as JSON, remembers it, and answers as it is told."""

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from fakes.threads import running_server


@dataclass
class Receiver:
    """What it answers, and what it got: `bodies` of all requests, `spans` of those that it took."""

    status: int = 200
    port: int = 0
    bodies: list[bytes] = field(default_factory=list[bytes])
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    spans: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        """Where the gateway is to send."""
        return f"http://127.0.0.1:{self.port}/traces"

    def take(self, headers: dict[str, str], body: bytes) -> int:
        """Remember a request; return the status of the answer."""
        with self._lock:
            self.headers.append(headers)
            self.bodies.append(body)
            if self.status < 300:
                self.spans += _spans_of(json.loads(body))
            return self.status

    @property
    def generations(self) -> dict[str, dict[str, Any]]:
        """The spans of generations by the generation's id."""
        with self._lock:
            found = [(span["attributes"].get("openrouter.generation.id"), span) for span in self.spans]
        return {generation_id: span for generation_id, span in found if generation_id}


def _spans_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the spans of OTLP, with attributes as plain values."""
    return [
        span | {"attributes": {each["key"]: _plain(each["value"]) for each in span["attributes"]}}
        for resource_spans in document["resourceSpans"]
        for scope_spans in resource_spans["scopeSpans"]
        for span in scope_spans["spans"]
    ]


def _plain(value: dict[str, Any]) -> Any:
    ((kind, held),) = value.items()
    if kind == "arrayValue":
        return [_plain(item) for item in held["values"]]
    return int(held) if kind == "intValue" else held


@contextmanager
def running_receiver(port: int = 0) -> Generator[Receiver]:
    """Run a receiver in a thread of its own."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = receiver.take({name.lower(): value for name, value in self.headers.items()}, body)
            self.send_response(status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the base class has it
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    receiver.port = server.server_address[1]
    with running_server(server):
        yield receiver
