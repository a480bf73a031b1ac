"""Each kind of destination: what goes over the wire, against a real receiver, and what never does."""

import base64
import calendar
import json
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from broadcast_receiver import Arrival, plain, receiving, sending
from broadcast_samples import (
    ANSWER,
    COST,
    QUESTION,
    SPAN_ID,
    TRACEPARENT,
    make_destination,
    make_record,
)
from ledger_samples import CREATED_S

from openrouter_gateway.broadcast.attempt import Environment
from openrouter_gateway.broadcast.check import try_connection
from openrouter_gateway.broadcast.destinations import KINDS
from openrouter_gateway.broadcast.destinations.base import (
    HTTPRequest,
    InvalidConfig,
    Secret,
    judge,
    mask_config,
    mask_url,
    merge_config,
    parse_config,
    secret_fields,
)
from openrouter_gateway.broadcast.destinations.clickhouse import CREATE_TABLE
from openrouter_gateway.broadcast.destinations.sigv4 import encode_path, sign
from openrouter_gateway.broadcast.limits import Limits
from openrouter_gateway.broadcast.selection import tailor
from openrouter_gateway.broadcast.spans import build_trace
from openrouter_gateway.core.destination import Destination

CANARY = "canary-5f3a9c1e77-do-not-show"
TRACE = {"trace_id": "run-7", "trace_name": "agent", "span_name": "step", "team": "blue", "tags": ["x", "y"]}

CONFIGS: dict[str, dict[str, Any]] = {
    "otel-collector": {"endpoint": "{url}", "headers": {"X-Key": CANARY}},
    "webhook": {"url": "{url}/hook", "method": "PUT", "headers": {"Authorization": f"Bearer {CANARY}"}},
    "langfuse": {"publicKey": "pk-lf-public-key-0001", "secretKey": CANARY, "baseUrl": "{url}"},
    "langsmith": {"apiKey": CANARY, "project": "mine", "endpoint": "{url}", "workspaceId": "w-1"},
    "s3": {
        "bucketName": "traces",
        "accessKeyId": "AKIAIOSFODNN7EXAMPLE",
        "secretAccessKey": CANARY,
        "endpoint": "{url}",
        "pathTemplate": "{prefix}/{year}/{month}/{day}/{apiKeyName}",
    },
    "clickhouse": {"host": "{url}", "database": "db", "username": "me", "password": CANARY},
    "arize": {"apiKey": CANARY, "spaceKey": "space-key-of-an-arize-space", "modelId": "project", "baseUrl": "{url}"},
    "braintrust": {"apiKey": CANARY, "projectId": "p-1", "baseUrl": "{url}"},
    "grafana": {"apiKey": CANARY, "instanceId": "123", "baseUrl": "{url}/"},
    "newrelic": {"licenseKey": CANARY, "region": "eu"},
    "opik": {"apiKey": CANARY, "workspace": "w", "projectName": "p", "baseUrl": "{url}"},
    "sentry": {"dsn": "https://public@o1.ingest.sentry.io/2", "otlpEndpoint": "{url}/api/2/integration/otlp/v1/traces"},
    "weave": {"apiKey": CANARY, "entity": "e", "project": "p", "baseUrl": "{url}"},
}


def fill(value: Any, url: str) -> Any:
    if isinstance(value, dict):
        return {name: fill(held, url) for name, held in value.items()}
    return value.replace("{url}", url) if isinstance(value, str) else value


def configured(type_: str, url: str = "http://127.0.0.1:9", **fields: Any) -> Destination:
    return make_destination(type_, fill(CONFIGS[type_], url), **fields)


def request_of(destination: Destination, *, now: float = CREATED_S, **fields: Any) -> HTTPRequest:
    """Return the request that carries one trace."""
    kind = KINDS[destination.type]
    config = parse_config(kind, destination.config)
    part = kind.encode(config, build_trace(make_record(**({"trace": TRACE, "session_id": "s-1"} | fields))))
    return kind.request(config, kind.join(config, [part]), now)


async def deliver(type_: str, **fields: Any) -> Arrival:
    """Return what a real receiver gets."""
    async with receiving() as receiver, sending() as send:
        reply = await send(request_of(configured(type_, receiver.url), **fields))
        assert 200 == reply.status
        (arrival,) = receiver.arrivals
        return arrival


def read_exactly(document: str | bytes) -> Any:
    """Return a JSON document with its numbers to the last digit."""
    return json.loads(document, parse_float=Decimal)


def generation_of(arrival: Arrival) -> dict[str, Any]:
    """Return the attributes of the generation's span."""
    return arrival.spans[-1]["attributes"]


# Protobuf, read by the rules of its encoding: enough to look into what is sent.


def read_fields(data: bytes) -> list[tuple[int, bytes | int]]:
    fields: list[tuple[int, bytes | int]] = []
    position = 0

    def varint() -> int:
        nonlocal position
        number = shift = 0
        while True:
            byte = data[position]
            position += 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    while position < len(data):
        number, wire = divmod(varint(), 8)
        if wire == 0:
            fields.append((number, varint()))
            continue
        length = varint() if wire == 2 else 8
        fields.append((number, data[position : position + length]))
        position += length
    return fields


def read_attributes(data: bytes, number: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field, content in read_fields(data):
        if field == number:
            assert isinstance(content, bytes)
            pair = dict(read_fields(content))
            key, value = pair[1], pair[2]
            assert isinstance(key, bytes)
            assert isinstance(value, bytes)
            kind, held = read_fields(value)[0] if value else (1, b"")
            found[key.decode()] = held.decode() if kind == 1 and isinstance(held, bytes) else held
    return found


def read_protobuf(body: bytes) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the resource's attributes, and those of each span."""
    spans: list[dict[str, Any]] = []
    resource: dict[str, Any] = {}
    for _, resource_spans in read_fields(body):
        assert isinstance(resource_spans, bytes)
        for number, content in read_fields(resource_spans):
            assert isinstance(content, bytes)
            if number == 1:
                resource = read_attributes(content, 1)
                continue
            for field, span in read_fields(content):
                if field == 2:
                    assert isinstance(span, bytes)
                    spans.append(read_attributes(span, 9))
    return resource, spans


class TestWire:
    """What a receiver gets of one generation below two named spans."""

    async def test_otel_collector(self) -> None:
        """OTLP as JSON, at OTLP's own path unless the address has one."""
        arrival = await deliver("otel-collector")
        assert ("POST", "/v1/traces") == (arrival.method, arrival.path)
        assert "application/json" == arrival.headers["content-type"]
        assert CANARY == arrival.headers["x-key"]
        assert ["agent", "step", "a/one"] == [span["name"] for span in arrival.spans]
        resource = plain(arrival.json()["resourceSpans"][0]["resource"]["attributes"])
        trace_id = arrival.spans[0]["traceId"]
        assert {
            "service.name": "openrouter",
            "service.version": "1.0.0",
            "openrouter.trace.id": trace_id,
        } == resource
        assert "run-7" == generation_of(arrival)["trace.metadata.trace_id"]
        assert QUESTION in generation_of(arrival)["gen_ai.input.messages"]

    def test_otel_collector_addresses(self) -> None:
        """A path of one's own is kept, and protobuf is to be had."""
        destination = make_destination("otel-collector", {"endpoint": "http://x:4318/mine?a=b", "encoding": "protobuf"})
        request = request_of(destination)
        assert "http://x:4318/mine?a=b" == request.url
        assert "application/x-protobuf" == request.headers["Content-Type"]
        assert "0.000000120000000001" == read_protobuf(request.body)[1][-1]["openrouter.cost"]

    async def test_webhook(self) -> None:
        """The same, by the method and with the headers that are wanted."""
        arrival = await deliver("webhook")
        assert ("PUT", "/hook") == (arrival.method, arrival.path)
        assert f"Bearer {CANARY}" == arrival.headers["authorization"]
        assert 30 == generation_of(arrival)["gen_ai.usage.prompt_tokens"]

    async def test_langfuse(self) -> None:
        """Its own attributes, on every span what belongs to the trace."""
        arrival = await deliver("langfuse", trace=TRACE | {"environment": "prod", "release": "v2"})
        assert ("POST", "/api/public/otel/v1/traces") == (arrival.method, arrival.path)
        basic = base64.b64encode(f"pk-lf-public-key-0001:{CANARY}".encode()).decode()
        assert f"Basic {basic}" == arrival.headers["authorization"]
        resource = plain(arrival.json()["resourceSpans"][0]["resource"]["attributes"])
        assert ("prod", "v2") == (resource["langfuse.environment"], resource["langfuse.release"])
        for span in arrival.spans:
            expected = {
                "langfuse.trace.name": "agent",
                "langfuse.environment": "prod",
                "langfuse.release": "v2",
                "langfuse.trace.metadata.team": "blue",
                "langfuse.trace.tags": ["x", "y"],
                "user.id": "user-1",
                "session.id": "s-1",
            }
            assert expected == {key: span["attributes"][key] for key in expected}
        assert "span" == arrival.spans[0]["attributes"]["langfuse.observation.type"]
        attributes = generation_of(arrival)
        assert "generation" == attributes["langfuse.observation.type"]
        assert {
            "input": 20,
            "input_cached_tokens": 10,
            "input_cache_creation": 0,
            "output": 15,
            "output_reasoning_tokens": 5,
            "total": 50,
        } == json.loads(attributes["langfuse.observation.usage_details"])
        assert COST.total == read_exactly(attributes["langfuse.observation.cost_details"])["total"]
        assert [{"role": "user", "content": QUESTION}] == json.loads(attributes["langfuse.observation.input"])
        assert [{"role": "assistant", "content": ANSWER}] == json.loads(attributes["langfuse.observation.output"])
        assert "2026-02-14T04:25:12.625000+00:00" == attributes["langfuse.observation.completion_start_time"]

    async def test_langfuse_failure(self) -> None:
        arrival = await deliver("langfuse", ending="failed", error_type="timeout", status=504)
        attributes = generation_of(arrival)
        assert "ERROR" == attributes["langfuse.observation.level"]
        assert "timeout (HTTP 504)" == attributes["langfuse.observation.status_message"]

    async def test_langsmith(self) -> None:
        """Runs with names, kinds and metadata of LangSmith's."""
        arrival = await deliver("langsmith")
        assert ("POST", "/otel/v1/traces") == (arrival.method, arrival.path)
        headers = arrival.headers
        assert (CANARY, "mine", "w-1") == (
            headers["x-api-key"],
            headers["langsmith-project"],
            headers["x-tenant-id"],
        )
        assert "application/x-protobuf" == headers["content-type"]
        _, spans = read_protobuf(arrival.body)
        assert ["chain", "chain", "llm"] == [span["langsmith.span.kind"] for span in spans]
        assert ["agent", "step", "a/one"] == [span["langsmith.trace.name"] for span in spans]
        expected = {
            "langsmith.metadata.user_id": "user-1",
            "langsmith.metadata.session_id": "s-1",
            "langsmith.metadata.team": "blue",
            "langsmith.metadata.trace_name": "agent",
            "langsmith.span.tags": "x,y",
            "gen_ai.usage.details.reasoning_tokens": 5,
        }
        assert expected == {key: spans[-1][key] for key in expected}
        assert {"messages": [{"role": "user", "content": QUESTION}]} == json.loads(spans[-1]["gen_ai.prompt"])
        assert {"messages": [{"role": "assistant", "content": ANSWER}]} == json.loads(spans[-1]["gen_ai.completion"])

    async def test_s3(self) -> None:
        """A document per trace, at a path that says when and whose."""
        async with receiving() as receiver, sending() as send:
            destination = configured("s3", receiver.url)
            request = request_of(destination, key_name="team / blue")
            await send(request)
            (arrival,) = receiver.arrivals
        document = arrival.json()
        trace_id = document["id"]
        assert "PUT" == arrival.method
        file = f"{trace_id}-20260214T042512500000Z.json"
        assert f"/traces/openrouter-traces/2026/02/14/team_blue/{file}" == arrival.path
        assert arrival.headers["authorization"].startswith(
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260214/us-east-1/s3/aws4_request, "
            "SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date, Signature="
        )
        assert "20260214T042512Z" == arrival.headers["x-amz-date"]
        assert ("agent", "user-1", "s-1") == (document["name"], document["userId"], document["sessionId"])
        assert ["SPAN", "SPAN", "GENERATION"] == [observation["type"] for observation in document["observations"]]
        generation = document["observations"][-1]
        assert {"team": "blue", "tags": ["x", "y"], "trace_id": "run-7"} == generation["metadata"]
        assert [{"role": "user", "content": QUESTION}] == generation["input"]
        assert COST.total == read_exactly(arrival.body)["observations"][-1]["cost"]

    def test_s3_at_amazon(self) -> None:
        """Regions have hosts, and temporary keys a token."""
        config = {"bucketName": "traces", "accessKeyId": "A", "secretAccessKey": "S", "sessionToken": "T"}
        request = request_of(make_destination("s3", config | {"region": "eu-west-1", "pathTemplate": "{date}"}))
        assert request.url.startswith("https://s3.eu-west-1.amazonaws.com/traces/2026-02-14/")
        assert "T" == request.headers["x-amz-security-token"]
        assert "x-amz-security-token" in request.headers["Authorization"]

    async def test_clickhouse(self) -> None:
        """A row per span, with the columns of OpenRouter's table."""
        arrival = await deliver("clickhouse", key_name="my key")
        query = parse_qs(urlsplit(arrival.path).query)
        assert ["INSERT INTO `db`.`OPENROUTER_TRACES` FORMAT JSONEachRow"] == query["query"]
        assert ("me", CANARY) == (arrival.headers["x-clickhouse-user"], arrival.headers["x-clickhouse-key"])
        rows = [json.loads(line) for line in arrival.body.splitlines()]
        assert ["SPAN", "SPAN", "GENERATION"] == [row["SPAN_TYPE"] for row in rows]
        assert [0, 0, 50] == [row["TOTAL_TOKENS"] for row in rows]
        assert COST.total == read_exactly(arrival.body.splitlines()[-1])["TOTAL_COST"]
        expected = {
            "TIMESTAMP": "2026-02-14 04:25:12.500000",
            "MODEL": "a/one",
            "PROVIDER_NAME": "Acme",
            "API_KEY_NAME": "my key",
            "USER_ID": "user-1",
            "SESSION_ID": "s-1",
            "STATUS": "ok",
            "LEVEL": "DEFAULT",
            "FINISH_REASON": "stop",
            "DURATION_MS": 500.0,
            "TAGS": ["x", "y"],
            "METADATA": '{"team":"blue","trace_id":"run-7"}',
            "MODEL_PARAMETERS": '{"model":"a/one","stream":true,"temperature":0.5}',
        }
        assert expected == {name: rows[-1][name] for name in expected}
        columns = {line.split()[0] for line in CREATE_TABLE.splitlines() if line.startswith("    ")}
        assert columns == rows[-1].keys()

    @pytest.mark.parametrize(
        ("type_", "path", "headers"),
        [
            ("arize", "/v1/traces", {"authorization": CANARY, "arize-space-id": "space-key-of-an-arize-space"}),
            (
                "braintrust",
                "/otel/v1/traces",
                {"authorization": f"Bearer {CANARY}", "x-bt-parent": "project_id:p-1"},
            ),
            (
                "grafana",
                "/otlp/v1/traces",
                {"authorization": "Basic " + base64.b64encode(f"123:{CANARY}".encode()).decode()},
            ),
            (
                "opik",
                "/v1/private/otel/v1/traces",
                {"authorization": CANARY, "comet-workspace": "w", "projectname": "p"},
            ),
            ("sentry", "/api/2/integration/otlp/v1/traces", {"x-sentry-auth": "sentry sentry_key=public"}),
            ("weave", "/otel/v1/traces", {"wandb-api-key": CANARY}),
        ],
    )
    async def test_vendors(self, type_: str, path: str, headers: dict[str, str]) -> None:
        """Plain OTLP at the vendor's address, with its headers."""
        arrival = await deliver(type_)
        assert ("POST", path) == (arrival.method, arrival.path)
        assert headers == {name: arrival.headers[name] for name in headers}
        if arrival.headers["content-type"] == "application/x-protobuf":
            attributes = read_protobuf(arrival.body)[1][-1]
        else:
            attributes = generation_of(arrival)
        assert ("a/one", "0.000000120000000001") == (
            attributes["gen_ai.response.model"],
            attributes["openrouter.cost"],
        )

    def test_new_relic(self) -> None:
        """Its addresses are fixed."""
        request = request_of(configured("newrelic"))
        assert ("https://otlp.eu01.nr-data.net/v1/traces", CANARY) == (request.url, request.headers["api-key"])

    def test_projects_go_into_the_resource(self) -> None:
        """Where vendors want them."""
        weave = read_protobuf(request_of(configured("weave")).body)[0]
        assert ("e", "p") == (weave["wandb.entity"], weave["wandb.project"])
        arize = read_protobuf(request_of(configured("arize")).body)
        assert "project" == arize[0]["openinference.project.name"]
        assert "LLM" == arize[1][-1]["openinference.span.kind"]

    def test_headers_of_ones_own_win(self) -> None:
        config = fill(CONFIGS["braintrust"], "http://x") | {"headers": {"X-BT-Parent": "other"}}
        headers = request_of(make_destination("braintrust", config)).headers
        assert "other" == headers["X-BT-Parent"]
        assert "x-bt-parent" not in headers

    def test_langsmith_tags(self) -> None:
        """All arrays of strings are, each tag once, those called so first; without one there is no attribute."""
        trace = {"teams": ["blue", "x"], "round": 3, "tags": ["x", "y"], "none": []}
        _, (*_, span) = read_protobuf(request_of(configured("langsmith"), trace=trace).body)
        assert "x,y,blue" == span["langsmith.span.tags"]
        assert '["blue","x"]' == span["langsmith.metadata.teams"]
        _, (*_, span) = read_protobuf(request_of(configured("langsmith"), trace={"tags": []}).body)
        assert "langsmith.span.tags" not in span

    @pytest.mark.parametrize(
        ("tags", "column", "metadata"),
        [(["x"], ["x"], {"a": 1}), ("x", [], {"a": 1, "tags": "x"}), ([1], [], {"a": 1, "tags": "[1]"})],
    )
    def test_clickhouse_tags(self, tags: Any, column: list[str], metadata: dict[str, Any]) -> None:
        """What is no list of texts stays in the metadata."""
        row = json.loads(request_of(configured("clickhouse"), trace={"a": 1, "tags": tags}).body.splitlines()[-1])
        assert (column, metadata) == (row["TAGS"], json.loads(row["METADATA"]))

    def test_the_model_of_a_failure(self) -> None:
        """It is the one that was asked for, as in the ledger; nobody answered."""
        failed: dict[str, Any] = {"model": None, "requested_models": ["a/asked", "b/next"], "ending": "failed"}
        row = json.loads(request_of(configured("clickhouse"), **failed).body.splitlines()[-1])
        document = json.loads(request_of(configured("s3"), **failed).body)
        assert ("a/asked", "error") == (row["MODEL"], row["STATUS"])
        assert "a/asked" == document["observations"][-1]["model"]

    def test_the_name_of_a_document(self) -> None:
        """Each stands alone: it is not called after spans that are in another one, but after the model by default."""
        kind, config = KINDS["s3"], parse_config(KINDS["s3"], configured("s3").config)
        for asked, name in (({"generation_name": "think"}, "a/one"), ({"trace_name": "run"}, "run")):
            trace = build_trace(make_record(trace=asked, session_id="s-1"))
            later = msgspec.structs.replace(trace, groups=())
            assert [name] * 2 == [json.loads(kind.encode(config, each).body)["name"] for each in (trace, later)]

    @pytest.mark.parametrize("type_", CONFIGS)
    @pytest.mark.parametrize("placed", [{"trace": TRACE | {"parent_span_id": SPAN_ID}}, {"traceparent": TRACEPARENT}])
    def test_the_trace_has_its_name_below_a_span_of_the_callers(self, type_: str, placed: dict[str, Any]) -> None:
        """There is no root of ours that could be called so."""
        record = make_record(**({"trace": {"trace_name": "agent"}} | placed))
        kind = KINDS[type_]
        assert b"agent" in kind.encode(parse_config(kind, configured(type_).config), build_trace(record)).body

    @pytest.mark.parametrize("type_", CONFIGS)
    def test_privacy(self, type_: str) -> None:
        """What was asked and answered, in words, thoughts and calls, is in no field of any kind."""
        question = {"role": "user", "name": "asker-1", "content": [{"type": "text", "text": QUESTION}]}
        answer = {"role": "assistant", "content": ANSWER, "reasoning": "thought-1", "tool_calls": [CALL]}
        record = make_record(
            trace=TRACE, request={"messages": [question], "tools": [CALL], "temperature": 0.25}, reply=[answer]
        )
        kind, trace = KINDS[type_], build_trace(record)
        config = parse_config(kind, configured(type_).config)
        private = kind.encode(config, tailor(trace, configured(type_, privacy_mode=True)))
        for said in (QUESTION, ANSWER):
            assert said.encode() in kind.encode(config, tailor(trace, configured(type_))).body
        for said in (QUESTION, ANSWER, "asker-1", "thought-1", "function-1", "argument-1"):
            assert said.encode() not in private.body
            assert said not in private.name


CALL = {"id": "c1", "type": "function", "function": {"name": "function-1", "arguments": '{"a":"argument-1"}'}}
EXAMPLE = {
    "access_key": "AKIAIOSFODNN7EXAMPLE",
    "secret_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "region": "us-east-1",
}
MAY_2013 = float(calendar.timegm((2013, 5, 24, 0, 0, 0)))


class TestSigning:
    """Signature Version 4, by the vectors of Amazon's page and by what botocore makes of the same request."""

    def test_put(self) -> None:
        """Example "PUT Object"."""
        headers = {"Date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"}
        url = "https://examplebucket.s3.amazonaws.com" + encode_path("/test$file.text")
        signed = sign("PUT", url, headers, b"Welcome to Amazon S3.", now=MAY_2013, **EXAMPLE)
        assert (
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
            "SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class, "
            "Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
        ) == signed["Authorization"]

    def test_get(self) -> None:
        """Example "GET Object"; hosts are signed as they are sent."""
        for host in ("examplebucket.s3.amazonaws.com", "ExampleBucket.s3.amazonaws.com:443"):
            url = f"https://{host}/test.txt"
            signed = sign("GET", url, {"Range": "bytes=0-9"}, b"", now=MAY_2013, **EXAMPLE)
            assert signed["Authorization"].endswith(
                "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
            )

    def test_like_botocore(self) -> None:
        """As botocore 1.44.8 has it, `S3SigV4Auth` (2026-11-27): a path of all sorts, a port, a token."""
        url = "http://127.0.0.1:9000" + encode_path("/bucket/openrouter-traces/2026-02-14/a b+é.json")
        signed = sign(
            "PUT",
            url,
            {"Content-Type": "application/json", "x-amz-security-token": "TOKEN"},
            b'{"a":1}',
            access_key="AKIDEXAMPLE",
            secret_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            region="us-east-1",
            now=float(calendar.timegm((2026, 2, 14, 4, 25, 12))),
        )
        assert signed["Authorization"].endswith(
            "SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date;x-amz-security-token, "
            "Signature=e39e6cc155166e5666be0f1b7199ef9b38b551d76dfb01f55e5452bd07459df4"
        )


class TestConfigs:
    """What is accepted as configuration, and how it may be shown."""

    def test_every_kind_is_tested(self) -> None:
        assert KINDS.keys() == CONFIGS.keys()

    @pytest.mark.parametrize("type_", CONFIGS)
    def test_credentials_are_never_shown(self, type_: str) -> None:
        """In no repr, and in nothing that is kept on disk or shown by the API."""
        destination = configured(type_)
        kind = KINDS[type_]
        config = parse_config(kind, destination.config)
        request = request_of(destination)
        part = kind.encode(config, build_trace(make_record()))
        for shown in (
            repr(config),
            repr(destination),
            repr(request),
            str(mask_config(kind, destination.config)),
            str(kind.join(config, [part])),
        ):
            assert CANARY not in shown
        assert CANARY in str(destination.config) or type_ == "sentry"

    @pytest.mark.parametrize("type_", CONFIGS)
    def test_required_fields(self, type_: str) -> None:
        """The message names the field, and quotes nothing."""
        kind = KINDS[type_]
        required = {field.encode_name for field in msgspec.structs.fields(kind.config) if field.required}
        for name in required:
            left = {key: value for key, value in fill(CONFIGS[type_], "http://x").items() if key != name}
            with pytest.raises(InvalidConfig, match=name) as caught:
                parse_config(kind, left)
            assert CANARY not in str(caught.value)

    @pytest.mark.parametrize(
        ("type_", "change", "reason"),
        [
            ("webhook", {"url": f"ftp://{CANARY}@x"}, r"config\.url: must be http"),
            ("webhook", {"url": f"http://{CANARY}@x:y/"}, r"config\.url: is not a valid URL"),
            ("webhook", {"method": "DELETE"}, "method"),
            ("webhook", {"headers": {"a b": "x"}}, "headers"),
            ("webhook", {"headers": {"Content-Length": "1"}}, "headers: Content-Length"),
            ("langfuse", {"headers": {"transfer-encoding": "chunked"}}, "headers: transfer-encoding"),
            ("webhook", {"headers": {"X-Key": f"{CANARY}\r\nX: y"}}, "headers"),
            ("langfuse", {"secretKey": f"{CANARY}\n"}, "secretKey"),
            ("langfuse", {"secretKey": ""}, "secretKey"),
            ("langfuse", {"secretKey": 5}, "secretKey"),
            ("langfuse", {"sekretKey": CANARY}, "sekretKey"),
            ("clickhouse", {"table": "x`; DROP TABLE y"}, r"config\.table"),
            ("s3", {"pathTemplate": "{secret}"}, r"config\.pathTemplate"),
            ("s3", {"pathTemplate": "{prefix.__class__}"}, r"config\.pathTemplate"),
            ("s3", {"pathTemplate": "{"}, r"config\.pathTemplate"),
            ("s3", {"bucketName": "a/b"}, r"config\.bucketName"),
            ("s3", {"region": "x.evil.example"}, r"config\.region"),
            ("newrelic", {"region": "moon"}, "region"),
        ],
    )
    def test_what_is_refused(self, type_: str, change: dict[str, Any], reason: str) -> None:
        with pytest.raises(InvalidConfig, match=reason) as caught:
            parse_config(KINDS[type_], fill(CONFIGS[type_], "http://x") | change)
        assert CANARY not in str(caught.value)

    def test_masks(self) -> None:
        """Ends of what is long, nothing of what is short, no password within an address."""
        kind = KINDS["langfuse"]
        shown = mask_config(
            kind, {"publicKey": "pk-lf-0123456789abcdefgh", "secretKey": "short", "baseUrl": "http://x"}
        )
        assert {"publicKey": "pk-l...efgh", "secretKey": "********", "baseUrl": "http://x"} == shown
        webhook = {"url": "https://me:password@x/y", "headers": {"Authorization": CANARY}}
        assert {
            "url": "https://********@x/y",
            "headers": {"Authorization": "cana...show"},
        } == mask_config(KINDS["webhook"], webhook)
        assert {"publicKey", "secretKey", "headers"} == secret_fields(kind)
        assert "********" in repr(Secret("x"))

    def test_masked_values_change_nothing(self) -> None:
        """Whoever reads, changes one thing and writes all back keeps the credentials."""
        kind = KINDS["webhook"]
        known = {"url": "https://me:password@x/y", "headers": {"A": CANARY, "B": "b"}}
        shown = mask_config(kind, known)
        assert known == merge_config(kind, known, shown)
        changed = merge_config(kind, known, {"url": "https://z", "headers": {"A": shown["headers"]["A"], "C": "c"}})
        assert {"url": "https://z", "headers": {"A": CANARY, "C": "c"}} == changed

    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            ("https://me:pass@word@x/y", "https://********@x/y"),
            ("https://x/hook?token=canary&v=1#top", "https://x/hook?token=********&v=********#top"),
            ("https://x/a@b?empty=", "https://x/a@b?empty="),
            ("https://x?to=a@b", "https://x?to=********"),
            ("team@example", "team@example"),
        ],
    )
    def test_masked_addresses(self, url: str, shown: str) -> None:
        """Receivers take keys in queries, too; and only the last @ ends a password."""
        assert shown == mask_url(url)
        kind = KINDS["webhook"]
        assert {"url": url} == merge_config(kind, {"url": url}, {"url": shown})

    def test_a_header_that_is_no_text(self) -> None:
        """It is refused with its name, also when it is new."""
        kind = KINDS["webhook"]
        merged = merge_config(kind, {"url": "https://x", "headers": {"A": "a"}}, {"headers": {"B": None}})
        with pytest.raises(InvalidConfig, match="headers"):
            parse_config(kind, merged)


class TestVerdicts:
    """What an answer means."""

    @pytest.mark.parametrize(
        ("status", "expected"),
        [
            (200, "accepted"),
            (207, "accepted"),
            (302, "retry"),
            (400, "rejected"),
            (401, "retry"),
            (404, "retry"),
            (408, "retry"),
            (413, "rejected"),
            (415, "rejected"),
            (429, "retry"),
            (431, "retry"),
            (500, "retry"),
            (503, "retry"),
        ],
    )
    def test_status(self, status: int, expected: str) -> None:
        """What was sent is given up only if it is itself at fault."""
        assert expected == judge(status)

    @pytest.mark.parametrize("type_", [name for name in CONFIGS if name != "newrelic"])
    async def test_connection(self, type_: str) -> None:
        """The test leaves no spans behind, and tells a receiver that refuses."""
        async with receiving() as receiver, sending() as send:
            environment = Environment(
                send=send,
                clock=lambda: CREATED_S,
                sleep=lambda _: None,  # pyright: ignore[reportArgumentType]
                dice=lambda: 0,
                limits=Limits(timeout_s=2),
                directory=None,
            )
            destination = configured(type_, receiver.url)
            assert await try_connection(destination, environment) is None
            receiver.behave = lambda _: 403
            assert "it answers 403" == await try_connection(destination, environment)
            receiver.behave = lambda _: 400
            refused = await try_connection(destination, environment)
            assert (None if type_ == "webhook" else "it answers 400") == refused
            assert all(b"openrouter.generation.id" not in arrival.body for arrival in receiver.arrivals)
            if type_ == "webhook":
                assert ("true", b'{"resourceSpans":[]}') == (
                    receiver.arrivals[0].headers["x-test-connection"],
                    receiver.arrivals[0].body,
                )
        gone = await try_connection(destination, environment)
        assert gone is not None
        assert CANARY not in gone

    async def test_redirects_are_not_followed(self) -> None:
        """The key would go to wherever they lead."""
        async with receiving() as elsewhere, receiving() as receiver, sending() as send:
            receiver.behave = lambda _: (302, f"Location: {elsewhere.url}/\r\n")
            reply = await send(request_of(configured("webhook", receiver.url)))
            assert (302, 0) == (reply.status, len(elsewhere.arrivals))


class TestDocumentation:
    """docs/gateway/observability.md."""

    PAGE = (Path(__file__).parents[3] / "docs" / "gateway" / "observability.md").read_text("utf-8")

    def test_it_has_the_table(self) -> None:
        assert f"```sql\n{CREATE_TABLE}```" in self.PAGE

    @pytest.mark.parametrize("type_", CONFIGS)
    def test_it_has_every_field(self, type_: str) -> None:
        """In bold, if it is required."""
        (row,) = [line for line in self.PAGE.splitlines() if line.startswith(f"| `{type_}` |")]
        for field in msgspec.structs.fields(KINDS[type_].config):
            if field.name != "headers":
                assert (f"**{field.encode_name}**" if field.required else field.encode_name) in row
