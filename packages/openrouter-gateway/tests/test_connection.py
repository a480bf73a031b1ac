"""The parts of the server's connection that decide on bytes."""

import asyncio
from typing import Any

import pytest

from openrouter_gateway.edge.connection import without_h2c_offer
from openrouter_gateway.edge.transport import WholeAnswers

BODY = b"upgrade: h2c\r\nis fine in a body"


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAM\r\nHost: a", b"Host: a"),
        (b"Host: a\r\nUPGRADE:h2c\r\nconnection: keep-alive, upgrade", b"Host: a\r\nconnection: keep-alive"),
        (b"Host: a\r\nUpgrade: websocket\r\nConnection: Upgrade", None),
        (b"Host: a\r\nX-Note: h2c", None),
        (b"Host: a\r\nUpgrade: h2c-not", None),
    ],
)
def test_the_offer_is_taken_out_and_nothing_else(head: bytes, expected: bytes | None) -> None:
    """Other upgrades, other headers and the body stay as they are."""
    request = b"POST /x HTTP/1.1\r\n%b\r\n\r\n%b"

    assert request % (head if expected is None else expected, BODY) == without_h2c_offer(request % (head, BODY))


def test_an_incomplete_head_is_left_alone() -> None:
    """What is to be taken out may not be there yet."""
    data = b"POST /x HTTP/1.1\r\nUpgrade: h2c\r\n"

    assert data == without_h2c_offer(data)


class Wire(asyncio.Transport):
    """What a transport was told, in order."""

    def __init__(self) -> None:
        self.told: list[bytes | str] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.is_closing():
            raise RuntimeError("the handler is closed")  # as uvloop's does
        self.told.append(bytes(data))

    def is_closing(self) -> bool:
        return "closed" in self.told

    def close(self) -> None:
        self.told.append("closed")

    def abort(self) -> None:
        self.told.append("aborted")

    def get_write_buffer_size(self) -> int:
        return 0


class TestWholeAnswers:
    """A head goes out with what follows it."""

    HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"

    async def test_in_one_piece(self) -> None:
        wire = Wire()
        transport = WholeAnswers(wire)
        transport.write(self.HEAD)
        assert (wire.told, transport.get_write_buffer_size()) == ([], len(self.HEAD))
        for piece in (b"{}", b"more", self.HEAD, b""):
            transport.write(piece)
        await asyncio.sleep(0)
        assert wire.told == [self.HEAD + b"{}", b"more", self.HEAD]

    async def test_a_head_alone_waits_for_no_body(self) -> None:
        """A stream's first bytes may be long in coming, and an answer to HEAD has none."""
        wire = Wire()
        transport = WholeAnswers(wire)
        transport.write(self.HEAD)
        await asyncio.sleep(0)
        assert wire.told == [self.HEAD]
        transport.write(b"data: 1")
        assert wire.told == [self.HEAD, b"data: 1"]

    async def test_a_caller_who_is_gone_gets_nothing(self) -> None:
        """Between a head and the end of the callback the connection may have been lost."""
        wire = Wire()
        transport = WholeAnswers(wire)
        transport.write(self.HEAD)
        wire.close()
        failures: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
        await asyncio.sleep(0)
        assert (wire.told, failures) == (["closed"], [])

    @pytest.mark.parametrize(("end", "told"), [("close", [HEAD, "closed"]), ("abort", ["aborted"])])
    async def test_the_end(self, end: str, told: list[bytes | str]) -> None:
        """Closing loses nothing, aborting sends nothing."""
        wire = Wire()
        transport = WholeAnswers(wire)
        transport.write(self.HEAD)
        getattr(transport, end)()
        await asyncio.sleep(0)
        assert wire.told == told
