"""What is seen of the gateway from outside, with real processes: traces at destinations, metrics, log lines."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
from langchain.agents import create_agent  # pyright: ignore[reportUnknownVariableType] - langgraph's generics
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client.parser import text_string_to_metric_families

from fakes.gateway import (
    COMMAND,
    Gateway,
    chat_body,
    clean_environment,
    provider_config,
    running_gateway,
    wait_for,
    with_ledger,
)
from fakes.otlp_receiver import Receiver, running_receiver
from fakes.provider import TEXT, FakeProvider
from fakes.thinker import ANSWER
from langchain_openrouter import ChatOpenRouter

DESTINATIONS = "/observability/destinations"
JSON_LINES = {"OPENROUTER_GATEWAY__LOG_FORMAT": "json"}
CANARY = "canary-5f3a9c1e77-do-not-show"
QUESTION = "question-8d1f What is the weather in Paris?"
MODELS = {
    "fake/answer": "answer",
    "fake/thinker": "thinker",
    "fake/failing": "status:500",
    "fake/key-error": "key-error",
}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running_receiver() as running:
        yield running


def free_port() -> int:
    """Return a port that nothing listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def webhook(name: str, url: str, more: str = "") -> str:
    """Return a destination of the configuration."""
    headers = f'headers = {{ X-Key = "{CANARY}" }}'
    return f'[[destinations]]\ntype = "webhook"\nname = "{name}"\n{more}\nconfig = {{ url = "{url}", {headers} }}\n'


def config_of(provider: FakeProvider, *sections: str, head: str = "", broadcast: str = "", spool: Path) -> str:
    """Return a configuration with traces that wait in a directory."""
    waits = f'[broadcast]\ndirectory = "{spool}"\n{broadcast}\n'
    return "\n".join([provider_config({"first": provider.base_url}, MODELS, head=head), waits, *sections])


def make_key(directory: Path, *options: str) -> str:
    """Make a key of a gateway's store with the command."""
    environment = clean_environment() | {"OPENROUTER_GATEWAY__LEDGER__URL": f"sqlite:///{directory}/ledger.db"}
    command = [COMMAND, "keys", "create", "one", *options, "--json"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout)[
        "key"
    ]


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def ask(gateway: Gateway, model: str = "fake/answer", *, headers: dict[str, str] | None = None, **fields: Any) -> str:
    """Send a request on a connection of its own; return the id of its generation."""
    response = httpx2.post(
        f"{gateway.base_url}/chat/completions", json=chat_body(model, **fields), headers=headers, timeout=30
    )
    return response.headers["x-generation-id"]


def metrics_of(gateway: Gateway, key: str | None = None) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return the samples, as Prometheus' own parser understands them."""
    response = httpx2.get(f"{gateway.root}/metrics", headers=bearer(key) if key else None).raise_for_status()
    return {
        (sample.name.removeprefix("openrouter_gateway_"), frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def total(samples: dict[tuple[str, frozenset[tuple[str, str]]], float], name: str, **labels: str) -> float:
    """Return the sum of the samples that have these labels."""
    wanted = labels.items()
    return sum(value for (found, has), value in samples.items() if found == name and wanted <= set(has))


@contextmanager
def only_the_other_than(worker: int) -> Generator[None]:
    """Let one of two workers stand still, so that the other is the one that answers."""
    os.kill(worker, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(worker, signal.SIGCONT)


def is_ready(gateway: Gateway) -> bool:
    try:
        return httpx2.get(f"{gateway.root}/readyz", timeout=0.5).status_code == 200
    except httpx2.TransportError:
        return False


def came_true(condition: Callable[[], bool], *, within_s: float) -> bool:
    try:
        wait_for(condition, within_s=within_s)
    except AssertionError:
        return False
    return True


@tool
def get_weather(city: str) -> str:
    """Get the weather of a city."""
    return f"It is sunny in {city}."


def run_agent(model: ChatOpenRouter, *, streamed: bool) -> str:
    """Let a model call a tool and answer; return the answer."""
    agent = cast("Any", create_agent(model=model, tools=[get_weather]))
    asked = {"messages": [HumanMessage(QUESTION)]}
    if not streamed:
        return agent.invoke(asked)["messages"][-1].text
    for _ in agent.stream(asked, stream_mode="messages"):
        pass
    return ANSWER


def agent_model(gateway: Gateway, key: str | None, **fields: Any) -> ChatOpenRouter:
    return ChatOpenRouter(model="fake/thinker", base_url=gateway.base_url, api_key=cast("Any", key or "none"), **fields)


class TestTraces:
    """What arrives at a destination."""

    @pytest.mark.parametrize("streamed", [False, True])
    def test_an_agent_run_is_one_trace(
        self, tmp_path: Path, provider: FakeProvider, receiver: Receiver, *, streamed: bool
    ) -> None:
        """Two calls of a model with a tool between them; tokens and cost are the ledger's, to the last digit."""
        config = config_of(provider, webhook("one", receiver.url), spool=tmp_path / "spool")
        with running_gateway(tmp_path, config) as gateway:
            trace = {"trace_name": "weather agent", "span_name": "turn 1", "team": "blue"}
            model = agent_model(gateway, None, session_id="session-7", trace=cast("Any", trace))
            assert ANSWER == run_agent(model, streamed=streamed)
            wait_for(lambda: len(receiver.generations) == 2, within_s=10)
            root, turn, first, second = receiver.spans
            assert ["weather agent", "turn 1", "fake/thinker", "fake/thinker"] == [
                span["name"] for span in (root, turn, first, second)
            ]
            assert 1 == len({span["traceId"] for span in receiver.spans})
            assert "parentSpanId" not in root
            assert root["spanId"] == turn["parentSpanId"]
            assert {turn["spanId"]} == {first["parentSpanId"], second["parentSpanId"]}
            ledger = {row["id"]: row for row in gateway.generations(2)}
            for span in (first, second):
                said = span["attributes"]
                kept = httpx2.get(f"{gateway.base_url}/generation?id={said['openrouter.generation.id']}").text
                record = json.loads(kept, parse_float=Decimal)["data"]
                assert record["total_cost"] == Decimal(said["openrouter.cost"]) > 0
                usage = ledger[said["openrouter.generation.id"]]["usage"]
                assert (usage["prompt_tokens"], usage["completion_tokens"]) == (
                    said["gen_ai.usage.input_tokens"],
                    said["gen_ai.usage.output_tokens"],
                )
                assert ("session-7", "blue") == (said["session.id"], said["trace.metadata.team"])
                assert QUESTION in said["gen_ai.input.messages"]
            assert "get_weather" in first["attributes"]["gen_ai.output.messages"]
            assert "It is sunny in Paris." in second["attributes"]["gen_ai.input.messages"]
            assert ANSWER in second["attributes"]["gen_ai.output.messages"]

    def test_the_callers_own_spans_are_the_parents(
        self, tmp_path: Path, provider: FakeProvider, receiver: Receiver
    ) -> None:
        """What the client passes on of an active OpenTelemetry span, as W3C's `traceparent`."""
        tracer = TracerProvider().get_tracer("test")
        config = config_of(provider, webhook("one", receiver.url), spool=tmp_path / "spool")
        with running_gateway(tmp_path, config) as gateway:
            with tracer.start_as_current_span("agent") as span:
                run_agent(agent_model(gateway, None), streamed=False)
            own = span.get_span_context()
            broken = ask(gateway, headers={"traceparent": f"00-{'0' * 32}-{own.span_id:016x}-01"})
            wait_for(lambda: len(receiver.generations) == 3, within_s=10)
            alone = receiver.generations[broken]
            assert "parentSpanId" not in alone
            places = {
                (each["traceId"], each["parentSpanId"]) for each in receiver.generations.values() if each is not alone
            }
            assert {(f"{own.trace_id:032x}", f"{own.span_id:016x}")} == places

    def test_privacy_mode(self, tmp_path: Path, provider: FakeProvider, receiver: Receiver) -> None:
        """What was asked and answered stays here; how it was asked, and what it took, does not."""
        only = webhook("one", receiver.url, "privacy_mode = true")
        with running_gateway(tmp_path, config_of(provider, only, spool=tmp_path / "spool")) as gateway:
            message = [{"role": "user", "content": QUESTION}]
            generation_id = ask(gateway, messages=message, temperature=0.25, stop=["."], tools=None)
            wait_for(lambda: generation_id in receiver.generations, within_s=10)
            said = receiver.generations[generation_id]["attributes"]
            assert (0.25, ["."], 11) == (
                said["gen_ai.request.temperature"],
                said["gen_ai.request.stop_sequences"],
                said["gen_ai.usage.input_tokens"],
            )
            assert all(
                text.encode() not in body for body in receiver.bodies for text in (QUESTION, TEXT, "input.messages")
            )


class TestTrouble:
    """Destinations that are not there."""

    def test_a_dead_one_beside_a_live_one(self, tmp_path: Path, provider: FakeProvider, receiver: Receiver) -> None:
        """The live one misses nothing; what the dead one missed outlives the process, and reaches it later."""
        port, spool = free_port(), tmp_path / "spool"
        both = (webhook("dead", f"http://127.0.0.1:{port}/traces"), webhook("live", receiver.url))
        config = config_of(provider, *both, broadcast="flush_timeout_s = 1", spool=spool)
        with running_gateway(tmp_path, config) as gateway:
            asked = {ask(gateway) for _ in range(20)}
            wait_for(lambda: asked == receiver.generations.keys(), within_s=10)
            wait_for(lambda: total(metrics_of(gateway), "broadcast_failing", destination="dead") == 1, within_s=10)
            samples = metrics_of(gateway)
            assert 20 == total(samples, "broadcast_waiting", destination="dead")
            assert 20 == total(samples, "broadcast_traces_total", destination="live", outcome="delivered")
            asked.add(ask(gateway))  # what was answered just before the end is not lost, either
            assert gateway.stop() in (0, -signal.SIGTERM)
        assert asked == receiver.generations.keys()
        assert list(spool.rglob("*.spool"))
        with running_receiver(port) as back, running_gateway(tmp_path, config):
            wait_for(lambda: asked == back.generations.keys(), within_s=10)
        assert asked == receiver.generations.keys()

    def test_without_a_disk_the_oldest_are_dropped_and_counted(self, tmp_path: Path, provider: FakeProvider) -> None:
        dead = webhook("dead", f"http://127.0.0.1:{free_port()}")
        small = "disk_bytes = 0\nmemory_bytes = 65536\nbatch_bytes = 1024"
        with running_gateway(tmp_path, config_of(provider, dead, broadcast=small, spool=tmp_path / "spool")) as gateway:
            message = [{"role": "user", "content": "x" * 10_000}]
            for _ in range(20):
                ask(gateway, messages=message)
            wait_for(lambda: total(metrics_of(gateway), "broadcast_traces_total", outcome="dropped") > 5, within_s=10)
            assert 200 == gateway.post("fake/answer").status_code


class TestDestinations:
    """The routes of the API."""

    def test_one_is_made_changed_and_removed(self, tmp_path: Path, provider: FakeProvider, receiver: Receiver) -> None:
        """It is saved if it can be reached, and shown without its credentials, under both bases."""
        config = config_of(
            provider, webhook("configured", receiver.url), head="[auth]\nrequired = true\n", spool=tmp_path / "spool"
        )
        key, manager = make_key(tmp_path), make_key(tmp_path, "--management")
        with running_gateway(tmp_path, config) as gateway, running_receiver() as other:

            def send(
                method: str, path: str = "", body: Any = None, *, who: str = manager, base: str = "/api/v1"
            ) -> Any:
                url = f"{gateway.root}{base}{DESTINATIONS}{path}"
                return httpx2.request(method, url, json=body, headers=bearer(who), timeout=20)

            wanted = {"type": "webhook", "name": "mine", "config": {"url": other.url, "headers": {"X-Key": CANARY}}}
            assert [401, 403, 403] == [
                httpx2.get(f"{gateway.base_url}{DESTINATIONS}").status_code,
                send("GET", who=key).status_code,
                send("POST", "", wanted, who=key).status_code,
            ]
            nowhere = wanted | {"config": {"url": f"http://127.0.0.1:{free_port()}"}}
            refused = send("POST", "", nowhere)
            assert 400 == refused.status_code
            assert "connection test failed" in refused.json()["error"]["message"]
            assert 1 == send("GET").json()["total_count"]
            made = send("POST", "", wanted)
            assert 201 == made.status_code, made.text
            assert CANARY not in made.text
            assert "true" == other.headers[0]["x-test-connection"]
            place = f"/{made.json()['data']['id']}"
            generation_id = ask(gateway, headers=bearer(key))
            wait_for(lambda: generation_id in other.generations, within_s=10)
            assert CANARY == other.headers[-1]["x-key"]
            shown = send("GET", place, base="/v1").json()["data"]
            kept = send("PATCH", place, {"config": shown["config"], "privacy_mode": True})
            assert (200, True) == (kept.status_code, kept.json()["data"]["privacy_mode"])
            ask(gateway, headers=bearer(key))
            wait_for(lambda: len(other.generations) == 2, within_s=10)
            assert CANARY == other.headers[-1]["x-key"]
            (configured,) = [each for each in send("GET").json()["data"] if each["name"] == "configured"]
            assert 400 == send("DELETE", f"/{configured['id']}").status_code
            assert [200, 404] == [send("DELETE", place).status_code, send("GET", place).status_code]
            last = ask(gateway, headers=bearer(key))
            wait_for(lambda: last in receiver.generations, within_s=10)
            assert last not in other.generations
            assert CANARY not in gateway.log()

    def test_every_worker_uses_it(self, tmp_path: Path, provider: FakeProvider, receiver: Receiver) -> None:
        """Whichever made, changed or removed it, or was told of it; and any of them knows the counts of all."""
        config = config_of(provider, spool=tmp_path / "spool")
        key, manager = make_key(tmp_path), make_key(tmp_path, "--management")
        with (
            running_gateway(tmp_path, config, arguments=["--workers", "2"]) as gateway,
            running_receiver() as later,
        ):
            place = f"{gateway.base_url}{DESTINATIONS}"
            one, other = gateway.workers()
            served: list[str] = []

            def answers(stopped: int) -> bool:
                with only_the_other_than(stopped):
                    return is_ready(gateway)

            def reaches(stopped: int, at: Receiver) -> bool:
                with only_the_other_than(stopped):
                    asked = [ask(gateway, headers=bearer(key)) for _ in range(3)]
                served.extend(asked)
                return came_true(lambda: at.generations.keys() >= set(asked), within_s=2)

            def in_every_worker(condition: Callable[[int], bool]) -> None:
                for stopped in (one, other):
                    wait_for(lambda stopped=stopped: condition(stopped), within_s=30)

            in_every_worker(answers)  # what starts later would read of it at its start
            body = {"type": "webhook", "name": "mine", "config": {"url": receiver.url}}
            made = httpx2.post(place, json=body, headers=bearer(manager), timeout=20)
            assert 201 == made.status_code, made.text
            in_every_worker(lambda stopped: reaches(stopped, receiver))
            count = len(served)
            for _ in range(4):
                wait_for(lambda: total(metrics_of(gateway, manager), "requests_total") == count, within_s=5)
            wait_for(
                lambda: (
                    len(receiver.generations)
                    == total(metrics_of(gateway, manager), "broadcast_traces_total", outcome="delivered")
                ),
                within_s=5,
            )
            place = f"{place}/{made.json()['data']['id']}"
            with only_the_other_than(one):
                moved = httpx2.patch(place, json={"config": {"url": later.url}}, headers=bearer(manager), timeout=20)
            assert 200 == moved.status_code, moved.text
            in_every_worker(lambda stopped: reaches(stopped, later))
            with only_the_other_than(other):
                assert 200 == httpx2.delete(place, headers=bearer(manager), timeout=20).status_code
            in_every_worker(lambda stopped: not reaches(stopped, later))

    def test_the_configuration_is_read_again(self, tmp_path: Path, provider: FakeProvider, receiver: Receiver) -> None:
        """At SIGHUP; one that cannot be used changes nothing."""
        file, spool = tmp_path / "gateway.toml", tmp_path / "spool"
        with (
            running_gateway(tmp_path, config_of(provider, webhook("one", receiver.url), spool=spool)) as gateway,
            running_receiver() as other,
        ):

            def reload(section: str, told: str) -> None:
                file.write_text(with_ledger(config_of(provider, section, spool=spool), tmp_path))
                gateway.process.send_signal(signal.SIGHUP)
                wait_for(lambda: told in gateway.log(), within_s=10)

            reload(webhook("two", f"ftp://{CANARY}@nowhere"), "destinations.0: config.url: must be http")
            first = ask(gateway)
            wait_for(lambda: first in receiver.generations, within_s=10)
            reload(webhook("two", other.url), "The configuration is reloaded")
            second = ask(gateway)
            wait_for(lambda: second in other.generations, within_s=10)
            assert second not in receiver.generations
            assert CANARY not in gateway.log()


class TestMetrics:
    """`GET /metrics`."""

    def test_what_was_served(self, tmp_path: Path, provider: FakeProvider, second_provider: FakeProvider) -> None:
        """Requests, tokens, cost, attempts and failovers."""
        both = {"first": provider.base_url, "second": second_provider.base_url}
        config = provider_config(both, {"fake/answer": "answer", "fake/failing": "status:500"}) + (
            '\n[[providers.first.models]]\nid = "fake/half"\nupstream_id = "status:503"\n'
            '\n[[providers.second.models]]\nid = "fake/half"\nupstream_id = "answer"\n'
        )
        with running_gateway(tmp_path, config) as gateway:
            for _ in range(3):
                ask(gateway, provider={"only": ["first"]})
            ask(gateway, "fake/half", provider={"order": ["first", "second"]})
            ask(gateway, "fake/failing", provider={"only": ["second"]})
            ask(gateway, "fake/nothing")
            samples = metrics_of(gateway)
            one = {"model": "fake/answer", "endpoint": "first"}
            assert 3 == total(samples, "requests_total", **one, status="200", ending="finished")
            assert (33, 21) == tuple(
                total(samples, "tokens_total", **one, kind=kind) for kind in ("prompt", "completion")
            )
            assert 3 * (11 * 3 + 7 * 15) / 1_000_000 == pytest.approx(total(samples, "cost_usd_total", **one))
            assert 3 == total(samples, "request_duration_seconds_count", **one)
            assert 3 == total(samples, "time_to_first_token_seconds_count", **one)
            half = {"model": "fake/half"}
            assert 1 == total(samples, "attempts_total", **half, endpoint="first", outcome="Unavailable")
            assert 1 == total(samples, "attempts_total", **half, endpoint="second", outcome="served")
            assert 1 == total(samples, "failovers_total", **half, endpoint="second")
            assert 1 == total(samples, "requests_total", model="fake/failing", ending="failed")
            assert "fake/nothing" not in httpx2.get(f"{gateway.root}/metrics").text

    def test_it_wants_a_management_key(self, tmp_path: Path, provider: FakeProvider) -> None:
        """Where keys are wanted: it tells what others use."""
        key, manager = make_key(tmp_path), make_key(tmp_path, "--management")
        with running_gateway(tmp_path, config_of(provider, spool=tmp_path / "spool")) as gateway:
            url = f"{gateway.root}/metrics"
            answers = [httpx2.get(url, headers=headers) for headers in (None, bearer(key), bearer(manager))]
            assert [401, 403, 200] == [answer.status_code for answer in answers]


class TestLogs:
    """Lines for machines."""

    def test_lines_are_json_and_say_whose_they_are(
        self, tmp_path: Path, provider: FakeProvider, receiver: Receiver
    ) -> None:
        """All of them, also those of the server; by the caller's id, where it is a plain word."""
        config = config_of(
            provider, webhook("one", receiver.url), broadcast="log_generations = true", spool=tmp_path / "spool"
        )
        with running_gateway(tmp_path, config, environment=JSON_LINES) as gateway:
            named = ask(gateway, headers={"X-Request-Id": "req-42"})
            odd = ask(gateway, "fake/failing", headers={"X-Request-Id": 'x", "level": "no'})
            gateway.process.send_signal(signal.SIGHUP)
            wait_for(lambda: "configuration is reloaded" in gateway.log() and odd in gateway.log(), within_s=10)
            wait_for(lambda: gateway.log().count("openrouter_gateway.generations") == 2, within_s=10)
            gateway.stop()
        lines: list[dict[str, Any]] = [json.loads(line) for line in gateway.log().splitlines()]
        of = {line["generation_id"]: line for line in lines if line["logger"] == "openrouter_gateway.generations"}
        assert {named, odd} == of.keys()
        assert ("req-42", 200, 11, "finished") == tuple(
            of[named][name] for name in ("request_id", "status", "prompt_tokens", "ending")
        )
        failed = [line for line in lines if line["level"] == "warning" and line.get("generation_id") == odd]
        assert failed
        assert {of[odd]["request_id"]} == {line["request_id"] for line in failed}
        assert 16 == len(of[odd]["request_id"])


def test_secrets_are_nowhere(tmp_path: Path, provider: FakeProvider, receiver: Receiver) -> None:
    """No key of a caller, provider or destination is in a payload, a log line, the metrics or what waits on disk."""
    spool = tmp_path / "spool"
    key, manager = make_key(tmp_path), make_key(tmp_path, "--management")
    dead = webhook("dead", f"http://user:{CANARY}@127.0.0.1:{free_port()}")
    config = config_of(provider, webhook("live", receiver.url), dead, broadcast="log_generations = true", spool=spool)
    with running_gateway(tmp_path, config, environment=JSON_LINES) as gateway:
        body = {"type": "webhook", "name": "mine", "config": {"url": receiver.url, "headers": {"X-Key": CANARY}}}
        made = httpx2.post(f"{gateway.base_url}{DESTINATIONS}", json=body, headers=bearer(manager), timeout=20)
        assert 201 == made.status_code
        message = [{"role": "user", "content": QUESTION}]
        asked = [ask(gateway, model, headers=bearer(key), stream=True, messages=message) for model in MODELS]
        wait_for(lambda: receiver.generations.keys() >= set(asked), within_s=10)
        shown = httpx2.get(f"{gateway.base_url}{DESTINATIONS}", headers=bearer(manager)).text
        metrics = httpx2.get(f"{gateway.root}/metrics", headers=bearer(manager)).text
        receiver.status = 401
        ask(gateway, headers=bearer(key))
        wait_for(lambda: total(metrics_of(gateway, manager), "broadcast_failing") == 3, within_s=10)
        gateway.stop()
    written = [file.read_bytes() for file in spool.rglob("*.spool")]
    assert written
    for secret in (CANARY, key, manager, "sk-first"):
        assert all(secret.encode() not in body for body in [*receiver.bodies, *written])
        assert all(secret not in text for text in (shown, metrics, gateway.log()))
    assert QUESTION not in gateway.log()
