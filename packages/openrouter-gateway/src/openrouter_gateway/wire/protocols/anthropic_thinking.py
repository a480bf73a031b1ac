"""How much a Claude is to think: OpenRouter's reasoning fields as `thinking`, `output_config.effort` and `max_tokens`.

Rules: OpenRouter API, reasoning (2026-08-22), its migration guides for Claude 4.6 to 5.5 (2026-10), and
platform.claude.com/docs/en/build-with-claude/{thinking,extended-thinking}, 2026-11.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from msgspec import Raw

from openrouter_gateway.wire.protocols.anthropic_models import EFFORTS, Abilities, fit_effort
from openrouter_gateway.wire.reasoning import Reasoning, read_reasoning, read_word
from openrouter_gateway.wire.reasoning_items import dicts_in

_LEAST_BUDGET: Final = 1_024
_MOST_BUDGET: Final = 128_000
_THOUGHTS: Final = frozenset({"thinking", "redacted_thinking"})
_RESULT: Final = "tool_result"
_PERCENT: Final = {"max": 95, "xhigh": 95, "high": 80, "medium": 50, "low": 20, "minimal": 10}
"""Of `max_tokens`, for models that take a budget (OpenRouter API, reasoning, 2026-08-22)."""


class Thinking(NamedTuple):
    """What goes into the provider's request; None: nothing."""

    config: dict[str, Any] | None
    effort: str | None
    max_tokens: int


def plan_thinking(
    fields: Mapping[str, Raw], abilities: Abilities, *, max_tokens: int, limit: int | None, barred: bool
) -> Thinking:
    """Return how the model is to think.

    Models without budgets get no effort for one: OpenRouter leaves `reasoning.max_tokens` out of account there (its
    migration guide for Claude 4.7, 2026-06-22), which is an exception from what it does for other efforts.

    `limit` is the most that the model writes, where that is known. `barred`: what the API refuses together with a
    budget, that a tool has to be called (platform.claude.com/docs/en/build-with-claude/thinking-tool-workflows,
    2026-11) or a turn that goes on without thoughts.
    """
    reasoning = read_reasoning(fields)
    verbosity = read_word(fields, "verbosity")
    effort = None if verbosity is None else fit_effort(verbosity, abilities)
    wanted = reasoning.effort if reasoning.effort in EFFORTS or reasoning.effort == "minimal" else None
    if reasoning.enabled is False or reasoning.effort == "none":
        config = {"type": abilities.off} if abilities.unasked and abilities.off else None
        return Thinking(config, effort, max_tokens)
    if not (reasoning.enabled or wanted or reasoning.max_tokens is not None):
        return Thinking(None, effort, max_tokens)
    if abilities.adaptive and (reasoning.max_tokens is None or not abilities.budgets):
        if effort is None and wanted is not None:
            effort = fit_effort(wanted, abilities)
        return Thinking(_adaptive(reasoning, abilities), effort, max_tokens)
    if not abilities.budgets or barred:
        return Thinking(None, effort, max_tokens)
    budget, max_tokens = _budget(reasoning, wanted, max_tokens, limit)
    return Thinking({"type": "enabled", "budget_tokens": budget}, effort, max_tokens)


def _adaptive(reasoning: Reasoning, abilities: Abilities) -> dict[str, Any]:
    """Text of thinking is asked for where the model leaves it out by itself: OpenRouter shows it by default."""
    if reasoning.exclude:
        return {"type": "adaptive", "display": "omitted"}
    return {"type": "adaptive", "display": "summarized"} if abilities.hides else {"type": "adaptive"}


def _budget(reasoning: Reasoning, effort: str | None, max_tokens: int, limit: int | None) -> tuple[int, int]:
    """Return budget and `max_tokens`, which must be larger: where it is not, the answer gets its own on top."""
    if reasoning.max_tokens is not None:
        budget = max(reasoning.max_tokens, _LEAST_BUDGET)
    else:
        budget = max(min(max_tokens * _PERCENT[effort or "medium"] // 100, _MOST_BUDGET), _LEAST_BUDGET)
    if budget >= max_tokens:
        max_tokens += budget
        if limit is not None and max_tokens > limit:
            max_tokens = max(limit, _LEAST_BUDGET + 1)
            budget = min(budget, max_tokens - 1)
    return budget, max_tokens


def goes_on_unthought(turns: list[dict[str, Any]]) -> bool:
    """Return whether the model is to go on with a turn of its own, such as a loop of tools, that has no thoughts in it.

    That is what becomes of a turn that another model began: its thoughts are none of Claude's. With a budget the API
    wants the turn to begin with some (github.com/pydantic/pydantic-ai/issues/2075, 2025-06;
    github.com/microsoft/vscode-copilot-chat/pull/2422, 2025-12).
    """
    goes_on = False
    for turn in reversed(turns):
        kinds = {block.get("type") for block in dicts_in(turn["content"])}
        if turn["role"] == "assistant":
            if not kinds.isdisjoint(_THOUGHTS):
                return False
            goes_on = True
        elif _RESULT not in kinds:
            break
    return goes_on


def takes_thinking(config: Mapping[str, Any], abilities: Abilities) -> bool:
    """Whether the model takes a `thinking` object that may have been written for another one."""
    match config.get("type"):
        case "enabled":
            return abilities.budgets
        case "adaptive":
            return abilities.adaptive or not abilities.known
        case "disabled" | "between_tools":
            return config["type"] == abilities.off or not abilities.known
        case _:
            return True  # newer than this file: the API decides


def is_thinking(config: Mapping[str, Any] | None, abilities: Abilities) -> bool:
    """Whether a request with this `thinking` object makes the model think."""
    if config is None:
        return abilities.unasked
    return config.get("type") in ("enabled", "adaptive")
