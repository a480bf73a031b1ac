"""The record that benchmarks are made of."""

from decimal import Decimal

from openrouter_gateway.core.generation import AttemptRecord, Generation
from openrouter_gateway.core.usage import Cost, Usage

TRACE = {"trace_id": "run-1234567", "trace_name": "agent", "generation_name": "answer", "team": "blue"}
"""What a caller may say of a request."""


def make_generation(number: int, *, traced: bool = False) -> Generation:
    """Return a record such as a usual streamed answer leaves: its line has 1.2 KB."""
    return Generation(
        id=f"gen-{1771043112 + number // 1000}-{number * 7919:020x}",
        created=1771043112.5 + number / 1000,
        ending="finished",
        requested_models=["openai/gpt-4o-mini"],
        model="openai/gpt-4o-mini",
        provider="openai",
        provider_name="OpenAI",
        endpoint="openai",
        upstream_id="chatcmpl-AbCdEfGhIjKlMnOpQrStUvWxYz012",
        streamed=True,
        usage=Usage(prompt_tokens=321, completion_tokens=123, total_tokens=444, cached_tokens=64, reasoning_tokens=32),
        cost=Cost(prompt=Decimal("0.00004335"), completion=Decimal("0.0000738")),
        catalog_version="2026-11-01",
        finish_reason="stop",
        native_finish_reason="stop",
        error_type=None,
        status=200,
        attempts=[
            AttemptRecord(
                provider="openai",
                tag="openai",
                outcome="served",
                status=200,
                duration_s=0.8123456,
                model="openai/gpt-4o-mini",
            )
        ],
        latency_s=0.3123456,
        duration_s=0.8234567,
        key_hash="5e" * 32,
        app_url="https://app.example.com",
        app_title="An application",
        user_agent="Mozilla/5.0 (X11; Linux x86_64)",
        user="user-1234567",
        session_id="session-1234567",
        trace=TRACE if traced else None,
    )
