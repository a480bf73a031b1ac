"""Protocols against a server that others wrote: llama.cpp's own."""

from collections.abc import Generator
from pathlib import Path

import httpx2
import pytest

from fakes.gateway import Gateway, chat_body, provider_config, running_gateway, text_of
from fakes.llama_server import running_llama
from openrouter_gateway.callers.local import find_default_model


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Generator[Gateway]:
    """A gateway whose one provider is llama.cpp's server."""
    with running_llama(find_default_model()) as base_url:
        config = provider_config({"llama": base_url}, {"smol/lm": "smollm2"})
        with running_gateway(tmp_path_factory.mktemp("llama"), config) as running:
            yield running


@pytest.mark.covers("protocols.openai", "text", "streaming", "usage of every bucket", "cost")
def test_json_and_stream_agree(gateway: Gateway) -> None:
    """Same text, counted and priced."""
    whole = gateway.post("smol/lm", temperature=0, max_tokens=12).json()
    chunks, _ = gateway.stream("smol/lm", temperature=0, max_tokens=12)
    assert whole["choices"][0]["message"]["content"] == text_of(chunks)
    assert (whole["model"], whole["provider"]) == ("smol/lm", "Llama")
    usage = whole["usage"]
    expected = usage["prompt_tokens"] * 0.000003 + usage["completion_tokens"] * 0.000015
    assert expected == pytest.approx(usage["cost"], abs=1e-12)


@pytest.mark.covers("protocols.anthropic", "text", "streaming", "usage of every bucket", "errors with status")
def test_its_messages_api(tmp_path: Path) -> None:
    """The `anthropic` protocol against llama.cpp's `/v1/messages`: whole and streamed, from both skins, and a call."""
    with running_llama(find_default_model()) as base_url:
        config = provider_config({"llama": base_url}, {"smol/lm": "smollm2"})
        config = config.replace('name = "Llama"', 'name = "Llama"\nprotocol = "anthropic"')
        with running_gateway(tmp_path, config) as gateway:
            body = gateway.post("smol/lm", temperature=0, max_tokens=12).json()
            chunks, _ = gateway.stream("smol/lm", temperature=0, max_tokens=12)
            text = body["choices"][0]["message"]["content"]
            assert (text, "max_tokens") == (text_of(chunks), body["choices"][0]["native_finish_reason"])
            assert 12 == body["usage"]["completion_tokens"]
            ask = chat_body("smol/lm", temperature=0, max_tokens=12)
            message = httpx2.post(f"{gateway.base_url}/messages", json=ask, timeout=60).json()
            assert text == message["content"][0]["text"]
            refused = gateway.post("smol/lm", messages=[{"role": "user", "content": "word " * 9000}])
            assert 400 == refused.status_code, refused.text


def test_connections_are_used_again(gateway: Gateway) -> None:
    """Many requests one after the other, streams and answers mixed, all succeed over kept connections."""
    statuses = [gateway.post("smol/lm", max_tokens=2, stream=count % 3 == 0).status_code for count in range(15)]
    assert statuses == [200] * 15


@pytest.mark.covers("protocols.openai", "errors with status")
def test_a_refusal_keeps_its_reason(gateway: Gateway) -> None:
    """What llama.cpp refuses is told with its own words."""
    response = gateway.post("smol/lm", messages=[{"role": "user", "content": "word " * 9000}])
    assert (
        response.status_code,
        response.json()["error"]["metadata"]["error_type"],
    ) == (400, "context_length_exceeded")
