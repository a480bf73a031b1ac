"""The `context-compression` plugin: prompts that are too long, made to fit by taking from their middle.

Models attend least to the middle (OpenRouter API, context compression, 2026-08-22). System messages stay as they are;
the first and the last of the others stay, and so does a tool call with all of its results, or neither. First whole
messages go, from the middle outwards, then texts lose their middle. Lengths are estimates: one token per four bytes of
JSON, as everywhere where no tokenizer is at hand.
"""

from collections.abc import Sequence
from typing import Any, Final, cast

import msgspec
from msgspec import Raw, Struct

from openrouter_gateway.core.amend import amend, read_message, read_messages
from openrouter_gateway.core.catalog import Endpoint
from openrouter_gateway.core.chat import ChatRequest, Message
from openrouter_gateway.core.plugins import compresses

_BYTES_PER_TOKEN: Final = 4
_MEDIA_TOKENS: Final = 1_000
"""Of an image, an audio clip, a video or a file: what they cost differs by model; most images are below."""

_MESSAGE_LIMITS: Final = {"anthropic": 1_000}
"""Messages in one request, by protocol (OpenRouter API, context compression, 2026-08-22)."""

_UNSTATED_ANSWER: Final = 4
"""One of so many parts of the context is kept for an answer whose length is not said."""

_SHORTEST_TOKENS: Final = 32
"""Texts are not cut to less, so that something of them remains on both sides."""

_GAP: Final = "\n[...]\n"
_FIXED: Final = frozenset({"system", "developer"})
_encode = msgspec.json.Encoder().encode


class Room(Struct, frozen=True, kw_only=True):
    """What a prompt may hold: tokens, tools and schema among them, and messages."""

    tokens: int
    messages: int | None = None


class Compressed(Struct, frozen=True, kw_only=True):
    """A request that was made to fit, and how many messages it had and has."""

    request: ChatRequest
    original_count: int
    compressed_count: int

    @property
    def stage(self) -> dict[str, Any]:
        """The pipeline stage for router metadata."""
        return {
            "type": "context_compression",
            "name": "context-compression",
            "data": {
                "engine": "middle-out",
                "input_type": "messages",
                "original_count": self.original_count,
                "compressed_count": self.compressed_count,
            },
        }


def room_for(request: ChatRequest, endpoint: Endpoint, output_modalities: Sequence[str] = ("text",)) -> Room | None:
    """Return what an endpoint has room for if prompts for it are to be compressed, None if they are not.

    Models that give nothing but images are left alone (OpenRouter API, context compression, 2026-08-22).
    """
    context = endpoint.context_length
    if context is None or not compresses(request.compression, context) or tuple(output_modalities) == ("image",):
        return None
    answer = request.params.max_completion_tokens or request.params.max_tokens
    if answer is None:
        answer = min(context // _UNSTATED_ANSWER, endpoint.max_completion_tokens or context)
    tokens = min(max(context - answer, 0), endpoint.max_prompt_tokens or context)
    return Room(tokens=tokens, messages=_MESSAGE_LIMITS.get(endpoint.protocol))


def estimate_prompt(request: ChatRequest) -> int:
    """Return about how many tokens a prompt is."""
    return _estimate_rest(request) + sum(_costs(read_messages(request), request.params.messages))


def compress(request: ChatRequest, room: Room) -> Compressed | None:
    """Return the request made to fit, None if it fits as it is, or cannot be made to."""
    count = len(request.params.messages)
    most = room.messages or count
    if count <= most and _fits_by_size(request, room.tokens):
        return None
    thread = _Thread(request)
    tokens = room.tokens - _estimate_rest(request)
    if thread.tokens <= tokens and count <= most:
        return None
    thread.drop(tokens, most)
    thread.cut(tokens)
    if thread.tokens > tokens or thread.count > most:
        return None
    messages = thread.messages
    return Compressed(
        request=amend(request, {"messages": messages}), original_count=count, compressed_count=len(messages)
    )


def _fits_by_size(request: ChatRequest, tokens: int) -> bool:
    """Return whether a prompt fits for certain, which most do: then nothing has to be looked at more closely."""
    if any(isinstance(message.content, list) for message in request.params.messages):
        return False
    rounding = (_BYTES_PER_TOKEN - 1) * (len(request.params.messages) + 1)
    return len(request.fields["messages"]) + _size_of_rest(request) + rounding <= tokens * _BYTES_PER_TOKEN


class _Unit:
    """Messages that stay or go together: a tool call with its results, or one message."""

    __slots__ = ("fixed", "places", "tokens")

    def __init__(self, places: range, *, fixed: bool, tokens: int) -> None:
        self.places = places
        self.fixed = fixed
        self.tokens = tokens


class _Thread:
    """The messages of one request while some of them go."""

    def __init__(self, request: ChatRequest) -> None:
        raw = read_messages(request)
        self._typed = request.params.messages
        self._raw: list[Raw | dict[str, Any]] = list(raw)
        self._costs = _costs(raw, self._typed)
        self._units = [
            _Unit(
                places,
                fixed=any(self._typed[place].role in _FIXED for place in places),
                tokens=sum(self._costs[place] for place in places),
            )
            for places in _group(self._typed)
        ]
        self._gone: set[int] = set()
        self.tokens = sum(self._costs)
        self.count = len(self._typed)

    @property
    def messages(self) -> list[Raw | dict[str, Any]]:
        """What is left, in order."""
        return [raw for place, raw in enumerate(self._raw) if place not in self._gone]

    def drop(self, tokens: int, most: int) -> None:
        """Take whole units out of the middle until the rest fits. The last one may come back with its text cut."""
        loose = [unit for unit in self._units if not unit.fixed][1:-1]
        middle = (len(loose) - 1) / 2
        # Of two that are as far from the middle the earlier goes first: what was said last matters more.
        order = sorted(range(len(loose)), key=lambda at: (abs(at - middle), at))
        last: _Unit | None = None
        for at in order:
            if self.tokens <= tokens and self.count <= most:
                break
            last = loose[at]
            self._take_out(last)
        spare = tokens - self.tokens
        if last is not None and len(last.places) == 1 and self.count < most and spare >= 2 * _SHORTEST_TOKENS:
            self._bring_back(last, spare)

    def cut(self, tokens: int) -> None:
        """Shorten texts, the longest first, until all fits or nothing is left to shorten."""
        order = sorted(range(len(self._raw)), key=lambda place: -self._costs[place])
        for place in order:
            over = self.tokens - tokens
            if over <= 0:
                return
            if place not in self._gone and self._typed[place].role not in _FIXED:
                self._shorten(place, over)

    def _take_out(self, unit: _Unit) -> None:
        self._gone.update(unit.places)
        self.tokens -= unit.tokens
        self.count -= len(unit.places)

    def _bring_back(self, unit: _Unit, spare: int) -> None:
        place = unit.places[0]
        self._gone.discard(place)
        self.tokens += self._costs[place]
        self.count += 1
        self._shorten(place, self._costs[place] - spare)
        if self._costs[place] > spare:  # it has no text to shorten
            self._gone.add(place)
            self.tokens -= self._costs[place]
            self.count -= 1

    def _shorten(self, place: int, over: int) -> None:
        """Make a message shorter by so many tokens, or as many as it has to give."""
        raw = self._raw[place]
        message = raw if isinstance(raw, dict) else read_message(raw)
        cut = _cut_text(message, over * _BYTES_PER_TOKEN)
        if cut is None:
            return
        cost = _cost(len(_encode(cut)), msgspec.convert(cut, Message))
        self.tokens += cost - self._costs[place]
        self._costs[place] = cost
        self._raw[place] = cut


def _group(messages: Sequence[Message]) -> list[range]:
    """Return the places of messages that belong together, in order.

    A group is from a message that calls tools to the last result of one of its calls, whatever stands between.
    """
    callers: dict[str, int] = {}
    ends = list(range(len(messages)))
    latest: int | None = None  # the message that called tools last
    for place, message in enumerate(messages):
        if message.tool_calls:
            latest = place
            callers |= {call.id: place for call in message.tool_calls if call.id}
        elif message.role == "tool":
            caller = callers.get(message.tool_call_id or "", latest)
            if caller is not None:
                ends[caller] = place
    groups: list[range] = []
    place = 0
    while place < len(messages):
        end = ends[place]
        at = place
        while at < end:  # a group may reach into another one, and then they are one
            at += 1
            end = max(end, ends[at])
        groups.append(range(place, end + 1))
        place = end + 1
    return groups


def _costs(raw: Sequence[Raw], messages: Sequence[Message]) -> list[int]:
    """Return about how many tokens each message is, however the caller escaped its characters."""
    return [_cost(len(_encode(read_message(each))), message) for each, message in zip(raw, messages, strict=True)]


def _cost(size: int, message: Message) -> int:
    """Return about how many tokens a message is, `size` bytes as JSON, of which media do not count by their size."""
    tokens = 0
    if isinstance(message.content, list):
        for part in message.content:
            if part.get("type") != "text":
                size -= len(_encode(part))
                tokens += _MEDIA_TOKENS
    return tokens - (-max(size, 0) // _BYTES_PER_TOKEN)


def _size_of_rest(request: ChatRequest) -> int:
    return sum(len(request.fields[name]) for name in ("tools", "response_format") if name in request.fields)


def _estimate_rest(request: ChatRequest) -> int:
    return -(-_size_of_rest(request) // _BYTES_PER_TOKEN)


def _cut_text(message: dict[str, Any], excess: int) -> dict[str, Any] | None:
    """Return the message with so many bytes less of JSON in its longest text, None if it has none to spare."""
    content = message.get("content")
    if isinstance(content, str):
        cut = _cut_middle(content, excess)
        return None if cut is None else message | {"content": cut}
    if not isinstance(content, list):
        return None
    parts = cast("list[dict[str, Any]]", content)
    texts = [at for at, part in enumerate(parts) if part.get("type") == "text" and isinstance(part.get("text"), str)]
    if not texts:
        return None
    longest = max(texts, key=lambda at: len(parts[at]["text"]))
    cut = _cut_middle(parts[longest]["text"], excess)
    if cut is None:
        return None
    return message | {"content": [*parts[:longest], parts[longest] | {"text": cut}, *parts[longest + 1 :]]}


def _cut_middle(text: str, excess: int) -> str | None:
    """Return a text that is so many bytes of JSON shorter, or as short as a text may get; None if it is that short."""
    size = len(_encode(text))
    kept = max(size - excess - len(_encode(_GAP)), _SHORTEST_TOKENS * _BYTES_PER_TOKEN)
    if kept + len(_encode(_GAP)) >= size:
        return None
    # Characters are one to six bytes of JSON; what is kept is measured again until it is short enough.
    half = max(len(text) * kept // size // 2, 1)
    while len(_encode(text[:half])) + len(_encode(text[-half:])) > kept and half > 1:
        half = half * 9 // 10 or 1
    return text[:half] + _GAP + text[-half:]
