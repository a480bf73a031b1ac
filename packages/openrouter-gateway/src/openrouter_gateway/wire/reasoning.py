"""What a request says of reasoning, in all of its spellings, and the effort that it means.

Source: OpenRouter API, reasoning, variants and aliases (2026-08-22).
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
from msgspec import UNSET, Raw, Struct

from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.core.catalog import Reasoning as Control
from openrouter_gateway.core.chat import ChatParams, ChatRequest
from openrouter_gateway.errors import Refused

_ASKED_FOR: Final = frozenset({"reasoning", "reasoning_effort", "include_reasoning"})
"""The parameters of which an endpoint that reasons supports at least one."""

_LEVELS: Final = ("minimal", "low", "medium", "high", "xhigh", "max")
_SHARES: Final = {"minimal": 0.1, "low": 0.2, "medium": 0.5, "high": 0.8, "xhigh": 0.95, "max": 0.95}
"""Of the tokens of an answer that reasoning may take."""
_COMMON: Final = ("low", "medium", "high")
"""The efforts that all reasoning models have. Others are for those that ask for them by name, or are known."""
_USUAL: Final = "medium"
_THINKING: Final = ":thinking"
_LATEST: Final = "~"
_THOUGHTLESS: Final = re.compile(r"(?:^|/)(?:chat)?gpt-(?:3\.?5|4)(?!\d)")
"""OpenAI's models before GPT-5, by their names: they answer 400 to an effort, whichever it is
(github.com/davidmigloz/langchain_dart/issues/712, 2025-06; github.com/formulahendry/wechat-acp/issues/16, 2026-03)."""


class Reasoning(Struct, frozen=True, kw_only=True):
    """The request's `reasoning` object."""

    effort: str | None = None
    max_tokens: int | None = None
    exclude: bool | None = None
    enabled: bool | None = None


_decode_reasoning = msgspec.json.Decoder(Reasoning | None).decode
_decode_any = msgspec.json.Decoder().decode


def read_reasoning(fields: Mapping[str, Raw]) -> Reasoning:
    """Return what the request says of reasoning, its older spellings included.

    Raises:
        Refused: a member of the wrong type.
    """
    try:
        found = _decode_reasoning(fields["reasoning"]) if "reasoning" in fields else None
    except msgspec.DecodeError as error:
        raise Refused(f"reasoning: {error}") from None
    reasoning = found or Reasoning()
    if reasoning.effort is None and (effort := read_word(fields, "reasoning_effort")) is not None:
        reasoning = msgspec.structs.replace(reasoning, effort=effort)
    if reasoning.exclude is None and bytes(fields.get("include_reasoning", b"")) == b"false":
        reasoning = msgspec.structs.replace(reasoning, exclude=True)
    if reasoning.max_tokens == 0 and reasoning.effort is None:  # no thought at all
        reasoning = msgspec.structs.replace(reasoning, max_tokens=None, enabled=False)
    return reasoning


def read_word(fields: Mapping[str, Raw], name: str) -> str | None:
    """Return a field that should be a string; None if it is not there or something else."""
    value = fields.get(name)
    if value is None:
        return None
    try:
        word: object = _decode_any(value)
    except msgspec.DecodeError:
        return None
    return word if isinstance(word, str) else None


def hides_reasoning(request: ChatRequest) -> bool:
    """Return whether the model may reason but the caller does not want to see it."""
    fields = request.fields
    if "reasoning" not in fields and "include_reasoning" not in fields:
        return False
    try:
        return read_reasoning(fields).exclude is True
    except Refused:
        return False


def never_reasons(endpoint: Endpoint) -> bool:
    """Return whether an endpoint is known not to reason, by what it supports or, if that is not said, by its name."""
    known = endpoint.supported_parameters
    if known is not None:
        return known.isdisjoint(_ASKED_FOR)
    names = (endpoint.upstream_id, endpoint.model_id)
    return endpoint.reasoning is None and any(_THOUGHTLESS.search(name.lower()) for name in names)


def effort_for(request: ChatRequest, endpoint: Endpoint) -> str | None:
    """Return the effort to ask an endpoint for whose dialect has efforts alone; None: there is nothing to ask.

    A budget is the effort whose share of the answer is nearest, and an effort that the model is known not to have the
    nearest that it has. Words that are no effort of OpenRouter's are the provider's own, and pass.

    Raises:
        Refused: reasoning is not to be, and the model cannot do without.
    """
    fields = request.fields
    default = endpoint.model_id.endswith(_THINKING)
    if not default and "reasoning" not in fields and "reasoning_effort" not in fields:
        return None
    if never_reasons(endpoint):
        return None
    control = endpoint.reasoning or Control(supported_efforts=None)
    effort = _wanted_effort(request, endpoint, control)
    if effort is None and default:
        effort = control.default_effort or _USUAL
    return None if effort is None else _fit(effort, control, request)


def _wanted_effort(request: ChatRequest, endpoint: Endpoint, control: Control) -> str | None:
    try:
        said = read_reasoning(request.fields)
    except Refused:  # nothing that OpenRouter would understand
        return read_word(request.fields, "reasoning_effort")
    if said.enabled is False:
        return "none"
    if said.effort is not None:
        return said.effort
    if said.max_tokens is not None:
        return _effort_of_budget(said.max_tokens, request.params, endpoint, control)
    return _USUAL if said.enabled else None


def _effort_of_budget(budget: int, params: ChatParams, endpoint: Endpoint, control: Control) -> str:
    """Return the effort whose share of the answer is nearest to a budget in tokens; medium, if no answer is known."""
    whole = params.max_completion_tokens or params.max_tokens or endpoint.max_completion_tokens
    if whole is None:
        return _USUAL
    efforts = _levels_in(control.supported_efforts or ()) or _COMMON
    return min(efforts, key=lambda effort: abs(_SHARES[effort] * whole - budget))


def _fit(effort: str, control: Control, request: ChatRequest) -> str | None:
    """Return an effort that the model has. Those who ask for the latest of a family cannot know which it has."""
    efforts = control.supported_efforts
    if effort == "none":
        if not control.mandatory:
            return effort
        if not any(name.startswith(_LATEST) for name in request.requested_models):
            raise Refused("reasoning: this model always reasons, it cannot be turned off")
        effort = _LEVELS[0]
    if efforts is UNSET:
        return None
    levels = _levels_in(efforts or ())
    if efforts is None or effort not in _LEVELS or effort in levels:
        return effort
    place = _LEVELS.index(effort)
    return min(levels, key=lambda level: abs(_LEVELS.index(level) - place), default=None)


def _levels_in(efforts: Iterable[str]) -> tuple[str, ...]:
    """Return the levels among efforts, lowest first: of two as near the lower one is taken."""
    return tuple(level for level in _LEVELS if level in efforts)
