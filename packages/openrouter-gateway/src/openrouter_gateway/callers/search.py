"""Searches of the web for the `web` plugin, through the engine that the configuration names."""

import asyncio
from typing import Final
from typing import Protocol as Interface

from openrouter_gateway.callers.pool import Answer, Poster, Target
from openrouter_gateway.errors import TimedOut, Unavailable, UpstreamError
from openrouter_gateway.plugins.engines import ENGINES, NotResults, read_results
from openrouter_gateway.plugins.web import SearchQuery, SearchResult, keep_admitted

_MOST_BYTES: Final = 4 * 1024 * 1024


class SearchEngine(Interface):
    """What searches the web. `name` is what requests may call it by."""

    name: str

    async def search(self, query: SearchQuery) -> list[SearchResult]:
        """Return what was found.

        Raises:
            UpstreamError: nothing, because the engine failed.
        """
        ...


class HTTPSearchEngine:
    """One of `plugins.engines` at its address, with the gateway's key for it."""

    def __init__(self, pool: Poster, name: str, *, base_url: str | None, key: str, timeout_s: float) -> None:
        """Raises `KeyError` for an engine that is not known, `ConfigError` for an address that cannot be one."""
        self.name = name
        self._pool = pool
        self._engine = ENGINES[name]
        self._timeout_s = timeout_s
        url = (base_url or self._engine.base_url or "").rstrip("/") + self._engine.path
        self._target = Target.from_parts(url, self._engine.headers(key), key)

    def __repr__(self) -> str:
        return f"<HTTPSearchEngine {self.name} at {self._target.origin}>"

    async def search(self, query: SearchQuery) -> list[SearchResult]:
        """See `SearchEngine`."""
        try:
            async with asyncio.timeout(self._timeout_s):
                body = await self._ask(self._engine.body(query))
            return keep_admitted(read_results(self._engine, body), query)
        except TimeoutError:
            raise TimedOut(f"Web search: {self.name} did not answer in time", provider=self.name) from None
        except NotResults:
            raise Unavailable(f"Web search: {self.name} answered something else", provider=self.name) from None
        except UpstreamError as error:
            raise type(error)(f"Web search: {self.name} failed: {error.message}", provider=self.name) from None

    async def _ask(self, body: bytes) -> bytes:
        reply: Answer | None = None
        try:
            reply = await self._pool.post(self._target, body)
            if reply.status != 200:
                # Its body is not told: it may quote the key.
                raise Unavailable(f"it answered {reply.status}", provider_status=reply.status)
            pieces = bytearray()
            while data := await reply.read_some():
                pieces += data
                if len(pieces) > _MOST_BYTES:
                    raise Unavailable("its answer is too long")
            return bytes(pieces)
        finally:
            if reply is not None:
                reply.close()
