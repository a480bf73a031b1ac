"""What can be routed to: providers, models and the endpoints that join them. Holds no secrets."""

from decimal import Decimal
from functools import cached_property
from typing import Any, Literal, TypeAlias

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

Tier: TypeAlias = Literal["flex", "priority"]


class PriceOverride(Struct, frozen=True, kw_only=True):
    """Rates, by the names of `Price`, that all tokens have once the prompt is longer than `min_prompt_tokens`."""

    min_prompt_tokens: int
    rates: dict[str, Decimal]


class Price(Struct, frozen=True, kw_only=True, dict=True):
    """USD per token, per request, per image or per search. None: the bucket is not priced apart, or not known.

    `image` is per input image, `image_token` and `image_output` per token; `audio`, `audio_output` and
    `audio_cache_read` are per audio token; `cache_write_1h` is the rate of cache entries that live an hour. Of the
    `overrides` for long prompts that hold, the later one wins in each bucket.
    """

    prompt: Decimal = Decimal(0)
    completion: Decimal = Decimal(0)
    request: Decimal = Decimal(0)
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    cache_write_1h: Decimal | None = None
    image: Decimal | None = None
    image_token: Decimal | None = None
    image_output: Decimal | None = None
    audio: Decimal | None = None
    audio_output: Decimal | None = None
    audio_cache_read: Decimal | None = None
    web_search: Decimal | None = None
    internal_reasoning: Decimal | None = None
    overrides: tuple[PriceOverride, ...] = ()

    @cached_property
    def dearest(self) -> tuple[Decimal, Decimal]:
        """The highest rate of a token of text: of a prompt, which may be written to a cache, and of an answer."""
        zero = Decimal(0)
        written = (self.completion, self.internal_reasoning, self.audio_output, self.image_output)
        return max(self.prompt, self.cache_write or zero, zero), max(zero, *(rate or zero for rate in written))

    def at(self, prompt_tokens: int) -> "Price":
        """Return the price for a prompt of so many tokens."""
        if not self.overrides:
            return self
        changes: dict[str, Decimal] = {}
        for override in self.overrides:
            if prompt_tokens > override.min_prompt_tokens:
                changes |= override.rates
        return replace(self, overrides=(), **changes)


class DataPolicy(Struct, frozen=True, kw_only=True):
    """What a provider does with prompts. None: not known, which never satisfies a request that asks for it."""

    trains: bool | None = None
    retains: bool | None = None


class Provider(Struct, frozen=True, kw_only=True):
    """A company or service that hosts endpoints; `name` is shown in replies, `slug` is used in routing.

    `tiers` are the service tiers that it has by name, besides its usual one; the field is not known to others.
    `headquarters` and `datacenters` are ISO 3166 alpha-2 codes. `supports_cancel`: closing the connection ends the
    provider's work and its bill; None: not known.
    """

    slug: str
    name: str
    protocol: str
    base_url: str = ""
    policy: DataPolicy = DataPolicy()
    quirks: frozenset[str] = frozenset()
    tiers: tuple[Tier, ...] = ()
    privacy_policy_url: str | None = None
    terms_of_service_url: str | None = None
    status_page_url: str | None = None
    headquarters: str | None = None
    datacenters: tuple[str, ...] | None = None
    supports_cancel: bool | None = None

    @property
    def runs_plugins(self) -> bool:
        """Whether it is an OpenRouter itself, which takes the fields that OpenRouter adds, `plugins` among them."""
        return "openrouter_fields" in self.quirks


class Reasoning(Struct, frozen=True, kw_only=True):
    """How a model's reasoning is controlled (OpenRouter API, reasoning, 2026-08-22).

    `supported_efforts`, highest first: None means that all are accepted, unset that there is no control by effort.
    """

    mandatory: bool = False
    default_enabled: bool = False
    default_effort: str | None = None
    supported_efforts: tuple[str, ...] | UnsetType | None = UNSET
    supports_max_tokens: bool | None = None


class Model(Struct, frozen=True, kw_only=True):
    """`author/slug[:variant]` with what it takes and gives.

    `created` is unix seconds; dates are `YYYY-MM-DD`. `distillable`: its author allows training on its output; None:
    not known. `aliases` are further ids under which it can be asked for, besides its canonical slug.
    """

    id: str
    name: str
    canonical_slug: str = ""
    created: int = 0
    description: str = ""
    context_length: int | None = None
    input_modalities: tuple[str, ...] = ("text",)
    output_modalities: tuple[str, ...] = ("text",)
    tokenizer: str = "Other"
    instruct_type: str | None = None
    supported_parameters: tuple[str, ...] = ()
    default_parameters: dict[str, float | None] | None = None
    reasoning: Reasoning | None = None
    distillable: bool | None = None
    aliases: tuple[str, ...] = ()
    hugging_face_id: str | None = None
    knowledge_cutoff: str | None = None
    expiration_date: str | None = None


class Endpoint(Struct, frozen=True, kw_only=True, dict=True):
    """One model at one provider: what is routed to, priced and measured.

    `model_id` is the model that answers, which is what replies and prices go by. It differs from the id it is listed
    under when something stands in for the model that was asked for. `tag` is the provider's slug, or that with the
    variant, region or service tier behind a slash. A service tier is known by `tier`, or by a tag that ends in its
    name. None for `price`, `supported_parameters` and `input_modalities`: not known. `max_concurrent`: how
    many requests each process may have there at a time. `stands_in`: it takes the place of models that it is not, so
    that neither what a request says about who may answer nor the limits of what it writes and reads keep it from
    answering. `own_protocol` is set where it differs from the provider's. `reasoning` is the model's.
    """

    model_id: str
    provider: Provider
    upstream_id: str
    tag: str
    price: Price | None = None
    quantization: str | None = None
    context_length: int | None = None
    max_prompt_tokens: int | None = None
    max_completion_tokens: int | None = None
    supported_parameters: frozenset[str] | None = None
    input_modalities: frozenset[str] | None = None
    tier: Tier | None = None
    moderated: bool = False
    implicit_caching: bool = False
    max_concurrent: int | None = None
    stands_in: bool = False
    own_protocol: str | None = None
    reasoning: Reasoning | None = None

    @cached_property
    def protocol(self) -> str:
        """The outbound dialect that it is spoken to in."""
        return self.own_protocol or self.provider.protocol

    @cached_property
    def key(self) -> str:
        """What health and shared state know the endpoint by, in every process and across reloads."""
        return f"{self.model_id}|{self.tag}"

    @cached_property
    def service_tier(self) -> Tier | None:
        """The service tier that it is, from `tier` or the tag."""
        if self.tier is not None:
            return self.tier
        match self.tag.lower().rpartition("/"):
            case (_, "/", "flex"):
                return "flex"
            case (_, "/", "priority"):
                return "priority"
            case _:
                return None

    def tier_field(self, asked: str | None) -> str | None:
        """Return what a request says of tiers where the dialect's word is `service_tier`; None: nothing.

        It is priced as the tier that it is, so it is asked for that one, however it was reached and whatever the caller
        would have taken. The usual tier is only named to providers that have others: elsewhere the field is unknown.
        """
        if self.service_tier is not None:
            return self.service_tier
        return "default" if asked == "default" and self.provider.tiers else None

    @property
    def discounts_cache(self) -> bool:
        """Whether tokens read from its prompt cache cost less than others."""
        price = self.price
        return price is not None and price.cache_read is not None and price.cache_read < price.prompt


class Listing(Struct, frozen=True, kw_only=True, dict=True):
    """A model and its endpoints, at least one, in order of preference."""

    model: Model
    endpoints: tuple[Endpoint, ...]

    @cached_property
    def derived(self) -> dict[str, Any]:
        """Room for what others work out from a listing once and keep for as long as it lives; no part of its value."""
        return {}


class Catalog(Struct, frozen=True, kw_only=True, dict=True):
    """Everything that this gateway offers, by model id; `providers` are those that have an endpoint here.

    `aliases` maps further ids, such as `~author/family-latest`, to model ids. `version` tells prices apart: the ledger
    says by which a cost was computed.
    """

    listings: dict[str, Listing]
    providers: tuple[Provider, ...]
    default_model: str | None = None
    aliases: dict[str, str] = {}
    version: str = ""

    @cached_property
    def derived(self) -> dict[str, Any]:
        """As `Listing.derived`."""
        return {}

    def endpoint_keys(self) -> frozenset[str]:
        """Return the keys of all endpoints."""
        return frozenset(endpoint.key for listing in self.listings.values() for endpoint in listing.endpoints)


class AccountPolicy(Struct, frozen=True, kw_only=True):
    """What an account may use, whatever a request says. Providers are named as in a request's `only` and `ignore`.

    `allowed_providers` is the ceiling of `only`, None for all; the other three add to what a request excludes.
    """

    allowed_providers: tuple[str, ...] | None = None
    ignored_providers: tuple[str, ...] = ()
    zdr: bool = False
    deny_training: bool = False
