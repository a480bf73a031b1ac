"""What is known of a generation when it is offered for broadcast."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from openrouter_gateway.core.generation import Generation


class Record(Struct, frozen=True, kw_only=True):
    """One generation, with its content if it is to be sent.

    Content is passed by reference and read later, so nobody may change it. Each value of `request`, the request's
    top-level fields, and `reply` may be an undecoded JSON document (`msgspec.Raw`), which costs the request path
    nothing. `reply` is the list of the answer's messages, one per choice, or a function that returns it.
    `size_bytes` is about what callers' own words take up in memory, content or not; the queue bounds its sum.
    `traceparent` is the request's header of that name, `request_id` what log lines call the request.
    """

    generation: Generation
    request: Mapping[str, Any] | None = None
    reply: Any = None
    traceparent: str | None = None
    key_name: str | None = None
    request_id: str | None = None
    size_bytes: int = 0

    def __repr__(self) -> str:
        return f"<Record {self.generation.id}>"
