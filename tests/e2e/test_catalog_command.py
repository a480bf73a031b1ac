"""`openrouter-gateway catalog`: what an operator sees of it."""

import json
import subprocess
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx2
import pytest

from fakes.gateway import COMMAND, clean_environment, running_gateway

LISTED = {
    "data": [
        {
            "id": "openai/gpt-4o",
            "name": "GPT-4o, listed",
            "created": 7,
            "pricing": {"prompt": "0.5", "completion": "1"},
            "supported_parameters": ["tools"],
        }
    ]
}


@pytest.fixture
def listing_url() -> Generator[str]:
    """A server that answers `GET /models` as OpenRouter does, and nothing else."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(LISTED).encode() if self.path.startswith("/api/v1/models") else b""
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/api/v1/models"
        server.shutdown()
        thread.join(10)


def run(data_home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, with a data directory of its own."""
    return subprocess.run(
        [COMMAND, "catalog", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=clean_environment() | {"XDG_DATA_HOME": str(data_home)} | environment,
    )


def test_a_refreshed_catalogue_is_used(tmp_path: Path, listing_url: str) -> None:
    """Written to the default location, from a URL; what else a URL carries is kept nowhere."""
    result = run(tmp_path, "refresh", "--day", "2026-11-24", "--from", f"{listing_url}?key=secret")
    assert 0 == result.returncode, result.stderr
    assert "prices of 2026-11-24" in result.stdout

    shown = run(tmp_path, "show", "openai/gpt-4o", OPENROUTER_UPSTREAM_API_KEY="k")
    assert "openai/gpt-4o\topenrouter\topenai/gpt-4o\t500000 / 1000000" in shown.stdout
    assert "127.0.0.1/api/v1/models; prices of 2026-11-24" in shown.stdout
    assert "secret" not in (tmp_path / "openrouter-gateway" / "catalog.json").read_text()

    environment = {"XDG_DATA_HOME": str(tmp_path), "OPENAI_API_KEY": "k"}
    with running_gateway(tmp_path, "[embedded]\nenabled = false\n", environment=environment) as gateway:
        row = httpx2.get(f"{gateway.base_url}/model/openai/gpt-4o").json()["data"]
        assert ("GPT-4o, listed", 7, ["tools"]) == (row["name"], row["created"], row["supported_parameters"])


@pytest.mark.parametrize("source", ["{url}", "/nowhere/models.json"])
def test_a_source_that_is_not_there(tmp_path: Path, listing_url: str, source: str) -> None:
    """It is named, and nothing is written."""
    result = run(tmp_path, "refresh", "--from", source.format(url=listing_url.replace("/api", "/none")))
    assert 2 == result.returncode
    assert "models" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "openrouter-gateway").exists()


def test_what_a_key_makes_available(tmp_path: Path) -> None:
    """`show` lists what there is; a model that is not there is said."""
    result = run(tmp_path, "show", "anthropic/claude-sonnet-4.5", ANTHROPIC_API_KEY="k")
    assert "anthropic/claude-sonnet-4.5\tanthropic\tclaude-sonnet-4-5" in result.stdout
    result = run(tmp_path, "show", "anthropic/claude-none", ANTHROPIC_API_KEY="k")
    assert (1, "") == (result.returncode, result.stdout)
    assert "anthropic/claude-none is not in the catalogue" in result.stderr


def test_a_wrong_configuration(tmp_path: Path) -> None:
    """File, line, key and reason."""
    file = tmp_path / "gateway.toml"
    file.write_text("\n[providers.new]\nname = 'x'\n")
    result = run(tmp_path, "show", "--config", str(file))
    assert 2 == result.returncode
    assert f"{file}:2: providers.new: base_url is missing" in result.stderr
