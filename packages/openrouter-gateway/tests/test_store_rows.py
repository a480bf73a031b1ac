"""Amounts, rows and lines: what is stored of a generation is what it was."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_samples import make_generation
from ledger_strategies import ANY_GENERATION

from openrouter_gateway.core.generation import AttemptRecord, Generation
from openrouter_gateway.core.usage import Cost, Usage
from openrouter_gateway.stores.lines import decode_line, encode_line
from openrouter_gateway.stores.money import exact_units, join_usd, round_usd, split_usd
from openrouter_gateway.stores.rows import Row, from_row, to_row
from openrouter_gateway.stores.schema import GENERATIONS

UNITS = st.integers(-(10**24), 10**24)


class StoredRow:
    """A row with its columns as attributes, as the database gives it back."""

    def __init__(self, row: Row) -> None:
        assert len(row) == len(GENERATIONS.columns)
        self.__dict__.update(zip(GENERATIONS.columns.keys(), row, strict=True))


def stored(generation: Generation) -> Generation:
    return from_row(StoredRow(to_row(generation)))


class TestMoney:
    """USD in two columns of integers."""

    @given(UNITS)
    def test_an_amount_comes_back(self, units: int) -> None:
        """To the last of 18 decimals, and in 64-bit integers."""
        amount = Decimal(units).scaleb(-18)
        nano, atto = split_usd(amount)

        assert amount == join_usd(nano, atto)
        assert exact_units(amount) == units
        assert -(2**63) <= nano < 2**63
        assert 0 <= atto < 10**9

    @given(st.lists(UNITS))
    def test_columns_sum_exactly(self, many: list[int]) -> None:
        """Summing the columns is summing the amounts."""
        columns = [split_usd(Decimal(units).scaleb(-18)) for units in many]
        total = join_usd(sum(nano for nano, _ in columns), sum(atto for _, atto in columns))

        assert total == Decimal(sum(many)).scaleb(-18)

    def test_sums_as_databases_give_them(self) -> None:
        """PostgreSQL gives decimals, and SQL null for no rows."""
        assert join_usd(Decimal(1_500_000_000), Decimal(2_000_000_001)) == Decimal("1.500000002000000001")
        assert join_usd(None, None) == Decimal(0)

    @pytest.mark.parametrize(
        ("amount", "kept"),
        [
            ("0.0000000000000000005", "0"),
            ("0.0000000000000000015", "0.000000000000000002"),
            ("0.0000012345678901234567", "0.000001234567890123"),
            ("999999999", "1000000"),
            ("-999999999", "-1000000"),
        ],
    )
    def test_what_is_finer_or_larger_than_can_be_kept(self, amount: str, kept: str) -> None:
        """Is rounded half to even, or cut to a million."""
        assert exact_units(Decimal(amount)) is None
        assert round_usd(Decimal(amount)) == Decimal(kept)

    @pytest.mark.parametrize(("amount", "shown"), [("10", "10"), ("0.10", "0.1"), ("1E+2", "100"), ("0E-9", "0")])
    def test_amounts_are_written_without_exponent_or_needless_zeros(self, amount: str, shown: str) -> None:
        """So that they can be shown."""
        assert str(round_usd(Decimal(amount))) == shown


class TestRows:
    """Generations as rows."""

    @settings(deadline=None)
    @given(ANY_GENERATION)
    def test_a_generation_comes_back(self, generation: Generation) -> None:
        """With every field there is: one that is added needs a column."""
        assert generation == stored(generation)

    def test_every_field_is_tried(self) -> None:
        """The strategy above leaves none out."""
        given_fields = {"id", "created", "ending", "status", "streamed", "requested_models", "duration_s", "latency_s"}
        given_fields |= {"usage", "cost", "attempts", "api_type", "app_categories", "trace"}
        given_fields |= {"normalized_prompt_tokens", "normalized_completion_tokens"}
        texts = {name for name in Generation.__struct_fields__ if name not in given_fields}
        types = {field.name: field.type for field in msgspec.structs.fields(Generation)}

        assert {types[name] for name in texts} == {str | None}
        assert len(texts) == 17

    def test_parts_finer_than_can_be_kept(self) -> None:
        """Are rounded each, and the total is their sum still."""
        cost = Cost(prompt=Decimal("0.0000000000000000016"), completion=Decimal("0.0000000000000000016"))
        row = StoredRow(to_row(make_generation(1, cost=cost)))

        assert from_row(row).cost.total == Decimal("0.000000000000000004")
        assert join_usd(vars(row)["cost_nano"], vars(row)["cost_atto"]) == Decimal("0.000000000000000004")

    def test_counts_that_are_none(self) -> None:
        """A provider that counts more tokens than there are cannot break the sums."""
        kept = stored(make_generation(1, usage=Usage(prompt_tokens=10**15, completion_tokens=7)))

        assert (kept.usage.prompt_tokens, kept.usage.completion_tokens) == (10**12, 7)


class TestLines:
    """Generations as lines of the journal."""

    @settings(deadline=None)
    @given(ANY_GENERATION)
    def test_a_generation_comes_back(self, generation: Generation) -> None:
        """From one line, whatever is in its texts."""
        kept, line = encode_line(generation)

        assert line.count(b"\n") == 1
        assert line.endswith(b"\n")
        assert decode_line(line) == kept == generation

    def test_what_neither_json_nor_postgresql_stores_is_replaced(self) -> None:
        """Halves of surrogate pairs, and NUL."""
        kept, line = encode_line(make_generation(1, user="a\0b", trace={"x\0": ["\0"]}))
        assert (kept.user, kept.trace) == ("a\ufffdb", {"x\ufffd": ["\ufffd"]})
        assert decode_line(line) == kept

        kept, line = encode_line(make_generation(1, app_title="c\ud800d"))
        assert kept.app_title == "c?d"
        assert decode_line(line) == kept

    def test_a_written_backslash_is_no_nul(self) -> None:
        """Text that only looks like an escaped NUL stays."""
        assert encode_line(make_generation(1, user="\\u0000"))[0].user == "\\u0000"

    def test_a_line_has_its_limit(self) -> None:
        """Texts and lists are cut; a trace that is too long even so goes; costs and counts stay."""
        huge = make_generation(
            1,
            user="u" * 100_000,
            requested_models=["a/one"] * 1_000,
            trace={"name": "t" * 100_000, "rows": [1] * 1_000},
        )
        kept, line = encode_line(huge)

        assert kept.user == "u" * 1024
        assert kept.requested_models == ["a/one"] * 64
        assert kept.trace == {"name": "t" * 1024, "rows": [1] * 64}
        assert (kept.id, kept.cost, kept.usage) == (huge.id, huge.cost, huge.usage)
        assert len(line) < 10_000
        assert (
            encode_line(make_generation(1, trace={str(number): "t" * 99 for number in range(1_000)}))[0].trace is None
        )

    def test_a_trace_nested_too_deeply_goes(self) -> None:
        """It cannot be written as JSON."""
        trace: dict[str, object] = {}
        for _ in range(100_000):
            trace = {"x": trace}
        try:
            assert encode_line(make_generation(1, trace=trace))[0].trace is None
        finally:
            while trace:  # taken apart by hand: the interpreter would do it by recursion
                trace = trace.pop("x")  # type: ignore[assignment]

    def test_a_journal_of_the_first_version_is_read(self) -> None:
        """Its lines lack the fields that were added since."""
        line = (
            b'{"id":"gen-1","created":1771043112.5,"ending":"finished","requested_models":["a/one"],"model":"a/one",'
            b'"provider":"acme","streamed":true,"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,'
            b'"cached_tokens":0,"cache_write_tokens":0,"prompt_audio_tokens":0,"prompt_video_tokens":0,'
            b'"reasoning_tokens":0,"completion_audio_tokens":0,"image_tokens":0,"accepted_prediction_tokens":0,'
            b'"rejected_prediction_tokens":0,"reported_cost":null,"estimated":false},"cost":{"prompt":"0.1",'
            b'"completion":"0","request":"0"},"finish_reason":"stop","native_finish_reason":"stop","error_type":null,'
            b'"status":200,"attempts":[{"provider":"acme","tag":"acme","outcome":"served","status":200,'
            b'"duration_s":0.1}],"latency_s":0.1,"duration_s":0.2,"key_hash":null,"app_url":null,"app_title":null,'
            b'"user":null,"session_id":null}\n'
        )

        assert decode_line(line).attempts == [
            AttemptRecord(provider="acme", tag="acme", outcome="served", status=200, duration_s=0.1)
        ]
        assert decode_line(line).cost.total == Decimal("0.1")
