"""A caller's transport that sends the head of an answer in one piece with what follows it.

Uvicorn writes the two apart, and an idle transport sends each at once: a system call, a packet and a wake-up of the
caller more for every answer, which is a fiftieth of what a short request costs.
"""

import asyncio
from typing import Any, Final

_HEAD: Final = b"HTTP/1.1 "


class WholeAnswers(asyncio.Transport):
    """A head waits for the body's first bytes, at most until the running callback of the event loop is over."""

    __slots__ = ("_held", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._held = b""

    def __repr__(self) -> str:
        return f"<WholeAnswers over {self._transport!r}>"

    def write(self, data: Any) -> None:
        """See `asyncio.WriteTransport`."""
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held + data)
        elif data.startswith(_HEAD):
            self._held = data
            self._loop.call_soon(self._flush)
        else:
            self._transport.write(data)

    def _flush(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            if not self._transport.is_closing():  # a closed one of uvloop raises
                self._transport.write(held)

    def close(self) -> None:
        """See `asyncio.BaseTransport`: what was written is sent first."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """See `asyncio.WriteTransport`: what is not sent is lost."""
        self._held = b""
        self._transport.abort()

    # As the transport does it

    def is_closing(self) -> bool:
        """See `asyncio.BaseTransport`."""
        return self._transport.is_closing()

    def pause_reading(self) -> None:
        """See `asyncio.ReadTransport`."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """See `asyncio.ReadTransport`."""
        self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See `asyncio.BaseTransport`."""
        return self._transport.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        """See `asyncio.WriteTransport`."""
        return self._transport.get_write_buffer_size() + len(self._held)
