"""Whole JSON answers decoded, with the errors inside them raised; pure."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from langchain_openrouter._decoding import Secrets, decode_object, mend
from langchain_openrouter._error_bodies import error_in

Json: TypeAlias = dict[str, Any]


def decode_answer(body: bytes, headers: Mapping[str, str], secrets: Secrets) -> Json:
    """Return the object that a body holds.

    Raises:
        APIError: The body holds an error.
        ProtocolViolation: The body is no JSON object.
    """
    payload, odd = decode_object(body, secrets)
    payload = mend(payload) if odd else payload
    if (error := error_in(payload, headers=headers, secrets=secrets)) is not None:
        raise error
    return payload
