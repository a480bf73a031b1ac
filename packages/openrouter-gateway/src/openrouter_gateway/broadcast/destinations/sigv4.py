"""AWS Signature Version 4 in the Authorization header, with the payload in one chunk.

Amazon S3 API reference, "Signature Calculations for the Authorization Header: Transferring Payload in a Single Chunk"
(docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, 2026-11-27).
"""

import datetime as dt
import hashlib
import hmac
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, quote, urlsplit

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_PORTS: Final = {"http": 80, "https": 443}


def sign(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    access_key: str,
    secret_key: str,
    region: str,
    now: float,
    service: str = "s3",
) -> dict[str, str]:
    """Return headers with those added that sign the request.

    `url` has its path encoded as it will be sent, and no query. All of `headers` are signed, and the host.
    """
    moment = dt.datetime.fromtimestamp(now, dt.UTC).strftime("%Y%m%dT%H%M%SZ")
    parts = urlsplit(url)
    digest = hashlib.sha256(body).hexdigest()
    added = {"x-amz-content-sha256": digest, "x-amz-date": moment}
    signed = {name.lower(): " ".join(value.split()) for name, value in [*headers.items(), *added.items()]}
    signed["host"] = _host(parts)
    names = sorted(signed)
    canonical = "\n".join(
        [method, parts.path or "/", "", *(f"{name}:{signed[name]}" for name in names), "", ";".join(names), digest]
    )
    scope = f"{moment[:8]}/{region}/{service}/aws4_request"
    to_sign = "\n".join([_ALGORITHM, moment, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{secret_key}".encode()
    for name in (moment[:8], region, service, "aws4_request"):
        key = _mac(key, name)
    signature = _mac(key, to_sign).hex()
    credential = f"Credential={access_key}/{scope}, SignedHeaders={';'.join(names)}, Signature={signature}"
    return dict(headers) | added | {"Authorization": f"{_ALGORITHM} {credential}"}


def _host(parts: SplitResult) -> str:
    """Return the Host header as it is sent: lower case, without the scheme's own port."""
    name = parts.hostname or ""
    authority = f"[{name}]" if ":" in name else name
    return authority if parts.port in (None, _PORTS.get(parts.scheme)) else f"{authority}:{parts.port}"


def encode_path(path: str) -> str:
    """Return a path as S3 wants it: every byte encoded but letters, digits, `-._~` and the slash."""
    return quote(path, safe="/-._~")


def _mac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
