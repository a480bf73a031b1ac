"""How many tokens a prompt is said to be."""

import json
from typing import Any

import pytest
from gateway_samples import make_catalog, make_endpoint, make_request

from openrouter_gateway.accounting.count import count_prompt_tokens
from openrouter_gateway.edge.messages import count_tokens

PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
DOCUMENT = {"type": "file", "file": {"file_data": "data:application/pdf;base64," + "A" * 100_000}}


def count(*messages: dict[str, Any], **fields: Any) -> int:
    return count_prompt_tokens(make_request(messages=list(messages), **fields))


def test_text_counts_by_its_length() -> None:
    """A token for four bytes of JSON, tools included."""
    short, long = count({"role": "user", "content": "x"}), count({"role": "user", "content": "x" * 401})

    assert 100 == long - short
    tools = [{"type": "function", "function": {"name": "f", "description": "x" * 400}}]
    assert short + 100 < count({"role": "user", "content": "x"}, tools=tools)


@pytest.mark.parametrize(("part", "tokens"), [(PICTURE, 1_600), (DOCUMENT, 3_000)])
def test_pictures_and_files_count_by_the_piece(part: dict[str, Any], tokens: int) -> None:
    """However many bytes they are."""
    assert tokens <= count({"role": "user", "content": [part]}) < tokens + 100


@pytest.mark.parametrize("part", [{"type": "image_url"}, {"type": "file", "file": "x"}, {"type": ["file"]}, {}])
def test_parts_that_are_none(part: dict[str, Any]) -> None:
    """They are counted all the same: whether they can be sent is not decided here."""
    assert count({"role": "user", "content": [part]}) > 0


CATALOG = make_catalog(make_endpoint("acme", "a/one"))


def test_the_answer() -> None:
    """One member, for a request in Anthropic's dialect; no `max_tokens` is needed."""
    body = {"model": "a/one", "system": "s", "messages": [{"role": "user", "content": "Hello"}]}

    answer = count_tokens(CATALOG, json.dumps(body).encode())

    assert (200, {"input_tokens": 17}) == (answer.status_code, json.loads(bytes(answer.body)))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "not valid JSON"),
        (b'{"model":"a/one"}', "messages"),
        (b'{"model":"a/two","messages":[{"role":"user","content":"x"}]}', "a/two is not a valid model ID"),
    ],
)
def test_what_is_wrong_with_a_request(body: bytes, message: str) -> None:
    """In Anthropic's shape."""
    answer = count_tokens(CATALOG, body)

    error = json.loads(bytes(answer.body))
    assert (400, "error", "invalid_request_error") == (answer.status_code, error["type"], error["error"]["type"])
    assert message in error["error"]["message"]
