"""What can be routed to: providers, models and the endpoints that join them. Holds no secrets."""

from decimal import Decimal

from msgspec import Struct


class Price(Struct, frozen=True, kw_only=True):
    """USD per token, per request or per image. None: not priced apart, the bucket costs what its kind costs."""

    prompt: Decimal = Decimal(0)
    completion: Decimal = Decimal(0)
    request: Decimal = Decimal(0)
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None


class DataPolicy(Struct, frozen=True, kw_only=True):
    """What a provider does with prompts. None: not known, which never satisfies a request that asks for it."""

    trains: bool | None = None
    retains: bool | None = None


class Provider(Struct, frozen=True, kw_only=True):
    """A company or service that hosts endpoints; `name` is shown in replies, `slug` is used in routing."""

    slug: str
    name: str
    protocol: str
    base_url: str = ""
    policy: DataPolicy = DataPolicy()
    quirks: frozenset[str] = frozenset()
    privacy_policy_url: str | None = None
    terms_of_service_url: str | None = None
    status_page_url: str | None = None
    headquarters: str | None = None


class Model(Struct, frozen=True, kw_only=True):
    """`author/slug[:variant]` with what it takes and gives. `created` is unix seconds."""

    id: str
    name: str
    canonical_slug: str = ""
    created: int = 0
    description: str = ""
    context_length: int | None = None
    input_modalities: tuple[str, ...] = ("text",)
    output_modalities: tuple[str, ...] = ("text",)
    tokenizer: str = "Other"
    supported_parameters: tuple[str, ...] = ()


class Endpoint(Struct, frozen=True, kw_only=True):
    """One model at one provider: what is routed to, priced and measured.

    `model_id` is the model that answers, which is what replies and prices go by. It differs from the id it is listed
    under when something stands in for the model that was asked for. None for `price`, `supported_parameters` and
    `input_modalities`: not known.
    """

    model_id: str
    provider: Provider
    upstream_id: str
    tag: str
    price: Price | None = None
    quantization: str | None = None
    context_length: int | None = None
    max_completion_tokens: int | None = None
    supported_parameters: frozenset[str] | None = None
    input_modalities: frozenset[str] | None = None


class Listing(Struct, frozen=True, kw_only=True):
    """A model and its endpoints, at least one, in order of preference."""

    model: Model
    endpoints: tuple[Endpoint, ...]


class Catalog(Struct, frozen=True, kw_only=True):
    """Everything that this gateway offers, by model id; `providers` are those that have an endpoint here."""

    listings: dict[str, Listing]
    providers: tuple[Provider, ...]
    default_model: str | None = None
