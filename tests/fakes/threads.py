"""Servers of the tests in threads of their own, from their start to their end."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from typing import Any


@contextmanager
def running_loop(main: Callable[[threading.Event, asyncio.Event], Coroutine[Any, Any, None]]) -> Generator[None]:
    """Run a coroutine in a loop of its own: it says when it is ready, and ends when it is told to stop."""
    ready, loop, stopping = threading.Event(), asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(main(ready, stopping)), daemon=True)
    thread.start()
    if not ready.wait(30):
        raise RuntimeError("the fake provider did not start")
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(10)
        loop.close()


@contextmanager
def running_server(server: ThreadingHTTPServer) -> Generator[None]:
    """Serve until the end of the block."""
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
