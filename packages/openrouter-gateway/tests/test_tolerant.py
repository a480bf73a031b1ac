"""Reading of counts and amounts that providers get slightly wrong, and of finish reasons."""

import math
from decimal import Decimal

import pytest
from gateway_samples import ANY_JSON
from hypothesis import given

from openrouter_gateway.core.finish import to_finish_reason
from openrouter_gateway.wire.tolerant import as_amount, as_count


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        (0.1, "0.1"),
        (1e-7, "1E-7"),
        (3, "3"),
        ("0.25", "0.25"),
        (None, None),
        (True, None),
        ("free", None),
        ("NaN", None),
        ("Infinity", None),
        (math.inf, None),
        ([], None),
        (-1, None),
        (-0.5, None),
        ("-0.1", None),
        (math.nan, None),
        (1e300, None),
        (10**500, None),
        (10**9, None),
        ("1e999999", None),
        ("1e-999999", None),
        ("0e999999", None),
        ("1" + "0" * 5000, None),
        ("0", "0"),
        (-0.0, "0"),
        (999_999_999, "999999999"),
    ],
)
def test_amounts(value: object, amount: str | None) -> None:
    """The digits that were sent, not their binary neighbours; no finite number, no amount."""
    assert (None if amount is None else Decimal(amount)) == as_amount(value)


@pytest.mark.parametrize("count", [10**15, 2**64 - 1, 10**500, 1e15])
def test_a_count_that_nothing_has(count: float) -> None:
    """It would make sums that JSON parsers do not take."""
    assert as_count(count) == 0


@given(ANY_JSON)
def test_any_value_is_a_count_or_nothing(value: object) -> None:
    """A count is a whole number that is not negative."""
    count = as_count(value)

    assert int is type(count)
    assert count >= 0


@given(ANY_JSON)
def test_any_value_is_an_amount_or_nothing(value: object) -> None:
    """An amount is finite and not negative."""
    amount = as_amount(value)

    assert amount is None or (amount.is_finite() and amount >= 0)


@pytest.mark.parametrize(
    ("native", "reason"),
    [
        ("stop", "stop"),
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("STOP", "stop"),
        ("eos", "stop"),
        ("completed", "stop"),
        ("COMPLETE", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("MAX_TOKENS", "length"),
        ("model_length", "length"),
        ("tool_calls", "tool_calls"),
        ("tool_use", "tool_calls"),
        ("function_call", "tool_calls"),
        ("content_filter", "content_filter"),
        ("refusal", "content_filter"),
        ("SAFETY", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("error", "error"),
        ("MALFORMED_FUNCTION_CALL", "error"),
        ("abracadabra", "stop"),
    ],
)
def test_finish_reasons(native: str, reason: str) -> None:
    """Every native word has one of OpenRouter's five."""
    assert reason == to_finish_reason(native)
