"""Single requests to addresses of the operator's choice, through a pool of connections: for what is sent aside."""

from collections.abc import Mapping
from typing import Final

from openrouter_gateway.callers.pool import Pool
from openrouter_gateway.callers.target import Target

_MOST_BYTES: Final = 64 * 1024
_MOST_KEPT: Final = 16 * 1024


class Sender:
    """Sends a request, and reads the whole of a short answer."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, str | None, bytes]:
        """Return the answer's status, its `Retry-After` header and the beginning of its body. No redirect is followed.

        Raises:
            ConfigError: the URL or a header cannot be sent.
            UpstreamError: there is no answer.
        """
        reply = await self._pool.post(Target.from_parts(url, headers, method=method), body)
        try:
            read, kept = 0, b""
            while data := await reply.read_some():  # so that the connection can be used again
                read += len(data)
                kept += data[: _MOST_KEPT - len(kept)]
                if read > _MOST_BYTES:
                    break
            return reply.status, reply.headers.get("Retry-After"), kept
        finally:
            reply.close()
