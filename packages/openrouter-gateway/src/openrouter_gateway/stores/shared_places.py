"""Places at endpoints that may only have so many requests at a time, counted over all processes that share a state."""

import asyncio
from collections.abc import Callable, Set
from typing import Final

from openrouter_gateway.core.account import Rates
from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.errors import GatewayError
from openrouter_gateway.routing.places import Places
from openrouter_gateway.stores.state import Claim, SharedState

_RETRY_S: Final = 1.0
_RETRIES: Final = 60


class SharedPlaces:
    """One per process. What this process has at a time is counted here; a server adds what the others have.

    After `ask_again_s` without a place, plans count on one again. While the server does not answer, this process goes
    by its own count: the limit is a provider's patience, not money.
    """

    def __init__(self, state: SharedState, clock: Callable[[], float], *, ask_again_s: float = 1.0) -> None:
        self._own = Places()
        self._state = state
        self._clock = clock
        self._ask_again_s = ask_again_s
        self._claims: dict[str, Claim] = {}
        self._returning: set[asyncio.Task[None]] = set()
        self._asking: dict[str, asyncio.TimerHandle] = {}

    def __repr__(self) -> str:
        return f"<SharedPlaces {self._own}>"

    @property
    def busy(self) -> Set[str]:
        """The keys of the endpoints that can take no more: plans put them last."""
        return self._own.busy

    async def take(self, endpoint: Endpoint, name: str) -> bool:
        """Take a place by a name that is used once, and return whether there was one."""
        if endpoint.max_concurrent is None:
            return True
        if not self._own.take(endpoint):
            return False
        if not self._state.suspends:
            return True
        claim = Claim(
            id=name,
            key=f"endpoint:{endpoint.key}",
            budgets=(),
            rates=Rates(concurrent_requests=endpoint.max_concurrent),
            estimate=0,
            tokens=0,
            now=self._clock(),
        )
        self._claims[name] = claim  # also when the answer does not come: it may have been taken
        try:
            refused = await self._state.reserve(claim) is not None
        except GatewayError:
            return True
        except asyncio.CancelledError:
            self.give_back(endpoint, name)
            raise
        if refused:
            del self._claims[name]
            self._own.give_back(endpoint)
            self._put_last(endpoint)
        return not refused

    def give_back(self, endpoint: Endpoint, name: str) -> None:
        """Give back a place that was taken for this very endpoint, by its name."""
        if endpoint.max_concurrent is None:
            return
        self._own.give_back(endpoint)
        claim = self._claims.pop(name, None)
        if claim is not None:
            task = asyncio.get_running_loop().create_task(self._return(claim), name="place")
            self._returning.add(task)
            task.add_done_callback(self._returning.discard)

    async def close(self, timeout_s: float = 1.0) -> None:
        """Wait for what is being given back. What is not is free once the process is known to be gone."""
        for timer in self._asking.values():
            timer.cancel()
        if self._returning:
            _, late = await asyncio.wait(self._returning, timeout=timeout_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _return(self, claim: Claim) -> None:
        for _ in range(_RETRIES):
            try:
                await self._state.settle(claim, 0, 0, 0)
            except GatewayError:
                await asyncio.sleep(_RETRY_S)
            else:
                return

    def _put_last(self, endpoint: Endpoint) -> None:
        """Others have all places: plan with other endpoints for a moment, then ask again."""
        key = endpoint.key
        self._own.busy.add(key)
        if key not in self._asking:
            self._asking[key] = asyncio.get_running_loop().call_later(self._ask_again_s, self._ask_again, endpoint)

    def _ask_again(self, endpoint: Endpoint) -> None:
        del self._asking[endpoint.key]
        self._own.ask_again(endpoint)
