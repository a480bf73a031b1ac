"""What the tests of the `gemini` protocol are made of: requests, chunks, and the rules that every reply keeps."""

import json
from typing import Any

import msgspec
from gateway_samples import HEAD, encode_step, make_request
from hypothesis import strategies as st
from protocol_vectors import decode

from openrouter_gateway.core.catalog import Endpoint, Provider
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.events import Ended, Event, Failed, Step, UsageReported
from openrouter_gateway.core.usage import Cost, Usage
from openrouter_gateway.errors import UpstreamError
from openrouter_gateway.wire.protocols.gemini import Gemini
from openrouter_gateway.wire.skins import chat
from openrouter_gateway.wire.skins.base import Closing

GEMINI = Gemini()
PROVIDER = Provider(slug="acme", name="Acme", protocol="gemini")
_REASONS = {None, "stop", "length", "tool_calls", "content_filter", "error"}


def endpoint(model: str) -> Endpoint:
    """Return an endpoint of a model by the provider's name of it."""
    return Endpoint(model_id="acme/one", provider=PROVIDER, upstream_id=model, tag="acme")


def body_of(model: str = "gemini-3.1-pro-preview", **fields: object) -> dict[str, Any]:
    """Return what is sent for a request."""
    return json.loads(GEMINI.encode_chat(make_request(**fields), endpoint(model)))


def to_chunks(*chunks: object) -> bytes:
    """Return a stream as Google sends it."""
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\r\n\r\n" for chunk in chunks)


def make_chunk(*parts: object, finish: str | None = None, **top: object) -> dict[str, Any]:
    """Return a chunk of one candidate."""
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "responseId": "r"} | top


def read(*pieces: bytes, request: ChatRequest | None = None) -> list[Event | UpstreamError]:
    """Return what a decoder gives for a reply that comes in these pieces."""
    return decode(GEMINI.chat_decoder(request or make_request(stream=True), "text/event-stream"), *pieces)


def steps_of(events: list[Event | UpstreamError]) -> list[Step]:
    return [event for event in events if isinstance(event, Step)]


_ODD = st.sampled_from([None, True, 0, -1.5, 10**30, "x", [], {}, [None], [[]], {"a": None}, [{"a": 1}]])


def _like(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return dictionaries with any of these keys, each as described or odd."""
    return st.fixed_dictionaries({}, optional={key: value | _ODD for key, value in fields.items()})


PART_LIKE = _like(
    text=st.text(max_size=5),
    thought=st.booleans(),
    thoughtSignature=st.just("c2ln"),
    functionCall=_like(name=st.just("f"), args=_like(a=_ODD), id=st.sampled_from(["", "i", "j"])),
    inlineData=_like(mimeType=st.sampled_from(["image/png", "audio/wav", "video/mp4"]), data=st.just("AA==")),
    executableCode=_like(code=st.text(max_size=3)),
    codeExecutionResult=_like(outcome=st.text(max_size=3)),
)
SEGMENT_LIKE = _like(startIndex=st.integers(0, 9), endIndex=st.integers(0, 9), text=st.text(max_size=3))
GROUNDING_LIKE = _like(
    groundingChunks=st.lists(_like(web=_like(uri=st.just("u"), title=st.text(max_size=3))), max_size=2),
    groundingSupports=st.lists(
        _like(segment=SEGMENT_LIKE, groundingChunkIndices=st.lists(st.integers(-1, 2), max_size=2)), max_size=2
    ),
)
TOKENS_LIKE = st.lists(_like(token=st.text(max_size=3), logProbability=st.floats(-9, 0)), max_size=2)
CANDIDATE_LIKE = _like(
    index=st.integers(0, 1),
    content=_like(parts=st.lists(PART_LIKE | _ODD, max_size=2)),
    finishReason=st.sampled_from(["STOP", "MAX_TOKENS", "SAFETY", "OTHER", ""]),
    finishMessage=st.text(max_size=3),
    groundingMetadata=GROUNDING_LIKE,
    citationMetadata=_like(citationSources=st.lists(SEGMENT_LIKE, max_size=1)),
    logprobsResult=_like(
        chosenCandidates=TOKENS_LIKE, topCandidates=st.lists(_like(candidates=TOKENS_LIKE), max_size=2)
    ),
)
COUNTS = st.integers(0, 50)
CHUNK_LIKE = _like(
    candidates=st.lists(CANDIDATE_LIKE | _ODD, max_size=2),
    usageMetadata=_like(
        promptTokenCount=COUNTS,
        candidatesTokenCount=COUNTS,
        thoughtsTokenCount=COUNTS,
        totalTokenCount=COUNTS,
        cachedContentTokenCount=COUNTS,
        promptTokensDetails=st.lists(_like(modality=st.just("AUDIO"), tokenCount=COUNTS), max_size=2),
    ),
    promptFeedback=_like(blockReason=st.just("SAFETY")),
    error=_like(code=st.integers(), message=st.text(max_size=3), details=st.lists(_ODD, max_size=2)),
    responseId=st.text(max_size=3),
)


def assert_hub_rules(events: list[Event | UpstreamError]) -> None:
    """Check what `core/events` promises of a reply, and that the chat skin can show it."""
    *before, last = events
    assert isinstance(last, Ended | Failed | UpstreamError)
    assert all(isinstance(event, Step | UsageReported) for event in before)
    finished: set[int] = set()
    stream, body = chat.StreamEncoder(HEAD), chat.BodyEncoder(HEAD)
    for step in steps_of(events):
        assert step.choices
        for choice in step.choices:
            assert choice["index"] not in finished  # nothing comes behind the end of a choice
            if choice["finish_reason"] is not None:
                finished.add(choice["index"])
            assert_choice(choice)
        body.add_step(msgspec.json.decode(msgspec.json.encode(step), type=Step))
        encode_step(stream, step)
    if isinstance(last, Ended):
        indices = {choice["index"] for step in steps_of(events) for choice in step.choices}
        assert indices == finished
        stream.encode_end(Closing(usage=Usage(), cost=Cost()))
        body.encode_end(Closing(usage=Usage(), cost=Cost()))


def assert_choice(choice: Any) -> None:
    assert type(choice["index"]) is int
    assert choice["finish_reason"] in _REASONS
    delta = choice["delta"]
    assert None not in delta.values()
    assert all(type(delta.get(key, "")) is str for key in ("content", "reasoning"))
    for call in delta.get("tool_calls", ()):
        texts = [call["id"], call["type"], call["function"]["name"], call["function"]["arguments"]]
        assert all(type(text) is str for text in texts)
        assert isinstance(json.loads(call["function"]["arguments"]), dict)
    for entry in delta.get("reasoning_details", ()):
        assert type(entry["index"]) is int
        assert None not in entry.values()
