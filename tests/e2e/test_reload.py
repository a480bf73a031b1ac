"""SIGHUP under load: requests keep what they began with, later ones get what the file says, errors change nothing."""

import os
import signal
import threading
import time
from pathlib import Path

import httpx2
import pytest

from fakes.gateway import Gateway, chunks_of, provider_config, running_gateway, text_of, with_ledger
from fakes.provider import FakeProvider


def reload(gateway: Gateway, file: Path, config: str) -> None:
    """Write the file and send SIGHUP to the process that the operator knows."""
    file.write_text(with_ledger(config, file.parent))
    gateway.process.send_signal(signal.SIGHUP)


def wait_for_log(gateway: Gateway, text: str, times: int = 1, timeout_s: float = 30) -> None:
    """Wait until the log says it so often."""
    deadline = time.monotonic() + timeout_s
    while gateway.log().count(text) < times:
        assert time.monotonic() < deadline, gateway.log()
        time.sleep(0.05)


class Load:
    """Requests from several threads until it is stopped; `statuses` has each answer's."""

    def __init__(self, gateway: Gateway, model: str, threads: int = 4) -> None:
        self.statuses: list[int] = []
        self._stopping = threading.Event()
        self._gateway, self._model = gateway, model
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                response = self._gateway.post(self._model, stream=True)
                text_of(chunks_of(response.text))
                self.statuses.append(response.status_code)
            except (httpx2.HTTPError, AssertionError):
                self.statuses.append(0)


@pytest.mark.parametrize("workers", [1, 2])
def test_no_request_is_lost(
    tmp_path: Path, provider: FakeProvider, second_provider: FakeProvider, workers: int
) -> None:
    """The provider's address, key and models change under load; a stream that runs through it all is whole."""
    file = tmp_path / "gateway.toml"
    old = provider_config({"first": provider.base_url}, {"fake/answer": "answer", "fake/paced": "paced:60"})
    new = provider_config({"second": second_provider.base_url}, {"fake/answer": "answer", "fake/added": "answer"})
    with running_gateway(tmp_path, old, arguments=["--workers", str(workers)]) as gateway:
        streamed: list[str] = []
        long = threading.Thread(target=lambda: streamed.append(text_of(gateway.stream("fake/paced")[0])))
        long.start()
        assert provider.arrived.acquire(timeout=10)
        with Load(gateway, "fake/answer") as load:
            time.sleep(0.5)
            reload(gateway, file, new)
            wait_for_log(gateway, "The configuration is reloaded", workers)
            before = len(provider.requests)
            time.sleep(0.5)
        assert {200} == set(load.statuses)
        assert len(provider.requests) <= before + 4  # those that had begun
        assert second_provider.requests
        assert "Bearer sk-second" == second_provider.headers[-1]["authorization"]
        assert 200 == gateway.post("fake/added").status_code
        assert 400 == gateway.post("fake/paced").status_code
        models = httpx2.get(f"{gateway.base_url}/models").json()["data"]
        assert ["fake/added", "fake/answer"] == [row["id"] for row in models]
        long.join(30)
        assert ["".join(f"{count} " for count in range(60))] == streamed


@pytest.mark.parametrize("workers", [1, 2])
def test_a_broken_file_changes_nothing(tmp_path: Path, provider: FakeProvider, workers: int) -> None:
    """The log says where and why; repaired, it is taken."""
    file = tmp_path / "gateway.toml"
    good = provider_config({"first": provider.base_url}, {"fake/answer": "answer"})
    with running_gateway(tmp_path, good, arguments=["--workers", str(workers)]) as gateway:
        for broken, told in (
            (good + "\n[server\n", "not valid TOML"),
            (good.replace("base_url", "base_ulr"), "providers.first.base_ulr: unknown key"),
        ):
            reload(gateway, file, broken)
            wait_for_log(gateway, told)
            assert f"{file}:" in gateway.log().splitlines()[-1]
            assert 200 == gateway.post("fake/answer").status_code
        reload(gateway, file, good.replace("fake/answer", "fake/renamed"))
        wait_for_log(gateway, "The configuration is reloaded", workers)
        assert [200, 400] == [gateway.post(name).status_code for name in ("fake/renamed", "fake/answer")]
        assert 0 == gateway.log().count("Traceback")
        assert gateway.stop() in (0, -15)


def test_a_worker_that_is_replaced_serves_what_the_others_do(tmp_path: Path, provider: FakeProvider) -> None:
    """While the file is broken, a new worker starts with the configuration that was last found right."""
    file = tmp_path / "gateway.toml"
    good = provider_config({"first": provider.base_url}, {"fake/answer": "answer"})
    with running_gateway(tmp_path, good, arguments=["--workers", "2"]) as gateway:
        reload(gateway, file, good.replace("fake/answer", "fake/renamed"))
        wait_for_log(gateway, "The configuration is reloaded", 2)
        reload(gateway, file, good + "\n[server\n")
        wait_for_log(gateway, "not valid TOML")
        killed = gateway.workers()
        for worker in killed:
            os.kill(worker, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while len(set(gateway.workers()) - set(killed)) < 2:
            assert time.monotonic() < deadline, gateway.log()
            time.sleep(0.05)
        assert [200, 400] == [gateway.post(name).status_code for name in ("fake/renamed", "fake/answer")]
        assert 0 == gateway.log().count("Traceback")
