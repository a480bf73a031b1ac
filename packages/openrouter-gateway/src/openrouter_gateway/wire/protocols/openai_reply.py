"""What an OpenAI-compatible server's JSON means: objects, choices, usage and errors of a reply, brought into hub form.

Servers of this dialect get many things slightly wrong. What has an obvious meaning is put right; what no client could
read is `Garbled`.
"""

from hashlib import sha256
from typing import Any, Final, cast

import msgspec
from msgspec import Raw

from openrouter_gateway.core.events import Event, UsageReported
from openrouter_gateway.core.finish import to_finish_reason
from openrouter_gateway.core.usage import Usage
from openrouter_gateway.errors import Garbled, UpstreamError
from openrouter_gateway.wire.protocols.refusal import parse_openai_error, refusal_from_status
from openrouter_gateway.wire.reasoning_items import dicts_in
from openrouter_gateway.wire.tolerant import as_amount, as_count, parse_json

# In a delta these may be null (OpenRouter API, streaming); every other null is dropped.
_NULLABLE: Final = frozenset({"content", "reasoning", "refusal"})
_TEXT_TYPES: Final = (str, type(None), list)  # a list: content parts, which some servers send

_encode = msgspec.json.Encoder().encode


def read_object(payload: bytes) -> dict[str, Any]:
    """Decode one JSON object of a reply.

    Raises:
        Garbled: the bytes are not a JSON object.
    """
    value = parse_json(payload)
    if type(value) is not dict:
        raise Garbled("the provider sent JSON that is not an object")
    return cast("dict[str, Any]", value)


def drop_nulls(fields: dict[str, Any]) -> None:
    """Take out the keys that hold null: strict clients want them absent."""
    if None in fields.values():
        for key in [key for key, value in fields.items() if value is None]:
            del fields[key]


def cite_sources(chunk: dict[str, Any]) -> None:
    """Put what a provider has searched for the answer, told beside the choices, where the hub has its citations.

    `search_results` are Perplexity's, `citations` bare URLs that xAI sends, too (docs.perplexity.ai/api-reference and
    docs.x.ai/docs/api-reference, 2026-11). Chunks repeat them, so they are read where a choice ends.
    """
    found = chunk.get("search_results") or chunk.get("citations")
    if not found or type(found) is not list:
        return
    results = cast("list[object]", found)
    sources = [cast("dict[str, Any]", each) if type(each) is dict else {"url": each} for each in results]
    notes = [
        {
            "type": "url_citation",
            "url_citation": {
                "url": url,
                "title": title if type(title) is str else "",
                "start_index": 0,
                "end_index": 0,
            },
        }
        for url, title in ((source.get("url"), source.get("title")) for source in sources)
        if type(url) is str
    ]
    for choice in chunk["choices"]:
        if notes and choice["finish_reason"] is not None:
            choice["delta"].setdefault("annotations", notes)


class ChoiceReader:
    """Brings the choices of one reply into the hub's form; remembers its tool calls, whose pieces may lack an index.

    Calls without ids get some, made of the request's messages (`seed`), which no two turns share.
    """

    __slots__ = ("_calls", "_seed")

    def __init__(self, seed: bytes | Raw = b"") -> None:
        self._calls: dict[int, _CallIndices] = {}
        self._seed = seed

    def read(self, choices: object, part: str) -> bool:
        """Change the choices in place: `part` is `delta` or `message`. Return whether one of them ended.

        Raises:
            Garbled: the shape is wrong in a way that no client could read.
        """
        if type(choices) is not list:
            raise Garbled("the provider's `choices` is not a list")
        ended = False
        for position, choice in enumerate(cast("list[Any]", choices)):
            if type(choice) is not dict:
                raise Garbled("the provider sent a choice that is not an object")
            if self._read_choice(cast("dict[str, Any]", choice), position, part):
                ended = True
        return ended

    def _read_choice(self, choice: dict[str, Any], position: int, part: str) -> bool:
        if type(choice.get("index")) is not int:
            choice["index"] = position
        found: object = choice.pop(part, None)
        if found is not None and type(found) is not dict:
            raise Garbled(f"the provider's `{part}` is not an object")
        delta = cast("dict[str, Any]", found or {})
        if len(delta) != 1 or type(delta.get("content")) is not str:  # all but the usual piece of text
            self._read_delta(delta, choice["index"])
        choice["delta"] = delta
        given = choice.get("native_finish_reason")
        if given is not None and type(given) is not str:
            given = None
            del choice["native_finish_reason"]
        native = choice.get("finish_reason")
        if not native:
            choice["finish_reason"] = None
            return False
        if type(native) is not str:
            raise Garbled("the provider's `finish_reason` is not a string")
        choice["native_finish_reason"] = given or native
        choice["finish_reason"] = to_finish_reason(native)
        return True

    def _read_delta(self, delta: dict[str, Any], choice_index: int) -> None:
        if None in delta.values():
            for key in [key for key, value in delta.items() if value is None and key not in _NULLABLE]:
                del delta[key]
        if "role" in delta:
            delta["role"] = "assistant"  # the only one that clients take; some servers send an empty one
        if "reasoning_content" in delta:
            # DeepSeek's name for it (api-docs.deepseek.com, reasoning models, 2026-11), which many servers took over.
            delta.setdefault("reasoning", delta.pop("reasoning_content"))
        if type(delta.get("content")) is list:
            _split_thinking(delta)
        for key in _NULLABLE:
            if type(delta.get(key, "")) not in _TEXT_TYPES:
                raise Garbled(f"the provider's `{key}` is not text")
        calls = delta.get("tool_calls")
        if calls is None:
            return
        if type(calls) is not list:
            raise Garbled("the provider's `tool_calls` is not a list")
        if not calls:
            del delta["tool_calls"]
            return
        pieces = [_read_call(call) for call in cast("list[Any]", calls)]
        self._place(pieces, choice_index)

    def _place(self, pieces: list[dict[str, Any]], choice_index: int) -> None:
        """Say of each piece which call it is of, and of each call's first what clients tell calls apart by."""
        indices = self._calls.get(choice_index)
        if indices is None:
            indices = self._calls[choice_index] = _CallIndices()
        for piece in indices.fill(pieces):
            if not piece.get("type"):
                piece["type"] = "function"
            if not piece.get("id"):
                digest = sha256(self._seed).hexdigest()[:20]
                piece["id"] = f"call_{digest}_{choice_index}_{piece['index']}"


def _split_thinking(delta: dict[str, Any]) -> None:
    """Take reasoning out of content parts, where Mistral has it (docs.mistral.ai, reasoning, 2026-11)."""
    parts = dicts_in(delta["content"])
    thinking = [part for part in parts if part.get("type") == "thinking"]
    if not thinking:
        return
    delta.setdefault("reasoning", "".join(_text_in(part.get("thinking")) for part in thinking))
    rest = [part for part in parts if part.get("type") != "thinking"]
    delta["content"] = rest if any(part.get("type") != "text" for part in rest) else _text_in(rest)


def _text_in(parts: object) -> str:
    return "".join(text for part in dicts_in(parts) if isinstance(text := part.get("text"), str))


class _CallIndices:
    """The indices of one choice's tool calls."""

    __slots__ = ("_begun", "_by_id", "_last", "_next")

    def __init__(self) -> None:
        self._begun: set[int] = set()
        self._by_id: dict[str, int] = {}
        self._last = 0
        self._next = 0

    def fill(self, pieces: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Give every piece of one delta an index; return those that begin a call.

        Without one of its own: a known id continues its call, a new id is the next call, and no id continues the last
        call. Pieces of one delta are different calls, so those without ids are told apart by their position.
        """
        taken: set[int] = set()
        first: list[dict[str, Any]] = []
        for position, piece in enumerate(pieces):
            index = piece.get("index")
            if type(index) is not int or index < 0:
                index = self._find(piece.get("id"), position if len(pieces) > 1 else self._last)
                if index in taken:
                    index = self._next
            piece["index"] = index
            taken.add(index)
            self._last = index
            self._next = max(self._next, index + 1)
            if call_id := piece.get("id"):
                self._by_id[call_id] = index
            if index not in self._begun:
                self._begun.add(index)
                first.append(piece)
        return first

    def _find(self, call_id: str | None, otherwise: int) -> int:
        return self._by_id.get(call_id, self._next) if call_id else otherwise


def _read_call(call: object) -> dict[str, Any]:
    """Return a piece of a tool call with the `function` object that strict clients want, and without nulls."""
    if type(call) is not dict:
        raise Garbled("the provider sent a tool call that is not an object")
    fields = cast("dict[str, Any]", call)
    drop_nulls(fields)
    function = fields.setdefault("function", {})
    if type(function) is not dict:
        raise Garbled("the provider's tool call has a `function` that is not an object")
    function = cast("dict[str, Any]", function)
    drop_nulls(function)
    arguments = function.get("arguments")
    if arguments is not None and type(arguments) is not str:
        # Some servers send the arguments as an object; on the hub's wire they are JSON text.
        function["arguments"] = _encode(arguments).decode()
    texts = (fields.get("id", ""), fields.get("type", ""), function.get("name", ""))
    if not all(type(text) is str for text in texts):
        raise Garbled("the provider sent a tool call whose id, type or name is not a string")
    return fields


def report_usage(fields: dict[str, Any], events: list[Event]) -> None:
    """Append what the provider counted.

    Some servers have the object and no counts for it. Nothing but zeros is no count: the meter estimates then. A
    provider that says what it cost is believed that it was nothing, such as an answer out of a cache.
    """
    usage = read_usage(fields)
    if usage.total_tokens or usage.prompt_tokens or usage.completion_tokens or usage.reported_cost is not None:
        events.append(UsageReported(usage))


def usage_of_choices(choices: list[dict[str, Any]]) -> object:
    """Take the counts out of choices that ended, and return them: Moonshot's streams have them there and not beside.

    Source: platform.kimi.ai/docs/api/chat; github.com/earendil-works/pi/issues/2017, 2026-03.
    """
    found = [choice.pop("usage", None) for choice in choices]
    return next((usage for usage in found if usage), None)


_READ_FROM_CACHE: Final = ("prompt_cache_hit_tokens", "cached_tokens")
"""DeepSeek's and Moonshot's words, beside the counts (api-docs.deepseek.com/guides/kv_cache, platform.kimi.ai/docs/api/
chat, 2026-11). They are part of `prompt_tokens`, as OpenAI's are."""
_WRITTEN_TO_CACHE: Final = "cache_creation_input_tokens"
"""LiteLLM's, in front of Anthropic (docs.litellm.ai/docs/completion/prompt_caching, 2026-11); the same holds."""


_BESIDE: Final = (("cached_tokens", _READ_FROM_CACHE), ("cache_write_tokens", (_WRITTEN_TO_CACHE,)))
_WITHIN: Final = (
    (
        "prompt_tokens_details",
        {
            "cached_tokens": "cached_tokens",
            "cache_write_tokens": "cache_write_tokens",
            "audio_tokens": "prompt_audio_tokens",
            "video_tokens": "prompt_video_tokens",
        },
    ),
    (
        "completion_tokens_details",
        {
            "reasoning_tokens": "reasoning_tokens",
            "audio_tokens": "completion_audio_tokens",
            "image_tokens": "image_tokens",
            "accepted_prediction_tokens": "accepted_prediction_tokens",
            "rejected_prediction_tokens": "rejected_prediction_tokens",
        },
    ),
)
"""Objects of details, and which bucket each of their members is. Most are absent or 0, and nothing is done then."""


def read_usage(fields: dict[str, Any]) -> Usage:
    """Read token counts, tolerant of fractions, nulls and missing details."""
    prompt = as_count(fields.get("prompt_tokens"))
    completion = as_count(fields.get("completion_tokens"))
    details: dict[str, int] = {}
    for name, buckets in _WITHIN:
        members = fields.get(name)
        if type(members) is dict:
            for member, value in cast("dict[str, Any]", members).items():
                if value and member in buckets:
                    details[buckets[member]] = as_count(value)
    for bucket, names in _BESIDE:
        for name in names:
            if name in fields and not details.get(bucket):
                details[bucket] = as_count(fields[name])
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=as_count(fields.get("total_tokens")) or prompt + completion,
        reported_cost=as_amount(fields["cost"]) if "cost" in fields else None,
        **details,
    )


def error_in_reply(reply: dict[str, Any]) -> UpstreamError:
    """Return the error that a 2xx reply or a chunk carries in its body; a numeric code counts as its status."""
    error = reply["error"]
    message, code = parse_openai_error(_encode({"error": error}))
    stated = str(cast("dict[str, Any]", error).get("code")) if isinstance(error, dict) else ""
    status = int(stated) if len(stated) == 3 and stated.isdecimal() and 400 <= int(stated) <= 599 else 502
    return refusal_from_status(status, {}, message=message, code=code)
