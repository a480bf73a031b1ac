"""Scripted faults: makes calls of endpoints fail as providers do, so that all behind them behaves as in earnest.

What is scripted says so: errors in their message and in `metadata.scripted_fault`, answers that are slow or changed in
the field `scripted_fault` of their first chunk. Each process counts for itself.
"""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Any, Final
from typing import Protocol as Interface

from openrouter_gateway.accounting.authorize import Grant
from openrouter_gateway.callers.base import Caller
from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.events import Ended, Event, Step
from openrouter_gateway.core.fault import Fault
from openrouter_gateway.errors import Cut, TimedOut, UpstreamError
from openrouter_gateway.wire.protocols.refusal import refusal_from_status

MARK: Final = "scripted_fault"
_log = logging.getLogger(__name__)


class Faults:
    """The faults of a configuration, and how often each has had its turn.

    `labels` has further names of keys by hash, for those that no store knows.
    """

    def __init__(
        self,
        faults: Iterable[Fault],
        *,
        labels: Mapping[str, str] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._turns = [_Turns(fault) for fault in faults]
        self._labels = dict(labels or {})
        self.sleep = sleep

    def __repr__(self) -> str:
        return f"<Faults {', '.join(map(repr, self._turns))}>"

    def around(self, caller: Caller, grant: Grant) -> Caller:
        """Return what calls endpoints through another caller, on behalf of whom a grant is, unless a fault comes up."""
        names = {grant.key_hash, self._labels.get(grant.key_hash or "")}
        if grant.key is not None:
            names |= {grant.key.name, grant.key.label}
        return _FaultyCaller(caller, self, frozenset(name for name in names if name))

    def next_for(self, request: ChatRequest, endpoint: Endpoint, names: frozenset[str]) -> Fault | None:
        """Return the fault that this call meets: the first one whose turn it is."""
        for turns in self._turns:
            fault = turns.fault
            if fault.kind == "broken_tool_json" and not request.params.tools:
                continue
            if fault.fits(endpoint, names) and turns.is_next():
                return fault
        return None


class _Turns:
    """Counts the calls that one fault fits."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self._dice = random.Random(fault.seed)  # noqa: S311 - the same faults each time
        self._seen = 0
        self._used = 0

    def __repr__(self) -> str:
        return f"{self.fault.name} {self._used}/{self._seen}"

    def is_next(self) -> bool:
        """Count a call; return whether it is to fail."""
        fault = self.fault
        self._seen += 1
        if fault.times is not None and self._used >= fault.times:
            return False
        # The dice are thrown for every call, so that a seed means the same whatever else is set.
        if self._dice.random() >= fault.probability or self._seen % fault.every:
            return False
        self._used += 1
        return True


class _FaultyCaller:
    """Calls one endpoint for one request."""

    def __init__(self, caller: Caller, faults: Faults, names: frozenset[str]) -> None:
        self._caller = caller
        self._faults = faults
        self._names = names

    def call(self, request: ChatRequest, endpoint: Endpoint) -> AsyncGenerator[list[Event]]:
        """See `base.Caller`."""
        fault = self._faults.next_for(request, endpoint, self._names)
        if fault is None:
            return self._caller.call(request, endpoint)
        _log.info("%s: the scripted fault %r (%s)", endpoint.tag, fault.name, fault.kind)
        return self._fail(fault, request, endpoint)

    async def _fail(self, fault: Fault, request: ChatRequest, endpoint: Endpoint) -> AsyncGenerator[list[Event]]:
        if fault.delay_s:
            await self._faults.sleep(fault.delay_s)
        error = _instead_of_answer(fault)
        if error is not None:
            raise error
        alteration = _ALTERATIONS[fault.kind](fault)
        marked = False
        async with aclosing(self._caller.call(request, endpoint)) as batches:
            async for events in batches:
                marked = marked or _mark(events, fault)
                taken = alteration.take(events)
                if taken:
                    yield taken
                if alteration.error is not None:
                    raise alteration.error


def _instead_of_answer(fault: Fault) -> UpstreamError | None:
    """Return the error that the provider's own would be, None for a fault of an answer."""
    match fault.kind:
        case "rate_limit":
            headers = {} if fault.retry_after_s is None else {"Retry-After": str(fault.retry_after_s)}
            error = refusal_from_status(429, headers, message=fault.message or "too many requests", code=None)
        case "error":
            error = refusal_from_status(fault.status, {}, message=fault.message, code=None)
        case "timeout":
            error = TimedOut(fault.message or "the provider did not answer in time")
        case _:
            return None
    return _marked(error, fault)


def _marked(error: UpstreamError, fault: Fault) -> UpstreamError:
    error.message = f"Scripted fault: {error.message}"
    error.args = (error.message,)
    error.metadata[MARK] = _mark_of(fault)
    return error


def _mark(events: list[Event], fault: Fault) -> bool:
    """Let the first chunk among events, if there is one, tell that a fault was scripted; return whether it does."""
    for event in events:
        if type(event) is Step:
            event.chunk[MARK] = _mark_of(fault)
            return True
    return False


def _mark_of(fault: Fault) -> dict[str, str]:
    return {"name": fault.name, "kind": fault.kind}


class _Alteration(Interface):
    """What a fault does to an answer. `error`: it ends here, behind what was taken last."""

    error: UpstreamError | None

    def take(self, events: list[Event]) -> list[Event]:
        """Return what becomes of these events."""
        ...


class _Passing:
    """Leaves an answer alone."""

    def __init__(self, _: Fault) -> None:
        self.error: UpstreamError | None = None

    def take(self, events: list[Event]) -> list[Event]:
        return events


class _Cutting:
    """Breaks an answer off after some chunks, or instead of its end if it is shorter."""

    def __init__(self, fault: Fault) -> None:
        self.error: UpstreamError | None = None
        self._fault = fault
        self._left = fault.after_chunks

    def take(self, events: list[Event]) -> list[Event]:
        for place, event in enumerate(events):
            is_step = type(event) is Step
            if type(event) is Ended or (is_step and not self._left):
                text = self._fault.message or "the provider's connection broke within the answer"
                self.error = _marked(Cut(text), self._fault)
                return events[:place]
            self._left -= is_step
        return events


class _Breaking:
    """Puts a brace too many in front of the arguments of each tool call: no parser can guess what was meant.

    Arguments that merely end too early would be made whole by clients that read partial JSON.
    """

    def __init__(self, _: Fault) -> None:
        self.error: UpstreamError | None = None
        self._broken: set[tuple[int, int]] = set()

    def take(self, events: list[Event]) -> list[Event]:
        for event in events:
            for choice in event.choices if type(event) is Step else ():
                for call in choice["delta"].get("tool_calls", ()):
                    self._break_call(choice["index"], call)
        return events

    def _break_call(self, choice: int, call: dict[str, Any]) -> None:
        place = (choice, call["index"])
        if place not in self._broken:
            self._broken.add(place)
            call["function"]["arguments"] = "{" + call["function"].get("arguments", "")


_ALTERATIONS: Final[dict[str, Callable[[Fault], _Alteration]]] = {
    "slow_first_token": _Passing,
    "cut_stream": _Cutting,
    "broken_tool_json": _Breaking,
}
