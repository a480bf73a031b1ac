"""Where a provider's requests go: the address, and the request's head with all that is the same each time."""

from base64 import b64encode
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from msgspec import Struct

from openrouter_gateway.errors import ConfigError, UpstreamError

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_TOKEN: Final = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")
"""What header names are made of (RFC 9110, 5.6.2), in lower case."""

# Replies are not decompressed: a provider's API needs none of it.
_HEADERS: Final = {
    "User-Agent": "openrouter-gateway",
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
}


class Target(Struct, frozen=True, kw_only=True):
    """Made once, used for every request. Holds the key: its repr shows the address alone.

    `origin` is scheme, host and port, `head` the request up to the value of `Content-Length`; after a request that is
    not `keep_alive` the connection is closed.
    """

    origin: str
    path: str
    host: str
    port: int
    tls: bool
    head: bytes
    keep_alive: bool
    secrets: tuple[str, ...]

    def __repr__(self) -> str:
        return f"<Target {self.origin}{self.path}>"

    @classmethod
    def from_parts(cls, url: str, headers: Mapping[str, str], key: str = "", *, method: str = "POST") -> "Target":
        """Return the target of a request, whose body is JSON unless a header says otherwise.

        A user and password in the URL become an `Authorization` header unless there is one. Path and query are sent
        as they are written.

        Raises:
            ConfigError: the URL or a header cannot be sent. The message does not quote them: they may hold a secret.
        """
        parts = _split(url)
        scheme, host = parts.scheme, parts.hostname or ""
        port = _DEFAULT_PORTS[scheme] if parts.port is None else parts.port
        authority = f"[{host}]" if ":" in host else host
        sent = {"Host": authority if port == _DEFAULT_PORTS[scheme] else f"{authority}:{port}"}
        sent |= _HEADERS
        secrets = [key]
        if parts.username is not None:
            password = unquote(parts.password or "")
            basic = b64encode(f"{unquote(parts.username)}:{password}".encode()).decode()
            secrets += [password, basic]
            sent["Authorization"] = f"Basic {basic}"
        fields = {name.lower(): (name, value) for name, value in [*sent.items(), *headers.items()]}
        resource = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = [f"{method} {resource} HTTP/1.1", *(_field(*field) for field in fields.values()), "Content-Length: "]
        return cls(
            origin=f"{scheme}://{authority}:{port}",
            path=parts.path,
            host=host,
            port=port,
            tls=scheme == "https",
            head="\r\n".join(lines).encode(),
            keep_alive=fields.get("connection", ("", ""))[1].lower() != "close",
            secrets=tuple(secret for secret in secrets if secret),
        )

    def to_parts(self) -> tuple[str, str, dict[str, str]]:
        """Return method, URL and headers of the request. The key is among the headers, and maybe in the URL."""
        first, *lines = self.head.decode().split("\r\n")[:-1]
        method, resource, _ = first.split(" ")
        return method, self.origin + resource, dict(line.split(": ", 1) for line in lines)

    def hide_key(self, error: UpstreamError) -> None:
        """Take our key out of what the provider says, in case it quotes it."""
        message = error.message
        for secret in self.secrets:
            message = message.replace(secret, "[key]")
        if message is not error.message:
            error.message = message
            error.args = (message,)


def _split(url: str) -> SplitResult:
    if not all("!" <= character <= "~" for character in url):
        raise ConfigError("a provider's URL has spaces or characters outside ASCII")
    try:
        parts = urlsplit(url)
        _ = parts.port
        (parts.hostname or "").encode("idna")
    except ValueError:
        raise ConfigError("a provider's URL is not valid: check its host and port") from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ConfigError("a provider's URL must be http:// or https:// and a host")
    return parts


def _field(name: str, value: str) -> str:
    if not name or not _TOKEN.issuperset(name.lower()):
        raise ConfigError("the name of a header for a provider has characters that cannot be sent")
    if any(character < " " or character == "\x7f" for character in value):
        raise ConfigError(f"the header {name} for a provider has characters that cannot be sent")
    return f"{name}: {value}"
