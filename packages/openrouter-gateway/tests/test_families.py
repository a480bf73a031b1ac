"""The table of families: its rows, and what is filled in from them."""

from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from openrouter_gateway.config.enrichment import enrich_endpoints, enrich_models
from openrouter_gateway.config.families import load_families, parse_families
from openrouter_gateway.config.rows import load_provider_rows
from openrouter_gateway.config.snapshot import FORMAT, KnownEndpoint, Snapshot
from openrouter_gateway.core.catalog import Model, Price, Reasoning
from openrouter_gateway.routing.demand import PARAMETERS

TABLE = parse_families("""
[sets]
calls = ["tools", "tool_choice"]

[hosts.one]
parameters = ["temperature", "calls"]
inputs = ["text", "image"]

[hosts."one/other"]
parameters = ["temperature"]
inputs = ["text"]

[[families]]
models = ["*"]
can = ["temperature"]

[[families]]
models = ["a/*"]
adds = ["calls", "seed"]
tokenizer = "GPT"
thinks = { unasked = true, efforts = ["high"] }

[[families]]
models = ["a/small"]
lacks = ["tools"]
tokenizer = "Other"

[[families]]
models = ["a/plain"]
can = ["stop"]
thinks = false

[[families]]
models = ["a/small"]
at = ["one"]
adds = ["tools"]
max_completion_tokens = 10

[[families]]
models = ["a/small:thinking"]
thinks = { always = true }

[released]
2026-01-02 = ["a/s*"]
"2026-01-03" = ["a/small"]
""")


class TestTable:
    """Rows that fit, from the top."""

    def test_later_rows_win(self) -> None:
        """Field by field; what is added and taken away counts up to the next `can`."""
        small = TABLE.facts_of("a/small")

        assert {
            "temperature", "seed", "tool_choice", "reasoning", "include_reasoning", "reasoning_effort",
        } == small.parameters  # fmt: skip
        assert "Other" == small.tokenizer
        assert {"stop"} == TABLE.facts_of("a/plain").parameters
        assert {"temperature"} == TABLE.facts_of("b/any").parameters

    def test_a_row_may_be_about_one_provider(self) -> None:
        """Elsewhere it does not hold."""
        assert "tools" in TABLE.facts_of("a/small", "one").parameters
        assert 10 == TABLE.facts_of("a/small", "one").max_completion_tokens
        assert "tools" not in TABLE.facts_of("a/small", "two").parameters

    def test_variants_are_what_their_model_is(self) -> None:
        """Unless a row is about the variant."""
        assert TABLE.facts_of("a/small:free") == TABLE.facts_of("a/small")
        thinks = TABLE.facts_of("a/small:thinking").thinks
        assert thinks
        assert thinks.always

    def test_a_protocol_may_let_less_through(self) -> None:
        """A host is that of the protocol, or else the provider's."""
        one, other = TABLE.host_of("one", "openai"), TABLE.host_of("one", "other")

        assert one is not None
        assert ("temperature", "tools", "tool_choice") == one.parameters
        assert other is not None
        assert ("temperature",) == other.parameters
        assert None is TABLE.host_of("two", "openai")

    def test_the_day_of_release(self) -> None:
        """The first that fits."""
        assert date(2026, 1, 2) == TABLE.release_of("a/small:free")
        assert None is TABLE.release_of("a/big")

    @pytest.mark.parametrize(
        ("thinks", "expected"),
        [
            ("{}", Reasoning()),
            ("{ always = true }", Reasoning(mandatory=True, default_enabled=True)),
            ('{ efforts = "all", budgets = true }', Reasoning(supported_efforts=None, supports_max_tokens=True)),
            (
                '{ unasked = true, default = "low", efforts = ["low"] }',
                Reasoning(default_enabled=True, default_effort="low", supported_efforts=("low",)),
            ),
        ],
    )
    def test_reasoning(self, thinks: str, expected: Reasoning) -> None:
        """As the API has it."""
        families = f'[[families]]\nmodels = ["*"]\nthinks = {thinks}\n[sets]\n[hosts]\n[released]'
        found = parse_families(families).facts_of("a/b").thinks

        assert found
        assert expected == found.to_core()

    @pytest.mark.parametrize("row", ['models = ["*"]\nmisspelt = 1', 'can = ["stop"]', "models = 1"])
    def test_what_is_no_row(self, row: str) -> None:
        """Nothing is passed over."""
        with pytest.raises(msgspec.ValidationError):
            parse_families(f"[[families]]\n{row}\n[sets]\n[hosts]\n[released]")

    def test_every_built_in_provider_is_a_host(self) -> None:
        """But for servers of one's own, whose models are listed in gateway.toml; no host is misspelt."""
        rows, hosts = load_provider_rows(), {name.partition("/")[0] for name in load_families().hosts}

        assert {slug for slug, row in rows.items() if row.key_env} == hosts

    def test_the_built_in_one_speaks_the_apis_words(self) -> None:
        """In every list of parameters."""
        table = load_families()
        lists = [host.parameters for host in table.hosts.values()]
        for family in table.families:
            lists += [family.can or (), family.adds, family.lacks]

        assert set() == {name for names in lists for name in names} - PARAMETERS


def snapshot_of(model: Model, **endpoint: Any) -> Snapshot:
    """Return a snapshot of one model with one endpoint."""
    fields: dict[str, Any] = {"provider": "groq", "upstream_id": "x"} | endpoint
    known = KnownEndpoint(model=model.id, **fields)
    return Snapshot(format=FORMAT, sources=(), date="2026-11-24", aliases={}, models=(model,), endpoints=(known,))


class TestEnrichment:
    """Filling in."""

    def test_what_is_said_stays(self) -> None:
        """Models and endpoints of lists know better."""
        model = Model(
            id="openai/gpt-oss-20b", name="x", tokenizer="Llama3", supported_parameters=("tools",), context_length=5,
            reasoning=Reasoning(mandatory=True), knowledge_cutoff="2020-01-01",
        )  # fmt: skip
        said = snapshot_of(
            model, supported_parameters=("seed",), input_modalities=("text",), max_completion_tokens=7,
            context_length=9, quantization="fp4",
        )  # fmt: skip

        found = enrich_endpoints(enrich_models(said))

        assert said.endpoints == found.endpoints
        for name in ("tokenizer", "supported_parameters", "context_length", "reasoning", "knowledge_cutoff"):
            assert getattr(model, name) == getattr(found.models[0], name)

    def test_parameters_of_the_model_count_where_a_list_tells_them(self) -> None:
        """At a provider, those that it lets through."""
        model = Model(id="new/unheard-of", name="x", supported_parameters=("tools", "logit_bias", "seed"))

        (endpoint,) = enrich_endpoints(snapshot_of(model)).endpoints

        assert ("seed", "tools") == endpoint.supported_parameters
        assert ("text",) == endpoint.input_modalities

    def test_a_list_that_says_text_is_believed(self) -> None:
        """Though others of the family take images."""
        said = snapshot_of(Model(id="openai/gpt-4o", name="x", input_modalities=("text",)), provider="openai")

        assert ("text",) == enrich_endpoints(said).endpoints[0].input_modalities

    def test_an_answer_is_no_longer_than_the_context(self) -> None:
        """Whatever the model writes elsewhere."""
        model = Model(id="openai/gpt-oss-20b", name="x")

        (endpoint,) = enrich_endpoints(snapshot_of(model, context_length=1000)).endpoints

        assert 1000 == endpoint.max_completion_tokens

    def test_caching_by_itself_has_a_price(self) -> None:
        """Where none is known, it is not said."""
        model, price = Model(id="a/b", name="x"), Price(cache_read=Decimal(1))

        assert enrich_endpoints(snapshot_of(model, price=price)).endpoints[0].implicit_caching
        assert not enrich_endpoints(snapshot_of(model, price=Price())).endpoints[0].implicit_caching
        claude = snapshot_of(model, price=price, provider="anthropic")
        assert not enrich_endpoints(claude).endpoints[0].implicit_caching

    def test_vectors_are_left_alone(self) -> None:
        """No parameters of chats are theirs."""
        said = snapshot_of(Model(id="openai/text-embedding-3-small", name="x", output_modalities=("embeddings",)))

        assert said.endpoints == enrich_endpoints(enrich_models(said)).endpoints
