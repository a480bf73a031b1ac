"""Whether providers can be reached with their keys: a cheap request to each, which makes no generation.

What a provider says is not shown, only its status: messages about keys quote them, whole or in part.
"""

import asyncio
import socket
import ssl
from collections.abc import Collection, Mapping
from typing import Final
from urllib.parse import urlsplit

from openrouter_gateway.callers.pool import Pool, Target
from openrouter_gateway.config.rows import ProviderRow, load_provider_rows
from openrouter_gateway.config.settings import LOCAL, Settings
from openrouter_gateway.core.catalog import Catalog, Endpoint, Provider
from openrouter_gateway.doctor.findings import OFFLINE, Finding, failure, ok, skipped, warning
from openrouter_gateway.errors import ConfigError, Refused, TimedOut, Unavailable, UpstreamError
from openrouter_gateway.wire.protocols import PROTOCOLS
from openrouter_gateway.wire.skins import chat

_REQUEST: Final = chat.parse(b'{"messages": [{"role": "user", "content": "Hello"}]}')
"""What is never sent: protocols say by a request which headers they need."""
_MOST_BYTES: Final = 64 * 1024
_KEY_REFUSED: Final = 401

_REMEDIES: Final = {
    401: "check {key}",
    402: "pay the provider, or raise the budget of the key",
    403: "check what the account and the key may do, and whether the provider serves this country",
    429: "wait, or ask the provider for a higher limit",
}
_MEANINGS: Final = {
    401: "does not accept the key",
    402: "wants to be paid first",
    403: "does not allow this with this key",
    429: "accepts no more requests for now",
}


class ProviderCheck:
    """Checks the providers of a catalogue, all at the same time."""

    def __init__(
        self, settings: Settings, catalog: Catalog, keys: Mapping[str, str], *, timeout_s: float, offline: bool
    ) -> None:
        self._settings = settings
        self._catalog = catalog
        self._keys = keys
        self._timeout_s = timeout_s
        self._offline = offline
        self._rows = load_provider_rows()

    async def run(self, pool: Pool) -> list[Finding]:
        """Return a finding for each provider that is served, and for those with a key that are not."""
        first: dict[str, Endpoint] = {}
        for listing in self._catalog.listings.values():
            for endpoint in listing.endpoints:
                first.setdefault(endpoint.provider.slug, endpoint)
        served = [endpoint for slug, endpoint in first.items() if slug != LOCAL]
        findings = await asyncio.gather(*(self._check(pool, endpoint) for endpoint in served))
        return [*findings, *self._unused(first.keys())]

    def _unused(self, served: Collection[str]) -> list[Finding]:
        if self._settings.stand_in:
            return []
        return [
            warning(
                f"provider {slug}",
                "has a key, but no model here is its own",
                f"list its models under [providers.{slug}], or run `openrouter-gateway catalog refresh`",
            )
            for slug in sorted(self._keys.keys() - set(served))
            if (changes := self._settings.providers.get(slug)) is None or changes.enabled
        ]

    async def _check(self, pool: Pool, endpoint: Endpoint) -> Finding:
        provider = endpoint.provider
        check, key = f"provider {provider.slug}", self._keys.get(provider.slug)
        if self._offline:
            return skipped(check, f"{'has a key' if key else 'has no key'}; {OFFLINE}")
        try:
            async with asyncio.timeout(self._timeout_s):
                status, error = await self._ask(pool, endpoint, key)
                if error is None and key:
                    return await self._confirm(pool, endpoint)
        except ConfigError as error:
            return failure(check, error.message)
        except (TimeoutError, TimedOut):
            return failure(check, f"{_host(provider)} did not answer within {self._timeout_s:g} s", _LOOK)
        except UpstreamError as error:
            return _unreachable(check, provider, error)
        return ok(check, "answers, and needs no key") if error is None else self._judge(check, provider, status, error)

    async def _confirm(self, pool: Pool, endpoint: Endpoint) -> Finding:
        """The answer was good with the key: it says something of the key if it is not without."""
        check = f"provider {endpoint.provider.slug}"
        count = sum(
            each.provider.slug == endpoint.provider.slug
            for listing in self._catalog.listings.values()
            for each in listing.endpoints
        )
        _, error = await self._ask(pool, endpoint, None)
        what = "accepts the key" if error is not None else "answers, with any key or none: the key could not be tried"
        return ok(check, f"{what}; endpoints here: {count}")

    async def _ask(self, pool: Pool, endpoint: Endpoint, key: str | None) -> tuple[int, UpstreamError | None]:
        """Return the status of the answer, and what it means unless it is good."""
        provider, protocol = endpoint.provider, PROTOCOLS[endpoint.protocol]
        row: ProviderRow | None = self._rows.get(provider.slug)
        path = "/models" if row is None else row.probe
        headers = dict(protocol.chat_address(_REQUEST, endpoint).headers)
        headers |= protocol.auth_headers(key) if key else {}
        target = Target.from_parts(provider.base_url.rstrip("/") + path, headers, key or "", method="GET")
        reply = await pool.post(target, b"")
        try:
            if 200 <= reply.status < 300:
                return reply.status, None
            body = bytearray()
            while len(body) < _MOST_BYTES and (data := await reply.read_some()):
                body += data
            return reply.status, protocol.parse_refusal(reply.status, reply.headers, bytes(body))
        finally:
            reply.close()

    def _judge(self, check: str, provider: Provider, status: int, error: UpstreamError) -> Finding:
        if status == 400 and not isinstance(error, Refused):  # Gemini's 401
            status = _KEY_REFUSED
        if status in _MEANINGS:
            key = self._keys.get(provider.slug)
            meaning = _MEANINGS[status] if key or status != _KEY_REFUSED else "wants a key, and has none"
            state = warning if status == 429 else failure
            return state(check, f"{meaning} ({error.provider_status or status})", self._remedy(provider, status))
        if status >= 500:
            return failure(
                check, f"is in trouble: it answers {status}", f"look at {provider.status_page_url or _STATUS}"
            )
        return warning(
            check,
            f"can be reached, but has no list of models ({status}): the key could not be tried",
            "check its base_url if requests fail",
        )

    def _remedy(self, provider: Provider, status: int) -> str:
        changes, row = self._settings.providers.get(provider.slug), self._rows.get(provider.slug)
        if changes is not None and changes.api_key is not None:
            key = f"providers.{provider.slug}.api_key"
        else:
            key = (changes.api_key_env if changes else None) or (row.key_env if row else None)
            key = f"the variable {key}" if key else f"providers.{provider.slug}.api_key, or set it"
        return _REMEDIES[status].format(key=key)


_LOOK: Final = "check the network and the address; upstream.connect_timeout_s and the provider's status may matter"
_STATUS: Final = "the provider's status page"


def _host(provider: Provider) -> str:
    parts = urlsplit(provider.base_url)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


def _unreachable(check: str, provider: Provider, error: UpstreamError) -> Finding:
    cause, host = error.__cause__, _host(provider)
    match cause:
        case socket.gaierror():
            return failure(check, f"the name {host} is not known (DNS)", "check base_url and the name server")
        case ssl.SSLCertVerificationError():
            remedy = "check base_url and the clock; SSL_CERT_FILE names further authorities"
            return failure(check, f"the certificate of {host} is not accepted: {cause.verify_message}", remedy)
        case ssl.SSLError():
            return failure(check, f"TLS with {host} failed", "check base_url: is it https, and the right port?")
        case ConnectionRefusedError():
            return failure(check, f"{host} refuses connections", "check base_url; does its server run?")
        case OSError():
            return failure(check, f"{host}: {error.message}", _LOOK)
        case _:
            what = "closes the connection" if isinstance(error, Unavailable) else "does not speak HTTP"
            return failure(check, f"{host} {what}", "check base_url: is it https, and the right port?")
