"""Small values that the gateway's tests are made of: endpoints, catalogues, requests, provider chunks."""

import json
from decimal import Decimal
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from openrouter_gateway.core.catalog import Catalog, DataPolicy, Endpoint, Listing, Model, Price, Provider
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.events import Ended, Event, Failed, Step, UsageReported
from openrouter_gateway.wire.skins import chat
from openrouter_gateway.wire.skins.base import ReplyHead

HEAD = ReplyHead(id="gen-1771043112-abcdefghij0123456789", created=1771043112, model="a/one", provider="Acme")
MESSAGES = [{"role": "user", "content": "Hello"}]


def make_request(**fields: object) -> ChatRequest:
    """Return a request as the skin parses it; `messages` is filled in unless given."""
    return chat.parse(json.dumps({"messages": MESSAGES} | fields).encode())


def make_endpoint(
    tag: str = "acme",
    model_id: str = "a/one",
    *,
    name: str | None = None,
    policy: DataPolicy | None = None,
    quirks: frozenset[str] = frozenset(),
    prompt: str | None = "0",
    completion: str = "0",
    request: str = "0",
    quantization: str | None = None,
    parameters: set[str] | None = None,
    modalities: set[str] | None = None,
) -> Endpoint:
    """Return an endpoint of a model; the provider's slug is the tag up to its first slash.

    Without a `prompt` price, no price is known.
    """
    slug = tag.partition("/")[0]
    price = None
    if prompt is not None:
        price = Price(prompt=Decimal(prompt), completion=Decimal(completion), request=Decimal(request))
    return Endpoint(
        model_id=model_id,
        provider=Provider(
            slug=slug,
            name=name or slug.title(),
            protocol="openai",
            policy=policy or DataPolicy(),
            quirks=quirks,
        ),
        upstream_id=f"{model_id.partition('/')[2]}-upstream",
        tag=tag,
        price=price,
        quantization=quantization,
        supported_parameters=None if parameters is None else frozenset(parameters),
        input_modalities=None if modalities is None else frozenset(modalities),
    )


def make_catalog(*endpoints: Endpoint, default_model: str | None = None) -> Catalog:
    """Return a catalogue that lists each endpoint under its own model."""
    listings: dict[str, Listing] = {}
    for endpoint in endpoints:
        known = listings.get(endpoint.model_id, Listing(model=Model(id=endpoint.model_id, name="One"), endpoints=()))
        listings[endpoint.model_id] = Listing(model=known.model, endpoints=(*known.endpoints, endpoint))
    return Catalog(
        listings=listings, providers=tuple({e.provider: None for e in endpoints}), default_model=default_model
    )


def to_sse(*chunks: object, done: bool = True) -> bytes:
    """Return provider chunks as an event stream; bytes are taken as they are."""
    payloads = [chunk if isinstance(chunk, bytes) else json.dumps(chunk).encode() for chunk in chunks]
    return b"".join(b"data: " + payload + b"\n\n" for payload in [*payloads, *([b"[DONE]"] if done else [])])


def make_chunk(delta: object, *, finish: object = None, **top: object) -> dict[str, Any]:
    """Return a provider's chunk of one choice."""
    return {"id": "x", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]} | top


def cut_at(data: bytes, cuts: list[int]) -> list[bytes]:
    """Return the data in pieces, cut at these places (taken modulo its length)."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[begin:end] for begin, end in pairwise(places)]


def encode_step(encoder: chat.StreamEncoder, step: Step) -> bytes:
    """Return one chunk of a stream."""
    out = bytearray()
    encoder.encode_step(step, out)
    return bytes(out)


def show(event: Event) -> object:
    """Return an event as a value that compares and prints well."""
    match event:
        case Step(chunk=chunk):
            return ("step", event.choices, {key: value for key, value in chunk.items() if key not in _OWN})
        case UsageReported(usage=usage):
            return ("usage", usage)
        case Failed(error=error):
            return ("failed", type(error).__name__, error.message, error.status, error.provider_code)
        case Ended():
            return ("ended",)


_OWN = frozenset({"id", "object", "created", "model", "provider", "choices"})  # a skin writes its own

ANY_CUTS = st.lists(st.integers(min_value=0, max_value=10_000), max_size=8)

_TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
ANY_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(_TEXT, children, max_size=3),
    max_leaves=6,
)


def dicts_like(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return dictionaries with any of these keys, each as described or any other JSON value."""
    return st.fixed_dictionaries({}, optional={key: value | ANY_JSON for key, value in fields.items()})


CALL_LIKE = dicts_like(
    index=st.integers(0, 2),
    id=_TEXT,
    type=st.just("function"),
    function=dicts_like(name=_TEXT, arguments=_TEXT),
)
DELTA_LIKE = dicts_like(
    role=st.sampled_from(["assistant", "", "model"]),
    content=_TEXT,
    reasoning=_TEXT,
    reasoning_details=st.lists(dicts_like(type=_TEXT), max_size=2),
    refusal=_TEXT,
    tool_calls=st.lists(CALL_LIKE | ANY_JSON, max_size=2),
    images=st.lists(ANY_JSON, max_size=2),
)
CHOICE_LIKE = dicts_like(
    index=st.integers(0, 1),
    delta=DELTA_LIKE,
    message=DELTA_LIKE,
    finish_reason=st.sampled_from(["stop", "length", "", "tool_use"]),
    native_finish_reason=_TEXT,
    logprobs=ANY_JSON,
)
USAGE_LIKE = dicts_like(
    prompt_tokens=st.integers(0, 100),
    completion_tokens=st.integers(0, 100),
    total_tokens=st.integers(0, 100),
    prompt_tokens_details=dicts_like(cached_tokens=st.integers(0, 100)),
    completion_tokens_details=dicts_like(reasoning_tokens=st.integers(0, 100)),
    cost=st.floats(0, 1),
)
REPLY_LIKE = dicts_like(
    choices=st.lists(CHOICE_LIKE | ANY_JSON, max_size=2),
    usage=USAGE_LIKE,
    error=dicts_like(code=st.integers(), message=_TEXT),
    system_fingerprint=_TEXT,
)
"""What a provider could send, from right to anything at all."""
