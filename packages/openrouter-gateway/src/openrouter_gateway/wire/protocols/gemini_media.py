"""Content parts to the `parts` of Google's API: text, media as base64, and files that Google can read by itself.

Google reads its own files and public YouTube videos by their URI. Other URLs must have been fetched and made data URLs
before: that the API fetches public URLs, too, is documented (ai.google.dev/gemini-api/docs/file-input-methods,
2026-11) for some models, types and sizes only, and what may be fetched is the gateway's decision.
"""

import re
from base64 import b64encode
from typing import Any, Final, cast
from urllib.parse import unquote_to_bytes

from openrouter_gateway.errors import Refused

_GOOGLE_FILE: Final = re.compile(r"gs://|https://generativelanguage\.googleapis\.com/(?:v[0-9a-z]+/)?files/")
_YOUTUBE: Final = re.compile(
    r"https?://(?:(?:www\.|m\.)?youtube\.com/(?:watch\?|shorts/|live/|embed/)|youtu\.be/)", re.IGNORECASE
)
_REMOTE: Final = re.compile(r"https?://", re.IGNORECASE)

# ai.google.dev/gemini-api/docs/audio (supported formats), 2026-11; `mp3` is Google's own spelling.
_AUDIO_TYPES: Final = {"m4a": "audio/mp4", "mpeg": "audio/mpeg", "pcm16": "audio/pcm", "pcm24": "audio/pcm"}
_CORRECT_TYPES: Final = {"image/jpg": "image/jpeg"}
"""Media types that do not exist but are common, and that Google answers with 400."""

_URL_KINDS: Final = {"image_url": "image_url", "video_url": "video_url", "input_video": "video_url"}
"""Kinds of parts that hold a URL, and where: `input_video` is the legacy name (OpenRouter API, content parts)."""


def must_be_inlined(url: str, kind: str) -> bool:
    """Return whether a URL has to be fetched and made a data URL first. `kind` is the part's type."""
    return _REMOTE.match(url) is not None and not _is_readable(url, kind)


def _is_readable(url: str, kind: str) -> bool:
    if _GOOGLE_FILE.match(url):
        return True
    return not kind.startswith("image") and _YOUTUBE.match(url) is not None


def to_part(part: dict[str, Any], place: str) -> dict[str, Any]:
    """Return a content part in Google's form; `place` names it in errors.

    Raises:
        Refused: the part is malformed, of a kind that the API does not take, or at a URL that was not fetched.
    """
    kind: object = part.get("type")
    if kind == "text":
        text = part.get("text")
        if type(text) is not str:
            raise Refused(f"{place}: a text part needs a string in `text`")
        return {"text": text}
    if isinstance(kind, str) and kind in _URL_KINDS:
        return _to_media(_url_of(part, _URL_KINDS[kind], place), kind, place)
    if kind == "file":
        return _to_media(_file_of(part, place), "file", place)
    if kind == "input_audio":
        return _to_audio(part, place)
    raise Refused(f"{place}: parts of the type {kind!r} are not known to this provider")


def _url_of(part: dict[str, Any], key: str, place: str) -> str:
    held: object = part.get(key)
    url: object = cast("dict[str, Any]", held).get("url") if isinstance(held, dict) else held
    if type(url) is not str:
        raise Refused(f"{place}: the part has no URL in `{key}`")
    return url


def _file_of(part: dict[str, Any], place: str) -> str:
    held: object = part.get("file")
    if isinstance(held, dict):
        fields = cast("dict[str, Any]", held)
        for key in ("file_data", "file_url", "url"):
            if type(data := fields.get(key)) is str:
                return data
    raise Refused(f"{place}: a file part needs a data URL or a URL in `file_data` (this provider knows no file ids)")


def _to_media(url: str, kind: str, place: str) -> dict[str, Any]:
    if url[:5].lower() == "data:":
        return {"inlineData": _from_data_url(url, place)}
    if _is_readable(url, kind):
        return {"fileData": {"fileUri": url}}
    if _REMOTE.match(url):
        raise Refused(f"{place}: this provider reads no URLs, so the media must be fetched first and sent as base64")
    raise Refused(f"{place}: the part holds neither a data URL nor a URL")


def _from_data_url(url: str, place: str) -> dict[str, str]:
    head, comma, data = url[5:].partition(",")
    media_type, *parameters = (piece.strip() for piece in head.split(";"))
    if not comma or "/" not in media_type:
        raise Refused(f"{place}: the data URL does not say its media type")
    if "base64" not in parameters:
        data = b64encode(unquote_to_bytes(data)).decode()
    return inline_data(media_type.lower(), data)


def inline_data(media_type: str, data: str) -> dict[str, str]:
    """Return the member of a part that holds base64."""
    return {"mimeType": _CORRECT_TYPES.get(media_type, media_type), "data": data}


def _to_audio(part: dict[str, Any], place: str) -> dict[str, Any]:
    held: object = part.get("input_audio")
    fields = cast("dict[str, Any]", held) if isinstance(held, dict) else {}
    data, form = fields.get("data"), fields.get("format")
    if type(data) is not str:
        raise Refused(f"{place}: an audio part needs base64 in `input_audio.data`")
    if data[:5].lower() == "data:":
        return {"inlineData": _from_data_url(data, place)}
    if type(form) is not str or not form:
        raise Refused(f"{place}: an audio part needs its format in `input_audio.format`")
    return {"inlineData": inline_data(_AUDIO_TYPES.get(form.lower(), f"audio/{form.lower()}"), data)}
