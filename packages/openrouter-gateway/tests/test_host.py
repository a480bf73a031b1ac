"""Which sites may speak to the gateway."""

import pytest

from openrouter_gateway.edge.host import HostCheck, host_name
from openrouter_gateway.errors import HostRefused

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


@pytest.mark.parametrize(
    ("authority", "name"),
    [
        ("localhost", "localhost"),
        ("LocalHost:8787", "localhost"),
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1:8787", "127.0.0.1"),
        ("[::1]", "::1"),
        ("[::1]:8787", "::1"),
        ("[FE80::1]:80", "fe80::1"),
        ("example.com:443", "example.com"),
        ("", ""),
        (":80", ""),
    ],
)
def test_names(authority: str, name: str) -> None:
    """The port goes, the brackets of IPv6 go, case goes."""
    assert name == host_name(authority)


CHECK = HostCheck(LOOPBACK_NAMES | {"gateway.example"})


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        (b"localhost", None),
        (b"localhost:8787", None),
        (b"LOCALHOST:1", None),
        (b"127.0.0.1:8787", b"http://127.0.0.1:3000"),
        (b"[::1]:8787", b"http://[::1]:3000"),
        (b"gateway.example", b"https://Gateway.Example"),
        (b"localhost", b"http://localhost:5173"),
    ],
)
def test_sites_on_the_list_pass(host: bytes, origin: bytes | None) -> None:
    """On any port, and again when they come back."""
    headers = {b"host": host} | ({} if origin is None else {b"origin": origin})

    for _ in range(2):
        CHECK.check(headers)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"host": b""},
        {b"host": b":8787"},
        {b"host": b"evil.example"},
        {b"host": b"localhost.evil.example"},
        {b"host": b"127.0.0.1.evil.example:8787"},
        {b"host": b"evil.example:8787"},
        {b"host": b"192.168.0.1"},
        {b"host": b"\xff\xfe"},
        {b"host": b"[::2]"},
        {b"host": b"[::1]evil.example"},
        {b"host": b"http://localhost"},
        {b"host": b"localhost:evil@x"},
        {b"host": b"localhost:"},
        {b"host": b"localhost:8o"},
        {b"host": b"localhost:1\xb2"},
        {b"host": b"localhost:80:80"},
        {b"host": b"[::1]:99x"},
        {b"host": b"[::1]:"},
        {b"host": b"::1"},
        {b"host": b"localhost", b"origin": b"http://localhost:80@evil.com"},
        {b"host": b"localhost", b"origin": b"http://localhost@evil.com"},
        {b"host": b"localhost", b"origin": b"http://localhost:80/x"},
        {b"host": b"localhost", b"origin": b"https://evil.example"},
        {b"host": b"localhost", b"origin": b"https://localhost.evil.example"},
        {b"host": b"localhost", b"origin": b"null"},
        {b"host": b"localhost", b"origin": b""},
        {b"host": b"localhost", b"origin": b"file://"},
        {b"host": b"localhost", b"origin": b"localhost"},
        {b"host": b"localhost", b"origin": b"https://evil.example/localhost"},
    ],
)
def test_other_sites_are_refused(headers: dict[bytes, bytes]) -> None:
    """By the name they give, or by the page that a browser says it acts for; each time anew."""
    check = HostCheck(LOOPBACK_NAMES)
    check.check({b"host": b"localhost", b"origin": b"http://localhost"})

    for _ in range(2):
        with pytest.raises(HostRefused) as caught:
            check.check(headers)
        assert caught.value.status == 403


def test_without_a_list_all_pass() -> None:
    """Keys protect the gateway then."""
    HostCheck(None).check({b"host": b"anything.example", b"origin": b"null"})


def test_what_is_remembered_has_a_limit() -> None:
    """Ports are the caller's to choose: they do not fill the memory."""
    check = HostCheck(LOOPBACK_NAMES)

    for port in range(3_000):
        check.check({b"host": b"localhost:%d" % port, b"origin": b"http://localhost:%d" % port})

    assert (len(check._passed), len(check._passed_origins)) == (1_000, 1_000)
