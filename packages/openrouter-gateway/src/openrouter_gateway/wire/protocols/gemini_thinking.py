"""OpenRouter's `reasoning` to Google's `thinkingConfig`, by the model's family (OpenRouter API, reasoning, 2026-08-22).

| family | effort | `max_tokens` | off |
|---|---|---|---|
| Gemini 2.5 | share of the request's `max_tokens`, or of the largest budget | the budget | budget 0, where possible |
| Gemini 3 | the level of that name, or the nearest | the budget, which Google still takes | the lowest level |
| later, and names that tell no version | likewise | the level of that share | the lowest level |
| others (Gemini 2.0 and before, Gemma, 2.5 Flash Image) | nothing: they answer 400 to the field | | |

Budgets and levels of the models: ai.google.dev/gemini-api/docs/generate-content, thinking and latest-model, 2026-11.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.errors import Refused

_RATIOS: Final = {"max": 0.95, "xhigh": 0.95, "high": 0.8, "medium": 0.5, "low": 0.2, "minimal": 0.1}
"""How much of the answer's tokens may go into reasoning, by effort."""

_WANTED: Final = {
    "max": "HIGH",
    "xhigh": "HIGH",
    "high": "HIGH",
    "medium": "MEDIUM",
    "low": "LOW",
    "minimal": "MINIMAL",
}
_ORDER: Final = ("MINIMAL", "LOW", "MEDIUM", "HIGH")


class _Budgets(Struct, frozen=True, kw_only=True):
    """Tokens that may be granted. `off` is the budget that comes nearest to no thinking."""

    least: int
    most: int
    off: int = 0


class _Levels(Struct, frozen=True, kw_only=True):
    """Levels that a model has, lowest first; whether it takes budgets, too."""

    names: tuple[str, ...]
    takes_budget: bool = False


_THREE: Final = _Levels(names=("LOW", "MEDIUM", "HIGH"), takes_budget=True)
_CONTROLS: Final[tuple[tuple[str, _Budgets | _Levels | None], ...]] = (
    (r"gemini-(pro$|(flash|pro)-1\.5|1|2\.0)|gemma|learnlm|.*-tts|gemini-2\.5-flash-image", None),
    (r"gemini-2\.5-pro", _Budgets(least=128, most=32_768, off=128)),
    (r"gemini-2\.5-flash-lite", _Budgets(least=512, most=24_576)),
    (r"gemini-(2\.5|robotics-er-1)", _Budgets(least=1, most=24_576)),
    (r"gemini-3\.1-flash(-lite)?-image", _Levels(names=("MINIMAL", "HIGH"))),
    (r"gemini-.*(image|banana|omni)", _Levels(names=())),  # they think, and no level of theirs is documented
    (r"gemini-3-pro", _Levels(names=("LOW", "HIGH"), takes_budget=True)),
    (r"gemini-3(\.1-pro|\.[78]-)", _THREE),
    (r"gemini-3[.-]", _Levels(names=_ORDER, takes_budget=True)),
    (r"", _Levels(names=_THREE.names)),
)
"""The first that matches counts."""


class _Asked(Struct, frozen=True, kw_only=True):
    """The request's `reasoning`."""

    effort: str | None = None
    max_tokens: int | None = None
    exclude: bool | None = None
    enabled: bool | None = None

    @property
    def off(self) -> bool:
        return self.enabled is False or self.effort == "none" or (self.effort is None and self.max_tokens == 0)


_decode_asked = msgspec.json.Decoder(_Asked | None).decode
_decode_effort = msgspec.json.Decoder(str | None).decode
_decode_flag = msgspec.json.Decoder(bool | None).decode


def model_name(endpoint: Endpoint) -> str:
    """Return the provider's name of the model, without the collection that it may be in."""
    return endpoint.upstream_id.rpartition("/")[2].lower()


def can_think(name: str) -> bool:
    """Return whether a model, by the provider's name of it, has thoughts."""
    return _control_of(name) is not None


def thinking_config(request: ChatRequest, endpoint: Endpoint) -> dict[str, Any] | None:
    """Return the `thinkingConfig`, or None where nothing is asked for or the model has no such thing.

    Raises:
        Refused: what is asked for is malformed.
    """
    asked = _read_asked(request.fields)
    if asked is None:
        return None
    control = _control_of(model_name(endpoint))
    if control is None:
        return None
    params = request.params
    limit = params.max_completion_tokens or params.max_tokens
    config = _budget(asked, control, limit) if isinstance(control, _Budgets) else _level(asked, control, limit)
    if not asked.off:
        config["includeThoughts"] = not asked.exclude
    return config or None


def _control_of(name: str) -> _Budgets | _Levels | None:
    return next(control for pattern, control in _CONTROLS if re.match(pattern, name))


def _read_asked(fields: Mapping[str, Raw]) -> _Asked | None:
    """Return what the request asks for, its legacy spellings included."""
    try:
        asked = _decode_asked(fields["reasoning"]) if "reasoning" in fields else None
        effort = _decode_effort(fields["reasoning_effort"]) if "reasoning_effort" in fields else None
        include = _decode_flag(fields["include_reasoning"]) if "include_reasoning" in fields else None
    except msgspec.ValidationError as error:
        raise Refused(f"the request's reasoning settings are malformed: {error}") from None
    if asked is None:
        if effort is None and include is None:
            return None
        asked = _Asked(effort=effort, exclude=include is False)
    elif asked.effort is None and effort is not None:
        asked = msgspec.structs.replace(asked, effort=effort)
    if asked.effort not in (None, "none", *_RATIOS):
        raise Refused(f"the reasoning effort {asked.effort!r} is not known")
    if asked.enabled and asked.effort is None and asked.max_tokens is None:
        asked = msgspec.structs.replace(asked, effort="medium")
    return asked


def _budget(asked: _Asked, control: _Budgets, limit: int | None) -> dict[str, Any]:
    if asked.off:
        return {"thinkingBudget": control.off}
    budget = asked.max_tokens
    if budget is None and asked.effort is not None:
        budget = int((limit or control.most) * _RATIOS[asked.effort])
    if budget is None:
        return {}
    return {"thinkingBudget": min(max(budget, control.least), control.most)}


def _level(asked: _Asked, control: _Levels, limit: int | None) -> dict[str, Any]:
    # Of budgets and levels only one may be sent.
    if not control.names:
        return {}
    if asked.off:
        return {"thinkingLevel": control.names[0]}
    effort = asked.effort
    if asked.max_tokens is not None:
        if control.takes_budget:
            return {"thinkingBudget": asked.max_tokens}
        effort = _effort_of_share(asked.max_tokens / (limit or 65_536))
    return {} if effort is None else {"thinkingLevel": _nearest(_WANTED[effort], control.names)}


def _effort_of_share(share: float) -> str:
    return min(("minimal", "low", "medium", "high"), key=lambda effort: abs(_RATIOS[effort] - share))


def _nearest(wanted: str, names: tuple[str, ...]) -> str:
    """Return the nearest level that there is; of two as near the lower one."""
    place = _ORDER.index(wanted)
    return min(names, key=lambda name: abs(_ORDER.index(name) - place))
