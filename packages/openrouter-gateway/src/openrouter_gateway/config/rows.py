"""The built-in table of providers: `data/providers.toml`, whose header explains the columns."""

import tomllib
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources
from typing import Literal, TypeAlias

import msgspec

from openrouter_gateway.core.catalog import DataPolicy, Provider, Tier

Naming: TypeAlias = Literal["id", "slug", "hugging_face"]


class ProviderRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row of `data/providers.toml`; its header explains the columns."""

    name: str
    protocol: str
    base_url: str
    key_env: str | None = None
    authors: tuple[str, ...] = ()
    prices: str | None = None
    upstream_prefix: str = ""
    names: Naming | None = None
    models: dict[str, str] = {}
    without: tuple[str, ...] = ()
    embeddings: dict[str, str] = {}
    protocols: dict[str, str] = {}
    variants: tuple[str, ...] = ()
    tiers: tuple[Tier, ...] = ()
    trains: bool | None = None
    retains: bool | None = None
    supports_cancel: bool | None = None
    quirks: tuple[str, ...] = ()
    probe: str = "/models"
    headquarters: str | None = None
    datacenters: tuple[str, ...] | None = None
    privacy_policy_url: str | None = None
    terms_of_service_url: str | None = None
    status_page_url: str | None = None

    def serves(self, name: str) -> bool:
        """Return whether a name in the price tables is one that the provider knows."""
        if ":" in name and self.names != "id":  # a variant, which is OpenRouter's word
            return False
        return not any(fnmatchcase(name, pattern) for pattern in self.without)

    def protocol_of(self, upstream_id: str) -> str | None:
        """Return the protocol of a model that has another than the provider's, by the first pattern that fits."""
        for pattern, protocol in self.protocols.items():
            if fnmatchcase(upstream_id, pattern):
                return None if protocol == self.protocol else protocol
        return None

    def to_provider(self, slug: str) -> Provider:
        """Return the provider as the catalogue has it."""
        return Provider(
            slug=slug,
            name=self.name,
            protocol=self.protocol,
            base_url=self.base_url,
            policy=DataPolicy(trains=self.trains, retains=self.retains),
            quirks=frozenset(self.quirks),
            tiers=self.tiers,
            headquarters=self.headquarters,
            datacenters=self.datacenters,
            privacy_policy_url=self.privacy_policy_url,
            terms_of_service_url=self.terms_of_service_url,
            status_page_url=self.status_page_url,
            supports_cancel=self.supports_cancel,
        )


@cache
def load_provider_rows() -> dict[str, ProviderRow]:
    """Return the built-in table by slug."""
    text = resources.files("openrouter_gateway.data").joinpath("providers.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), dict[str, ProviderRow])
