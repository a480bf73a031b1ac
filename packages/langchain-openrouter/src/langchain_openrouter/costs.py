"""What a run costs: the sum of the costs the API reported, over agents, batches, streams, threads and tasks.

Sums are exact. Costs themselves are exact where the API sent at most 15 significant digits, and wherever the
server keeps money in binary floating point, as their JSON form is read back digit by digit: answers of chat
models hold `cost` as a float. Those of embeddings keep every digit. Source: API digest 1.9, 7.3.
"""

import math
import threading
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from functools import cache
from typing import Any, Final, TypeAlias, cast
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage
from langchain_core.messages.ai import UsageMetadata, add_usage
from langchain_core.outputs import ChatGeneration, LLMResult
from typing_extensions import override

from langchain_openrouter._replies import MODEL_PROVIDER

__all__ = ["CostSummary", "CostTracker", "track_costs"]

_EXACT: Final = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)
"""Adds without rounding, whatever the user's decimal context is."""

Name: TypeAlias = str | None
_Key: TypeAlias = tuple[Name, Name]


@dataclass(frozen=True, kw_only=True)
class CostSummary:
    """Totals of some calls.

    Attributes:
        calls: Calls that were answered, requests for embeddings included.
        unpriced: How many of them named no cost: other integrations, and servers that report none.
        cost: USD charged for the others.
        usage_metadata: Tokens of all of them.
    """

    calls: int = 0
    unpriced: int = 0
    cost: Decimal = Decimal(0)
    usage_metadata: UsageMetadata = field(default_factory=lambda: add_usage(None, None))

    def __add__(self, other: "CostSummary") -> "CostSummary":
        return CostSummary(
            calls=self.calls + other.calls,
            unpriced=self.unpriced + other.unpriced,
            cost=_EXACT.add(self.cost, other.cost),
            usage_metadata=add_usage(self.usage_metadata, other.usage_metadata),
        )


_NOTHING: Final = CostSummary()


class _Tally:
    """Counts calls; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[_Key, CostSummary] = {}
        self._running: set[UUID] = set()
        self.failed = 0

    def start(self, run_id: UUID) -> None:
        with self._lock:
            self._running.add(run_id)

    def end(self, run_id: UUID) -> bool:
        """Return whether the call was running: it ends once, however many handlers report it."""
        with self._lock:
            known = run_id in self._running
            self._running.discard(run_id)
            return known

    def fail(self) -> None:
        with self._lock:
            self.failed += 1

    def add(self, key: _Key, summary: CostSummary) -> None:
        with self._lock:
            self._rows[key] = self._rows.get(key, _NOTHING) + summary

    def rows(self) -> dict[_Key, CostSummary]:
        with self._lock:
            return dict(self._rows)


class CostTracker(BaseCallbackHandler):
    """Callback handler that adds up what chat models report; see `track_costs` for runs as a whole.

        tracker = CostTracker()
        model.invoke("Hello", config={"callbacks": [tracker]})
        tracker.total.cost

    Answers from LangChain's own cache cost nothing and are no calls. Embeddings have no callbacks: they are
    counted within `track_costs` only.
    """

    run_inline = True  # it takes microseconds: no thread for each event of an asynchronous run

    def __init__(self, outer: "CostTracker | None" = None) -> None:
        """Make a tracker.

        Args:
            outer: A tracker that counts everything that this one does.
        """
        super().__init__()
        own = _Tally()
        self.tallies: Final = (own, *(outer.tallies if outer else ()))
        self._own = own

    @property
    def total(self) -> CostSummary:
        """Totals of every call that was answered."""
        return _sum(self._own.rows().values())

    @property
    def by_model(self) -> dict[Name, CostSummary]:
        """Totals by the model that answered; None where the answer did not tell."""
        return _sums((model, row) for (model, _), row in self._own.rows().items())

    @property
    def by_provider(self) -> dict[Name, CostSummary]:
        """Totals by the provider that served the call; None where the answer did not tell."""
        return _sums((provider, row) for (_, provider), row in self._own.rows().items())

    @property
    def failed(self) -> int:
        """Calls of chat models that failed or were given up; their costs, if any, are not known here."""
        return self._own.failed

    @override
    def __repr__(self) -> str:
        total = self.total
        return f"CostTracker(cost={total.cost}, calls={total.calls}, unpriced={total.unpriced}, failed={self.failed})"

    @override
    def on_chat_model_start(self, serialized: Any, messages: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Note that a call has begun."""
        for tally in self.tallies:
            tally.start(run_id)

    @override
    def on_llm_start(self, serialized: Any, prompts: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Note that a call of a text model has begun."""
        for tally in self.tallies:
            tally.start(run_id)

    @override
    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """Count an answer."""
        messages = _messages_in(response)
        for tally in self.tallies:
            if tally.end(run_id) and not any(_is_cached(message) for message in messages):
                tally.add(*_answer(messages))

    @override
    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Count a failure."""
        for tally in self.tallies:
            if tally.end(run_id):
                tally.fail()


@contextmanager
def track_costs() -> Generator[CostTracker]:
    """Count every call that begins within the `with` block: chat models of any kind of run, and embeddings.

        with track_costs() as costs:
            agent.invoke({"messages": [("human", "Plan a trip to Paris")]})
        print(costs.total.cost, costs.by_model)

    Blocks can be nested; the outer one counts what the inner one does. A thread that you start yourself is
    counted when it runs in a copy of the context (`contextvars.copy_context`), as LangChain's own threads do, or
    passes on the `config` of a run.
    """
    _register_hook()
    tracker = CostTracker(outer=_active.get())
    token = _active.set(tracker)
    try:
        yield tracker
    finally:
        _active.reset(token)


_active: Final[ContextVar[CostTracker | None]] = ContextVar("langchain_openrouter_costs", default=None)


@cache
def _register_hook() -> None:
    """Make LangChain attach the tracker of the context to every run; once, as its list only grows."""
    from langchain_core.tracers.context import register_configure_hook

    register_configure_hook(_active, inheritable=True)


def count_call(model: object, provider: object, cost: object, usage: UsageMetadata | None) -> None:
    """Count a call that has no callbacks, such as a request for embeddings, in the trackers of the context."""
    if tracker := _active.get():
        for tally in tracker.tallies:
            tally.add((_name(model), _name(provider)), _summary(to_usd(cost), usage))


def to_usd(value: object) -> Decimal | None:
    """Return a number of the API as money, or None for anything else."""
    match value:
        case bool():
            return None
        case float():
            return Decimal(repr(value)) if math.isfinite(value) else None
        case int():
            return Decimal(value)
        case Decimal():
            return value if value.is_finite() else None
        case _:
            return None


def _messages_in(response: LLMResult) -> list[AIMessage]:
    generations = (generation for batch in response.generations for generation in batch)
    messages = (generation.message for generation in generations if isinstance(generation, ChatGeneration))
    return [message for message in messages if isinstance(message, AIMessage)]


def _is_cached(message: AIMessage) -> bool:
    # `BaseChatModel._convert_cached_generations` marks what comes out of a cache so; API usage has no such key.
    return (message.usage_metadata or {}).get("total_cost") == 0


def _answer(messages: list[AIMessage]) -> tuple[_Key, CostSummary]:
    """Return whom to count a call for, and what; of several choices the first one holds the usage."""
    if not messages:
        return (None, None), _summary(None, None)
    about = messages[0].response_metadata
    priced = about.get("cost") if about.get("model_provider") == MODEL_PROVIDER else None
    return (_name(about.get("model_name")), _name(about.get("provider"))), _summary(
        to_usd(priced), messages[0].usage_metadata
    )


def _summary(cost: Decimal | None, usage: UsageMetadata | None) -> CostSummary:
    counted = cast("UsageMetadata", _counts(usage)) if usage else _NOTHING.usage_metadata
    return CostSummary(calls=1, unpriced=int(cost is None), cost=cost or Decimal(0), usage_metadata=counted)


def _counts(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Return the whole numbers of a usage at any depth: `add_usage` refuses every other value."""
    details = {name: _counts(cast("Any", value)) for name, value in usage.items() if isinstance(value, Mapping)}
    return {name: value for name, value in usage.items() if isinstance(value, int)} | details


def _sum(rows: Iterable[CostSummary]) -> CostSummary:
    total = _NOTHING
    for row in rows:
        total += row
    return total


def _sums(rows: Iterable[tuple[Name, CostSummary]]) -> dict[Name, CostSummary]:
    sums: dict[Name, CostSummary] = {}
    for name, row in rows:
        sums[name] = sums.get(name, _NOTHING) + row
    return sums


def _name(value: object) -> Name:
    return value if isinstance(value, str) else None
