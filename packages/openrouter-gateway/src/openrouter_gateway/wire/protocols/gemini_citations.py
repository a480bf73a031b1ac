"""Grounding and citations of a candidate to `url_citation` annotations, whose indices count characters of the content.

Google's count bytes of the text in UTF-8 (`Segment`, `CitationSource`: ai.google.dev/api/generate-content, 2026-11).
"""

from typing import Any, cast

from openrouter_gateway.wire.tolerant import as_count


def to_annotations(
    text: str, grounding: dict[str, Any] | None, citations: dict[str, Any] | None
) -> list[dict[str, Any]]:
    """Return an annotation for each passage and source, and one for each source that no passage goes by."""
    content = _Content(text)
    found: list[dict[str, Any]] = []
    if grounding is not None:
        sources = [_source_of(chunk) for chunk in _objects(grounding.get("groundingChunks"))]
        unused = set(range(len(sources)))
        for support in _objects(grounding.get("groundingSupports")):
            passage = support.get("segment")
            passage = cast("dict[str, Any]", passage) if isinstance(passage, dict) else {}
            numbers = support.get("groundingChunkIndices")
            for number in cast("list[object]", numbers) if isinstance(numbers, list) else []:
                if type(number) is int and 0 <= number < len(sources):
                    unused.discard(number)
                    found.append(_annotation(sources[number], content, passage))
        found += [_annotation(sources[number], content, {}) for number in sorted(unused)]
    if citations is not None:
        # The API calls the list `citationSources`; Vertex, and the SDK's type, `citations`.
        for entry in _objects(citations.get("citationSources") or citations.get("citations")):
            found.append(_annotation(entry, content, entry))
    return [annotation for annotation in found if annotation["url_citation"]["url"]]


class _Content:
    """The text that passages are part of."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._bytes = text.encode()

    def place_of(self, passage: dict[str, Any]) -> tuple[int, int]:
        """Return where a passage begins and ends, in characters.

        The API counts from the start of one of the parts. Where other parts come before that one, the quoted text tells
        the place.
        """
        begin, end = self._characters(passage.get("startIndex")), self._characters(passage.get("endIndex"))
        quoted = passage.get("text")
        if type(quoted) is str and quoted and self._text[begin:end] != quoted:
            found = self._text.find(quoted)
            if found >= 0:
                return found, found + len(quoted)
        return begin, end

    def _characters(self, count: object) -> int:
        return len(self._bytes[: as_count(count)].decode(errors="ignore"))


def _objects(value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        return []
    return [cast("dict[str, Any]", entry) for entry in cast("list[object]", value) if isinstance(entry, dict)]


def _source_of(chunk: dict[str, Any]) -> dict[str, Any]:
    """Return the page, document or place of a grounding chunk, whichever it holds."""
    for value in chunk.values():
        if isinstance(value, dict):
            return cast("dict[str, Any]", value)
    return {}


def _annotation(source: dict[str, Any], content: _Content, passage: dict[str, Any]) -> dict[str, Any]:
    url, title = source.get("uri"), source.get("title")
    url = url if type(url) is str else ""
    begin, end = content.place_of(passage)
    return {
        "type": "url_citation",
        "url_citation": {
            "url": url,
            "title": title if type(title) is str else url,
            "start_index": begin,
            "end_index": end,
        },
    }
