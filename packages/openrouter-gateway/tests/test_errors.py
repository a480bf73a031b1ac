"""The tree of failures, and its one rendering."""

import json

import pytest

from openrouter_gateway import errors
from openrouter_gateway.errors import GatewayError, Refused, RoutingError, UpstreamError
from openrouter_gateway.wire.skins import chat

ERROR_TYPES = {
    "context_length_exceeded", "max_tokens_exceeded", "token_limit_exceeded", "string_too_long", "authentication",
    "permission_denied", "payment_required", "rate_limit_exceeded", "provider_overloaded", "provider_unavailable",
    "invalid_request", "invalid_prompt", "not_found", "precondition_failed", "payload_too_large", "unprocessable",
    "content_policy_violation", "refusal", "invalid_image", "image_too_large", "image_too_small",
    "unsupported_image_format", "image_not_found", "image_download_failed", "server", "timeout", "unmapped",
}  # fmt: skip
"""OpenRouter API, errors (2026-08-22)."""

TABLE = {
    "GatewayError": (500, "server"),
    "RequestError": (400, "invalid_request"),
    "BadRequest": (400, "invalid_request"),
    "MediaRefused": (400, "image_download_failed"),
    "PayloadTooLarge": (413, "payload_too_large"),
    "NotFound": (404, "not_found"),
    "Unprocessable": (422, "unprocessable"),
    "Conflict": (409, "invalid_request"),
    "DeadlineExceeded": (408, "timeout"),
    "AtCapacity": (429, "rate_limit_exceeded"),
    "UnknownRoute": (404, "not_found"),
    "MethodNotAllowed": (405, "invalid_request"),
    "AccessError": (403, "permission_denied"),
    "Unauthenticated": (401, "authentication"),
    "HostRefused": (403, "permission_denied"),
    "ManagementOnly": (403, "permission_denied"),
    "InferenceOnly": (403, "permission_denied"),
    "PaymentRequired": (402, "payment_required"),
    "RateLimited": (429, "rate_limit_exceeded"),
    "RoutingError": (404, "not_found"),
    "ModelNotFound": (400, "invalid_request"),
    "WrongEndpoint": (400, "invalid_request"),
    "ConstraintFiltered": (404, "not_found"),
    "PrivacyRestricted": (404, "not_found"),
    "UpstreamError": (502, "provider_unavailable"),
    "Refused": (400, "invalid_request"),
    "Throttled": (429, "rate_limit_exceeded"),
    "Unavailable": (502, "provider_unavailable"),
    "NotRecorded": (502, "provider_unavailable"),
    "TimedOut": (504, "timeout"),
    "Garbled": (502, "provider_unavailable"),
    "Cut": (502, "provider_unavailable"),
    "ConfigError": (500, "server"),
    "InternalError": (500, "server"),
}


def all_kinds(kind: type[GatewayError] = GatewayError) -> list[type[GatewayError]]:
    """Return a class and everything below it that the package itself defines."""
    below = [found for each in kind.__subclasses__() for found in all_kinds(each)]
    return [found for found in [kind, *below] if found.__module__ == errors.__name__]


def make(kind: type[GatewayError]) -> GatewayError:
    """Return an error of a kind, with all that it can carry."""
    if issubclass(kind, RoutingError):
        return kind("it broke", requested_models=["a/one"], excluded_by=["max_price"], detail="why")
    if issubclass(kind, UpstreamError):
        return kind("it broke", provider="Acme", provider_status=500, provider_code="c", metadata={"more": 1})
    return kind("it broke", metadata={"more": 1})


def test_the_table_is_complete() -> None:
    """A new failure needs a line here, and so a thought about its status."""
    assert TABLE.keys() == {kind.__name__ for kind in all_kinds()}


@pytest.mark.parametrize("kind", all_kinds())
def test_every_error_renders(kind: type[GatewayError]) -> None:
    """An integer code that is the status, a message, and a type of OpenRouter's list in the metadata."""
    error = make(kind)

    shown = json.loads(chat.encode_error_body(error))["error"]

    assert TABLE[kind.__name__] == (shown["code"], shown["metadata"]["error_type"])
    assert int is type(shown["code"])
    assert error.status == shown["code"]
    assert shown["metadata"]["error_type"] in ERROR_TYPES
    assert shown["message"] == ("Internal Server Error" if kind is errors.InternalError else "it broke")
    assert str(error) == "it broke"


@pytest.mark.parametrize("kind", [kind for kind in all_kinds() if issubclass(kind, UpstreamError)])
def test_a_providers_error_names_the_provider(kind: type[UpstreamError]) -> None:
    """Its name and its own code, for support."""
    shown = chat.error_object(make(kind))["metadata"]

    assert (shown["provider_name"], shown["provider_code"], shown["more"]) == ("Acme", "c", 1)


def test_a_masked_error_carries_nothing() -> None:
    """No metadata, no code, no message of an internal failure is shown."""
    shown = chat.error_object(errors.InternalError("secret", metadata={"secret": 1}))

    assert shown == {"code": 500, "message": "Internal Server Error", "metadata": {"error_type": "server"}}


@pytest.mark.parametrize("kind", [kind for kind in all_kinds() if issubclass(kind, RoutingError)])
def test_routing_errors_have_an_availability(kind: type[RoutingError]) -> None:
    """With the four keys that are always there, and what is known of the rest."""
    shown = chat.error_object(make(kind))["availability"]

    assert {"code", "retryable", "requested_models", "docs_url", "excluded_by", "constraint"} == shown.keys()
    field = "model" if kind is errors.WrongEndpoint else "provider"
    assert shown["constraint"] == {"field": field, "detail": "why"}
    assert shown["docs_url"].endswith(f"#{kind.availability_code}")


def test_what_is_not_known_is_left_out() -> None:
    """Absent, never null."""
    shown = chat.error_object(RoutingError("x", requested_models=[]))["availability"]

    assert {"code", "retryable", "requested_models", "docs_url"} == shown.keys()
    assert {"error_type"} == chat.error_object(errors.BadRequest("x"))["metadata"].keys()
    assert "availability" not in chat.error_object(errors.BadRequest("x"))


def test_only_a_refusal_ends_the_search() -> None:
    """Every other fault of a provider lets the next endpoint have its try."""
    upstream = [kind for kind in all_kinds(UpstreamError) if kind is not UpstreamError]

    assert [Refused] == [kind for kind in upstream if not make(kind).failover]  # type: ignore[attr-defined]


def test_a_refusal_has_the_status_of_its_reason() -> None:
    """The provider's 413 is a 413 here."""
    error = Refused("x", status=413, error_type="payload_too_large", provider="Acme")

    assert (error.status, error.error_type, error.provider) == (413, "payload_too_large", "Acme")
