"""The class itself: construction, environment, copies, secrets, LangChain's hooks, the public surface."""

import copy
import importlib.metadata
import pickle
import warnings
from typing import Any

import httpx2
import pytest
from langchain.chat_models import init_chat_model
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import ModelProfile
from langchain_core.load import dumps, loads
from langchain_core.messages import AIMessageChunk, HumanMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from pydantic import SecretStr, ValidationError
from scripted_server import ScriptedServer, completion, event, json_reply, sse_reply

import langchain_openrouter
from langchain_openrouter import ChatOpenRouter, ConfigurationError, OpenRouterError
from langchain_openrouter.profiles import profile_of

KEY = "sk-or-v1-0123456789abcdef"
HEADER = "header-secret"


def repickle(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - our own bytes


class TestProfile:
    """What LangChain's agents read of a model before they use it."""

    def test_a_known_model_has_one_and_an_unknown_one_has_none(self) -> None:
        assert ChatOpenRouter(model="openai/gpt-4o-mini", api_key=KEY).profile == profile_of("openai/gpt-4o-mini")
        assert ChatOpenRouter(model="acme/unheard-of", api_key=KEY).profile is None

    def test_the_users_own_wins(self) -> None:
        own = ModelProfile(max_input_tokens=5)
        assert ChatOpenRouter(model="openai/gpt-4o-mini", api_key=KEY, profile=own).profile == own

    def test_a_model_with_one_is_copied_and_bound_like_any_other(self) -> None:
        model = ChatOpenRouter(model="openai/gpt-4o-mini", api_key=KEY)
        for other in (repickle(model), copy.deepcopy(model), model.model_copy()):
            assert model.profile == other.profile


class TestConstruction:
    """Arguments, their aliases, and the environment."""

    def test_aliases(self) -> None:
        """Both spellings of the other distribution of this name work, and give the same attributes."""
        short: Any = {"model": "a/b", "api_key": KEY, "base_url": "https://x/v1", "timeout": 5, "stop_sequences": ["x"]}
        long: Any = {
            "model_name": "a/b",
            "openrouter_api_key": KEY,
            "openrouter_api_base": "https://x/v1",
            "request_timeout": 5,
            "stop": ["x"],
        }
        for arguments in (short, long):
            model = ChatOpenRouter(**arguments)
            assert (model.model_name, model.model, model.openrouter_api_base) == ("a/b", "a/b", "https://x/v1")
            assert model.openrouter_api_key == SecretStr(KEY)
            assert (model.request_timeout, model.stop, model.max_retries) == (5, ["x"], 2)

    def test_environment(self, monkeypatch: pytest.MonkeyPatch, server: ScriptedServer) -> None:
        """Every variable is read when the model is made."""
        for name, value in {
            "API_KEY": f" {KEY}\n",
            "API_BASE": server.url,
            "APP_URL": "https://my.app",
            "APP_TITLE": "My App",
            "APP_CATEGORIES": "cli-agent, game",
            "SESSION_ID": "s1",
        }.items():
            monkeypatch.setenv(f"OPENROUTER_{name}", value)
        ChatOpenRouter(model="a/b").invoke("hi")
        (seen,) = server.seen
        assert seen.headers["authorization"] == f"Bearer {KEY}"
        assert seen.headers["http-referer"] == "https://my.app"
        assert seen.headers["x-title"] == "My App"
        assert seen.headers["x-openrouter-categories"] == "cli-agent,game"
        assert seen.body["session_id"] == "s1"

    def test_arguments_win_over_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also an explicit None."""
        monkeypatch.setenv("OPENROUTER_SESSION_ID", "s1")
        monkeypatch.setenv("OPENROUTER_API_KEY", KEY)
        assert ChatOpenRouter(model="a/b", session_id="s2").session_id == "s2"
        assert ChatOpenRouter(model="a/b", session_id=None).session_id is None

    def test_an_empty_session_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A variable that is set to nothing means nothing."""
        monkeypatch.setenv("OPENROUTER_SESSION_ID", "")
        assert ChatOpenRouter(model="a/b", api_key=SecretStr(KEY)).session_id is None

    @pytest.mark.parametrize("key", [None, "", "  "])
    def test_a_missing_key_names_the_remedy(self, key: str | None) -> None:
        """As an error of ours that is a ValueError too."""
        with pytest.raises(ConfigurationError, match=r"OPENROUTER_API_KEY.*api_key="):
            ChatOpenRouter(model="a/b", api_key=None if key is None else SecretStr(key))
        assert issubclass(ConfigurationError, ValueError)

    def test_a_server_on_this_machine_needs_no_key(self) -> None:
        """But one elsewhere does."""
        ChatOpenRouter(model="a/b", base_url="http://127.0.0.1:8787/api/v1")
        with pytest.raises(ConfigurationError):
            ChatOpenRouter(model="a/b", base_url="http://192.168.0.1/v1")

    def test_a_key_may_be_a_plain_string(self) -> None:
        """For type checkers too; it is kept as a secret all the same."""
        model = ChatOpenRouter(model="a/b", api_key=KEY)
        assert model.openrouter_api_key == SecretStr(KEY)
        for twin in (model, repickle(model), copy.deepcopy(model), model.model_copy()):
            assert KEY not in repr(twin) + str(twin.model_dump()) + twin.model_dump_json() + dumps(twin)

    def test_wrong_types_do_not_show_the_key(self) -> None:
        """Pydantic's report would otherwise repeat its input."""
        arguments: Any = {"model": "a/b", "api_key": KEY, "max_tokens": [KEY]}
        with pytest.raises(ValidationError) as caught:
            ChatOpenRouter(**arguments)
        assert KEY not in str(caught.value)

    def test_a_session_id_has_its_limit(self) -> None:
        """256 characters (API digest 1.1)."""
        ChatOpenRouter(model="a/b", api_key=SecretStr(KEY), session_id="x" * 256)
        with pytest.raises(ValidationError):
            ChatOpenRouter(model="a/b", api_key=SecretStr(KEY), session_id="x" * 257)

    @pytest.mark.parametrize("timeout", [0.5, 600, 3600, None, (1, 2, 3, 4), httpx2.Timeout(99999)])
    def test_timeouts_in_seconds(self, timeout: Any) -> None:
        """Plausible ones pass without a word."""
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            ChatOpenRouter(model="a/b", api_key=SecretStr(KEY), timeout=timeout)

    @pytest.mark.parametrize("timeout", [30_000, 60_000.0])
    def test_timeouts_that_can_only_be_milliseconds(self, timeout: float) -> None:
        """Are warned about: the other distribution of this name counts so."""
        with pytest.warns(UserWarning, match=f"did you mean {timeout / 1000:g}"):
            ChatOpenRouter(model="a/b", api_key=SecretStr(KEY), timeout=timeout)

    def test_each_of_four_timeouts_is_looked_at(self) -> None:
        with pytest.warns(UserWarning, match="did you mean 60"):
            ChatOpenRouter(model="a/b", api_key=SecretStr(KEY), timeout=(5_000, 60_000, None, 5_000))


class TestCopies:
    """Pickles, deep copies and LangChain's own serialization."""

    @pytest.mark.parametrize("duplicate", [repickle, copy.copy, copy.deepcopy])
    def test_copies_work(self, server: ScriptedServer, duplicate: Any) -> None:
        """Also after the model has been used, and with clients of the user's."""
        with httpx2.Client() as client:
            model = ChatOpenRouter(
                model="a/b", base_url=server.url, api_key=SecretStr(KEY), http_client=client, temperature=0.5
            )
            model.invoke("hi")
            twin = duplicate(model)
            assert twin.temperature == 0.5
            assert twin.openrouter_api_key == SecretStr(KEY)
            assert twin.invoke("hi").text == "Hello"

    @pytest.mark.filterwarnings("ignore:The function `loads` is in beta")
    def test_dumps_and_loads(self, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without secrets in between, and with what JSON has no form for."""
        model = ChatOpenRouter(
            model="a/b",
            base_url=server.url,
            api_key=SecretStr(KEY),
            timeout=httpx2.Timeout(5, connect=1),
            reasoning={"effort": "high"},
            default_headers={"x-secret": HEADER},
        )
        text = dumps(model)
        assert KEY not in text
        assert HEADER not in text
        monkeypatch.setenv("OPENROUTER_API_KEY", KEY)
        twin = loads(
            text,
            secrets_map={"OPENROUTER_API_KEY": KEY},
            valid_namespaces=["langchain_openrouter"],
            allowed_objects="all",
        )
        assert isinstance(twin, ChatOpenRouter)
        assert twin.reasoning == {"effort": "high"}
        assert twin.request_timeout == [1, 5, 5, 5]
        assert twin.invoke("hi").text == "Hello"
        assert server.seen[-1].headers["authorization"] == f"Bearer {KEY}"

    def test_no_secret_in_repr(self) -> None:
        """Neither the key nor the values of headers."""
        model = ChatOpenRouter(model="a/b", api_key=SecretStr(KEY), default_headers={"x-secret": HEADER})
        assert KEY not in repr(model) + str(model) + str(model.model_dump())
        model.openrouter_api_key = KEY  # what is assigned is not validated
        assert KEY not in repr(model) + str(model.model_dump())
        assert HEADER not in repr(model) + str(model) + str(model.model_dump())


class Recorder(BaseCallbackHandler):
    """Remembers what LangChain's callbacks were told."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.results: list[LLMResult] = []
        self.errors: list[BaseException] = []
        self.metadata: dict[str, Any] = {}

    def on_chat_model_start(self, *_: Any, metadata: dict[str, Any] | None = None, **__: Any) -> None:
        """Keep the tracing parameters."""
        self.metadata = metadata or {}

    def on_llm_new_token(self, token: Any, **_: Any) -> None:
        """Keep the token."""
        self.tokens.append(token)

    def on_llm_end(self, response: LLMResult, **_: Any) -> None:
        """Keep the result."""
        self.results.append(response)

    def on_llm_error(self, error: BaseException, **_: Any) -> None:
        """Keep the error."""
        self.errors.append(error)


STREAM = sse_reply(event({"content": "Hel"}), event({"content": "lo"}), event({}, "stop"))


class TestHooks:
    """What LangChain and LangSmith ask of a chat model."""

    def test_callbacks_see_every_token_once(self, server: ScriptedServer) -> None:
        """While streaming, and when `streaming=True` makes `invoke` stream."""
        server.answer(STREAM)
        for run in ("stream", "invoke"):
            recorder = Recorder()
            model = ChatOpenRouter(model="a/b", base_url=server.url, streaming=True)
            if run == "stream":
                list(model.stream("hi", config={"callbacks": [recorder]}))
            else:
                assert model.invoke("hi", config={"callbacks": [recorder]}).text == "Hello"
            assert recorder.tokens == ["Hel", "lo", ""]
            (result,) = recorder.results
            assert result.generations[0][0].text == "Hello"
            assert (result.generations[0][0].generation_info or {})["finish_reason"] == "stop"

    def test_callbacks_see_errors(self, server: ScriptedServer) -> None:
        """As the typed errors they are."""
        server.answer(json_reply({"error": {"code": 404, "message": "m"}}, 404))
        recorder = Recorder()
        with pytest.raises(OpenRouterError):
            ChatOpenRouter(model="a/b", base_url=server.url).invoke("hi", config={"callbacks": [recorder]})
        assert type(recorder.errors[0]).__name__ == "NotFound"

    def test_tracing_parameters(self, server: ScriptedServer) -> None:
        """Provider, model, temperature, limit and stop words, those of the call first."""
        recorder = Recorder()
        model = ChatOpenRouter(
            model="a/b", base_url=server.url, temperature=0.5, max_completion_tokens=9, stop_sequences="S"
        )
        model.invoke("hi", config={"callbacks": [recorder]}, model="c/d")
        expected = {
            "ls_provider": "openrouter",
            "ls_model_type": "chat",
            "ls_model_name": "c/d",
            "ls_temperature": 0.5,
            "ls_max_tokens": 9,
            "ls_stop": ["S"],
        }
        assert {key: recorder.metadata.get(key) for key in expected} == expected

    async def test_the_event_streams(self, server: ScriptedServer) -> None:
        """The old event stream carries chunks, the new one typed events; both end in the same text."""
        server.answer(STREAM)
        model = ChatOpenRouter(model="a/b", base_url=server.url)
        events: list[Any] = [event async for event in model.astream_events("hi")]
        chunks = [e["data"]["chunk"].text for e in events if e["event"] == "on_chat_model_stream"]
        assert "".join(chunks) == "Hello"

    def test_the_typed_event_stream(self, server: ScriptedServer) -> None:
        """LangChain's newer streaming interface: blocks open, grow and finish; the result is the whole message."""
        call = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": '{"a":'}}
        server.answer(
            sse_reply(
                event({"reasoning": "Hm."}),
                event({"content": "Hello"}),
                event({"tool_calls": [call]}),
                event({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}),
                event({}, "tool_calls", usage={"prompt_tokens": 1, "completion_tokens": 2}),
            )
        )
        stream: Any = ChatOpenRouter(model="a/b", base_url=server.url).stream_events("hi", version="v3")
        finished = [e["content"] for e in stream if e["event"] == "content-block-finish"]
        assert [block["type"] for block in finished] == ["reasoning", "text", "tool_call"]
        assert stream.output.tool_calls == [{"name": "f", "args": {"a": 1}, "id": "c1", "type": "tool_call"}]
        assert stream.output.usage_metadata == {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}

    def test_output_version_v1(self, server: ScriptedServer) -> None:
        """Content is standard blocks, whole and streamed alike, and can be sent back."""
        call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        body = completion("Hello", reasoning="Hm.", tool_calls=[call])
        server.answer(json_reply(body))
        model = ChatOpenRouter(model="a/b", base_url=server.url, output_version="v1")
        whole = model.invoke("hi")
        kinds = [block["type"] for block in whole.content if isinstance(block, dict)]
        assert kinds == ["reasoning", "text", "tool_call"]
        model.invoke(["hi", whole])
        assert server.seen[-1].body["messages"][1] == {
            "role": "assistant",
            "content": [{"type": "text", "text": "Hello"}],
            "tool_calls": [call],
            "reasoning": "Hm.",
        }
        wire_call = {**call, "index": 0}
        server.answer(
            sse_reply(
                event({"reasoning": "H"}),
                event({"reasoning": "m."}),
                event({"content": "Hel"}),
                event({"content": "lo"}),
                event({"tool_calls": [wire_call]}),
                event({}, "tool_calls"),
            )
        )
        full: AIMessageChunk | None = None
        for chunk in model.stream("hi"):
            full = chunk if full is None else full + chunk
        assert full is not None
        blocks = [(b["type"], b.get("text") or b.get("reasoning") or b.get("name")) for b in full.content_blocks]
        assert blocks == [("reasoning", "Hm."), ("text", "Hello"), ("tool_call", "f")]

    def test_init_chat_model(self, monkeypatch: pytest.MonkeyPatch, server: ScriptedServer) -> None:
        """As LangChain documents it."""
        monkeypatch.setenv("OPENROUTER_API_BASE", server.url)
        model = init_chat_model("openrouter:anthropic/claude-sonnet-4.5", temperature=0)
        assert isinstance(model, ChatOpenRouter)
        assert model.invoke("hi").text == "Hello"
        assert server.seen[0].body["model"] == "anthropic/claude-sonnet-4.5"

    def test_several_answers(self, server: ScriptedServer) -> None:
        """`n` choices are `n` generations."""
        body = completion()
        body["choices"] = [body["choices"][0], {**body["choices"][0], "message": {"content": "Other"}}]
        server.answer(json_reply(body))
        result = ChatOpenRouter(model="a/b", base_url=server.url, n=2).generate([[HumanMessage("hi")]])
        assert [generation.text for generation in result.generations[0]] == ["Hello", "Other"]
        first, second = (g.message for g in result.generations[0] if isinstance(g, ChatGeneration))
        assert first.id != second.id
        assert first.response_metadata["id"] == second.response_metadata["id"] == "gen-1"

    def test_chunks_of_one_stream_share_an_id(self, server: ScriptedServer) -> None:
        """LangChain's own: those of servers may repeat, and agents replace messages by id."""
        server.answer(sse_reply(event({"content": "a"}), event({"content": "b"}, "stop")))
        model = ChatOpenRouter(model="a/b", base_url=server.url)
        streams = [{chunk.id for chunk in model.stream("hi")} for _ in range(2)]
        assert [len(ids) for ids in streams] == [1, 1]
        assert streams[0] != streams[1]

    def test_citations_find_their_text_behind_tool_calls(self, server: ScriptedServer) -> None:
        """In standard blocks, streamed and whole alike."""
        cited = [{"type": "url_citation", "url_citation": {"url": "u"}}]
        call = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{}"}}
        server.answer(
            sse_reply(event({"content": "a"}), event({"tool_calls": [call], "annotations": cited}), event({}, "stop")),
            json_reply(completion("a", tool_calls=[call], annotations=cited)),
        )
        model = ChatOpenRouter(model="a/b", base_url=server.url, output_version="v1")
        first, *others = list(model.stream("hi"))
        for message in (first + others, model.invoke("hi")):
            kinds = [(block["type"], block.get("text"), "annotations" in block) for block in message.content_blocks]
            assert kinds == [("text", "a", True), ("tool_call", None, False)]

    def test_citations_without_text_make_no_empty_text(self, server: ScriptedServer) -> None:
        server.answer(json_reply(completion(None, annotations=[{"type": "file"}])))
        message = ChatOpenRouter(model="a/b", base_url=server.url).invoke("hi")
        assert message.content_blocks == []

    @pytest.mark.parametrize("output_version", ["v0", "v1"])
    def test_a_refusal_shows_in_standard_blocks(self, server: ScriptedServer, output_version: str) -> None:
        """And goes back as the API wrote it, once."""
        server.answer(
            sse_reply(event({"refusal": "I "}), event({"refusal": "can't"}), event({}, "stop")),
            json_reply(completion(None, refusal="I can't")),
        )
        model = ChatOpenRouter(model="a/b", base_url=server.url, output_version=output_version)
        first, *others = list(model.stream("hi"))
        for message in (first + others, model.invoke("hi")):
            values = [(block["type"], block.get("value")) for block in message.content_blocks]
            assert values == [("non_standard", {"type": "refusal", "refusal": "I can't"})]
            model.invoke(["hi", message])
            assert server.seen[-1].body["messages"][1] == {"role": "assistant", "content": "", "refusal": "I can't"}


def test_version() -> None:
    assert langchain_openrouter.__version__ == importlib.metadata.version("langchain-openrouter")
