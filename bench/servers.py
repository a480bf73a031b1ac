"""Starts and stops what is measured: each a process of its own on loopback, on its own core.

They see nothing of the caller's environment (keys, proxies) and write only into the run's own directory.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from workload import CLAUDE

_HERE = Path(__file__).resolve().parent
_START_TIMEOUT_S = 30
_STOP_TIMEOUT_S = 10
_KEPT_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH")


class ServerError(Exception):
    """A server did not start, or died; the message ends with its last output."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """A running server: where to send, and the process whose tree is measured."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    path: str = "/v1/chat/completions"
    model_prefix: str = ""
    key: str = "sk-bench"
    ledger: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a run keeps its files, and the cores a process may run on."""

    directory: Path
    cores: frozenset[int]

    @property
    def environment(self) -> dict[str, str]:
        """What a child process gets to see."""
        kept = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
        return kept | {"HOME": str(self.directory), "TMPDIR": str(self.directory)}

    def log(self, name: str) -> Path:
        """The file a server's output goes to."""
        return self.directory / f"{name}.log"


@contextlib.contextmanager
def pinned(cores: frozenset[int]) -> Generator[None]:
    """Let the processes started inside run on these cores only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def running(name: str, command: list[str], place: Place, *, pipes: bool = False) -> Generator[subprocess.Popen[bytes]]:
    """Run a command in a process group of its own, on its cores; end the whole group afterwards."""
    with place.log(name).open("wb") as log:
        pipe = subprocess.PIPE if pipes else None
        with pinned(place.cores):
            process = subprocess.Popen(
                command,
                stdin=pipe or subprocess.DEVNULL,
                stdout=pipe or log,
                stderr=log,
                env=place.environment,
                cwd=place.directory,
                start_new_session=True,
            )
    try:
        yield process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the process group; its leader is waited for last, so that its number cannot be anybody else's."""
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGTERM)
        give_up = time.monotonic() + _STOP_TIMEOUT_S
        ended = os.WEXITED | os.WNOWAIT | os.WNOHANG
        while os.waitid(os.P_PID, process.pid, ended) is None and time.monotonic() < give_up:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for stream in (process.stdin, process.stdout):
        if stream:
            stream.close()


def _take_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(server: Server, place: Place, path: str, statuses: tuple[int, ...]) -> None:
    give_up = time.monotonic() + _START_TIMEOUT_S
    last = "no answer"
    while time.monotonic() < give_up:
        if server.process.poll() is not None:
            last = f"exited with {server.process.returncode}"
            break
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=2)
        with contextlib.suppress(OSError), contextlib.closing(connection):
            connection.request("GET", path)
            last = f"status {connection.getresponse().status} from {path}"
            if last.split()[1] in map(str, statuses):
                return
        time.sleep(0.05)
    tail = place.log(server.name).read_text(errors="replace")[-2000:]
    raise ServerError(f"{server.name} did not get ready: {last}\n{tail}")


def _python(script: str, *arguments: str) -> list[str]:
    return [sys.executable, str(_HERE / script), *arguments]


@contextlib.contextmanager
def start_upstream(place: Place) -> Generator[Server]:
    """Start the fake upstream."""
    port = _take_port()
    with running("upstream", _python("fake_upstream.py", "--port", str(port)), place) as process:
        server = Server(name="upstream", process=process, port=port)
        _wait_until_ready(server, place, "/", (404,))
        yield server


@contextlib.contextmanager
def start_reference(place: Place, upstream: Server) -> Generator[Server]:
    """Start the featureless proxy all others are compared with."""
    port = _take_port()
    arguments = ("--port", str(port), "--upstream", f"http://127.0.0.1:{upstream.port}/v1")
    with running("reference", _python("reference_proxy.py", *arguments), place) as process:
        server = Server(name="reference", process=process, port=port)
        _wait_until_ready(server, place, "/healthz", (200,))
        yield server


_NGINX = """\
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_requests 100000000;
    upstream fake {{
        server 127.0.0.1:{upstream};
        keepalive 512;
        keepalive_requests 100000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location = /healthz {{ return 200 "{{}}"; }}
        location / {{
            proxy_pass http://fake;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""


def find_nginx() -> str | None:
    """Return nginx's program, None when it is not installed."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")


@contextlib.contextmanager
def start_nginx(place: Place, upstream: Server, program: str) -> Generator[Server]:
    """Start nginx with one worker: about the least any proxy can cost."""
    port = _take_port()
    config = place.directory / "nginx.conf"
    config.write_text(_NGINX.format(directory=place.directory, upstream=upstream.port, port=port))
    command = [program, "-e", "stderr", "-p", str(place.directory), "-c", str(config)]
    with running("nginx", command, place) as process:
        server = Server(name="nginx", process=process, port=port)
        _wait_until_ready(server, place, "/healthz", (200,))
        yield server


_GATEWAY = """\
[server]
host = "127.0.0.1"
[embedded]
enabled = false
[ledger]
url = "sqlite:///{directory}/ledger.db"
journal = "{directory}/journal"
"""
_PROVIDER = """\
[providers.{slug}]
name = "{slug}"
protocol = "{protocol}"
base_url = "http://127.0.0.1:{upstream}/v1"
api_key = "sk-bench"
"""
_MODEL = """\
[[providers.{slug}.models]]
id = "bench/{model}"
upstream_id = "{model}"
context_length = 32768
pricing = {{ prompt = "0.00000{number}", completion = "0.000002" }}
"""
_PROVIDERS = (1, 2, 3)
_KEY_LIMITS = {
    "--limit": "1000000",
    "--requests-per-minute": "1000000000",
    "--tokens-per-minute": "1000000000000",
    "--concurrent-requests": "100000",
}


@contextlib.contextmanager
def start_gateway(place: Place, upstream: Server, models: list[str]) -> Generator[Server]:
    """Start the gateway with three endpoints of each model, a key that has every limit, and the ledger in SQLite."""
    port = _take_port()
    config = place.directory / "gateway.toml"
    parts = [_GATEWAY.format(directory=place.directory)]
    for protocol, number in itertools.product(("openai", "anthropic"), _PROVIDERS):
        slug = f"{protocol}-{number}"
        parts.append(_PROVIDER.format(slug=slug, protocol=protocol, upstream=upstream.port))
        own = [model for model in models if model.startswith(CLAUDE) == (protocol == "anthropic")]
        parts += [_MODEL.format(slug=slug, number=number, model=model) for model in own]
    config.write_text("".join(parts))
    program = Path(sys.executable).parent / "openrouter-gateway"
    if not program.exists():
        raise ServerError(f"{program.name} is not installed beside this Python")
    command = [str(program), "serve", "--config", str(config), "--port", str(port)]
    key = _make_key(program, config, place)
    with running("gateway", command, place) as process:
        server = Server(
            name="gateway",
            process=process,
            port=port,
            path="/api/v1/chat/completions",
            model_prefix="bench/",
            key=key,
            ledger=place.directory / "ledger.db",
        )
        _wait_until_ready(server, place, "/readyz", (200,))
        yield server


def _make_key(program: Path, config: Path, place: Place) -> str:
    limits = [part for limit in _KEY_LIMITS.items() for part in limit]
    command = [str(program), "keys", "create", "bench", "--config", str(config), "--json", *limits]
    done = subprocess.run(command, capture_output=True, env=place.environment, check=False)
    if done.returncode:
        raise ServerError(f"no key could be made: {done.stderr.decode(errors='replace')[-2000:]}")
    return msgspec.json.decode(done.stdout)["key"]


def count_generations(ledger: Path) -> int:
    """Return how many generations a ledger has."""
    with contextlib.closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM generations").fetchone()
    return count
