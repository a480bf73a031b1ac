"""The response cache: the same request gets the same answer for nothing, where the caller asks for it."""

import json
from pathlib import Path
from typing import Any

import httpx2

from fakes.gateway import Gateway, chat_body, chunks_of, provider_config, running_gateway, text_of
from fakes.provider import TEXT, FakeProvider

CACHED = {"X-OpenRouter-Cache": "true", "X-OpenRouter-Cache-TTL": "60abc"}


def ask(gateway: Gateway, headers: dict[str, str], model: str = "fake/answer", **fields: Any) -> httpx2.Response:
    body = chat_body(model, **fields)
    return httpx2.post(f"{gateway.base_url}/chat/completions", json=body, headers=headers, timeout=30)


def status_of(reply: httpx2.Response) -> str | None:
    return reply.headers.get("x-openrouter-cache-status")


def test_the_same_request_is_answered_again_for_nothing(tmp_path: Path, provider: FakeProvider) -> None:
    """JSON and streams: new id, same words, zero usage and cost, and a record that names its source."""
    config = provider_config({"first": provider.base_url}, {"fake/answer": "answer"})
    with running_gateway(tmp_path, config) as gateway:
        first = ask(gateway, CACHED)
        again = ask(gateway, CACHED)
        assert ("MISS", "60") == (status_of(first), first.headers["x-openrouter-cache-ttl"])
        assert ("HIT", first.json()["id"]) == (status_of(again), again.headers["x-openrouter-cache-source-id"])
        assert first.json()["id"] != again.json()["id"] == again.headers["x-generation-id"]
        assert first.json()["choices"] == again.json()["choices"]
        assert ("First", "fake/answer") == (again.json()["provider"], again.json()["model"])
        assert (0, 0, 0) == tuple(again.json()["usage"][key] for key in ("prompt_tokens", "total_tokens", "cost"))
        streams = [ask(gateway, CACHED, stream=True) for _ in range(2)]
        assert ["MISS", "HIT"] == [status_of(stream) for stream in streams]
        assert [TEXT, TEXT] == [text_of(chunks_of(stream.text)) for stream in streams]
        assert 2 == len(provider.requests)
        records = gateway.generations(4)
        assert [None, records[0]["id"], None, records[2]["id"]] == [record["cache_source_id"] for record in records]
        assert [True, False, True, False] == [float(record["cost"]["prompt"]) > 0 for record in records]
        found = httpx2.get(f"{gateway.base_url}/generation?id={records[1]['id']}").json()["data"]
        assert (records[0]["id"], 0) == (found["response_cache_source_id"], found["total_cost"])


def test_the_tier_that_served_is_named_again(tmp_path: Path, provider: FakeProvider) -> None:
    """In the answer and the record, also where the provider says nothing of tiers, as the fake's streams do not."""
    config = provider_config({"first": provider.base_url}, {})
    config += '[[providers.first.models]]\nid = "fake/model"\ntag = "first/flex"\nupstream_id = "answer"\n'
    with running_gateway(tmp_path, config) as gateway:
        fields = {"stream": True, "service_tier": "flex"}
        replies = [ask(gateway, CACHED, "fake/model", **fields) for _ in range(2)]
        assert ["MISS", "HIT"] == [status_of(reply) for reply in replies]
        assert ["flex", "flex"] == [chunks_of(reply.text)[0].get("service_tier") for reply in replies]
        assert ["flex", "flex"] == [record["service_tier"] for record in gateway.generations(2)]


def test_what_is_no_repetition_is_asked_of_the_provider(tmp_path: Path, provider: FakeProvider) -> None:
    """Without the header, with other members or another order of them, and after a clear; blanks do not count."""
    config = provider_config({"first": provider.base_url}, {"fake/answer": "answer"})
    with running_gateway(tmp_path, config) as gateway:
        assert status_of(ask(gateway, CACHED)) == "MISS"
        assert status_of(ask(gateway, {})) is None
        assert status_of(ask(gateway, CACHED, seed=1)) == "MISS"
        turned = dict(reversed(chat_body("fake/answer").items()))
        url = f"{gateway.base_url}/chat/completions"
        assert status_of(httpx2.post(url, json=turned, headers=CACHED)) == "MISS"
        spaced = json.dumps(chat_body("fake/answer"), indent=3)
        assert status_of(httpx2.post(url, content=spaced, headers=CACHED)) == "HIT"
        assert status_of(ask(gateway, CACHED | {"X-OpenRouter-Cache-Clear": "true"})) == "MISS"
        assert 5 == len(provider.requests)


def test_failures_and_cut_answers_are_not_kept(tmp_path: Path, provider: FakeProvider) -> None:
    """Only complete answers are."""
    config = provider_config({"first": provider.base_url}, {"fake/cut": "cut", "fake/broken": "status:500"})
    with running_gateway(tmp_path, config) as gateway:
        for model in ("fake/cut", "fake/broken"):
            for _ in range(2):
                ask(gateway, CACHED, model, stream=True)
        assert 4 == len(provider.requests)


def test_a_policy_of_keeping_nothing_switches_it_off(tmp_path: Path, provider: FakeProvider) -> None:
    """With `policy.zdr` there is no cache."""
    config = provider_config({"first": provider.base_url}, {"fake/answer": "answer"}).replace(
        'name = "First"', 'name = "First"\nretains_prompts = false\ntrains_on_prompts = false'
    )
    with running_gateway(tmp_path, config + "\n[policy]\nzdr = true\n") as gateway:
        replies = [ask(gateway, CACHED) for _ in range(2)]
        assert [(200, None)] * 2 == [(reply.status_code, status_of(reply)) for reply in replies]
        assert 2 == len(provider.requests)


def test_a_request_that_wants_no_retention_may_have_it(tmp_path: Path, provider: FakeProvider) -> None:
    """`provider.zdr` is about providers; the caller has asked for the cache."""
    config = provider_config({"first": provider.base_url}, {"fake/answer": "answer"}).replace(
        'name = "First"', 'name = "First"\nretains_prompts = false\ntrains_on_prompts = false'
    )
    with running_gateway(tmp_path, config) as gateway:
        replies = [ask(gateway, CACHED, provider={"zdr": True}) for _ in range(2)]
        assert ["MISS", "HIT"] == [status_of(reply) for reply in replies]
