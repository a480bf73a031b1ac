"""Who is calling: the key's check, and what it grants."""

import hashlib

import msgspec
from msgspec import Raw, Struct

from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.errors import Unauthenticated


class Grant(Struct, frozen=True, kw_only=True):
    """What the caller may do. `key_hash` is the SHA-256 of the key in hex, None where no keys are configured."""

    key_hash: str | None = None


_ANYONE = Grant()


def hash_key(key: str) -> str:
    """Return the SHA-256 of a key in lower-case hex: the only form in which keys are kept."""
    return hashlib.sha256(key.encode()).hexdigest()


def authorize(credential: str | None, known_hashes: frozenset[str]) -> Grant:
    """Return the grant of a presented key. With no keys configured everyone is let in (loopback only).

    Raises:
        Unauthenticated: keys are configured and this is none of them.
    """
    if not known_hashes:
        return _ANYONE
    if not credential:
        raise Unauthenticated("Missing Authentication header: send `Authorization: Bearer <key>`")
    key_hash = hash_key(credential)
    if key_hash not in known_hashes:
        raise Unauthenticated("Invalid API key: it is not one of this gateway's keys")
    return Grant(key_hash=key_hash)


def hide_user(request: ChatRequest, grant: Grant) -> ChatRequest:
    """Return the request with `user` as providers may see it: hashed together with the account, never as sent.

    `params.user` keeps the caller's own value for the gateway's records.
    """
    user = request.params.user
    if not user:
        return request
    pseudonym = hashlib.sha256(f"{grant.key_hash or ''}:{user}".encode()).hexdigest()
    return msgspec.structs.replace(request, fields=request.fields | {"user": Raw(msgspec.json.encode(pseudonym))})
