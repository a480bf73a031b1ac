"""Embeddings, rerank and text completions through running gateways: fake providers, llama.cpp's server, the client."""

import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest

from fakes.gateway import Gateway, provider_config, running_gateway
from fakes.llama_server import running_llama
from fakes.provider import TEXT, FakeProvider, running_provider
from fakes.task_answers import vector_of
from langchain_openrouter import OpenRouterEmbeddings
from openrouter_gateway.callers.local import find_default_model

SMOL = "local/smollm2-135m-instruct"
AUDIO: dict[str, Any] = {}
CATS, MARKETS = ["The cat sat on the mat.", "A kitten was sitting on a rug."], ["Stock markets fell sharply on Monday."]
BEHAVIOURS = ("vectors", "base64", "few", "status:400", "status:500", "throttled", "garbage", "cut-at-once")


def post(gateway: Gateway, path: str, model: str, **fields: Any) -> httpx2.Response:
    """Send a request to a path of the API."""
    return httpx2.post(f"{gateway.base_url}{path}", json={"model": model, **fields}, timeout=60)


def cosine(one: list[float], other: list[float]) -> float:
    """Return how alike two vectors are."""

    def dot(left: list[float], right: list[float]) -> float:
        return sum(a * b for a, b in zip(left, right, strict=True))

    return dot(one, other) / (dot(one, one) * dot(other, other)) ** 0.5


class Tasked(NamedTuple):
    """A gateway and its providers.

    The first has `embed/<behaviour>`, the second `rank/one` and `chat/one`, both `embed/both`, where the first fails.
    """

    gateway: Gateway
    first: FakeProvider
    second: FakeProvider

    def post(self, path: str, model: str, **fields: Any) -> httpx2.Response:
        """Send a request to a path of the API."""
        return post(self.gateway, path, model, **fields)

    def record_of(self, answer: httpx2.Response) -> dict[str, Any]:
        """Return what was recorded of an answer."""
        deadline = time.monotonic() + 5
        while True:
            records = {record["id"]: record for record in self.gateway.generations(0)}
            found = records.get(answer.headers["x-generation-id"])
            if found is not None:
                return found
            assert time.monotonic() < deadline, "there is no record of it"
            time.sleep(0.05)


@pytest.fixture(scope="module")
def tasked(tmp_path_factory: pytest.TempPathFactory) -> Generator[Tasked]:
    """See `Tasked`."""
    with running_provider() as first, running_provider() as second:
        models = {f"embed/{name.replace(':', '-')}": name for name in BEHAVIOURS} | {"embed/both": "status:500"}
        others = provider_config({"second": second.base_url}, {"embed/both": "vectors"}, outputs="embeddings")
        more = (
            '[[providers.second.models]]\nid = "rank/one"\noutput_modalities = ["rerank"]\n'
            'pricing = { request = "0.002" }\n'
            '[[providers.second.models]]\nid = "chat/one"\nupstream_id = "answer"\n'
        )
        config = [
            provider_config({"first": first.base_url}, models, outputs="embeddings"),
            others.partition("\n\n")[2],
            more,
        ]
        with running_gateway(tmp_path_factory.mktemp("tasked"), "\n".join(config)) as gateway:
            yield Tasked(gateway, first, second)


class TestEmbeddings:
    """`POST /embeddings`."""

    @pytest.mark.parametrize("model", ["embed/vectors", "embed/base64"])
    @pytest.mark.covers("tasks.embeddings_openai", "text inputs", "numbers and base64", "usage", "cost")
    def test_both_forms_from_either(self, tasked: Tasked, model: str) -> None:
        """Numbers or base64, as asked for, whatever the provider sends; counted, priced and recorded."""
        answer = tasked.post("/embeddings", model, input=["ab", "c"], user="u")
        body = answer.json()
        again = tasked.post("/embeddings", model, input="ab", encoding_format="base64").json()

        assert [vector_of("ab"), vector_of("c")] == [item["embedding"] for item in body["data"]]
        assert "AAAAQAAAwkIAAAA/" == again["data"][0]["embedding"]
        assert ("list", model, "First", [0, 1]) == (
            body["object"],
            body["model"],
            body["provider"],
            [item["index"] for item in body["data"]],
        )
        assert (6, 6, 0.000018) == tuple(body["usage"][name] for name in ("prompt_tokens", "total_tokens", "cost"))
        assert body["id"] == answer.headers["x-generation-id"]
        record = tasked.record_of(answer)
        assert ("embeddings", "finished", 200, "u", False) == tuple(
            record[name] for name in ("api_type", "ending", "status", "user", "streamed")
        )
        assert (6, 0) == (record["usage"]["prompt_tokens"], record["usage"]["completion_tokens"])

    def test_failover(self, tasked: Tasked) -> None:
        """The second endpoint answers when the first fails; what both did is recorded."""
        answer = tasked.post("/embeddings", "embed/both", input="ab", provider={"order": ["first", "second"]})
        body = answer.json()

        assert (vector_of("ab"), "Second") == (body["data"][0]["embedding"], body["provider"])
        outcomes = [attempt["outcome"] for attempt in tasked.record_of(answer)["attempts"]]
        assert ["Unavailable", "served"] == outcomes

    @pytest.mark.parametrize(
        ("model", "status", "kind"),
        [
            ("embed/status-400", 400, "invalid_request"),
            ("embed/status-500", 502, "provider_unavailable"),
            ("embed/throttled", 429, "rate_limit_exceeded"),
            ("embed/garbage", 502, "provider_unavailable"),
            ("embed/cut-at-once", 502, "provider_unavailable"),
            ("embed/few", 502, "provider_unavailable"),
            ("embed/none", 404, "not_found"),
            ("chat/one", 400, "invalid_request"),
            ("openrouter/auto", 400, "invalid_request"),
        ],
    )
    @pytest.mark.covers("tasks.embeddings_openai", "errors with status", "broken replies")
    def test_failures(self, tasked: Tasked, model: str, status: int, kind: str) -> None:
        """In the shape of every other error, with the same headers."""
        answer = tasked.post("/embeddings", model, input=["ab", "c"])

        error = answer.json()["error"]
        assert (status, status, kind) == (answer.status_code, error["code"], error["metadata"]["error_type"])
        assert answer.headers["x-generation-id"].startswith("gen-")
        assert "application/json" == answer.headers["content-type"]

    def test_the_right_path_is_named(self, tasked: Tasked) -> None:
        """For chat models here, and for these at the path of chat."""
        here = tasked.post("/embeddings", "chat/one", input="x").json()["error"]["availability"]
        there = tasked.gateway.post("embed/vectors").json()["error"]["availability"]

        assert ("wrong_endpoint", "POST /api/v1/chat/completions") == (here["code"], here["constraint"]["detail"])
        assert ("wrong_endpoint", "POST /api/v1/embeddings") == (there["code"], there["constraint"]["detail"])

    def test_lists(self, tasked: Tasked) -> None:
        """Only in lists that ask for them."""

        def ids(path: str) -> list[str]:
            return [row["id"] for row in httpx2.get(f"{tasked.gateway.base_url}{path}").json()["data"]]

        assert ["chat/one"] == ids("/models")
        assert "embed/vectors" in ids("/embeddings/models")
        assert "chat/one" not in ids("/embeddings/models")
        assert ["embed/base64", "embed/both"] == ids("/embeddings/models?limit=2")
        assert ["rank/one"] == ids("/models?output_modalities=rerank")
        count = httpx2.get(f"{tasked.gateway.base_url}/models/count?output_modalities=embeddings").json()
        assert {"data": {"count": len(BEHAVIOURS) + 1}} == count

    def test_only_posts(self, tasked: Tasked) -> None:
        """As at every path of inference."""
        answer = httpx2.get(f"{tasked.gateway.base_url}/embeddings")

        assert (405, "POST") == (answer.status_code, answer.headers["allow"])


class TestRerank:
    """`POST /rerank`."""

    @pytest.mark.covers("tasks.rerank", "text inputs", "usage", "cost")
    def test_an_answer(self, tasked: Tasked) -> None:
        """The most relevant first, each with its document; search units are priced and recorded."""
        documents: list[Any] = ["ab", {"text": "abcd"}, "abc"]
        answer = tasked.post("/rerank", "rank/one", query="q", documents=documents, top_n=2)
        body = answer.json()

        assert [
            {"index": 1, "relevance_score": 0.04, "document": {"text": "abcd"}},
            {"index": 2, "relevance_score": 0.03, "document": {"text": "abc"}},
        ] == body["results"]
        assert ("rank/one", "Second", {"search_units": 1, "cost": 0.002}) == (
            body["model"],
            body["provider"],
            body["usage"],
        )
        assert ["ab", "abcd", "abc"] == tasked.second.requests[-1]["documents"]
        record = tasked.record_of(answer)
        assert ("rerank", body["id"], 1) == (record["api_type"], record["id"], record["usage"]["search_units"])

    @pytest.mark.parametrize(
        ("model", "status"), [("chat/one", 400), ("embed/vectors", 400), ("nobody/none", 404), ("openrouter/free", 400)]
    )
    @pytest.mark.covers("tasks.rerank", "errors with status")
    def test_where_nobody_ranks(self, tasked: Tasked, model: str, status: int) -> None:
        """The reason is told."""
        answer = tasked.post("/rerank", model, query="q", documents=["a"])

        assert status == answer.status_code
        assert model in answer.json()["error"]["message"]


class TestCompletions:
    """`POST /completions`, and prompts at `/chat/completions`."""

    @pytest.mark.parametrize("path", ["/completions", "/chat/completions"])
    def test_json_and_stream(self, tasked: Tasked, path: str) -> None:
        """Text in the legacy shape; the provider was asked to chat."""
        whole = tasked.post(path, "chat/one", prompt="Say hello.", echo=True).json()
        stream = tasked.post(path, "chat/one", prompt="Say hello.", stream=True)

        assert ("text_completion", f"Say hello.{TEXT}") == (whole["object"], whole["choices"][0]["text"])
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.text.endswith("data: [DONE]\n\n")
        assert '"object":"text_completion"' in stream.text
        assert '"delta"' not in stream.text
        assert [{"role": "user", "content": "Say hello."}] == tasked.second.requests[-1]["messages"]
        assert "completions" == tasked.record_of(stream)["api_type"]

    def test_a_wrong_request(self, tasked: Tasked) -> None:
        """A 400 that names the field."""
        answer = tasked.post("/completions", "chat/one", prompt=["a", "b"])

        assert (400, True) == (answer.status_code, answer.json()["error"]["message"].startswith("prompt: "))


class TestEmbedded:
    """The embedded model makes vectors beside its chat."""

    @pytest.mark.covers("clients.langchain_openrouter", "embeddings")
    @pytest.mark.covers("tasks.embeddings_local", "text inputs", "numbers and base64", "usage")
    def test_the_client_embeds(self, embedded: Gateway) -> None:
        """`OpenRouterEmbeddings` gets vectors that know cats from markets, the same in both encodings."""
        client = OpenRouterEmbeddings(model=SMOL, base_url=embedded.base_url, api_key="not-checked")
        packed = client.model_copy(update={"encoding_format": "base64"})

        cat, kitten, market = client.embed_documents([*CATS, *MARKETS])

        assert {576} == {len(vector) for vector in (cat, kitten, market)}
        assert cosine(cat, kitten) > cosine(cat, market) + 0.05
        assert pytest.approx(packed.embed_query(CATS[0]), abs=1e-6) == client.embed_query(CATS[0])

    async def test_the_client_embeds_asynchronously(self, embedded: Gateway) -> None:
        """The same."""
        client = OpenRouterEmbeddings(model=SMOL, base_url=embedded.base_url, api_key="not-checked")

        (vector,) = await client.aembed_documents(CATS[:1])

        assert 576 == len(vector)

    @pytest.mark.covers("tasks.embeddings_local", "token inputs")
    def test_chat_goes_on(self, embedded: Gateway) -> None:
        """In both lists, and able to do both in turn."""
        assert 200 == post(embedded, "/embeddings", SMOL, input=[[1, 2, 3], [4]]).status_code
        assert 200 == embedded.post(SMOL, max_tokens=3).status_code
        for path in ("/models", "/embeddings/models"):
            listed = httpx2.get(f"{embedded.base_url}{path}").json()["data"]
            assert SMOL in [row["id"] for row in listed]

    @pytest.mark.parametrize(
        ("fields", "kind"),
        [
            ({"input": "word " * 9000}, "context_length_exceeded"),
            ({"input": ""}, "invalid_request"),
            ({"input": "x", "dimensions": 8}, "invalid_request"),
            ({"input": [{"content": [{"type": "input_audio", "input_audio": AUDIO}]}]}, None),
        ],
    )
    @pytest.mark.covers("tasks.embeddings_local", "errors with status", "image inputs", "length of vectors")
    def test_what_it_refuses(self, embedded: Gateway, fields: dict[str, Any], kind: str | None) -> None:
        """With a reason, and nothing worse."""
        answer = post(embedded, "/embeddings", SMOL, **fields)

        error = answer.json()["error"]
        assert ((400, kind) if kind else (404, "not_found")) == (
            answer.status_code,
            error["metadata"]["error_type"],
        ), error

    def test_text_completions(self, embedded: Gateway) -> None:
        """The same text as chat's."""
        text = post(embedded, "/completions", SMOL, prompt="Say hello.", max_tokens=8, temperature=0).json()
        chat = embedded.post(SMOL, max_tokens=8, temperature=0).json()

        assert chat["choices"][0]["message"]["content"] == text["choices"][0]["text"]
        assert chat["usage"]["total_tokens"] == text["usage"]["total_tokens"]


class TestLlamaServer:
    """Against a server that others wrote."""

    @pytest.mark.covers("tasks.embeddings_openai", "text inputs", "numbers and base64")
    def test_its_vectors(self, tmp_path: Path) -> None:
        """llama.cpp's `/v1/embeddings`, in the form it does not choose by itself, too."""
        with running_llama(find_default_model(), "LAST") as base_url:
            config = provider_config({"llama": base_url}, {"smol/v": "smollm2"}, outputs="embeddings")
            with running_gateway(tmp_path, config) as gateway:
                body = post(gateway, "/embeddings", "smol/v", input=[*CATS, *MARKETS]).json()
                packed = post(gateway, "/embeddings", "smol/v", input=CATS[0], encoding_format="base64").json()

        cat, kitten, market = (item["embedding"] for item in body["data"])
        assert cosine(cat, kitten) > cosine(cat, market) + 0.05
        assert isinstance(packed["data"][0]["embedding"], str)
        assert body["usage"]["prompt_tokens"] > 15
        assert body["usage"]["cost"] == pytest.approx(body["usage"]["prompt_tokens"] * 0.000003)

    @pytest.mark.covers("tasks.rerank", "text inputs")
    def test_its_ranking(self, tmp_path: Path) -> None:
        """llama.cpp's `/v1/rerank`: the model is no reranker, so the scores say little, but the dialect is its own."""
        with running_llama(find_default_model(), "RANK") as base_url:
            config = provider_config({"llama": base_url}, {"smol/r": "smollm2"}, outputs="rerank")
            with running_gateway(tmp_path, config) as gateway:
                body = post(gateway, "/rerank", "smol/r", query="cats", documents=[*CATS, {"text": MARKETS[0]}]).json()

        scores = [result["relevance_score"] for result in body["results"]]
        assert sorted(scores, reverse=True) == scores
        assert {0, 1, 2} == {result["index"] for result in body["results"]}
        assert {*CATS, *MARKETS} == {result["document"]["text"] for result in body["results"]}
        assert body["usage"]["total_tokens"] > 15
