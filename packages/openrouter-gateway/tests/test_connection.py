"""The parts of the server's connection that decide on bytes."""

import pytest

from openrouter_gateway.edge.connection import without_h2c_offer

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
