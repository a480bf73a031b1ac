"""The HTTP drivers against a real server: retries, faults, time, cancellation, pools."""

import asyncio
import gzip
import os
import pickle
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr
from scripted_server import Reply, ScriptedServer, completion, event, json_reply, sse_reply

from langchain_openrouter import (
    APIError,
    AuthenticationFailed,
    ChatOpenRouter,
    ConnectionFailed,
    OpenRouterError,
    ProtocolViolation,
    RateLimited,
    ServerFailed,
    StreamBroken,
    TimedOut,
    _http,
)
from langchain_openrouter._request import WireRequest
from langchain_openrouter._retry import RetryPolicy

KEY = "sk-or-v1-0123456789abcdef"
Ask = Callable[[ChatOpenRouter], str]


def model_for(server: ScriptedServer, **settings: Any) -> ChatOpenRouter:
    return ChatOpenRouter(model="acme/one", base_url=server.url, api_key=SecretStr(KEY), **settings)


def error_reply(status: int, message: str = "no", **options: Any) -> Reply:
    return json_reply({"error": {"code": status, "message": message}}, status, **options)


AT_ONCE = {"retry-after-ms": "1"}
"""A hint that keeps retries fast in tests."""

HELLO = (event({"role": "assistant", "content": ""}), event({"content": "Hel"}), event({"content": "lo"}))
STREAM = sse_reply(*HELLO, event({}, "stop"), {**event(), "choices": [], "usage": {"prompt_tokens": 3}})


def run_invoke(model: ChatOpenRouter) -> str:
    return model.invoke("hi").text


def run_ainvoke(model: ChatOpenRouter) -> str:
    async def ask() -> str:
        return (await model.ainvoke("hi")).text

    return asyncio.run(ask())


def run_stream(model: ChatOpenRouter) -> str:
    return "".join(chunk.text for chunk in model.stream("hi"))


def run_astream(model: ChatOpenRouter) -> str:
    async def ask() -> str:
        return "".join([chunk.text async for chunk in model.astream("hi")])

    return asyncio.run(ask())


WHOLE = [run_invoke, run_ainvoke]
STREAMED = [run_stream, run_astream]


def good(ask: Ask) -> Reply:
    return STREAM if ask in STREAMED else json_reply(completion())


@pytest.mark.parametrize("ask", [*WHOLE, *STREAMED])
class TestEveryWayToAsk:
    def test_answers(self, server: ScriptedServer, ask: Ask) -> None:
        server.answer(good(ask))
        assert ask(model_for(server)) == "Hello"
        (seen,) = server.seen
        assert seen.path == "/api/v1/chat/completions"
        assert seen.headers["authorization"] == f"Bearer {KEY}"
        assert seen.body == {
            "model": "acme/one",
            "messages": [{"role": "user", "content": "hi"}],
            **({"stream": True} if ask in STREAMED else {}),
        }

    @pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 520, 524, 529])
    def test_tries_again(self, server: ScriptedServer, ask: Ask, status: int) -> None:
        server.answer(error_reply(status, headers=AT_ONCE), good(ask))
        assert ask(model_for(server)) == "Hello"
        assert len(server.seen) == 2

    @pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 422, 501])
    def test_does_not_try_again(self, server: ScriptedServer, ask: Ask, status: int) -> None:
        server.answer(error_reply(status, headers=AT_ONCE), good(ask))
        with pytest.raises(APIError) as caught:
            ask(model_for(server))
        assert caught.value.status == status
        assert len(server.seen) == 1

    def test_max_retries_bounds_the_requests(self, server: ScriptedServer, ask: Ask) -> None:
        server.answer(error_reply(429, headers=AT_ONCE))
        with pytest.raises(RateLimited) as caught:
            ask(model_for(server, max_retries=3))
        assert len(server.seen) == 4
        assert caught.value.retry_after == 0.001

    def test_zero_retries(self, server: ScriptedServer, ask: Ask) -> None:
        server.answer(error_reply(503, headers=AT_ONCE), good(ask))
        with pytest.raises(ServerFailed):
            ask(model_for(server, max_retries=0))
        assert len(server.seen) == 1

    def test_a_dropped_connection_is_tried_again(self, server: ScriptedServer, ask: Ask) -> None:
        server.answer(Reply(drop=True), good(ask))
        assert ask(model_for(server)) == "Hello"
        assert len(server.seen) == 2

    def test_nobody_listens(self, ask: Ask) -> None:
        model = ChatOpenRouter(model="acme/one", base_url="http://127.0.0.1:9/v1", max_retries=0)
        with pytest.raises(ConnectionFailed):
            ask(model)

    def test_silence_is_bounded(self, server: ScriptedServer, ask: Ask) -> None:
        server.answer(Reply(wait_s=5))
        start = time.monotonic()
        with pytest.raises(TimedOut):
            ask(model_for(server, timeout=0.1, max_retries=0))
        assert time.monotonic() - start < 2
        server.wait_for(lambda s: s.disconnects == 1)

    def test_silence_is_bounded_by_the_second_of_four(self, server: ScriptedServer, ask: Ask) -> None:
        """Connect, read, write, pool."""
        server.answer(Reply(wait_s=5))
        start = time.monotonic()
        with pytest.raises(TimedOut):
            ask(model_for(server, timeout=(5, 0.1, 5, 5), max_retries=0))
        assert time.monotonic() - start < 2

    def test_in_band_error_of_a_200(self, server: ScriptedServer, ask: Ask) -> None:
        server.answer(json_reply({"error": {"code": 402, "message": f"pay up {KEY}"}}))
        with pytest.raises(APIError) as caught:
            ask(model_for(server))
        assert caught.value.status == 402
        assert KEY not in str(caught.value) + repr(caught.value) + repr(caught.value.__dict__)

    def test_a_web_page_is_no_answer(self, server: ScriptedServer, ask: Ask) -> None:
        server.answer(Reply(headers={"content-type": "text/html"}, pieces=(b"<html>Sign in</html>",)))
        with pytest.raises(ProtocolViolation) as caught:
            ask(model_for(server))
        assert caught.value.body == "<html>Sign in</html>"

    def test_a_redirect_is_no_answer(self, server: ScriptedServer, ask: Ask) -> None:
        server.answer(Reply(status=301, headers={"location": "https://example.org/"}))
        with pytest.raises(ProtocolViolation, match=r"301 https://example\.org/"):
            ask(model_for(server))

    def test_the_key_is_in_no_error(self, server: ScriptedServer, ask: Ask) -> None:
        server.answer(error_reply(401, f"invalid key\n{KEY}"))
        with pytest.raises(AuthenticationFailed) as caught:
            ask(model_for(server))
        error = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own bytes
        assert str(error) == "401: invalid key [key]"
        assert KEY not in repr(error) + repr(error.__dict__)

    def test_time_and_retries_of_one_call(self, server: ScriptedServer, ask: Ask) -> None:
        server.answer(Reply(wait_s=5))
        model = model_for(server).bind(timeout=0.05, max_retries=1)
        with pytest.raises(TimedOut):
            ask(model)  # pyright: ignore[reportArgumentType] - a binding answers like a model
        assert len(server.seen) == 2
        assert set(server.seen[0].body) <= {"model", "messages", "stream"}


def test_the_default_bounds_silence_and_not_the_answer() -> None:
    """Ten minutes between two bytes, ten seconds to connect."""
    call = WireRequest(url="http://localhost/v1", headers=[], body=b"")
    with httpx2.Client() as client:
        request = _http._to_request(client, call, own=True)  # pyright: ignore[reportPrivateUsage]
    assert request.extensions["timeout"] == {"connect": 10.0, "read": 600.0, "write": 600.0, "pool": 600.0}


@pytest.mark.parametrize(
    ("given", "connect", "read"),
    [(600, 10.0, 600), (3, 3, 3), ((1, 2, 3, 4), 1, 2), (httpx2.Timeout(60), 60, 60)],
    ids=repr,
)
def test_a_plain_number_leaves_connecting_its_own_limit(given: Any, connect: float, read: float) -> None:
    """A server that does not answer at all is not waited for as long as a slow answer."""
    call = WireRequest(url="http://localhost/v1", headers=[], body=b"", timeout=given)
    with httpx2.Client() as client:
        request = _http._to_request(client, call, own=True)  # pyright: ignore[reportPrivateUsage]
    assert {"connect": connect, "read": read} == {
        name: request.extensions["timeout"][name] for name in ("connect", "read")
    }


@pytest.mark.parametrize("ask", STREAMED)
class TestStreams:
    @pytest.mark.parametrize("cut", [True, False])
    def test_a_stream_without_finish_is_broken(self, server: ScriptedServer, ask: Ask, cut: bool) -> None:
        server.answer(sse_reply(*HELLO, done=False, cut=cut))
        with pytest.raises(StreamBroken) as caught:
            ask(model_for(server))
        assert caught.value.partial is not None
        assert caught.value.partial.text == "Hello"
        assert len(server.seen) == 1

    def test_the_end_marker_does_not_hide_a_cut(self, server: ScriptedServer, ask: Ask) -> None:
        server.answer(sse_reply(*HELLO))
        with pytest.raises(StreamBroken):
            ask(model_for(server))

    def test_what_happens_after_the_end_marker_is_no_loss(self, server: ScriptedServer, ask: Ask) -> None:
        server.answer(sse_reply(*HELLO, event({}, "stop"), cut=True))
        assert ask(model_for(server)) == "Hello"

    def test_a_stream_cut_inside_an_event(self, server: ScriptedServer, ask: Ask) -> None:
        server.answer(sse_reply(*HELLO, b'data: {"choices": [{"de', done=False, cut=True))
        with pytest.raises(StreamBroken) as caught:
            ask(model_for(server))
        assert caught.value.partial is not None
        assert caught.value.partial.text == "Hello"

    def test_a_stream_cut_before_its_first_token_is_tried_again(self, server: ScriptedServer, ask: Ask) -> None:
        first = sse_reply(b": OPENROUTER PROCESSING\n\n", HELLO[0], done=False, cut=True)
        server.answer(first, STREAM)
        assert ask(model_for(server)) == "Hello"
        assert len(server.seen) == 2

    def test_an_error_before_the_first_token_is_tried_again(self, server: ScriptedServer, ask: Ask) -> None:
        server.answer(sse_reply({"error": {"code": 502, "message": "down"}}), STREAM)
        assert ask(model_for(server)) == "Hello"
        assert len(server.seen) == 2

    @pytest.mark.parametrize("choices", [[], None, [event({"content": ""}, "error")["choices"][0]]])
    def test_an_error_after_the_first_token_is_final(self, server: ScriptedServer, ask: Ask, choices: object) -> None:
        error = {"code": 502, "message": f"gone {KEY}", "metadata": {"error_type": "provider_unavailable"}}
        server.answer(sse_reply(*HELLO, {**event(), "choices": choices, "error": error}), STREAM)
        with pytest.raises(ServerFailed) as caught:
            ask(model_for(server))
        assert caught.value.partial is not None
        assert caught.value.partial.text == "Hello"
        assert caught.value.generation_id == "gen-1"
        assert caught.value.provider == "Acme"
        assert caught.value.error_type == "provider_unavailable"
        assert KEY not in repr(caught.value.__dict__)
        assert len(server.seen) == 1

    def test_silence_within_a_stream(self, server: ScriptedServer, ask: Ask) -> None:
        server.answer(sse_reply(*HELLO, b": late\n\n", gap_s=0.15))
        with pytest.raises(StreamBroken) as caught:
            ask(model_for(server, timeout=httpx2.Timeout(5, read=0.1), max_retries=0))
        assert caught.value.partial is None

    def test_comments_keep_a_slow_answer_alive(self, server: ScriptedServer, ask: Ask) -> None:
        server.answer(sse_reply(*[b": OPENROUTER PROCESSING\n\n"] * 16, *HELLO, event({}, "stop"), gap_s=0.05))
        assert ask(model_for(server, timeout=0.7)) == "Hello"

    def test_a_compressed_stream(self, server: ScriptedServer, ask: Ask) -> None:
        """Some proxies compress what they were asked not to."""
        headers = {"content-type": "text/event-stream", "content-encoding": "gzip"}
        server.answer(Reply(headers=headers, pieces=(gzip.compress(b"".join(STREAM.pieces)),)))
        assert ask(model_for(server)) == "Hello"

    def test_a_server_that_does_not_stream(self, server: ScriptedServer, ask: Ask) -> None:
        server.answer(json_reply(completion()))
        assert ask(model_for(server)) == "Hello"


class TestAsItArrives:
    def test_text_is_handed_on_before_the_stream_goes_on(self, server: ScriptedServer) -> None:
        rest = [b": on and on\n\n"] * 100
        server.answer(sse_reply(HELLO[1], *rest, event({}, "stop"), gap_s=0.05))
        start = time.monotonic()
        assert next(model_for(server).stream("hi")).text == "Hel"
        assert time.monotonic() - start < 3  # the whole stream takes five seconds

    def test_leaving_a_stream_hangs_up(self, server: ScriptedServer) -> None:
        server.answer(sse_reply(*HELLO, *[b": on and on\n\n"] * 500, gap_s=0.02))
        stream = model_for(server).stream("hi")
        assert isinstance(stream, Iterator)
        assert next(stream).text == "Hel"
        del stream
        server.wait_for(lambda s: s.disconnects == 1)

    async def test_leaving_an_async_stream_hangs_up(self, server: ScriptedServer) -> None:
        server.answer(sse_reply(*HELLO, *[b": on and on\n\n"] * 500, gap_s=0.02))
        stream = model_for(server).astream("hi")
        assert isinstance(stream, AsyncIterator)
        assert (await anext(stream)).text == "Hel"
        del stream
        await asyncio.to_thread(server.wait_for, lambda s: s.disconnects == 1)

    def test_an_error_in_a_stream_hangs_up_at_once(self, server: ScriptedServer) -> None:
        """Also while the error, and with it every frame it passed, is kept."""
        server.answer(sse_reply(*HELLO, {"error": {"code": 500}}, *[b": on and on\n\n"] * 500, gap_s=0.02))
        with pytest.raises(ServerFailed) as caught:
            run_stream(model_for(server))
        server.wait_for(lambda s: s.disconnects == 1)
        assert caught.value.partial is not None

    async def test_an_error_in_an_async_stream_hangs_up_at_once(self, server: ScriptedServer) -> None:
        server.answer(sse_reply(*HELLO, {"error": {"code": 500}}, *[b": on and on\n\n"] * 500, gap_s=0.02))
        with pytest.raises(ServerFailed) as caught:
            async for _ in model_for(server).astream("hi"):
                pass
        await asyncio.to_thread(server.wait_for, lambda s: s.disconnects == 1)
        assert caught.value.partial is not None

    @pytest.mark.parametrize("phase", ["waiting", "streaming"])
    async def test_cancelling_hangs_up(self, server: ScriptedServer, phase: str) -> None:
        slow = sse_reply(*HELLO, *[b": on and on\n\n"] * 500, gap_s=0.02)
        server.answer(slow if phase == "streaming" else Reply(wait_s=10))
        model = model_for(server)

        async def read() -> None:
            async for _ in model.astream("hi"):
                pass

        ask: Coroutine[Any, Any, Any] = read() if phase == "streaming" else model.ainvoke("hi")
        task = asyncio.create_task(ask)
        await asyncio.to_thread(server.wait_for, lambda s: bool(s.seen))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(server.wait_for, lambda s: s.disconnects == 1)


class TestPools:
    def test_instances_share_a_connection(self, server: ScriptedServer) -> None:
        for _ in range(3):
            assert model_for(server).invoke("hi").text == "Hello"
        assert server.connections == 1

    def test_event_loops_may_come_and_go(self, server: ScriptedServer) -> None:
        model = model_for(server)
        for _ in range(3):
            assert run_ainvoke(model) == "Hello"
        assert server.connections == 3
        assert [key for key in _http._async_clients if key[0][0] == os.getpid()] == []  # pyright: ignore[reportPrivateUsage]

    def test_a_loop_that_was_closed_without_ceremony_is_forgotten(self, server: ScriptedServer) -> None:
        model = model_for(server)
        loop = asyncio.new_event_loop()
        assert loop.run_until_complete(model.ainvoke("hi")).text == "Hello"
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
        assert run_ainvoke(model) == "Hello"

    def test_the_certificates_are_loaded_once(self) -> None:
        """They cost 30 ms, which every event loop would pay."""
        contexts = {id(_http._ssl_context(plain=False)) for _ in range(3)}  # pyright: ignore[reportPrivateUsage]
        assert len(contexts) == 1

    def test_plain_http_needs_no_certificates_but_a_secure_proxy_does(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)
        assert _http.is_plain("http://a.test/v1")
        assert not _http.is_plain("https://a.test/v1")
        monkeypatch.setenv("all_proxy", "https://proxy.test:3128")
        assert not _http.is_plain("http://b.test/v1")
        trusted = _http._ssl_context(plain=True).get_ca_certs()  # pyright: ignore[reportPrivateUsage]
        assert trusted == []

    def test_threads(self, server: ScriptedServer) -> None:
        model = model_for(server)
        answers = model.batch(["hi"] * 8, config={"max_concurrency": 4})
        assert [answer.text for answer in answers] == ["Hello"] * 8

    async def test_tasks(self, server: ScriptedServer) -> None:
        answers = await model_for(server).abatch(["hi"] * 8)
        assert [answer.text for answer in answers] == ["Hello"] * 8

    def test_loops_in_threads(self, server: ScriptedServer) -> None:
        model, answers = model_for(server), list[str]()
        threads = [threading.Thread(target=lambda: answers.append(run_ainvoke(model))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == ["Hello"] * 4

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    @pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
    def test_a_forked_child_opens_its_own_connections(self, server: ScriptedServer) -> None:
        model = model_for(server)
        model.invoke("before")
        pid = os.fork()
        if pid == 0:
            try:
                os._exit(0 if model.invoke("child").text == "Hello" else 1)
            except BaseException:  # noqa: BLE001 - the child must not run the rest of the tests
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert model.invoke("after").text == "Hello"
        assert server.connections == 2

    def test_a_client_of_the_user(self, server: ScriptedServer) -> None:
        with httpx2.Client(headers={"x-mine": "1"}, timeout=3) as client:
            assert model_for(server, http_client=client).invoke("hi").text == "Hello"
        assert server.seen[0].headers["x-mine"] == "1"

    async def test_an_async_client_of_the_user(self, server: ScriptedServer) -> None:
        async with httpx2.AsyncClient(headers={"x-mine": "1"}) as client:
            model = model_for(server, http_async_client=client)
            assert (await model.ainvoke("hi")).text == "Hello"
        assert server.seen[0].headers["x-mine"] == "1"


def call_for(server: ScriptedServer) -> WireRequest:
    return WireRequest(url=f"{server.url}/chat/completions", headers=[], body=b"{}")


def test_the_driver_waits_as_the_policy_says(server: ScriptedServer) -> None:
    slept: list[float] = []
    server.answer(
        error_reply(429, headers={"retry-after": "7"}),
        error_reply(500),
        error_reply(500),
        json_reply(completion()),
    )
    around = _http.Surroundings(dice=lambda: 0.0, sleep=slept.append)
    _http.complete(call_for(server), RetryPolicy(max_retries=3), around=around)
    assert slept == [7.0, 0.5, 1.0]


async def test_the_async_driver_waits_alike(server: ScriptedServer) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    server.answer(error_reply(429, headers={"retry-after": "7"}), error_reply(500), json_reply(completion()))
    around = _http.Surroundings(dice=lambda: 0.0, asleep=sleep)
    await _http.acomplete(call_for(server), RetryPolicy(max_retries=2), around=around)
    assert slept == [7.0, 0.5]


def test_every_foreign_error_has_a_translation() -> None:
    """A release of the HTTP library that adds an error must not let it through."""
    names = [getattr(httpx2, name) for name in httpx2.__all__]
    errors = [cls for cls in names if isinstance(cls, type) and issubclass(cls, Exception)]
    assert len(errors) > 20
    for cls in errors:
        foreign = cls.__new__(cls)
        foreign.args = (f"text {KEY}",)
        ours = _http.translate(foreign, (KEY,))
        assert isinstance(ours, OpenRouterError), cls
        assert KEY not in str(ours)
