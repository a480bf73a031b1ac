"""Requests: what the user set travels verbatim, and nothing else does."""

import asyncio
import json
from typing import Any, get_args, get_type_hints

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.runnables import ConfigurableField
from pydantic import BaseModel
from scripted_server import ScriptedServer, completion, event, json_reply, sse_reply

from langchain_openrouter import ChatOpenRouter, ConfigurationError, settings
from langchain_openrouter._request import (
    SETTINGS,
    build_body,
    build_headers,
    completions_url,
    encode_body,
    is_loopback,
)
from langchain_openrouter.chat_models import ChatOpenRouter as Model

Json = dict[str, Any]

VALUES: Json = {
    "models": ["a/b", "c/d"],
    "route": "fallback",
    "temperature": 0.5,
    "max_tokens": 7,
    "max_completion_tokens": 8,
    "top_p": 0.9,
    "top_k": 40,
    "min_p": 0.1,
    "top_a": 0.2,
    "frequency_penalty": -0.5,
    "presence_penalty": 0.5,
    "repetition_penalty": 1.1,
    "seed": 42,
    "stop": ["END"],
    "n": 2,
    "logit_bias": {"50256": -100},
    "logprobs": False,
    "top_logprobs": 0,
    "response_format": {"type": "json_object"},
    "parallel_tool_calls": False,
    "reasoning": {"effort": "high", "max_tokens": 100, "exclude": False, "enabled": True, "summary": "auto"},
    "reasoning_effort": "low",
    "verbosity": "low",
    "modalities": ["text", "image"],
    "image_config": {"aspect_ratio": "1:1"},
    "audio": {"voice": "alloy", "format": "wav"},
    "prediction": {"type": "content", "content": "x"},
    "plugins": [{"id": "web", "max_results": 3, "new": None}],
    "transforms": [],
    "web_search_options": {"search_context_size": "low"},
    "service_tier": "flex",
    "cache_control": {"type": "ephemeral", "ttl": "1h"},
    "user": "u",
    "session_id": "s",
    "trace": {"trace_id": "t", "mine": {"a": [1, None]}},
}
PROVIDER = {"order": ["Acme"], "zdr": True, "max_price": {"prompt": 1}, "sort": {"by": "price"}, "new": None}
BARE = {"model": "acme/one", "messages": [{"role": "user", "content": "hi"}]}


def sent(server: ScriptedServer, call: Json | None = None, **settings: Any) -> Json:
    model = ChatOpenRouter(model="acme/one", base_url=server.url, **settings)
    model.invoke("hi", **(call or {}))
    return server.seen[-1].body


def test_every_setting_has_a_value_here() -> None:
    assert set(VALUES) == set(SETTINGS)
    assert set(SETTINGS) < set(Model.model_fields)


def test_nothing_is_sent_that_was_not_set(server: ScriptedServer) -> None:
    assert sent(server) == BARE
    assert "http-referer" not in server.seen[0].headers
    assert "x-title" not in server.seen[0].headers
    assert "authorization" not in server.seen[0].headers


@pytest.mark.parametrize("name", SETTINGS)
def test_each_setting_travels_verbatim(server: ScriptedServer, name: str) -> None:
    """From the constructor, from a call, from `bind`, and from a configurable field."""
    expected = {**BARE, name: VALUES[name]}
    assert sent(server, **{name: VALUES[name]}) == expected
    assert sent(server, {name: VALUES[name]}) == expected
    model = ChatOpenRouter(model="acme/one", base_url=server.url)
    model.bind(**{name: VALUES[name]}).invoke("hi")
    assert server.seen[-1].body == expected
    configurable = model.configurable_fields(**{name: ConfigurableField(id="it")})
    configurable.invoke("hi", config={"configurable": {"it": VALUES[name]}})
    assert server.seen[-1].body == expected


@pytest.mark.parametrize("stream", [False, True])
def test_all_settings_at_once(server: ScriptedServer, stream: bool) -> None:
    server.answer(sse_reply(event({"content": "a"}, "stop")) if stream else json_reply(completion()))
    values = {name: value for name, value in VALUES.items() if name != "n"}
    sent(server, openrouter_provider=PROVIDER, streaming=stream, **values)
    assert server.seen[-1].body == {**BARE, **values, "provider": PROVIDER, **({"stream": True} if stream else {})}


values_of_json: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(given_dict=st.dictionaries(st.text(max_size=5), values_of_json, max_size=4))
def test_any_dictionary_travels_verbatim(given_dict: Json) -> None:
    """Keys and kinds this package has never heard of, nulls and numbers included."""
    names = ("reasoning", "trace", "image_config", "audio", "prediction", "response_format", "cache_control")
    own: dict[str, Any] = {
        **dict.fromkeys(names, given_dict),
        "openrouter_provider": given_dict,
        "plugins": [given_dict],
    }
    model = ChatOpenRouter(model="acme/one", base_url="http://localhost/v1", **own)
    body = build_body(model.__dict__, [], stop=None, call={"a_call": given_dict}, stream=False)
    wire = json.loads(encode_body(body))
    assert wire["plugins"] == [given_dict]
    assert [wire[name] for name in (*names, "provider", "a_call")] == [given_dict] * (len(names) + 2)


def keys(*names: str) -> set[str]:
    return {key for name in names for key in name.split()}


@pytest.mark.parametrize(
    ("dictionary", "documented"),
    [
        (
            settings.ProviderPreferences,
            keys(
                "order allow_fallbacks require_parameters data_collection zdr enforce_distillable_text only ignore",
                "quantizations sort preferred_min_throughput preferred_max_latency max_price options",
            ),
        ),
        (settings.ProviderSort, keys("by partition")),
        (settings.Percentiles, keys("p50 p75 p90 p99")),
        (settings.MaxPrice, keys("prompt completion request image audio")),
        (settings.ReasoningConfig, keys("effort max_tokens exclude enabled summary context mode")),
        (settings.TraceConfig, keys("trace_id trace_name span_name generation_name parent_span_id")),
        (
            settings.PluginConfig,
            keys(
                "id enabled engine mode max_results search_prompt include_domains exclude_domains max_uses",
                "user_location pdf allowed_models excluded_models cost_tier cost_quality_tradeoff pin_model",
                "min_coding_score max_price price_source",
            ),
        ),
    ],
)
def test_the_typed_dictionaries_have_every_documented_key(dictionary: Any, documented: set[str]) -> None:
    """API digest 3.2, 3.11, 4.1, 9.1 to 9.6, 10.1; constructors take others too."""
    assert set(get_type_hints(dictionary)) == documented


def test_the_typed_words_are_the_documented_ones() -> None:
    plugin_ids = keys(
        "auto-router auto-beta-router moderation web web-fetch file-parser response-healing",
        "context-compression pareto-router fusion",
    )
    assert set(get_args(settings.PluginId)) == plugin_ids
    assert set(get_args(settings.SortKey)) == keys("price throughput latency exacto")
    effort = get_type_hints(settings.ReasoningConfig)["effort"]
    assert set(get_args(effort)) == keys("max xhigh high medium low minimal none")


def test_provider_preferences(server: ScriptedServer) -> None:
    expected = {**BARE, "provider": PROVIDER}
    assert sent(server, openrouter_provider=PROVIDER) == expected
    assert sent(server, {"openrouter_provider": PROVIDER}) == expected
    assert sent(server, {"provider": PROVIDER}) == expected


def test_a_call_overrides_and_none_takes_out(server: ScriptedServer) -> None:
    assert sent(server, {"temperature": 1, "model": "b/c"}, temperature=0, seed=1) == {
        **BARE,
        "model": "b/c",
        "temperature": 1,
        "seed": 1,
    }
    assert sent(server, {"temperature": None}, temperature=0) == BARE


def test_integers_stay_integers(server: ScriptedServer) -> None:
    """`temperature=0` must not become 0.0: the body is what the user wrote."""
    assert json.dumps(sent(server, temperature=0)["temperature"]) == "0"


def test_unknown_fields_pass_through(server: ScriptedServer) -> None:
    assert sent(server, {"not_invented_yet": {"a": None}}) == {**BARE, "not_invented_yet": {"a": None}}
    assert sent(server, model_kwargs={"preset": "p"}) == {**BARE, "preset": "p"}
    assert sent(server, extra_body={"metadata": {"k": "v"}}) == {**BARE, "metadata": {"k": "v"}}
    assert sent(server, {"extra_body": {"seed": 2}}, seed=1) == {**BARE, "seed": 2}


def test_unknown_constructor_arguments_are_sent_with_a_warning(server: ScriptedServer) -> None:
    with pytest.warns(UserWarning, match="preset"):
        body = sent(server, preset="p")
    assert body == {**BARE, "preset": "p"}


def test_stop_of_langchain_wins(server: ScriptedServer) -> None:
    assert sent(server, {"stop": ["A"]}, stop_sequences=["B"])["stop"] == ["A"]
    assert sent(server, stop="B")["stop"] == "B"


def test_configurable_fields(server: ScriptedServer) -> None:
    model = ChatOpenRouter(model="acme/one", base_url=server.url).configurable_fields(
        session_id=ConfigurableField(id="session")
    )
    model.invoke("hi", config={"configurable": {"session": "s1"}})
    assert server.seen[-1].body == {**BARE, "session_id": "s1"}


@pytest.mark.parametrize(("flag", "options"), [(None, None), (False, None), (True, {"include_usage": True})])
def test_stream_usage(server: ScriptedServer, flag: bool | None, options: Json | None) -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 1}
    server.answer(sse_reply(event({"content": "a"}, "stop", usage=usage)))
    model = ChatOpenRouter(model="acme/one", base_url=server.url, stream_usage=flag)
    chunks = list(model.stream("hi"))
    assert server.seen[-1].body.get("stream_options") == options
    assert (chunks[-1].usage_metadata is None) == (flag is False)


def test_stream_options_of_the_user_win(server: ScriptedServer) -> None:
    server.answer(sse_reply(event({"content": "a"}, "stop")))
    model = ChatOpenRouter(model="acme/one", base_url=server.url, stream_usage=True)
    list(model.stream("hi", stream_options={"new": 1}))
    assert server.seen[-1].body["stream_options"] == {"new": 1}


def test_several_answers_cannot_be_streamed(server: ScriptedServer) -> None:
    model = ChatOpenRouter(model="acme/one", base_url=server.url, n=2)
    with pytest.raises(ConfigurationError, match="n must be 1"):
        list(model.stream("hi"))
    with pytest.raises(ConfigurationError, match="n must be 1"):
        ChatOpenRouter(model="acme/one", base_url=server.url, n=2, streaming=True)
    assert server.seen == []


@pytest.mark.parametrize("value", [object(), {1, object()}, "\ud800"])
def test_what_is_not_json_is_refused(server: ScriptedServer, value: Any) -> None:
    with pytest.raises(ConfigurationError, match="JSON"):
        sent(server, {"seed": value})


class TestHeaders:
    """Attribution and the headers of the user."""

    def test_of_one_call(self, server: ScriptedServer) -> None:
        """They override those of the model, by call, by `bind` and as configurable fields."""
        own: Json = {"app_url": "https://b", "app_title": "B", "app_categories": ["b", "c"]}
        own["default_headers"] = {"X-Mine": "b"}
        base = ChatOpenRouter(
            model="acme/one",
            base_url=server.url,
            app_url="https://a",
            app_title="A",
            app_categories=["a"],
            default_headers={"x-mine": "a", "x-other": "a"},
        )
        base.invoke("hi", **own)
        base.bind(**own).invoke("hi")
        fields = {name: ConfigurableField(id=name) for name in own}
        base.configurable_fields(**fields).invoke("hi", config={"configurable": own})
        for seen in server.seen:
            assert seen.body == BARE
            assert seen.headers["http-referer"] == "https://b"
            assert seen.headers["x-title"] == "B"
            assert seen.headers["x-openrouter-categories"] == "b,c"
            assert seen.headers["x-mine"] == "b"
        assert [seen.headers.get("x-other") for seen in server.seen] == ["a", "a", None]
        base.invoke("hi", app_url=None, app_title=None, app_categories="x,y")
        last = server.seen[-1].headers
        assert ("http-referer" in last, "x-title" in last, last["x-openrouter-categories"]) == (False, False, "x,y")

    def test_under_the_names_of_version_0_2(self, server: ScriptedServer) -> None:
        """Headers, and not fields of the body, where their values would be recorded and refused."""
        assert sent(server, {"http_headers": {"X-A": "b"}, "x_open_router_metadata": "enabled"}) == BARE
        assert server.seen[-1].headers["x-a"] == "b"
        assert server.seen[-1].headers["x-openrouter-metadata"] == "enabled"

    def test_attribution(self, server: ScriptedServer) -> None:
        """Titles may hold any character: they travel as UTF-8."""
        sent(server, app_url="https://my.app", app_title="Mein Café", app_categories=["cli-agent", "game"])
        headers = server.seen[-1].headers
        assert headers["http-referer"] == "https://my.app"
        assert headers["x-title"] == "Mein Café"
        assert headers["x-openrouter-categories"] == "cli-agent,game"

    def test_headers_of_the_user_win_whatever_their_case(self, server: ScriptedServer) -> None:
        """Of the call over those of the model over ours; never two of one name."""
        mine = {"x-TITLE": "mine", "Authorization": "Bearer other", "User-Agent": "me/1"}
        sent(server, {"extra_headers": {"X-Title": "call"}}, app_title="app", default_headers=mine, api_key="k")
        headers = server.seen[-1].headers
        assert (headers["x-title"], headers["authorization"], headers["user-agent"]) == (
            "call",
            "Bearer other",
            "me/1",
        )

    def test_a_stream_asks_not_to_be_compressed(self) -> None:
        """A compressor would hold text back."""
        common: Json = {"api_key": None, "user_agent": "a", "app": {}, "trace": {}}
        assert (b"accept-encoding", b"identity") in build_headers(**common, stream=True)
        assert (b"accept-encoding", b"identity") not in build_headers(**common, stream=False)

    def test_a_line_break_is_refused_without_showing_the_value(self) -> None:
        """A key pasted with a line break inside must not end up in a traceback."""
        with pytest.raises(ConfigurationError) as caught:
            build_headers(api_key="se\ncret", user_agent="a", app={}, trace={}, stream=False)
        assert "authorization" in str(caught.value)
        assert "cret" not in str(caught.value)


@pytest.mark.parametrize("base", ["https://a/api/v1", "https://a/api/v1/"])
def test_address(base: str) -> None:
    assert completions_url(base) == "https://a/api/v1/chat/completions"


@pytest.mark.parametrize(
    "base",
    [
        *("openrouter.ai/api/v1", "ftp://a", "", "/api", "http://[::1", "https://h:abc/v1", "http://h:99999/v1"),
        *("https://u:pass@a/v1", "https://a/v1?key=pass", "https://a/v1#pass"),
    ],
)
def test_addresses_that_cannot_work(base: str) -> None:
    with pytest.raises(ConfigurationError, match="base_url") as caught:
        completions_url(base)
    assert "pass" not in str(caught.value)


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("http://127.0.0.1:8787/api/v1", True),
        ("http://127.9.9.9/", True),
        ("http://localhost:1/", True),
        ("http://[::1]:8787/v1", True),
        ("https://openrouter.ai/api/v1", False),
        ("http://10.0.0.1/", False),
        ("http://localhost.example.org/", False),
        ("http://127.0.0.1.example.org/", False),
    ],
)
def test_loopback(base: str, expected: bool) -> None:
    assert is_loopback(base) is expected


def test_async_requests_are_the_same(server: ScriptedServer) -> None:
    model = ChatOpenRouter(model="acme/one", base_url=server.url, temperature=0)
    model.invoke("hi", seed=1)
    asyncio.run(model.ainvoke("hi", seed=1))
    assert server.seen[0].body == server.seen[1].body


class Weather(BaseModel):
    """Get the weather."""

    place: str


def test_tools_of_a_call(server: ScriptedServer) -> None:
    """Classes become tools as in `bind_tools`; dicts travel as they are."""
    server_tool = {"type": "openrouter:web_search"}
    body = sent(server, {"tools": [Weather, server_tool]})
    assert body["tools"][0]["function"]["name"] == "Weather"
    assert body["tools"][1:] == [server_tool]


def test_a_class_as_response_format_of_a_call(server: ScriptedServer) -> None:
    """Becomes what `with_structured_output` makes of it; the answer stays a message."""
    body = sent(server, {"response_format": Weather})
    assert body["response_format"]["type"] == "json_schema"
    assert body["response_format"]["json_schema"]["name"] == "Weather"
    own = {"type": "json_object"}
    assert sent(server, {"response_format": own}) == {**BARE, "response_format": own}


class TestArgumentsThatCannotWork:
    """They are refused before anything is sent, by an error of this package."""

    @pytest.mark.parametrize(
        "timeout",
        [
            *("30", (5,), [1, 2], [1, 2, 3, "4"], -1, 0, True, {}),
            *(float("nan"), float("inf"), 1e10, 10**400, [1, 0, 1, 1], httpx2.Timeout(1e10), httpx2.Timeout(0)),
        ],
        ids=repr,
    )
    def test_timeouts(self, server: ScriptedServer, timeout: Any) -> None:
        with pytest.raises(ConfigurationError, match="timeout"):
            sent(server, timeout=timeout)
        with pytest.raises(ConfigurationError, match="timeout"):
            sent(server, {"timeout": timeout})
        assert server.seen == []

    def test_a_timeout_of_four(self, server: ScriptedServer) -> None:
        """As a list too, which is what a tuple becomes when a model is saved as JSON."""
        assert sent(server, timeout=[1, 2, None, 4]) == BARE
        assert sent(server, timeout=(1, 2, None, 4)) == BARE

    @pytest.mark.parametrize("retries", ["2", -1, 1.5])
    def test_retries(self, server: ScriptedServer, retries: Any) -> None:
        with pytest.raises(ConfigurationError, match="max_retries"):
            sent(server, {"max_retries": retries})

    def test_retries_of_none_are_those_of_the_model(self, server: ScriptedServer) -> None:
        busy = json_reply({"error": {"code": 503, "message": "busy"}}, 503, headers={"retry-after-ms": "1"})
        server.answer(busy, json_reply(completion()))
        assert sent(server, {"max_retries": None}) == BARE
        assert len(server.seen) == 2

    @pytest.mark.parametrize("value", [1, None, ["a"]])
    def test_headers(self, server: ScriptedServer, value: Any) -> None:
        with pytest.raises(ConfigurationError, match="header a must be a string"):
            sent(server, {"extra_headers": {"a": value}})

    @pytest.mark.parametrize("how", ["constructor", "call", "environment"])
    def test_sessions(self, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
        long = "s" * 257
        if how == "environment":
            monkeypatch.setenv("OPENROUTER_SESSION_ID", long)
        with pytest.raises(ValueError, match=r"session_id|256"):
            sent(
                server,
                {"session_id": long} if how == "call" else {},
                **({"session_id": long} if how == "constructor" else {}),
            )
        assert server.seen == []

    def test_names_of_version_0_2(self, server: ScriptedServer) -> None:
        """It passed them to its library; here they say what to give instead."""
        for name, instead in (("timeout_ms", "seconds"), ("retries", "max_retries"), ("server_url", "base_url")):
            with pytest.raises(ConfigurationError, match=f"{name}: give .*{instead}"):
                sent(server, {name: 1})
            places: list[Any] = [{name: 1}, {"model_kwargs": {name: 1}}]
            for place in places:
                with pytest.raises(ValueError, match=f"{name}: give .*{instead}"):
                    sent(server, **place)
        for name in ("http_headers", "extra_headers", "x_open_router_metadata"):
            with pytest.raises(ValueError, match=f"{name}: give default_headers"):
                sent(server, **{name: {"a": "b"}})
        with pytest.raises(ValueError, match="client: give http_client"):
            sent(server, client=object())
        assert server.seen == []

    def test_a_setting_that_is_given_twice(self, server: ScriptedServer) -> None:
        with pytest.raises(ValueError, match="top_k, zeta: given twice"):
            sent(server, top_k=1, zeta=2, model_kwargs={"top_k": 2, "zeta": 2, "other": 3})
        assert sent(server, top_k=None, model_kwargs={"top_k": 2}) == {**BARE, "top_k": 2}

    @pytest.mark.parametrize("name", ["timeout", "request_timeout"])
    def test_a_timeout_of_one_call_that_can_only_be_milliseconds(self, server: ScriptedServer, name: str) -> None:
        with pytest.warns(UserWarning, match="did you mean 30"):
            sent(server, {name: 30_000})

    def test_a_client_for_one_call(self, server: ScriptedServer) -> None:
        with httpx2.Client(headers={"x-client": "mine"}) as client:
            sent(server, {"http_client": client})
            assert server.seen[-1].headers["x-client"] == "mine"
            server.answer(sse_reply(event({"content": "a"}, "stop")))
            list(ChatOpenRouter(model="acme/one", base_url=server.url).stream("hi", http_client=client))
            assert server.seen[-1].headers["x-client"] == "mine"
        with pytest.raises(ConfigurationError, match=r"http_client must be a httpx2\.Client"):
            sent(server, {"http_client": object()})

    def test_an_asynchronous_client_for_one_call(self, server: ScriptedServer) -> None:
        async def ask() -> None:
            async with httpx2.AsyncClient(headers={"x-client": "mine"}) as client:
                model = ChatOpenRouter(model="acme/one", base_url=server.url)
                await model.ainvoke("hi", http_async_client=client)
                server.answer(sse_reply(event({"content": "a"}, "stop")))
                assert [chunk.text async for chunk in model.astream("hi", http_async_client=client)] == ["a", ""]

        asyncio.run(ask())
        assert [seen.headers["x-client"] for seen in server.seen] == ["mine", "mine"]

    def test_clients_of_another_kind(self, server: ScriptedServer) -> None:
        with pytest.raises(ConfigurationError, match=r"http_client must be a httpx2\.Client, not a"):
            sent(server, http_client=object())
        with httpx2.Client() as client, pytest.raises(ConfigurationError, match="http_async_client"):
            sent(server, http_async_client=client)

    def test_a_closed_client(self, server: ScriptedServer) -> None:
        client = httpx2.Client()
        client.close()
        with pytest.raises(ConfigurationError, match="closed"):
            sent(server, http_client=client)
        with pytest.raises(ConfigurationError, match="closed"):
            list(ChatOpenRouter(model="acme/one", base_url=server.url, http_client=client).stream("hi"))
