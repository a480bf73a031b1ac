"""A local server that stands where the API of LangSmith would: it takes runs as the real client sends them."""

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

Json = dict[str, Any]

INFO: Final[Json] = {
    "version": "0.0.0",
    "batch_ingest_config": {
        # Batches of JSON instead of a form in parts, which would say the same.
        "use_multipart_endpoint": False,
        "size_limit": 100,
        "size_limit_bytes": 20_971_520,
        "scale_up_nthreads_limit": 1,
        "scale_up_qsize_trigger": 1000,
    },
}


@dataclass
class LangSmith:
    """What has arrived.

    Attributes:
        url: For `LANGSMITH_ENDPOINT`.
        runs: Each run by its id, with what a later message changed.
        received: Every body.
        keys: API keys that came along.
    """

    url: str = ""
    runs: dict[str, Json] = field(default_factory=dict[str, Json])
    received: list[bytes] = field(default_factory=list[bytes])
    keys: set[str | None] = field(default_factory=set[str | None])

    def take(self, body: bytes, key: str | None) -> None:
        self.received.append(body)
        self.keys.add(key)
        batch = json.loads(body)
        for run in [*batch.get("post", []), *batch.get("patch", [])]:
            self.runs.setdefault(run["id"], {}).update(run)


@contextmanager
def running_langsmith() -> Generator[LangSmith]:
    langsmith = LangSmith()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(INFO if self.path == "/info" else {})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == "/runs/batch", self.path
            with lock:
                langsmith.take(body, self.headers["x-api-key"])
            self._answer({})

        def _answer(self, body: Json) -> None:
            raw = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        langsmith.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield langsmith
        finally:
            server.shutdown()
            thread.join(5)
