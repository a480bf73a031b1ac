"""Content parts that refer to media: where the reference stands, and what it is to (OpenRouter API, content parts)."""

import re
from typing import Any, Final, Literal, NamedTuple, TypeAlias, cast
from urllib.parse import urlsplit

Kind: TypeAlias = Literal["image", "video", "file"]

_PLACES: Final[dict[str, tuple[Kind, str, str]]] = {
    "image_url": ("image", "image_url", "url"),
    "video_url": ("video", "video_url", "url"),
    "input_video": ("video", "video_url", "url"),  # an old name of the same
    "file": ("file", "file", "file_data"),
}
_PDF_BASE64: Final = "JVBERi"  # %PDF- and a bit more
_EXTENSION: Final = re.compile(r"\.([a-z][a-z0-9]{1,4})$", re.IGNORECASE)


class Reference(NamedTuple):
    """What a part refers to: `url` is `http(s)://...` or `data:...`, `name` the file name that the caller gave it."""

    kind: Kind
    url: str
    name: str | None = None

    @property
    def is_data(self) -> bool:
        """Whether what it refers to is in the URL itself."""
        return self.url[:5].lower() == "data:"


def reference_of(part: dict[str, Any]) -> Reference | None:
    """Return what a content part refers to, None for text, audio (which has no URLs) and what is malformed."""
    place = _PLACES.get(kind) if isinstance(kind := part.get("type"), str) else None
    holder = part.get(place[1]) if place else None
    if place is None or not isinstance(holder, dict):
        return None
    holder = cast("dict[str, Any]", holder)
    url, name = holder.get(place[2]), holder.get("filename")
    return Reference(place[0], url, name if isinstance(name, str) else None) if isinstance(url, str) else None


def refer_to(part: dict[str, Any], url: str) -> dict[str, Any]:
    """Return a part, of which `reference_of` knows the reference, that refers to something else."""
    _, holder, key = _PLACES[part["type"]]
    return part | {holder: part[holder] | {key: url}}


def may_be_pdf(reference: Reference) -> bool:
    """Return whether a file may be a PDF: data tell, links do unless their name has no extension."""
    if reference.kind != "file":
        return False
    if reference.is_data:
        head, _, data = reference.url[:128].partition(",")
        return head.lower().startswith("data:application/pdf") or data.startswith(_PDF_BASE64)
    try:
        path = urlsplit(reference.url).path
    except ValueError:
        return False
    extensions = [found[1].lower() for name in (reference.name or "", path) if (found := _EXTENSION.search(name))]
    return "pdf" in extensions or not extensions
