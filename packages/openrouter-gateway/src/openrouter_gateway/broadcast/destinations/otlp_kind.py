"""Destinations that take OTLP over HTTP: what differs between them is a row."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from msgspec import Struct

from openrouter_gateway.broadcast.destinations.base import (
    Config,
    HTTPRequest,
    Part,
    Payload,
    check_url,
    with_headers,
)
from openrouter_gateway.broadcast.otlp import CONTENT_TYPES, Encoding, encode_part, join_parts
from openrouter_gateway.broadcast.spans import Attributes, Span, Trace

_SERVICE: Final[Attributes] = {"service.name": "openrouter", "service.version": "1.0.0"}
"""As OpenRouter sends it (digest 10.3)."""

Translate = Callable[[Trace, Span], Attributes]
"""From a span of a trace to the attributes that a destination reads."""


class OTLPKind(Struct, frozen=True, kw_only=True):
    """See `base.Kind`. Functions take the destination's configuration; `address` is its field that has the URL."""

    name: str
    config: type[Config]
    url: Callable[[Any], str]
    headers: Callable[[Any], dict[str, str]]
    translate: Translate
    encoding: Callable[[Any], Encoding]
    resource: Callable[[Any, Trace], Attributes]
    method: Callable[[Any], str]
    trial_headers: dict[str, str]
    trial_accepts: frozenset[int]
    address: str
    most: int = 256
    connections: int = 4

    def check(self, config: Any) -> None:
        """See `base.Kind`."""
        check_url(self.url(config), self.address)

    def encode(self, config: Any, trace: Trace) -> Part:
        """See `base.Kind`."""
        resource = _SERVICE | {"openrouter.trace.id": trace.trace_id} | self.resource(config, trace)
        spans = [_with(span, self.translate(trace, span)) for span in trace.spans]
        return Part(body=encode_part(self.encoding(config), resource, trace.trace_id, spans))

    def join(self, config: Any, parts: Sequence[Part]) -> Payload:
        """See `base.Kind`; a payload's name is its content type, which another configuration would not change."""
        encoding = self.encoding(config)
        body = join_parts(encoding, [part.body for part in parts])
        return Payload(body=body, traces=len(parts), name=CONTENT_TYPES[encoding])

    def request(self, config: Any, payload: Payload, now: float) -> HTTPRequest:
        """See `base.Kind`."""
        return self._request(config, payload, {})

    def trial(self, config: Any, now: float) -> HTTPRequest:
        """See `base.Kind`: a request without spans."""
        return self._request(config, self.join(config, []), self.trial_headers)

    def passes(self, status: int) -> bool:
        """See `base.Kind`."""
        return 200 <= status < 300 or status in self.trial_accepts

    def _request(self, config: Any, payload: Payload, extra: dict[str, str]) -> HTTPRequest:
        own = {"Content-Type": payload.name} | self.headers(config) | extra
        return HTTPRequest(
            method=self.method(config),
            url=self.url(config),
            headers=with_headers(own, config),
            body=payload.body,
        )


def _with(span: Span, attributes: Attributes) -> Span:
    return Span(
        span_id=span.span_id,
        parent_id=span.parent_id,
        name=span.name,
        kind=span.kind,
        start_ns=span.start_ns,
        end_ns=span.end_ns,
        attributes=attributes,
        events=span.events,
        error=span.error,
    )


def otlp_kind(
    name: str,
    config: type[Config],
    url: Callable[[Any], str],
    *,
    headers: Callable[[Any], dict[str, str]] = lambda _: {},
    translate: Translate,
    encoding: Encoding | Callable[[Any], Encoding],
    resource: Callable[[Any, Trace], Attributes] = lambda _config, _trace: {},
    method: Callable[[Any], str] = lambda _: "POST",
    trial_headers: dict[str, str] | None = None,
    trial_accepts: frozenset[int] = frozenset(),
    address: str = "baseUrl",
) -> OTLPKind:
    """Return a row; what is left out is as most have it."""

    def fixed(_: Any) -> Encoding:
        assert not callable(encoding)  # noqa: S101 - see below
        return encoding

    return OTLPKind(
        name=name,
        config=config,
        url=url,
        headers=headers,
        translate=translate,
        encoding=encoding if callable(encoding) else fixed,
        resource=resource,
        method=method,
        trial_headers=trial_headers or {},
        trial_accepts=trial_accepts,
        address=address,
    )
