"""Which sites may speak to this gateway.

Without keys, a gateway on a loopback address trusts whoever reaches it, and a web page can make the user's browser do
that: by a name that it points to 127.0.0.1 (DNS rebinding), or by a plain cross-site form post. Both show in headers
that a page cannot forge: `Host` and `Origin`.
"""

import re
from typing import Final

from openrouter_gateway.errors import HostRefused

# Strict: what follows a name that is let pass, such as `:80@evil.example`, must not make it another name.
_AUTHORITY: Final = re.compile(r"(\[(?P<v6>[^\[\]@]*)\]|(?P<name>[^\[\]:@/]*))(:[0-9]{1,5})?", re.ASCII)


def host_name(authority: str) -> str:
    """Return the name of `host`, `host:port`, `[v6]` or `[v6]:port`, in lower case; empty if it is none of these."""
    found = _AUTHORITY.fullmatch(authority)
    return (found["v6"] or found["name"] or "").lower() if found else ""


class HostCheck:
    """Lets requests pass whose host, and origin if a browser sent one, is on the list; None lets all pass."""

    def __init__(self, allowed: frozenset[str] | None) -> None:
        self._allowed = allowed
        # Few authorities ever occur; each is parsed once. Only ones that pass are kept, so the set stays small.
        self._passed: set[bytes] = set()
        self._passed_origins: set[bytes] = set()

    def check(self, headers: dict[bytes, bytes]) -> None:
        """Raise `HostRefused` for a site that is not allowed."""
        if self._allowed is None:
            return
        host = headers.get(b"host", b"")
        if host not in self._passed:
            if host_name(host.decode("latin-1")) not in self._allowed:
                raise HostRefused(
                    "The Host header names a site that this gateway does not serve; "
                    "add it to server.allowed_hosts if it should"
                )
            if len(self._passed) < 1000:
                self._passed.add(host)
        origin = headers.get(b"origin")
        if origin is not None and origin not in self._passed_origins:
            authority = origin.decode("latin-1").partition("://")[2]
            if host_name(authority) not in self._allowed:
                raise HostRefused(
                    "The Origin header names a site that may not use this gateway; "
                    "add it to server.allowed_hosts if it should"
                )
            if len(self._passed_origins) < 1000:
                self._passed_origins.add(origin)
