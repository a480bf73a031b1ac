"""What is reserved for a request."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from gateway_samples import make_endpoint, make_request

from openrouter_gateway.accounting.budget import MOST_UNSTATED_TOKENS, TYPICAL_COMPLETION_TOKENS, estimate
from openrouter_gateway.core.account import Estimate
from openrouter_gateway.core.catalog import Price, PriceOverride

MESSAGES = [{"role": "user", "content": "x" * 363}]  # 396 bytes of JSON
ENDPOINT = make_endpoint(prompt="0.001", completion="0.01", request="0.5")


PROMPT = 99


@pytest.mark.parametrize(
    ("fields", "most", "context", "completion"),
    [
        ({}, None, None, MOST_UNSTATED_TOKENS),
        ({}, 100, None, 100),
        ({}, 1_000_000, None, MOST_UNSTATED_TOKENS),
        ({}, None, 8_192, 8_192 - PROMPT),
        ({}, 16_384, 8_192, 8_192 - PROMPT),
        ({}, 1_000, 8_192, 1_000),
        ({}, None, 50, 1),
        ({}, None, 1_000_000, MOST_UNSTATED_TOKENS),
        ({"n": 2}, 100, None, 200),
        ({"max_tokens": 10}, 100, None, 10),
        ({"max_tokens": 1000}, 100, None, 100),
        ({"max_tokens": 100_000}, None, None, 100_000),
        ({"max_tokens": 10, "max_completion_tokens": 20}, None, None, 20),
        ({"max_tokens": 10, "n": 3}, None, None, 30),
    ],
)
def test_the_answer_counts_as_the_longest_that_it_may_be(
    fields: dict[str, int], most: int | None, context: int | None, completion: int
) -> None:
    """In money; rates of tokens take an answer whose length is not stated for a typical one."""
    request = make_request(messages=MESSAGES, **fields)
    endpoint = msgspec.structs.replace(ENDPOINT, max_completion_tokens=most, context_length=context)
    assert PROMPT == -(-request.prompt_size // 4)
    typical = TYPICAL_COMPLETION_TOKENS * fields.get("n", 1)
    expected = PROMPT * Decimal("0.001") + completion * Decimal("0.01") + Decimal("0.5")
    tokens = completion if "max_tokens" in fields else min(completion, typical)
    assert Estimate(expected, PROMPT + tokens) == estimate(request, [endpoint])


IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/1.png"}}


@pytest.mark.parametrize(
    ("fields", "price", "expected"),
    [
        ({}, {"cache_write": 3}, {"prompt": 3, "completion": 2}),
        ({}, {"cache_write": "0.5", "cache_read": 9}, {"prompt": 1, "completion": 2}),
        ({}, {"cache_write_1h": 4}, {"prompt": 1, "completion": 2}),
        ({"cache_control": {"type": "ephemeral", "ttl": "1h"}}, {"cache_write_1h": 4}, {"prompt": 4, "completion": 2}),
        ({}, {"internal_reasoning": 5}, {"prompt": 1, "completion": 5}),
        ({}, {"image_output": 6, "audio_output": 5}, {"prompt": 1, "completion": 6}),
        ({}, {"image": 7, "image_token": 7, "audio": 7, "web_search": 7}, {"prompt": 1, "completion": 2}),
        (
            {"messages": [{"role": "user", "content": [IMAGE, IMAGE]}]},
            {"image": 7, "image_token": 3},
            {"prompt": 3, "completion": 2, "fixed": 14},
        ),
        ({"plugins": [{"id": "web", "max_uses": 2}]}, {"web_search": 7}, {"prompt": 1, "completion": 2, "fixed": 14}),
        ({"web_search_options": {}}, {"web_search": 1}, {"prompt": 1, "completion": 2, "fixed": 5}),
    ],
)
def test_every_token_counts_at_its_dearest_rate(
    fields: dict[str, Any], price: dict[str, Any], expected: dict[str, int]
) -> None:
    """What is priced apart counts where the request may have it; searches and images by the piece."""
    request = make_request(max_tokens=10, **fields)
    rates = {name: Decimal(rate) for name, rate in ({"prompt": 1, "completion": 2} | price).items()}
    endpoint = msgspec.structs.replace(ENDPOINT, price=Price(**rates))
    prompt = -(-request.prompt_size // 4)
    cost = prompt * expected["prompt"] + 10 * expected["completion"] + expected.get("fixed", 0)
    assert cost == estimate(request, [endpoint]).cost


def test_a_long_prompt_counts_at_its_price() -> None:
    """From half of the length on, as a token may be two bytes."""
    override = PriceOverride(min_prompt_tokens=150, rates={"prompt": Decimal(3)})
    endpoint = msgspec.structs.replace(ENDPOINT, price=Price(prompt=Decimal(1), overrides=(override,)))
    assert 3 * PROMPT == estimate(make_request(messages=MESSAGES, max_tokens=1), [endpoint]).cost
    short = make_request(max_tokens=1)
    assert -(-short.prompt_size // 4) == estimate(short, [endpoint]).cost


def test_the_dearest_endpoint_counts() -> None:
    """Any of them may be the one that serves."""
    cheap, dear = make_endpoint(prompt="0", completion="0.01"), make_endpoint(prompt="0", completion="0.02")
    request = make_request(max_tokens=5)
    assert estimate(request, [cheap, dear]).cost == estimate(request, [dear, cheap]).cost == Decimal("0.10")


def test_what_has_no_price_costs_nothing() -> None:
    found = estimate(make_request(max_tokens=5), [make_endpoint(prompt=None)])
    assert found.cost == 0
    assert found.tokens > 5


def test_tools_are_part_of_the_prompt() -> None:
    tool = {"type": "function", "function": {"name": "f", "description": "d" * 400}}
    plain, tools = make_request(max_tokens=5), make_request(max_tokens=5, tools=[tool])
    assert estimate(tools, [ENDPOINT]).tokens > estimate(plain, [ENDPOINT]).tokens + 100
