"""Texts that no database of ours would take: PostgreSQL has no NUL in its own, and refuses a question with one."""

import re
from typing import Final

from starlette.requests import Request

from openrouter_gateway.errors import BadRequest

_ESCAPED: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""As JSON writes it; behind another backslash it is six characters that may be anything."""


def check_url(request: Request) -> None:
    """Raise `BadRequest` for a URL that has one in what it names or asks for."""
    if any("\0" in text for text in (*request.path_params.values(), *request.query_params.values())):
        raise BadRequest("The request's URL must not have the character NUL")


def check_body(body: bytes) -> None:
    """Raise `BadRequest` for JSON that has one."""
    if _ESCAPED.search(body):
        raise BadRequest("The request body must not have the character NUL")
