"""Texts that no database of ours would take: PostgreSQL has no NUL in its own, and refuses a question with one."""

from typing import Final

from starlette.requests import Request

from openrouter_gateway.errors import BadRequest

_ESCAPED: Final = b"\\u0000"
"""In JSON there is no other way to write it."""


def check_url(request: Request) -> None:
    """Raise `BadRequest` for a URL that has one in what it names or asks for."""
    if any("\0" in text for text in (*request.path_params.values(), *request.query_params.values())):
        raise BadRequest("The request's URL must not have the character NUL")


def check_body(body: bytes) -> None:
    """Raise `BadRequest` for JSON that has one."""
    if _ESCAPED in body:
        raise BadRequest("The request body must not have the character NUL")
