"""What serving is given: one call that came in, and everything that it needs from outside."""

import random
from collections.abc import Callable, Mapping

from msgspec import Struct

from openrouter_gateway.accounting.authorize import Grant
from openrouter_gateway.accounting.response_cache import CacheWish
from openrouter_gateway.broadcast.observer import Observer, Origin
from openrouter_gateway.callers.base import Caller
from openrouter_gateway.callers.faults import Faults
from openrouter_gateway.callers.plugins import Plugins
from openrouter_gateway.core.catalog import AccountPolicy, Catalog, Endpoint
from openrouter_gateway.routing.health import Health
from openrouter_gateway.stores.accountant import Accountant
from openrouter_gateway.stores.answers import Answers
from openrouter_gateway.stores.contents import ContentLog
from openrouter_gateway.stores.ledger import Ledger
from openrouter_gateway.stores.memory import ConversationMemory
from openrouter_gateway.stores.shared_places import SharedPlaces
from openrouter_gateway.stores.shared_repeats import SharedRepeats
from openrouter_gateway.wire.skins.base import Skin


class Call(Struct, frozen=True, kw_only=True):
    """What came in: the dialect, the body, the grant of the presented key, and what the headers say."""

    skin: Skin
    body: bytes
    grant: Grant
    app_url: str | None = None
    app_title: str | None = None
    app_categories: list[str] = []
    user_agent: str | None = None
    session_id: str | None = None
    betas: tuple[str, ...] = ()
    wants_metadata: bool = False
    cache: CacheWish | None = None
    origin: Origin = Origin()

    def __repr__(self) -> str:
        return f"<Call of {len(self.body)} bytes>"


class Services(Struct, frozen=True, kw_only=True):
    """All that serving needs from outside.

    `callers` has one for each provider slug of the catalogue's endpoints; `clock` gives unix seconds, `timer` seconds
    that never jump. The limits: for the first event of an attempt, and for the whole of a request; None: none.
    `contents` is None where no content is to be kept, `repeats` where a process shares its repeated requests with none.
    """

    catalog: Catalog
    callers: Mapping[str, Caller]
    health: Health
    places: SharedPlaces
    conversations: ConversationMemory
    policy: AccountPolicy
    answers: Answers
    plugins: Plugins
    ledger: Ledger
    accountant: Accountant
    contents: ContentLog | None = None
    repeats: SharedRepeats | None = None
    observer: Observer
    clock: Callable[[], float]
    timer: Callable[[], float]
    dice: random.Random
    comment_interval_s: float
    attempt_limit_s: float | None = None
    request_limit_s: float | None = None
    faults: Faults | None = None

    def caller_of(self, endpoint: Endpoint, grant: Grant) -> Caller:
        """Return what calls an endpoint on behalf of whom a grant is."""
        caller = self.callers[endpoint.provider.slug]
        return caller if self.faults is None else self.faults.around(caller, grant)
