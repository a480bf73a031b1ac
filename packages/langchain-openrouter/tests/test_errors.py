"""The error tree: what errors carry, show and survive."""

import copy
import json
import pickle
from typing import Any

import pytest
from langchain_core.exceptions import ContextOverflowError, ModelError, ModelRateLimitError
from langchain_core.messages import AIMessageChunk

import langchain_openrouter
from langchain_openrouter import (
    APIError,
    ConfigurationError,
    ContextTooLong,
    OpenRouterError,
    RateLimited,
    StreamBroken,
    errors,
)
from langchain_openrouter._error_bodies import error_from_response, error_in
from langchain_openrouter.errors import ERRORS_BY_STATUS, STATUS_BY_ERROR_TYPE, class_for

KEY = "sk-or-v1-0123456789abcdef"
PARTIAL = AIMessageChunk(content="Hel")


ERRORS: list[type[OpenRouterError]] = [getattr(errors, name) for name in errors.__all__]


def repickle(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - our own bytes


def test_the_tree_is_exported_and_drawn() -> None:
    documented = errors.__doc__ or ""
    for cls in ERRORS:
        assert issubclass(cls, OpenRouterError)
        assert issubclass(cls, ModelError)
        assert cls.__name__ in documented
        assert cls.__name__ in langchain_openrouter.__all__


@pytest.mark.parametrize("cls", ERRORS)
@pytest.mark.parametrize("duplicate", [repickle, copy.copy, copy.deepcopy])
def test_copies(cls: type[OpenRouterError], duplicate: Any) -> None:
    options: dict[str, Any] = {}
    if issubclass(cls, APIError):
        options = {"status": 418, "code": "x", "error_type": "t", "retry_after": 1.5, "partial": PARTIAL}
        options |= {"provider": "Acme", "generation_id": "gen-1", "metadata": {"a": 1}, "body": {"b": 2}}
    elif cls is StreamBroken:
        options = {"partial": PARTIAL}
    error = cls("what\nhappened", **options)
    twin = duplicate(error)
    assert type(twin) is cls
    assert str(twin) == str(error)
    assert twin.__dict__ == error.__dict__
    assert twin.args == error.args == ("what happened",)


def test_str_is_one_line_with_what_support_asks_for() -> None:
    error = APIError(
        "Provider\nreturned  error",
        status=502,
        error_type="provider_unavailable",
        provider="Acme",
        generation_id="gen-1",
    )
    assert str(error) == "502 provider_unavailable: Provider returned error (Acme, gen-1)"
    assert len(str(APIError("x" * 5000))) <= 600


def test_langchain_recognises_them() -> None:
    assert issubclass(RateLimited, ModelRateLimitError)
    assert RateLimited("x").is_retryable
    assert not ConfigurationError("x").is_retryable
    assert isinstance(ConfigurationError("x"), ValueError)
    assert issubclass(class_for(400, "context_length_exceeded"), ContextOverflowError)


def test_every_status_and_type_has_a_class() -> None:
    for status, cls in ERRORS_BY_STATUS.items():
        assert class_for(status, None) is cls
    for status in (500, 502, 503, 504, 524, 529, 599):
        assert class_for(status, None) is errors.ServerFailed
    assert class_for(418, None) is APIError
    assert class_for(None, None) is APIError
    for error_type, status in STATUS_BY_ERROR_TYPE.items():
        assert issubclass(class_for(status, error_type), class_for(status, None)), error_type


FULL = b"""{"error": {"code": 429, "message": "Slow down", "metadata": {
    "error_type": "rate_limit_exceeded", "provider_name": "Acme", "raw": "upstream says no"}},
    "user_id": null}"""


class TestResponses:
    """Error responses, whatever their body."""

    def test_everything_is_read(self) -> None:
        """Status, code, type, wait, provider, id, metadata, body."""
        headers = {"retry-after": "7", "x-generation-id": "gen-9"}
        error = error_from_response(429, headers, FULL, secrets=())
        assert type(error) is RateLimited
        assert (error.status, error.code, error.error_type) == (429, 429, "rate_limit_exceeded")
        assert (error.retry_after, error.provider, error.generation_id) == (7.0, "Acme", "gen-9")
        assert error.metadata["raw"] == "upstream says no"
        assert error.message == "Slow down: upstream says no"
        assert isinstance(error.body, dict)

    def test_the_body_may_ask_for_a_wait(self) -> None:
        """`error.availability.retry_after`, when there is no header."""
        body = b'{"error": {"message": "m", "availability": {"code": "capacity_exhausted", "retry_after": 4}}}'
        assert error_from_response(429, {}, body, secrets=()).retry_after == 4.0

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (b"", "the server answered 502 without an explanation"),
            (b"<html><body>Bad gateway</body></html>", "the server answered 502 without an explanation"),
            (b"upstream connect error", "upstream connect error"),
            (b'{"error": "plain text"}', "plain text"),
            (b'{"error": {"code": 502}}', '{"code":502}'),
            (b'{"detail": "not found"}', "not found"),
            (b'{"message": "hm"}', "hm"),
            (b"[1]", "the server answered 502 without an explanation"),
            (b"\xff\xfe", "\ufffd\ufffd"),
            (b'{"error": {"message": "m", "metadata": [], "code": []}}', "m"),
        ],
    )
    def test_any_body(self, body: bytes, message: str) -> None:
        """The status decides the class, the body explains what it can."""
        error = error_from_response(502, {}, body, secrets=())
        assert type(error) is errors.ServerFailed
        assert error.message == message

    def test_the_key_is_blotted_out(self) -> None:
        """Some servers repeat the key they refuse."""
        body = f'{{"error": {{"message": "bad {KEY}", "metadata": {{"k": "{KEY}"}}}}}}'.encode()
        error = error_from_response(401, {}, body, secrets=(KEY,))
        assert KEY not in str(error) + repr(error.__dict__)
        inside = error_in({"error": {"message": f"bad {KEY}"}, "x": KEY}, secrets=(KEY,))
        assert inside is not None
        assert KEY not in str(inside) + repr(inside.__dict__)


def test_openai_writes_the_type_into_the_code() -> None:
    error = {"message": "too long", "type": "invalid_request_error", "code": "context_length_exceeded"}
    found = error_from_response(400, {}, json.dumps({"error": error}).encode(), secrets=())
    assert type(found) is ContextTooLong
    assert isinstance(found, ContextOverflowError)
