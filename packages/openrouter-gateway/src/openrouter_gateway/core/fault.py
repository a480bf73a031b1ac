"""Faults that are scripted, for applications to be tested with: which calls of which endpoints fail, and how."""

from fnmatch import fnmatchcase
from typing import Literal, TypeAlias

from msgspec import Struct

from openrouter_gateway.core.catalog import Endpoint

FaultKind: TypeAlias = Literal["rate_limit", "error", "timeout", "slow_first_token", "cut_stream", "broken_tool_json"]


class Fault(Struct, frozen=True, kw_only=True):
    """One fault. Empty tuples: all models, providers or keys.

    `models` are patterns of model ids with * ? [ ], `providers` are slugs or tags, `keys` names, labels or hashes.
    `every`: the n-th of the calls that fit, and each n-th after it; `probability` of those; `times`: at most so many.
    """

    kind: FaultKind
    name: str
    models: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    every: int = 1
    probability: float = 1.0
    times: int | None = None
    seed: int = 0
    message: str = ""
    status: int = 500
    retry_after_s: int | None = None
    delay_s: float = 0.0
    after_chunks: int = 1

    def fits(self, endpoint: Endpoint, caller: frozenset[str]) -> bool:
        """Return whether it is about this endpoint and a key that goes by these names."""
        return (
            (not self.models or any(fnmatchcase(endpoint.model_id, pattern) for pattern in self.models))
            and (not self.providers or endpoint.tag in self.providers or endpoint.provider.slug in self.providers)
            and (not self.keys or not caller.isdisjoint(self.keys))
        )
