"""A search engine with SearXNG's interface: one page about the weather, whatever is asked for."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs

from typing_extensions import override

from fakes.threads import running_server

PAGE: Final = {"url": "https://weather.example/paris", "title": "Paris", "content": "Sunny all day."}


class SearchEngine:
    """Its address, and what was searched for."""

    def __init__(self, port: int) -> None:
        self.base_url = f"http://127.0.0.1:{port}"
        self.queries: list[str] = []


@contextmanager
def running_search_engine() -> Generator[SearchEngine]:
    """Run one in a thread of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            engine.queries += parse_qs(body.decode())["q"]
            answer = json.dumps({"results": [PAGE]}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        @override
        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    engine = SearchEngine(server.server_port)
    with running_server(server):
        yield engine
