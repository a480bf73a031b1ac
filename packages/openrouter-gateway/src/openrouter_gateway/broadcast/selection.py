"""Which generations a destination gets, and how much of them (digest 10.4 and 10.5). Pure."""

import hashlib
import operator
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Final

import msgspec

from openrouter_gateway.broadcast.content import read_input, read_reply, to_text
from openrouter_gateway.broadcast.pattern import compile_pattern
from openrouter_gateway.broadcast.record import Record
from openrouter_gateway.broadcast.spans import Attributes, Trace, find_shared_trace
from openrouter_gateway.core.destination import Destination, FilterField, FilterGroup, FilterOperator, FilterRule

_SEARCHED: Final = 64 * 1024
"""Characters of a text that patterns are tried on: it takes time in proportion, in the event loop."""
_2_64: Final = 2**64

Facts = list[str] | list[Decimal]
"""What a generation has in a field: several texts where it has several names for the same."""


def select(destination: Destination) -> Callable[[Record], bool]:
    """Return whether generations go to a destination, as a function that is ready for many.

    Raises:
        ValueError: a rule has a pattern that is none, or compares with what is no number.
    """
    hashes = None if destination.api_key_hashes is None else frozenset(destination.api_key_hashes)
    rules = destination.filter_rules
    groups = [_compile_group(group) for group in rules.groups] if rules is not None and rules.enabled else []

    def wants(record: Record) -> bool:
        if not destination.enabled:
            return False
        if hashes is not None and record.generation.key_hash not in hashes:
            return False
        return is_sampled(destination, record) and all(group(record) for group in groups)

    return wants


def is_sampled(destination: Destination, record: Record) -> bool:
    """Return whether a generation is in the sample: all of a session are, or none.

    What has no session is drawn by its trace, if the caller names one, in the body or by `traceparent`, or else alone.
    Destinations draw independently of each other.
    """
    if destination.sampling_rate >= 1:
        return True
    generation = record.generation
    drawn = generation.session_id or find_shared_trace(record) or generation.id
    digest = hashlib.sha256(f"{destination.id}:{drawn}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") < destination.sampling_rate * _2_64


# Filter rules


def _names(*names: str | None) -> list[str]:
    return [name for name in names if name]


def _model(record: Record) -> Facts:
    return _names(record.generation.model or next(iter(record.generation.requested_models), None))


_FACTS: Final[dict[FilterField, Callable[[Record], Facts]]] = {
    "model": _model,
    "provider": lambda record: _names(record.generation.provider, record.generation.provider_name),
    "session_id": lambda record: _names(record.generation.session_id),
    "user_id": lambda record: _names(record.generation.user),
    "api_key_name": lambda record: _names(record.key_name),
    "finish_reason": lambda record: _names(record.generation.finish_reason),
    "input": lambda record: _names(to_text(read_input(record.request))),
    "output": lambda record: _names(to_text(read_reply(record.reply))),
    "total_cost": lambda record: [record.generation.cost.total],
    "total_tokens": lambda record: [Decimal(record.generation.usage.total_tokens)],
    "prompt_tokens": lambda record: [Decimal(record.generation.usage.prompt_tokens)],
    "completion_tokens": lambda record: [Decimal(record.generation.usage.completion_tokens)],
}

_NUMBERS: Final[frozenset[FilterField]] = frozenset(
    {"total_cost", "total_tokens", "prompt_tokens", "completion_tokens"}
)

_COMPARED: Final[dict[FilterOperator, Callable[[Decimal, Decimal], bool]]] = {
    "equals": operator.eq,
    "gt": operator.gt,
    "lt": operator.lt,
    "gte": operator.ge,
    "lte": operator.le,
}

_TEXTS: Final[dict[FilterOperator, Callable[[str, str], bool]]] = {
    "equals": operator.eq,
    "contains": operator.contains,
    "starts_with": str.startswith,
    "ends_with": str.endswith,
}

_NEGATED: Final[dict[FilterOperator, FilterOperator]] = {
    "not_equals": "equals",
    "not_contains": "contains",
    "not_exists": "exists",
}


def _compile_group(group: FilterGroup) -> Callable[[Record], bool]:
    rules = [_compile_rule(rule) for rule in group.rules]
    if group.logic == "or" and rules:
        return lambda record: any(rule(record) for rule in rules)
    return lambda record: all(rule(record) for rule in rules)


def _compile_rule(rule: FilterRule) -> Callable[[Record], bool]:
    positive = _NEGATED.get(rule.operator)
    if positive is not None:
        holds = _compile_rule(FilterRule(field=rule.field, operator=positive, value=rule.value))
        return lambda record: not holds(record)
    facts = _FACTS[rule.field]
    if rule.operator == "exists":
        return lambda record: bool(facts(record))
    if rule.value is None:
        raise ValueError(f"filter_rules: {rule.field} {rule.operator}: value is missing")
    if rule.field in _NUMBERS or rule.operator in ("gt", "lt", "gte", "lte"):
        return _compile_number(rule, facts)
    wanted = str(rule.value)
    if rule.operator == "regex":
        search = _compile_pattern(rule, wanted)
        return lambda record: any(search(str(fact)[:_SEARCHED]) for fact in facts(record))
    matches = _TEXTS[rule.operator]
    return lambda record: any(matches(str(fact), wanted) for fact in facts(record))


def _compile_pattern(rule: FilterRule, pattern: str) -> Callable[[str], bool]:
    try:
        return compile_pattern(pattern)
    except ValueError as error:
        raise ValueError(f"filter_rules: the pattern for {rule.field} is not valid: {error}") from None


def _compile_number(rule: FilterRule, facts: Callable[[Record], Facts]) -> Callable[[Record], bool]:
    """Texts are compared as numbers if they are ones."""
    compare = _COMPARED.get(rule.operator)
    if compare is None:
        raise ValueError(f"filter_rules: {rule.operator} does not go with {rule.field}, which is a number")
    wanted = _to_number(rule.value)
    if wanted is None:
        raise ValueError(f"filter_rules: {rule.operator} of {rule.field} needs a number as its value")
    return lambda record: any(
        number is not None and compare(number, wanted) for number in map(_to_number, facts(record))
    )


def _to_number(value: str | float | Decimal | None) -> Decimal | None:
    if value is None:
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


# What is sent of a generation


def tailor(trace: Trace, destination: Destination) -> Trace:
    """Return a trace as a destination is to see it: without content in privacy mode, and with the groups it asks for.

    Privacy mode takes away what was asked and answered, and nothing else.
    """
    extra = _extra(trace, destination)
    if extra:
        span = msgspec.structs.replace(trace.span, attributes=trace.span.attributes | extra)
        trace = msgspec.structs.replace(trace, span=span)
    if not destination.privacy_mode:
        return trace
    return msgspec.structs.replace(trace, messages=None, reply=None)


def _extra(trace: Trace, destination: Destination) -> Attributes:
    generation = trace.generation
    extra: Attributes = {}
    if destination.broadcast_generation_cost:
        cost, reported = generation.cost, generation.usage.reported_cost
        extra |= {
            "openrouter.cost.prompt": format(cost.prompt, "f"),
            "openrouter.cost.completion": format(cost.completion, "f"),
            "openrouter.cost.request": format(cost.request, "f"),
        }
        if reported is not None:
            extra["openrouter.cost.reported"] = format(reported, "f")
    if destination.broadcast_generation_identity:
        extra |= _present({"openrouter.api_key_name": trace.key_name, "openrouter.api_key_hash": generation.key_hash})
    if destination.broadcast_generation_request_context:
        extra |= _present(
            {
                "openrouter.app.url": generation.app_url,
                "openrouter.app.title": generation.app_title,
                "user_agent.original": generation.user_agent,
            }
        )
        if generation.app_categories:
            extra["openrouter.app.categories"] = generation.app_categories
    return extra


def _present(texts: dict[str, str | None]) -> Attributes:
    return {name: text for name, text in texts.items() if text}
