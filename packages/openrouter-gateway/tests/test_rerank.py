"""Reranking, inbound and outbound: documents in, the same by relevance out."""

import json
from decimal import Decimal
from typing import Any

import pytest
from gateway_samples import HEAD, make_endpoint
from hypothesis import given
from hypothesis import strategies as st

from openrouter_gateway.accounting.price import price_usage
from openrouter_gateway.core.catalog import Price
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.events import Ended, Event, Failed, Step, UsageReported
from openrouter_gateway.core.rerank import Rerank
from openrouter_gateway.core.usage import Cost, Usage
from openrouter_gateway.errors import BadRequest, Garbled
from openrouter_gateway.wire.protocols import TASKS
from openrouter_gateway.wire.skins import SKINS
from openrouter_gateway.wire.skins.base import Closing

SKIN = SKINS["/rerank"]
CODEC = TASKS["openai"]["rerank"]
DOCUMENTS = ["a", {"text": "b"}, {"text": "c", "image": "https://x/c.png"}, {"image": "https://x/d.png", "note": 1}]
READ = ("a", {"text": "b"}, {"text": "c", "image": "https://x/c.png"}, {"image": "https://x/d.png"})


def parse(**fields: object) -> ChatRequest:
    """Return a request for a ranking."""
    return SKIN.parse(json.dumps({"model": "a/one", "query": "q", "documents": DOCUMENTS} | fields).encode())


def read(reply: object, **fields: object) -> list[Event]:
    """Return the events of a provider's reply."""
    decoder = CODEC.decoder(parse(**fields), "application/json")
    assert [] == decoder.feed(json.dumps(reply).encode())
    return decoder.finish()


def ranking(*scores: tuple[int, float], **more: object) -> dict[str, Any]:
    """Return a provider's reply with these documents and scores."""
    return {"results": [{"index": index, "relevance_score": score} for index, score in scores]} | more


def order(events: list[Event]) -> list[tuple[int, float]]:
    """Return what a reply ranks, in order."""
    step = events[0]
    assert isinstance(step, Step)
    return [(result["index"], result["relevance_score"]) for result in step.chunk["results"]]


class TestParse:
    """Request bodies."""

    @pytest.mark.covers("tasks.rerank", "text inputs", "image inputs")
    def test_documents(self) -> None:
        """Text, or objects with text, an image, or both; each with the query is what the model reads."""
        request = parse(top_n=2, provider={"only": ["acme"]}, new=1)

        assert Rerank(query="q", documents=READ, top_n=2) == request.task
        query, image = {"type": "text", "text": "q"}, {"type": "image_url", "image_url": {"url": "https://x/c.png"}}
        assert [query, {"type": "text", "text": "a"}] == request.params.messages[0].content
        assert [query, {"type": "text", "text": "c"}, image] == request.params.messages[2].content
        assert 4 == len(request.params.messages)

    @pytest.mark.parametrize(
        ("fields", "said"),
        [
            ({"model": None}, "model: "),
            ({"model": ""}, "model: "),
            ({"query": None}, "query: "),
            ({"documents": []}, "documents: "),
            ({"documents": "a"}, "documents: "),
            ({"documents": ["a", 1]}, "documents[1]: "),
            ({"documents": [{}]}, "documents[0]: "),
            ({"documents": [{"text": None}]}, "documents[0]: "),
            ({"documents": ["a", {"text": 1}]}, "documents[1]: "),
            ({"documents": [{"text": "a", "image": {}}]}, "documents[0]: "),
            ({"top_n": 0}, "top_n: "),
            ({"models": ["a/one"]}, "models: "),
            ({"stream": True}, "stream: "),
            ({"provider": {"onyl": []}}, "provider: "),
        ],
    )
    def test_a_wrong_field_is_named(self, fields: dict[str, object], said: str) -> None:
        """The message begins with it."""
        with pytest.raises(BadRequest) as caught:
            parse(**fields)

        assert caught.value.message.startswith(said), caught.value.message


class TestProtocol:
    """What providers get and send."""

    def test_a_request(self) -> None:
        """Nothing but text goes as text, which all servers take."""
        request = parse(top_n=2, provider={"only": ["acme"]}, user=None, new=1)

        assert {
            "model": "one-upstream",
            "query": "q",
            "documents": ["a", "b", *READ[2:]],
            "top_n": 2,
            "new": 1,
        } == json.loads(CODEC.encode(request, make_endpoint()))
        assert "/rerank" == CODEC.address(request, make_endpoint()).path

    @pytest.mark.parametrize(
        ("reply", "usage"),
        [
            (ranking((1, 0.5), (0, 0.9)), None),
            (  # llama.cpp
                ranking((0, 0.9), (1, 0.5), model="m", object="list", usage={"prompt_tokens": 4, "total_tokens": 4}),
                Usage(prompt_tokens=4, total_tokens=4),
            ),
            (  # vLLM and Jina
                {
                    "id": "rerank-1",
                    "results": [
                        {"index": 1, "document": {"text": "b"}, "relevance_score": 0.5},
                        {"index": 0, "document": {"text": "a"}, "relevance_score": 0.9},
                    ],
                    "usage": {"total_tokens": 4},
                },
                Usage(prompt_tokens=4, total_tokens=4),
            ),
            (ranking((0, 0.9), (1, 0.5), meta={"billed_units": {"search_units": 2}}), Usage(search_units=2)),  # Cohere
            (
                ranking((0, 0.9), (1, 0.5), meta={"billed_units": {"search_units": 1}, "tokens": {"input_tokens": 9}}),
                Usage(prompt_tokens=9, total_tokens=9, search_units=1),
            ),
            (ranking((0, 0.9), (1, 0.5), usage={"search_units": 1, "cost": 0.002}), None),  # OpenRouter, see below
            (  # Voyage
                {"data": [{"index": 0, "relevance_score": 0.9}, {"index": 1, "relevance_score": 0.5}]},
                None,
            ),
            ({"results": [{"index": 0, "score": 0.9}, {"index": 1, "score": 0.5}], "meta": "?", "usage": 1}, None),
        ],
    )
    @pytest.mark.covers("tasks.rerank", "text inputs", "usage")
    def test_replies_of_several_servers(self, reply: dict[str, Any], usage: Usage | None) -> None:
        """The most relevant first, whatever the order and the names."""
        events = read(reply, documents=["a", "b"])

        assert [(0, 0.9), (1, 0.5)] == order(events)
        found = [event.usage for event in events if isinstance(event, UsageReported)]
        if reply.get("usage") == {"search_units": 1, "cost": 0.002}:
            usage = Usage(search_units=1, reported_cost=Decimal("0.002"))
        assert ([] if usage is None else [usage]) == found
        assert Ended() == events[-1]

    def test_no_more_than_asked_for(self) -> None:
        """Some servers overlook `top_n`."""
        reply = ranking((0, 0.1), (1, 0.2), (2, 0.9), (3, 0.9))

        assert [(2, 0.9), (3, 0.9)] == order(read(reply, top_n=2))
        assert 4 == len(order(read(reply, top_n=9)))

    @pytest.mark.parametrize(
        ("reply", "said"),
        [
            ([], "something else"),
            ({}, "ranked 0 documents, and 2"),
            ({"results": None}, "ranked 0"),
            (ranking((0, 0.1)), "ranked 1"),
            (ranking((0, 0.1), (0, 0.2)), "one document each"),
            (ranking((0, 0.1), (2, 0.2)), "one document each"),
            (ranking((0, 0.1), (-1, 0.2)), "one document each"),
            ({"results": [{"index": 0}, {"index": 1}]}, "without a score"),
            ({"results": [{"index": 0, "relevance_score": "x"}, {"index": 1}]}, "something else"),
            ({"results": [{"relevance_score": 1}]}, "something else"),
        ],
    )
    @pytest.mark.covers("tasks.rerank", "broken replies")
    def test_what_is_no_answer(self, reply: object, said: str) -> None:
        """The next endpoint has its try."""
        (event,) = read(reply, documents=["a", "b"])

        assert isinstance(event, Failed)
        assert isinstance(event.error, Garbled)
        assert said in event.error.message

    @pytest.mark.covers("tasks.rerank", "errors with status")
    def test_an_error_in_the_body(self) -> None:
        """It is that error."""
        (event,) = read({"error": "no such model"}, documents=["a"])

        assert isinstance(event, Failed)
        assert "no such model" == event.error.message

    @given(
        st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=8),
        st.integers(1, 9),
        st.randoms(use_true_random=False),
    )
    def test_any_scores_are_sorted(self, scores: list[float], top_n: int, dice: Any) -> None:
        """Nothing above what comes before, nothing twice, equal ones as the caller has them."""
        pairs = list(enumerate(scores))
        dice.shuffle(pairs)

        found = order(read(ranking(*pairs), documents=["x"] * len(scores), top_n=top_n))

        assert sorted(enumerate(scores), key=lambda pair: (-pair[1], pair[0]))[:top_n] == found


def test_an_answer() -> None:
    """Each result has its document, which the official clients insist on; counts only where there are any."""
    encoder = SKIN.body_encoder(HEAD, parse())
    scores = [(2, 0.9), (0, 0.5), (1, 0.25), (3, 0.0)]
    results = [{"index": index, "relevance_score": score} for index, score in scores]
    encoder.add_step(Step({"choices": [], "results": results}))
    closing = Closing(usage=Usage(search_units=1), cost=Cost(request=Decimal("0.002")))

    shown = json.loads(encoder.encode_end(closing), parse_float=Decimal)

    texts: list[Any] = [{"text": "a"}, *READ[1:]]
    assert {
        "id": HEAD.id,
        "model": "a/one",
        "provider": "Acme",
        "results": [
            {"index": index, "relevance_score": Decimal(str(score)), "document": texts[index]}
            for index, score in scores
        ],
        "usage": {"search_units": 1, "cost": Decimal("0.002")},
    } == shown


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (Usage(search_units=3), "0.006"),
        (Usage(prompt_tokens=10, total_tokens=10), "0.002"),
        (Usage(), "0"),
    ],
)
@pytest.mark.covers("tasks.rerank", "cost")
def test_search_units_are_priced_per_request(usage: Usage, expected: str) -> None:
    """Each of them; without, one for an answer that was counted."""
    assert Decimal(expected) == price_usage(usage, Price(request=Decimal("0.002"))).total
