"""Who may call, what was used, what it costs."""

import hashlib
import json
import re
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from gateway_samples import make_endpoint, make_request
from hypothesis import given
from hypothesis import strategies as st

from openrouter_gateway.accounting.authorize import Grant, authorize, hash_key, hide_user
from openrouter_gateway.accounting.meter import Meter
from openrouter_gateway.accounting.price import price_served, price_usage
from openrouter_gateway.core.catalog import Endpoint, Price, PriceOverride
from openrouter_gateway.core.events import Step
from openrouter_gateway.core.usage import Cost, Usage
from openrouter_gateway.errors import Unauthenticated
from openrouter_gateway.wire.protocols.openai import OpenAI

RATES = st.decimals(min_value=0, max_value="0.001", places=12)
TOKENS = st.integers(0, 100_000_000)


class TestPrice:
    """Token buckets times prices."""

    @pytest.mark.parametrize(
        ("usage", "price", "cost"),
        [
            (
                Usage(prompt_tokens=1000, completion_tokens=10, total_tokens=1010),
                Price(prompt=Decimal("0.0000025"), completion=Decimal("0.00001")),
                ("0.0025", "0.0001", "0"),
            ),
            (
                Usage(prompt_tokens=1000, cached_tokens=400, cache_write_tokens=100, total_tokens=1000),
                Price(prompt=Decimal("0.001"), cache_read=Decimal("0.0001"), cache_write=Decimal("0.002")),
                ("0.74", "0", "0"),
            ),
            (
                Usage(prompt_tokens=1000, cached_tokens=400, cache_write_tokens=100, total_tokens=1000),
                Price(prompt=Decimal("0.001")),
                ("1", "0", "0"),
            ),
            (Usage(prompt_tokens=1, total_tokens=1), Price(request=Decimal("0.01")), ("0", "0", "0.01")),
            (Usage(), Price(request=Decimal("0.01")), ("0", "0", "0")),
            (Usage(prompt_tokens=5, total_tokens=5), Price(), ("0", "0", "0")),
            (
                Usage(prompt_tokens=10, cached_tokens=15, total_tokens=10),
                Price(prompt=Decimal(1), cache_read=Decimal("0.1")),
                ("1.5", "0", "0"),
            ),
            (
                Usage(completion_tokens=10, reasoning_tokens=9, total_tokens=10),
                Price(completion=Decimal("0.1")),
                ("0", "1", "0"),
            ),
            (
                Usage(prompt_tokens=100, cache_write_tokens=50, cache_write_1h_tokens=20, total_tokens=100),
                Price(prompt=Decimal(1), cache_write=Decimal("1.25"), cache_write_1h=Decimal(2)),
                ("127.5", "0", "0"),
            ),
            (
                Usage(prompt_tokens=100, cache_write_tokens=50, cache_write_1h_tokens=70, total_tokens=100),
                Price(prompt=Decimal(1), cache_write=Decimal("1.25")),
                ("112.5", "0", "0"),
            ),
            (
                Usage(prompt_tokens=1, total_tokens=1, web_search_requests=3),
                Price(prompt=Decimal(1), web_search=Decimal("0.01")),
                ("1", "0", "0.03"),
            ),
            (Usage(prompt_tokens=1, total_tokens=1, web_search_requests=3), Price(prompt=Decimal(1)), ("1", "0", "0")),
        ],
    )
    def test_buckets(self, usage: Usage, price: Price, cost: tuple[str, str, str]) -> None:
        """Cached tokens at their own rate, or at the prompt's; reasoning within the completion; no answer, no fee."""
        prompt, completion, request = map(Decimal, cost)

        assert Cost(prompt=prompt, completion=completion, request=request) == price_usage(usage, price)

    RATES_APART = Price(
        prompt=Decimal(1),
        completion=Decimal(2),
        cache_read=Decimal("0.1"),
        audio=Decimal(10),
        audio_cache_read=Decimal(3),
        image_token=Decimal(5),
        audio_output=Decimal(20),
        image_output=Decimal(30),
        internal_reasoning=Decimal(4),
    )

    @pytest.mark.parametrize(
        ("counts", "prompt", "completion"),
        [
            ({"prompt_tokens": 100, "prompt_audio_tokens": 40}, "460", "0"),
            ({"prompt_tokens": 100, "prompt_image_tokens": 40}, "260", "0"),
            ({"prompt_tokens": 100, "prompt_audio_tokens": 60, "prompt_image_tokens": 60}, "800", "0"),
            ({"prompt_tokens": 100, "cached_tokens": 50, "cached_audio_tokens": 20}, "113", "0"),
            (
                {"prompt_tokens": 100, "cached_tokens": 50, "cached_audio_tokens": 20, "prompt_audio_tokens": 30},
                "203",
                "0",
            ),
            ({"prompt_tokens": 100, "cached_tokens": 100, "prompt_audio_tokens": 100}, "10", "0"),
            ({"completion_tokens": 100, "completion_audio_tokens": 40}, "0", "920"),
            ({"completion_tokens": 100, "image_tokens": 90}, "0", "2720"),
            ({"completion_tokens": 100, "reasoning_tokens": 60}, "0", "320"),
            ({"completion_tokens": 100, "reasoning_tokens": 600, "image_tokens": 50}, "0", "1700"),
        ],
    )
    def test_buckets_that_are_priced_apart(self, counts: dict[str, int], prompt: str, completion: str) -> None:
        """Each token is charged once, at its own rate, or at that of the tokens around it where it has none."""
        usage = Usage(**counts, total_tokens=1)
        cost = price_usage(usage, self.RATES_APART)

        assert (Decimal(prompt), Decimal(completion), Decimal(0)) == (cost.prompt, cost.completion, cost.request)
        plain = price_usage(usage, Price(prompt=Decimal(1), completion=Decimal(2)))
        assert (usage.prompt_tokens, 2 * usage.completion_tokens) == (plain.prompt, plain.completion)

    def test_reasoning_for_nothing_is_part_of_the_answer(self) -> None:
        """Lists say 0 for models that do not price it apart."""
        price = Price(completion=Decimal(2), internal_reasoning=Decimal(0))

        assert 20 == price_usage(Usage(completion_tokens=10, reasoning_tokens=10, total_tokens=10), price).total

    def test_what_only_its_extras_cost(self) -> None:
        """Free tokens, and a search that is not."""
        usage = Usage(prompt_tokens=1, total_tokens=1, web_search_requests=2)

        assert Cost(request=Decimal(10)) == price_usage(usage, Price(web_search=Decimal(5)))

    @pytest.mark.parametrize(
        ("tokens", "prompt", "completion"),
        [(200, "200", "20"), (201, "402", "20"), (500, "1000", "20"), (501, "1503", "50")],
    )
    def test_long_prompts(self, tokens: int, prompt: str, completion: str) -> None:
        """Beyond a length all tokens have the higher rate, in the buckets that the override names."""
        price = Price(
            prompt=Decimal(1),
            completion=Decimal(2),
            overrides=(
                PriceOverride(min_prompt_tokens=200, rates={"prompt": Decimal(2)}),
                PriceOverride(min_prompt_tokens=500, rates={"prompt": Decimal(3), "completion": Decimal(5)}),
            ),
        )
        usage = Usage(prompt_tokens=tokens, completion_tokens=10, total_tokens=tokens + 10)

        assert Cost(prompt=Decimal(prompt), completion=Decimal(completion)) == price_usage(usage, price)

    @pytest.mark.parametrize(
        ("price", "reported", "cost"),
        [
            (None, "0.25", "0.25"),
            (None, None, "0"),
            (Price(), "0.25", "0"),
            (Price(prompt=Decimal(1)), "0.25", "3"),
        ],
    )
    def test_what_has_no_price_costs_what_its_provider_says(
        self, price: Price | None, reported: str | None, cost: str
    ) -> None:
        """A price of ours, also one of nothing, goes before."""
        usage = Usage(prompt_tokens=3, total_tokens=3, reported_cost=None if reported is None else Decimal(reported))

        assert Decimal(cost) == price_usage(usage, price).total

    @given(TOKENS, TOKENS, TOKENS, TOKENS, RATES, RATES, st.none() | RATES, st.none() | RATES, RATES)
    def test_exact(
        self,
        prompt: int,
        completion: int,
        cached: int,
        written: int,
        prompt_rate: Decimal,
        completion_rate: Decimal,
        read_rate: Decimal | None,
        write_rate: Decimal | None,
        fee: Decimal,
    ) -> None:
        """The cost is the exact sum of its parts, to the last digit, and nothing in it is ever negative."""
        usage = Usage(
            prompt_tokens=prompt,
            completion_tokens=completion,
            total_tokens=prompt + completion,
            cached_tokens=cached,
            cache_write_tokens=written,
        )
        price = Price(
            prompt=prompt_rate,
            completion=completion_rate,
            request=fee,
            cache_read=read_rate,
            cache_write=write_rate,
        )

        cost = price_usage(usage, price)

        assert Fraction(cost.total) == Fraction(cost.prompt) + Fraction(cost.completion) + Fraction(cost.request)
        assert min(cost.prompt, cost.completion, cost.request) >= 0
        if prompt_rate or completion_rate or fee:
            plain = max(prompt - cached - written, 0)
            read = Fraction(prompt_rate if read_rate is None else read_rate)
            write = Fraction(prompt_rate if write_rate is None else write_rate)
            assert plain * Fraction(prompt_rate) + cached * read + written * write == Fraction(cost.prompt)
            assert completion * Fraction(completion_rate) == Fraction(cost.completion)


def make_step(delta: dict[str, Any], finish: str | None = None, native: str | None = None) -> Step:
    """Return one choice's step."""
    return Step(
        {"choices": [{"index": 0, "delta": delta, "finish_reason": finish, "native_finish_reason": native}]},
    )


class TestServedTier:
    """The price goes by the tier that was served."""

    BASE, FLEX, PRIORITY = (
        make_endpoint(tag, prompt=prompt) for tag, prompt in (("acme", "2"), ("acme/flex", "1"), ("acme/priority", "4"))
    )
    OTHERS = (
        make_endpoint("other/flex", prompt="9"),
        msgspec.structs.replace(make_endpoint("acme/flex", prompt="9"), upstream_id="another"),
        make_endpoint("acme/flex", prompt=None),
        BASE,
        FLEX,
        PRIORITY,
    )

    @pytest.mark.parametrize(
        ("endpoint", "served", "price"),
        [
            (BASE, None, 2),
            (BASE, "default", 2),
            (BASE, "flex", 1),
            (BASE, "priority", 4),
            (BASE, "scale", 2),
            (FLEX, "default", 2),
            (FLEX, "flex", 1),
            (PRIORITY, "default", 2),
            (PRIORITY, "auto", 4),
            (PRIORITY, "Standard", 2),
        ],
    )
    def test_by_what_the_provider_says(self, endpoint: Endpoint, served: str | None, price: int) -> None:
        """Of the same model at the same provider; what is no tier of the catalogue changes nothing."""
        found = price_served(endpoint, served, self.OTHERS)

        assert found is not None
        assert price == found.prompt

    def test_a_tier_without_a_price(self) -> None:
        """The endpoint's own price is the best guess."""
        assert self.PRIORITY.price == price_served(self.PRIORITY, "default", [self.PRIORITY, self.FLEX])

    def test_anthropics_word_for_a_contract(self) -> None:
        """Its `priority` is capacity that was bought before, and no fast mode."""
        endpoint = msgspec.structs.replace(self.BASE, own_protocol="anthropic")

        assert self.BASE.price == price_served(endpoint, "priority", [endpoint, self.PRIORITY])


class TestMeter:
    """What a reply has used so far."""

    def test_the_providers_count_wins(self) -> None:
        """An estimate is for providers that count nothing."""
        meter = Meter()
        meter.watch(make_step({"content": "x" * 100}))
        meter.reported = Usage(prompt_tokens=1, completion_tokens=1, total_tokens=2)

        assert Usage(prompt_tokens=1, completion_tokens=1, total_tokens=2) == meter.usage(make_request())

    @pytest.mark.parametrize(
        ("deltas", "completion"),
        [
            ([{"content": "x" * 8}], 2),
            ([{"content": "x" * 4}, {"content": "x" * 5}], 3),
            ([{"reasoning": "x" * 8}], 2),
            ([{"reasoning": "x" * 8, "content": "x" * 8}], 4),
            ([{"content": "", "tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "x" * 8}}]}], 2),
            ([{"content": "xxxx", "tool_calls": [{"index": 0, "function": {"arguments": "xxxx"}}]}], 2),
            ([{"content": None, "tool_calls": [{"index": 0, "function": {}}]}, {"content": "x"}], 1),
        ],
    )
    def test_an_estimate(self, deltas: list[dict[str, Any]], completion: int) -> None:
        """All that a model writes counts: four characters a token, rounded up, and marked as an estimate."""
        meter = Meter()
        for delta in deltas:
            meter.watch(make_step(delta))
        request = make_request(messages=[{"role": "user", "content": "x" * 100}])

        usage = meter.usage(request)

        assert (completion, True) == (usage.completion_tokens, usage.estimated)
        assert 25 < usage.prompt_tokens < 50
        assert usage.prompt_tokens + usage.completion_tokens == usage.total_tokens

    def test_no_answer_is_no_usage(self) -> None:
        """What never came is not charged."""
        meter = Meter()
        meter.watch(make_step({"role": "assistant", "content": ""}))

        assert Usage() == meter.usage(make_request())

    @pytest.mark.parametrize("place", [0, 1, 2])
    def test_the_tier_that_was_served(self, place: int) -> None:
        """Said with the first chunk, or with the last."""
        steps = [make_step({"content": "x"}), make_step({"content": "x"}), make_step({}, "stop")]
        steps[place].chunk["service_tier"] = "flex"
        meter = Meter()
        for step in steps:
            meter.watch(step)

        assert (None if place == 1 else "flex") == meter.service_tier

    def test_finish_reasons(self) -> None:
        """The last one counts."""
        meter = Meter()
        meter.watch(make_step({}, "stop", "end_turn"))
        meter.watch(make_step({"content": "x"}))

        assert (meter.finish_reason, meter.native_finish_reason) == ("stop", "end_turn")


class TestAuthorize:
    """The key's check."""

    KNOWN = frozenset({hash_key("sk-or-v1-one"), hash_key("sk-or-v1-two")})

    def test_without_keys_everyone_is_let_in(self) -> None:
        """With or without a key of their own."""
        assert Grant(key_hash=None) == authorize(None, frozenset()) == authorize("sk-any", frozenset())

    def test_a_known_key(self) -> None:
        """The grant goes by the hash: SHA-256 in lower-case hex."""
        expected = hashlib.sha256(b"sk-or-v1-one").hexdigest()

        assert Grant(key_hash=expected) == authorize("sk-or-v1-one", self.KNOWN)

    @pytest.mark.parametrize("credential", [None, "", "sk-or-v1-three", "SK-OR-V1-ONE", hash_key("sk-or-v1-one")])
    def test_no_or_another_key(self, credential: str | None) -> None:
        """It is refused, without saying it back; a hash is not a key."""
        with pytest.raises(Unauthenticated) as caught:
            authorize(credential, self.KNOWN)

        assert caught.value.status == 401
        assert not credential or credential not in str(caught.value)


class TestHideUser:
    """`user` is never sent to a provider as the caller wrote it."""

    @given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
    def test_never_the_plain_value(self, user: str) -> None:
        """Providers get a pseudonym; the gateway's own records keep the value."""
        request = hide_user(make_request(user=user), Grant())

        for quirks in (frozenset[str](), frozenset({"openrouter_fields"})):
            sent = json.loads(OpenAI().encode_chat(request, make_endpoint(quirks=quirks)))["user"]
            assert user != sent
            assert re.fullmatch("[0-9a-f]{64}", sent)
        assert user == request.params.user

    def test_the_same_user_of_the_same_account_is_the_same(self) -> None:
        """And of another account another one."""
        pseudonyms = [
            bytes(hide_user(make_request(user="u"), Grant(key_hash=key)).fields["user"])
            for key in ("a", "a", "b", None)
        ]

        assert pseudonyms[0] == pseudonyms[1]
        assert len(set(pseudonyms)) == 3

    @pytest.mark.parametrize("fields", [{}, {"user": None}, {"user": ""}])
    def test_nobody_is_nobody(self, fields: dict[str, object]) -> None:
        """Without a user nothing is made up."""
        request = make_request(**fields)

        assert request.fields == hide_user(request, Grant(key_hash="a")).fields
