"""Whatever a generation can be, for the ledger's property tests."""

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from openrouter_gateway.core.generation import AttemptRecord, Generation
from openrouter_gateway.core.usage import Cost, Usage

# What the database keeps of a number: microseconds and 18 decimals of a USD.
_SECONDS = st.integers(0, 4 * 10**15).map(lambda number: number / 1_000_000)
_DURATIONS = st.integers(0, 10**12).map(lambda number: number / 1_000_000)
_USD = st.integers(0, 10**23).map(lambda number: Decimal(number).scaleb(-18))
_COUNTS = st.integers(0, 10**12)
_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
_JSON = st.recursive(st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | _TEXTS, st.lists, max_leaves=5)


def _optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


ANY_GENERATION = st.builds(
    Generation,
    id=_TEXTS.filter(bool),
    created=_SECONDS,
    ending=st.sampled_from(["finished", "failed", "cancelled"]),
    requested_models=st.lists(_TEXTS, max_size=3),
    usage=st.builds(
        Usage,
        **{name: _COUNTS for name in Usage.__struct_fields__ if name.endswith("_tokens")},
        reported_cost=_optional(_USD),
        estimated=st.booleans(),
    ),
    cost=st.builds(Cost, **dict.fromkeys(Cost.__struct_fields__, _USD)),
    status=st.integers(100, 599),
    attempts=st.lists(
        st.builds(
            AttemptRecord,
            provider=_TEXTS,
            tag=_TEXTS,
            outcome=_TEXTS,
            status=_optional(st.integers(0, 999)),
            duration_s=_DURATIONS,
            model=_optional(_TEXTS),
        ),
        max_size=3,
    ),
    latency_s=_optional(_DURATIONS),
    duration_s=_DURATIONS,
    streamed=st.booleans(),
    api_type=_TEXTS,
    app_categories=st.lists(_TEXTS, max_size=3),
    normalized_prompt_tokens=_optional(_COUNTS),
    normalized_completion_tokens=_optional(_COUNTS),
    trace=_optional(st.dictionaries(_TEXTS, _JSON, max_size=3)),
    **{
        name: _optional(_TEXTS)
        for name in (
            "model",
            "provider",
            "finish_reason",
            "native_finish_reason",
            "error_type",
            "key_hash",
            "app_url",
            "app_title",
            "user",
            "session_id",
            "provider_name",
            "endpoint",
            "upstream_id",
            "service_tier",
            "catalog_version",
            "user_agent",
        )
    },
)
"""Whatever a request can leave behind, to the precision that is kept."""
