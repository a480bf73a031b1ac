"""The `file-parser` plugin: PDFs as text, for endpoints that take no files, and what was read, to be sent again.

OpenRouter API, file parser (2026-08-22): the text goes where the file was, and onto the answer as an annotation; an
assistant message that brings the annotation back saves reading the file again. The one engine here reads text.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import Any, Final, TypeAlias, cast
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec import Struct

from openrouter_gateway.core.amend import Part, amend, change_parts, read_message, read_messages
from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.parts import Reference, may_be_pdf, reference_of
from openrouter_gateway.core.plugins import FILE_PARSER
from openrouter_gateway.errors import BadRequest

_MOST_IMAGES: Final = 8
"""Of a file that some OCR engine has read, as many are forwarded (OpenRouter API, file parser, 2026-08-22)."""

_OCR: Final = "mistral-ocr"
_LONGEST_NAME: Final = 200


class PDFText(Struct, frozen=True, tag=True):
    """The text of all pages, a blank line between them."""

    text: str


class PDFProblem(Struct, frozen=True, tag=True):
    """Why there is no text, to go behind the file's name."""

    reason: str


PDFReading: TypeAlias = PDFText | PDFProblem


class ParsedFile(Struct, frozen=True, kw_only=True):
    """A file that was read. `hash` is the SHA-256 of its bytes in hex, `content` the parts that stand for it."""

    hash: str
    name: str | None
    content: list[Part]

    @property
    def annotation(self) -> dict[str, Any]:
        """What goes onto the answer."""
        named = {} if self.name is None else {"name": self.name}
        return {"type": "file", "file": {"hash": self.hash, **named, "content": self.content}}


def files_to_parse(request: ChatRequest, endpoint: Endpoint) -> list[Reference]:
    """Return the files that an endpoint needs the text of, each once.

    Raises:
        BadRequest: the request wants them read by an engine that is not here.
    """
    plugin = request.plugin(FILE_PARSER)
    engine = plugin.pdf.engine if plugin is not None and plugin.pdf is not None else None
    native = "file" in (endpoint.input_modalities or ())
    if endpoint.provider.runs_plugins or (plugin is not None and plugin.enabled is False):
        return []
    if engine == "native" or (engine is None and native):
        return []
    found: dict[str, Reference] = {}
    for message in request.params.messages:
        for part in message.content if isinstance(message.content, list) else ():
            reference = reference_of(part)
            if reference is not None and may_be_pdf(reference):
                found.setdefault(reference.url, reference)
    if found and engine == _OCR:
        raise BadRequest(
            f"plugins: {_OCR!r} cannot read files here, as no OCR engine is configured; pdf.engine 'pdf-text' reads "
            "the text of a PDF, 'native' leaves it to models that take files"
        )
    return list(found.values())


def decode_file(reference: Reference) -> bytes:
    """Return the bytes of a file that is in its message.

    Raises:
        BadRequest: it is not base64.
    """
    head, comma, data = reference.url.partition(",")
    try:
        if comma and head.lower().endswith(";base64"):
            return base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        pass
    raise BadRequest(f"The file {name_of(reference)} is not a data URL with valid base64")


def name_of(reference: Reference) -> str:
    """Return what to call a file: as the caller did, or by its URL."""
    if reference.name:
        return reference.name[:_LONGEST_NAME]
    name = "" if reference.is_data else unquote(urlsplit(reference.url).path).rpartition("/")[2]
    return name[:_LONGEST_NAME] or "document.pdf"


def hash_of(data: bytes) -> str:
    """Return the name by which a file's text is known."""
    return hashlib.sha256(data).hexdigest()


def parsed_from(reference: Reference, digest: str, text: str) -> ParsedFile:
    """Return a file that was read just now."""
    return ParsedFile(hash=digest, name=name_of(reference), content=[{"type": "text", "text": text}])


def replayed_files(request: ChatRequest) -> dict[str, ParsedFile]:
    """Return the files that assistant messages bring back in their annotations, by hash."""
    found: dict[str, ParsedFile] = {}
    for raw, message in zip(read_messages(request), request.params.messages, strict=True):
        if message.role == "assistant" and b'"annotations"' in bytes(raw):
            for annotation in _lists(read_message(raw).get("annotations")):
                file = annotation.get("file") if annotation.get("type") == "file" else None
                if isinstance(file, dict) and (parsed := _read_annotation(cast("dict[str, Any]", file))):
                    found.setdefault(parsed.hash, parsed)
    return found


def with_texts(request: ChatRequest, files: Mapping[str, ParsedFile], endpoint: Endpoint) -> ChatRequest:
    """Return the request with files, by URL, as what was read of them, and without the annotations that brought any.

    Pictures of what was read elsewhere go to endpoints that take them (OpenRouter API, file parser, 2026-08-22).
    """
    images_left = _MOST_IMAGES if "image" in (endpoint.input_modalities or ()) else 0

    def change(part: Part) -> list[Part] | None:
        nonlocal images_left
        reference = reference_of(part)
        parsed = files.get(reference.url) if reference is not None else None
        if parsed is None:
            return None
        name = (parsed.name or "document.pdf").replace('"', "'")
        shown: list[Part] = [{"type": "text", "text": f'<file name="{name}">'}]
        for held in parsed.content:
            if held.get("type") == "image_url":
                if images_left <= 0:
                    continue
                images_left -= 1
            shown.append(held)
        return [*shown, {"type": "text", "text": "</file>"}]

    return _without_annotations(change_parts(request, change))


def _without_annotations(request: ChatRequest) -> ChatRequest:
    """They have been used, and are no part of any provider's messages."""
    raw = read_messages(request)
    if not any(b'"annotations"' in bytes(each) for each in raw):
        return request
    messages = [read_message(each) for each in raw]
    for message in messages:
        message.pop("annotations", None)
    return amend(request, {"messages": messages})


def _read_annotation(file: dict[str, Any]) -> ParsedFile | None:
    """Return what an annotation tells; parts of kinds that stand for no file are left out."""
    content = [part for part in _lists(file.get("content")) if _is_shown(part)]
    try:
        return msgspec.convert(file | {"content": content}, ParsedFile) if content else None
    except msgspec.ValidationError:
        return None


def _is_shown(part: Part) -> bool:
    if part.get("type") == "text":
        return isinstance(part.get("text"), str)
    reference = reference_of(part)
    return reference is not None and reference.kind == "image" and reference.is_data


def _lists(value: Any) -> list[dict[str, Any]]:
    """Return the objects of what should be a list of them."""
    listed = cast("list[Any]", value) if isinstance(value, list) else []
    return [cast("dict[str, Any]", each) for each in listed if isinstance(each, dict)]
