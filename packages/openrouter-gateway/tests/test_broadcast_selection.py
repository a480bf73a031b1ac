"""Which generations a destination gets, and how much of them."""

from decimal import Decimal
from typing import Any

import pytest
from broadcast_samples import ANSWER, QUESTION, TRACEPARENT, make_destination, make_record
from hypothesis import given
from hypothesis import strategies as st
from ledger_samples import KEY
from msgspec import convert

from openrouter_gateway.broadcast.selection import is_sampled, select, tailor
from openrouter_gateway.broadcast.spans import build_trace
from openrouter_gateway.core.destination import FilterRules
from openrouter_gateway.core.usage import Cost


def rules(*groups: dict[str, Any], enabled: bool = True) -> FilterRules:
    return convert({"groups": list(groups), "enabled": enabled}, FilterRules)


def rule(field: str, operator: str, value: Any = None) -> dict[str, Any]:
    return {"field": field, "operator": operator, "value": value}


def wants(rule: dict[str, Any], **fields: Any) -> bool:
    destination = make_destination(filter_rules=rules({"rules": [rule]}))
    return select(destination)(make_record(key_name="my key", session_id="s-1", **fields))


class TestRules:
    """`filter_rules`."""

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("model", "a/one"),
            ("provider", "acme"),
            ("provider", "Acme"),
            ("session_id", "s-1"),
            ("user_id", "user-1"),
            ("api_key_name", "my key"),
            ("finish_reason", "stop"),
            ("input", QUESTION),
            ("output", ANSWER),
            ("total_cost", "0.000000120000000001"),
            ("total_tokens", 50),
            ("prompt_tokens", "30"),
            ("completion_tokens", 20.0),
        ],
    )
    def test_every_field(self, field: str, value: Any) -> None:
        """Each is what it says, and nothing else."""
        assert wants(rule(field, "equals", value))
        assert not wants(rule(field, "not_equals", value))
        assert not wants(rule(field, "equals", 77))
        assert wants(rule(field, "exists"))

    @pytest.mark.parametrize(
        ("operator", "value", "expected"),
        [
            ("contains", "/on", True),
            ("contains", "two", False),
            ("not_contains", "two", True),
            ("starts_with", "a/", True),
            ("starts_with", "one", False),
            ("ends_with", "one", True),
            ("regex", "^[ab]/", True),
            ("regex", "^one", False),
            ("not_exists", None, False),
            ("gt", 3, False),
        ],
    )
    def test_texts(self, operator: str, value: Any, expected: bool) -> None:
        """A text that is no number is neither more nor less than one."""
        assert expected == wants(rule("model", operator, value))

    @pytest.mark.parametrize(
        ("operator", "value", "expected"),
        [("gt", 50, False), ("gte", 50, True), ("lt", "50.5", True), ("lte", 49, False)],
    )
    def test_numbers(self, operator: str, value: Any, expected: bool) -> None:
        assert expected == wants(rule("total_tokens", operator, value))

    def test_costs_are_compared_exactly(self) -> None:
        """As decimals: not as the nearest binary fraction."""
        cost = Cost(prompt=Decimal("0.1"))
        assert wants(rule("total_cost", "equals", 0.1), cost=cost)
        assert not wants(rule("total_cost", "gt", 0.1), cost=cost)

    def test_what_is_not_there(self) -> None:
        """It does not exist, and so is unlike everything."""
        assert wants(rule("user_id", "not_exists"), user=None)
        assert wants(rule("user_id", "not_equals", "x"), user=None)
        assert not wants(rule("user_id", "contains", ""), user=None)
        assert wants(rule("input", "not_exists"), content=False)

    @pytest.mark.parametrize(
        ("logic", "first", "second", "expected"),
        [
            ("and", "stop", "a/one", True),
            ("and", "length", "a/one", False),
            ("or", "length", "a/one", True),
            ("or", "length", "b/two", False),
        ],
    )
    def test_groups(self, logic: str, first: str, second: str, expected: bool) -> None:
        """Of a group all or one; of groups all."""
        group = {"logic": logic, "rules": [rule("finish_reason", "equals", first), rule("model", "equals", second)]}
        assert expected == select(make_destination(filter_rules=rules(group)))(make_record())
        both = rules(group, {"rules": [rule("user_id", "equals", "nobody")]})
        assert not select(make_destination(filter_rules=both))(make_record())

    def test_rules_can_be_switched_off(self) -> None:
        off = rules({"rules": [rule("model", "equals", "b/two")]}, enabled=False)
        assert select(make_destination(filter_rules=off))(make_record())

    @pytest.mark.parametrize(
        ("field", "operator", "value", "reason"),
        [
            ("model", "regex", "(", "pattern for model"),
            ("model", "contains", None, "model contains: value is missing"),
            ("total_cost", "not_equals", None, "value is missing"),
            ("output", "regex", "a(?!b)", "pattern for output.*without look-around"),
            ("total_cost", "contains", "1", "is a number"),
            ("total_cost", "gt", "many", "needs a number"),
            ("model", "gt", None, "value is missing"),
            ("total_tokens", "equals", "NaN", "needs a number"),
        ],
    )
    def test_rules_that_make_no_sense(self, field: str, operator: str, value: Any, reason: str) -> None:
        """They are refused when they are set, not when a generation comes."""
        with pytest.raises(ValueError, match=reason):
            wants(rule(field, operator, value))


class TestSelection:
    """Whether there is anything to send at all."""

    def test_disabled(self) -> None:
        assert not select(make_destination(enabled=False))(make_record())

    def test_keys(self) -> None:
        """Those that are listed; without a list, all, also none."""
        assert select(make_destination(api_key_hashes=[KEY]))(make_record())
        assert not select(make_destination(api_key_hashes=["00" * 32]))(make_record())
        assert not select(make_destination(api_key_hashes=[KEY]))(make_record(key_hash=None))
        assert select(make_destination())(make_record(key_hash=None))

    @given(session=st.text(min_size=1), numbers=st.lists(st.integers(), min_size=2, max_size=5))
    def test_a_session_is_in_or_out_as_a_whole(self, session: str, numbers: list[int]) -> None:
        destination = make_destination(sampling_rate=0.5)
        assert 1 == len({is_sampled(destination, make_record(number, session_id=session)) for number in numbers})

    @pytest.mark.parametrize("rate", [0.0001, 0.01, 0.3, 0.9])
    def test_the_rate_is_kept(self, rate: float) -> None:
        """Of many sessions, within what chance allows for."""
        destination = make_destination(sampling_rate=rate)
        drawn = sum(is_sampled(destination, make_record(session_id=f"s-{number}")) for number in range(4000))
        assert abs(drawn - 4000 * rate) < 5 * (4000 * rate * (1 - rate)) ** 0.5 + 3

    def test_destinations_draw_independently(self) -> None:
        """Else the same sessions would be missing everywhere."""
        one, two = (make_destination(id=name, sampling_rate=0.5) for name in ("one", "two"))
        records = [make_record(session_id=f"s-{number}") for number in range(200)]
        agreeing = sum(is_sampled(one, record) == is_sampled(two, record) for record in records)
        assert 60 < agreeing < 140

    @pytest.mark.parametrize(
        "named", [{"trace": {"trace_id": "t"}}, {"trace": {"trace_id": 7}}, {"traceparent": TRACEPARENT}]
    )
    def test_a_trace_is_in_or_out_as_a_whole(self, named: dict[str, Any]) -> None:
        """However the caller names it: half a trace would lack its middle."""
        destination = make_destination(sampling_rate=0.5)
        assert 1 == len({is_sampled(destination, make_record(number, **named)) for number in range(20)})

    def test_without_a_session(self) -> None:
        """Each generation is drawn for itself."""
        destination = make_destination(sampling_rate=0.5)
        assert 2 == len({is_sampled(destination, make_record(number)) for number in range(40)})


class TestTailoring:
    """What a destination sees."""

    def test_privacy_mode(self) -> None:
        """Content goes; tokens, cost, times and metadata stay."""
        trace = build_trace(make_record(trace={"team": "blue"}))
        private = tailor(trace, make_destination(privacy_mode=True))
        assert (None, None) == (private.messages, private.reply)
        assert trace.span == private.span
        assert trace.metadata == private.metadata

    def test_groups_of_metadata(self) -> None:
        """Cost in parts, who, and from where: each if it is asked for."""
        record = make_record(key_name="my key", app_url="https://app", app_title="App", user_agent="ua/1")
        trace = build_trace(record)
        plain = trace.span.attributes.keys()
        assert plain == tailor(trace, make_destination()).span.attributes.keys()
        expected = {
            "cost": {"openrouter.cost.prompt": "0.000000100000000001", "openrouter.cost.completion": "0.00000002"},
            "identity": {"openrouter.api_key_name": "my key", "openrouter.api_key_hash": KEY},
            "request_context": {"openrouter.app.url": "https://app", "user_agent.original": "ua/1"},
        }
        for group, attributes in expected.items():
            seen = tailor(trace, make_destination(**{f"broadcast_generation_{group}": True})).span.attributes
            assert attributes.items() <= seen.items()
            assert not any(other in seen for name, held in expected.items() if name != group for other in held)
