"""How many requests each endpoint has at a time, for those that may only have so many."""

from openrouter_gateway.core.catalog import Endpoint


class Places:
    """Counts of one process. `busy` has the keys of the endpoints that can take no more: plans put them last."""

    def __init__(self) -> None:
        self._running: dict[str, int] = {}
        self.busy: set[str] = set()

    def __repr__(self) -> str:
        return f"<Places {self._running}>"

    def take(self, endpoint: Endpoint) -> bool:
        """Take a place, and return whether there was one."""
        most = endpoint.max_concurrent
        if most is None:
            return True
        key = endpoint.key
        running = self._running.get(key, 0)
        if running >= most:
            self.busy.add(key)  # a reload may have lowered it
            return False
        self._running[key] = running + 1
        if running + 1 >= most:
            self.busy.add(key)
        return True

    def ask_again(self, endpoint: Endpoint) -> None:
        """Places that other processes had taken may be free by now."""
        most = endpoint.max_concurrent
        if most is None or self._running.get(endpoint.key, 0) < most:
            self.busy.discard(endpoint.key)

    def give_back(self, endpoint: Endpoint) -> None:
        """Give a place back that was taken for this very endpoint."""
        if endpoint.max_concurrent is None:
            return
        key = endpoint.key
        left = self._running.get(key, 0) - 1
        if left > 0:
            self._running[key] = left
        else:
            self._running.pop(key, None)
        if left < endpoint.max_concurrent:
            self.busy.discard(key)
