"""What planning costs: `python bench/plan.py` prints the CPU time of each case, in microseconds, and the bars.

One process, one thread, nothing but planning. Bars are compared with the quickest of many short rounds, which is what
planning costs where the processor is not shared; the median beside it is what it cost now. Exit status 1 when a bar is
missed.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from openrouter_gateway.core.catalog import Catalog, DataPolicy, Endpoint, Listing, Model, Price, Provider
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.usage import Usage
from openrouter_gateway.routing.facts import Facts
from openrouter_gateway.routing.failover import failover
from openrouter_gateway.routing.health import Health
from openrouter_gateway.routing.plan import plan_route
from openrouter_gateway.routing.sticky import conversation_of, remember
from openrouter_gateway.wire.skins import chat

MODEL = "acme/one"
NOW = 1000.0
ROUNDS = 800
CALLS = 50
PARAMETERS = frozenset({"temperature", "tools", "tool_choice", "response_format", "structured_outputs", "max_tokens"})
TEXT = [{"role": "system", "content": "Answer briefly."}, {"role": "user", "content": "What is the weather? " * 20}]
IMAGE: list[dict[str, Any]] = [
    {"role": "system", "content": "Answer briefly."},
    {"role": "user", "content": [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {}}]},
]
ALL_PREFERENCES: dict[str, Any] = {
    "only": [f"provider-{n}" for n in range(20)],
    "ignore": ["Somebody", "nobody", "provider-4/turbo"],
    "allow_fallbacks": True,
    "require_parameters": True,
    "data_collection": "deny",
    "zdr": True,
    "enforce_distillable_text": True,
    "quantizations": ["fp8", "fp16", "bf16"],
    "sort": {"by": "throughput", "partition": "model"},
    "preferred_min_throughput": {"p50": 50, "p75": 40, "p90": 30, "p99": 10},
    "preferred_max_latency": {"p50": 0.5, "p75": 0.6, "p90": 0.8, "p99": 3},
    "max_price": {"prompt": 40, "completion": "80", "request": 1, "image": 1, "audio": 1},
}


def make_catalog(count: int, *, mixed: bool = True) -> Catalog:
    """Return a catalogue of one model with so many endpoints, all alike but for prices unless mixed."""
    endpoints = tuple(make_endpoint(n, flaw=n % 5 if mixed else 0) for n in range(count))
    model = Model(id=MODEL, name="One", distillable=True)
    return Catalog(
        listings={MODEL: Listing(model=model, endpoints=endpoints)}, providers=tuple(e.provider for e in endpoints)
    )


def make_endpoint(n: int, *, flaw: int) -> Endpoint:
    """Return one of a range of endpoints. Flaws: 1 retains data, 2 is of low precision, 3 misses a parameter."""
    return Endpoint(
        model_id=MODEL,
        provider=Provider(
            slug=f"provider-{n}",
            name=f"Provider {n}",
            protocol="openai",
            policy=DataPolicy(trains=False, retains=flaw == 1),
        ),
        upstream_id="one",
        tag=f"provider-{n}",
        price=Price(
            prompt=Decimal(n + 1) / 10_000_000,
            completion=Decimal(n + 1) / 5_000_000,
            cache_read=Decimal(n + 1) / 100_000_000,
            image=Decimal("0.001"),
        ),
        quantization="int4" if flaw == 2 else "fp8",
        context_length=100_000 + n,
        max_completion_tokens=8_000 + n,
        supported_parameters=PARAMETERS - ({"tools"} if flaw == 3 else set()),
        input_modalities=frozenset({"text", "image"}),
    )


def make_request(messages: list[dict[str, Any]], **fields: object) -> ChatRequest:
    """Return a request as the skin parses it."""
    return chat.parse(json.dumps({"model": MODEL, "messages": messages} | fields).encode())


def measured(catalog: Catalog) -> Health:
    """Return the health of all endpoints after some traffic."""
    health = Health()
    for place, endpoint in enumerate(catalog.listings[MODEL].endpoints):
        for n in range(20):
            at = NOW - 20 + n
            health.record(endpoint.key, at, "served", latency_s=0.1 + place / 30, tokens_per_s=100 - 3 * place)
    return health


def measure_us(call: Callable[[], object]) -> tuple[float, float]:
    """Return the least and the median of many rounds, per call."""
    rounds: list[float] = []
    for _ in range(ROUNDS):
        began = time.thread_time()
        for _ in range(CALLS):
            call()
        rounds.append((time.thread_time() - began) / CALLS)
    return min(rounds) * 1e6, statistics.median(rounds) * 1e6


def planning(count: int, request: ChatRequest, *, mixed: bool = True) -> Callable[[], object]:
    """Return a call that plans a request for a model with so many endpoints, all of them measured."""
    catalog = make_catalog(count, mixed=mixed)
    health = measured(catalog)
    dice = random.Random(7).random  # noqa: S311 - a benchmark

    def plan() -> object:
        return plan_route(request, catalog, Facts(now=NOW, dice=dice, health=health.views))

    return plan


def other_cases() -> dict[str, Callable[[], object]]:
    """Return what else a request costs in routing."""
    catalog = make_catalog(3)
    health = measured(catalog)
    endpoint = catalog.listings[MODEL].endpoints[0]
    request = make_request(TEXT)
    plan = plan_route(request, catalog)
    conversation = conversation_of(request, catalog)
    assert conversation is not None
    clock = iter(range(10**9))
    return {
        "record an attempt": lambda: health.record(
            endpoint.key, NOW + next(clock) / 1000, "served", latency_s=0.2, tokens_per_s=70
        ),
        "first step of failover": lambda: next(failover(plan)),
        "key of a conversation": lambda: conversation_of(request, catalog),
        "remember a conversation": lambda: remember(conversation, endpoint, Usage(cached_tokens=1)),
    }


def main() -> int:
    """Measure and print."""
    fields: dict[str, Any] = {
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}},
        "max_tokens": 1000,
        "temperature": 0.5,
        "service_tier": "priority",
    }
    listed = ALL_PREFERENCES | {"order": ["provider-7", "Provider 5", "provider-9"]}
    sorting, ordering = (make_request(IMAGE, provider=provider, **fields) for provider in (ALL_PREFERENCES, listed))
    cases: dict[str, tuple[Callable[[], object], float | None]] = {
        "plan: 1 endpoint, no preferences": (planning(1, make_request(TEXT)), 10),
        "plan: 3 endpoints, no preferences": (planning(3, make_request(TEXT)), 10),
        "plan: 20 endpoints, no preferences": (planning(20, make_request(TEXT)), None),
        "plan: 20 endpoints, all preferences, sorted": (planning(20, sorting), 40),
        "plan: 20 endpoints, all preferences, listed": (planning(20, ordering), 40),
        "plan: the same, and all pass, sorted": (planning(20, sorting, mixed=False), 40),
        "plan: the same, and all pass, listed": (planning(20, ordering, mixed=False), 40),
        **{name: (call, None) for name, call in other_cases().items()},
    }
    missed = False
    for name, (call, bar) in cases.items():
        found, median = measure_us(call)
        missed |= bar is not None and found > bar
        print(f"{name:46} {found:6.2f} us  (median: {median:.2f})" + (f"  (bar: {bar})" if bar else ""), flush=True)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
