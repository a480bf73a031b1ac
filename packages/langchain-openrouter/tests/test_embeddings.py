"""Embeddings: the request, order and decoding of vectors, faults, copies and secrets, against a real server."""

import asyncio
import base64
import copy
import json
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx2
import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.load import dumps, loads
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests
from pydantic import SecretStr, ValidationError
from scripted_server import Json, Reply, ScriptedServer, json_reply
from test_drivers import AT_ONCE, KEY, error_reply
from test_secrets import BASIC, ECHOES, HEADERS, everything_in

from langchain_openrouter import (
    AuthenticationFailed,
    ConfigurationError,
    ConnectionFailed,
    OpenRouterError,
    ProtocolViolation,
    RateLimited,
    ServerFailed,
    TimedOut,
)
from langchain_openrouter._embeddings import parse_embeddings
from langchain_openrouter.embeddings import OpenRouterEmbeddings

Embed = Callable[[OpenRouterEmbeddings, list[str]], list[list[float]]]


def vectors(*embeddings: Any, **top: Any) -> Json:
    """Return an answer that holds the embeddings in order."""
    data = [{"object": "embedding", "index": i, "embedding": e} for i, e in enumerate(embeddings)]
    usage = {"prompt_tokens": 4, "total_tokens": 4, "cost": 0.25}
    return {"object": "list", "data": data, "model": "acme/vectors", "id": "gen-1", "usage": usage, **top}


class Lengths(list[Reply]):
    """A script that answers each text with a vector that starts with its length."""

    def __init__(self, server: ScriptedServer) -> None:
        super().__init__([json_reply({})])
        self._server = server

    def __getitem__(self, _: Any) -> Any:
        return json_reply(vectors(*([float(len(text)), 0.5] for text in self._server.seen[-1].body["input"])))


def embeddings_for(server: ScriptedServer, **settings: Any) -> OpenRouterEmbeddings:
    return OpenRouterEmbeddings(**{"model": "acme/vectors", "base_url": server.url, "api_key": KEY, **settings})


def documents(model: OpenRouterEmbeddings, texts: list[str]) -> list[list[float]]:
    return model.embed_documents(texts)


def adocuments(model: OpenRouterEmbeddings, texts: list[str]) -> list[list[float]]:
    return asyncio.run(model.aembed_documents(texts))


WAYS = pytest.mark.parametrize("embed", [documents, adocuments])


class TestUnit(EmbeddingsUnitTests):
    """LangChain's own unit tests."""

    @property
    def embeddings_class(self) -> type[Embeddings]:
        """The class under test."""
        return OpenRouterEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        """What a model needs."""
        return {"model": "a/b", "api_key": KEY}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        """Variables, arguments, and the attributes they must give."""
        return (
            {"OPENROUTER_API_KEY": "key", "OPENROUTER_API_BASE": "https://base/v1"},
            {"model": "a/b"},
            {"openrouter_api_key": "key", "openrouter_api_base": "https://base/v1"},
        )


class TestIntegration(EmbeddingsIntegrationTests):
    """LangChain's own integration tests, against the scripted server."""

    @property
    def embeddings_class(self) -> type[Embeddings]:
        """The class under test."""
        return OpenRouterEmbeddings

    @pytest.fixture
    def model(self, server: ScriptedServer) -> Embeddings:
        """Return a model whose server knows every text."""
        server.script = Lengths(server)
        return embeddings_for(server)


class TestRequest:
    """What is sent: everything that was set, and nothing else."""

    @WAYS
    def test_the_least(self, server: ScriptedServer, embed: Embed) -> None:
        server.answer(json_reply(vectors([0.5, -1.0], [0.25, 2.0])))
        assert embed(embeddings_for(server), ["a", "b"]) == [[0.5, -1.0], [0.25, 2.0]]
        (seen,) = server.seen
        assert seen.path == "/api/v1/embeddings"
        assert seen.headers["authorization"] == f"Bearer {KEY}"
        assert seen.body == {"model": "acme/vectors", "input": ["a", "b"]}

    def test_everything(self, server: ScriptedServer) -> None:
        server.answer(json_reply(vectors([1.0])))
        provider = {"order": ["acme"], "zdr": True}
        model = embeddings_for(
            server,
            dimensions=1,
            encoding_format="float",
            input_type="search_document",
            openrouter_provider=provider,
            user="u1",
            extra_body={"user": "u2", "new": True},
            app_url="https://app",
            app_title="App",
            app_categories="rag,search",
            default_headers={"X-Title": "Other", "x-more": "1"},
        )
        model.embed_documents(["a"])
        (seen,) = server.seen
        assert seen.body == {
            "model": "acme/vectors",
            "input": ["a"],
            "dimensions": 1,
            "encoding_format": "float",
            "input_type": "search_document",
            "provider": provider,
            "user": "u2",
            "new": True,
        }
        sent = {name: seen.headers.get(name) for name in ("http-referer", "x-title", "x-more")}
        assert sent == {"http-referer": "https://app", "x-title": "Other", "x-more": "1"}
        assert seen.headers["x-openrouter-categories"] == "rag,search"

    def test_environment(self, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
        server.answer(json_reply(vectors([1.0])))
        variables = {
            "API_KEY": f" {KEY}\n",
            "API_BASE": server.url,
            "APP_URL": "https://app",
            "APP_TITLE": "App",
            "APP_CATEGORIES": "a, b",
        }
        for name, value in variables.items():
            monkeypatch.setenv(f"OPENROUTER_{name}", value)
        OpenRouterEmbeddings(model="acme/vectors").embed_query("a")
        headers = server.seen[0].headers
        assert headers["authorization"] == f"Bearer {KEY}"
        assert (headers["http-referer"], headers["x-title"]) == ("https://app", "App")
        assert headers["x-openrouter-categories"] == "a,b"

    def test_queries_may_have_an_input_type_of_their_own(self, server: ScriptedServer) -> None:
        server.answer(json_reply(vectors([1.0])))
        both = embeddings_for(server, input_type="search_document", query_input_type="search_query")
        both.embed_documents(["a"])
        both.embed_query("a")
        asyncio.run(both.aembed_query("a"))
        embeddings_for(server, input_type="classification").embed_query("a")
        sent = [seen.body["input_type"] for seen in server.seen]
        assert sent == ["search_document", "search_query", "search_query", "classification"]

    @WAYS
    def test_batches(self, server: ScriptedServer, embed: Embed) -> None:
        """In the order of the texts."""
        server.script = Lengths(server)
        found = embed(embeddings_for(server, chunk_size=2), ["", "a", "bb", "ccc", "dddd"])
        assert [vector[0] for vector in found] == [0.0, 1.0, 2.0, 3.0, 4.0]
        assert [seen.body["input"] for seen in server.seen] == [["", "a"], ["bb", "ccc"], ["dddd"]]

    @WAYS
    def test_no_texts_make_no_request(self, server: ScriptedServer, embed: Embed) -> None:
        assert embed(embeddings_for(server), []) == []
        assert server.seen == []

    def test_a_vector_store(self, server: ScriptedServer) -> None:
        server.script = Lengths(server)
        store = InMemoryVectorStore.from_texts(["a", "bbbbbbbb"], embeddings_for(server))
        (best,) = store.similarity_search("cccccccc", k=1)
        assert best.page_content == "bbbbbbbb"


def parse(answer: Json | bytes, count: int) -> list[list[float]]:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return parse_embeddings(body, {}, secrets=(), count=count).vectors


class TestParsing:
    """Vectors by index, from numbers and from base64."""

    def test_order_is_by_index(self) -> None:
        data = [{"index": 1, "embedding": [1.0]}, {"index": 0, "embedding": [0.0]}]
        assert parse({"data": data}, 2) == [[0.0], [1.0]]

    def test_without_indices_it_is_that_of_the_answer(self) -> None:
        assert parse({"data": [{"embedding": [3.0]}, {"embedding": [4.0]}]}, 2) == [[3.0], [4.0]]

    def test_whole_numbers_become_floats(self) -> None:
        (vector,) = parse({"data": [{"index": 0, "embedding": [0, 1, -2]}]}, 1)
        assert vector == [0.0, 1.0, -2.0]
        assert {type(number) for number in vector} == {float}

    def test_base64(self) -> None:
        """32-bit floats, the lowest byte first."""
        numbers = [0.5, -1.25, 3.0e-5]
        text = base64.b64encode(struct.pack("<3f", *numbers)).decode()
        (vector,) = parse(vectors(text), 1)
        assert vector == [struct.unpack("<f", struct.pack("<f", number))[0] for number in numbers]

    def test_both_forms_are_read_whatever_was_asked_for(self, server: ScriptedServer) -> None:
        server.answer(json_reply(vectors([0.5])))
        assert embeddings_for(server, encoding_format="base64").embed_query("a") == [0.5]
        assert server.seen[0].body["encoding_format"] == "base64"

    def test_odd_extras_do_not_matter(self) -> None:
        assert parse(vectors([0.5], usage={"prompt_tokens": None, "cost": "?"}, model=7, new={}), 1) == [[0.5]]
        assert parse({"data": [{"embedding": [0.5], "index": None}], "usage": None, "error": None}, 1) == [[0.5]]

    def test_the_cost_keeps_its_digits(self) -> None:
        body = b'{"data": [{"embedding": [0.5]}], "usage": {"cost": 0.00000012345678901234567890}}'
        embedded = parse_embeddings(body, {}, secrets=(), count=1)
        assert embedded.cost == Decimal("0.00000012345678901234567890")

    @pytest.mark.parametrize(
        ("answer", "count", "problem"),
        [
            (vectors([0.5]), 2, "1 embeddings for 2 texts"),
            (vectors([0.5], [0.5]), 1, "2 embeddings for 1 texts"),
            ({"data": [{"index": 0, "embedding": [1.0]}] * 2}, 2, "not 0 to 1"),
            ({"data": [{"index": 1, "embedding": [1.0]}, {"embedding": [1.0]}]}, 2, "not 0 to 1"),
            (vectors("AAA"), 1, "not base64"),
            (vectors("AAAA"), 1, "not base64"),
            (vectors("?"), 1, "not base64"),
            (vectors([None]), 1, "holds no embeddings"),
            (b'{"data": [{"embedding": [NaN]}]}', 1, "holds no embeddings"),
            ({"object": "list"}, 1, "holds no embeddings"),
            ({"data": None}, 1, "holds no embeddings"),
            (b"<html>", 1, "not JSON"),
            (b"[]", 1, "not an object"),
        ],
    )
    def test_what_is_no_answer(self, answer: Json | bytes, count: int, problem: str) -> None:
        with pytest.raises(ProtocolViolation, match=problem):
            parse(answer, count)


@WAYS
class TestFaults:
    """The errors and retries of chat models."""

    @pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 524, 529])
    def test_tries_again(self, server: ScriptedServer, embed: Embed, status: int) -> None:
        server.answer(error_reply(status, headers=AT_ONCE), json_reply(vectors([0.5])))
        assert embed(embeddings_for(server), ["a"]) == [[0.5]]
        assert len(server.seen) == 2

    def test_an_error_in_a_200_is_one(self, server: ScriptedServer, embed: Embed) -> None:
        body = {"error": {"code": 503, "message": "busy", "metadata": {"retry_after": 0.001}}}
        server.answer(json_reply({**vectors([1.0]), **body}), json_reply(vectors([0.5])))
        assert embed(embeddings_for(server), ["a"]) == [[0.5]]
        server.answer(json_reply(body))
        with pytest.raises(ServerFailed, match="busy"):
            embed(embeddings_for(server, max_retries=0), ["a"])
        assert len(server.seen) == 3

    def test_max_retries_is_per_request(self, server: ScriptedServer, embed: Embed) -> None:
        busy = error_reply(429, headers=AT_ONCE)
        server.answer(busy, json_reply(vectors([0.5])), busy, json_reply(vectors([0.5])))
        assert embed(embeddings_for(server, max_retries=1, chunk_size=1), ["a", "b"]) == [[0.5], [0.5]]
        server.answer(busy)
        with pytest.raises(RateLimited) as caught:
            embed(embeddings_for(server, max_retries=1), ["a"])
        assert caught.value.retry_after == 0.001
        assert len(server.seen) == 6

    def test_does_not_try_again(self, server: ScriptedServer, embed: Embed) -> None:
        server.answer(error_reply(401, headers=AT_ONCE))
        with pytest.raises(AuthenticationFailed):
            embed(embeddings_for(server), ["a"])
        assert len(server.seen) == 1

    def test_silence(self, server: ScriptedServer, embed: Embed) -> None:
        server.answer(Reply(wait_s=5))
        with pytest.raises(TimedOut):
            embed(embeddings_for(server, timeout=0.05, max_retries=0), ["a"])

    def test_nobody_there(self, embed: Embed) -> None:
        model = OpenRouterEmbeddings(model="a/b", base_url="http://127.0.0.1:9/v1", max_retries=0)
        with pytest.raises(ConnectionFailed):
            embed(model, ["a"])

    def test_a_redirect(self, server: ScriptedServer, embed: Embed) -> None:
        server.answer(Reply(status=302, headers={"location": "https://elsewhere/"}))
        with pytest.raises(ProtocolViolation, match="302 https://elsewhere/"):
            embed(embeddings_for(server), ["a"])

    @pytest.mark.parametrize("name", [name for name in ECHOES if "stream" not in name and "event" not in name])
    def test_secrets_that_come_back(self, server: ScriptedServer, embed: Embed, name: str) -> None:
        server.answer(ECHOES[name])
        with pytest.raises(OpenRouterError) as caught:
            embed(embeddings_for(server, default_headers=HEADERS, max_retries=0), ["a"])
        seen = everything_in(caught.value)
        assert [secret for secret in (KEY, BASIC, KEY[:12]) if secret in seen] == []


class TestConstruction:
    """What is refused, and before which cost."""

    def test_no_key(self) -> None:
        with pytest.raises(ConfigurationError, match="OPENROUTER_API_KEY"):
            OpenRouterEmbeddings(model="a/b")
        with pytest.raises(ConfigurationError, match="OPENROUTER_API_KEY"):
            OpenRouterEmbeddings(model="a/b", api_key=" ")

    @pytest.mark.parametrize(
        "wrong",
        [{"base_url": "openrouter.ai"}, {"timeout": "long"}, {"http_client": object()}, {"http_async_client": 1}],
    )
    def test_what_cannot_work(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError):
            OpenRouterEmbeddings(**{"model": "a/b", "api_key": KEY, **wrong})

    @pytest.mark.parametrize(
        "wrong",
        [{"chunk_size": 0}, {"dimensions": 0}, {"max_retries": -1}, {"encoding_format": "hex"}, {"apikey": KEY}],
    )
    def test_wrong_arguments(self, wrong: dict[str, Any]) -> None:
        """Pydantic's report does not repeat the key."""
        with pytest.raises(ValidationError) as caught:
            OpenRouterEmbeddings(**{"model": "a/b", "api_key": KEY, **wrong})
        assert KEY not in str(caught.value)

    def test_names(self) -> None:
        """Both spellings, as for chat models."""
        long: Any = {"model_name": "a/b", "openrouter_api_key": KEY, "openrouter_api_base": "https://x/v1"}
        model = OpenRouterEmbeddings(**long, request_timeout=5)
        assert (model.model, model.openrouter_api_base, model.request_timeout) == ("a/b", "https://x/v1", 5)
        assert model.openrouter_api_key == SecretStr(KEY)

    def test_no_http_library_before_the_first_call(self) -> None:
        code = f"""if True:
            import sys
            from langchain_openrouter import costs, generations, models
            from langchain_openrouter.embeddings import OpenRouterEmbeddings
            OpenRouterEmbeddings(model="a/b", api_key="{KEY}", timeout=5)
            print(sorted({{"langchain_openrouter._http", "langchain_openrouter._fetch"}} & sys.modules.keys()))"""
        assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


class TestCopies:
    """Copies work, and show no secret."""

    def test_secrets(self) -> None:
        model = OpenRouterEmbeddings(model="a/b", api_key=KEY, default_headers={"x-secret": BASIC})
        assigned = model.model_copy()
        assigned.openrouter_api_key = KEY
        for twin in (assigned, model, pickle.loads(pickle.dumps(model)), copy.deepcopy(model), model.model_copy()):  # noqa: S301
            shown = repr(twin) + str(twin) + str(twin.model_dump()) + twin.model_dump_json() + dumps(twin)
            assert [secret for secret in (KEY, BASIC) if secret in shown] == []
            assert twin.default_headers == {"x-secret": BASIC}

    def test_clients_of_the_user(self, server: ScriptedServer) -> None:
        server.answer(json_reply(vectors([0.5])))
        with httpx2.Client(headers={"x-mine": "1"}) as client:
            model = embeddings_for(server, http_client=client)
            for twin, mine in (
                (model, "1"),
                (copy.deepcopy(model), "1"),
                (pickle.loads(pickle.dumps(model)), None),  # noqa: S301
            ):
                assert twin.embed_query("a") == [0.5]
                assert server.seen[-1].headers.get("x-mine") == mine
        with pytest.raises(ConfigurationError, match="closed"):
            model.embed_query("a")

    async def test_asynchronous_clients_of_the_user(self, server: ScriptedServer) -> None:
        server.answer(json_reply(vectors([0.5])))
        async with httpx2.AsyncClient(headers={"x-mine": "1"}) as client:
            assert await embeddings_for(server, http_async_client=client).aembed_query("a") == [0.5]
        assert server.seen[0].headers["x-mine"] == "1"

    @pytest.mark.filterwarnings("ignore:The function `loads` is in beta")
    def test_dumps_and_loads(self, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
        text = dumps(embeddings_for(server, dimensions=7, timeout=httpx2.Timeout(5)))
        monkeypatch.setenv("OPENROUTER_API_KEY", KEY)
        twin = loads(
            text,
            secrets_map={"OPENROUTER_API_KEY": KEY},
            valid_namespaces=["langchain_openrouter"],
            allowed_objects=[OpenRouterEmbeddings],
        )
        assert isinstance(twin, OpenRouterEmbeddings)
        server.answer(json_reply(vectors([0.5])))
        assert twin.embed_query("a") == [0.5]
        assert server.seen[0].body["dimensions"] == 7
        assert server.seen[0].headers["authorization"] == f"Bearer {KEY}"
