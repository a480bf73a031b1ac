"""Runs the real `openrouter-gateway` command as a process, the way an operator does."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import httpx2
import msgspec
from sqlalchemy import text

from openrouter_gateway.core.generation import Generation
from openrouter_gateway.stores.database import Database
from openrouter_gateway.stores.queries import select_generation

COMMAND = str(Path(sys.executable).with_name("openrouter-gateway"))


def clean_environment() -> dict[str, str]:
    """The environment without keys, settings and data of whoever runs the tests."""
    kept = {
        name: value for name, value in os.environ.items() if "API_KEY" not in name and not name.startswith("OPENROUTER")
    }
    return kept | {"XDG_DATA_HOME": str(Path(tempfile.gettempdir()) / f"openrouter-gateway-tests-{os.getpid()}")}


class Gateway:
    """A running gateway."""

    def __init__(self, process: subprocess.Popen[str], root: str, database: Path, log: Path) -> None:
        self.process = process
        self.root = root
        self.base_url = f"{root}/api/v1"
        self._database = database
        self._log = log

    def post(self, model: str, *, timeout_s: float = 60, **fields: Any) -> httpx2.Response:
        """Send a chat completion with one short question."""
        return httpx2.post(f"{self.base_url}/chat/completions", json=chat_body(model, **fields), timeout=timeout_s)

    def stream(self, model: str, *, timeout_s: float = 60, **fields: Any) -> tuple[list[dict[str, Any]], str]:
        """Send a streaming chat completion; return its decoded chunks and the raw text."""
        response = self.post(model, stream=True, timeout_s=timeout_s, **fields)
        assert response.headers["content-type"].startswith("text/event-stream"), response.text
        return chunks_of(response.text), response.text

    def generations(self, expected: int, *, timeout_s: float = 5) -> list[dict[str, Any]]:
        """Return the recorded generations once there are `expected` of them, or as many as there are by then."""
        deadline = time.monotonic() + timeout_s
        while True:
            recorded = stored_generations(self._database)
            if len(recorded) >= expected or time.monotonic() > deadline:
                return recorded
            time.sleep(0.02)

    def workers(self) -> list[int]:
        """Return the process ids of its worker processes, if it was started with several."""
        pid = self.process.pid
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return [child for child in children if "multiprocessing.spawn" in Path(f"/proc/{child}/cmdline").read_text()]

    def log(self) -> str:
        """Return what the gateway has written to its terminal."""
        return self._log.read_text()

    def stop(self, timeout_s: float = 30) -> int:
        """Send SIGTERM and return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)


def with_ledger(config: str, directory: Path) -> str:
    """Return a configuration whose records are kept in a directory."""
    return f'{config}\n[ledger]\nurl = "sqlite:///{directory}/ledger.db"\njournal = "{directory}/journal"\n'


def stored_generations(database: Path) -> list[dict[str, Any]]:
    """Return what a ledger holds, oldest first."""

    async def read() -> list[Generation]:
        store = Database(f"sqlite:///{database}")
        await store.open()
        try:
            async with store.transaction() as connection:
                rows = await connection.execute(text("SELECT id FROM generations ORDER BY created_us, rowid"))
                found = [await select_generation(connection, row.id) for row in rows]
        finally:
            await store.close()
        return [generation for generation in found if generation is not None]

    return [_with_defaults(generation) for generation in asyncio.run(read())]


def _with_defaults(value: Any) -> Any:
    """Return a value as JSON has it, but with all fields: encoders leave out what is as by default."""
    if isinstance(value, msgspec.Struct):
        return {name: _with_defaults(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, list):
        return [_with_defaults(item) for item in cast("list[Any]", value)]
    return msgspec.to_builtins(value)


def chat_body(model: str, **fields: Any) -> dict[str, Any]:
    """A small request."""
    return {"model": model, "messages": [{"role": "user", "content": "Say hello."}], **fields}


def chunks_of(text: str) -> list[dict[str, Any]]:
    """Decode the data events of a stream, without the end mark."""
    events = [block for block in text.split("\n\n") if block.startswith("data: ")]
    assert events[-1] == "data: [DONE]", f"the stream does not end with its mark: {text[-300:]}"
    return [json.loads(event.removeprefix("data: ")) for event in events[:-1]]


def text_of(chunks: list[dict[str, Any]]) -> str:
    """Join the content of a stream."""
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


@contextmanager
def running_gateway(
    directory: Path, config: str = "", *, arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> Generator[Gateway]:
    """Start `openrouter-gateway serve` on a free port; stop it if the test has not."""
    database, log, file = directory / "ledger.db", directory / "gateway.log", directory / "gateway.toml"
    directory.mkdir(exist_ok=True)
    file.write_text(with_ledger(config, directory))
    with (
        log.open("w") as output,
        subprocess.Popen(
            [COMMAND, "serve", "--config", str(file), "--port", "0", *arguments],
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            env=clean_environment() | dict(environment or {}),
        ) as process,
    ):
        try:
            banner = process.stdout.readline() if process.stdout else ""
            assert "http://" in banner, f"the gateway did not start: {log.read_text()}"
            root = "http://" + banner.strip().partition("http://")[2].removesuffix("/api/v1")
            wait_until_ready(root)
            yield Gateway(process, root, database, log)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait(10)


def wait_for(condition: Callable[[], bool], *, within_s: float = 2.5) -> None:
    """Fail unless it comes true in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)


def wait_until_ready(root: str, timeout_s: float = 60) -> None:
    """Poll `/readyz`."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if httpx2.get(f"{root}/readyz", timeout=5).status_code == 200:
                return
        except httpx2.TransportError:
            pass
        assert time.monotonic() < deadline, "the gateway did not become ready"
        time.sleep(0.05)


def provider_config(
    base_urls: Mapping[str, str], models: Mapping[str, str], *, head: str = "", outputs: str = "text"
) -> str:
    """A configuration without the embedded model: providers by slug, each with every model (id to upstream name)."""
    parts = ["[embedded]\nenabled = false\n", head]
    for slug, base_url in base_urls.items():
        parts.append(f'[providers.{slug}]\nname = "{slug.title()}"\nbase_url = "{base_url}"\napi_key = "sk-{slug}"\n')
        for model_id, upstream_id in models.items():
            parts.append(
                f'[[providers.{slug}.models]]\nid = "{model_id}"\nupstream_id = {json.dumps(upstream_id)}\n'
                f'output_modalities = ["{outputs}"]\n'
                'pricing = { prompt = "0.000003", completion = "0.000015" }\n'
            )
    return "\n".join(parts)
