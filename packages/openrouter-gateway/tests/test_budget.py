"""What is reserved for a request."""

from decimal import Decimal

import msgspec
import pytest
from gateway_samples import make_endpoint, make_request

from openrouter_gateway.accounting.budget import UNSTATED_COMPLETION_TOKENS, estimate
from openrouter_gateway.core.account import Estimate

MESSAGES = [{"role": "user", "content": "x" * 363}]  # 400 bytes of JSON
ENDPOINT = make_endpoint(prompt="0.001", completion="0.01", request="0.5")


@pytest.mark.parametrize(
    ("fields", "most", "completion"),
    [
        ({}, None, UNSTATED_COMPLETION_TOKENS),
        ({}, 100, 100),
        ({}, 1_000_000, UNSTATED_COMPLETION_TOKENS),
        ({"max_tokens": 10}, 100, 10),
        ({"max_tokens": 1000}, 100, 100),
        ({"max_tokens": 100_000}, None, 100_000),
        ({"max_tokens": 10, "max_completion_tokens": 20}, None, 20),
        ({"max_tokens": 10, "n": 3}, None, 30),
    ],
)
def test_the_answer_counts_as_what_it_may_be(fields: dict[str, int], most: int | None, completion: int) -> None:
    request = make_request(messages=MESSAGES, **fields)
    endpoint = msgspec.structs.replace(ENDPOINT, max_completion_tokens=most)
    prompt = -(-len(bytes(request.fields["messages"])) // 4)
    expected = prompt * Decimal("0.001") + completion * Decimal("0.01") + Decimal("0.5")
    assert Estimate(expected, prompt + completion) == estimate(request, [endpoint])


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
