"""Where requests go, and what their heads say."""

import pytest

from openrouter_gateway.callers.target import Target
from openrouter_gateway.errors import ConfigError, Refused


def fields_of(target: Target) -> dict[str, str]:
    lines = target.head.decode().split("\r\n")
    return dict(line.split(": ", 1) for line in lines[1:-1])


@pytest.mark.parametrize(
    ("url", "origin", "connect_to", "line", "host"),
    [
        ("http://a.test", "http://a.test:80", ("a.test", 80, False), "/", "a.test"),
        ("http://a.test:80/x", "http://a.test:80", ("a.test", 80, False), "/x", "a.test"),
        ("http://a.test:443/x", "http://a.test:443", ("a.test", 443, False), "/x", "a.test:443"),
        ("https://a.test/x", "https://a.test:443", ("a.test", 443, True), "/x", "a.test"),
        ("HTTPS://A.Test:8443/X", "https://a.test:8443", ("a.test", 8443, True), "/X", "a.test:8443"),
        ("http://[::1]/x", "http://[::1]:80", ("::1", 80, False), "/x", "[::1]"),
        ("https://[2001:db8::1]:8/", "https://[2001:db8::1]:8", ("2001:db8::1", 8, True), "/", "[2001:db8::1]:8"),
        ("http://a.test?q=%20&r=a/b", "http://a.test:80", ("a.test", 80, False), "/?q=%20&r=a/b", "a.test"),
        ("http://a.test//x/../%2e%2F?", "http://a.test:80", ("a.test", 80, False), "//x/../%2e%2F", "a.test"),
    ],
)
def test_urls_are_sent_as_they_are_written(
    url: str, origin: str, connect_to: tuple[str, int, bool], line: str, host: str
) -> None:
    """Path and query verbatim; `Host` names the port unless it is the scheme's own."""
    target = Target.from_parts(url, {})
    assert (origin, connect_to) == (target.origin, (target.host, target.port, target.tls))
    assert target.head.decode().startswith(f"POST {line} HTTP/1.1\r\nHost: {host}\r\n")


def test_a_head_ends_where_the_length_goes() -> None:
    """Replies are asked for uncompressed; the connection may be used again."""
    target = Target.from_parts("http://a.test/x", {"X-A": "1"})
    assert target.head.endswith(b"\r\nContent-Length: ")
    assert target.head.count(b"\r\n\r\n") == 0
    assert fields_of(target) | {"Accept-Encoding": "identity", "Content-Type": "application/json", "X-A": "1"} == (
        fields_of(target)
    )
    assert target.keep_alive


def test_headers_replace_the_usual_ones_in_any_case() -> None:
    """None is sent twice."""
    target = Target.from_parts("http://a.test/x", {"content-type": "text/plain", "connection": "Close"})
    assert (1, False) == (target.head.lower().count(b"content-type"), target.keep_alive)
    assert "text/plain" == fields_of(target)["content-type"]


def test_a_user_in_the_url_is_authorization() -> None:
    """Unless there is some; it is never part of `Host`."""
    target = Target.from_parts("http://user%40x:p%3Aw@a.test/x", {})
    assert ("Basic dXNlckB4OnA6dw==", "a.test") == (fields_of(target)["Authorization"], fields_of(target)["Host"])
    target = Target.from_parts("http://user:pw@a.test/x", {"authorization": "Bearer k"}, "k")
    assert "Bearer k" == fields_of(target)["authorization"]
    assert b"Basic" not in target.head


@pytest.mark.parametrize(
    "url",
    [
        "ftp://secret.test/",
        "secret.test/x",
        "http:///secret",
        "http://secret:99999/",
        "http://secret:x/",
        "http://[::secret/",
        "http://secret..test/",
        "http://secret.test/a b",
        "http://secret.test/a\r\nX: y",
        "http://secret.test/\u00e4",
    ],
)
def test_a_url_that_cannot_be_sent_is_a_config_error(url: str) -> None:
    """It is not quoted: it may hold a password."""
    with pytest.raises(ConfigError) as caught:
        Target.from_parts(url, {})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("X-A", "secret\r\nX-B: 1"), ("X-A", "secret\n"), ("X-A", "secret\0"), ("X A", "secret"), ("", "secret")],
)
def test_a_header_that_cannot_be_sent_is_a_config_error(name: str, value: str) -> None:
    """A line end would begin a header of its own."""
    with pytest.raises(ConfigError) as caught:
        Target.from_parts("http://a.test/", {name: value})
    assert "secret" not in str(caught.value)


def test_secrets_are_not_shown() -> None:
    """Neither in the repr nor in what a provider quotes."""
    target = Target.from_parts("http://user:pw-1@a.test/x?token=q", {"Authorization": "Bearer key-2"}, "key-2")
    assert "<Target http://a.test:80/x>" == repr(target)
    error = Refused("you sent key-2, pw-1 and dXNlcjpwdy0x")
    target.hide_key(error)
    assert "you sent [key], [key] and [key]" == error.message == str(error)


def test_without_secrets_nothing_is_hidden() -> None:
    """An empty key is in every message."""
    error = Refused("no")
    Target.from_parts("http://user@a.test/x", {}).hide_key(error)
    assert "no" == str(error)
