"""Runs the real `openrouter-gateway` command as a process, the way an operator does."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

COMMAND = str(Path(sys.executable).with_name("openrouter-gateway"))


def clean_environment() -> dict[str, str]:
    """The environment without keys and settings of whoever runs the tests."""
    return {
        name: value for name, value in os.environ.items() if "API_KEY" not in name and not name.startswith("OPENROUTER")
    }


class Gateway:
    """A running gateway."""

    def __init__(self, process: subprocess.Popen[str], root: str, journal: Path, log: Path) -> None:
        self.process = process
        self.root = root
        self.base_url = f"{root}/api/v1"
        self._journal = journal
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
            lines = self._journal.read_text().splitlines() if self._journal.exists() else []
            if len(lines) >= expected or time.monotonic() > deadline:
                return [json.loads(line) for line in lines]
            time.sleep(0.02)

    def log(self) -> str:
        """Return what the gateway has written to its terminal."""
        return self._log.read_text()

    def stop(self, timeout_s: float = 30) -> int:
        """Send SIGTERM and return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)


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
    journal, log, file = directory / "generations.jsonl", directory / "gateway.log", directory / "gateway.toml"
    file.write_text(f'{config}\n[ledger]\njournal = "{journal}"\n')
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
            yield Gateway(process, root, journal, log)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait(10)


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


def provider_config(base_urls: Mapping[str, str], models: Mapping[str, str], *, head: str = "") -> str:
    """A configuration without the embedded model: providers by slug, each with every model (id to upstream name)."""
    parts = ["[embedded]\nenabled = false\n", head]
    for slug, base_url in base_urls.items():
        parts.append(f'[providers.{slug}]\nname = "{slug.title()}"\nbase_url = "{base_url}"\napi_key = "sk-{slug}"\n')
        for model_id, upstream_id in models.items():
            parts.append(
                f'[[providers.{slug}.models]]\nid = "{model_id}"\nupstream_id = "{upstream_id}"\n'
                'pricing = { prompt = "0.000003", completion = "0.000015" }\n'
            )
    return "\n".join(parts)
