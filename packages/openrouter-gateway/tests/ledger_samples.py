"""The generation that the ledger's tests are made of."""

from decimal import Decimal
from typing import Any

from openrouter_gateway.core.generation import AttemptRecord, Generation
from openrouter_gateway.core.usage import Cost, Usage

CREATED_S = 1771043112.5
"""2026-02-14 04:25:12.5 UTC."""
KEY = "5e" * 32
COST = Decimal("0.000000001000000001")


def make_generation(number: int, **fields: Any) -> Generation:
    """Return a generation that cost `COST`."""
    usage = Usage(prompt_tokens=3, completion_tokens=2, total_tokens=5, reasoning_tokens=1)
    values: dict[str, Any] = {
        "id": f"gen-{number}",
        "created": CREATED_S,
        "ending": "finished",
        "requested_models": ["a/one"],
        "model": "a/one",
        "provider": "acme",
        "streamed": True,
        "usage": usage,
        "cost": Cost(prompt=COST),
        "finish_reason": "stop",
        "native_finish_reason": "stop",
        "error_type": None,
        "status": 200,
        "attempts": [AttemptRecord(provider="acme", tag="acme/fp8", outcome="served", status=200, duration_s=0.25)],
        "latency_s": 0.125,
        "duration_s": 0.5,
        "key_hash": KEY,
        "endpoint": "acme/fp8",
    }
    return Generation(**(values | fields))
