"""Media that messages refer to by URL, fetched for endpoints that want it as data."""

import asyncio
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from openrouter_gateway.callers.fetch import Allowance, Fault, Fetched, Fetcher, FetchFailed
from openrouter_gateway.core.parts import Kind, Reference
from openrouter_gateway.errors import MediaRefused
from openrouter_gateway.wire.media import Media, sniff

_ANSWERS: Final[dict[Fault, tuple[int, str]]] = {
    "refused": (400, "image_download_failed"),
    "missing": (404, "image_not_found"),
    "too large": (400, "image_too_large"),
    "failed": (400, "image_download_failed"),
}
"""Status and error type. OpenRouter has no words of its own for videos and files (errors, 2026-08-22)."""

_FORMATS: Final[dict[Kind, str]] = {
    "image": "PNG, JPEG, WebP or GIF",
    "video": "MP4, QuickTime, WebM or MPEG",
    "file": "PDF, text, an image or an Office document",
}
_SHOWN: Final = 120


class MediaLimits(Struct, frozen=True, kw_only=True):
    """Bytes of one fetched thing and of all that one request refers to; seconds for each."""

    max_bytes: int = 20 * 1024 * 1024
    max_request_bytes: int = 50 * 1024 * 1024
    timeout_s: float = 20.0
    parallel: int = 4


class MediaFetcher:
    """Fetches what parts of messages refer to, and looks whether it is what they say."""

    def __init__(self, fetcher: Fetcher, limits: MediaLimits) -> None:
        self._fetcher = fetcher
        self._limits = limits

    def __repr__(self) -> str:
        return f"<MediaFetcher {self._limits}>"

    async def fetch(self, references: Sequence[Reference]) -> dict[str, Media]:
        """Return what is behind each URL.

        Raises:
            MediaRefused: for one of them, 400 or 404; the message names it.
        """
        allowance = Allowance(self._limits.max_request_bytes)
        places = asyncio.Semaphore(self._limits.parallel)

        async def fetch_one(reference: Reference) -> Media:
            async with places:
                return await self._fetch_one(reference, allowance)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = {each.url: group.create_task(fetch_one(each)) for each in references}
        except ExceptionGroup as failures:
            refused, others = failures.split(MediaRefused)
            if refused is None or others is not None:
                raise
            raise _first(refused) from None
        return {url: task.result() for url, task in tasks.items()}

    async def _fetch_one(self, reference: Reference, allowance: Allowance) -> Media:
        limits = self._limits
        try:
            found = await self._fetcher.get(
                reference.url, Allowance(limits.max_bytes, allowance), timeout_s=limits.timeout_s
            )
        except FetchFailed as failure:
            status, error_type = _ANSWERS[failure.fault]
            raise MediaRefused(f"{_show(reference)} {failure}", status=status, error_type=error_type) from None
        return Media(mime=_check(reference, found), data=found.body)


def _check(reference: Reference, found: Fetched) -> str:
    mime = sniff(found.body, reference.kind, found.content_type) if found.body else None
    if mime is None:
        error_type = "unsupported_image_format" if reference.kind == "image" else "invalid_request"
        wanted = f"is not {_FORMATS[reference.kind]}" if found.body else "is empty"
        raise MediaRefused(f"{_show(reference)} {wanted}", error_type=error_type)
    return mime


def _show(reference: Reference) -> str:
    """Name it without the query, which may be a signature, and without a user's name and password."""
    try:
        parts = urlsplit(reference.url)
        place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    except ValueError:
        place = "with a URL that is not valid"
    return f"The {reference.kind} {place[:_SHOWN]}"


def _first(group: ExceptionGroup[MediaRefused]) -> MediaRefused:
    found = group.exceptions[0]
    return found if isinstance(found, MediaRefused) else _first(found)
