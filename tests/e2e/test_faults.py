"""What callers see when providers misbehave, and what providers see when callers leave."""

import json
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import httpx2
import pytest

from fakes.gateway import (
    COMMAND,
    Gateway,
    chat_body,
    chunks_of,
    clean_environment,
    provider_config,
    running_gateway,
    text_of,
)
from fakes.provider import TEXT, USAGE, FakeProvider


@pytest.mark.covers("protocols.openai", "text", "cost", "usage of every bucket")
def test_a_json_answer_has_openrouters_shape(gateway: Gateway, provider: FakeProvider) -> None:
    """Id, provider, native finish reason, usage with exact cost; unknown fields of the provider are kept."""
    response = gateway.post("fake/answer", temperature=0.5, vendor_option=[1, 2])
    body = response.json()
    assert response.status_code == 200
    assert response.headers["x-generation-id"] == body["id"]
    assert (body["model"], body["provider"], body["object"]) == ("fake/answer", "First", "chat.completion")
    choice = body["choices"][0]
    assert choice["message"]["content"] == TEXT
    assert (choice["finish_reason"], choice["native_finish_reason"]) == ("stop", "stop")
    assert choice["vendor_field"] == {"kept": True}
    assert "tool_calls" not in choice["message"]
    assert USAGE.items() <= body["usage"].items()
    assert pytest.approx(body["usage"]["cost"], abs=1e-12) == 11 * 0.000003 + 7 * 0.000015
    sent = provider.requests[-1]
    assert (sent["model"], sent["temperature"], sent["vendor_option"]) == ("answer", 0.5, [1, 2])
    assert provider.headers[-1]["authorization"] == "Bearer sk-first"


@pytest.mark.covers("protocols.openai", "streaming")
def test_a_stream_has_one_usage_chunk_and_the_end_mark(gateway: Gateway) -> None:
    """Every chunk carries id, model and provider; usage comes once, alone, last."""
    chunks, _ = gateway.stream("fake/answer")
    assert text_of(chunks) == TEXT
    assert {("fake/answer", "First", chunks[0]["id"])} == {(c["model"], c["provider"], c["id"]) for c in chunks}
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert [chunks[-1]] == [chunk for chunk in chunks if "usage" in chunk]
    assert chunks[-1]["choices"] == []
    (record,) = gateway.generations(1)
    assert (chunks[0]["id"], "finished", 11, 7) == (
        record["id"],
        record["ending"],
        record["usage"]["prompt_tokens"],
        record["usage"]["completion_tokens"],
    )


def test_silence_is_filled_with_comments(gateway: Gateway) -> None:
    """A stream whose provider thinks for long is opened with comments, then answered as ever."""
    chunks, raw = gateway.stream("fake/slow-first-1.5")
    assert raw.startswith(": OPENROUTER PROCESSING\n\n")
    assert text_of(chunks) == TEXT


@pytest.mark.parametrize(
    ("model", "status", "error_type"),
    [
        ("fake/status-400", 400, "invalid_request"),
        ("fake/status-401", 502, "provider_unavailable"),
        ("fake/status-500", 502, "provider_unavailable"),
        ("fake/throttled", 429, "rate_limit_exceeded"),
        ("fake/garbage", 502, "provider_unavailable"),
        ("fake/cut-at-once", 502, "provider_unavailable"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.covers("protocols.openai", "errors with status")
def test_a_failure_before_output_is_a_status(
    gateway: Gateway, model: str, status: int, error_type: str, *, stream: bool
) -> None:
    """With one endpoint its own error is told, in OpenRouter's shape, also to a caller who wanted a stream."""
    response = gateway.post(model, stream=stream)
    error = response.json()["error"]
    assert (status, status, error_type) == (response.status_code, error["code"], error["metadata"]["error_type"])
    assert error["metadata"]["provider_name"] == "First"
    (record,) = gateway.generations(1)
    assert ("failed", status) == (record["ending"], record["status"])


@pytest.mark.covers("protocols.openai", "errors with status")
def test_a_providers_retry_hint_reaches_the_caller(gateway: Gateway) -> None:
    """`Retry-After` travels on."""
    assert gateway.post("fake/throttled").headers["retry-after"] == "7"


@pytest.mark.parametrize(
    ("model", "text"), [("fake/cut", "Hello, "), ("fake/error-chunk", "Hello, "), ("fake/bad-framing", "Hello")]
)
@pytest.mark.covers("protocols.openai", "errors within streams")
def test_a_stream_that_breaks_says_so(gateway: Gateway, model: str, text: str) -> None:
    """After output the error is an event with an integer code; the text so far has arrived; it is not a success."""
    chunks, _ = gateway.stream(model, timeout_s=10)
    assert text == text_of(chunks)
    assert (chunks[-1]["choices"][0]["finish_reason"], chunks[-1]["error"]["code"]) == ("error", 502)
    (record,) = gateway.generations(1)
    assert (record["ending"], record["finish_reason"]) == ("failed", "error")
    assert record["usage"]["estimated"]
    assert record["usage"]["completion_tokens"] > 0


def test_missing_token_counts_are_estimated(gateway: Gateway) -> None:
    """A provider that counts nothing still gives a usage chunk, marked as an estimate in the record."""
    chunks, _ = gateway.stream("fake/no-usage")
    assert chunks[-1]["usage"]["completion_tokens"] > 0
    assert gateway.generations(1)[0]["usage"]["estimated"]


_FAULTS = [
    *((fault, stream) for fault in ("status:500", "throttled", "garbage", "cut-at-once") for stream in (False, True)),
    ("error-first", True),
    ("role-then-cut", True),
    ("streamed-cut", False),
]


@pytest.mark.parametrize(("fault", "stream"), _FAULTS)
def test_failures_before_output_move_on_to_the_next_endpoint(
    tmp_path: Path, provider: FakeProvider, second_provider: FakeProvider, fault: str, *, stream: bool
) -> None:
    """The caller gets the second provider's answer, and the record tells of both attempts."""
    first = provider_config({"first": provider.base_url}, {"fake/model": fault})
    second = provider_config({"second": second_provider.base_url}, {"fake/model": "answer"})
    with running_gateway(tmp_path, first + second.partition("enabled = false\n")[2]) as gateway:
        response = gateway.post("fake/model", stream=stream, provider={"order": ["first", "second"]})
        body = chunks_of(response.text)[0] if stream else response.json()
        assert (response.status_code, body["provider"]) == (200, "Second")
        (record,) = gateway.generations(1)
        assert [attempt["provider"] for attempt in record["attempts"]] == ["first", "second"]
        assert record["attempts"][1]["outcome"] == "served"


@pytest.mark.parametrize(
    ("fault", "outcome", "message"),
    [
        ("cut", "Cut", "broke within the answer"),
        ("error-chunk", "Unavailable", "It broke in the middle."),
        ("bad-framing", "Garbled", ""),
    ],
)
def test_failures_after_output_do_not_move_on(
    tmp_path: Path, provider: FakeProvider, second_provider: FakeProvider, fault: str, outcome: str, message: str
) -> None:
    """Half an answer of one model and half of another are no answer: the caller is told, and so is the record."""
    first = provider_config({"first": provider.base_url}, {"fake/model": fault})
    second = provider_config({"second": second_provider.base_url}, {"fake/model": "answer"})
    with running_gateway(tmp_path, first + second.partition("enabled = false\n")[2]) as gateway:
        chunks, _ = gateway.stream("fake/model", provider={"order": ["first", "second"]}, models=["fake/model"])
        assert {"First"} == {chunk["provider"] for chunk in chunks}
        assert chunks[-1]["error"]["code"] == 502
        assert message in chunks[-1]["error"]["message"]
        (record,) = gateway.generations(1)
    assert not second_provider.requests
    assert [("first", outcome)] == [(attempt["tag"], attempt["outcome"]) for attempt in record["attempts"]]
    assert ("failed", 502, "provider_unavailable", "error", "First") == (
        record["ending"],
        record["status"],
        record["error_type"],
        record["finish_reason"],
        record["provider_name"],
    )


def test_a_request_that_is_wrong_is_not_sent_elsewhere(
    tmp_path: Path, provider: FakeProvider, second_provider: FakeProvider
) -> None:
    """A 400 is the caller's own."""
    urls = {"first": provider.base_url, "second": second_provider.base_url}
    with running_gateway(tmp_path, provider_config(urls, {"fake/model": "status:400"})) as gateway:
        assert gateway.post("fake/model").status_code == 400
        assert len(provider.requests) + len(second_provider.requests) == 1


@pytest.mark.parametrize("behaviour", ["endless", "hang"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_caller_who_hangs_up_ends_the_providers_work(
    gateway: Gateway, provider: FakeProvider, behaviour: str, *, stream: bool
) -> None:
    """Streaming or not: the upstream connection closes at once and the generation is recorded as cancelled."""
    if behaviour == "endless" and not stream:
        behaviour = "slow-first-1.5"
    model = f"fake/{behaviour}"
    with socket.create_connection(("127.0.0.1", int(gateway.root.rpartition(":")[2])), timeout=10) as caller:
        caller.sendall(_raw_request(gateway, model, stream=stream))
        assert provider.arrived.acquire(timeout=10)
        if behaviour == "endless":
            assert caller.recv(100).startswith(b"HTTP/1.1 200")
    assert provider.hung_up.acquire(timeout=1), "the provider was left to run on"
    (record,) = gateway.generations(1)
    assert (record["ending"], record["status"], record["error_type"]) == ("cancelled", 499, None)
    assert [("first", "cancelled", None)] == [(a["tag"], a["outcome"], a["status"]) for a in record["attempts"]]
    given = behaviour == "endless"
    assert given == (record["usage"]["completion_tokens"] > 0) == (float(record["cost"]["completion"]) > 0)
    shown = httpx2.get(f"{gateway.base_url}/generation", params={"id": record["id"]}).json()["data"]
    assert (shown["cancelled"], len(shown["provider_responses"])) == (True, 1)
    endpoints = httpx2.get(f"{gateway.base_url}/models/{model}/endpoints").json()["data"]["endpoints"]
    assert endpoints[0]["uptime_last_5m"] is None, "that the caller left says nothing of the endpoint"


def test_sigterm_lets_running_answers_end(gateway: Gateway) -> None:
    """No new connection is taken, the stream that runs is completed, the process exits cleanly, nothing is lost."""
    answers: list[str] = []
    caller = threading.Thread(target=lambda: answers.append(gateway.stream("fake/paced-10")[1]))
    caller.start()
    time.sleep(0.4)
    gateway.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"{gateway.root}/healthz", timeout=2)
    caller.join(20)
    assert gateway.process.wait(20) == 0
    assert "9 " in text_of(chunks_of(answers[0]))
    assert [record["ending"] for record in gateway.generations(1)] == ["finished"]


def test_an_answer_that_outlasts_the_drain_time_is_told_so(gateway: Gateway) -> None:
    """The gateway does not wait for ever: the stream ends with an error event, and the record is written."""
    answers: list[str] = []
    caller = threading.Thread(target=lambda: answers.append(gateway.stream("fake/endless")[1]))
    caller.start()
    time.sleep(0.4)
    began = time.monotonic()
    assert gateway.stop() == 0
    assert time.monotonic() - began < 10
    caller.join(20)
    last = chunks_of(answers[0])[-1]
    assert "shutting down" in last["error"]["message"]
    (record,) = gateway.generations(1)
    assert ("cancelled", 502, "error") == (record["ending"], record["status"], record["finish_reason"])
    assert ["cancelled"] == [attempt["outcome"] for attempt in record["attempts"]]


def test_a_request_that_outlasts_the_drain_time_coming_in_is_told_so(gateway: Gateway) -> None:
    """It gets an error in the API's shape, and the log no stack trace."""
    with socket.create_connection(("127.0.0.1", int(gateway.root.rpartition(":")[2])), timeout=20) as caller:
        caller.sendall(_raw_request(gateway, "fake/answer")[:-5])
        time.sleep(0.2)
        assert 0 == gateway.stop()
        answer = _read_all(caller)
    assert b'{"error":{"code":502,"message":"The gateway is shutting down; please send the request again"' in answer
    assert "Traceback" not in gateway.log()


def test_a_providers_words_do_not_give_the_key_away(gateway: Gateway) -> None:
    """Some providers quote the key that they were sent: neither caller nor log gets to see it."""
    response = gateway.post("fake/key-error", stream=True)
    assert "What is" in response.text
    assert "sk-first" not in response.text + gateway.log()


def test_a_caller_who_never_reads_loses_no_record(gateway: Gateway) -> None:
    """Stopping does not wait for a caller whose buffers are full."""
    with socket.create_connection(("127.0.0.1", int(gateway.root.rpartition(":")[2])), timeout=10) as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        caller.sendall(_raw_request(gateway, "fake/endless", stream=True))
        time.sleep(0.5)
        assert 0 == gateway.stop()
    assert ["cancelled"] == [record["ending"] for record in gateway.generations(1)]


def test_a_pipelining_caller_who_hangs_up_is_noticed(gateway: Gateway, provider: FakeProvider) -> None:
    """A second request behind the one that runs does not hide the end of the connection."""
    with socket.create_connection(("127.0.0.1", int(gateway.root.rpartition(":")[2])), timeout=10) as caller:
        caller.sendall(_raw_request(gateway, "fake/hang"))
        assert provider.arrived.acquire(timeout=10)
        time.sleep(0.2)
        caller.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(0.2)
    assert provider.hung_up.acquire(timeout=2), "the provider was left to run on"
    assert ["cancelled"] == [record["ending"] for record in gateway.generations(1)]


def test_an_offer_of_http2_is_passed_over(gateway: Gateway) -> None:
    """Java's client and curl send one along with the request."""
    url = f"{gateway.base_url}/chat/completions"
    headers = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABk"}
    response = httpx2.post(url, json=chat_body("fake/answer"), headers=headers)
    assert (200, TEXT) == (response.status_code, response.json()["choices"][0]["message"]["content"])


def test_a_head_without_end_is_refused(gateway: Gateway) -> None:
    """Memory for headers has a bound."""
    response = httpx2.get(f"{gateway.root}/healthz", headers={"X-Title": "x" * 1_000_000})
    assert (400, 400) == (response.status_code, response.json()["error"]["code"])


@pytest.mark.parametrize("sent", [b"\x16\x03\x01 no HTTP\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nBad name: x\r\n\r\n"])
def test_what_is_not_http_is_refused_in_the_apis_shape(gateway: Gateway, sent: bytes) -> None:
    """Clients read the message of an error from JSON alone."""
    with socket.create_connection(("127.0.0.1", int(gateway.root.rpartition(":")[2])), timeout=10) as caller:
        caller.sendall(sent)
        head, _, body = _read_all(caller).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/json" in head
    assert (400, "Invalid HTTP request received.") == (
        json.loads(body)["error"]["code"],
        json.loads(body)["error"]["message"],
    )


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_every_polite_signal_ends_it_in_order(gateway: Gateway, how: signal.Signals) -> None:
    """Nothing is lost, and no stack trace is left behind."""
    assert 200 == gateway.post("fake/answer").status_code
    gateway.process.send_signal(how)
    assert gateway.process.wait(20) == (130 if how == signal.SIGINT else 0)
    assert 1 == len(gateway.generations(1))
    assert "Traceback" not in gateway.log()


def test_workers_do_not_outlive_a_parent_that_was_killed(tmp_path: Path, provider: FakeProvider) -> None:
    """Nobody would stop them, and they would keep the port."""
    config = provider_config({"first": provider.base_url}, {"fake/answer": "answer"}, head="[server]\nworkers = 2\n")
    with running_gateway(tmp_path, config) as gateway:
        children = Path(f"/proc/{gateway.process.pid}/task/{gateway.process.pid}/children").read_text().split()
        gateway.process.kill()
        gateway.process.wait(10)
        deadline = time.monotonic() + 20
        while any(Path(f"/proc/{child}").exists() for child in children):
            assert time.monotonic() < deadline, "a worker goes on"
            time.sleep(0.05)
    assert len(children) >= 2


def test_sigterm_right_after_the_first_line_is_heard(tmp_path: Path, provider: FakeProvider) -> None:
    """A supervisor may change its mind while the gateway starts."""
    file = tmp_path / "gateway.toml"
    file.write_text(provider_config({"first": provider.base_url}, {"fake/answer": "answer"}))
    command = [COMMAND, "serve", "--config", str(file), "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=clean_environment()
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        try:
            assert process.wait(10) in (0, -signal.SIGTERM)
        finally:
            process.kill()


def _raw_request(gateway: Gateway, model: str, **fields: object) -> bytes:
    request = httpx2.Request("POST", f"{gateway.base_url}/chat/completions", json=chat_body(model, **fields))
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    return f"POST /api/v1/chat/completions HTTP/1.1\r\n{head}\r\n".encode() + request.read()


def _read_all(caller: socket.socket) -> bytes:
    pieces = bytearray()
    while data := caller.recv(65536):
        pieces += data
    return bytes(pieces)
