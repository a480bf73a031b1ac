"""What the built-in catalogue says of providers and models, and what planning makes of it."""

from typing import Any

import pytest
from gateway_samples import make_request
from route_samples import NOW, route

from openrouter_gateway.config.catalog import build_catalog
from openrouter_gateway.config.rows import load_provider_rows
from openrouter_gateway.config.settings import Settings
from openrouter_gateway.config.snapshot import load_builtin
from openrouter_gateway.core.catalog import AccountPolicy, Catalog, Model
from openrouter_gateway.edge.catalog import endpoints_object, models_object
from openrouter_gateway.edge.model_query import parse_query
from openrouter_gateway.errors import ConstraintFiltered, PrivacyRestricted, RoutingError
from openrouter_gateway.routing.demand import PARAMETERS
from openrouter_gateway.routing.facts import Facts
from openrouter_gateway.routing.plan import draft_route
from openrouter_gateway.wire.protocols.anthropic_models import abilities_of

ROWS = load_provider_rows()
LOCAL_SERVERS = {"ollama", "vllm", "lm-studio", "llama-cpp"}
KEEPING_NOTHING = {"cerebras", "deepinfra", "fireworks", "perplexity", "z-ai", *LOCAL_SERVERS}
NOT_TRAINING = {*KEEPING_NOTHING, "anthropic", "openai", "together", "xai"}
SILENT = {"groq", "hugging-face", "minimax", "moonshotai", "novita", "nvidia", "openrouter"}


class TestPolicies:
    """What providers do with prompts."""

    @pytest.mark.parametrize(
        ("field", "said", "expected"),
        [
            ("retains", False, KEEPING_NOTHING),
            ("retains", True, {"anthropic", "deepseek", "google-ai-studio", "mistral", "openai", "together", "xai"}),
            ("trains", False, NOT_TRAINING),
            ("trains", True, {"deepseek"}),
            ("trains", None, {"google-ai-studio", "mistral", *SILENT}),
        ],
    )
    def test_they_are_what_is_public(self, field: str, said: Any, expected: set[str]) -> None:
        """As the documentation's table has it; what is not known is not said."""
        assert expected == {slug for slug, row in ROWS.items() if getattr(row, field) is said}

    def test_who_keeps_nothing_trains_on_nothing(self) -> None:
        """The one implies the other."""
        assert all(row.trains is False for row in ROWS.values() if row.retains is False)

    def test_companies_have_a_seat(self) -> None:
        """Servers of one's own have none."""
        assert LOCAL_SERVERS == {slug for slug, row in ROWS.items() if row.headquarters is None}


@pytest.fixture(scope="module")
def offered() -> Catalog:
    """What there is with the keys of four well-known providers."""
    settings = Settings.model_validate({"embedded": {"enabled": False}})
    return build_catalog(settings, frozenset({"anthropic", "google-ai-studio", "groq", "openai"}))


SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]


def with_part(part: dict[str, Any]) -> list[dict[str, Any]]:
    """Return messages of text and one other part."""
    return [{"role": "user", "content": [{"type": "text", "text": "Hello"}, part]}]


IMAGE = with_part({"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}})
PDF = with_part({"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="}})
AUDIO = with_part({"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}})


class TestPlanning:
    """What requests find among the built-in rows."""

    @pytest.mark.parametrize(
        "model",
        [
            "openai/gpt-4o", "openai/gpt-4.1-mini", "openai/gpt-5", "openai/o3", "anthropic/claude-sonnet-4.5",
            "anthropic/claude-opus-5.5", "google/gemini-2.5-pro", "google/gemini-3.5-flash", "openai/gpt-oss-120b",
        ],
    )  # fmt: skip
    def test_parameters_can_be_required(self, offered: Catalog, model: str) -> None:
        """Tools and schemas, and the limit that every chat has."""
        for fields in ({"tools": TOOLS, "tool_choice": "auto"}, {"response_format": SCHEMA}, {"max_tokens": 100}):
            plan = route(offered, model=model, provider={"require_parameters": True}, **fields)
            assert plan.endpoints

    @pytest.mark.parametrize(
        ("model", "fields", "told"),
        [
            ("openai/gpt-5", {"temperature": 1}, "temperature"),
            ("openai/o3", {"stop": "x"}, "stop"),
            ("anthropic/claude-opus-4.8", {"top_p": 0.5}, "top_p"),
            ("anthropic/claude-3-haiku", {"response_format": SCHEMA}, "response_format, structured_outputs"),
            ("meta-llama/llama-3.3-70b-instruct", {"response_format": SCHEMA}, "structured_outputs"),
            ("meta-llama/llama-3.3-70b-instruct", {"reasoning": {"effort": "low"}}, "reasoning"),
            ("deepseek/deepseek-r1-distill-llama-70b", {"logit_bias": {"1": 1}}, "logit_bias"),
        ],
    )
    def test_what_is_not_supported(self, offered: Catalog, model: str, fields: dict[str, Any], told: str) -> None:
        """The reason says which parameters."""
        request = make_request(model=model, provider={"require_parameters": True}, **fields)
        plan = draft_route(request, offered)

        assert () == plan.endpoints
        assert any(f"is not known to support {told}" in str(removal.detail) for removal in plan.removed)

    @pytest.mark.parametrize("provider", [{"zdr": True}, {"data_collection": "deny"}])
    def test_policies_decide(self, offered: Catalog, provider: dict[str, Any]) -> None:
        """Nobody of these four keeps nothing, or is known to; of other hosts of a model those are left that do."""
        with pytest.raises(PrivacyRestricted, match="is not known to"):
            route(offered, models=["openai/gpt-4o", "openai/gpt-oss-120b"], provider=provider)

        settings = Settings.model_validate({"embedded": {"enabled": False}})
        catalog = build_catalog(settings, frozenset({"cerebras", "fireworks", "groq", "together"}))
        plan = route(catalog, model="openai/gpt-oss-120b", provider=provider)
        assert {"cerebras", "fireworks"} == {endpoint.provider.slug for endpoint in plan.endpoints}

    def test_an_account_may_deny_training_alone(self, offered: Catalog) -> None:
        """Then those are left that keep prompts for a time, but not whose key may be one of a free tier."""
        names = {"models": ["openai/gpt-4o", "anthropic/claude-sonnet-4.5", "google/gemini-2.5-pro"]}
        plan = route(offered, Facts(now=NOW, policy=AccountPolicy(deny_training=True)), **names)

        assert {"anthropic", "openai"} == {endpoint.provider.slug for endpoint in plan.endpoints}

    @pytest.mark.parametrize(
        ("model", "messages"),
        [
            ("openai/gpt-4o", IMAGE),
            ("openai/gpt-5-mini", PDF),
            ("anthropic/claude-haiku-4.5", IMAGE),
            ("anthropic/claude-opus-5", PDF),
            ("google/gemini-2.5-flash", AUDIO),
            ("meta-llama/llama-4-scout", IMAGE),
            ("openai/gpt-audio", AUDIO),
        ],
    )
    def test_media_finds_models_that_take_it(
        self, offered: Catalog, model: str, messages: list[dict[str, Any]]
    ) -> None:
        """At the providers that pass it on."""
        assert route(offered, model=model, messages=messages).endpoints

    @pytest.mark.parametrize(
        ("model", "messages"),
        [
            ("openai/gpt-oss-20b", IMAGE),
            ("openai/gpt-3.5-turbo", IMAGE),
            ("openai/o3-mini", IMAGE),
            ("meta-llama/llama-3.3-70b-instruct", IMAGE),
            ("qwen/qwen3.8-27b", IMAGE),
            ("meta-llama/llama-4-scout", PDF),
            ("anthropic/claude-haiku-4.5", AUDIO),
        ],
    )
    def test_models_of_text_refuse_it(self, offered: Catalog, model: str, messages: list[dict[str, Any]]) -> None:
        """Rather than that the provider does, or passes over it."""
        with pytest.raises(RoutingError, match="does not take"):
            route(offered, model=model, messages=messages)

    def test_answers_have_limits(self, offered: Catalog) -> None:
        """Longer ones than a model writes are not asked for."""
        assert route(offered, model="anthropic/claude-sonnet-4.5", max_tokens=64_000).endpoints
        with pytest.raises(RoutingError, match="does not write 64001 tokens"):
            route(offered, model="anthropic/claude-sonnet-4.5", max_tokens=64_001)

    def test_the_automatic_router_goes_by_it(self, offered: Catalog) -> None:
        """It takes models that can do what the request wants."""
        plan = route(offered, model="openrouter/auto", messages=IMAGE, tools=TOOLS)

        assert plan.endpoints
        for endpoint in plan.endpoints:
            assert "image" in (endpoint.input_modalities or ())
            assert "tools" in (endpoint.supported_parameters or ())

    def test_quantization_that_is_not_published_is_unknown(self, offered: Catalog) -> None:
        """That word asks for it, and no other does."""
        assert route(offered, model="openai/gpt-4o", provider={"quantizations": ["unknown"]}).endpoints
        with pytest.raises(ConstraintFiltered, match="quantization unknown"):
            route(offered, model="openai/gpt-4o", provider={"quantizations": ["fp8", "bf16"]})


INPUTS = {"text", "image", "file", "audio", "video"}
OUTPUTS = {"text", "image", "embeddings", "audio", "video", "rerank", "speech", "transcription"}
TOKENIZERS = {
    "Router", "Media", "Other", "GPT", "Claude", "Gemini", "Gemma", "Grok", "Cohere", "Nova", "Qwen", "Yi", "DeepSeek",
    "Mistral", "Llama2", "Llama3", "Llama4", "PaLM", "RWKV", "Qwen3",
}  # fmt: skip
EFFORTS = ("max", "xhigh", "high", "medium", "low", "minimal")
QUANTIZATIONS = {"int4", "int8", "fp4", "mxfp4", "nvfp4", "fp6", "fp8", "mxfp8", "fp16", "bf16", "fp32"}
"""OpenRouter's words (OpenRouter API, models and reasoning, 2026-08-22)."""
DATED = {
    "amazon", "anthropic", "deepseek", "meta-llama", "microsoft", "mistralai", "moonshotai", "nvidia", "openai", "x-ai",
    "z-ai",
}  # fmt: skip
"""Authors of whose models it is known when they came out."""


@pytest.fixture(scope="module")
def everything() -> Catalog:
    """All built-in rows."""
    settings = Settings.model_validate({"embedded": {"enabled": False}})
    return build_catalog(settings, frozenset(ROWS))


class TestRows:
    """Every row."""

    def test_models_speak_the_apis_words(self, everything: Catalog) -> None:
        """Which strict clients check."""
        for listing in everything.listings.values():
            model = listing.model
            assert set(model.input_modalities) <= INPUTS, model.id
            assert set(model.output_modalities) <= OUTPUTS, model.id
            assert model.tokenizer in TOKENIZERS, model.id
            assert 0 <= model.created < 1_800_000_000, model.id
            assert model.created or model.id.partition("/")[0] not in DATED, model.id
            reasoning = model.reasoning
            if reasoning is not None and isinstance(reasoning.supported_efforts, tuple):
                efforts = reasoning.supported_efforts
                assert [effort for effort in EFFORTS if effort in efforts] == list(efforts), model.id
                assert reasoning.default_effort in (None, *efforts), model.id

    def test_endpoints_do_what_their_models_do(self, everything: Catalog) -> None:
        """Parameters are known of every chat; what says that it reasons takes it, and the reverse."""
        for listing in everything.listings.values():
            for endpoint in listing.endpoints:
                if listing.model.output_modalities == ("embeddings",):
                    assert endpoint.supported_parameters is None
                    continue
                assert endpoint.supported_parameters is not None, endpoint.key
                assert "max_tokens" in endpoint.supported_parameters, endpoint.key
                assert endpoint.supported_parameters <= PARAMETERS, endpoint.key
                assert endpoint.input_modalities is not None
                assert "text" in endpoint.input_modalities, endpoint.key
                assert endpoint.input_modalities <= set(listing.model.input_modalities), endpoint.key
                assert endpoint.quantization in (None, *QUANTIZATIONS), endpoint.key
                assert (endpoint.max_completion_tokens or 1) <= (endpoint.context_length or 10**9), endpoint.key
                if endpoint.supported_parameters & {"reasoning", "include_reasoning"}:
                    assert listing.model.reasoning is not None, endpoint.key

    def test_rows_are_shown(self, everything: Catalog) -> None:
        """With their reasoning and parameters; one endpoint at least that takes what the model is said to take."""
        for row in models_object(everything)["data"]:
            assert type(row["created"]) is int
            assert row["canonical_slug"]
            if row["architecture"]["output_modalities"] != ["embeddings"]:
                assert "max_tokens" in row["supported_parameters"]
        shown = endpoints_object(everything.listings["openai/gpt-4o"])["endpoints"]
        assert {row["tag"]: row["max_completion_tokens"] for row in shown} == {
            "openai": 16384,
            "openai/priority": 16384,
            "openrouter": 16384,
        }
        assert all(row["supports_tool_choice"]["required"] for row in shown)

    @pytest.mark.parametrize(
        ("query", "some", "none"),
        [
            ({"supported_parameters": "tools,structured_outputs"}, "openai/gpt-4o", "gryphe/mythomax-l2-13b"),
            ({"supported_parameters": "reasoning"}, "deepseek/deepseek-r1", "meta-llama/llama-3.3-70b-instruct"),
            ({"supported_parameters": "temperature"}, "x-ai/grok-4.7", "anthropic/claude-opus-5"),
            ({"input_modalities": "image"}, "anthropic/claude-haiku-4.5", "openai/gpt-oss-120b"),
            ({"input_modalities": "audio"}, "google/gemini-2.5-pro", "anthropic/claude-opus-5"),
            ({"output_modalities": "image"}, "google/gemini-2.5-flash-image", "google/gemini-2.5-flash"),
            ({"arch": "llama4"}, "meta-llama/llama-4-scout", "meta-llama/llama-3.3-70b-instruct"),
            ({"max_age_days": "30"}, "moonshotai/kimi-k3.1-pro", "moonshotai/kimi-k2"),
            ({"zdr": "true"}, "perplexity/sonar", "openai/gpt-5.5-pro"),
        ],
    )
    def test_lists_can_be_filtered(self, everything: Catalog, query: dict[str, str], some: str, none: str) -> None:
        """By what is known now."""
        shown = {row["id"] for row in models_object(everything, parse_query(query, 1_795_000_000))["data"]}

        assert some in shown
        assert none not in shown

    @pytest.mark.parametrize(
        ("alias", "expected"),
        [
            ("~anthropic/claude-haiku-latest", "anthropic/claude-haiku-5.5"),
            ("~anthropic/claude-opus-latest", "anthropic/claude-opus-5.5"),
            ("~google/gemini-pro-latest", "google/gemini-3.1-pro-preview"),
            ("~google/gemini-flash-latest", "google/gemini-3.8-flash"),
            ("~openai/gpt-latest", "openai/gpt-5.5"),
            ("~openai/gpt-sol-latest", "openai/gpt-6.1-sol"),
            ("~x-ai/grok-latest", "x-ai/grok-4.7"),
            ("~moonshotai/kimi-latest", "moonshotai/kimi-k3"),
            ("~z-ai/glm-latest", "z-ai/glm-5.3"),
        ],
    )
    def test_the_newest_of_a_family(self, everything: Catalog, alias: str, expected: str) -> None:
        """By the day that it came out; the row of the alias has what its model has."""
        assert expected == everything.aliases[alias]
        rows = {row["id"]: row for row in models_object(everything)["data"]}
        assert rows[expected]["supported_parameters"] == rows[alias]["supported_parameters"]
        assert rows[expected].get("reasoning") == rows[alias].get("reasoning")

    def test_every_alias_has_a_model(self, everything: Catalog) -> None:
        """Where all providers are there."""
        assert load_builtin().aliases.keys() == everything.aliases.keys()


CLAUDES = [model for model in load_builtin().models if model.id.startswith("anthropic/")]


@pytest.mark.parametrize("model", CLAUDES, ids=lambda model: model.id)
def test_claudes_are_what_requests_are_fitted_to(model: Model) -> None:
    """The table says of them what the protocol knows of them."""
    abilities, reasoning = abilities_of(model.id), model.reasoning

    assert (abilities.budgets or abilities.adaptive) == (reasoning is not None)
    if reasoning is not None:
        assert abilities.unasked == reasoning.default_enabled
        assert (abilities.off is None) == reasoning.mandatory
        assert abilities.budgets == (reasoning.supports_max_tokens is True)
    for known in load_builtin().endpoints:
        if known.model == model.id:
            supported = set(known.supported_parameters or ())
            assert abilities.sampling == ("temperature" in supported)
            assert ("verbosity" in supported) == bool(abilities.efforts)
            assert ("structured_outputs" in supported) == abilities.formats or "claude-2" in model.id
