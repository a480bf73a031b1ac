"""A Redis server for the shared state's tests, which is gone with them."""

import atexit
import functools
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest


class RedisServer:
    """A server in a directory of its own, on a socket instead of a port."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._directory = Path(tempfile.mkdtemp(prefix="redis-", dir="/tmp"))
        self._socket = self._directory / "socket"
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{self._socket}"

    def start(self) -> None:
        """Start it empty, and wait until it takes connections."""
        self._process = subprocess.Popen(
            [self._program, "--port", "0", "--unixsocket", self._socket, "--save", "", "--dir", self._directory],
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 10
        while not self._listens():
            assert time.monotonic() < deadline, "Redis did not start"
            time.sleep(0.01)

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self._socket)) == 0

    def stop(self) -> None:
        """Stop it at once; what it held is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None
        self._socket.unlink(missing_ok=True)

    def remove(self) -> None:
        """Stop it and delete its directory."""
        self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)


def new_server() -> RedisServer:
    """Start a server; skip the test where none is installed."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        pytest.skip("NOT TESTED ON REDIS: it is not installed (apt-get install redis-server)")
    server = RedisServer(program)
    atexit.register(server.remove)
    server.start()
    return server


@functools.cache
def shared_server() -> RedisServer:
    """Return the server that tests share which begin by emptying it."""
    return new_server()
