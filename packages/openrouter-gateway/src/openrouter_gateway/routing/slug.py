"""Matching of provider names in `order`, `only` and `ignore` (OpenRouter API, provider routing, 2026-08-22).

A base slug matches every variant and region of its provider, a suffixed one matches that endpoint alone, service
tiers are matched by their full tag only, display names count as slugs, and case never matters.

A service tier that a request admits by other means (`service_tier`, `:nitro`, `:floor`) is one more endpoint of its
provider: then `full_names` apply.
"""

from collections.abc import Iterable

from openrouter_gateway.core.catalog import Endpoint


def full_names(endpoint: Endpoint) -> frozenset[str]:
    """Return the lower-case names of an endpoint: its tag, its provider's slug and display name."""
    provider = endpoint.provider
    return frozenset({endpoint.tag.lower(), provider.slug.lower(), provider.name.lower()})


def names_of(endpoint: Endpoint) -> frozenset[str]:
    """Return the lower-case names that select an endpoint where no service tier was asked for."""
    return full_names(endpoint) if endpoint.service_tier is None else frozenset({endpoint.tag.lower()})


def matches_any(endpoint: Endpoint, slugs: Iterable[str]) -> bool:
    """Return whether one of the slugs names this endpoint."""
    return not names_of(endpoint).isdisjoint(slug.lower() for slug in slugs)
