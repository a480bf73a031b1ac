"""The HTTP surface and the command: shapes, limits, refusals."""

import socket
import subprocess
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from fakes.gateway import COMMAND, Gateway, chat_body, clean_environment, provider_config, running_gateway, text_of
from fakes.provider import TEXT, FakeProvider, running_provider


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Generator[Gateway]:
    """A gateway in front of a provider that answers; small limits."""
    with running_provider() as provider:
        config = provider_config(
            {"first": provider.base_url}, {"fake/answer": "answer"}, head="[server]\nmax_body_bytes = 20000\n"
        )
        with running_gateway(tmp_path_factory.mktemp("surface"), config) as gateway:
            yield gateway


def error_of(response: httpx2.Response) -> tuple[int, int, str]:
    """Status, code and type of an error answer, which must be JSON in OpenRouter's shape."""
    assert response.headers["content-type"].partition(";")[0] == "application/json"
    error = response.json()["error"]
    assert isinstance(error["message"], str)
    assert "Traceback" not in response.text
    return response.status_code, error["code"], error["metadata"]["error_type"]


@pytest.mark.parametrize("base", ["/api/v1", "/v1"])
def test_both_bases_serve_the_api(shared: Gateway, base: str) -> None:
    """OpenRouter's base and OpenAI's."""
    response = httpx2.post(f"{shared.root}{base}/chat/completions", json=chat_body("fake/answer"))
    assert response.json()["choices"][0]["message"]["content"] == TEXT
    models = httpx2.get(f"{shared.root}{base}/models").json()
    assert [row["id"] for row in models["data"]] == ["fake/answer"]
    assert models["data"][0]["pricing"]["prompt"] == "0.000003"
    endpoints = httpx2.get(f"{shared.root}{base}/models/fake/answer/endpoints").json()["data"]["endpoints"]
    assert [(row["tag"], row["provider_name"]) for row in endpoints] == [("first", "First")]
    providers = httpx2.get(f"{shared.root}{base}/providers").json()["data"]
    assert [row["slug"] for row in providers] == ["first"]


def test_pages_of_models_end(shared: Gateway) -> None:
    """`offset` and `limit` page; past the end there is nothing."""
    page = httpx2.get(f"{shared.base_url}/models?offset=1&limit=1").json()
    assert (page["data"], page["total_count"], page["links"]["next"]) == ([], 1, None)
    assert httpx2.get(f"{shared.base_url}/models?limit=zero").status_code == 400


def test_health(shared: Gateway) -> None:
    """Probes get 200."""
    assert [httpx2.get(f"{shared.root}{path}").status_code for path in ("/healthz", "/readyz")] == [200, 200]


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/nothing", (404, 404, "not_found")),
        ("GET", "/api/v1/nothing", (404, 404, "not_found")),
        ("GET", "/api/v1/chat/completions", (405, 405, "invalid_request")),
        ("DELETE", "/api/v1/models", (405, 405, "invalid_request")),
        ("GET", "/api/v1/models/no/such/endpoints", (404, 404, "not_found")),
        ("GET", "/api/v1/model/no/such", (404, 404, "not_found")),
    ],
)
def test_wrong_routes(shared: Gateway, method: str, path: str, expected: tuple[int, int, str]) -> None:
    """JSON, never a page."""
    assert expected == error_of(httpx2.request(method, f"{shared.root}{path}"))


@pytest.mark.parametrize(
    ("body", "mentions"),
    [
        (b"", "JSON"),
        (b"{not json", "JSON"),
        (b"[]", "object"),
        (b'{"model":"fake/answer"}', "messages"),
        (b'{"model":"fake/answer","messages":[]}', "messages"),
        (b'{"model":7,"messages":[{"role":"user","content":"x"}]}', "model"),
        (b'{"model":"fake/answer","messages":[{"role":"pilot","content":"x"}]}', "role"),
        (b'{"model":"fake/answer","temperature":9,"messages":[{"role":"user","content":"x"}]}', "temperature"),
        (b'{"model":"fake/answer","provider":{"zrd":true},"messages":[{"role":"user","content":"x"}]}', "zrd"),
        (b'{"a":' * 3000, "nested too deeply"),
        (b'{"model":"fake/nothing","messages":[{"role":"user","content":"x"}]}', "fake/nothing is not a valid model"),
    ],
)
def test_wrong_requests_name_what_is_wrong(shared: Gateway, body: bytes, mentions: str) -> None:
    """400, integer code, and the field or the reason in the message."""
    response = httpx2.post(f"{shared.base_url}/chat/completions", content=body)
    assert error_of(response) == (400, 400, "invalid_request")
    assert mentions in response.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/chat/completions", "/route/explain"])
def test_too_large_a_body_is_refused(shared: Gateway, path: str) -> None:
    """Whether it says so in front or not, on every route."""
    content = b'{"messages":"' + b"x" * 30_000 + b'"}'
    pieces = (content[start : start + 1000] for start in range(0, len(content), 1000))
    for body in (content, pieces):
        response = httpx2.post(f"{shared.base_url}{path}", content=body)
        assert (413, 413, "payload_too_large") == error_of(response)


def test_a_caller_who_leaves_before_the_body_is_complete_is_no_failure(shared: Gateway) -> None:
    """Nothing is logged for it, on any route."""
    for path in ("/api/v1/chat/completions", "/api/v1/route/explain"):
        with socket.create_connection(("127.0.0.1", int(shared.root.rpartition(":")[2])), timeout=10) as caller:
            caller.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{{".encode())
            time.sleep(0.1)
    assert 200 == httpx2.get(f"{shared.root}/healthz").status_code
    time.sleep(0.1)
    assert "Traceback" not in shared.log()


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}])
def test_other_sites_are_refused(shared: Gateway, headers: dict[str, str]) -> None:
    """DNS rebinding and cross-site posts meet a closed door; there are no CORS headers."""
    response = httpx2.post(f"{shared.base_url}/chat/completions", json=chat_body("fake/answer"), headers=headers)
    assert error_of(response) == (403, 403, "permission_denied")
    assert "access-control-allow-origin" not in response.headers


def test_preferences_are_honoured_or_refused(shared: Gateway) -> None:
    """A data policy that no endpoint is known to meet fails with its reason; it is never ignored."""
    response = shared.post("fake/answer", provider={"zdr": True})
    assert error_of(response) == (404, 404, "not_found")
    assert response.json()["error"]["availability"]["excluded_by"] == ["data_policy:zdr"]
    assert shared.post("fake/answer", provider={"only": ["First"]}).status_code == 200


def test_keys_are_asked_for_when_configured(tmp_path: Path, provider: FakeProvider) -> None:
    """401 without or with a wrong key, on every route but the probes; any host name is fine then."""
    head = '[auth]\nkeys = ["sk-or-v1-secret"]\n'
    config = provider_config({"first": provider.base_url}, {"fake/answer": "answer"}, head=head)
    with running_gateway(tmp_path, config) as gateway:
        url = f"{gateway.base_url}/chat/completions"
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic sk-or-v1-secret"}):
            response = httpx2.post(url, json=chat_body("fake/answer"), headers=headers)
            assert error_of(response) == (401, 401, "authentication")
            assert "secret" not in response.text
        assert httpx2.get(f"{gateway.base_url}/models").status_code == 401
        assert httpx2.get(f"{gateway.root}/healthz").status_code == 200
        for headers in (
            {"Authorization": "Bearer sk-or-v1-secret", "Host": "x.example"},
            {"x-api-key": "sk-or-v1-secret"},
        ):
            assert httpx2.post(url, json=chat_body("fake/answer"), headers=headers).status_code == 200
        record = gateway.generations(2)[0]
        assert len(record["key_hash"]) == 64
        assert provider.headers[-1]["authorization"] == "Bearer sk-first"


def test_the_end_users_name_stays_here(tmp_path: Path, provider: FakeProvider) -> None:
    """`user` goes to providers hashed; the record keeps it, with attribution and session."""
    with running_gateway(tmp_path, provider_config({"first": provider.base_url}, {"fake/answer": "answer"})) as gateway:
        headers = {"HTTP-Referer": "https://app.example", "X-Title": "App", "x-session-id": "s-1"}
        url = f"{gateway.base_url}/chat/completions"
        httpx2.post(url, json=chat_body("fake/answer", user="alice@example.com"), headers=headers)
        assert "alice" not in str(provider.requests[-1])
        assert len(provider.requests[-1]["user"]) == 64
        (record,) = gateway.generations(1)
        assert (
            record["user"],
            record["app_url"],
            record["app_title"],
            record["session_id"],
        ) == ("alice@example.com", "https://app.example", "App", "s-1")


def test_workers_share_the_port(tmp_path: Path, provider: FakeProvider) -> None:
    """Several processes, one address; stopping stops them all."""
    config = provider_config({"first": provider.base_url}, {"fake/answer": "answer"})
    with running_gateway(tmp_path, config, arguments=["--workers", "2"]) as gateway:
        assert {200} == {gateway.post("fake/answer").status_code for _ in range(6)}
        assert text_of(gateway.stream("fake/answer")[0]) == TEXT
        assert gateway.stop() in (0, -15)


def run(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=clean_environment() | (environment or {}),
    )


def test_other_addresses_need_keys() -> None:
    """The gateway refuses to be open to the network."""
    result = run("serve", "--host", "0.0.0.0", "--port", "0")
    assert result.returncode == 2
    assert "auth.keys" in result.stderr


@pytest.mark.parametrize(
    ("config", "mentions"),
    [
        ("[server\n", "not valid TOML"),
        ("[server]\nprot = 1\n", "server.prot: unknown key"),
        ("[server]\nworkers = 'x'\n", "server.workers"),
        ("[providers.new]\nname = 'New'\n", "providers.new: base_url is missing"),
        ("[providers.new]\nbase_url = 'http://x'\napi_key_env = 'NOT_SET_ANYWHERE'\n", "NOT_SET_ANYWHERE"),
        ("[ledger]\njournal = '/proc/no/such/file'\n", "ledger.journal"),
        ("[embedded]\nmodel_path = '/nowhere/model.gguf'\n", "/nowhere/model.gguf"),
    ],
)
def test_a_wrong_configuration_is_named(tmp_path: Path, config: str, mentions: str) -> None:
    """File, key and reason; exit status 2; no stack trace."""
    file = tmp_path / "gateway.toml"
    file.write_text(config)
    result = run("serve", "--config", str(file), "--port", "0")
    assert result.returncode == 2, result.stderr
    assert mentions in result.stderr
    assert "Traceback" not in result.stderr


def test_a_taken_port_is_named() -> None:
    """With what to do about it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = run("serve", "--port", port)
    assert result.returncode == 2
    assert port in result.stderr
    assert "--port" in result.stderr


def test_help_and_version() -> None:
    """Both work without any set-up."""
    assert "--stand-in" in run("serve", "--help", environment={"COLUMNS": "200", "NO_COLOR": "1"}).stdout
    assert run("--version").stdout.strip()


def test_a_key_in_the_environment_enables_its_provider(tmp_path: Path) -> None:
    """OpenAI's models appear beside the embedded one, priced; the key is shown nowhere."""
    with running_gateway(tmp_path, environment={"OPENAI_API_KEY": "sk-never-shown"}) as gateway:
        rows: dict[str, Any] = {
            row["id"]: row for row in httpx2.get(f"{gateway.base_url}/models", timeout=20).json()["data"]
        }
        assert {"openai/gpt-4o", "local/smollm2-135m-instruct"} <= rows.keys()
        assert float(rows["openai/gpt-4o"]["pricing"]["completion"]) > 0
        assert "sk-never-shown" not in gateway.log()


def test_a_dry_run_explains_the_route(tmp_path: Path, provider: FakeProvider, second_provider: FakeProvider) -> None:
    """What would be tried, and what was removed by what; nobody is called and nothing is recorded."""
    urls = {"first": provider.base_url, "second": second_provider.base_url}
    with running_gateway(tmp_path, provider_config(urls, {"fake/answer": "answer"})) as gateway:
        body = chat_body("fake/answer", provider={"ignore": ["first"]})
        told = httpx2.post(f"{gateway.base_url}/route/explain", json=body).json()
        unknown = httpx2.post(f"{gateway.base_url}/route/explain", json=chat_body("fake/none"))
        assert [] == gateway.generations(1, timeout_s=0.2)
    assert ["second"] == [endpoint["tag"] for endpoint in told["endpoints"]]
    assert [("first", "allowed_providers")] == [(each["tag"], each["excluded_by"]) for each in told["removed"]]
    assert 400 == unknown.status_code
    assert not provider.requests
    assert not second_provider.requests
