"""What a destination was to get when something was encoded for it, and whether it still may have that. Pure."""

import hashlib
from typing import Final

import msgspec
from msgspec import Struct

from openrouter_gateway.core.destination import Destination

_EXTRAS: Final = (
    "broadcast_generation_cost",
    "broadcast_generation_identity",
    "broadcast_generation_request_context",
)
_ENOUGH: Final = 16
"""Digits of a hash that tell it from others: it is kept with every payload."""


class Terms(Struct, frozen=True, kw_only=True, array_like=True):
    """Which generations, and how much of them. Without `keys`, those of all; `rules` are told apart, not known."""

    content: bool = True
    extras: list[str] = []
    keys: list[str] | None = None
    rules: str = ""

    def cover(self, earlier: "Terms | None") -> bool:
        """Return whether what was encoded on earlier terms may be sent on these.

        Of what an older version left on disk the terms are not known: it may have content, of any generation.
        """
        then = earlier or _UNKNOWN
        return (
            (self.content or not then.content)
            and set(then.extras) <= set(self.extras)
            and (self.keys is None or (then.keys is not None and set(then.keys) <= set(self.keys)))
            and self.rules in ("", then.rules)
        )


_UNKNOWN: Final = Terms()


def terms_of(destination: Destination) -> Terms:
    """Return what a destination is to get. Its sampling is left out: that says how many, and not which may be seen."""
    rules, hashes = destination.filter_rules, destination.api_key_hashes
    return Terms(
        content=not destination.privacy_mode,
        extras=[name for name in _EXTRAS if getattr(destination, name)],
        keys=None if hashes is None else [each[:_ENOUGH] for each in hashes],
        rules=hashlib.sha256(msgspec.json.encode(rules)).hexdigest()[:_ENOUGH]
        if rules is not None and rules.enabled and rules.groups
        else "",
    )
