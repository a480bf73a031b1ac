"""The catalogue: built-in rows, the operator's own, and how the routes show them."""

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from gateway_samples import make_catalog, make_endpoint
from hypothesis import given
from hypothesis import strategies as st

from openrouter_gateway.config.catalog import build_catalog, load_keys, local_endpoint
from openrouter_gateway.config.rows import ProviderRow, load_provider_rows
from openrouter_gateway.config.settings import LOCAL, Settings
from openrouter_gateway.core.catalog import Catalog, DataPolicy, Price
from openrouter_gateway.edge.catalog import (
    decimal_text,
    endpoints_object,
    model_object,
    models_object,
    named_model_object,
    providers_object,
)
from openrouter_gateway.edge.model_query import parse_query
from openrouter_gateway.errors import ConfigError
from openrouter_gateway.wire.media import INLINE_MEDIA
from openrouter_gateway.wire.protocols import PROTOCOLS
from openrouter_gateway.wire.protocols.openai import KEEP_GATEWAY_FIELDS
from openrouter_gateway.wire.protocols.openai_embeddings import NAMES_DIMENSION, TAKES_INPUT_TYPE
from openrouter_gateway.wire.protocols.openai_quirks import QUIRKS

ROWS = load_provider_rows()
ACME: dict[str, Any] = {
    "base_url": "http://127.0.0.1:1/v1",
    "name": "Acme Inc",
    "models": [
        {
            "id": "acme/one",
            "pricing": {"prompt": "0.000001", "completion": "0.000002", "input_cache_read": "0.0000001"},
            "context_length": 1000,
            "max_completion_tokens": 100,
            "quantization": "fp8",
            "supported_parameters": ["temperature", "tools"],
            "input_modalities": ["text", "image"],
        },
        {"id": "acme/two:free", "upstream_id": "two", "tag": "acme/turbo"},
    ],
}
NO_EMBEDDED = {"enabled": False}


@pytest.fixture(autouse=True)
def no_refreshed_catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the developer's own snapshot out."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))


def build(*keyed: str, **settings: Any) -> Catalog:
    """Return the catalogue of these settings, with keys for these providers."""
    return build_catalog(Settings.model_validate(settings), frozenset(keyed))


class TestRows:
    """The built-in table."""

    def test_it_loads(self) -> None:
        """With the providers that the documentation names."""
        assert {
            "openai", "anthropic", "google-ai-studio", "groq", "together", "fireworks", "deepseek", "mistral", "xai",
            "cerebras", "perplexity", "deepinfra", "novita", "moonshotai", "z-ai", "minimax", "nvidia", "hugging-face",
            "ollama", "vllm", "lm-studio", "llama-cpp", "openrouter",
        } == ROWS.keys()  # fmt: skip

    @pytest.mark.parametrize(("slug", "row"), ROWS.items(), ids=ROWS)
    def test_a_row_is_sane(self, slug: str, row: ProviderRow) -> None:
        """Names, addresses, protocols and quirks that exist, over TLS unless it is this machine."""
        from genai_prices import data

        assert row.protocol in PROTOCOLS
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug)
        if row.key_env is None:
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/v1", row.base_url)
        else:
            assert re.fullmatch(r"https://[^/]+(/[^/]+)*", row.base_url)
            assert re.fullmatch(r"[A-Z][A-Z0-9_]*_(API_KEY|TOKEN)", row.key_env)
        assert row.key_env != "OPENROUTER_API_KEY"
        assert row.prices is None or row.prices in {table.id for table in data.providers}
        assert {*row.quirks} <= {KEEP_GATEWAY_FIELDS, INLINE_MEDIA, NAMES_DIMENSION, TAKES_INPUT_TYPE} | QUIRKS
        assert row.headquarters is None or re.fullmatch("[A-Z]{2}", row.headquarters)
        named = [*row.models.values(), *row.embeddings.values()]
        assert all(re.fullmatch(r"[^/\s]+/[^/\s]+", model_id) for model_id in named)
        for url in (row.privacy_policy_url, row.terms_of_service_url, row.status_page_url):
            assert url is None or url.startswith("https://")

    def test_no_two_share_anything_that_must_differ(self) -> None:
        """Neither a key's variable, nor a name, nor an address."""
        for column in ("key_env", "name", "base_url"):
            held = [value.lower() for row in ROWS.values() if (value := getattr(row, column)) is not None]
            assert sorted(set(held)) == sorted(held)


class TestKeys:
    """Where keys come from."""

    def test_the_environment(self) -> None:
        """A variable of a built-in row; an empty one is none."""
        environment = {"OPENAI_API_KEY": " k ", "GROQ_API_KEY": "", "UNRELATED": "x"}

        assert load_keys(Settings(), environment) == {"openai": "k"}

    def test_the_settings_win(self) -> None:
        """Their own key, or the variable that they name."""
        settings = Settings.model_validate(
            {"providers": {"openai": {"api_key": "mine"}, "acme": ACME | {"api_key_env": "ACME_KEY"}}}
        )

        keys = load_keys(settings, {"OPENAI_API_KEY": "k", "ACME_KEY": "a"})

        assert keys == {"openai": "mine", "acme": "a"}

    @pytest.mark.parametrize("variable", ["OPENAI_API_KEY", "ACME_KEY"])
    def test_a_variable_that_holds_no_key(self, variable: str) -> None:
        """It is named, its value is not."""
        settings = Settings.model_validate({"providers": {"acme": ACME | {"api_key_env": "ACME_KEY"}}})

        with pytest.raises(ConfigError, match=variable) as caught:
            load_keys(settings, {"ACME_KEY": "a", variable: "sk\nsecret"})
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize("environment", [{}, {"ACME_KEY": " "}])
    def test_a_variable_that_is_not_set(self, environment: dict[str, str]) -> None:
        """The gateway does not start without a key that it was told to use."""
        settings = Settings.model_validate({"providers": {"acme": ACME | {"api_key_env": "ACME_KEY"}}})

        with pytest.raises(ConfigError, match=r"providers\.acme\.api_key_env.*ACME_KEY"):
            load_keys(settings, environment)


class TestBuild:
    """What is on offer."""

    def test_the_embedded_model_alone(self) -> None:
        """Without any key there is one model, and it is the default."""
        catalog = build()

        assert list(catalog.listings) == ["local/smollm2-135m-instruct"]
        assert catalog.default_model == "local/smollm2-135m-instruct"
        assert [provider.slug for provider in catalog.providers] == [LOCAL]
        (endpoint,) = catalog.listings["local/smollm2-135m-instruct"].endpoints
        assert DataPolicy(trains=False, retains=False) == endpoint.provider.policy
        assert Price() == endpoint.price

    def test_nothing(self) -> None:
        """Not even the embedded model."""
        catalog = build(embedded=NO_EMBEDDED)

        assert Catalog(listings={}, providers=(), version=catalog.version) == catalog

    def test_an_own_provider(self) -> None:
        """A new provider with its models; what is not said has its documented default."""
        catalog = build(providers={"acme": ACME}, embedded=NO_EMBEDDED)

        (one,) = catalog.listings["acme/one"].endpoints
        assert (
            one.provider.slug,
            one.provider.name,
            one.provider.protocol,
            one.provider.base_url,
        ) == ("acme", "Acme Inc", "openai", "http://127.0.0.1:1/v1")
        assert (
            Price(prompt=Decimal("0.000001"), completion=Decimal("0.000002"), cache_read=Decimal("0.0000001"))
            == one.price
        )
        assert (
            one.upstream_id,
            one.tag,
            one.quantization,
            one.context_length,
            one.max_completion_tokens,
        ) == ("one", "acme", "fp8", 1000, 100)
        assert ({"temperature", "tools"}, {"text", "image"}) == (one.supported_parameters, one.input_modalities)
        (two,) = catalog.listings["acme/two:free"].endpoints
        assert (
            two.upstream_id,
            two.tag,
            two.supported_parameters,
            two.input_modalities,
        ) == ("two", "acme/turbo", None, None)
        assert None is two.price
        assert None is catalog.default_model

    def test_two_providers_of_a_model(self) -> None:
        """In the order of the file."""
        catalog = build(providers={"acme": ACME, "beta": ACME | {"name": "Beta", "models": [{"id": "acme/one"}]}})

        assert [e.provider.slug for e in catalog.listings["acme/one"].endpoints] == ["acme", "beta"]

    def test_a_provider_without_an_address(self) -> None:
        """There is no built-in row to take it from."""
        with pytest.raises(ConfigError, match=r"providers\.acme: base_url is missing"):
            build(providers={"acme": {"models": []}})

    @pytest.mark.parametrize("slug", [slug for slug, row in ROWS.items() if row.prices and row.protocol in PROTOCOLS])
    def test_a_key_enables_a_row(self, slug: str) -> None:
        """With its known models, under their names here, at the provider's own names and prices."""
        catalog = build(slug, embedded=NO_EMBEDDED)

        endpoints = [e for listing in catalog.listings.values() for e in listing.endpoints]
        assert {slug} == {e.provider.slug for e in endpoints} == {p.slug for p in catalog.providers}
        assert all(re.fullmatch(r"[^/\s]+/[^/\s]+", key) for key in catalog.listings)
        assert all(key == e.model_id for key, listing in catalog.listings.items() for e in listing.endpoints)
        prices = [e.price for e in endpoints if e.price is not None]
        assert any(price.prompt > 0 for price in prices)
        assert all(0 <= rate < Decimal("0.001") for price in prices for rate in (price.prompt, price.completion))
        assert sorted(catalog.listings) == list(catalog.listings)

    def test_a_row_can_be_changed(self) -> None:
        """For its known models as for added ones: nothing goes to the address that was replaced."""
        changes = {"base_url": "http://127.0.0.1:1/v1", "retains_prompts": False, "models": [{"id": "openai/mine"}]}

        catalog = build("openai", providers={"openai": changes}, embedded=NO_EMBEDDED)

        endpoints = [e for listing in catalog.listings.values() for e in listing.endpoints]
        assert len(endpoints) > 1
        assert {"http://127.0.0.1:1/v1"} == {e.provider.base_url for e in endpoints}
        assert {DataPolicy(trains=False, retains=False)} == {e.provider.policy for e in endpoints}
        assert {"OpenAI"} == {e.provider.name for e in endpoints}

    def test_the_name_of_the_embedded_models_provider_is_taken(self) -> None:
        """Two providers of one slug could not be told apart."""
        with pytest.raises(ConfigError, match="local"):
            build(providers={LOCAL: ACME})

    def test_stand_in(self) -> None:
        """Every model that is known, at any provider, is answered by the embedded one, which says so."""
        catalog = build("openai", providers={"acme": ACME}, stand_in=True)

        local = local_endpoint(Settings(stand_in=True))
        assert local.stands_in
        assert {"openai/gpt-4o", "anthropic/claude-sonnet-4.5", "acme/one", local.model_id} <= catalog.listings.keys()
        assert all((local,) == listing.endpoints for listing in catalog.listings.values())
        assert catalog.listings["openai/gpt-4o"].model.id == "openai/gpt-4o"
        assert [provider.slug for provider in catalog.providers] == [LOCAL]


MODEL_KEYS = {
    "id", "canonical_slug", "name", "created", "context_length", "architecture", "pricing", "top_provider",
    "per_request_limits", "supported_parameters", "default_parameters", "supported_voices", "links",
}  # fmt: skip
"""Required of a model: OpenRouter API, models (2026-08-22)."""
ENDPOINT_KEYS = {
    "name", "model_id", "model_name", "context_length", "pricing", "provider_name", "tag", "quantization",
    "max_completion_tokens", "max_prompt_tokens", "supported_parameters", "status", "uptime_last_5m",
    "uptime_last_30m", "uptime_last_1d", "supports_implicit_caching", "latency_last_30m", "throughput_last_30m",
    "native_tools", "service_tier", "supports_diarization", "supports_tool_choice",
}  # fmt: skip
"""Required of an endpoint, the last four by the official SDKs of autumn 2026."""


@pytest.fixture(params=["own", "built-in", "stand-in", "empty"])
def catalog(request: pytest.FixtureRequest) -> Catalog:
    match request.param:
        case "own":
            return build(providers={"acme": ACME})
        case "built-in":
            return build("openai", "groq")
        case "stand-in":
            return build(stand_in=True)
        case _:
            return build(embedded=NO_EMBEDDED)


def check_pricing(pricing: dict[str, Any]) -> None:
    """Fail unless all prices are strings; what long prompts cost is a list of its own."""
    for rates in [pricing, *pricing.get("overrides", ())]:
        assert {str} == {type(rate) for key, rate in rates.items() if key not in ("overrides", "min_prompt_tokens")}
    assert all(type(override["min_prompt_tokens"]) is int for override in pricing.get("overrides", ()))


class TestShown:
    """What the catalogue's routes answer."""

    def test_models(self, catalog: Catalog) -> None:
        """The wrapper and every row have all that strict clients require."""
        shown = models_object(catalog)

        assert {"data", "total_count", "links"} == shown.keys()
        assert (len(shown["data"]), {"next": None}) == (shown["total_count"], shown["links"])
        assert [*catalog.listings, *catalog.aliases] == [row["id"] for row in shown["data"]]
        for row in shown["data"]:
            assert row.keys() >= MODEL_KEYS
            assert {"modality", "input_modalities", "output_modalities"} <= row["architecture"].keys()
            assert bool is type(row["top_provider"]["is_moderated"])
            assert {"prompt", "completion"} <= row["pricing"].keys()
            check_pricing(row["pricing"])
            assert int is type(row["created"])
            assert f"/api/v1/models/{row['id']}/endpoints" == row["links"]["details"]

    def test_one_model(self, catalog: Catalog) -> None:
        """The same row as in the list."""
        shown = models_object(catalog)["data"]

        assert [model_object(listing) for listing in catalog.listings.values()] == shown[: len(catalog.listings)]
        assert [named_model_object(catalog, row["id"]) for row in shown] == shown

    def test_endpoints(self, catalog: Catalog) -> None:
        """Every key is there, the nullable ones too."""
        for listing in catalog.listings.values():
            shown = endpoints_object(listing)
            assert {"id", "name", "created", "description", "architecture", "endpoints"} == shown.keys()
            assert len(listing.endpoints) == len(shown["endpoints"])
            for row in shown["endpoints"]:
                assert row.keys() >= ENDPOINT_KEYS
                assert int is type(row["context_length"])
                check_pricing(row["pricing"])

    def test_providers(self, catalog: Catalog) -> None:
        """Those with endpoints here."""
        rows = providers_object(catalog)["data"]

        assert {e.provider.slug for listing in catalog.listings.values() for e in listing.endpoints} == {
            row["slug"] for row in rows
        }
        assert all({"name", "slug", "privacy_policy_url"} <= row.keys() for row in rows)


def test_an_endpoint_is_shown_as_it_is() -> None:
    """Names, price, quantization and limits of the endpoint, not of the model."""
    (row,) = endpoints_object(build(providers={"acme": ACME}).listings["acme/one"])["endpoints"]

    assert tuple(
        row[key]
        for key in (
            "name",
            "model_id",
            "model_name",
            "provider_name",
            "tag",
            "quantization",
            "context_length",
            "max_completion_tokens",
        )
    ) == ("Acme Inc: one", "acme/one", "one", "Acme Inc", "acme", "fp8", 1000, 100)
    assert row["pricing"] == {"prompt": "0.000001", "completion": "0.000002", "input_cache_read": "0.0000001"}
    assert row["supported_parameters"] == ["temperature", "tools"]


def test_a_model_is_priced_as_its_first_endpoint() -> None:
    """The one that is preferred."""
    catalog = make_catalog(make_endpoint("alpha", prompt="0.5"), make_endpoint("beta", prompt="0.1", request="1"))

    assert models_object(catalog)["data"][0]["pricing"] == {"prompt": "0.5", "completion": "0"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0", "0"),
        ("0E-12", "0"),
        ("0.00", "0"),
        ("100", "100"),
        ("1E+3", "1000"),
        ("2.5E-7", "0.00000025"),
        ("0.10", "0.1"),
        ("10.0", "10"),
    ],
)
def test_prices_are_plain_text(value: str, text: str) -> None:
    """No exponent, no trailing zeros."""
    assert text == decimal_text(Decimal(value))


@given(st.decimals(min_value=0, max_value=10**6, places=15) | st.decimals(min_value=0, max_value=10**12))
def test_prices_keep_every_digit(value: Decimal) -> None:
    """What is read back is the same amount."""
    text = decimal_text(value)

    assert re.fullmatch(r"(0|[1-9][0-9]*)(\.[0-9]*[1-9])?", text)
    assert value == Decimal(text)


def test_a_price_that_is_not_known_is_shown_as_nothing() -> None:
    """Clients want numbers."""
    listing = build(providers={"acme": ACME}).listings["acme/two:free"]

    assert {"prompt": "0", "completion": "0"} == model_object(listing)["pricing"]
    assert {"prompt": "0", "completion": "0"} == endpoints_object(listing)["endpoints"][0]["pricing"]


class TestTasks:
    """Models that do something else than chat."""

    def test_embedding_models_are_known(self) -> None:
        """OpenAI's, Google's and Mistral's, priced; lists without a filter do not have them."""
        catalog = build("openai", "google-ai-studio", "mistral", embedded=NO_EMBEDDED)
        query = parse_query({}, 0, path="/embeddings/models", outputs="embeddings")

        rows: dict[str, Any] = {row["id"]: row for row in models_object(catalog, query)["data"]}
        assert {
            "google/gemini-embedding-001",
            "mistralai/codestral-embed-2505",
            "mistralai/mistral-embed-2312",
            "openai/text-embedding-3-large",
            "openai/text-embedding-3-small",
            "openai/text-embedding-ada-002",
        } == rows.keys()
        assert {"prompt": "0.00000002", "completion": "0"} == rows["openai/text-embedding-3-small"]["pricing"]
        assert "text->embeddings" == rows["openai/text-embedding-3-small"]["architecture"]["modality"]
        default = {row["id"] for row in models_object(catalog, parse_query({}, 0))["data"]}
        assert not default & rows.keys()
        assert "openai/gpt-4o" in default

    def test_the_embedded_model_does_both(self) -> None:
        """So it is in both lists; a stand-in makes embeddings for every model that does."""
        assert ("text", "embeddings") == build().listings["local/smollm2-135m-instruct"].model.output_modalities
        (endpoint,) = build(stand_in=True).listings["openai/text-embedding-3-small"].endpoints
        assert "local" == endpoint.provider.slug

    def test_configured(self) -> None:
        """A model that is not known is what its settings say."""
        models = [
            {"id": "acme/v", "output_modalities": ["embeddings"]},
            {"id": "acme/r", "output_modalities": ["rerank"]},
        ]

        catalog = build(embedded=NO_EMBEDDED, providers={"acme": {"base_url": "http://x", "models": models}})

        assert ("embeddings",) == catalog.listings["acme/v"].model.output_modalities
        assert ("rerank",) == catalog.listings["acme/r"].model.output_modalities

    def test_where_the_protocol_has_none(self) -> None:
        """A configured one is an error, a known one is not offered."""
        models = [{"id": "acme/r", "output_modalities": ["rerank"]}]
        provider = {"base_url": "http://x", "protocol": "gemini", "models": models}

        with pytest.raises(ConfigError, match="there is no rerank in the provider's protocol, gemini"):
            build(providers={"acme": provider})
