"""PDFs as text: which are read for whom, where the text goes, and what comes back is not read again."""

import base64
from typing import Any

import msgspec
import pytest
from gateway_samples import make_endpoint, make_request

from openrouter_gateway.core.amend import Part
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.parts import Reference
from openrouter_gateway.errors import BadRequest
from openrouter_gateway.plugins.files import (
    ParsedFile,
    decode_file,
    files_to_parse,
    hash_of,
    name_of,
    parsed_from,
    replayed_files,
    with_texts,
)

PDF = "data:application/pdf;base64,JVBERi0xLjc="
TEXT_ONLY = make_endpoint("x", modalities={"text"})
IMAGE_URL = "data:image/png;base64,AAAA"
SHOWN: Part = {"type": "text", "text": "Hello"}


def file(url: str = PDF, name: str | None = "a.pdf") -> dict[str, Any]:
    return {"type": "file", "file": {"filename": name, "file_data": url}}


def asking(*parts: dict[str, Any], engine: str | None = None, before: Any = (), **fields: Any) -> ChatRequest:
    """Return a request with these parts in its last message."""
    if engine is not None:
        fields["plugins"] = [{"id": "file-parser", "pdf": {"engine": engine}}]
    return make_request(
        messages=[*before, {"role": "user", "content": [{"type": "text", "text": "?"}, *parts]}], **fields
    )


def annotated(*annotations: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": "Yes.", "annotations": list(annotations)}


def sent(request: ChatRequest) -> list[dict[str, Any]]:
    return msgspec.json.decode(request.fields["messages"])


class TestWhich:
    """For which endpoints files are read."""

    @pytest.mark.parametrize(
        ("modalities", "engine", "expected"),
        [
            ({"text"}, None, True),
            ({"text", "file"}, None, False),
            (None, None, True),
            ({"text", "file"}, "pdf-text", True),
            ({"text", "file"}, "cloudflare-ai", True),
            ({"text", "file"}, "native", False),
            ({"text"}, "native", False),
        ],
    )
    def test_engines(self, modalities: set[str] | None, engine: str | None, *, expected: bool) -> None:
        """By default for those that are not known to take files."""
        endpoint = make_endpoint("x", modalities=modalities)

        found = files_to_parse(asking(file(), file(), file("https://example.com/b"), engine=engine), endpoint)

        assert ([PDF, "https://example.com/b"] if expected else []) == [reference.url for reference in found]

    def test_ocr(self) -> None:
        """There is none; without a file nobody misses it."""
        with pytest.raises(BadRequest, match="no OCR engine is configured"):
            files_to_parse(asking(file(), engine="mistral-ocr"), TEXT_ONLY)
        assert [] == files_to_parse(asking(engine="mistral-ocr"), TEXT_ONLY)

    def test_not(self) -> None:
        """When it is switched off, and for providers that do it themselves."""
        off = asking(file(), plugins=[{"id": "file-parser", "enabled": False}])
        router = make_endpoint("x", quirks=frozenset({"openrouter_fields"}))

        assert [] == files_to_parse(off, TEXT_ONLY)
        assert [] == files_to_parse(asking(file(), engine="mistral-ocr"), router)

    def test_other_files(self) -> None:
        """Are left as they are."""
        others = [file("data:text/plain;base64,AAAA"), {"type": "file", "file": {"file_id": "f"}}, {"type": "file"}]

        assert [] == files_to_parse(asking(*others), TEXT_ONLY)


class TestFile:
    """One file."""

    def test_bytes(self) -> None:
        """From a data URL, whatever blanks are in it."""
        assert b"%PDF-1.7" == decode_file(Reference("file", PDF))
        assert b"%PDF-1.7" == decode_file(Reference("file", "data:application/pdf;BASE64,JVBE\nRi0x Ljc="))

    @pytest.mark.parametrize(
        "url", ["data:application/pdf;base64,JVBERi0xLjc", "data:application/pdf,JVBE", "data:application/pdf;base64"]
    )
    def test_no_bytes(self, url: str) -> None:
        """The error names the file."""
        with pytest.raises(BadRequest, match=r"a\.pdf is not a data URL"):
            decode_file(Reference("file", url, "a.pdf"))

    @pytest.mark.parametrize(
        ("reference", "expected"),
        [
            (Reference("file", PDF, "a.pdf"), "a.pdf"),
            (Reference("file", PDF), "document.pdf"),
            (Reference("file", "https://example.com/x/a%20b.pdf?s=1"), "a b.pdf"),
            (Reference("file", "https://example.com/"), "document.pdf"),
            (Reference("file", PDF, "x" * 300), "x" * 200),
        ],
    )
    def test_names(self, reference: Reference, expected: str) -> None:
        """As the caller called it, or by its URL."""
        assert expected == name_of(reference)


class TestTexts:
    """Where the text goes."""

    PARSED = parsed_from(Reference("file", PDF, 'a "b".pdf'), hash_of(b"%PDF-1.7"), "Hello")

    def test_in_its_place(self) -> None:
        """Between marks that name the file."""
        found = with_texts(asking(file(), {"type": "text", "text": "!"}), {PDF: self.PARSED}, TEXT_ONLY)

        assert ["?", "<file name=\"a 'b'.pdf\">", "Hello", "</file>", "!"] == [
            part["text"] for part in sent(found)[0]["content"]
        ]
        assert sent(found)[0]["content"] == found.params.messages[0].content

    def test_in_results_of_tools(self) -> None:
        """As well."""
        call = {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f"}}]}
        request = make_request(messages=[call, {"role": "tool", "tool_call_id": "1", "content": [file()]}])

        found = sent(with_texts(request, {PDF: self.PARSED}, TEXT_ONLY))

        assert "Hello" == found[1]["content"][1]["text"]

    def test_the_annotation(self) -> None:
        """Brings it back."""
        assert ParsedFile(hash="abc", name="a.pdf", content=[SHOWN]).annotation == {
            "type": "file",
            "file": {"hash": "abc", "name": "a.pdf", "content": [SHOWN]},
        }
        assert {"hash", "content"} == ParsedFile(hash="1", name=None, content=[]).annotation["file"].keys()

    @pytest.mark.parametrize(("modalities", "images"), [({"text"}, 0), ({"text", "image"}, 8), (None, 0)])
    def test_pictures(self, modalities: set[str] | None, images: int) -> None:
        """Of files that were read elsewhere: eight, and only for endpoints that take them."""
        picture = {"type": "image_url", "image_url": {"url": IMAGE_URL}}
        parsed = ParsedFile(hash="1", name="a.pdf", content=[SHOWN, *[picture] * 5, SHOWN])
        endpoint = make_endpoint("x", modalities=modalities)

        found = with_texts(asking(file(), file("https://b")), {PDF: parsed, "https://b": parsed}, endpoint)

        kinds = [part["type"] for part in sent(found)[0]["content"]]
        assert (images, 9) == (kinds.count("image_url"), kinds.count("text"))


class TestReplay:
    """Annotations that come back."""

    FILE = ParsedFile(hash="abc", name="a.pdf", content=[SHOWN])

    def test_found(self) -> None:
        """By hash, the first of each; and no provider sees them."""
        later = ParsedFile(hash="abc", name="b.pdf", content=[SHOWN]).annotation
        request = asking(file(), before=[annotated({"type": "url_citation"}, self.FILE.annotation), annotated(later)])

        assert {"abc": self.FILE} == replayed_files(request)
        found = sent(with_texts(request, {PDF: self.FILE}, TEXT_ONLY))
        assert [{"role": "assistant", "content": "Yes."}] * 2 == found[:2]

    @pytest.mark.parametrize(
        "annotation",
        [
            None,
            "text",
            {"type": "file"},
            {"type": "file", "file": None},
            {"type": "file", "file": {"content": [SHOWN]}},
            {"type": "file", "file": {"hash": 1, "content": [SHOWN]}},
            {"type": "file", "file": {"hash": "abc", "content": None}},
            {"type": "file", "file": {"hash": "abc", "content": []}},
            {"type": "file", "file": {"hash": "abc", "content": ["text", {"type": "text"}, {"type": "file"}]}},
            {"type": "file", "file": {"hash": "a", "content": [{"type": "image_url", "image_url": {"url": "http://x"}}]}},
        ],
    )  # fmt: skip
    def test_malformed_ones(self, annotation: Any) -> None:
        """Are none: the file is read again. Nor is anything fetched on their word."""
        assert {} == replayed_files(asking(before=[annotated(annotation)]))

    def test_whose(self) -> None:
        """The caller's own words are in no annotation."""
        assert {} == replayed_files(asking(before=[annotated(self.FILE.annotation) | {"role": "user"}]))


def test_hashes() -> None:
    """SHA-256 of the bytes, so that a file is known under any name and URL."""
    assert "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" == hash_of(base64.b64decode(""))
