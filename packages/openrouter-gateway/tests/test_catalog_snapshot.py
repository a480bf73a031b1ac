"""The snapshot: made of price tables and model lists, written, read, and preferred in the right order."""

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from openrouter_gateway.config.catalog import build_catalog
from openrouter_gateway.config.latest import newest
from openrouter_gateway.config.model_lists import merge_lists
from openrouter_gateway.config.price_tables import comparable, load_price_tables
from openrouter_gateway.config.refresh import make_snapshot, write_snapshot
from openrouter_gateway.config.rows import load_provider_rows
from openrouter_gateway.config.settings import Settings
from openrouter_gateway.config.snapshot import (
    FORMAT,
    KnownEndpoint,
    Snapshot,
    decode,
    default_location,
    encode,
    load_builtin,
    load_snapshot,
)
from openrouter_gateway.core.catalog import Model, Price, PriceOverride
from openrouter_gateway.errors import ConfigError

EMPTY = Snapshot(format=FORMAT, sources=("none",), date="2026-11-24", aliases={}, models=(), endpoints=())
BUILTIN = load_builtin()


@pytest.fixture(autouse=True)
def data_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data directory."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return tmp_path


def find(snapshot: Snapshot, model: str, tag: str) -> KnownEndpoint:
    """Return the one endpoint of a model with this tag."""
    (found,) = [known for known in snapshot.endpoints if (known.model, known.full_tag) == (model, tag)]
    return found


class TestBuiltIn:
    """The file that comes with the package."""

    def test_it_is_what_the_command_makes(self) -> None:
        """It was not edited, and making it again gives the same bytes."""
        made = make_snapshot(date.fromisoformat(BUILTIN.date)).snapshot
        if made.sources != BUILTIN.sources:
            pytest.skip(f"it was made of {BUILTIN.sources}, {made.sources} is installed")

        assert encode(BUILTIN) == encode(made)

    def test_long_prompts_have_their_price(self) -> None:
        """As the tables say, in every bucket that changes, and at the service tier's rates where it has some."""
        expected = {
            "openai": ("0.000005", "0.0000225", "0.0000005"),
            "openai/flex": ("0.0000025", "0.00001125", "0.00000025"),
        }
        for tag, rates in expected.items():
            price = find(BUILTIN, "openai/gpt-5.4", tag).price
            assert price is not None
            assert price.at(272_000).prompt == price.prompt
            long = price.at(272_001)
            assert tuple(map(Decimal, rates)) == (long.prompt, long.completion, long.cache_read)
            assert price.web_search == long.web_search

    def test_it_is_sound(self) -> None:
        """Endpoints of known models at known providers, one per model and tag, named as tags are."""
        rows, models = load_provider_rows(), {model.id for model in BUILTIN.models}
        places = [(known.model, known.full_tag) for known in BUILTIN.endpoints]

        assert len(places) == len(set(places))
        for known in BUILTIN.endpoints:
            assert known.model in models
            assert known.provider in rows
            assert known.full_tag.partition("/")[0] == known.provider
            assert known.upstream_id.startswith(rows[known.provider].upstream_prefix)
        assert {row for row in rows if rows[row].prices} == {known.provider for known in BUILTIN.endpoints}
        assert not any(model_id.startswith("~") or model_id.endswith(":batch") for model_id in models)

    @pytest.mark.parametrize(
        ("model", "tag", "upstream_id"),
        [
            ("openai/gpt-4o", "openai", "gpt-4o"),
            ("anthropic/claude-sonnet-4.5", "anthropic", "claude-sonnet-4-5"),
            ("meta-llama/llama-3.3-70b-instruct", "groq", "llama-3.3-70b-versatile"),
            ("meta-llama/llama-3.3-70b-instruct", "together/turbo", "meta-llama/Llama-3.3-70B-Instruct-Turbo"),
            ("meta-llama/llama-3.3-70b-instruct", "openrouter", "meta-llama/llama-3.3-70b-instruct"),
            ("deepseek/deepseek-v3.2", "fireworks", "accounts/fireworks/models/deepseek-v3p2"),
            ("z-ai/glm-4.6", "z-ai", "GLM-4.6"),
        ],
    )
    def test_providers_are_joined_under_one_id(self, model: str, tag: str, upstream_id: str) -> None:
        """Whatever they call it."""
        assert upstream_id == find(BUILTIN, model, tag).upstream_id

    def test_what_a_provider_does_not_serve_is_no_endpoint(self) -> None:
        """Open weights of OpenAI, and variants, which price tables have under other providers' names, too."""
        tags = {(known.model, known.full_tag) for known in BUILTIN.endpoints}

        assert ("openai/gpt-oss-120b", "groq") in tags
        assert ("openai/gpt-oss-120b", "openai") not in tags
        assert not any(":" in known.upstream_id for known in BUILTIN.endpoints if known.provider != "openrouter")

    def test_prices_are_per_unit(self) -> None:
        """Exactly, in every bucket: genai-prices has 1.25, 0.125 and 10 per million, and 10 per thousand searches."""
        price = find(BUILTIN, "openai/gpt-5", "openai").price

        expected = Price(
            prompt=Decimal("0.00000125"),
            completion=Decimal("0.00001"),
            cache_read=Decimal("0.000000125"),
            web_search=Decimal("0.01"),
        )
        assert expected == price

    def test_a_service_tier_is_an_endpoint(self) -> None:
        """At its own price, with the buckets that it does not change."""
        flex = find(BUILTIN, "openai/gpt-5", "openai/flex")

        assert ("flex", "gpt-5") == (flex.tier, flex.upstream_id)
        assert flex.price is not None
        assert (Decimal("0.000000625"), Decimal("0.01")) == (flex.price.prompt, flex.price.web_search)

    def test_of_tiered_prices_the_base_is_taken(self) -> None:
        """Claude's price of prompts up to 200,000 tokens, and its cache's."""
        price = find(BUILTIN, "anthropic/claude-sonnet-4.5", "anthropic").price

        assert price is not None
        assert (Decimal("0.000003"), Decimal("0.00000375"), Decimal("0.000006"), Decimal("0.0000003")) == (
            price.prompt,
            price.cache_write,
            price.cache_write_1h,
            price.cache_read,
        )

    def test_prices_are_those_of_the_day(self) -> None:
        """genai-prices has a second price of this model, from 2026-10-19 on."""
        before, after = (
            find(load_price_tables(date(2026, 10, day)), "openai/gpt-4o", "openrouter").price for day in (18, 19)
        )

        assert before is not None
        assert after is not None
        assert (None, Decimal("0.00000125")) == (before.cache_read, after.cache_read)


class TestFile:
    """Writing and reading."""

    def test_what_is_written_is_read(self, tmp_path: Path) -> None:
        """Directories are made, and an old file is replaced."""
        path = tmp_path / "new" / "catalog.json"

        for snapshot in (EMPTY, BUILTIN):
            write_snapshot(snapshot, path)
            assert snapshot == load_snapshot(path)
        assert [path] == list(path.parent.iterdir())

    def test_the_default_location_wins_over_the_built_in(self, data_home: Path) -> None:
        """And the file that is named wins over both."""
        assert load_snapshot() is BUILTIN
        assert data_home / "openrouter-gateway" / "catalog.json" == default_location()

        write_snapshot(EMPTY, default_location())

        assert EMPTY == load_snapshot()
        assert (
            {} == build_catalog(Settings.model_validate({"embedded": {"enabled": False}}), frozenset({"groq"})).listings
        )

    @pytest.mark.parametrize(
        ("content", "told"),
        [("{", "is not a catalogue"), ('{"format": 0}', "format is 0"), ("[]", "is not a catalogue")],
    )
    def test_what_is_none(self, tmp_path: Path, content: str, told: str) -> None:
        """The file is named, and what to do."""
        path = tmp_path / "catalog.json"
        path.write_text(content)

        with pytest.raises(ConfigError, match=told) as caught:
            load_snapshot(path)
        assert str(path) in str(caught.value)
        assert "catalog refresh" in str(caught.value)

    @pytest.mark.parametrize("place", [1, -1])
    def test_parameters_that_are_not_there(self, tmp_path: Path, place: int) -> None:
        """An endpoint refers to the file's sets of parameters."""
        path = tmp_path / "catalog.json"
        known = {"model": "a/b", "provider": "groq", "upstream_id": "b", "parameter_set": place}
        empty: dict[str, Any] = {"format": FORMAT, "sources": [], "date": "", "aliases": {}, "models": []}
        path.write_text(json.dumps(empty | {"endpoints": [known], "parameter_sets": [["stop"]]}))

        with pytest.raises(ConfigError, match=r"is not a catalogue: .*parameter.set"):
            load_snapshot(path)

    def test_what_is_not_there(self, tmp_path: Path) -> None:
        """Or cannot be written."""
        with pytest.raises(ConfigError, match="cannot read the catalogue"):
            load_snapshot(tmp_path / "none.json")
        (tmp_path / "file").touch()
        with pytest.raises(ConfigError, match="cannot write"):
            write_snapshot(EMPTY, tmp_path / "file" / "catalog.json")


LISTED: dict[str, Any] = {
    "data": [
        {
            "id": "meta-llama/llama-3.3-70b-instruct",
            "canonical_slug": "meta-llama/llama-3.3-70b-instruct-1206",
            "name": "Meta: Llama 3.3 70B",
            "created": 1733506137,
            "context_length": 131072,
            "architecture": {"input_modalities": ["text"], "output_modalities": ["text"], "tokenizer": "Llama3"},
            "pricing": {
                "prompt": "0.0000001",
                "completion": "0.00000032",
                "input_audio_cache": "0.5",
                "overrides": [
                    {"min_prompt_tokens": 200_000, "prompt": "0.0000002", "input_cache_read": "0.1"},
                    {"min_prompt_tokens": 1, "utc_start": 0, "utc_end": 1200, "prompt": "7"},
                    {"min_prompt_tokens": 300_000, "prompt": "dear"},
                ],
            },
            "top_provider": {"context_length": 65536, "max_completion_tokens": 1000, "is_moderated": True},
            "supported_parameters": ["tools"],
            "hugging_face_id": "meta-llama/Llama-3.3-70B-Instruct",
            "reasoning": {"mandatory": True, "supported_efforts": ["high", "low"]},
            "something_new": 1,
        },
        {"id": "openrouter/auto", "name": "Auto", "pricing": {"prompt": "-1", "completion": "-1"}},
        {"id": "acme/dynamic", "name": "Dynamic", "pricing": {"prompt": "-1", "completion": "-1"}},
        {
            "id": "~acme/dynamic-latest",
            "name": "x",
            "pricing": {},
            "alias_target": {"slug": "acme/dynamic", "name": "x"},
        },
    ]
}
ENDPOINTS: dict[str, Any] = {
    "data": {
        "id": "meta-llama/llama-3.3-70b-instruct",
        "endpoints": [
            {
                "tag": tag,
                "pricing": {"prompt": "0.000001", "completion": "0.000002"},
                "quantization": "fp8",
                "context_length": 8192,
                "max_completion_tokens": 100,
                "supports_implicit_caching": True,
                "supported_parameters": ["tools"],
            }
            for tag in ("deepinfra/turbo", "deepinfra/fp8", "deepinfra/eu", "groq", "unheard-of", "xai")
        ],
    }
}


def as_source(name: str, document: object) -> tuple[str, bytes]:
    """Return a document as it is merged."""
    return name, json.dumps(document).encode()


class TestMerge:
    """Answers of OpenRouter."""

    def test_a_list_of_models(self) -> None:
        """Facts, the price at OpenRouter, aliases; routers are not taken over."""
        snapshot = merge_lists(EMPTY, [as_source("models.json", LISTED)]).snapshot

        dynamic, llama = snapshot.models
        assert ("none", "models.json") == snapshot.sources
        assert {"~acme/dynamic-latest": "acme/dynamic"} == snapshot.aliases
        assert (1733506137, "Llama3", "meta-llama/Llama-3.3-70B-Instruct") == (
            llama.created,
            llama.tokenizer,
            llama.hugging_face_id,
        )
        assert llama.reasoning is not None
        assert (True, ("high", "low")) == (llama.reasoning.mandatory, llama.reasoning.supported_efforts)
        found = find(snapshot, llama.id, "openrouter")
        assert (65536, 1000, True) == (found.context_length, found.max_completion_tokens, found.moderated)
        assert found.price is not None
        assert Decimal("0.5") == found.price.audio_cache_read
        long = PriceOverride(
            min_prompt_tokens=200_000, rates={"prompt": Decimal("0.0000002"), "cache_read": Decimal("0.1")}
        )
        assert (long,) == found.price.overrides, "prices by the hour are not kept"
        assert None is find(snapshot, dynamic.id, "openrouter").price
        assert snapshot == decode(encode(snapshot))

    def test_a_list_of_endpoints(self) -> None:
        """Named as the provider's row or the price tables tell; others are left out and said."""
        merged = merge_lists(BUILTIN, [as_source("e", ENDPOINTS), as_source("m", LISTED)])

        llama = "meta-llama/llama-3.3-70b-instruct"
        assert {llama: ("deepinfra/eu", "unheard-of", "xai")} == merged.left_out
        turbo, plain, groq = (find(merged.snapshot, llama, tag) for tag in ("deepinfra/turbo", "deepinfra/fp8", "groq"))
        assert [f"meta-llama/Llama-3.3-70B-Instruct{end}" for end in ("-Turbo", "")] == [
            turbo.upstream_id,
            plain.upstream_id,
        ]
        assert ("llama-3.3-70b-versatile", "fp8", 100, True) == (
            groq.upstream_id,
            groq.quantization,
            groq.max_completion_tokens,
            groq.implicit_caching,
        )

    @pytest.mark.parametrize(
        ("document", "told"),
        [
            ({"data": 1}, "neither a list of models nor one of endpoints"),
            ({"data": [{"id": "a/b", "name": "x", "pricing": {"prompt": "cheap"}}]}, "a price is not a number"),
            *(
                ({"data": [{"id": "a/b", "name": "x", "pricing": {"prompt": price}}]}, "a price is not a number")
                for price in ("NaN", "sNaN", "Infinity", "1e999999999", "1e-999999999")
            ),
            ({"data": {"id": "no/such", "endpoints": []}}, "no/such has endpoints"),
        ],
    )
    def test_what_is_neither(self, document: object, told: str) -> None:
        """It is named, and nothing is made of it."""
        with pytest.raises(ConfigError, match=told):
            merge_lists(EMPTY, [as_source("x.json", document)])

    def test_a_file(self, tmp_path: Path) -> None:
        """Its name, not its path, is kept."""
        path = tmp_path / "models.json"
        path.write_text(json.dumps(LISTED))

        made = make_snapshot(date(2026, 11, 24), [str(path)]).snapshot

        assert "models.json" == made.sources[-1]
        with pytest.raises(ConfigError, match=r"cannot read none\.json"):
            make_snapshot(date(2026, 11, 24), [str(tmp_path / "none.json")])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Llama-3.1-8B", "llama-3-1-8b"),
        ("deepseek-v3p2", "deepseek-v3-2"),
        ("deepseek_v3", "deepseek-v3"),
        ("gp", "gp"),
    ],
)
def test_spelling_does_not_count(name: str, expected: str) -> None:
    """Case, dots and dashes."""
    assert expected == comparable(name)


@pytest.mark.parametrize(
    ("alias", "expected"),
    [
        ("~a/big-latest", "a/big-4.5"),
        ("~a/big-fast-latest", "a/big-4-fast"),
        ("~a/k-latest", "a/k-v2"),
        ("~b/g-latest", "b/g-4.3"),
        ("~b/v4-latest", "b/v4-0731"),
        ("~b/p-latest", "b/p-3-preview"),
        ("~c/d-latest", "c/d-1"),
        ("~d/none-latest", None),
    ],
)
def test_the_newest_of_a_family(alias: str, expected: str | None) -> None:
    """By creation where all have one, or else by version; variants and other families do not count."""
    undated = [
        "a/big-3", "a/big-4.5", "a/big-5:free", "a/big-4-fast", "a/bigger-6", "a/k-v2", "a/k-v1", "b/g-4.20", "b/g-4.3",
        "b/v4", "b/v4-0731", "b/v4.1", "b/p-2", "b/p-3-preview",
    ]  # fmt: skip
    models = [Model(id=model_id, name="x") for model_id in undated]
    models += [Model(id="c/d-1", name="x", created=2), Model(id="c/d-2", name="x", created=1)]

    assert expected == newest(alias, models)
