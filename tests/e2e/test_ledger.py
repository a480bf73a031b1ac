"""The ledger behind real gateway processes: what a caller saw the end of is there, once, whoever was killed."""

import os
import signal
import threading
import time
from pathlib import Path

import httpx2

from fakes.gateway import chat_body, provider_config, running_gateway, stored_generations
from fakes.provider import FakeProvider


def test_workers_that_are_killed_lose_nothing(tmp_path: Path, provider: FakeProvider) -> None:
    """Callers who got an answer's end find its generation, though both workers were killed under load."""
    config = provider_config({"first": provider.base_url}, {"fake/answer": "answer"}, head="[server]\nworkers = 2\n")
    seen: list[str] = []
    stopping = threading.Event()
    with running_gateway(tmp_path, config) as gateway:

        def ask(stream: bool) -> None:
            with httpx2.Client(base_url=gateway.base_url) as client:
                while not stopping.is_set():
                    try:
                        answer = client.post("/chat/completions", json=chat_body("fake/answer", stream=stream))
                    except httpx2.TransportError:
                        continue
                    if answer.status_code == 200 and (not stream or answer.text.endswith("data: [DONE]\n\n")):
                        seen.append(answer.headers["x-generation-id"])

        callers = [threading.Thread(target=ask, args=(number % 2 == 0,)) for number in range(8)]
        for caller in callers:
            caller.start()
        for _ in range(3):
            time.sleep(3)
            for worker in gateway.workers():
                os.kill(worker, signal.SIGKILL)
        time.sleep(2)
        stopping.set()
        for caller in callers:
            caller.join()
        gateway.stop()
    with running_gateway(tmp_path, config) as gateway:  # should the last workers have died before the next were up
        gateway.stop()

    stored = [record["id"] for record in stored_generations(tmp_path / "ledger.db")]
    assert len(seen) > 100
    assert set(seen) <= set(stored)
    assert len(stored) == len(set(stored))
    assert not list((tmp_path / "journal").glob("*.jsonl"))
