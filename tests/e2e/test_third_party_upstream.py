"""Protocols against a server that others wrote: llama.cpp's own."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

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


@pytest.mark.covers("protocols.openai_responses", "text", "streaming", "usage of every bucket", "errors with status")
def test_its_responses_api(tmp_path: Path) -> None:
    """The `openai_responses` protocol against llama.cpp's `/v1/responses`: whole and streamed, from three skins.

    Its events tell items by their id alone, and an answer that was cut short it calls completed.
    """
    with running_llama(find_default_model()) as base_url:
        config = provider_config({"llama": base_url}, {"smol/lm": "smollm2"})
        config = config.replace('name = "Llama"', 'name = "Llama"\nprotocol = "openai_responses"')
        with running_gateway(tmp_path, config) as gateway:
            limits = {"temperature": 0, "max_tokens": 16}  # the API takes no fewer
            body = gateway.post("smol/lm", **limits).json()
            chunks, raw = gateway.stream("smol/lm", **limits)
            text = body["choices"][0]["message"]["content"]
            assert (text, "completed") == (text_of(chunks), body["choices"][0]["native_finish_reason"])
            assert len(text) > 0
            assert sum("content" in choice["delta"] for chunk in chunks for choice in chunk["choices"]) > 5
            assert raw.endswith("data: [DONE]\n\n")
            assert [16, 16] == [usage["completion_tokens"] for usage in (body["usage"], chunks[-1]["usage"])]
            assert body["usage"]["prompt_tokens"] == chunks[-1]["usage"]["prompt_tokens"] > 0

            asked: dict[str, Any] = {"model": "smol/lm", "temperature": 0, "max_output_tokens": 16}
            question = {"role": "user", "content": chat_body("smol/lm")["messages"][0]["content"]}
            first = httpx2.post(f"{gateway.base_url}/responses", json=asked | {"input": [question]}, timeout=60).json()
            assert text == first["output_text"]
            history = [question, *first["output"], {"role": "user", "content": "And now?"}]
            again = httpx2.post(f"{gateway.base_url}/responses", json=asked | {"input": history}, timeout=60).json()
            assert "completed" == again["status"], again
            assert again["usage"]["input_tokens"] > first["usage"]["input_tokens"]

            message = httpx2.post(
                f"{gateway.base_url}/messages", json=chat_body("smol/lm", **limits), timeout=60
            ).json()
            assert text == message["content"][0]["text"]
            refused = gateway.post("smol/lm", messages=[{"role": "user", "content": "word " * 9000}])
            assert (400, "context_length_exceeded") == (
                refused.status_code,
                refused.json()["error"]["metadata"]["error_type"],
            )


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
