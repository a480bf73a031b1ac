"""Media that messages refer to by URL: what is fetched for whom, what it may be, and where it goes."""

import base64
from typing import Any

import msgspec
import pytest
from gateway_samples import make_endpoint, make_request

from openrouter_gateway.core.amend import amend, read_messages
from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.parts import Kind, Reference, may_be_pdf, reference_of
from openrouter_gateway.wire.media import Media, links_to_inline, sniff, with_media

PNG = b"\x89PNG\r\n\x1a\n..."
PARTS: list[dict[str, Any]] = [
    {"type": "text", "text": "Look: https://example.com/in-text.png"},
    {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "high"}, "cache_control": {}},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    {"type": "video_url", "video_url": {"url": "http://example.com/b.mp4"}},
    {"type": "input_video", "video_url": {"url": "HTTPS://example.com/c.mov"}},
    {"type": "file", "file": {"filename": "d.pdf", "file_data": "https://example.com/d"}},
    {"type": "file", "file": {"file_id": "file-1"}},
]
IMAGES = ["https://example.com/a.png"]
VIDEOS = ["http://example.com/b.mp4", "HTTPS://example.com/c.mov"]
FILES = ["https://example.com/d", "ftp://x"]
MALFORMED: list[dict[str, Any]] = [
    {"type": "image_url"},
    {"type": "image_url", "image_url": "https://example.com/a.png"},
    {"type": "image_url", "image_url": {"url": 7}},
    {"type": ["image_url"]},
    {"type": "file", "file": {}},
    {},
]


def at(protocol: str, *quirks: str) -> Endpoint:
    endpoint = make_endpoint("x", quirks=frozenset(quirks))
    return msgspec.structs.replace(endpoint, provider=msgspec.structs.replace(endpoint.provider, protocol=protocol))


def urls(request: ChatRequest, endpoint: Endpoint) -> list[str]:
    return [link.url for link in links_to_inline(request, endpoint)]


class TestLinks:
    """What has to be fetched before an endpoint can be asked."""

    REQUEST = make_request(
        messages=[
            {"role": "user", "content": PARTS},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {"name": "f"}}]},
            {"role": "tool", "tool_call_id": "1", "content": [PARTS[1], {"type": "file", "file": {"file_data": "ftp://x"}}]},
        ]
    )  # fmt: skip

    @pytest.mark.parametrize(
        ("endpoint", "expected"),
        [
            (at("openai"), FILES),
            (at("openai", "inline_media"), IMAGES + VIDEOS + FILES),
            (at("openai", "openrouter_fields"), []),
            (at("openai", "openrouter_fields", "inline_media"), []),
            (at("anthropic"), []),
            (at("openai_responses"), []),
            (at("gemini"), IMAGES + VIDEOS + FILES[:1]),
            (at("local"), IMAGES + VIDEOS + FILES),
            (at("one of tomorrow's"), IMAGES + VIDEOS + FILES),
        ],
    )
    def test_by_protocol(self, endpoint: Endpoint, expected: list[str]) -> None:
        """Each URL once, also those in results of tools; what cannot be fetched is found, to be refused."""
        assert expected == urls(self.REQUEST, endpoint)

    def test_youtube(self) -> None:
        """Google takes its addresses as they are."""
        parts = [
            {"type": "video_url", "video_url": {"url": url}}
            for url in ("https://www.youtube.com/watch?v=1", "https://youtu.be/1", "https://youtube.com.evil.test/1")
        ]
        request = make_request(messages=[{"role": "user", "content": parts}])

        assert ["https://youtube.com.evil.test/1"] == urls(request, at("gemini"))
        assert 3 == len(urls(request, at("local")))

    def test_malformed_parts(self) -> None:
        """Are for the provider to complain about."""
        request = make_request(messages=[{"role": "user", "content": MALFORMED}])

        assert [] == urls(request, at("local"))
        assert request == with_media(request, {"https://example.com/a.png": Media(mime="image/png", data=PNG)})


class TestRewriting:
    """Requests that hold what was fetched."""

    def test_with_media(self) -> None:
        """In its place, with the part's other keys; all else stays, in the typed view as in the fields."""
        question = {"role": "user", "content": "Hello", "unknown": 1.50}
        request = make_request(
            messages=[question, {"role": "user", "name": "n", "content": PARTS, "more": [1]}], seed=7, odd={"a": 1.50}
        )
        data = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"

        found = with_media(request, {"https://example.com/a.png": Media(mime="image/png", data=PNG)})

        first, second = read_messages(found)
        assert bytes(read_messages(request)[0]) == bytes(first)
        message = msgspec.json.decode(second)
        assert {"role": "user", "name": "n", "more": [1]} == {k: v for k, v in message.items() if k != "content"}
        expected = [PARTS[0], PARTS[1] | {"image_url": {"url": data, "detail": "high"}}, *PARTS[2:]]
        assert expected == message["content"] == found.params.messages[1].content
        assert {k: bytes(v) for k, v in request.fields.items() if k != "messages"} == {
            k: bytes(v) for k, v in found.fields.items() if k != "messages"
        }
        assert (7, "https://example.com/a.png") == (found.params.seed, PARTS[1]["image_url"]["url"])

    def test_nothing_to_do(self) -> None:
        """The request is the same object."""
        request = make_request()

        assert request is with_media(request, {})

    def test_fields_that_differ_from_their_view(self) -> None:
        """The user's pseudonym goes to providers, his name stays in the view."""
        request = make_request(user="me", temperature=0.5)
        request = msgspec.structs.replace(request, fields=request.fields | {"user": msgspec.Raw(b'"pseudonym"')})

        found = amend(request, {"temperature": None, "top_p": 0.5, "unknown": {"a": 1}})

        assert ("me", b'"pseudonym"') == (found.params.user, bytes(found.fields["user"]))
        assert (None, 0.5) == (found.params.temperature, found.params.top_p)
        assert ({"messages", "user", "top_p", "unknown"}, b'{"a":1}') == (
            {*found.fields},
            bytes(found.fields["unknown"]),
        )


class TestSniff:
    """What content shows it to be."""

    @pytest.mark.parametrize(
        ("data", "kind", "declared", "expected"),
        [
            (PNG, "image", "text/html", "image/png"),
            (b"\xff\xd8\xff\xe0", "image", "", "image/jpeg"),
            (b"GIF89a...", "image", "", "image/gif"),
            (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image", "", "image/webp"),
            (b"RIFF\x00\x00\x00\x00WAVEfmt ", "image", "image/webp", None),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image", "image/svg+xml", None),
            (b"<html>", "image", "image/png", None),
            (b"%PDF-1.7", "image", "image/png", None),
            (b"\x00\x00\x00\x20ftypisom", "video", "", "video/mp4"),
            (b"\x00\x00\x00\x20ftypqt  ", "video", "", "video/quicktime"),
            (b"\x00\x00\x00\x20ftypheic", "video", "", None),
            (b"\x1a\x45\xdf\xa3....webm", "video", "", "video/webm"),
            (b"\x1a\x45\xdf\xa3....matroska", "video", "", None),
            (b"\x00\x00\x01\xba...", "video", "", "video/mpeg"),
            (PNG, "video", "video/mp4", None),
            (b"%PDF-1.7", "file", "text/html", "application/pdf"),
            (b"\n\n%PDF-1.4", "file", "", "application/pdf"),
            (PNG, "file", "", "image/png"),
            ("wörds".encode(), "file", "text/markdown; charset=utf-8", "text/markdown"),
            (b"{}", "file", "application/json", "application/json"),
            (b"a,b", "file", "application/octet-stream", "text/plain"),
            (b"a\x00b", "file", "text/plain", None),
            (b"\xff\xfe", "file", "text/plain", None),
            (b"PK\x03\x04", "file", "application/zip", None),
            (b"PK\x03\x04", "file", "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
             "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        ],
    )  # fmt: skip
    def test_kinds(self, data: bytes, kind: Kind, declared: str, expected: str | None) -> None:
        """Servers' word counts only where content does not tell."""
        assert expected == sniff(data, kind, declared)


class TestPDFs:
    """Which files may be PDFs."""

    @pytest.mark.parametrize(
        ("url", "name", "expected"),
        [
            ("data:application/pdf;base64,JVBERi0", None, True),
            ("DATA:Application/PDF;base64,AAAA", None, True),
            ("data:application/octet-stream;base64,JVBERi0xLjc", None, True),
            ("data:text/plain;base64,AAAA", "x.pdf", False),
            ("https://example.com/a.pdf?x=1", None, True),
            ("https://example.com/pdf/1706.03762", None, True),
            ("https://example.com/download", None, True),
            ("https://example.com/download", "report.PDF", True),
            ("https://example.com/download", "notes.docx", False),
            ("https://example.com/notes.txt", None, False),
            ("https://example.com/notes.txt", "x.pdf", True),
            ("http://[", None, False),
        ],
    )
    def test_files(self, url: str, name: str | None, *, expected: bool) -> None:
        """Data tell; links do unless they say something else."""
        part = {"type": "file", "file": {"file_data": url, "filename": name}}
        reference = reference_of(part)

        assert Reference("file", url, name) == reference
        assert expected == may_be_pdf(reference)

    def test_others(self) -> None:
        """Are no files."""
        assert not may_be_pdf(Reference("image", "https://example.com/a.pdf"))
