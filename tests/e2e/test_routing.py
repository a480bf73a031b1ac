"""What routing promises, with real processes: several providers of one model, and what the gateway says about them."""

import json
import subprocess
import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from fakes.gateway import COMMAND, Gateway, chat_body, chunks_of, clean_environment, running_gateway, with_ledger
from fakes.provider import FakeProvider

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say hello."}]


def config_of(endpoints: dict[str, tuple[FakeProvider, str, str]], head: str = "", more: str = "") -> str:
    """One model at several providers: by slug, the provider, its name of the model, and the price of a prompt token."""
    parts = ["[embedded]\nenabled = false\n", head]
    parts.extend(
        f'[providers.{slug}]\nname = "{slug.title()}"\nbase_url = "{provider.base_url}"\n'
        f'[[providers.{slug}.models]]\nid = "fake/model"\nupstream_id = "{upstream_id}"\n{more}\n'
        f'pricing = {{ prompt = "{price}", completion = "0.00001", input_cache_read = "0.0000001" }}\n'
        for slug, (provider, upstream_id, price) in endpoints.items()
    )
    return "\n".join(parts)


def ask(gateway: Gateway, headers: dict[str, str] | None = None, **fields: Any) -> httpx2.Response:
    return httpx2.post(
        f"{gateway.base_url}/chat/completions",
        json={"model": "fake/model", "messages": MESSAGES, **fields},
        headers=headers,
        timeout=30,
    )


def attempts_of(record: dict[str, Any]) -> list[tuple[str, str, int | None]]:
    return [(attempt["tag"], attempt["outcome"], attempt["status"]) for attempt in record["attempts"]]


def uptime_of(gateway: Gateway) -> float | None:
    """How the first endpoint is doing."""
    data = httpx2.get(f"{gateway.base_url}/models/fake/model/endpoints").json()["data"]
    return data["endpoints"][0]["uptime_last_5m"]


def test_a_session_stays_where_its_cache_is(
    tmp_path: Path, provider: FakeProvider, second_provider: FakeProvider
) -> None:
    """Of two endpoints at the same price every session keeps the one that it had first; without one they alternate."""
    both = {"first": (provider, "answer", "0.000001"), "second": (second_provider, "answer", "0.000001")}
    with running_gateway(tmp_path, config_of(both)) as gateway:
        served: dict[str, set[str]] = {}
        for turn in range(5):
            for session in ("a", "b", "c", "d", "e", "f", "g", "h"):
                reply = ask(gateway, session_id=session, seed=turn)
                served.setdefault(session, set()).add(reply.json()["provider"])
        unbound = {ask(gateway).json()["provider"] for _ in range(30)}
    assert all(len(providers) == 1 for providers in served.values()), served
    assert {"First", "Second"} == set().union(*served.values())
    assert {"First", "Second"} == unbound


def test_a_dry_run_knows_the_conversation(
    tmp_path: Path, provider: FakeProvider, second_provider: FakeProvider
) -> None:
    """By the session id of its body or header, and for the key that asks alone; it changes nothing."""
    both = {"first": (provider, "answer", "0.000001"), "second": (second_provider, "answer", "0.000001")}
    keys = '[auth]\nkeys = ["sk-or-v1-one", "sk-or-v1-two"]\n'
    with running_gateway(tmp_path, config_of(both, keys)) as gateway:

        def explain(key: str = "sk-or-v1-one", header: str = "", **fields: Any) -> dict[str, Any]:
            headers = {"Authorization": f"Bearer {key}"} | ({"X-Session-Id": header} if header else {})
            body = {"model": "fake/model", "messages": MESSAGES, **fields}
            return httpx2.post(f"{gateway.base_url}/route/explain", json=body, headers=headers).json()

        assert explain(session_id="s")["sticky"] is None
        served = ask(gateway, {"Authorization": "Bearer sk-or-v1-one"}, session_id="s").json()["provider"].lower()
        for found in (explain(session_id="s"), explain(header="s")):
            assert {"model": "fake/model", "tag": served} == found["sticky"]
            assert (served, "served this conversation before, and has its prompt cached") == (
                found["endpoints"][0]["tag"],
                found["endpoints"][0]["reason"],
            )
        assert [None] * 3 == [
            found["sticky"]
            for found in (explain(), explain(session_id="other"), explain("sk-or-v1-two", session_id="s"))
        ]
        command = ["explain", "--url", gateway.root, "--key", "sk-or-v1-one", str(tmp_path / "body.json")]
        (tmp_path / "body.json").write_text(json.dumps(chat_body("fake/model", messages=MESSAGES, session_id="s")))
        assert f"Its conversation stays at {served} (fake/model)" in run(*command).stdout


def test_an_endpoint_that_does_not_begin_in_time_is_left(
    tmp_path: Path, provider: FakeProvider, second_provider: FakeProvider
) -> None:
    """After the limit of an attempt the next endpoint is tried, for streams and whole answers."""
    both = {"first": (provider, "hang", "0.000001"), "second": (second_provider, "answer", "0.001")}
    with running_gateway(tmp_path, config_of(both, "[upstream]\nattempt_timeout_s = 0.4\n")) as gateway:
        for stream in (False, True):
            reply = ask(gateway, stream=stream, provider={"order": ["first", "second"]})
            assert reply.status_code == 200
            assert '"provider":"Second"' in reply.text
        assert [["TimedOut", "served"]] * 2 == [
            [attempt["outcome"] for attempt in record["attempts"]] for record in gateway.generations(2)
        ]
    assert 2 == provider.hangups["hang"]


def test_a_request_has_a_limit(tmp_path: Path, provider: FakeProvider) -> None:
    """It ends with 408 before output, with an event after it, and the provider's work ends with it."""
    slow = {"first": (provider, "hang", "0.000001")}
    with running_gateway(tmp_path, config_of(slow, "[upstream]\nrequest_timeout_s = 0.5\n")) as gateway:
        reply = ask(gateway)
        assert 408 == reply.status_code == reply.json()["error"]["code"]
        assert "timeout" == reply.json()["error"]["metadata"]["error_type"]
        assert provider.hung_up.acquire(timeout=5)
        (record,) = gateway.generations(1)
        assert ("failed", 408, "timeout") == (record["ending"], record["status"], record["error_type"])
        assert [("first", "TimedOut", None)] == attempts_of(record)
        assert 0 == uptime_of(gateway), "an endpoint that hangs is failing"
    endless = {"first": (provider, "endless", "0.000001")}
    with running_gateway(tmp_path / "more", config_of(endless, "[upstream]\nrequest_timeout_s = 0.5\n")) as gateway:
        reply = ask(gateway, stream=True)
        assert '"code":408' in reply.text
        assert reply.text.endswith("data: [DONE]\n\n")
        assert provider.hung_up.acquire(timeout=5)
        (record,) = gateway.generations(1)
        assert [("first", "TimedOut", None)] == attempts_of(record)
        assert uptime_of(gateway) is None, "an endpoint whose answer is long is not"


def test_an_endpoint_that_hangs_is_left_alone_but_never_gone(
    tmp_path: Path, provider: FakeProvider, second_provider: FakeProvider
) -> None:
    """Five times until the request's time is over open its circuit; whoever insists on it still gets to it."""
    both = {"first": (provider, "hang", "0.000001"), "second": (second_provider, "answer", "0.001")}
    with running_gateway(tmp_path, config_of(both, "[upstream]\nrequest_timeout_s = 0.3\n")) as gateway:
        for _ in range(5):
            assert 408 == ask(gateway, provider={"order": ["first"]}).status_code
        reply = ask(gateway, provider={"order": ["first"]})
        assert (200, "Second") == (reply.status_code, reply.json()["provider"])
        assert 5 == len(provider.requests)
        assert 408 == ask(gateway, provider={"only": ["first"]}).status_code
        assert 6 == len(provider.requests), "the last resort is tried whatever its state"


@pytest.mark.parametrize(("served", "price"), [("default", "0.001"), ("flex", "0.0005"), ("scale", "0.001")])
def test_the_cost_is_that_of_the_tier_that_was_served(
    tmp_path: Path, provider: FakeProvider, served: str, price: str
) -> None:
    """Whatever the endpoint that was asked for."""
    tier = f'upstream_id = "answer:{served}"\npricing = {{ prompt = "0.0005" }}'
    config = config_of({"first": (provider, f"answer:{served}", "0.001")})
    config += f'[[providers.first.models]]\nid = "fake/model"\ntag = "first/flex"\n{tier}\n'
    with running_gateway(tmp_path, config) as gateway:
        reply = ask(gateway, provider={"only": ["first"]})
    usage = json.loads(reply.text, parse_float=Decimal)["usage"]
    assert Decimal(price) * usage["prompt_tokens"] == usage["cost_details"]["upstream_inference_prompt_cost"]


@pytest.mark.parametrize(
    ("stream", "expected"), [(False, [None, "flex", "default"]), (True, [None, "flex", "priority"])]
)
def test_an_answer_names_its_tier(
    tmp_path: Path, provider: FakeProvider, stream: bool, expected: list[str | None]
) -> None:
    """The provider's word for it, which the fake says in JSON, or else the endpoint's; ordinary endpoints have none."""
    config = config_of({"first": (provider, "answer", "0.001")})
    for tier, upstream in (("flex", "answer"), ("priority", "answer:default")):
        row = f'id = "fake/model"\ntag = "first/{tier}"\nupstream_id = "{upstream}"'
        config += f"[[providers.first.models]]\n{row}\n"
    told: list[str | None] = []
    with running_gateway(tmp_path, config) as gateway:
        for tag in ("first", "first/flex", "first/priority"):
            reply = ask(gateway, provider={"only": [tag]} if "/" in tag else {}, stream=stream)
            answer = chunks_of(reply.text)[0] if stream else reply.json()
            told.append(answer.get("service_tier"))
    assert expected == told


def test_an_endpoint_at_its_limit_is_spared(
    tmp_path: Path, provider: FakeProvider, second_provider: FakeProvider
) -> None:
    """The second request at the same time goes elsewhere, and gets 429 where there is nowhere else."""
    both = {"first": (provider, "slow-first:1.5", "0.000001"), "second": (second_provider, "answer", "0.001")}
    with running_gateway(tmp_path, config_of(both, more="max_concurrent = 1")) as gateway:
        first: list[httpx2.Response] = []
        running = threading.Thread(target=lambda: first.append(ask(gateway, provider={"order": ["first"]})))
        running.start()
        assert provider.arrived.acquire(timeout=10)
        assert "Second" == ask(gateway, provider={"order": ["first"]}).json()["provider"]
        refused = ask(gateway, provider={"only": ["first"]})
        assert (429, "1") == (refused.status_code, refused.headers["retry-after"])
        running.join(10)
        assert "First" == first[0].json()["provider"]
        assert 200 == ask(gateway, provider={"only": ["first"]}).status_code
    assert 2 == len(provider.requests)


def test_router_metadata_is_given_to_those_who_ask(
    tmp_path: Path, provider: FakeProvider, second_provider: FakeProvider
) -> None:
    """On answers, in the last chunk of streams, and on errors; not without the header."""
    both = {"first": (provider, "status:500", "0.000001"), "second": (second_provider, "answer", "0.001")}
    asking = {"X-OpenRouter-Metadata": "Enabled"}
    with running_gateway(tmp_path, config_of(both)) as gateway:
        order = {"order": ["first", "second"]}
        told = ask(gateway, asking, provider=order).json()["openrouter_metadata"]
        assert {"requested": "fake/model", "strategy": "direct", "attempt": 2, "is_byok": False} == {
            key: told[key] for key in ("requested", "strategy", "attempt", "is_byok")
        }
        assert [("First", 500), ("Second", 200)] == [(row["provider"], row["status"]) for row in told["attempts"]]
        assert [("First", False), ("Second", True)] == [
            (row["provider"], row["selected"]) for row in told["endpoints"]["available"]
        ]
        events = [json.loads(line[6:]) for line in ask(gateway, asking, stream=True).text.splitlines() if "{" in line]
        assert [False] * (len(events) - 1) + [True] == ["openrouter_metadata" in event for event in events]
        failed = ask(gateway, asking, provider={"only": ["first"]})
        assert 502 == failed.status_code
        told = failed.json()["openrouter_metadata"]
        assert "none selected" in told["summary"]
        assert [("First", 500)] == [(row["provider"], row["status"]) for row in told["attempts"]]
        assert "openrouter_metadata" not in ask(gateway).json()
        dead_ends: list[tuple[dict[str, Any], int]] = [
            ({"provider": {"only": ["third"]}}, 2),
            ({"model": "openrouter/free"}, 0),
        ]
        for more, total in dead_ends:
            nowhere = ask(gateway, asking, **more)
            assert 404 == nowhere.status_code
            told = nowhere.json()["openrouter_metadata"]
            assert (0, total, []) == (told["attempt"], told["endpoints"]["total"], told["endpoints"]["available"])
            assert "openrouter_metadata" not in ask(gateway, **more).json()


def test_a_generation_says_who_asked_for_what(tmp_path: Path, provider: FakeProvider) -> None:
    """Attribution, session, trace, endpoint and prices are in its record before the caller has its last byte."""
    headers = {
        "HTTP-Referer": "https://app.example",
        "X-Title": "App",
        "X-OpenRouter-Categories": "my-own,cli-agent,Not A Category,no-such,cli-agent, game,legal",
        "User-Agent": "tester/1",
        "X-Session-Id": "from-the-header",
    }
    with running_gateway(tmp_path, config_of({"first": (provider, "answer", "0.000001")})) as gateway:
        reply = ask(gateway, headers, user="u1", trace={"trace_id": "t1", "stage": "test"})
        (record,) = gateway.generations(1)
    assert reply.json()["id"] == record["id"]
    expected = {
        "app_url": "https://app.example",
        "app_title": "App",
        "app_categories": ["cli-agent", "game"],
        "user_agent": "tester/1",
        "session_id": "from-the-header",
        "user": "u1",
        "trace": {"trace_id": "t1", "stage": "test"},
        "provider_name": "First",
        "endpoint": "first",
        "upstream_id": "chatcmpl-fake",
        "ending": "finished",
    }
    assert expected == {key: record[key] for key in expected}
    assert record["catalog_version"]


def test_endpoints_show_their_health(tmp_path: Path, provider: FakeProvider) -> None:
    """Uptime and percentiles come from what became of requests."""
    with running_gateway(tmp_path, config_of({"first": (provider, "answer", "0.000001")})) as gateway:
        url = f"{gateway.base_url}/models/fake/model/endpoints"
        assert httpx2.get(url).json()["data"]["endpoints"][0]["uptime_last_5m"] is None
        assert 200 == ask(gateway).status_code
        (row,) = httpx2.get(url).json()["data"]["endpoints"]
    assert 100 == row["uptime_last_5m"] == row["uptime_last_1d"]
    assert {"p50", "p75", "p90", "p99"} == set(row["latency_last_30m"])


@pytest.mark.parametrize("source", ["gateway", "configuration"])
def test_the_command_explains(
    tmp_path: Path, provider: FakeProvider, second_provider: FakeProvider, source: str
) -> None:
    """It lists the endpoints with their reasons, and those that a preference removed; its exit status says if any."""
    both = {"first": (provider, "answer", "0.000001"), "second": (second_provider, "answer", "0.001")}
    body = tmp_path / "body.json"
    body.write_text(json.dumps(chat_body("fake/model", provider={"max_price": {"prompt": 10}})))
    with running_gateway(tmp_path / "gateway", config_of(both)) as gateway:
        (tmp_path / "gateway.toml").write_text(with_ledger(config_of(both), tmp_path))
        where = ["--url", gateway.root] if source == "gateway" else ["--config", str(tmp_path / "gateway.toml")]
        shown = run("explain", str(body), *where)
        assert 0 == shown.returncode, shown.stderr
        assert "first" in shown.stdout
        assert "not second (fake/model)" in shown.stdout
        assert "Price ceiling: prompt 10" in shown.stdout
        plan = json.loads(run("explain", str(body), "--json", *where).stdout)
        assert (["first"], ["second"]) == (
            [row["tag"] for row in plan["endpoints"]],
            [row["tag"] for row in plan["removed"]],
        )
        body.write_text(json.dumps(chat_body("fake/model", provider={"only": ["third"]})))
        refused = run("explain", str(body), *where)
        assert 1 == refused.returncode
        assert "404" in refused.stderr


def test_the_command_explains_as_the_gateway_does(
    tmp_path: Path, provider: FakeProvider, second_provider: FakeProvider
) -> None:
    """What the gateway's own plugins do to a request is known from its configuration."""
    search = '[web]\nengine = "searxng"\nbase_url = "http://127.0.0.1:9"\n'
    endpoints = {"first": (provider, "answer", "0.000001"), "second": (second_provider, "answer", "0.001")}
    pdf = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}}
    text_only = 'input_modalities = ["text"]'
    bodies = {
        "online": chat_body("fake/model:online", provider={"sort": "price"}),
        "pdf": chat_body("fake/model", messages=[{"role": "user", "content": [pdf]}], provider={"sort": "price"}),
    }
    config = config_of(endpoints, search, more=text_only)
    with running_gateway(tmp_path / "gateway", config) as gateway:
        (tmp_path / "gateway.toml").write_text(with_ledger(config, tmp_path))
        for name, body in bodies.items():
            file = tmp_path / f"{name}.json"
            file.write_text(json.dumps(body))
            alone = run("explain", str(file), "--json", "--config", str(tmp_path / "gateway.toml"))
            told = httpx2.post(f"{gateway.base_url}/route/explain", json=body).json()
            assert told == json.loads(alone.stdout), alone.stderr
            assert ["first", "second"] == [row["tag"] for row in told["endpoints"]]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *arguments], capture_output=True, text=True, env=clean_environment(), check=False)


def test_a_dead_end_of_the_command_is_told(tmp_path: Path) -> None:
    """No gateway there, no such file, no such model."""
    began = time.monotonic()
    for arguments in (["explain", "a/b", "--url", "http://127.0.0.1:9"], ["explain", str(tmp_path / "no.json")]):
        failed = run(*arguments)
        assert 2 == failed.returncode
        assert "Cannot explain" in failed.stderr
    assert 1 == run("explain", "no/model").returncode
    assert time.monotonic() - began < 30
