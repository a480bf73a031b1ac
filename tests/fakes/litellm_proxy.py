"""LiteLLM's proxy as others install it: a server of Google's and of Anthropic's wire format that is not ours.

It runs from its own environment (`tests/conformance/clients/litellm`), has models at OpenAI-compatible servers, and
talks to nobody else: no telemetry, the prices that it came with, and a proxy that leads nowhere for what is not on
loopback.
"""

import json
import os
import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx2

KEY: Final = "sk-litellm-master"

# Settings: docs.litellm.ai/docs/proxy/config_settings (2026-11). Without the one of `/v1/messages` the proxy calls
# models over the Responses API, with a floor of 16 tokens.
_SETTINGS: Final[dict[str, Any]] = {
    "litellm_settings": {
        "telemetry": False,
        "num_retries": 0,
        "use_chat_completions_url_for_anthropic_messages": True,
    },
    "router_settings": {"num_retries": 0, "disable_cooldowns": True},
}
_START_TIMEOUT_S: Final = 180.0


@contextmanager
def running_litellm(python: Path, models: dict[str, tuple[str, str]], directory: Path) -> Generator[str]:
    """Start it with models by name, each a base URL and the model's name there; give its address."""
    with socket.socket() as probe:  # the command has no way to say which port it took
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config, log = directory / "litellm.yaml", directory / "litellm.log"
    listed = [
        {"model_name": name, "litellm_params": {"model": f"openai/{model}", "api_base": base_url, "api_key": "none"}}
        for name, (base_url, model) in models.items()
    ]
    config.write_text(json.dumps({"model_list": listed} | _SETTINGS))  # JSON is YAML
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "NO_PROXY": "127.0.0.1",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "DO_NOT_TRACK": "1",
        "LITELLM_MASTER_KEY": KEY,
        "LITELLM_TELEMETRY": "False",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
    command = [str(python.with_name("litellm")), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    with (
        log.open("w") as output,
        subprocess.Popen(
            [*command, "--telemetry", "False"], env=environment, cwd=directory, stdout=output, stderr=subprocess.STDOUT
        ) as process,
    ):
        try:
            _wait_until_alive(process, f"http://127.0.0.1:{port}", log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def _wait_until_alive(process: subprocess.Popen[bytes], root: str, log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if httpx2.get(f"{root}/health/liveliness", timeout=5).status_code == 200:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.3)
    raise AssertionError(f"LiteLLM's proxy did not start:\n{log.read_text()[-4000:]}")
