"""What operators do: `doctor`, `activity`, and the content log, with real processes."""

import json
import os
import socket
import sqlite3
import subprocess
import time
from collections.abc import Generator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from fakes.gateway import (
    COMMAND,
    Gateway,
    chat_body,
    clean_environment,
    provider_config,
    running_gateway,
    stored_generations,
    with_ledger,
)
from fakes.listing_provider import KEY, ListingProvider, running_listing_provider
from fakes.provider import TEXT, FakeProvider

CANARY = "canary-77aa01-never-show"


@pytest.fixture
def listing() -> Generator[ListingProvider]:
    with running_listing_provider() as provider:
        yield provider


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def run(*arguments: str, environment: Mapping[str, str] | None = None, timeout_s: float = 90) -> tuple[int, str]:
    """Run the command; return its exit status and all that it wrote."""
    done = subprocess.run(
        [COMMAND, *arguments],
        env=clean_environment() | dict(environment or {}),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def write_config(directory: Path, text: str) -> Path:
    path = directory / "gateway.toml"
    path.write_text(with_ledger(text, directory))
    return path


def diagnose(
    directory: Path, config: str, *arguments: str, environment: Mapping[str, str] | None = None
) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the exit status of `doctor`, and what it found by check."""
    if "[server]" not in config:
        config += f"\n[server]\nport = {free_port()}\n"
    path = write_config(directory, config)
    status, said = run("doctor", "--config", str(path), "--json", *arguments, environment=environment)
    assert "canary" not in said
    report = json.loads(said)
    assert report["ok"] == (status == 0)
    return status, {found["check"]: found for found in report["checks"]}


def provider_at(slug: str, url: str, key: str | None = KEY, protocol: str = "openai") -> str:
    key_line = "" if key is None else f'api_key = "{key}"\n'
    return (
        f'[providers.{slug}]\nbase_url = "{url}"\nprotocol = "{protocol}"\n{key_line}'
        f'[[providers.{slug}.models]]\nid = "{slug}/one"\n'
    )


NO_MODEL = "[embedded]\nenabled = false\n"


class TestDoctor:
    """The command `doctor`."""

    def test_a_good_gateway_is_said_to_be_good(self, tmp_path: Path, listing: ListingProvider) -> None:
        """Every check is ok, and the text has one line for each of them."""
        path = write_config(tmp_path, f"[server]\nport = {free_port()}\n" + provider_at("fine", f"{listing.root}/v1"))
        status, said = run("doctor", "--config", str(path), "--deep")
        assert 0 == status, said
        assert "canary" not in said
        lines = said.splitlines()
        checks = ["configuration", "catalogue", "provider fine", "embedded model", "ledger database"]
        checks += ["ledger journal", "shared state", "port"]
        assert checks == [line[9:].partition("  ")[0].strip() for line in lines[:-1]]
        assert ["ok"] * len(checks) == [line.split()[0] for line in lines[:-1]]
        assert "8 ok" == lines[-1]
        assert "accepts the key" in said
        assert "starts and answers" in said
        assert "\x1b" not in said
        assert ["/v1/models"] * 2 == listing.asked
        assert ["gateway.toml"] == [entry.name for entry in tmp_path.iterdir()]  # it has made nothing

    def test_each_trouble_of_a_provider_has_its_name(self, tmp_path: Path, listing: ListingProvider) -> None:
        """All are asked at the same time, and none of them holds up the others."""
        root = listing.root
        troubles = {
            "wrong": (f"{root}/v1", "canary-wrong-key", "openai"),
            "keyless": (f"{root}/v1", None, "openai"),
            "unpaid": (f"{root}/status/402", KEY, "openai"),
            "forbidden": (f"{root}/status/403", KEY, "openai"),
            "throttled": (f"{root}/status/429", KEY, "openai"),
            "broken": (f"{root}/status/503", KEY, "openai"),
            "listless": (f"{root}/status/404", KEY, "openai"),
            "google": (f"{root}/gemini", KEY, "gemini"),
            "public": (f"{root}/open", KEY, "openai"),
            "hanging": (f"{root}/hang", KEY, "openai"),
            "stuck": (f"{root}/hang", KEY, "openai"),
            "down": (f"http://127.0.0.1:{free_port()}/v1", KEY, "openai"),
            "nowhere": ("http://no-such-host.invalid/v1", KEY, "openai"),
            "plain": (f"https://127.0.0.1:{root.rpartition(':')[2]}/v1", KEY, "openai"),
        }
        config = NO_MODEL + "".join(provider_at(slug, url, key, kind) for slug, (url, key, kind) in troubles.items())
        began = time.monotonic()
        status, found = diagnose(tmp_path, config, "--timeout", "3")
        assert time.monotonic() - began < 15
        assert 1 == status
        expected = {
            "wrong": ("failure", "does not accept the key (401)"),
            "keyless": ("failure", "wants a key, and has none (401)"),
            "unpaid": ("failure", "wants to be paid first (402)"),
            "forbidden": ("failure", "does not allow this with this key (403)"),
            "throttled": ("warning", "accepts no more requests for now (429)"),
            "broken": ("failure", "is in trouble: it answers 503"),
            "listless": ("warning", "has no list of models (404)"),
            "google": ("failure", "does not accept the key (400)"),
            "public": ("ok", "the key could not be tried"),
            "hanging": ("failure", "did not answer within 3 s"),
            "stuck": ("failure", "did not answer within 3 s"),
            "down": ("failure", "refuses connections"),
            "nowhere": ("failure", "no-such-host.invalid is not known (DNS)"),
            "plain": ("failure", "TLS with 127.0.0.1"),
        }
        for slug, (standing, words) in expected.items():
            finding = found[f"provider {slug}"]
            assert standing == finding["standing"], finding
            assert words in finding["message"]
            assert (finding["remedy"] is None) == (standing == "ok"), finding
        assert "providers.wrong.api_key" in found["provider wrong"]["remedy"]

    def test_offline_asks_nobody(self, tmp_path: Path, listing: ListingProvider) -> None:
        """What could only be known by asking is skipped, and that is no failure."""
        config = (
            NO_MODEL
            + provider_at("wrong", f"{listing.root}/v1", "canary-wrong-key")
            + f'[state]\nurl = "redis://:canary@127.0.0.1:{free_port()}"\n'
            + f'[[destinations]]\ntype = "webhook"\nname = "Mine"\n[destinations.config]\nurl = "{listing.root}/v1"\n'
        )
        status, found = diagnose(tmp_path, config, "--offline")
        assert 0 == status
        skipped = [check for check, finding in found.items() if finding["standing"] == "skipped"]
        assert ["provider wrong", "embedded model", "shared state", "destination Mine"] == skipped
        assert "has a key" in found["provider wrong"]["message"]
        assert [] == listing.asked

    def test_a_broken_configuration_is_located(self, tmp_path: Path) -> None:
        """File, line and reason of each mistake; then there is nothing else to look at."""
        path = tmp_path / "gateway.toml"
        path.write_text(f'[server]\nport = 99999\nhots = "x"\n\n[auth]\nkeys = ["{CANARY} with blank"]\n')
        status, said = run("doctor", "--config", str(path))
        assert 1 == status
        assert "canary" not in said
        lines = said.splitlines()
        assert [2, 3, 6] == sorted(int(line.partition(f"{path}:")[2].partition(":")[0]) for line in lines[:-1])
        assert "3 failure" == lines[-1]

    def test_a_setting_that_only_use_shows_to_be_wrong_is_located(self, tmp_path: Path) -> None:
        """A destination that names a variable which is not set."""
        config = (
            NO_MODEL
            + '[[destinations]]\ntype = "webhook"\nname = "Mine"\n[destinations.config]\nurl_env = "NOT_THERE_AT_ALL"\n'
        )
        status, found = diagnose(tmp_path, config)
        assert (1, ["configuration"]) == (status, list(found))
        assert "gateway.toml:7: destinations.0.config.url_env" in found["configuration"]["message"]

    def test_stores_and_destinations_that_do_not_answer_are_told(
        self, tmp_path: Path, listing: ListingProvider
    ) -> None:
        """Without the passwords in their addresses."""
        destinations = "".join(
            f'[[destinations]]\ntype = "webhook"\nname = "{name}"\n'
            f'[destinations.config]\nurl = "{listing.root}/{path}"\nheaders = {{ X-Key = "{CANARY}" }}\n'
            for name, path in (("Refusing", "status/403"),)
        )
        config = (
            '[server]\nport = 0\n[embedded]\nmodel_path = "/nowhere/at-all.gguf"\n'
            f'[state]\nurl = "redis://:{CANARY}@127.0.0.1:{free_port()}"\n{destinations}'
        )
        path = tmp_path / "gateway.toml"
        journal = tmp_path / "file"
        journal.write_text("")
        url = f"postgresql://me:{CANARY}@127.0.0.1:{free_port()}/ledger"
        path.write_text(f'{config}\n[ledger]\nurl = "{url}"\njournal = "{journal}"\n')
        status, said = run("doctor", "--config", str(path), "--json", "--timeout", "3")
        assert 1 == status
        assert "canary" not in said
        found = {each["check"]: each for each in json.loads(said)["checks"]}
        failed = [check for check, finding in found.items() if finding["standing"] == "failure"]
        assert ["embedded model", "ledger database", "ledger journal", "shared state", "destination Refusing"] == failed
        assert "/nowhere/at-all.gguf" in found["embedded model"]["message"]

    def test_port_and_schema_of_a_running_gateway(self, tmp_path: Path, provider: FakeProvider) -> None:
        """A gateway that listens is no trouble, anything else is; a newer schema is, and an older one is announced."""
        config = provider_config({"first": provider.base_url}, {"fake/answer": "answer"})
        with running_gateway(tmp_path / "own", config) as gateway, socket.socket() as other:
            port = gateway.root.rpartition(":")[2]
            _, found = diagnose(tmp_path / "own", NO_MODEL + f"[server]\nport = {port}\n", "--offline")
            assert ("ok", True) == (found["port"]["standing"], "and is ready" in found["port"]["message"])
            assert "can be written, schema" in found["ledger database"]["message"]
            other.bind(("127.0.0.1", 0))
            other.listen()
            server = f"[server]\nport = {other.getsockname()[1]}\n"
            _, found = diagnose(tmp_path, NO_MODEL + server, "--offline", "--timeout", "1")
            assert ("failure", True) == (found["port"]["standing"], "not by a gateway" in found["port"]["message"])
        for revision, standing in (("0001", "warning"), ("9999", "failure")):
            with sqlite3.connect(tmp_path / "own" / "ledger.db") as database:
                database.execute("UPDATE openrouter_gateway_schema SET version_num = ?", (revision,))
            database.close()
            _, found = diagnose(tmp_path / "own", NO_MODEL, "--offline")
            assert standing == found["ledger database"]["standing"]

    def test_lines_that_nobody_writes_are_told(self, tmp_path: Path) -> None:
        """A journal that waits since long ago, and what was put aside."""
        journal = tmp_path / "journal"
        journal.mkdir()
        waiting = journal / "1-1-00000000.000000.jsonl"
        waiting.write_text("{}\n{}\n")
        _, found = diagnose(tmp_path, NO_MODEL, "--offline")
        assert "ok" == found["ledger journal"]["standing"]
        os.utime(waiting, (1_700_000_000, 1_700_000_000))
        _, found = diagnose(tmp_path, NO_MODEL, "--offline")
        assert ("warning", True) == (
            found["ledger journal"]["standing"],
            found["ledger journal"]["message"].startswith("2 generations wait"),
        )
        (journal / "1-1-00000000.rejected").write_text("{}\n")
        _, found = diagnose(tmp_path, NO_MODEL, "--offline")
        assert "were put aside" in found["ledger journal"]["message"]

    def test_keys_of_the_environment_are_tried_and_not_shown(self, tmp_path: Path, listing: ListingProvider) -> None:
        """A key that enables no model is worth a word."""
        config = NO_MODEL + f'[providers.groq]\nbase_url = "{listing.root}/v1"\n' + "[catalog]\n"
        environment = {"GROQ_API_KEY": KEY, "DEEPINFRA_API_KEY": "canary-unused"}
        _, found = diagnose(tmp_path, config, environment=environment)
        assert "accepts the key" in found["provider groq"]["message"]
        assert "prices of" in found["catalogue"]["message"]
        assert ("warning", "has a key, but no model here is its own") == (
            found["provider deepinfra"]["standing"],
            found["provider deepinfra"]["message"],
        )


@pytest.fixture
def keyed(tmp_path: Path, provider: FakeProvider) -> Generator[tuple[Gateway, str, str, str]]:
    """A gateway with a content log and three keys of its store: management, and two for inference."""
    models = {f"fake/{name}": name for name in ("answer", "cut", "no-usage")}
    config = provider_config({"first": provider.base_url}, models, head="[content_log]\nenabled = true\n")
    path = write_config(tmp_path, config)
    made = [
        run("keys", "create", name, "--config", str(path), *more)[1].splitlines()[0]
        for name, more in (("Boss", ["--management"]), ("Ann", []), ("Bob", []))
    ]
    with running_gateway(tmp_path, config) as gateway:
        yield gateway, made[0], made[1], made[2]


def ask(gateway: Gateway, key: str | None, model: str = "fake/answer", **fields: Any) -> httpx2.Response:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return httpx2.post(
        f"{gateway.base_url}/chat/completions", json=chat_body(model, **fields), headers=headers, timeout=30
    )


def content_of(gateway: Gateway, key: str | None, reply: httpx2.Response) -> httpx2.Response:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    url = f"{gateway.base_url}/generation/content?id={reply.headers['x-generation-id']}"
    return httpx2.get(url, headers=headers, timeout=30)


class TestActivity:
    """The command `activity`."""

    def test_it_says_what_the_ledger_and_the_api_say(
        self, tmp_path: Path, keyed: tuple[Gateway, str, str, str]
    ) -> None:
        """Sums by model, key, day and provider are those of the ledger, to the last decimal."""
        gateway, boss, ann, bob = keyed
        for key, model in ((ann, "fake/answer"), (ann, "fake/answer"), (bob, "fake/answer"), (bob, "fake/no-usage")):
            assert 200 == ask(gateway, key, model, stream=True).status_code
        ask(gateway, bob, "fake/cut", stream=True)
        stored = gateway.generations(5)
        yesterday = round(time.time() - 86_400) * 1_000_000
        with sqlite3.connect(tmp_path / "ledger.db") as database:
            database.execute("UPDATE generations SET created_us = ? WHERE id = ?", (yesterday, stored[0]["id"]))
        database.close()
        config = str(tmp_path / "gateway.toml")
        status, said = run("activity", "--config", config, "--json")
        assert 0 == status, said
        report = json.loads(said, parse_float=Decimal)
        costs = [sum((Decimal(part) for part in record["cost"].values()), Decimal(0)) for record in stored]
        assert sum(costs, Decimal(0)) == report["total"]["cost"] > 0
        assert 5 == report["total"]["requests"]
        for rows in report["by"].values():
            assert report["total"] == {name: sum(row[name] for row in rows) for name in report["total"]}
        assert {"Ann": 2, "Bob": 3} == {row["name"]: row["requests"] for row in report["by"]["key"]}
        assert [1, 4] == [row["requests"] for row in report["by"]["day"]]

        url = f"{gateway.base_url}/activity"
        shown = httpx2.get(url, headers={"Authorization": f"Bearer {boss}"})
        past = json.loads(shown.text, parse_float=Decimal)["data"]
        assert report["by"]["day"][0]["cost"] == sum((row["usage"] for row in past), Decimal(0))
        _, said = run("activity", "--config", config, "--json", "--days", "1", "--by", "provider")
        report = json.loads(said, parse_float=Decimal)
        assert [("first", 4)] == [(row["provider"], row["requests"]) for row in report["by"]["provider"]]
        assert sum(costs[1:], Decimal(0)) == report["total"]["cost"]

    def test_it_is_read_at_a_glance(self, tmp_path: Path, keyed: tuple[Gateway, str, str, str]) -> None:
        """Tables with exact amounts, and bars as long as their shares."""
        gateway, _, ann, bob = keyed
        for key in (ann, bob, bob):
            ask(gateway, key)
        gateway.generations(3)
        _, said = run(
            "activity", "--config", str(tmp_path / "gateway.toml"), environment={"PYTHONUTF8": "1", "COLUMNS": "120"}
        )
        lines = {line.split()[0]: line for line in said.splitlines() if line.strip()}
        each = Decimal("0.000003") * 11 + Decimal("0.000015") * 7
        assert f"{3 * each:f} USD, requests: 3, tokens: 33 in, 21 out" in said
        assert [f"{2 * each:f}", "2", "22", "14", "█" * 24] == lines["Bob"].split()[1:]
        assert [f"{each:f}", "1", "11", "7", "█" * 12] == lines["Ann"].split()[1:]
        assert lines["fake/answer"].split()[1] == f"{3 * each:f}"

    def test_an_empty_ledger_is_nothing_special(self, tmp_path: Path) -> None:
        """Neither is one that cannot be used, but for the status."""
        path = write_config(tmp_path, NO_MODEL)
        status, said = run("activity", "--config", str(path))
        assert (0, True) == (status, "0 USD, requests: 0" in said)
        path.write_text(f'[ledger]\nurl = "postgresql://me:{CANARY}@127.0.0.1:{free_port()}/ledger"\n')
        status, said = run("activity", "--config", str(path))
        assert (2, False, 1) == (status, "canary" in said, len(said.splitlines()))


class TestContentLog:
    """Requests and answers, kept for who made them."""

    def test_its_owner_reads_it_and_nobody_else(self, keyed: tuple[Gateway, str, str, str]) -> None:
        """The key that asked, and management keys; for another key it is not there."""
        gateway, boss, ann, bob = keyed
        for stream in (False, True):
            reply = ask(gateway, ann, stream=stream)
            for key in (ann, boss):
                data = content_of(gateway, key, reply).json()["data"]
                assert {"messages": chat_body("x")["messages"]} == data["input"]
                assert (TEXT, None, None) == (data["output"]["completion"], data["output"]["reasoning"], data["error"])
            assert 404 == content_of(gateway, bob, reply).status_code
            assert 401 == content_of(gateway, None, reply).status_code

    def test_a_failure_is_kept_with_its_reason(self, keyed: tuple[Gateway, str, str, str]) -> None:
        """And with what had been said."""
        gateway, _, ann, _ = keyed
        data = content_of(gateway, ann, ask(gateway, ann, "fake/cut", stream=True)).json()["data"]
        assert ("Hello, ", 502, "First") == (
            data["output"]["completion"],
            data["error"]["status"],
            data["error"]["provider_name"],
        )

    def test_only_the_last_attempt_counts(self, tmp_path: Path, provider: FakeProvider) -> None:
        """What an endpoint said that then failed before output is not the answer."""
        parts = [
            provider_config({slug: provider.base_url}, {"fake/both": upstream})
            for slug, upstream in (("first", "streamed-cut"), ("second", "answer"))
        ]
        config = "[content_log]\nenabled = true\n" + parts[0] + parts[1].replace("[embedded]\nenabled = false\n", "")
        with running_gateway(tmp_path, config) as gateway:
            reply = gateway.post("fake/both", provider={"order": ["first", "second"]})
            assert ["streamed-cut", "answer"] == [body["model"] for body in provider.requests]
            assert TEXT == content_of(gateway, None, reply).json()["data"]["output"]["completion"]

    def test_an_answer_of_the_response_cache_is_kept_too(self, keyed: tuple[Gateway, str, str, str]) -> None:
        """Its own generation has it."""
        gateway, _, ann, _ = keyed
        headers = {"Authorization": f"Bearer {ann}", "X-OpenRouter-Cache": "true"}
        url = f"{gateway.base_url}/chat/completions"
        replies = [httpx2.post(url, json=chat_body("fake/answer"), headers=headers) for _ in range(2)]
        assert "HIT" == replies[1].headers["x-openrouter-cache-status"]
        assert TEXT == content_of(gateway, ann, replies[1]).json()["data"]["output"]["completion"]

    def test_it_is_off_unless_it_is_switched_on(self, tmp_path: Path, provider: FakeProvider) -> None:
        """Nothing of what was said is in any file of the gateway."""
        config = provider_config({"first": provider.base_url}, {"fake/answer": "answer"})
        with running_gateway(tmp_path, config) as gateway:
            reply = gateway.post("fake/answer", messages=[{"role": "user", "content": "said-once-81"}])
            assert TEXT == reply.json()["choices"][0]["message"]["content"]
            assert 404 == content_of(gateway, None, reply).status_code
            gateway.generations(1)
            gateway.stop()
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert [] == [
            path for path in files if b"said-once-81" in path.read_bytes() or TEXT.encode() in path.read_bytes()
        ]

    def test_zero_retention_is_never_kept(self, tmp_path: Path, provider: FakeProvider) -> None:
        """Neither of a request that asks for it, nor with that policy; provider keys are not kept of any."""
        config = provider_config(
            {"first": provider.base_url},
            {"fake/answer": "answer", "fake/key": "key-error"},
            head="[content_log]\nenabled = true\n",
        ).replace('name = "First"', 'name = "First"\nretains_prompts = false\ntrains_on_prompts = false')
        with running_gateway(tmp_path / "request", config) as gateway:
            kept = gateway.post("fake/answer")
            not_kept = gateway.post("fake/answer", provider={"zdr": True})
            quoting = gateway.post("fake/key", stream=True)
            assert [200, 404, 200] == [
                content_of(gateway, None, each).status_code for each in (kept, not_kept, quoting)
            ]
            assert "What is Bearer [key]?" == content_of(gateway, None, quoting).json()["data"]["error"]["message"]
            gateway.stop()
        assert b"sk-first" not in (tmp_path / "request" / "ledger.db").read_bytes()
        with running_gateway(tmp_path / "policy", config + "[policy]\nzdr = true\n") as gateway:
            assert 404 == content_of(gateway, None, gateway.post("fake/answer")).status_code

    def test_it_goes_when_its_time_is_over(self, tmp_path: Path, provider: FakeProvider) -> None:
        """Also when the log is off by then. The ledger's record stays."""
        base = provider_config({"first": provider.base_url}, {"fake/answer": "answer"})
        with running_gateway(tmp_path, base + "[content_log]\nenabled = true\n") as gateway:
            old, new = (gateway.post("fake/answer") for _ in range(2))
            assert 200 == content_of(gateway, None, old).status_code
            gateway.stop()
        database = sqlite3.connect(tmp_path / "ledger.db")
        old_id = old.headers["x-generation-id"]
        with database:
            database.execute(
                "UPDATE contents SET created_us = created_us - ? WHERE id = ?", (8 * 86_400 * 10**6, old_id)
            )
        with running_gateway(tmp_path, base) as gateway:
            assert [404, 200] == [content_of(gateway, None, each).status_code for each in (old, new)]
            deadline = time.monotonic() + 10
            while (left := database.execute("SELECT id FROM contents").fetchall()) and len(left) > 1:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert [(new.headers["x-generation-id"],)] == left
        database.close()
        assert old_id in [record["id"] for record in stored_generations(tmp_path / "ledger.db")]
