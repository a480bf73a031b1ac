"""What is recorded in front of a provider is answered without it: the same bytes, failures and pauses."""

import json
import re
import subprocess
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from fakes.gateway import COMMAND, Gateway, clean_environment, provider_config, running_gateway
from fakes.provider import TEXT, FakeProvider, running_provider
from langchain_openrouter import ChatOpenRouter

CANARY = "sk-canary-7c1e5d"
CALLERS_KEY = "sk-or-v1-canary-41aa"
BEHAVIOURS = (
    "answer", "status:400", "status:500", "throttled", "garbage", "cut", "cut-at-once", "error-chunk", "error-first",
    "key-error", "thinker", "paced:5",
)  # fmt: skip
ASKED = [(name, stream) for name in BEHAVIOURS for stream in (False, True)]
EXCHANGES = len(ASKED) + 3
_OWN = re.compile(rb'(?:gen-|msg_)\d+[-_]\w+|"created":\d+|: OPENROUTER PROCESSING\n\n')
"""What the gateway makes anew each time: ids and times of its own, and comments while nothing arrives."""


def config_for(port: int) -> str:
    """A built-in provider at another address, whose key is in a variable; callers have a key, too."""
    models = [
        f'[[providers.openai.models]]\nid = "fake/{name.replace(":", "-")}"\nupstream_id = "{name}"\n'
        f'pricing = {{ prompt = "0.000003", completion = "0.000015" }}\n'
        for name in BEHAVIOURS
    ]
    vectors = '[[providers.openai.models]]\nid = "fake/vectors"\noutput_modalities = ["embeddings"]\n'
    return (
        f'[embedded]\nenabled = false\n[auth]\nkeys = ["{CALLERS_KEY}"]\n[providers.openai]\n'
        f'base_url = "http://127.0.0.1:{port}/v1"\nknown_models = false\napi_key_env = "CANARY_KEY"\n'
        + "".join(models)
        + vectors
    )


def ask(gateway: Gateway, path: str, body: dict[str, Any]) -> tuple[int, str, bytes]:
    """Return status, type and body of an answer, without what is new each time."""
    response = httpx2.post(
        f"{gateway.base_url}{path}",
        json=body | {"user": "someone"},
        headers={"Authorization": f"Bearer {CALLERS_KEY}"},
        timeout=30,
    )
    return response.status_code, response.headers["content-type"], _OWN.sub(b"", response.content)


def chat(gateway: Gateway, name: str, *, stream: bool, **fields: Any) -> tuple[int, str, bytes]:
    """Ask for a chat completion."""
    question = [{"role": "user", "content": "¿Qué tal?"}]
    model = f"fake/{name.replace(':', '-')}"
    return ask(gateway, "/chat/completions", {"model": model, "messages": question, "stream": stream, **fields})


@dataclass
class Recorded:
    """What was answered while it was recorded, and where it is recorded."""

    directory: Path
    config: str
    answers: dict[tuple[str, bool], tuple[int, str, bytes]]
    vectors: tuple[int, str, bytes]
    messages: tuple[int, str, bytes]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Every behaviour of a provider, which is gone by now."""
    folder = tmp_path_factory.mktemp("record")
    directory = folder / "recordings"
    with running_provider() as provider:
        config = config_for(provider.port)
        options = ["--record", str(directory), "--workers", "2"]
        with running_gateway(folder, config, arguments=options, environment={"CANARY_KEY": CANARY}) as gateway:
            answers = {(name, stream): chat(gateway, name, stream=stream) for name, stream in ASKED}
            vectors = ask(gateway, "/embeddings", {"model": "fake/vectors", "input": ["one", "two"]})
            messages = ask(
                gateway,
                "/messages",
                {"model": "fake/answer", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]},
            )
            quoting = [{"role": "user", "content": f"Is {CANARY} yours?"}]
            chat(gateway, "answer", stream=False, messages=quoting)
            gateway.stop()
        assert CANARY.encode() in b"".join(header["authorization"].encode() for header in provider.headers)
    return Recorded(directory, config, answers, vectors, messages)


@pytest.fixture(scope="module")
def replaying(recorded: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Generator[Gateway]:
    """A gateway that has the recordings and no key."""
    folder = tmp_path_factory.mktemp("replay")
    with running_gateway(folder, recorded.config, arguments=["--replay", str(recorded.directory)]) as gateway:
        yield gateway


@pytest.mark.parametrize(("name", "stream"), ASKED)
def test_answers_are_replayed_byte_for_byte(recorded: Recorded, replaying: Gateway, name: str, *, stream: bool) -> None:
    """Good ones, errors, garbage and streams that break off."""
    live = recorded.answers[name, stream]

    assert live == chat(replaying, name, stream=stream)
    assert live == chat(replaying, name, stream=stream)  # a repeat gets the last answer again


def test_the_live_answers_were_what_they_should_be(recorded: Recorded) -> None:
    """So that the comparison compares something."""
    statuses = {name: recorded.answers[name, True][0] for name in BEHAVIOURS}
    assert {"answer": 200, "status:400": 400, "status:500": 502, "throttled": 429, "cut": 200} == {
        name: statuses[name] for name in ("answer", "status:400", "status:500", "throttled", "cut")
    }
    assert b'"finish_reason":"error"' in recorded.answers["cut", True][2]
    assert TEXT.encode() in recorded.answers["answer", False][2]


def test_other_dialects_and_tasks_are_replayed(recorded: Recorded, replaying: Gateway) -> None:
    """Whatever goes to a provider is recorded."""
    assert recorded.vectors[0] == recorded.messages[0] == 200
    assert recorded.vectors == ask(replaying, "/embeddings", {"model": "fake/vectors", "input": ["one", "two"]})
    body = {"model": "fake/answer", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}
    assert recorded.messages == ask(replaying, "/messages", body)


def test_no_recording_holds_a_key(recorded: Recorded) -> None:
    """Neither the provider's, which it quoted and was asked about, nor the callers', nor who they are."""
    files = sorted(recorded.directory.iterdir())
    text = "".join(file.read_text() for file in files)

    assert EXCHANGES == len(files)
    assert [] == [word for word in ("canary", "someone") if word in text]
    assert "What is [key]?" in text.replace("Bearer ", "")
    assert "Is [key] yours?" in text
    assert {"[removed]"} == {json.loads(file.read_text())["request"]["headers"]["Authorization"] for file in files}


def test_what_was_not_recorded_is_told(recorded: Recorded, replaying: Gateway) -> None:
    """With the directory, the nearest recording and where it differs."""
    status, _, body = chat(replaying, "answer", stream=False, temperature=0.5, seed=7)

    error = json.loads(body)["error"]
    assert (502, 502) == (status, error["code"])
    assert f"No recording in {recorded.directory} is of this request to POST /v1/chat/completions" in error["message"]
    assert {"temperature", "seed"} == set(error["metadata"]["differs_in"])
    assert (recorded.directory / error["metadata"]["nearest"]).is_file()


def test_the_operator_is_told(recorded: Recorded, tmp_path: Path) -> None:
    """In the lines that the command begins with."""
    options = ["--replay", str(recorded.directory)]
    (tmp_path / "gateway.toml").write_text(recorded.config)
    command = [COMMAND, "serve", "--config", str(tmp_path / "gateway.toml"), "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=clean_environment()) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        process.terminate()
        process.communicate(timeout=20)
    assert any(f"Answers are replayed from {recorded.directory} ({EXCHANGES} exchanges)" in line for line in lines), (
        lines
    )


def test_the_langchain_client_does_not_know_the_difference(recorded: Recorded, replaying: Gateway) -> None:
    """An application is tested against it as it is."""
    model = ChatOpenRouter(
        model="fake/answer", base_url=replaying.base_url, api_key=CALLERS_KEY, max_retries=0, max_tokens=9
    )
    with running_provider() as provider, pytest.raises(Exception, match="No recording in"):
        model.invoke("What was never asked")
    assert [] == provider.requests
    assert recorded.directory.is_dir()


def test_timing_is_replayed_when_asked_for(recorded: Recorded, replaying: Gateway, tmp_path: Path) -> None:
    """Five pieces a tenth of a second apart; at once otherwise."""
    began = time.monotonic()
    chat(replaying, "paced:5", stream=True)
    at_once_s = time.monotonic() - began

    options = ["--replay", str(recorded.directory), "--replay-timing"]
    with running_gateway(tmp_path, recorded.config, arguments=options) as gateway:
        began = time.monotonic()
        assert recorded.answers["paced:5", True] == chat(gateway, "paced:5", stream=True)
        paced_s = time.monotonic() - began
    assert 0.4 <= paced_s
    assert at_once_s < paced_s - 0.2


def test_failover_is_replayed(tmp_path: Path, provider: FakeProvider, second_provider: FakeProvider) -> None:
    """Each provider gives its own answers: the first fails, the second serves, as it was."""
    models = {"fake/model": "slow-first:0"}
    broken = provider_config({"first": provider.base_url}, {"fake/model": "status:500"})
    working = provider_config({"second": second_provider.base_url}, models).replace("[embedded]\nenabled = false\n", "")
    config = broken + working
    body: dict[str, Any] = {"provider": {"order": ["first", "second"]}}
    directory = tmp_path / "recordings"
    with running_gateway(tmp_path / "live", config, arguments=["--record", str(directory)]) as gateway:
        live = gateway.post("fake/model", **body).json()
        gateway.stop()
    asked = (len(provider.requests), len(second_provider.requests))
    with running_gateway(tmp_path / "again", config, arguments=["--replay", str(directory)]) as gateway:
        replayed = gateway.post("fake/model", **body).json()
        (record,) = gateway.generations(1)
    assert ("Second", "Second") == (live["provider"], replayed["provider"])
    assert live["choices"] == replayed["choices"]
    assert ["Unavailable", "served"] == [attempt["outcome"] for attempt in record["attempts"]]
    assert (1, 1) == asked == (len(provider.requests), len(second_provider.requests))


def test_the_embedded_model_is_replayed_without_running(tmp_path: Path) -> None:
    """Its file need not even be there."""
    body = {"max_tokens": 6, "temperature": 0, "seed": 1}
    model, directory = "local/smollm2-135m-instruct", tmp_path / "recordings"
    with running_gateway(tmp_path / "live", arguments=["--record", str(directory)]) as gateway:
        live = gateway.post(model, **body).json()
        gateway.stop()
    config = '[embedded]\nmodel_path = "/nowhere/model.gguf"\n'
    with running_gateway(tmp_path / "again", config, arguments=["--replay", str(directory)]) as gateway:
        replayed = gateway.post(model, **body).json()
    assert live["choices"][0]["message"]["content"]
    assert live["choices"] == replayed["choices"]


def test_many_at_once_are_all_recorded(tmp_path: Path, provider: FakeProvider) -> None:
    """Two processes in one directory, each exchange in a file of its own."""
    directory = tmp_path / "recordings"
    config = provider_config({"first": provider.base_url}, {"fake/answer": "answer"})
    options = ["--record", str(directory), "--workers", "2"]
    with running_gateway(tmp_path, config, arguments=options) as gateway, ThreadPoolExecutor(8) as threads:

        def post(seed: int) -> int:
            return gateway.post("fake/answer", seed=seed).status_code

        answers = list(threads.map(post, range(40)))
        gateway.stop()
    files = sorted(directory.iterdir())
    seeds = sorted(json.loads(file.read_text())["request"]["body"]["json"]["seed"] for file in files)
    assert ([200] * 40, list(range(40))) == (answers, seeds)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--record", "a", "--replay", "b"], "excludes --record"),
        (["--replay", "nowhere"], "cannot read recordings from nowhere"),
        (["--replay", "."], "there are no recordings in ."),
        (["--record", "gateway.toml"], "cannot write recordings to gateway.toml"),
    ],
)
def test_what_cannot_be(tmp_path: Path, options: list[str], told: str) -> None:
    """The command says why, and does not start."""
    (tmp_path / "gateway.toml").touch()
    command = [COMMAND, "serve", "--port", "0", *options]
    found = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=clean_environment(), timeout=60, check=False
    )
    assert 2 == found.returncode
    assert told in found.stderr


def test_the_options_are_in_the_help() -> None:
    """With what they do."""
    found = subprocess.run(
        [COMMAND, "serve", "--help"],
        capture_output=True,
        text=True,
        env=clean_environment() | {"COLUMNS": "200"},
        timeout=60,
        check=True,
    )
    assert [] == [option for option in ("--record", "--replay", "--replay-timing") if option not in found.stdout]
