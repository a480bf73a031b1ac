"""Keys, what they may use, and what a request takes of it. Amounts are USD; times are unix seconds."""

from decimal import Decimal
from typing import Literal, TypeAlias

from msgspec import Struct

Reset: TypeAlias = Literal["daily", "weekly", "monthly"]
"""When a key's limit starts anew: at 00:00 UTC, every day, every Monday, on the first of every month."""


class Rates(Struct, frozen=True, kw_only=True, gc=False):
    """A key's rate limits; None: unlimited. Minutes slide: no 60 seconds ever have more."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None


class Key(Struct, frozen=True, kw_only=True):
    """A key of the store. `hash` is the SHA-256 of the key in hex, `label` a masked form to know it by.

    `limit` is USD per period of `limit_reset`, or in all; None: unlimited. Management keys run no inference.
    """

    hash: str
    label: str
    name: str
    created_at: float
    updated_at: float | None = None
    expires_at: float | None = None
    management: bool = False
    disabled: bool = False
    limit: Decimal | None = None
    limit_reset: Reset | None = None
    include_byok_in_limit: bool = False
    rates: Rates = Rates()


class Estimate(Struct, frozen=True, gc=False):
    """What a request is expected to take at most: USD and tokens."""

    cost: Decimal
    tokens: int
