"""`Idempotency-Key`: a repeat gets the answer that is being made, or was, and nobody pays twice."""

import subprocess
import threading
from collections.abc import Generator
from pathlib import Path

import httpx2
import pytest

from fakes.gateway import (
    COMMAND,
    Gateway,
    chat_body,
    chunks_of,
    clean_environment,
    provider_config,
    running_gateway,
    text_of,
    with_ledger,
)
from fakes.provider import FakeProvider
from fakes.stores import new_redis

KEY = {"Idempotency-Key": "order-66"}
PACED = "".join(f"{count} " for count in range(15))


@pytest.fixture
def gateway(tmp_path: Path, provider: FakeProvider) -> Generator[Gateway]:
    models = {"fake/answer": "answer", "fake/paced": "paced:15", "fake/broken": "status:500", "fake/cut": "cut"}
    with running_gateway(tmp_path, provider_config({"first": provider.base_url}, models)) as running:
        yield running


def ask(gateway: Gateway, model: str, *, stream: bool = False, headers: dict[str, str] = KEY) -> httpx2.Response:
    url = f"{gateway.base_url}/chat/completions"
    return httpx2.post(url, json=chat_body(model, stream=stream), headers=headers, timeout=30)


@pytest.mark.parametrize("stream", [False, True])
def test_a_finished_answer_is_given_again(gateway: Gateway, provider: FakeProvider, stream: bool) -> None:
    """The same bytes and id; one request to the provider and one record."""
    first, again = (ask(gateway, "fake/answer", stream=stream) for _ in range(2))
    assert first.content == again.content
    assert first.headers["x-generation-id"] == again.headers["x-generation-id"]
    assert (None, "true") == tuple(reply.headers.get("idempotent-replayed") for reply in (first, again))
    assert 1 == len(provider.requests) == len(gateway.generations(2, timeout_s=1))


def test_a_repeat_joins_the_running_answer(gateway: Gateway, provider: FakeProvider) -> None:
    """Two callers at the same time read the same stream from its beginning."""
    texts: list[str] = []

    def read() -> None:
        texts.append(text_of(chunks_of(ask(gateway, "fake/paced", stream=True).text)))

    callers = [threading.Thread(target=read) for _ in range(3)]
    callers[0].start()
    assert provider.arrived.acquire(timeout=10)
    for caller in callers[1:]:
        caller.start()
    for caller in callers:
        caller.join(30)
    assert [PACED] * 3 == texts
    assert 1 == len(provider.requests)


def test_who_lost_the_connection_comes_back(gateway: Gateway, provider: FakeProvider) -> None:
    """A caller who hangs up does not end the work, and finds the whole answer later."""
    url = f"{gateway.base_url}/chat/completions"
    with httpx2.stream("POST", url, json=chat_body("fake/paced", stream=True), headers=KEY) as reply:
        next(reply.iter_bytes())
    assert PACED == text_of(chunks_of(ask(gateway, "fake/paced", stream=True).text))
    assert 0 == provider.hangups["paced"]
    assert ["finished"] == [record["ending"] for record in gateway.generations(1)]


def test_failures_are_tried_again(gateway: Gateway, provider: FakeProvider) -> None:
    """An error, also one within a stream, is no answer to keep."""
    for model in ("fake/broken", "fake/cut"):
        for _ in range(2):
            ask(gateway, model, stream=True)
    assert 4 == len(provider.requests)


def test_a_key_is_for_one_request(gateway: Gateway, provider: FakeProvider) -> None:
    """Another body under the same key is refused, an impossible key as well; another key is another request."""
    assert 200 == ask(gateway, "fake/answer").status_code
    refused = ask(gateway, "fake/paced")
    assert (422, "unprocessable") == (refused.status_code, refused.json()["error"]["metadata"]["error_type"])
    assert 400 == ask(gateway, "fake/answer", headers={"Idempotency-Key": "x" * 256}).status_code
    assert 200 == ask(gateway, "fake/answer", headers={"Idempotency-Key": "other"}).status_code
    assert 2 == len(provider.requests)


def test_the_gateway_ends_with_an_answer_on_its_way(gateway: Gateway, provider: FakeProvider) -> None:
    """SIGTERM ends what goes on without a caller, and its record is written."""
    url = f"{gateway.base_url}/chat/completions"
    with httpx2.stream("POST", url, json=chat_body("fake/paced", stream=True), headers=KEY) as reply:
        next(reply.iter_bytes())
    assert gateway.stop() in (0, -15)
    assert ["cancelled"] == [record["ending"] for record in gateway.generations(1)]
    assert 0 == gateway.log().count("Traceback")


@pytest.fixture
def pair(tmp_path: Path, provider: FakeProvider) -> Generator[list[Gateway]]:
    """Two processes with one Redis server."""
    server = new_redis()
    models = {"fake/answer": "answer", "fake/paced": "paced:15"}
    config = provider_config({"first": provider.base_url}, models, head=f'[state]\nurl = "{server.url}"\n')
    with running_gateway(tmp_path / "one", config) as one, running_gateway(tmp_path / "other", config) as other:
        yield [one, other]
    server.remove()


def test_processes_with_one_redis_answer_once(pair: list[Gateway], provider: FakeProvider) -> None:
    """A repeat that comes to another process gets the finished answer, the same bytes, and nobody pays for it."""
    replies = [ask(gateway, "fake/answer", stream=True) for gateway in (*pair, *pair)]
    assert [replies[0].content] * 4 == [reply.content for reply in replies]
    assert [None, "true", "true", "true"] == [reply.headers.get("idempotent-replayed") for reply in replies]
    assert 1 == len(provider.requests)
    assert [1, 0] == [len(gateway.generations(2, timeout_s=1)) for gateway in pair]


def test_a_repeat_waits_for_the_running_answer_of_another_process(pair: list[Gateway], provider: FakeProvider) -> None:
    """Also when the caller has hung up on the one that makes it."""
    with httpx2.stream(
        "POST", f"{pair[0].base_url}/chat/completions", json=chat_body("fake/paced", stream=True), headers=KEY
    ) as reply:
        next(reply.iter_bytes())
    assert PACED == text_of(chunks_of(ask(pair[1], "fake/paced", stream=True).text))
    assert 1 == len(provider.requests)


def test_workers_without_redis_say_what_they_do_not_know(tmp_path: Path, provider: FakeProvider) -> None:
    """At start-up: a repeat may come to another worker, which makes and pays it again."""
    file = tmp_path / "gateway.toml"
    config = provider_config({"first": provider.base_url}, {"fake/answer": "answer"})
    file.write_text(with_ledger(config, tmp_path))
    command = [COMMAND, "serve", "--config", str(file), "--port", "0", "--workers", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=clean_environment()) as process:
        assert process.stdout is not None
        said = [line for line, _ in zip(process.stdout, range(4), strict=False)]
        process.terminate()
    assert "answers by Idempotency-Key: a repeat that comes to another worker is made and paid again.\n" in said
