"""What gateway.toml changes in the catalogue, and the example that has all of it."""

import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from openrouter_gateway.config.catalog import build_catalog, load_keys
from openrouter_gateway.config.rows import load_provider_rows
from openrouter_gateway.config.settings import Settings, load_settings
from openrouter_gateway.core.catalog import Catalog, DataPolicy, Endpoint, Price
from openrouter_gateway.edge.catalog import (
    endpoints_object,
    find_listing,
    model_object,
    models_object,
    named_model_object,
    providers_object,
)
from openrouter_gateway.errors import ConfigError
from openrouter_gateway.wire.protocols import PROTOCOLS
from openrouter_gateway.wire.recording import Exchange, encode_recording, to_recording

EXAMPLE = Path(__file__).parents[3] / "examples" / "gateway.toml"
NO_EMBEDDED = {"enabled": False}


@pytest.fixture(autouse=True)
def no_refreshed_catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the developer's own snapshot out."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))


def build(*keyed: str, **settings: Any) -> Catalog:
    """Return the catalogue of these settings, with keys for these providers, without the embedded model."""
    return build_catalog(Settings.model_validate({"embedded": NO_EMBEDDED} | settings), frozenset(keyed))


def endpoint(catalog: Catalog, model: str, tag: str) -> Endpoint:
    """Return the one endpoint of a model with this tag."""
    (found,) = [known for known in catalog.listings[model].endpoints if known.tag == tag]
    return found


def settings_of(section: type[BaseModel], above: str = "") -> set[str]:
    """Return the path of every setting; a table of tables, or an array of them, is a star."""
    found: set[str] = set()
    for name, field in section.model_fields.items():
        kinds = [kind for kind in _classes(field.annotation) if issubclass(kind, BaseModel)]
        star = ".*" if getattr(field.annotation, "__origin__", None) in (dict, list) and kinds else ""
        found |= settings_of(kinds[0], f"{above}{name}{star}.") if kinds else {above + name}
    return found


def _classes(annotation: Any) -> list[type]:
    if isinstance(annotation, type) and not get_args(annotation):
        return [annotation]
    return [kind for argument in get_args(annotation) for kind in _classes(argument)]


def said_in(value: Any, section: set[str], above: str = "") -> set[str]:
    """Return the paths that a file says, as `settings_of` spells them."""
    found: set[str] = {above.removesuffix(".")}
    pairs = (
        value.items() if isinstance(value, dict) else [("*", held) for held in value] if isinstance(value, list) else ()
    )
    for name, held in pairs:
        starred = not any(path.startswith(f"{above}{name}") for path in section)
        found |= said_in(held, section, f"{above}{'*' if starred else name}.")
    return found


class TestExample:
    """examples/gateway.toml."""

    def test_it_has_every_setting(self) -> None:
        """None is missing, so that it can be looked up there."""
        wanted = settings_of(Settings)

        assert {"server.port", "providers.*.models.*.pricing.prompt", "models.*.reasoning.mandatory"} <= wanted
        assert set() == wanted - said_in(tomllib.loads(EXAMPLE.read_text()), wanted)

    def test_it_loads(self) -> None:
        """And the catalogue is what its comments say."""
        settings = load_settings(EXAMPLE).model_copy(update={"catalog": Settings().catalog})
        keys = load_keys(settings, {"MY_GROQ_KEY": "k"})
        catalog = build_catalog(settings, frozenset(keys))

        assert {"openai": "sk-example", "groq": "k"} == keys
        assert "mine/writer" == catalog.aliases["~mine/writer-latest"]
        assert {"mine/writer:free", "meta-llama/llama-3.1-8b-instruct"} <= catalog.listings.keys()
        writer = catalog.listings["mine/writer"]
        assert ("Writer 2", 1793491200) == (writer.model.name, writer.model.created)
        assert all(getattr(writer.endpoints[0].price, name) is not None for name in Price.__struct_fields__)
        assert ["groq", "ollama"] == [e.tag for e in catalog.listings["meta-llama/llama-3.1-8b-instruct"].endpoints]


class TestReplay:
    """Providers whose answers come from recordings."""

    @pytest.fixture
    def replaying(self, tmp_path: Path) -> Settings:
        """One exchange with Groq is recorded, one with an address of one's own."""
        folder = tmp_path / "recordings"
        folder.mkdir()
        for place, url in enumerate(["https://api.groq.com:443/openai/v1/chat/completions", "http://mine:80/v1/x"]):
            exchange = Exchange("", "POST", url, {}, b"{}", 200, {}, 0, [], "complete", None)
            (folder / f"{place}.json").write_bytes(encode_recording(to_recording(exchange, [])))
        providers = {
            "mistral": {"base_url": "http://mine/v1", "api_key_env": "NOT_SET"},
            "acme": {"base_url": "http://acme/v1", "api_key_env": "NOT_SET"},
        }
        recording = {"mode": "replay", "directory": folder}
        return Settings.model_validate({"embedded": NO_EMBEDDED, "recording": recording, "providers": providers})

    def test_they_need_no_keys(self, replaying: Settings) -> None:
        """By the addresses that were recorded; a variable that is not set is no error."""
        assert ["groq", "mistral"] == sorted(load_keys(replaying, {}))
        assert "k" == load_keys(replaying, {"GROQ_API_KEY": "k"})["groq"]

    def test_recordings_alone_enable_nothing(self, replaying: Settings) -> None:
        """While they are made, or lie about, keys are needed."""
        recording = replaying.recording.model_copy(update={"mode": "record"})
        settings = replaying.model_copy(update={"recording": recording, "providers": {}})

        assert {} == load_keys(settings, {})


class TestProviders:
    """What is said of a provider."""

    def test_it_can_be_switched_off(self) -> None:
        """In spite of its key; or only what is known of it."""
        assert {} == build("groq", providers={"groq": {"enabled": False, "models": [{"id": "a/b"}]}}).listings
        listed = build("groq", providers={"groq": {"known_models": False, "models": [{"id": "a/b"}]}})
        assert {"a/b"} == listed.listings.keys()

    def test_everything_can_be_changed(self) -> None:
        """For known models, too."""
        said = {"supports_cancel": True, "headquarters": "DE", "datacenters": ["DE", "FR"], "trains_on_prompts": True}

        (provider,) = build("groq", providers={"groq": said}).providers

        assert (True, "DE", ("DE", "FR")) == (provider.supports_cancel, provider.headquarters, provider.datacenters)
        assert DataPolicy(trains=True, retains=None) == provider.policy
        assert ["DE", "FR"] == providers_object(build("groq", providers={"groq": said}))["data"][0]["datacenters"]

    def test_a_compatible_address_can_be_opted_into(self) -> None:
        """With a protocol that is spoken, the provider's known models are there."""
        catalog = build("anthropic", providers={"anthropic": {"protocol": "openai"}})

        assert "claude-sonnet-4-5" == endpoint(catalog, "anthropic/claude-sonnet-4.5", "anthropic").upstream_id
        assert catalog.aliases["~anthropic/claude-sonnet-latest"].startswith("anthropic/claude-sonnet-")

    def test_a_local_server_needs_no_address(self) -> None:
        """Its default one is known."""
        catalog = build(providers={"vllm": {"models": [{"id": "a/b"}]}})

        assert "http://127.0.0.1:8000/v1" == catalog.providers[0].base_url


class TestEndpoints:
    """What is said of an endpoint."""

    def test_a_known_one_is_changed(self) -> None:
        """By what is said and nothing else, bucket by bucket."""
        before = endpoint(build("openai"), "openai/gpt-5", "openai")
        said = {"id": "openai/gpt-5", "quantization": "fp8", "pricing": {"prompt": "0.1", "request": "1"}}

        after = endpoint(build("openai", providers={"openai": {"models": [said]}}), "openai/gpt-5", "openai")

        assert before.price is not None
        assert after.price is not None
        assert ("fp8", Decimal("0.1"), 1) == (after.quantization, after.price.prompt, after.price.request)
        assert (before.upstream_id, before.context_length, before.price.completion, before.price.cache_read) == (
            after.upstream_id,
            after.context_length,
            after.price.completion,
            after.price.cache_read,
        )

    def test_a_known_one_is_taken_away(self) -> None:
        """And with its last endpoint the model."""
        said = [{"id": "openai/gpt-5", "enabled": False}, {"id": "openai/gpt-4", "enabled": False}]

        catalog = build("openai", providers={"openai": {"models": said}})

        assert ["openai/flex", "openai/priority"] == [e.tag for e in catalog.listings["openai/gpt-5"].endpoints]
        assert "openai/gpt-4" not in catalog.listings

    def test_a_tier_is_added(self) -> None:
        """As an endpoint of its own."""
        said = [{"id": "a/b"}, {"id": "a/b", "tag": "acme/priority", "tier": "priority"}]

        catalog = build(providers={"acme": {"base_url": "http://x", "models": said}})

        assert [None, "priority"] == [e.service_tier for e in catalog.listings["a/b"].endpoints]

    @pytest.mark.parametrize(
        ("models", "others", "key"),
        [
            ([{"id": "a/b"}, {"id": "a/b"}], [], "providers.acme.models.1"),
            ([{"id": "a/b", "tag": "x"}], [{"id": "a/b", "tag": "x"}], "providers.beta.models.0"),
        ],
    )
    def test_two_of_one_tag(self, models: list[Any], others: list[Any], key: str) -> None:
        """They could not be told apart."""
        providers = {
            slug: {"base_url": "http://x", "models": said} for slug, said in (("acme", models), ("beta", others))
        }

        with pytest.raises(ConfigError, match=key):
            build(providers=providers)

    def test_several_providers_of_a_model(self) -> None:
        """Under one id, in the order of the table."""
        catalog = build("openrouter", "groq", "cerebras", "novita")

        tags = [e.tag for e in catalog.listings["meta-llama/llama-3.3-70b-instruct"].endpoints]
        assert ["groq", "cerebras", "novita", "openrouter"] == tags


class TestProtocols:
    """Which protocol an endpoint is spoken to in."""

    def protocols(self, catalog: Catalog, *models: str) -> list[str]:
        """Return the protocols of each model's endpoints, which agree."""
        found = [{known.protocol for known in catalog.listings[model].endpoints} for model in models]
        assert all(len(protocols) == 1 for protocols in found)
        return [protocol for protocols in found for protocol in protocols]

    def test_the_built_in_division(self) -> None:
        """OpenAI's reasoning models, with their tiers, in the one, the others in the other."""
        catalog = build("openai")

        reasoning = (
            "openai/o1",
            "openai/o3",
            "openai/o4-mini",
            "openai/gpt-5",
            "openai/gpt-5.4-mini",
            "openai/gpt-6-sol",
        )
        assert ["openai_responses"] * 6 == self.protocols(catalog, *reasoning)
        others = ("openai/gpt-4o", "openai/gpt-4.1", "openai/o1-mini", "openai/gpt-3.5-turbo", "openai/gpt-chat-latest")
        assert ["openai"] * 5 == self.protocols(catalog, *others)
        assert ["openai"] == self.protocols(build("xai"), "x-ai/grok-4.5")
        assert [("flex", "priority")] == [provider.tiers for provider in catalog.providers]

    @pytest.mark.parametrize(
        "name", ["gpt-5-chat-latest", "gpt-5.2-chat-latest", "gpt-5-search-api", "o1-preview", "gpt-4o"]
    )
    def test_added_models_that_do_not_show_their_reasoning(self, name: str) -> None:
        """They stay with chat completions."""
        catalog = build("openai", providers={"openai": {"models": [{"id": f"openai/x-{name}", "upstream_id": name}]}})

        assert ["openai"] == self.protocols(catalog, f"openai/x-{name}")

    def test_an_added_model(self) -> None:
        """Goes by the provider's own name of it."""
        models = [{"id": "openai/mine", "upstream_id": "o9-mini"}, {"id": "openai/o7-mine", "upstream_id": "mine"}]
        catalog = build("openai", providers={"openai": {"models": models}})

        assert ["openai_responses", "openai"] == self.protocols(catalog, "openai/mine", "openai/o7-mine")

    @pytest.mark.parametrize("protocol", ["openai", "openai_responses"])
    def test_one_for_a_whole_provider(self, protocol: str) -> None:
        """A word in its table is of all its models, known or added."""
        changes = {"protocol": protocol, "models": [{"id": "openai/o9"}]}
        catalog = build("openai", providers={"openai": changes})

        assert [protocol] * 3 == self.protocols(catalog, "openai/o9", "openai/o3", "openai/gpt-4o")

    def test_one_for_one_model(self) -> None:
        """It comes first, at a built-in provider and at an added one."""
        responses = {"protocol": "openai_responses"}
        mine = {"base_url": "http://127.0.0.1:1/v1", "models": [{"id": "a/one"} | responses, {"id": "a/two"}]}
        openai = {"models": [{"id": "openai/gpt-4o"} | responses, {"id": "openai/gpt-5-pro", "protocol": "openai"}]}
        catalog = build("openai", providers={"mine": mine, "openai": openai})

        assert ["openai_responses", "openai"] == self.protocols(catalog, "a/one", "a/two")
        assert "openai_responses" == endpoint(catalog, "openai/gpt-4o", "openai").protocol
        assert "openai" == endpoint(catalog, "openai/gpt-4o", "openai/priority").protocol
        assert ["openai"] == self.protocols(catalog, "openai/gpt-5-pro")

    def test_another_address_is_not_divided(self) -> None:
        """What is behind it may speak chat completions alone."""
        catalog = build("openai", providers={"openai": {"base_url": "http://127.0.0.1:1/v1"}})

        assert ["openai"] == self.protocols(catalog, "openai/o3")

    def test_every_protocol_of_the_table_is_spoken(self) -> None:
        """A pattern that leads nowhere would take its models away."""
        named = {protocol for row in load_provider_rows().values() for protocol in row.protocols.values()}

        assert named
        assert named <= PROTOCOLS.keys()


class TestModels:
    """What is said of a model."""

    def test_built_in_endpoints_take_what_is_said_of_their_model(self) -> None:
        """But for what is said of the endpoint itself."""
        said = {"input_modalities": ["text", "video"], "supported_parameters": ["tools"]}
        model_id = "openai/gpt-oss-20b"
        own: dict[str, Any] = {"id": model_id, "supported_parameters": ["seed"]}

        catalog = build("groq", "fireworks", providers={"groq": {"models": [own]}}, models={model_id: said})

        taken = {e.tag: (e.supported_parameters, e.input_modalities) for e in catalog.listings[model_id].endpoints}
        assert {"groq": ({"seed"}, {"text", "video"}), "fireworks": ({"tools"}, {"text", "video"})} == taken

    def test_endpoints_of_ones_own_are_what_they_say(self) -> None:
        """Also when they say nothing."""
        mine: dict[str, Any] = {"base_url": "http://127.0.0.1:1/v1", "models": [{"id": "mine/one"}]}

        catalog = build(providers={"mine": mine}, models={"mine/one": {"supported_parameters": ["tools"]}})

        assert None is catalog.listings["mine/one"].endpoints[0].supported_parameters

    def test_everything_can_be_changed(self) -> None:
        """Wherever it is hosted, and it is shown."""
        said = {
            "name": "Five",
            "created": 7,
            "aliases": ["mine/five"],
            "canonical_slug": "openai/gpt-5-2025-08-07",
            "supported_parameters": ["tools"],
            "default_parameters": {"temperature": 1},
            "reasoning": {"mandatory": True, "default_effort": "low"},
            "hugging_face_id": "x",
        }

        catalog = build("openai", models={"openai/gpt-5": said})

        row = model_object(catalog.listings["openai/gpt-5"])
        assert ("Five", 7, ["tools"], {"temperature": 1}, "x") == tuple(
            row[key] for key in ("name", "created", "supported_parameters", "default_parameters", "hugging_face_id")
        )
        assert {
            "mandatory": True,
            "default_enabled": False,
            "default_effort": "low",
            "supported_efforts": None,
            "supports_max_tokens": None,
        } == row["reasoning"]
        controls = [endpoint.reasoning for endpoint in catalog.listings["openai/gpt-5"].endpoints]
        assert [catalog.listings["openai/gpt-5"].model.reasoning] * len(controls) == controls
        assert "expiration_date" not in row
        for name in ("mine/five", "openai/gpt-5-2025-08-07", "openai/gpt-5:nitro"):
            assert row == named_model_object(catalog, name)

    def test_it_can_be_taken_away(self) -> None:
        """At every provider."""
        assert "openai/gpt-5" not in build("openai", "openrouter", models={"openai/gpt-5": {"enabled": False}}).listings

    def test_one_that_is_known_but_not_here(self) -> None:
        """A configuration may be shared by gateways with other keys."""
        assert {} == build(models={"openai/gpt-5": {"name": "x"}}).listings


class TestAliases:
    """Ids that stand for models."""

    def test_they_are_listed_as_what_they_stand_for(self) -> None:
        """After the models, with their target."""
        catalog = build("openai")
        target = catalog.aliases["~openai/gpt-latest"]

        row = next(row for row in models_object(catalog)["data"] if row["id"] == "~openai/gpt-latest")

        model = model_object(catalog.listings[target])
        assert {"slug": target, "name": model["name"]} == row["alias_target"]
        assert (model["pricing"], model["context_length"]) == (row["pricing"], row["context_length"])
        assert "/api/v1/models/~openai/gpt-latest/endpoints" == row["links"]["details"]
        assert ("~openai/gpt-latest", catalog.listings[target]) == find_listing(catalog, "~openai/gpt-latest")

    def test_the_settings_win(self) -> None:
        """Over what is found."""
        assert (
            "openai/gpt-4"
            == build("openai", aliases={"~openai/gpt-latest": "openai/gpt-4"}).aliases["~openai/gpt-latest"]
        )

    def test_one_that_is_a_model(self) -> None:
        """It would hide it."""
        with pytest.raises(ConfigError, match=r'aliases\."openai/gpt-5"'):
            build("openai", aliases={"openai/gpt-5": "openai/gpt-4"})

    @pytest.mark.parametrize("name", ["no/such", "openrouter/auto", "~no/such-latest", "openai/gpt-5:online"])
    def test_what_goes_by_no_name(self, name: str) -> None:
        """Routers are no models."""
        catalog = build("openai")

        assert (None, None) == (find_listing(catalog, name), named_model_object(catalog, name))


def test_an_endpoint_shows_what_is_known() -> None:
    """Tier, limits and every price, exactly."""
    said = {
        "id": "a/b",
        "tag": "acme/flex",
        "max_prompt_tokens": 5,
        "implicit_caching": True,
        "moderated": True,
        "pricing": {"prompt": "0.00000012", "image": "1", "input_audio_cache": "0", "input_cache_write_1h": "2E-7"},
    }
    listing = build(providers={"acme": {"base_url": "http://x", "models": [said]}}).listings["a/b"]

    (row,) = endpoints_object(listing)["endpoints"]

    assert (5, True, "flex") == tuple(
        row[key] for key in ("max_prompt_tokens", "supports_implicit_caching", "service_tier")
    )
    assert {
        "prompt": "0.00000012",
        "completion": "0",
        "image": "1",
        "input_audio_cache": "0",
        "input_cache_write_1h": "0.0000002",
    } == row["pricing"]
    assert model_object(listing)["top_provider"]["is_moderated"]


def test_a_model_is_not_priced_as_a_tier() -> None:
    """Tiers have to be asked for."""
    said = [
        {"id": "a/b", "tag": "acme/flex", "pricing": {"prompt": "1"}, "supported_parameters": ["tools"]},
        {"id": "a/b", "pricing": {"prompt": "2"}, "supported_parameters": ["seed"]},
    ]
    row = model_object(build(providers={"acme": {"base_url": "http://x", "models": said}}).listings["a/b"])

    assert "2" == row["pricing"]["prompt"]


def test_a_price_that_is_given_holds_for_long_prompts_too() -> None:
    """What is not given keeps what is known, also of long prompts."""
    said = {"id": "openai/gpt-5.4", "tag": "openai", "pricing": {"prompt": "0.1"}}
    listing = build("openai", providers={"openai": {"models": [said]}}).listings["openai/gpt-5.4"]
    (price,) = (endpoint.price for endpoint in listing.endpoints if endpoint.tag == "openai")

    assert price is not None
    assert (Decimal("0.1"), Decimal("0.0000225")) == (price.at(300_000).prompt, price.at(300_000).completion)
    (row,) = (row for row in endpoints_object(listing)["endpoints"] if row["tag"] == "openai")
    (override,) = row["pricing"]["overrides"]
    assert {"min_prompt_tokens": 272_000, "completion": "0.0000225", "input_cache_read": "0.0000005"} == override
