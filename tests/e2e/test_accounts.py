"""Keys, limits and records, with real processes: the command, a gateway or two, a provider, Redis and PostgreSQL."""

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from fakes.gateway import COMMAND, Gateway, chat_body, clean_environment, provider_config, running_gateway, wait_for
from fakes.provider import FakeProvider
from fakes.stores import new_redis, postgres


def start(stack: ExitStack, directory: Path, provider: FakeProvider, url: str, *, state: str = "") -> Gateway:
    """Start a gateway on a store."""
    directory.mkdir(exist_ok=True)
    config = provider_config({"first": provider.base_url}, {"fake/answer": "answer", "fake/hang": "hang"}, head=state)
    return stack.enter_context(running_gateway(directory, config, environment={"OPENROUTER_GATEWAY__LEDGER__URL": url}))


def command(url: str, *arguments: str) -> Any:
    """Run a command on a store; return what it printed as JSON."""
    environment = clean_environment() | {"OPENROUTER_GATEWAY__LEDGER__URL": url}
    done = subprocess.run([COMMAND, *arguments, "--json"], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout, parse_float=Decimal)


def make_key(url: str, *options: str) -> str:
    """Make a key with the command."""
    return command(url, "keys", "create", "one", *options)["key"]


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def ask(gateway: Gateway, key: str, model: str = "fake/answer", **fields: Any) -> httpx2.Response:
    """Send a chat completion with a key."""
    body = chat_body(model, **fields)
    return httpx2.post(f"{gateway.base_url}/chat/completions", json=body, headers=bearer(key), timeout=30)


def get(gateway: Gateway, key: str, path: str) -> Any:
    """Ask for a record."""
    response = httpx2.get(f"{gateway.base_url}{path}", headers=bearer(key), timeout=10)
    assert response.status_code == 200, response.text
    return json.loads(response.text, parse_float=Decimal)["data"]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
def own(stack: ExitStack, tmp_path: Path, provider: FakeProvider, url: str) -> Gateway:
    """A gateway with a store of its own."""
    return start(stack, tmp_path / "gateway", provider, url)


def test_keys_appear_and_disappear_while_it_runs(own: Gateway, url: str) -> None:
    """Without any, everyone on this machine is let in; within two seconds of the first, nobody without one."""
    assert own.post("fake/answer").status_code == 200
    key = make_key(url)
    wait_for(lambda: own.post("fake/answer").status_code == 401)
    assert ask(own, key).status_code == 200
    command(url, "keys", "revoke", key)
    wait_for(lambda: ask(own, key).status_code == 401)


def wait_until_known(gateway: Gateway, key: str) -> None:
    """Return when a gateway has heard of a key; until it has of the first, it lets everyone in."""

    def is_known() -> bool:
        answer = httpx2.get(f"{gateway.base_url}/key", headers=bearer(key))
        return answer.status_code == 200 and bool(answer.json()["data"]["label"])

    wait_for(is_known)


def test_the_management_api(own: Gateway, url: str) -> None:
    """A key's whole life over HTTP."""
    manager = make_key(url, "--management")
    wait_until_known(own, manager)
    with httpx2.Client(base_url=own.base_url, headers=bearer(manager)) as client:
        made = client.post("/keys", json={"name": "app", "limit": 1.5, "limit_reset": "daily"})
        assert made.status_code == 201
        secret, row = made.json()["key"], made.json()["data"]
        assert (row["name"], row["limit"], row["limit_remaining"], row["usage"]) == ("app", 1.5, 1.5, 0)
        assert secret not in made.text.replace(f'"key":"{secret}"', "")

        answer = ask(own, secret)
        assert answer.status_code == 200
        generation = get(own, secret, f"/generation?id={answer.json()['id']}")
        assert generation["total_cost"] == Decimal(str(answer.json()["usage"]["cost"])) > 0
        mine = get(own, secret, "/key")
        assert mine["usage"] == mine["usage_daily"] == generation["total_cost"]
        assert mine["limit_remaining"] == Decimal("1.5") - mine["usage"]
        assert get(own, manager, "/credits") == {"total_credits": 0, "total_usage": mine["usage"]}
        assert get(own, manager, "/activity") == [], "today is not completed"
        assert [key["name"] for key in client.get("/keys").json()["data"]] == ["app", "one"]

        path = f"/keys/{row['hash']}"
        assert client.patch(path, json={"disabled": True, "limit": None}).json()["data"]["limit"] is None
        assert ask(own, secret).status_code == 401
        assert [key["name"] for key in client.get("/keys").json()["data"]] == ["one"]
        assert len(client.get("/keys?include_disabled=true").json()["data"]) == 2
        assert client.delete(path).json() == {"deleted": True}
        assert client.get(path).status_code == client.delete(path).status_code == 404
        assert client.post("/keys", json={"limit": 1}).status_code == 400
        asleep = client.post("/keys", json={"name": "later", "disabled": True, "workspace_id": None}).json()
        assert asleep["data"]["disabled"] is True
        assert ask(own, asleep["key"]).status_code == 401
        path = f"/keys/{asleep['data']['hash']}"
        assert client.patch(path, json={"disabled": False}).json()["data"]["disabled"] is False
        assert ask(own, asleep["key"]).status_code == 200
        for method, where, field, value in (
            ("POST", "/keys", "limt", 1),
            ("POST", "/keys", "workspace_id", "w"),
            ("PATCH", path, "limt", 1),
            ("PATCH", path, "expires_at", "2030-01-01T00:00:00Z"),
        ):
            refused = client.request(method, where, json={"name": "x", field: value})
            assert refused.status_code == 400
            assert field in refused.json()["error"]["message"]
        for value in ("NaN", "sNaN", "Infinity", "1e-999999999", -1, 1e-19):
            for method, where in (("POST", "/keys"), ("PATCH", path)):
                refused = client.request(method, where, json={"name": "x", "limit": value})
                assert (refused.status_code, refused.json()["error"]["message"][:6]) == (400, "limit:")
        assert client.get(path).json()["data"]["name"] == "later", "what is refused changes nothing"
        assert client.post("/keys", json={"name": "x", "expires_at": "2020-01-01T00:00:00Z"}).status_code == 400
        assert client.put("/keys", json={}).status_code == 405


def test_texts_that_the_database_cannot_hold(stack: ExitStack, tmp_path: Path, provider: FakeProvider) -> None:
    """PostgreSQL has no NUL: what asks for one is the caller's mistake, not the gateway's."""
    url = postgres().new_url()
    gateway = start(stack, tmp_path / "gateway", provider, url)
    manager = make_key(url, "--management")
    wait_until_known(gateway, manager)
    with httpx2.Client(base_url=gateway.base_url, headers=bearer(manager)) as client:
        known = f"/keys/{client.post('/keys', json={'name': 'one'}).json()['data']['hash']}"
        for method, path, body in (
            ("GET", "/generation?id=a%00", None),
            ("GET", "/generation/content?id=a%00", None),
            ("GET", "/activity?api_key_hash=a%00", None),
            ("DELETE", "/keys/a%00", None),
            ("POST", "/keys", {"name": "a\0"}),
            ("PATCH", known, {"name": "a\0"}),
        ):
            assert client.request(method, path, json=body).status_code == 400, (method, path)
        assert client.get(known).json()["data"]["name"] == "one"


def test_what_kinds_of_keys_may_do(own: Gateway, url: str) -> None:
    """Management keys run no inference, others manage nothing and see only their own generations."""
    manager, first, second = make_key(url, "--management"), make_key(url), make_key(url)
    wait_until_known(own, second)
    assert ask(own, manager).status_code == 403
    generation = ask(own, first).json()["id"]
    for path in ("/keys", "/credits", "/activity"):
        refused = httpx2.get(f"{own.base_url}{path}", headers=bearer(first))
        assert refused.status_code == 403
        assert "Only management keys can perform this operation" in refused.json()["error"]["message"]
    assert get(own, manager, f"/generation?id={generation}")["id"] == generation
    for wanted in (generation, "gen-0"):
        assert httpx2.get(f"{own.base_url}/generation?id={wanted}", headers=bearer(second)).status_code == 404
    assert get(own, first, "/models/count") == {"count": 2}
    assert len(get(own, first, "/models/user")) == 2
    assert get(own, first, "/endpoints/zdr") == []


def test_what_may_be_used_and_how_it_does(tmp_path: Path, provider: FakeProvider) -> None:
    """The account's policy shapes the models of a key; endpoints without retention show their health as others do."""
    head = '[policy]\nignored_providers = ["Other"]\n'
    config = provider_config({"first": provider.base_url}, {"fake/answer": "answer"}, head=head)
    config = config.replace('name = "First"\n', 'name = "First"\nretains_prompts = false\n')
    more = provider_config({"other": provider.base_url}, {"fake/other": "answer"}).partition("enabled = false\n")[2]
    with running_gateway(tmp_path, config + more) as gateway:

        def read(path: str) -> Any:
            return httpx2.get(f"{gateway.base_url}{path}").json()["data"]

        assert {"fake/answer", "fake/other"} == {row["id"] for row in read("/models")}
        assert ["fake/answer"] == [row["id"] for row in read("/models/user")]
        assert [("first", None)] == [(row["tag"], row["uptime_last_5m"]) for row in read("/endpoints/zdr")]
        made = gateway.post("fake/answer").json()["id"]
        assert [("first", 100)] == [(row["tag"], row["uptime_last_5m"]) for row in read("/endpoints/zdr")]
        assert ["First"] == [each["provider_name"] for each in read(f"/generation?id={made}")["provider_responses"]]


def test_a_used_up_limit_and_a_rate(own: Gateway, url: str) -> None:
    """402 and 429 in their shapes; a hang-up returns what was reserved."""
    poor, slow, narrow = (
        make_key(url, "--limit", "0"),
        make_key(url, "--requests-per-minute", "1"),
        make_key(url, "--concurrent-requests", "1"),
    )
    wait_until_known(own, narrow)
    refused = ask(own, poor)
    assert refused.status_code == 402
    assert refused.json()["error"]["metadata"]["error_type"] == "payment_required"
    assert ask(own, slow).status_code == 200
    throttled = ask(own, slow)
    assert throttled.status_code == 429
    assert throttled.json()["error"]["metadata"]["error_type"] == "rate_limit_exceeded"
    assert 55 <= int(throttled.headers["retry-after"]) <= 60
    assert throttled.headers["x-ratelimit-limit"] == "1"
    assert throttled.headers["x-ratelimit-remaining"] == "0"

    with pytest.raises(httpx2.TimeoutException):
        httpx2.post(
            f"{own.base_url}/chat/completions", json=chat_body("fake/hang"), headers=bearer(narrow), timeout=0.3
        )
    wait_for(lambda: ask(own, narrow).status_code == 200)


def test_limits_count_answers_of_the_cache(own: Gateway, url: str) -> None:
    """They cost nothing, but are requests all the same; a key that has nothing left gets none of them."""
    slow, poor = make_key(url, "--requests-per-minute", "2"), make_key(url, "--limit", "0.000001")
    wait_until_known(own, poor)

    def ask_for_it(key: str) -> httpx2.Response:
        headers = bearer(key) | {"X-OpenRouter-Cache": "true"}
        return httpx2.post(f"{own.base_url}/chat/completions", json=chat_body("fake/answer"), headers=headers)

    first, again, throttled = (ask_for_it(slow) for _ in range(3))
    status = "x-openrouter-cache-status"
    assert [(200, "MISS"), (200, "HIT")] == [(reply.status_code, reply.headers[status]) for reply in (first, again)]
    assert (429, "2") == (throttled.status_code, throttled.headers["x-ratelimit-limit"])
    assert 200 == ask_for_it(poor).status_code
    wait_for(lambda: get(own, poor, "/key")["usage"] > 0)
    assert 402 == ask_for_it(poor).status_code


def test_credits(own: Gateway, url: str) -> None:
    """Paid in by the command, shared by all keys."""
    first, second = make_key(url), make_key(url)
    command(url, "credits", "add", "0.0001")
    wait_until_known(own, second)
    assert ask(own, first).status_code == 200
    wait_for(lambda: ask(own, second).status_code == 402)
    assert command(url, "credits", "add", "1", "--note", "more")["total_credits"] == Decimal("1.0001")
    wait_for(lambda: ask(own, second).status_code == 200)


def test_the_list(own: Gateway, url: str) -> None:
    """Readable for people, JSON for programs, and never the key itself."""
    key = make_key(url, "--limit", "2", "--limit-reset", "weekly", "--requests-per-minute", "60")
    wait_until_known(own, key)
    assert ask(own, key).status_code == 200
    used = get(own, key, "/key")["usage"]
    (row,) = command(url, "keys", "list")
    assert row["usage_in_period"] == used > 0
    for columns in ("200", "80"):
        environment = clean_environment() | {"OPENROUTER_GATEWAY__LEDGER__URL": url, "COLUMNS": columns}
        shown = subprocess.run(
            [COMMAND, "keys", "list"], capture_output=True, text=True, env=environment, check=True
        ).stdout
        assert row["label"] in shown
        assert key not in shown
        assert "…" not in shown
        assert max(map(len, shown.splitlines())) <= int(columns)
        if columns == "200":
            assert "2 USD weekly" in shown
            assert "60 req/min" in shown
            assert f"{used:f}".rstrip("0") + " USD" in shown


async def race(gateways: list[Gateway], key: str, count: int) -> list[int]:
    """Send requests to the gateways in turn, all at once; return the statuses."""
    limits = httpx2.Limits(max_connections=200)
    async with httpx2.AsyncClient(limits=limits, timeout=60, headers=bearer(key)) as client:

        async def call(number: int) -> int:
            gateway = gateways[number % len(gateways)]
            body = chat_body("fake/answer", max_tokens=12)
            return (await client.post(f"{gateway.base_url}/chat/completions", json=body)).status_code

        return await asyncio.gather(*(call(number) for number in range(count)))


@pytest.mark.parametrize("processes", [1, 2])
def test_a_budget_under_load(
    stack: ExitStack, tmp_path: Path, provider: FakeProvider, url: str, processes: int
) -> None:
    """A thousand requests, a limit of a hundred: as many succeed, and key and ledger agree to the last digit.

    Once the limit is reached, a refusal says what the limit has counted; the key's usage is what the ledger adds up.
    """
    state = ""
    if processes > 1:
        server = new_redis()
        stack.callback(server.remove)
        state, url = f'[state]\nurl = "{server.url}"\n', postgres().new_url()
    gateways = [start(stack, tmp_path / str(number), provider, url, state=state) for number in range(processes)]
    probe, manager = make_key(url), make_key(url, "--management")
    wait_until_known(gateways[0], probe)
    assert ask(gateways[0], probe, max_tokens=12).status_code == 200
    cost = get(gateways[0], probe, "/key")["usage"]
    key = make_key(url, "--limit", str(100 * cost))
    for gateway in gateways:
        wait_until_known(gateway, key)

    statuses = asyncio.run(race(gateways, key, 1000))
    succeeded = statuses.count(200)
    assert set(statuses) == {200, 402}
    assert 95 <= succeeded <= 101
    wait_for(lambda: get(gateways[0], key, "/key")["usage"] == succeeded * cost)
    while (refused := ask(gateways[-1], key, max_tokens=12)).status_code == 200:
        succeeded += 1
    assert succeeded <= 101
    wait_for(lambda: get(gateways[0], key, "/key")["usage"] == succeeded * cost)
    counted = refused.json()["error"]["message"].removeprefix("Key limit exceeded: ").partition(" USD")[0]
    assert Decimal(counted) == succeeded * cost
    assert get(gateways[0], manager, "/credits")["total_usage"] == (succeeded + 1) * cost


def test_a_rate_limit_under_load(stack: ExitStack, tmp_path: Path, provider: FakeProvider) -> None:
    """Two gateways, one minute: of two hundred requests at once as many are served as the key may have, no more."""
    server = new_redis()
    stack.callback(server.remove)
    state, url = f'[state]\nurl = "{server.url}"\n', postgres().new_url()
    gateways = [start(stack, tmp_path / str(number), provider, url, state=state) for number in range(2)]
    key = make_key(url, "--requests-per-minute", "50")
    for gateway in gateways:
        wait_until_known(gateway, key)

    began = time.monotonic()
    statuses = asyncio.run(race(gateways, key, 200))
    assert time.monotonic() - began < 60, "the minute was over before the load was"
    assert {200: 50, 429: 150} == {status: statuses.count(status) for status in set(statuses)}
    assert 50 == len(provider.requests)
    for gateway in gateways:
        refused = ask(gateway, key)
        assert (429, "50") == (refused.status_code, refused.headers["x-ratelimit-limit"])
        assert 1 <= int(refused.headers["retry-after"]) <= 60
