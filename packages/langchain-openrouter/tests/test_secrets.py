"""Secrets stay where they belong: out of errors, their causes and pickles, of request bodies and of traces."""

import pickle
import traceback
from collections.abc import Mapping
from typing import Any

import httpx2
import pytest
from langchain_core.tracers.base import BaseTracer
from langchain_core.tracers.schemas import Run
from pydantic import SecretStr
from scripted_server import Reply, ScriptedServer, completion, event, json_reply, sse_reply
from test_drivers import STREAMED, WHOLE, Ask, model_for

from langchain_openrouter import (
    ChatOpenRouter,
    ConfigurationError,
    ConnectionFailed,
    ContextTooLong,
    OpenRouterError,
    ProtocolViolation,
)
from langchain_openrouter._decoding import excerpt, redact_json, secrets_in

KEY = "sk-or-v1-0123456789abcdef"
BASIC = "dXNlcjpwYXNzd29yZA=="
HEADERS = {"Proxy-Authorization": f"Basic {BASIC}", "x-trace": "not-a-secret"}


def everything_in(error: BaseException) -> str:
    """Return what a log, a debugger or another process would see of an error and its causes."""
    text = "".join(traceback.format_exception(error))
    text += repr(pickle.loads(pickle.dumps(error)).__dict__)  # noqa: S301 - our own bytes
    link: BaseException | None = error
    while link is not None:
        text += repr(link.__dict__) + repr(link.args)
        request = getattr(link, "_request", None)
        if isinstance(request, httpx2.Request):
            text += str(request.headers.raw)
        link = link.__cause__ or link.__context__
    return text


def failure_of(server: ScriptedServer, ask: Ask, reply: Reply) -> OpenRouterError:
    server.answer(reply)
    with pytest.raises(OpenRouterError) as caught:
        ask(model_for(server, default_headers=HEADERS, max_retries=0))
    return caught.value


def page(text: str, kind: str = "text/html", status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(status=status, headers={"content-type": kind, **(headers or {})}, pieces=(text.encode(),))


ECHO = f"{KEY} {BASIC}"
ECHOES = {
    "a page": page(f"<html>{ECHO}"),
    "a page that is cut inside the key": page("x" * 490 + ECHO),
    "no object": page(f'["{ECHO}"]', "application/json"),
    "a garbled stream": page(f"data: {{ {ECHO}\n\n", "text/event-stream"),
    "a garbled event after text": sse_reply(event({"content": "a"}), f"data: {{ {ECHO}\n\n".encode(), gap_s=0.01),
    "a redirect": page("", status=302, headers={"location": f"https://x/?key={KEY}&b={BASIC}"}),
    "an error": json_reply({"error": {"code": 401, "message": ECHO}, ECHO: [ECHO]}, 401),
    "an error in plain text": page("x" * 1990 + ECHO, "text/plain", status=500),
    "an error inside a 200": json_reply({"error": {"code": 401, "message": ECHO, "metadata": {"raw": ECHO}}}),
}


@pytest.mark.parametrize("ask", [*WHOLE, *STREAMED])
@pytest.mark.parametrize("reply", ECHOES.values(), ids=ECHOES.keys())
def test_a_server_that_repeats_them(server: ScriptedServer, ask: Ask, reply: Reply) -> None:
    seen = everything_in(failure_of(server, ask, reply))
    assert [secret for secret in (KEY, BASIC, KEY[:12]) if secret in seen] == []


@pytest.mark.parametrize("ask", [*WHOLE, *STREAMED])
def test_the_request_of_a_failed_connection(ask: Ask) -> None:
    """It hangs on the error of the HTTP library, which is the cause of ours."""
    model = ChatOpenRouter(
        model="acme/one",
        base_url="http://127.0.0.1:9/v1",
        api_key=SecretStr(KEY),
        default_headers=HEADERS,
        max_retries=0,
    )
    with pytest.raises(ConnectionFailed) as caught:
        ask(model)
    seen = everything_in(caught.value)
    assert "not-a-secret" in seen
    assert [secret for secret in (KEY, BASIC) if secret in seen] == []


class TestRedaction:
    """What counts as a secret, and what a replacement may not break."""

    def test_a_short_key_does_not_spoil_the_error(self, server: ScriptedServer) -> None:
        """A key of one letter is in every message."""
        error = {"code": 400, "message": "too long", "metadata": {"error_type": "context_length_exceeded"}}
        server.answer(json_reply({"error": error}, 400))
        with pytest.raises(ContextTooLong, match="too long"):
            ChatOpenRouter(model="a/b", base_url=server.url, api_key=SecretStr("o")).invoke("hi")

    def test_keys_and_values_at_any_depth(self) -> None:
        given = {KEY: [{"a": f"<{KEY}>", "n": 1}]}
        assert redact_json(given, (KEY,)) == {"[key]": [{"a": "<[key]>", "n": 1}]}

    def test_a_value_too_deep_to_search_is_left_out(self) -> None:
        deep: list[Any] = []
        for _ in range(5000):
            deep = [deep]
        assert redact_json(deep, (KEY,)) == "[nested too deeply]"

    def test_which_headers_are_secret(self) -> None:
        headers = [
            (b"authorization", f"Bearer {KEY}".encode()),
            (b"x-api-key", b"a/b+c/d+e"),
            (b"accept", b"text/html"),
        ]
        assert secrets_in(headers) == (f"Bearer%20{KEY}", f"Bearer {KEY}", KEY, "a%2Fb%2Bc%2Fd%2Be", "a/b+c/d+e")

    def test_the_limit_of_an_excerpt_comes_last(self) -> None:
        assert excerpt(b"abc" + KEY.encode(), (KEY,), limit=6) == "abc[ke"


class Tracer(BaseTracer):
    """Keeps what LangSmith would be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[Run] = []

    def _persist_run(self, run: Run) -> None:
        self.runs.append(run)


@pytest.mark.parametrize("ask", [*WHOLE, *STREAMED])
def test_traces_hold_neither_headers_nor_misplaced_keys(server: ScriptedServer, ask: Ask) -> None:
    server.answer(
        sse_reply(event({"content": "a"}), event({}, "stop")) if ask in STREAMED else json_reply(completion())
    )
    tracer = Tracer()
    model: Any = model_for(server, default_headers=HEADERS, callbacks=[tracer])
    ask(model.bind(extra_headers={"x-call": "call-secret"}, default_headers={"x-other": "call-secret"}, seed=7))
    with pytest.raises(ConfigurationError):
        ask(model.bind(api_key=KEY, openrouter_api_key=KEY))
    seen = repr([vars(run) for run in tracer.runs])
    assert "'seed': 7" in seen
    assert [secret for secret in (KEY, BASIC, "call-secret") if secret in seen] == []
    assert server.seen[0].headers["x-call"] == "call-secret"


def test_a_call_cannot_carry_arguments_of_the_constructor(server: ScriptedServer) -> None:
    """They would end up in the body; the error names the field, not its value."""
    misplaced: dict[str, Any] = {
        "api_key": KEY,
        "openrouter_api_key": SecretStr(KEY),
        "base_url": "http://x",
        "model_kwargs": {"z": 1},
        "streaming": False,
        "rate_limiter": None,
    }
    for name, value in misplaced.items():
        with pytest.raises(ConfigurationError, match=f"^{name}: ") as caught:
            model_for(server).invoke("hi", **{name: value})
        assert KEY not in str(caught.value)
    assert server.seen == []


def test_a_page_without_secrets_stays_readable(server: ScriptedServer) -> None:
    server.answer(page("<html>Sign in</html>"))
    with pytest.raises(ProtocolViolation) as caught:
        model_for(server).invoke("hi")
    assert caught.value.body == "<html>Sign in</html>"
