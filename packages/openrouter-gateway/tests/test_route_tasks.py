"""Routing of tasks: which models do what, and what is told of those that do something else."""

import json
from decimal import Decimal

import msgspec
import pytest
from gateway_samples import MESSAGES, make_endpoint, make_request
from route_samples import catalog_of, listing

from openrouter_gateway.accounting.budget import estimate
from openrouter_gateway.accounting.meter import Meter
from openrouter_gateway.core.catalog import Price
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.events import Step
from openrouter_gateway.core.usage import Usage
from openrouter_gateway.errors import ConstraintFiltered, ModelNotFound, RoutingError, WrongEndpoint
from openrouter_gateway.routing.demand import read_demand
from openrouter_gateway.routing.plan import plan_route
from openrouter_gateway.routing.sticky import conversation_of
from openrouter_gateway.wire.skins import SKINS

CATALOG = catalog_of(
    listing(make_endpoint("acme", "a/chat"), output_modalities=("text",)),
    listing(make_endpoint("acme", "a/vectors"), make_endpoint("beta", "a/vectors"), output_modalities=("embeddings",)),
    listing(make_endpoint("acme", "a/ranks"), output_modalities=("rerank",)),
    listing(make_endpoint("acme", "a/both"), output_modalities=("text", "embeddings")),
    listing(make_endpoint("acme", "a/unknown"), output_modalities=()),
    aliases={"a/alias": "a/vectors"},
)
CHAT, EMBED, RERANK = "/chat/completions", "/embeddings", "/rerank"


def request_of(path: str, model: str, **fields: object) -> ChatRequest:
    """Return a small request to a path."""
    small: dict[str, dict[str, object]] = {
        CHAT: {"messages": MESSAGES},
        EMBED: {"input": "Hello"},
        RERANK: {"query": "q", "documents": ["a"]},
    }
    return SKINS[path].parse(json.dumps({"model": model} | small[path] | fields).encode())


@pytest.mark.parametrize(
    ("path", "model"),
    [
        (CHAT, "a/chat"),
        (CHAT, "a/both"),
        (CHAT, "a/unknown"),
        (EMBED, "a/vectors"),
        (EMBED, "a/both"),
        (EMBED, "a/alias"),
        (EMBED, "a/vectors:floor"),
        (RERANK, "a/ranks"),
    ],
)
def test_models_that_do_it(path: str, model: str) -> None:
    """Under any of their names."""
    assert plan_route(request_of(path, model), CATALOG).endpoints


@pytest.mark.parametrize(
    ("path", "model", "said", "place"),
    [
        (CHAT, "a/vectors", "makes embeddings and does not chat", "/embeddings"),
        (CHAT, "a/alias", "makes embeddings and does not chat", "/embeddings"),
        (CHAT, "a/ranks", "ranks documents and does not chat", "/rerank"),
        (EMBED, "a/chat", "does not make embeddings", "/chat/completions"),
        (EMBED, "a/unknown", "does not make embeddings", "/chat/completions"),
        (EMBED, "a/ranks", "does not make embeddings", "/rerank"),
        (RERANK, "a/vectors", "does not rank documents", "/embeddings"),
        (RERANK, "a/both", "does not rank documents", "/chat/completions"),
        (EMBED, "openrouter/auto", "does not make embeddings", "/chat/completions"),
        (RERANK, "openrouter/free", "does not rank documents", "/chat/completions"),
    ],
)
def test_models_that_do_something_else(path: str, model: str, said: str, place: str) -> None:
    """A 400 that names the right path."""
    with pytest.raises(WrongEndpoint) as caught:
        plan_route(request_of(path, model), CATALOG)

    error = caught.value
    assert error.message.startswith(f"{model} ")
    assert said in error.message
    assert (400, "invalid_request") == (error.status, error.error_type)
    assert error.availability is not None
    assert ("wrong_endpoint", [model], {"field": "model", "detail": f"POST /api/v1{place}"}) == (
        error.availability["code"],
        error.availability["requested_models"],
        error.availability["constraint"],
    )


def test_a_fallback_that_does_something_else() -> None:
    """Also when it is not the first of the models."""
    with pytest.raises(WrongEndpoint):
        plan_route(make_request(model="a/chat", models=["a/vectors"]), CATALOG)


@pytest.mark.parametrize(("path", "status", "kind"), [(CHAT, 400, "invalid_request"), (EMBED, 404, "not_found")])
def test_a_model_that_is_not_there(path: str, status: int, kind: str) -> None:
    """A 404 for tasks (OpenRouter API, embeddings, 2026-08-22), with the same words."""
    with pytest.raises(ModelNotFound, match="a/none is not a valid model ID") as caught:
        plan_route(request_of(path, "a/none"), CATALOG)

    assert (status, kind) == (caught.value.status, caught.value.error_type)


def test_routers_choose_chat_models() -> None:
    """None that only makes embeddings, however cheap."""
    models = {endpoint.model_id for endpoint in plan_route(request_of(CHAT, "openrouter/free"), CATALOG).endpoints}

    assert {"a/chat", "a/both"} == models


def test_preferences_count_as_in_chat() -> None:
    """Those that exclude endpoints, and those that order them."""
    plan = plan_route(request_of(EMBED, "a/vectors", provider={"ignore": ["acme"]}), CATALOG)

    assert ["beta"] == [endpoint.tag for endpoint in plan.endpoints]
    with pytest.raises(RoutingError):
        plan_route(request_of(EMBED, "a/vectors", provider={"zdr": True}), CATALOG)


def test_every_input_is_read_by_itself() -> None:
    """So the longest counts against a context, not all together; images need somebody who sees."""
    long, short = "x" * 800, "x" * 80
    image = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}

    assert 100 == read_demand(request_of(EMBED, "a/vectors", input=[short, long, long])).prompt_tokens
    assert 0 == read_demand(request_of(EMBED, "a/vectors", input=[1, 2, 3])).prompt_tokens
    assert 101 == read_demand(request_of(RERANK, "a/ranks", query="12345678", documents=[long, short])).prompt_tokens
    assert {"image"} == read_demand(request_of(EMBED, "a/vectors", input=[{"content": [image]}])).modalities
    blind = catalog_of(listing(make_endpoint("acme", "a/v", modalities={"text"}), output_modalities=("embeddings",)))
    with pytest.raises(ConstraintFiltered, match="does not take image input"):
        plan_route(request_of(EMBED, "a/v", input=[{"content": [image]}]), blind)


def test_tasks_are_no_conversations() -> None:
    """Nothing sticks, also where chat would: two endpoints with a cache that makes tokens cheaper."""
    price = Price(prompt=Decimal(1), cache_read=Decimal("0.1"))
    endpoints = [msgspec.structs.replace(make_endpoint(tag, "a/both"), price=price) for tag in ("acme", "beta")]
    catalog = catalog_of(listing(*endpoints, output_modalities=("text", "embeddings")))

    assert None is not conversation_of(request_of(CHAT, "a/both", session_id="s"), catalog)
    assert None is conversation_of(request_of(EMBED, "a/both", session_id="s"), catalog)


def test_budgets_reserve_the_input_alone() -> None:
    """There is no completion, so no more tokens than the prompt's."""
    endpoint = make_endpoint("acme", "a/vectors", prompt="0.5", completion="9")

    expected = estimate(request_of(EMBED, "a/vectors", input="x" * 398), [endpoint])

    assert (100, 50) == (expected.tokens, expected.cost)


def test_uncounted_answers_are_estimated() -> None:
    """From the input; what was not answered has used nothing."""
    meter, request = Meter(), request_of(RERANK, "a/ranks", query="x" * 18, documents=["y" * 16])

    assert Usage() == meter.usage(request)
    meter.watch(Step({"choices": [], "results": []}))

    assert Usage(prompt_tokens=10, total_tokens=10, estimated=True) == meter.usage(request)
