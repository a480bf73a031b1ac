"""Zero-completion insurance: which generations are billed."""

import pytest

from openrouter_gateway.accounting.insurance import is_billed
from openrouter_gateway.core.usage import Usage


@pytest.mark.parametrize(
    ("completion_tokens", "finish_reason", "expected"),
    [
        (0, None, False),
        (0, "", False),
        (0, " ", False),
        (0, "stop", True),
        (0, "content_filter", True),
        (5, None, True),  # the caller hung up
        (5, "", True),
        (5, "stop", True),
        (5, "length", True),
        (5, "error", False),
        (0, "error", False),
    ],
)
def test_what_is_billed(completion_tokens: int, finish_reason: str | None, *, expected: bool) -> None:
    """Not what is empty and without a reason, and not errors, whatever came before them."""
    assert expected == is_billed(Usage(prompt_tokens=9, completion_tokens=completion_tokens), finish_reason)
