"""The list of models: its filters on the wire, prices as money, and nothing lost."""

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx2
import pytest
from scripted_server import Json, ScriptedServer, json_reply
from test_drivers import AT_ONCE, KEY, error_reply

from langchain_openrouter import ConfigurationError, NotFound, OpenRouterError, ProtocolViolation
from langchain_openrouter.models import ModelInfo, alist_models, list_models, parse_models

MODEL: Json = {
    "id": "acme/one",
    "canonical_slug": "acme/one-2026",
    "name": "One",
    "created": 1721692800,
    "context_length": 131072,
    "architecture": {"modality": "text->text", "input_modalities": ["text"], "output_modalities": ["text"]},
    "pricing": {"prompt": "0.00000015", "completion": "0"},
    "top_provider": {"is_moderated": False},
    "per_request_limits": None,
    "supported_parameters": ["tools"],
    "default_parameters": None,
    "supported_voices": None,
    "links": {"details": "/api/v1/models/acme/one/endpoints"},
}
Ask = Callable[..., list[ModelInfo]]


def alist(*arguments: Any, **options: Any) -> list[ModelInfo]:
    return asyncio.run(alist_models(*arguments, **options))


WAYS = pytest.mark.parametrize("ask", [list_models, alist])


def page(*models: Any) -> Json:
    return {"data": list(models), "total_count": len(models), "links": {"next": None}}


@WAYS
class TestAsking:
    """Requests and faults."""

    def test_every_model(self, server: ScriptedServer, ask: Ask) -> None:
        """Without a key when there is none, and nothing of the answer is lost."""
        server.answer(json_reply(page({**MODEL, "brand_new": {"a": [1.5]}}, {"id": "acme/two"})))
        first, second = ask(base_url=server.url)
        pricing = {"prompt": Decimal("0.00000015"), "completion": Decimal(0)}
        assert first == {**MODEL, "pricing": pricing, "brand_new": {"a": [1.5]}}
        assert second == {"id": "acme/two"}
        (seen,) = server.seen
        assert seen.path == "/api/v1/models"
        assert "authorization" not in seen.headers

    def test_it_is_a_plain_get(self, ask: Ask) -> None:
        """The scripted server does not look at methods."""
        requests: list[httpx2.Request] = []

        def answer(request: httpx2.Request) -> httpx2.Response:
            requests.append(request)
            return httpx2.Response(200, json=page(MODEL))

        transport = httpx2.MockTransport(answer)
        client: Any = (
            {"http_client": httpx2.Client(transport=transport)}
            if ask is list_models
            else {"http_async_client": httpx2.AsyncClient(transport=transport)}
        )
        assert len(ask(**client)) == 1
        (request,) = requests
        assert (request.method, str(request.url)) == ("GET", "https://openrouter.ai/api/v1/models")
        assert {"content-length", "content-type", "transfer-encoding"} & request.headers.keys() == set()

    def test_filters(self, server: ScriptedServer, ask: Ask) -> None:
        server.answer(json_reply(page()))
        filters: Any = {
            "supported_parameters": ["tools", "seed"],
            "max_price": 0.5,
            "zdr": True,
            "distillable": False,
            "q": "a b&c",
            "brand_new": "x",
            "region": None,
            "limit": 10,
        }
        assert ask(filters, base_url=server.url + "/", api_key=KEY) == []
        (seen,) = server.seen
        query = dict(httpx2.URL(server.url + seen.path).params)
        assert query == {
            "supported_parameters": "tools,seed",
            "max_price": "0.5",
            "zdr": "true",
            "distillable": "false",
            "q": "a b&c",
            "brand_new": "x",
            "limit": "10",
        }
        assert seen.headers["authorization"] == f"Bearer {KEY}"

    def test_environment_and_headers(self, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, ask: Ask) -> None:
        monkeypatch.setenv("OPENROUTER_API_KEY", KEY)
        monkeypatch.setenv("OPENROUTER_API_BASE", server.url)
        server.answer(json_reply(page()))
        assert ask(default_headers={"x-more": "1"}, timeout=5) == []
        headers = server.seen[0].headers
        assert (headers["authorization"], headers["x-more"]) == (f"Bearer {KEY}", "1")

    def test_retries(self, server: ScriptedServer, ask: Ask) -> None:
        server.answer(error_reply(503, headers=AT_ONCE), json_reply(page(MODEL)))
        assert len(ask(base_url=server.url)) == 1
        server.answer(error_reply(503, headers=AT_ONCE))
        with pytest.raises(OpenRouterError):
            ask(base_url=server.url, max_retries=0)
        assert len(server.seen) == 3

    def test_errors(self, server: ScriptedServer, ask: Ask) -> None:
        server.answer(error_reply(404))
        with pytest.raises(NotFound):
            ask(base_url=server.url)
        server.answer(json_reply({"error": {"code": 404, "message": "no"}}))
        with pytest.raises(NotFound):
            ask(base_url=server.url)
        assert len(server.seen) == 2

    @pytest.mark.parametrize("wrong", [{"base_url": "x"}, {"timeout": -1}, {"max_retries": -1}, {"max_retries": 1.5}])
    def test_what_cannot_work(self, ask: Ask, wrong: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError):
            ask(**wrong)

    def test_unknown_arguments(self, ask: Ask) -> None:
        with pytest.raises(TypeError, match="apikey"):
            ask(apikey=KEY)


def test_clients_of_the_wrong_kind() -> None:
    wrong: Any = object()
    with pytest.raises(ConfigurationError, match="http_client"):
        list_models(http_client=wrong)
    with pytest.raises(ConfigurationError, match="http_async_client"):
        asyncio.run(alist_models(http_async_client=wrong))


def prices(pricing: object) -> Any:
    body = json.dumps(page({"id": "a/b", "pricing": pricing})).encode()
    (model,) = parse_models(body, {}, secrets=())
    return model["pricing"]


class TestPrices:
    """Money is `Decimal`, wherever it stands."""

    def test_discounts_and_overrides(self) -> None:
        overrides = [{"min_prompt_tokens": 200000, "prompt": "0.000005", "utc_start": 830}]
        found = prices({"prompt": "0.0000025", "discount": 0.1, "overrides": overrides})
        assert found == {
            "prompt": Decimal("0.0000025"),
            "discount": Decimal("0.1"),
            "overrides": [{"min_prompt_tokens": 200000, "prompt": Decimal("0.000005"), "utc_start": 830}],
        }
        assert found["prompt"] * (1 - found["discount"]) == Decimal("0.00000225")

    @pytest.mark.parametrize("odd", [None, "free", [], {"prompt": "varies", "x": None}])
    def test_what_is_no_price_stays(self, odd: object) -> None:
        assert prices(odd) == odd


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"data": {}}'])
def test_what_is_no_list(body: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        parse_models(body, {}, secrets=())
