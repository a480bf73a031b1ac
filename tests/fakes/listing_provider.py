"""A provider whose list of models can be asked for, as `doctor` does: by the key it takes, or in trouble.

/v1       gives its list to the key `KEY`, 401 to others
/open     gives its list to everyone
/gemini   400 as Gemini does for a key that is not valid
/hang     takes the request and never answers
/status/N that status, with a body that quotes the key it was sent
"""

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "sk-canary-4f1c2b9a7d-right"


@dataclass
class ListingProvider:
    """Where it is, and the paths that were asked for."""

    root: str
    asked: list[str] = field(default_factory=list[str])


@contextmanager
def running_listing_provider() -> Generator[ListingProvider]:
    """Run one in threads of its own."""
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            provider.asked.append(self.path)
            status, body = self._answer()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _answer(self) -> tuple[int, bytes]:
            key = self.headers.get("Authorization", "").removeprefix("Bearer ") or self.headers.get("x-goog-api-key")
            _, kind, *rest = self.path.split("/")
            match kind:
                case "v1" if key == KEY:
                    return 200, b'{"data": []}'
                case "open":
                    return 200, b'{"data": []}'
                case "gemini":
                    reason = {"message": f"API key not valid: {key}", "code": 400, "status": "INVALID_ARGUMENT"}
                    return 400, json.dumps({"error": reason}).encode()
                case "hang":
                    ended.wait(60)
                case _:
                    pass
            status = int(rest[0]) if kind == "status" else 401
            return status, json.dumps({"error": {"message": f"No: {key}", "code": status}}).encode()

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002 - the parent's name

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    provider = ListingProvider(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield provider
    finally:
        ended.set()
        server.shutdown()
        thread.join()
        server.server_close()
