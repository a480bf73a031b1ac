"""Who is calling: the key's check, and what it grants."""

import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Raw, Struct

from openrouter_gateway.core.account import Key
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.errors import InferenceOnly, ManagementOnly, Unauthenticated

KEY_PREFIX: Final = "sk-or-v1-"


class Grant(Struct, frozen=True, kw_only=True):
    """What the caller may do. `key_hash` is the SHA-256 of the key in hex, None where no keys are configured.

    `key` is the store's, None for one of the configuration's, which has no limits.
    """

    key_hash: str | None = None
    key: Key | None = None


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


def identify(
    credential: str | None,
    *,
    configured: frozenset[str],
    stored: Mapping[str, Key],
    required: bool,
    now: float,
) -> Grant:
    """Return the grant of a presented key: one of the configuration's hashes, or of the store's keys by hash.

    Unless a key is `required`, and with none configured, everyone is let in (loopback only).

    Raises:
        Unauthenticated: no key, one that is not known, or one that is disabled or has expired.
    """
    if not (required or configured):
        return _ANYONE
    if not credential:
        raise Unauthenticated("Missing Authentication header: send `Authorization: Bearer <key>`")
    return look_up(hash_key(credential), configured=configured, stored=stored, now=now)


def look_up(key_hash: str, *, configured: frozenset[str], stored: Mapping[str, Key], now: float) -> Grant:
    """Return the grant of a key that is known by its hash; raises as `identify`."""
    key = stored.get(key_hash)
    if key is None:
        if key_hash in configured:
            return Grant(key_hash=key_hash)
        raise Unauthenticated("Invalid API key: it is not one of this gateway's keys")
    if key.disabled:
        raise Unauthenticated("This API key is disabled")
    if key.expires_at is not None and key.expires_at <= now:
        raise Unauthenticated("This API key has expired")
    return Grant(key_hash=key_hash, key=key)


def allow_inference(grant: Grant) -> None:
    """Raise `InferenceOnly` for a management key (OpenRouter API, authentication, 2026-08-22)."""
    if grant.key is not None and grant.key.management:
        raise InferenceOnly("Management keys cannot run inference: use an inference key")


def allow_management(grant: Grant) -> None:
    """Raise `ManagementOnly` for everything but a management key (OpenRouter API, authentication, 2026-08-22)."""
    if grant.key is None or not grant.key.management:
        raise ManagementOnly(
            "Only management keys can perform this operation: "
            "`openrouter-gateway keys create --management` makes the first one"
        )


def mask_key(key: str) -> str:
    """Return a form to know a key by that does not give it away, such as `sk-or-v1-0e6...1c96`."""
    secret = key.removeprefix(KEY_PREFIX)
    return f"{KEY_PREFIX}{secret[:3]}...{secret[-4:]}"


def hide_user(request: ChatRequest, grant: Grant) -> ChatRequest:
    """Return the request with `user` as providers may see it: hashed together with the account, never as sent.

    `params.user` keeps the caller's own value for the gateway's records.
    """
    user = request.params.user
    if not user:
        return request
    pseudonym = hashlib.sha256(f"{grant.key_hash or ''}:{user}".encode()).hexdigest()
    return msgspec.structs.replace(request, fields=request.fields | {"user": Raw(msgspec.json.encode(pseudonym))})
