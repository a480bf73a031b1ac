"""Canonical slugs and days of creation, out of the names that price tables know models by."""

from datetime import UTC, datetime

import pytest

from openrouter_gateway.config.canonical import canonical_slug, creation_of


@pytest.mark.parametrize(
    ("model_id", "names", "expected"),
    [
        ("openai/gpt-5", ["gpt-5-2025-08-07", "openai/gpt-5", "openai/gpt-5-2025-08-07"], "openai/gpt-5-2025-08-07"),
        ("anthropic/claude-haiku-4.5", ["anthropic/claude-4.5-haiku-20251001"], "anthropic/claude-4.5-haiku-20251001"),
        ("mistralai/m-3-5", ["mistralai/m-3.5-20260430"], "mistralai/m-3.5-20260430"),
        ("a/one", ["a/one-20260102", "a/one-20250102"], "a/one-20250102"),
        ("a/one:free", ["a/one-20260102"], "a/one-20260102"),
        ("a/one-0731", ["a/one-20260731"], "a/one-20260731"),
        ("a/one-2026-01-02", ["a/one-2026-09-09"], "a/one-2026-01-02"),
        ("anthropic/claude-opus-4", ["anthropic/claude-4.1-opus-20250805"], ""),
        ("a/one-6v", ["a/one-6-20251208"], ""),
        ("a/one", ["b/one-20260102", "a/one-pro-20260102", "a/one"], ""),
    ],
)
def test_the_canonical_slug(model_id: str, names: list[str], expected: str) -> None:
    """The earliest dated name that is made of the id's words; other models at the same price do not count."""
    assert expected == canonical_slug(model_id, names)


@pytest.mark.parametrize(
    ("model_id", "slug", "expected"),
    [
        ("a/one", "a/one-20260102", (2026, 1, 2)),
        ("a/one", "a/one-2026-01-02", (2026, 1, 2)),
        ("a/one-2512", "", (2025, 12, 1)),
        ("a/one-2512:free", "", (2025, 12, 1)),
        ("a/one", "a/one-20260230", None),
        ("a/one-8192", "", None),
        ("a/one", "", None),
    ],
)
def test_the_day_of_creation(model_id: str, slug: str, expected: tuple[int, int, int] | None) -> None:
    """That of the slug, or the month that the id has; none where neither has one."""
    made = 0 if expected is None else int(datetime(*expected, tzinfo=UTC).timestamp())

    assert made == creation_of(model_id, slug)
