"""Reasoning in its two forms: the `reasoning_details` of a chat message, and the items of the Responses API.

| detail | in an item |
|---|---|
| `reasoning.summary` | a part of `summary` |
| `reasoning.text` | a part of `content`; its `signature` is beside it |
| `reasoning.encrypted` | `encrypted_content` |

Members of a detail that are not known here go where its text does: into its part, or beside the encrypted content. A
detail of a kind that is not known is an item that has it in `reasoning_details`. Callers get and return all of this; a
provider of this API does not.

Items of OpenAI's format hold any number of these blocks, those of other formats one: there the order of details is all
there is. `format` and `signature` are OpenRouter's additions to the item (OpenRouter API, responses, 2026-08-22).

Clients merge the details of a stream by their `index`, some without regard for their type, so each block has one of
its own. It also tells the item's place among the items of its message, because a reasoning item has to come back
right before the item that it led to, while a message lists details and calls apart.
"""

from typing import Any, Final, Literal, TypeAlias, cast

Kind: TypeAlias = Literal["summary", "text", "encrypted"]

OPENAI_FORMAT: Final = "openai-responses-v1"
ANTHROPIC_FORMAT: Final = "anthropic-claude-v1"

MADE_UP: Final = "rs_or_"
"""What the ids begin with that this gateway gives to items that came without. They are never sent to a provider:
OpenAI holds encrypted content against the id of its item (github.com/openclaw/openclaw/pull/71448, 2026-04)."""

_BLOCKS: Final = 1_000  # of one item; more share the last index
_KINDS: Final[dict[str, Kind]] = {
    "reasoning.summary": "summary",
    "reasoning.text": "text",
    "reasoning.encrypted": "encrypted",
}
_KNOWN: Final = frozenset({"type", "id", "format", "index", "signature", "text", "summary", "data"})
_KNOWN_OF_ITEMS: Final = frozenset(
    {"type", "id", "status", "summary", "content", "encrypted_content", "signature", "format", "reasoning_details"}
)
_KNOWN_OF_PARTS: Final = frozenset({"type", "text"})
_TEXT_KEYS: Final[dict[Kind, str]] = {"summary": "summary", "text": "text", "encrypted": "data"}


def block_index(place: int, block: int) -> int:
    """Return the index of an item's n-th block."""
    return place * _BLOCKS + min(block, _BLOCKS - 1)


def kind_of(detail: dict[str, Any]) -> Kind | None:
    """Return what kind of block a detail is a piece of; None for those that have no place in an item."""
    kind = _KINDS.get(str(detail.get("type")))
    return None if kind is None or type(detail.get(_TEXT_KEYS[kind], "")) is not str else kind


def text_of(detail: dict[str, Any], kind: Kind) -> str:
    """Return what the piece adds."""
    return detail.get(_TEXT_KEYS[kind]) or ""


class ReasoningItem:
    """One item while its details are read, in order. `parts` are its summaries and texts."""

    __slots__ = ("_block", "_place", "encrypted", "format", "id", "more", "parts", "signature")

    def __init__(self) -> None:
        self.id: str | None = None
        self.format: str | None = None
        self.parts: list[tuple[Kind, str]] = []
        self.more: list[dict[str, Any]] = [
            {}
        ]  # members that are not known: of the encrypted content, then of each part
        self.encrypted: str | None = None
        self.signature: str | None = None
        self._block: tuple[Kind, int | None] | None = None
        self._place: int | None = None

    @property
    def place(self) -> int | None:
        """Where it was among the items of its message, if that is known."""
        return self._place

    def continues(self, detail: dict[str, Any]) -> bool:
        """Return whether a detail is a further piece of the block that was read last."""
        kind, index = kind_of(detail), _index_of(detail)
        if kind is None or self._block != (kind, index) or _differ(self.id, detail.get("id")):
            return False
        return index is not None or (kind != "encrypted" and self.signature is None)

    def accepts(self, detail: dict[str, Any]) -> bool:
        """Return whether a detail belongs to this item."""
        if self._block is None or self.continues(detail):
            return True
        if detail.get("format") not in (None, self.format) or self.format not in (None, OPENAI_FORMAT):
            return False
        index = _index_of(detail)
        if index is not None and self._place is not None and index // _BLOCKS != self._place:
            return False
        own, other = self.id, detail.get("id")
        if own is not None and other is not None:
            return own == other
        return self.encrypted is None and self.signature is None

    def add(self, detail: dict[str, Any]) -> None:
        """Read a detail that `accepts` let pass and that has a kind."""
        kind, index = kind_of(detail), _index_of(detail)
        if kind is None:
            return
        text = text_of(detail, kind)
        more = _rest(detail, _KNOWN)
        if kind == "encrypted":
            self.encrypted = text or self.encrypted
            self.more[0] |= more
        elif self.parts and self.continues(detail):
            self.parts[-1] = (kind, self.parts[-1][1] + text)
            self.more[-1] |= more
        else:
            self.parts.append((kind, text))
            self.more.append(more)
        self._block = (kind, index)
        if self._place is None and index is not None:
            self._place = index // _BLOCKS
        self.id = self.id or _word(detail.get("id"))
        self.format = self.format or _word(detail.get("format"))
        self.signature = self.signature or _word(detail.get("signature"))

    def to_item(self) -> dict[str, Any]:
        """Return the item; its `id` is left out if none is known."""
        item: dict[str, Any] = {"type": "reasoning"}
        if self.id is not None:
            item["id"] = self.id
        item["summary"] = [{"type": "summary_text", "text": text} for kind, text in self.parts if kind == "summary"]
        content = [{"type": "reasoning_text", "text": text} for kind, text in self.parts if kind == "text"]
        if content:
            item["content"] = content
        if self.encrypted is not None:
            item["encrypted_content"] = self.encrypted
        return item

    def to_full_item(self) -> dict[str, Any]:
        """Return the item with all that is told of it, for those who are to send it back."""
        item = self.more[0] | self.to_item()
        for key, kind in (("summary", "summary"), ("content", "text")):
            more = [more for more, (other, _) in zip(self.more[1:], self.parts, strict=True) if other == kind]
            if key in item:
                item[key] = [unknown | part for unknown, part in zip(more, item[key], strict=True)]
        told = {"signature": self.signature, "format": self.format}
        return item | {key: value for key, value in told.items() if value is not None}


def to_items(details: object) -> list[ReasoningItem]:
    """Return the items that the details of a message are of, in order. What is no detail is passed over."""
    items: list[ReasoningItem] = []
    for detail in dicts_in(details):
        if kind_of(detail) is None:
            continue
        if not items or not items[-1].accepts(detail):
            items.append(ReasoningItem())
        items[-1].add(detail)
    return items


def to_details(item: dict[str, Any], place: int) -> list[dict[str, Any]]:
    """Return the details of an item that a caller sends back.

    Without a `format`, one with a signature is Anthropic's and one with encrypted content OpenAI's: the fields' own.
    """
    item_id, signature, encrypted = _word(item.get("id")), _word(item.get("signature")), item.get("encrypted_content")
    form = _word(item.get("format")) or (ANTHROPIC_FORMAT if signature else OPENAI_FORMAT if encrypted else None)
    common: dict[str, Any] = {"format": form}
    if item_id is not None and not item_id.startswith(MADE_UP):
        common["id"] = item_id
    blocks: list[dict[str, Any]] = [
        more | {"type": "reasoning.summary", "summary": text} for text, more in _texts(item.get("summary"))
    ]
    blocks += [more | {"type": "reasoning.text", "text": text} for text, more in _texts(item.get("content"))]
    if signature is not None:
        if not any(block["type"] == "reasoning.text" for block in blocks):
            blocks.append({"type": "reasoning.text", "text": ""})
        blocks[-1]["signature"] = signature
    if isinstance(encrypted, str) and encrypted:
        blocks.append({"type": "reasoning.encrypted", "data": encrypted})
    if blocks:
        blocks[-1] = _rest(item, _KNOWN_OF_ITEMS) | blocks[-1]
    made = [{**block, **common, "index": block_index(place, number)} for number, block in enumerate(blocks)]
    return made + [detail for detail in dicts_in(item.get("reasoning_details")) if is_other_kind(detail)]


def is_plain(detail: dict[str, Any]) -> bool:
    """Return whether a detail is text and no more, as models give it whose reasoning has no form of its own."""
    return detail["type"] == "reasoning.text" and detail.get("format") is None and not _rest(detail, _KNOWN)


def is_other_kind(detail: dict[str, Any]) -> bool:
    """Return whether a detail is reasoning of a kind that is not known here."""
    kind = detail.get("type")
    return isinstance(kind, str) and kind.startswith("reasoning.") and kind not in _KINDS


def _rest(fields: dict[str, Any], known: frozenset[str]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key not in known and value is not None}


def dicts_in(values: object) -> list[dict[str, Any]]:
    """Return the objects of what should be a list of them."""
    if not isinstance(values, list):
        return []
    return [cast("dict[str, Any]", value) for value in cast("list[object]", values) if isinstance(value, dict)]


def _texts(parts: object) -> list[tuple[str, dict[str, Any]]]:
    """Return the texts of summary or content parts, and what else is in each.

    OpenRouter's own examples write them as bare strings.
    """
    texts: list[tuple[str, dict[str, Any]]] = []
    for part in cast("list[object]", parts) if isinstance(parts, list) else ():
        if isinstance(part, str):
            texts.append((part, {}))
        elif isinstance(part, dict):
            fields = cast("dict[str, Any]", part)
            if isinstance(text := fields.get("text"), str):
                texts.append((text, _rest(fields, _KNOWN_OF_PARTS)))
    return texts


def _index_of(detail: dict[str, Any]) -> int | None:
    index = detail.get("index")
    return index if type(index) is int else None


def _word(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _differ(one: object, other: object) -> bool:
    return one is not None and other is not None and one != other
