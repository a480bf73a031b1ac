"""Conversations that stay where their prompt is cached."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from gateway_samples import make_endpoint, make_request
from hypothesis import given
from hypothesis import strategies as st
from route_samples import catalog_of, listing, tags

from openrouter_gateway.core.catalog import Catalog, Endpoint, Price
from openrouter_gateway.core.usage import Usage
from openrouter_gateway.routing.facts import Facts, Remembered
from openrouter_gateway.routing.plan import plan_route
from openrouter_gateway.routing.sticky import Conversation, conversation_of, remember


def caching(tag: str, model_id: str = "a/one", *, read: str | None = "0.1", prompt: str = "1") -> Endpoint:
    price = Price(prompt=Decimal(prompt), cache_read=None if read is None else Decimal(read))
    return msgspec.structs.replace(make_endpoint(tag, model_id), price=price)


CATALOG = catalog_of(
    listing(caching("x"), caching("y")),
    listing(caching("x", "a/two"), caching("y", "a/two", read=None)),
    listing(caching("x", "a/single")),
    listing(caching("x", "a/dear", read="1"), caching("y", "a/dear", read=None)),
    listing(make_endpoint("x", "a/unpriced", prompt=None), make_endpoint("y", "a/unpriced", prompt=None)),
)
SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "Hello"}


def conversation(
    *messages: dict[str, Any],
    model: str = "a/one",
    catalog: Catalog = CATALOG,
    account: str = "",
    header: str | None = None,
    **fields: Any,
) -> Conversation:
    if "models" not in fields:
        fields["model"] = model
    request = make_request(messages=list(messages) or [USER], **fields)
    found = conversation_of(request, catalog, account=account, session_id=header)
    assert found is not None
    return found


class TestConversation:
    """Which requests belong together."""

    def test_later_turns(self) -> None:
        """What follows the opening does not matter."""
        later = [{"role": "assistant", "content": "Hi"}, {"role": "user", "content": "Bye"}]

        assert conversation(SYSTEM, USER) == conversation(SYSTEM, USER, *later)
        assert conversation(USER) == conversation(USER, *later)
        assert conversation(USER, SYSTEM) == conversation(SYSTEM, USER)

    def test_a_developer_message_is_a_system_message(self) -> None:
        """Its content counts, not its role."""
        assert conversation(SYSTEM | {"role": "developer"}, USER) == conversation(SYSTEM, USER)

    @pytest.mark.parametrize(
        "other",
        [
            {"messages": [SYSTEM, USER | {"content": "Bye"}]},
            {"messages": [SYSTEM | {"content": "Be verbose."}, USER]},
            {"messages": [USER]},
            {"messages": [SYSTEM]},
            {"messages": [SYSTEM, USER | {"content": [{"type": "text", "text": "Hello"}]}]},
            {"account": "somebody"},
            {"model": "a/two"},
            {"header": "s"},
            {"session_id": "s"},
            {"prompt_cache_key": "s"},
        ],
    )
    def test_others(self, other: dict[str, Any]) -> None:
        """Another opening, account, model or name is another conversation."""
        messages = other.pop("messages", [SYSTEM, USER])

        assert conversation(SYSTEM, USER).key != conversation(*messages, **other).key

    def test_a_session_id_goes_first(self) -> None:
        """The body's, then the header's, then the cache key, then the messages."""
        named = conversation(SYSTEM, USER, session_id="s")

        assert named == conversation(USER, session_id="s", header="t", prompt_cache_key="u")
        assert named == conversation(USER, header="s", prompt_cache_key="u")
        assert conversation(USER, prompt_cache_key="u") == conversation(SYSTEM, prompt_cache_key="u")
        assert (True, False, False) == (
            named.named,
            conversation(USER, prompt_cache_key="u").named,
            conversation(USER).named,
        )

    def test_a_session_id_is_no_cache_key(self) -> None:
        """One cannot be made up to be taken for the other."""
        assert conversation(USER, session_id="s").key != conversation(USER, prompt_cache_key="s").key

    @pytest.mark.parametrize(
        "fields",
        [
            {"model": "a/one", "provider": {"order": ["x"]}},
            {"model": "a/single"},
            {"model": "a/dear"},
            {"model": "a/unpriced"},
        ],
    )
    def test_no_say(self, fields: dict[str, Any]) -> None:
        """With a list of providers, nowhere else to go, or nothing to gain, nothing is looked up or kept."""
        assert conversation_of(make_request(session_id="s", **fields), CATALOG) is None

    @pytest.mark.parametrize(
        "fields", [{"models": ["a/single", "a/one"]}, {"model": "openrouter/auto"}, {"model": "a/one:nitro"}]
    )
    def test_what_is_not_known_before_the_plan(self, fields: dict[str, Any]) -> None:
        """Fallback models and routers may have something to gain."""
        assert conversation_of(make_request(**fields), CATALOG) is not None

    def test_the_default_model(self) -> None:
        """It is a model like any other."""
        catalog = msgspec.structs.replace(CATALOG, default_model="a/one")

        assert conversation(USER) == conversation_of(make_request(messages=[USER]), catalog)

    @given(st.text(max_size=5), st.text(max_size=5), st.text(max_size=5), st.text(max_size=5))
    def test_no_two_collide(self, account: str, session: str, other_account: str, other_session: str) -> None:
        """Wherever one part ends and the next begins."""
        one = conversation(account=account, header="s" + session)
        other = conversation(account=other_account, header="s" + other_session)

        assert ((account, session) == (other_account, other_session)) == (one == other)


class TestMemory:
    """What is kept after a success."""

    NAMED, UNNAMED = Conversation("k", named=True), Conversation("k", named=False)

    @pytest.mark.parametrize(
        ("conversation", "usage", "keeps"),
        [
            (NAMED, Usage(), True),
            (NAMED, Usage(cached_tokens=5), True),
            (UNNAMED, Usage(prompt_tokens=100), False),
            (UNNAMED, Usage(cached_tokens=5), True),
            (UNNAMED, Usage(cache_write_tokens=5), True),
        ],
    )
    def test_what_makes_it_sticky(self, conversation: Conversation, usage: Usage, keeps: bool) -> None:
        """A session id does, or a cache that was used."""
        expected = Remembered(model="a/one", endpoint="a/one|x") if keeps else None

        assert expected == remember(conversation, caching("x"), usage)

    @pytest.mark.parametrize("endpoint", [caching("x", read="1"), caching("x", read=None), make_endpoint(prompt=None)])
    def test_nothing_to_gain(self, endpoint: Endpoint) -> None:
        """Where cached tokens cost what others do, any endpoint is as good."""
        assert remember(self.NAMED, endpoint, Usage(cached_tokens=5)) is None

    def test_the_next_plan(self) -> None:
        """It starts where the conversation was served."""
        first = plan_route(make_request(model="a/one"), CATALOG)
        kept = remember(self.NAMED, first.endpoints[1], Usage())

        following = plan_route(make_request(model="a/one"), CATALOG, Facts(remembered=kept))

        assert list(reversed(tags(first))) == tags(following)
