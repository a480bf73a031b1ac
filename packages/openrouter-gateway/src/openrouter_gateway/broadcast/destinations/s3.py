"""Amazon S3, and storage that speaks its API: one JSON document per trace (OpenRouter API, broadcast, 2026-11-27)."""

import datetime as dt
import re
import string
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from openrouter_gateway.broadcast.destinations.base import (
    Config,
    HTTPRequest,
    InvalidConfig,
    Part,
    Payload,
    Secret,
    Text,
    check_url,
    is_sendable,
    with_headers,
)
from openrouter_gateway.broadcast.destinations.sigv4 import encode_path, sign
from openrouter_gateway.broadcast.spans import Span, Trace

_VARIABLES: Final = frozenset({"prefix", "date", "year", "month", "day", "apiKeyName"})
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9!_.*'()-]+")
"""What is not safe in object keys without further thought (Amazon S3, Naming Amazon S3 objects, 2026-11-27)."""
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_REGION: Final = re.compile(r"[a-z0-9-]{1,64}")
_NS: Final = 1_000_000_000
_encode = msgspec.json.Encoder(decimal_format="number").encode


class S3Config(Config, frozen=True, kw_only=True, rename="camel"):
    """`endpoint` is for storage that is not Amazon's. Without a `region`, it is us-east-1."""

    bucket_name: Text
    access_key_id: Secret
    secret_access_key: Secret
    region: str | None = None
    endpoint: str | None = None
    session_token: Secret | None = None
    prefix: str = "openrouter-traces"
    path_template: str = "{prefix}/{date}"


class S3Kind:
    """See `base.Kind`."""

    name = "s3"
    config: type[Config] = S3Config
    most = 1
    connections = 16

    def check(self, config: S3Config) -> None:
        """See `base.Kind`."""
        if not _BUCKET.fullmatch(config.bucket_name):
            raise InvalidConfig("config.bucketName: is not a bucket's name")
        if config.region and not _REGION.fullmatch(config.region):
            raise InvalidConfig("config.region: is not a region's name")
        if config.endpoint:
            check_url(config.endpoint, "endpoint")
        try:
            fields = [field for _, field, _, _ in string.Formatter().parse(config.path_template) if field is not None]
        except ValueError:
            raise InvalidConfig("config.pathTemplate: has a brace without its other") from None
        if not set(fields) <= _VARIABLES:
            raise InvalidConfig(f"config.pathTemplate: these are known: {', '.join(sorted(_VARIABLES))}")
        if not is_sendable(config.access_key_id.reveal()):
            raise InvalidConfig("config.accessKeyId: has characters that cannot be sent")

    def encode(self, config: S3Config, trace: Trace) -> Part:
        """See `base.Kind`; a part's name is the object's key."""
        began = dt.datetime.fromtimestamp(trace.span.start_ns / _NS, dt.UTC)
        variables = {
            "prefix": config.prefix.strip("/"),
            "date": f"{began:%Y-%m-%d}",
            "year": f"{began:%Y}",
            "month": f"{began:%m}",
            "day": f"{began:%d}",
            "apiKeyName": _UNSAFE.sub("_", trace.key_name or "") or "none",
        }
        directory = config.path_template.format_map(variables).strip("/")
        file = f"{trace.trace_id}-{began:%Y%m%dT%H%M%S%fZ}.json"
        return Part(body=_encode(_document(trace)), name=f"{directory}/{file}" if directory else file)

    def join(self, config: S3Config, parts: Sequence[Part]) -> Payload:
        """See `base.Kind`: there is one."""
        (part,) = parts
        return Payload(body=part.body, traces=1, name=part.name)

    def request(self, config: S3Config, payload: Payload, now: float) -> HTTPRequest:
        """See `base.Kind`."""
        region = config.region or "us-east-1"
        base = config.endpoint or f"https://s3.{region}.amazonaws.com"
        url = base.rstrip("/") + encode_path(f"/{config.bucket_name}/{payload.name}")
        headers = with_headers({"Content-Type": "application/json"}, config)
        if config.session_token is not None:
            headers["x-amz-security-token"] = config.session_token.reveal()
        signed = sign(
            "PUT",
            url,
            headers,
            payload.body,
            access_key=config.access_key_id.reveal(),
            secret_key=config.secret_access_key.reveal(),
            region=region,
            now=now,
        )
        return HTTPRequest(method="PUT", url=url, headers=signed, body=payload.body)

    def trial(self, config: S3Config, now: float) -> HTTPRequest:
        """See `base.Kind`: only writing can show that writing is allowed, so there is an empty object afterwards."""
        prefix = config.prefix.strip("/")
        name = f"{prefix}/connection-test.json" if prefix else "connection-test.json"
        return self.request(config, Payload(body=b"{}", traces=0, name=name), now)

    def passes(self, status: int) -> bool:
        """See `base.Kind`."""
        return 200 <= status < 300


def _document(trace: Trace) -> dict[str, Any]:
    generation = trace.generation
    return {
        "id": trace.trace_id,
        "name": trace.name or trace.model or "chat",
        "timestamp": _iso(trace.span.start_ns),
        "userId": generation.user,
        "sessionId": generation.session_id,
        "metadata": trace.metadata,
        "observations": [_observation(trace, span) for span in trace.spans],
    }


def _observation(trace: Trace, span: Span) -> dict[str, Any]:
    observation: dict[str, Any] = {
        "id": span.span_id,
        "parentObservationId": span.parent_id,
        "type": "SPAN" if span.kind == "group" else "GENERATION",
        "name": span.name,
        "startTime": _iso(span.start_ns),
        "endTime": _iso(span.end_ns),
        "level": "DEFAULT" if span.error is None else "ERROR",
        "statusMessage": span.error,
        "metadata": trace.metadata,
    }
    if span.kind == "group":
        return observation
    generation = trace.generation
    usage, cost = generation.usage, generation.cost
    return observation | {
        "model": trace.model or None,
        "provider": generation.provider,
        "input": trace.messages,
        "output": trace.reply,
        "finishReason": generation.finish_reason,
        "usage": {
            "promptTokens": usage.prompt_tokens,
            "completionTokens": usage.completion_tokens,
            "totalTokens": usage.total_tokens,
            "cachedTokens": usage.cached_tokens,
            "reasoningTokens": usage.reasoning_tokens,
        },
        "cost": cost.total,
        "attributes": span.attributes,
        "events": [{"name": event.name, "time": _iso(event.time_ns), **event.attributes} for event in span.events],
    }


def _iso(time_ns: int) -> str:
    return dt.datetime.fromtimestamp(time_ns / _NS, dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


S3: Final = S3Kind()
