"""What the built-in catalogue says of providers and models, and what planning makes of it."""

from typing import Any

import pytest

from openrouter_gateway.config.rows import load_provider_rows

ROWS = load_provider_rows()
LOCAL_SERVERS = {"ollama", "vllm", "lm-studio", "llama-cpp"}
KEEPING_NOTHING = {"cerebras", "deepinfra", "fireworks", "perplexity", "z-ai", *LOCAL_SERVERS}
NOT_TRAINING = {*KEEPING_NOTHING, "anthropic", "openai", "together", "xai"}
SILENT = {"groq", "hugging-face", "minimax", "moonshotai", "novita", "nvidia", "openrouter"}


class TestPolicies:
    """What providers do with prompts."""

    @pytest.mark.parametrize(
        ("field", "said", "expected"),
        [
            ("retains", False, KEEPING_NOTHING),
            ("retains", True, {"anthropic", "deepseek", "google-ai-studio", "mistral", "openai", "together", "xai"}),
            ("trains", False, NOT_TRAINING),
            ("trains", True, {"deepseek"}),
            ("trains", None, {"google-ai-studio", "mistral", *SILENT}),
        ],
    )
    def test_they_are_what_is_public(self, field: str, said: Any, expected: set[str]) -> None:
        """As the documentation's table has it; what is not known is not said."""
        assert expected == {slug for slug, row in ROWS.items() if getattr(row, field) is said}

    def test_who_keeps_nothing_trains_on_nothing(self) -> None:
        """The one implies the other."""
        assert all(row.trains is False for row in ROWS.values() if row.retains is False)

    def test_companies_have_a_seat(self) -> None:
        """Servers of one's own have none."""
        assert LOCAL_SERVERS == {slug for slug, row in ROWS.items() if row.headquarters is None}
