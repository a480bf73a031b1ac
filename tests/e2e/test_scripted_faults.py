"""Faults on purpose, as an application meets them: with the LangChain client, and with a second endpoint to go to."""

import signal
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from fakes.gateway import Gateway, chat_body, chunks_of, provider_config, running_gateway, text_of, wait_for
from fakes.provider import TEXT, FakeProvider
from langchain_openrouter import ChatOpenRouter, RateLimited, ServerFailed, StreamBroken

CALLERS_KEY = "sk-or-v1-an-application-under-test"
OTHER_KEY = "sk-or-v1-everybody-else"
FAULTS = """
[[faults]]
name = "busy"
kind = "rate_limit"
models = ["fake/busy"]
retry_after_s = 3

[[faults]]
name = "down"
kind = "error"
status = 503
message = "overloaded"
models = ["fake/down"]

[[faults]]
name = "late"
kind = "timeout"
models = ["fake/late"]

[[faults]]
name = "slow"
kind = "slow_first_token"
delay_s = 0.7
models = ["fake/slow"]

[[faults]]
name = "cut"
kind = "cut_stream"
after_chunks = 2
models = ["fake/cut"]

[[faults]]
name = "broken"
kind = "broken_tool_json"
models = ["fake/thinker"]

[[faults]]
name = "first only"
kind = "error"
models = ["fake/*failover"]
providers = ["first"]

[[faults]]
name = "before output"
kind = "cut_stream"
after_chunks = 0
models = ["fake/cut-at-once"]
providers = ["first"]

[[faults]]
name = "every third"
kind = "rate_limit"
models = ["fake/third"]
every = 3

[[faults]]
name = "mine"
kind = "rate_limit"
models = ["fake/keyed"]
keys = ["sk-or-v1-an-...test"]
"""
MODELS = ("busy", "down", "late", "slow", "cut", "failover", "cut-at-once", "third", "keyed")
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}},
}


def config_for(provider: FakeProvider, second: FakeProvider, faults: str = FAULTS) -> str:
    """Two providers, which both have every model and both serve it."""
    models = {f"fake/{name}": "paced:4" if name == "cut" else "answer" for name in MODELS} | {"fake/thinker": "thinker"}
    urls = {"first": provider.base_url, "second": second.base_url}
    head = f'[auth]\nkeys = ["{CALLERS_KEY}", "{OTHER_KEY}"]\n'
    return provider_config(urls, models, head=head) + faults


def model_of(gateway: Gateway, name: str, **options: Any) -> ChatOpenRouter:
    """A client that does not try again, and goes to the first provider first."""
    preferences: Any = {"order": ["first", "second"], **options.pop("provider", {})}
    return ChatOpenRouter(
        model=f"fake/{name}",
        base_url=gateway.base_url,
        api_key=CALLERS_KEY,
        max_retries=0,
        timeout=20,
        openrouter_provider=preferences,
        **options,
    )


def post(gateway: Gateway, name: str, key: str = CALLERS_KEY, **fields: Any) -> httpx2.Response:
    return httpx2.post(
        f"{gateway.base_url}/chat/completions",
        json=chat_body(f"fake/{name}", **{"provider": {"order": ["first", "second"]}, **fields}),
        headers={"Authorization": f"Bearer {key}"},
        timeout=20,
    )


@pytest.fixture
def faulty(tmp_path: Path, provider: FakeProvider, second_provider: FakeProvider) -> Generator[Gateway]:
    """A gateway with all of the faults, in front of providers without any."""
    with running_gateway(tmp_path, config_for(provider, second_provider)) as gateway:
        yield gateway


def test_faults_through_the_client(faulty: Gateway, provider: FakeProvider, second_provider: FakeProvider) -> None:
    """A rate limit, an outage, a timeout: typed, with what a provider says along with it, and named as scripted."""
    expected: list[tuple[str, type[Exception], str]] = [
        ("busy", RateLimited, "too many requests"),
        ("down", ServerFailed, "overloaded"),
        ("late", ServerFailed, "did not answer in time"),
    ]
    for name, kind, told in expected:
        with pytest.raises(kind, match=f"Scripted fault: .*{told}") as caught:
            model_of(faulty, name, provider={"allow_fallbacks": False, "only": ["first"]}).invoke("Hello")
        if isinstance(caught.value, RateLimited):
            assert 3 == caught.value.retry_after
    assert [] == provider.requests + second_provider.requests
    assert "Faults are scripted" in faulty.log()


def test_the_ledger_takes_them_for_real(faulty: Gateway) -> None:
    """What failed is recorded as an attempt that did, and the error says which fault it was."""
    body = post(faulty, "down", stream=False).json()

    metadata = body["error"]["metadata"]
    (record,) = faulty.generations(1)
    assert ["Unavailable", "Unavailable"] == [attempt["outcome"] for attempt in record["attempts"]]
    assert [503, 503] == [attempt["status"] for attempt in record["attempts"]]
    assert "failed" == record["ending"]
    assert ("Scripted fault: overloaded", 503) == (body["error"]["message"], body["error"]["code"])
    assert ["first", "second"] == [row["provider"] for row in metadata["previous_errors"]]
    alone = post(faulty, "down", provider={"only": ["first"]}).json()
    assert {"name": "down", "kind": "error"} == alone["error"]["metadata"]["scripted_fault"]


def test_failover_to_the_second_endpoint(
    faulty: Gateway, provider: FakeProvider, second_provider: FakeProvider
) -> None:
    """The client sees nothing of the first one's fault; an answer that breaks off before any output counts as one."""
    message = model_of(faulty, "failover").invoke("Hello")
    assert (TEXT, "Second") == (message.text, message.response_metadata["provider"])
    assert ([], 1) == (provider.requests, len(second_provider.requests))

    pieces = list(model_of(faulty, "cut-at-once").stream("Hello"))
    assert TEXT == "".join(piece.text for piece in pieces)
    assert (1, 2) == (len(provider.requests), len(second_provider.requests))
    assert [["Unavailable", "served"], ["Cut", "served"]] == [
        [attempt["outcome"] for attempt in record["attempts"]] for record in faulty.generations(2)
    ]


def test_a_slow_first_token(faulty: Gateway) -> None:
    """The answer is as it would have been, and says why it was late."""
    began = time.monotonic()
    assert TEXT == model_of(faulty, "slow").invoke("Hello").text
    assert time.monotonic() - began >= 0.7

    assert {"name": "slow", "kind": "slow_first_token"} == post(faulty, "slow").json()["scripted_fault"]


def test_a_stream_that_breaks_off(faulty: Gateway, provider: FakeProvider) -> None:
    """After two chunks; what has come is there, and the provider's own stream is closed."""
    received: list[str] = []
    with pytest.raises((StreamBroken, ServerFailed), match="Scripted fault: the provider's connection broke"):
        received.extend(piece.text for piece in model_of(faulty, "cut").stream("Hello"))
    assert "0 1 " == "".join(received)
    wait_for(lambda: provider.hangups["paced"] == 1)
    response = post(faulty, "cut", stream=True)
    assert '"scripted_fault":{"name":"cut","kind":"cut_stream"}' in response.text.split('"error"')[-1]


@pytest.mark.parametrize("stream", [False, True])
def test_broken_arguments_of_a_tool_call(faulty: Gateway, *, stream: bool) -> None:
    """LangChain hands them out as an invalid call, whether it gets them in pieces or whole."""
    model = model_of(faulty, "thinker").bind_tools([TOOL])
    if stream:
        first, *pieces = model.stream("How is the weather?")
        message = sum(pieces, first)
    else:
        message = model.invoke("How is the weather?")
    (call,) = message.invalid_tool_calls
    assert ("get_weather", True) == (call["name"], str(call["args"]).startswith('{{"city": "Paris"}'))
    assert [] == message.tool_calls


def test_every_third_call(faulty: Gateway) -> None:
    """The second endpoint serves then, by a call that counts, too; a rate limit does not change the caller's list."""
    served = [post(faulty, "third").json()["provider"] for _ in range(5)]
    assert ["First", "First", "Second", "First", "Second"] == served


def test_faults_of_one_key(faulty: Gateway) -> None:
    """The others are served as ever."""
    assert 429 == post(faulty, "keyed").status_code
    assert 200 == post(faulty, "keyed", OTHER_KEY).status_code


def test_faults_come_and_go_with_a_reload(
    tmp_path: Path, provider: FakeProvider, second_provider: FakeProvider
) -> None:
    """Without any, nothing is scripted."""
    with running_gateway(tmp_path, config_for(provider, second_provider, "")) as gateway:
        assert 200 == post(gateway, "busy").status_code
        assert "scripted" not in gateway.log()
        file = tmp_path / "gateway.toml"
        file.write_text(file.read_text() + FAULTS)
        gateway.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "The configuration is reloaded" in gateway.log(), within_s=20)
        assert "Faults are scripted" in gateway.log()
        assert 429 == post(gateway, "busy").status_code


def test_a_stream_without_faults_is_untouched(faulty: Gateway) -> None:
    """Only calls that a fault fits know of it."""
    response = post(faulty, "keyed", OTHER_KEY, stream=True)
    assert TEXT == text_of(chunks_of(response.text))
    assert "scripted" not in response.text
