"""Matching of provider names in `order`, `only` and `ignore` (OpenRouter API, provider routing, 2026-08-22).

A base slug matches every variant and region of its provider, a suffixed one matches that endpoint alone, service
tiers are matched by their full tag only, display names count as slugs, and case never matters.
"""

from collections.abc import Iterable
from typing import Final

from openrouter_gateway.core.catalog import Endpoint

_TIERS: Final = frozenset({"flex", "priority"})


def matches_any(endpoint: Endpoint, slugs: Iterable[str]) -> bool:
    """Return whether one of the slugs names this endpoint."""
    tag = endpoint.tag.lower()
    tier = tag.rpartition("/")[2] in _TIERS
    names = {endpoint.provider.slug.lower(), endpoint.provider.name.lower()}
    return any(slug.lower() == tag or (not tier and slug.lower() in names) for slug in slugs)
