"""The response cache's rules: who wants it, and what the same request is (OpenRouter API, response cache, 2026-08-22).

Requests are the same when key, route, model and the JSON of their bodies are, down to the order of members; blanks
between them do not count.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec
from msgspec import Raw, Struct

from openrouter_gateway.core.catalog import Endpoint

DEFAULT_TTL_S: Final = 300
_LONGEST_TTL_S: Final = 86_400
_DIGITS: Final = re.compile(rb"\s*([0-9]+)")
_encode = msgspec.json.Encoder().encode


class CacheWish(Struct, frozen=True, kw_only=True):
    """A request wants its answer from the cache, and into it for `ttl_s`; `clear`: only into it."""

    ttl_s: int = DEFAULT_TTL_S
    clear: bool = False


class CachedAnswer(Struct, frozen=True, kw_only=True):
    """A complete answer: its chunks in the hub's form, and where they are from.

    `stored_at` is unix seconds, `service_tier` the endpoint's.
    """

    source_id: str
    stored_at: float
    ttl_s: int
    model: str
    provider: str
    provider_name: str
    endpoint: str
    chunks: list[Raw]
    service_tier: str | None = None

    def age_s(self, now: float) -> int:
        """Return how old it is."""
        return max(0, int(now - self.stored_at))


def read_wish(headers: Mapping[bytes, bytes]) -> CacheWish | None:
    """Return what the `X-OpenRouter-Cache*` headers ask for; None: nothing.

    Of a lifetime the leading digits count; none at all, and it is the default.
    """
    if headers.get(b"x-openrouter-cache", b"").strip().lower() != b"true":
        return None
    found = _DIGITS.match(headers.get(b"x-openrouter-cache-ttl", b""))
    ttl_s = min(max(int(found[1][:9]), 1), _LONGEST_TTL_S) if found else DEFAULT_TTL_S
    return CacheWish(ttl_s=ttl_s, clear=headers.get(b"x-openrouter-cache-clear", b"").strip().lower() == b"true")


def cache_key(key_hash: str | None, dialect: str, body: bytes) -> str:
    """Return what the answer to a body, which is JSON, is kept under. Whose key it is, is part of it.

    So is the dialect, in which the same body may be another request.
    """
    compact = msgspec.json.format(body, indent=-1)
    digest = hashlib.sha256(_encode((key_hash, dialect)))
    digest.update(compact)
    return digest.hexdigest()


def hit_headers(answer: CachedAnswer, now: float) -> list[tuple[bytes, bytes]]:
    """Return the headers of an answer from the cache."""
    age = answer.age_s(now)
    return [
        (b"x-openrouter-cache-status", b"HIT"),
        (b"x-openrouter-cache-age", b"%d" % age),
        (b"x-openrouter-cache-ttl", b"%d" % max(0, answer.ttl_s - age)),
        (b"x-openrouter-cache-source-id", answer.source_id.encode()),
    ]


def miss_headers(wish: CacheWish) -> list[tuple[bytes, bytes]]:
    """Return the headers of an answer that will be in the cache."""
    return [(b"x-openrouter-cache-status", b"MISS"), (b"x-openrouter-cache-ttl", b"%d" % wish.ttl_s)]


class Place(NamedTuple):
    """Who answered."""

    model: str | None = None
    provider: str | None = None
    provider_name: str | None = None
    endpoint: str | None = None
    service_tier: str | None = None
    cache_source_id: str | None = None


def place_of(endpoint: Endpoint | None, source: CachedAnswer | None) -> Place:
    """Return who answered: an endpoint, now or when what the cache has was made, or nobody."""
    if endpoint is not None:
        provider = endpoint.provider
        return Place(endpoint.model_id, provider.slug, provider.name, endpoint.tag, endpoint.service_tier)
    if source is not None:
        place = (source.model, source.provider, source.provider_name, source.endpoint, source.service_tier)
        return Place(*place, source.source_id)
    return Place()
