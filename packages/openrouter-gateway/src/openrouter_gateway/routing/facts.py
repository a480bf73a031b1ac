"""What a plan depends on besides the request and the catalogue: fetched by the shell, passed as a value."""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet

from msgspec import Struct

from openrouter_gateway.core.catalog import AccountPolicy
from openrouter_gateway.core.health import EndpointHealth


class Remembered(Struct, frozen=True, kw_only=True):
    """Where a conversation was served last: the listed model, and the endpoint's key."""

    model: str
    endpoint: str


class Facts(Struct, frozen=True, kw_only=True):
    """The circumstances of one request.

    `now` is seconds of the clock that `health` was measured with. `dice` returns numbers from 0 up to 1; without it
    nothing is drawn: the cheapest goes first. `health` is by endpoint key, as is `busy`, the endpoints at their
    concurrency limit. `remembered` is what `sticky.conversation_of` found in the store. `runs` are the plugins that
    this gateway itself runs on prompts: what they do, endpoints need not. `search_engine` is what its `web` plugin
    searches with, if it has one. The limits are handed through to the plan.
    """

    now: float = 0.0
    dice: Callable[[], float] | None = None
    health: Mapping[str, EndpointHealth] = {}
    busy: AbstractSet[str] = frozenset()
    policy: AccountPolicy = AccountPolicy()
    remembered: Remembered | None = None
    runs: AbstractSet[str] = frozenset()
    search_engine: str | None = None
    attempt_limit_s: float | None = None
    request_limit_s: float | None = None
