"""The gateway as its users start it: the real command with the default configuration, on a free port."""

import contextlib
import http.client
import os
import re
import subprocess
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_KEPT_VARIABLES: Final = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH")
_START_TIMEOUT_S: Final = 90.0
_STOP_TIMEOUT_S: Final = 20.0
_ANNOUNCEMENT: Final = re.compile(r"^openrouter-gateway \S+ on http://127\.0\.0\.1:(\d+)/api/v1$", re.MULTILINE)


class GatewayFailed(Exception):
    """The gateway did not start or did not stop; the message has its output."""


@dataclass(frozen=True, kw_only=True)
class RunningGateway:
    """A gateway that is ready."""

    port: int
    log: Path

    @property
    def base_url(self) -> str:
        """What a client is given as its base URL."""
        return f"http://127.0.0.1:{self.port}/api/v1"

    @property
    def output(self) -> str:
        """Everything that it printed so far."""
        return self.log.read_text(errors="replace")


def bare_environment(home: Path) -> dict[str, str]:
    """Return what child processes get to see: no keys, proxies or settings of whoever runs the tests."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    return kept | {"HOME": str(home)}


@contextlib.contextmanager
def run_gateway(directory: Path) -> Generator[RunningGateway]:
    """Start the gateway in `directory`, wait until it is ready, and stop it with SIGTERM afterwards.

    Raises:
        GatewayFailed: it did not get ready, or did not stop in time.
    """
    log = directory / "gateway.log"
    command = [str(Path(sys.executable).with_name("openrouter-gateway")), "serve", "--port", "0"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=directory,
            env=bare_environment(directory),
        )
    try:
        yield RunningGateway(port=_wait_until_ready(process, log), log=log)
    finally:
        _stop(process, log)


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> int:
    """Return the port that it announced, once it says that it is ready."""
    give_up = time.monotonic() + _START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < give_up:
        announced = _ANNOUNCEMENT.search(log.read_text(errors="replace"))
        if announced is not None and _is_ready(int(announced[1])):
            return int(announced[1])
        time.sleep(0.1)
    raise GatewayFailed(f"The gateway did not get ready (exit status {process.poll()}):\n{log.read_text()}")


def _is_ready(port: int) -> bool:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False


def _stop(process: subprocess.Popen[bytes], log: Path) -> None:
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise GatewayFailed(f"The gateway ignored SIGTERM for {_STOP_TIMEOUT_S:g} s:\n{log.read_text()}") from None
