"""Media that messages refer to by URL: what of it a provider wants as data, and requests rewritten to hold it."""

import base64
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct

from openrouter_gateway.core.amend import Part, change_parts
from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.parts import Kind, Reference, refer_to, reference_of
from openrouter_gateway.wire.protocols.gemini_media import must_be_inlined

INLINE_MEDIA: Final = "inline_media"
"""Quirk: the provider takes all media as data, or is a server that should not fetch what strangers name."""

# What a protocol has no URLs for. A protocol that is not here gets everything as data.
_INLINE: Final[dict[str, frozenset[Kind]]] = {
    # Files: "External file URL: not supported" (developers.openai.com/api/docs/guides/file-inputs, 2026-11).
    "openai": frozenset({"file"}),
    # Images and PDFs by URL are sources of their own, and nothing else is taken (platform.claude.com/docs, vision and
    # PDF support, 2026-11).
    "anthropic": frozenset(),
    # input_image and input_file have URLs, and nothing else is taken (developers.openai.com, file-inputs, 2026-11).
    "openai_responses": frozenset(),
}
_ALL: Final[frozenset[Kind]] = frozenset({"image", "video", "file"})
_NONE: Final[frozenset[Kind]] = frozenset()

# Protocols that have URLs for some of what a kind may be at.
_BY_URL: Final[dict[str, Callable[[str, str], bool]]] = {"gemini": must_be_inlined}

_NOT_VIDEO: Final = (b"hei", b"hev", b"mif", b"msf", b"avi", b"M4A", b"M4B", b"crx")
_SNIFFED_BYTES: Final = 1024
_TEXT_TYPES: Final = frozenset({"application/json", "application/xml", "application/yaml", "application/x-yaml"})
_OFFICE: Final = "application/vnd.openxmlformats-officedocument."


class Media(Struct, frozen=True, kw_only=True):
    """What was fetched. `mime` is what the content shows, not what the server said."""

    mime: str
    data: bytes

    def __repr__(self) -> str:
        return f"<Media {self.mime} {len(self.data)} bytes>"

    @property
    def url(self) -> str:
        """The same as a data URL."""
        return f"data:{self.mime};base64,{base64.b64encode(self.data).decode()}"


def kinds_to_inline(endpoint: Endpoint) -> frozenset[Kind]:
    """Return the kinds of media that an endpoint wants as data, because its protocol or its provider has no URLs."""
    provider = endpoint.provider
    if provider.runs_plugins:
        return _NONE
    return _ALL if INLINE_MEDIA in provider.quirks else _INLINE.get(endpoint.protocol, _ALL)


def links_to_inline(request: ChatRequest, endpoint: Endpoint) -> list[Reference]:
    """Return what has to be fetched before an endpoint can be asked, each URL once; also what has no such scheme."""
    kinds = kinds_to_inline(endpoint)
    by_url = _BY_URL.get(endpoint.protocol)
    found: dict[str, Reference] = {}
    if not kinds:
        return []
    for message in request.params.messages:
        for part in message.content if isinstance(message.content, list) else ():
            reference = reference_of(part)
            if reference is None or reference.kind not in kinds or reference.is_data:
                continue
            if by_url is not None and not by_url(reference.url, reference.kind):
                continue
            found.setdefault(reference.url, reference)
    return list(found.values())


def with_media(request: ChatRequest, media: Mapping[str, Media]) -> ChatRequest:
    """Return the request with these URLs replaced by what is behind them."""
    urls = {link: found.url for link, found in media.items()}

    def change(part: Part) -> list[Part] | None:
        reference = reference_of(part)
        if reference is None or reference.url not in urls:
            return None
        return [refer_to(part, urls[reference.url])]

    return change_parts(request, change)


def sniff(data: bytes, kind: Kind, declared: str = "") -> str | None:
    """Return the MIME type that the content shows, None if it is nothing that such a part may be.

    `declared` is the server's `Content-Type`, which is believed where content does not tell: of text and archives.
    """
    if kind == "image":
        return _sniff_image(data)
    if kind == "video":
        return _sniff_video(data)
    if b"%PDF-" in data[:_SNIFFED_BYTES]:
        return "application/pdf"
    declared = declared.partition(";")[0].strip().lower()
    if data.startswith(b"PK\x03\x04"):
        return declared if declared.startswith(_OFFICE) else None
    return _sniff_image(data) or _sniff_text(data, declared)


def _sniff_image(data: bytes) -> str | None:
    """The four that OpenRouter takes (OpenRouter API, multimodal, 2026-08-22)."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    return "image/webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def _sniff_video(data: bytes) -> str | None:
    """MP4, QuickTime, WebM and MPEG (OpenRouter API, multimodal, 2026-08-22)."""
    if data[4:8] == b"ftyp":
        brand = data[8:12]
        if brand.startswith(_NOT_VIDEO):
            return None
        return "video/quicktime" if brand == b"qt  " else "video/mp4"
    if data.startswith(b"\x1a\x45\xdf\xa3") and b"webm" in data[:_SNIFFED_BYTES]:
        return "video/webm"
    return "video/mpeg" if data.startswith((b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3")) else None


def _sniff_text(data: bytes, declared: str) -> str | None:
    if b"\0" in data[:_SNIFFED_BYTES]:
        return None
    try:
        data.decode()
    except UnicodeDecodeError:
        return None
    return declared if declared.startswith("text/") or declared in _TEXT_TYPES else "text/plain"
