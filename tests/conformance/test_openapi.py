"""Schemathesis reads the gateway's own OpenAPI document and sends what it allows, and what it does not.

Whatever is sent, the answer is none of the server's faults, has a documented status and content type, and the shape
that the document says: for errors, OpenRouter's. A request that reaches the provider is answered, so that a 502 is one
of the gateway's own making.
"""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx2
import pytest

from conformance.environments import Environment
from fakes.gateway import COMMAND, Gateway, clean_environment, provider_config, running_gateway
from fakes.provider import running_provider

_HERE: Final = Path(__file__).parent / "fuzz"
_FUZZER: Final = Environment(name="schemathesis", script=_HERE, lock=_HERE / "requirements.lock")
_CHECKS: Final = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "response_headers_conformance"
)
_MANAGED: Final = ("Keys", "Accounting", "Observability")
_MANAGEMENT: Final = tuple(word for tag in _MANAGED for word in ("--include-tag", tag))
_REST: Final = tuple(word for tag in _MANAGED for word in ("--exclude-tag", tag))
_MODELS: Final = {
    "ChatParams": "fake/answer",
    "CompletionParams": "fake/answer",
    "EmbeddingParams": "fake/vectors",
    "RerankParams": "fake/ranks",
}
_TIMEOUT_S: Final = 240.0


class Served(NamedTuple):
    """A gateway that wants keys, with one to use it and one to manage it, and a provider that answers."""

    gateway: Gateway
    key: str
    manager: str


def _make_key(directory: Path, *options: str) -> str:
    done = subprocess.run(
        [COMMAND, "keys", "create", "fuzz", *options, "--json"],
        capture_output=True,
        text=True,
        check=True,
        env=clean_environment() | {"OPENROUTER_GATEWAY__LEDGER__URL": f"sqlite:///{directory}/ledger.db"},
    )
    return json.loads(done.stdout)["key"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """See `Served`."""
    directory = tmp_path_factory.mktemp("openapi")
    with running_provider() as provider:
        config = [
            provider_config({"first": provider.base_url}, {"fake/answer": "answer"}, head="[auth]\nrequired = true\n"),
            '[[providers.first.models]]\nid = "fake/vectors"\noutput_modalities = ["embeddings"]',
            '[[providers.first.models]]\nid = "fake/ranks"\noutput_modalities = ["rerank"]',
        ]
        key, manager = _make_key(directory), _make_key(directory, "--management")
        with running_gateway(directory, "\n".join(config)) as gateway:
            yield Served(gateway, key, manager)


def _document(served: Served) -> dict[str, Any]:
    """Return the gateway's document, in which models are those that it has: any other name ends at a 400."""
    headers = {"Authorization": f"Bearer {served.key}"}
    document = httpx2.get(f"{served.gateway.root}/openapi.json", headers=headers).raise_for_status().json()
    bodies = [(document["components"]["schemas"][name], model) for name, model in _MODELS.items()]
    for path in ("/messages", "/messages/count_tokens", "/responses"):
        content = document["paths"][path]["post"]["requestBody"]["content"]
        bodies.append((content["application/json"]["schema"], "fake/answer"))
    for schema, model in bodies:
        schema["properties"]["model"] = {"enum": [model]}
        schema["required"] = sorted({*schema.get("required", ()), "model"})
    return document


def test_it_wants_a_key(served: Served) -> None:
    """As everything but the probes does."""
    assert 401 == httpx2.get(f"{served.gateway.root}/openapi.json").status_code
    assert 401 == httpx2.get(f"{served.gateway.base_url}/openapi.json").status_code


@pytest.mark.parametrize(
    ("selected", "managing", "examples"), [(_REST, False, 5), (_MANAGEMENT, True, 15)], ids=["use", "management"]
)
@pytest.mark.parametrize("environment", [_FUZZER], ids=[_FUZZER.name], indirect=True)
def test_any_request(
    environment: Environment,
    served: Served,
    tmp_path: Path,
    selected: tuple[str, ...],
    examples: int,
    *,
    managing: bool,
) -> None:
    """Thousands of requests at the edges of what is allowed and beyond, then some random ones."""
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(_document(served)))
    key = served.manager if managing else served.key
    began = time.monotonic()
    done = subprocess.run(
        [
            environment.python.with_name("schemathesis"), "run", file,
            "--origin", served.gateway.root,
            "--header", f"Authorization: Bearer {key}",
            "--checks", _CHECKS,
            "--phases", "coverage,fuzzing",
            "--max-examples", str(examples),
            "--seed", "1",
            "--generation-database", "none",
            "--suppress-health-check", "all",
            "--warnings", "off",
            "--no-color",
            *selected,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path,
        env=clean_environment(),
        timeout=_TIMEOUT_S,
        check=False,
    )  # fmt: skip
    complaints = served.gateway.log()
    if done.returncode or "Traceback" in complaints:
        pytest.fail(
            f"after {time.monotonic() - began:.0f} s\n{done.stdout[-8000:]}\n---- gateway\n{complaints[-4000:]}",
            pytrace=False,
        )
    assert "passed" in done.stdout, done.stdout
