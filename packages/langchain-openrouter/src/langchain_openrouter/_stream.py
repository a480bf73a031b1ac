"""A streamed answer: bytes to server-sent events to LangChain chunks; pure.

Rules: text is handed on as soon as its event is complete. The chunks of an answer add up (`+`) to the
message that the same answer gives unstreamed, so whatever LangChain would concatenate or sum wrongly
(names, ids, counts, reasoning blocks, images) is sent once, at the end.
Sources: API digest 1.7, 2.4 and 4.5; WHATWG HTML, "Server-sent events".
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final, TypeAlias, cast

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.tool import ToolCallChunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult

from langchain_openrouter._audio import Base64Joiner
from langchain_openrouter._decoding import Secrets, SurrogateJoiner, decode_object, mend
from langchain_openrouter._error_bodies import error_in
from langchain_openrouter._replies import (
    EMPTY,
    MESSAGE_KEYS,
    MODEL_PROVIDER,
    arguments_of,
    content_of,
    dict_of,
    dicts_of,
    later_usage,
    mark_unreadable,
    merge_reasoning_details,
    metadata_of,
    parse_arguments,
    parse_completion,
    plain_reasoning_of,
    reasoning_in_details,
    text_of,
    usage_of,
)
from langchain_openrouter.errors import OpenRouterError, ProtocolViolation, StreamBroken

Json: TypeAlias = dict[str, Any]

_BOM: Final = b"\xef\xbb\xbf"
_DONE: Final = b"[DONE]"
_TEXT_ONLY: Final = frozenset({"role", "content"})
"""Keys of the deltas that nearly every event of a stream has, and no others."""
_AUDIO_TEXTS: Final = frozenset({"data", "transcript"})
_NO_HEADERS: Final[Mapping[str, str]] = {}


class SSEDecoder:
    r"""Cuts a stream of bytes into the data of its events, in time linear in their number.

    Lines end in ``\n``, ``\r\n`` or ``\r``; the input may be cut anywhere, also inside a line ending or a
    character. Comments and fields other than `data` are dropped; several `data` lines are one payload.
    """

    __slots__ = ("_after_cr", "_at_start", "_data", "_tail")

    def __init__(self) -> None:
        self._tail: list[bytes] = []
        self._data: list[bytes] = []
        self._after_cr = False
        self._at_start = True

    def __repr__(self) -> str:
        pending = sum(map(len, self._tail))
        return f"SSEDecoder(pending_bytes={pending}, pending_lines={len(self._data)})"

    def feed(self, piece: bytes) -> list[bytes]:
        """Take the next bytes; return the payloads of the events they complete."""
        if self._after_cr and piece:
            self._after_cr = False
            piece = piece.removeprefix(b"\n")
        if b"\n" not in piece and b"\r" not in piece:
            if piece:
                self._tail.append(piece)
            return []
        # Each byte is joined at most once: what is kept below holds no line ending.
        text = b"".join([*self._tail, piece]) if self._tail else piece
        lines = text.splitlines()
        self._tail = [] if text[-1] in b"\r\n" else [lines.pop()]
        self._after_cr = text[-1] == 0x0D
        payloads: list[bytes] = []
        for line in lines:
            self._take_line(line, payloads)
        return payloads

    def close(self) -> list[bytes]:
        """Return the payload of an event that the end of the stream left without its blank line."""
        payloads: list[bytes] = []
        tail = b"".join(self._tail)
        self._tail = []
        if tail:
            self._take_line(tail, payloads)
        self._take_line(b"", payloads)
        return payloads

    def _take_line(self, line: bytes, payloads: list[bytes]) -> None:
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BOM)
        if line.startswith(b"data:"):
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
        elif not line:
            if self._data:
                payloads.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                self._data = []
        elif line == b"data":
            self._data.append(b"")


class ReplyStream:
    """Turns the bytes of one streamed answer into chunks, and tells a finished answer from a cut one.

    Feed it until the stream ends, then call `finish` once. Not reusable.

    Args:
        headers: Response headers, for the generation id of an error.
        secrets: The API key and the like, kept out of errors.
        with_usage: False leaves `usage_metadata` out of the last chunk.
    """

    def __init__(
        self, headers: Mapping[str, str] = _NO_HEADERS, *, secrets: Secrets = (), with_usage: bool = True
    ) -> None:
        self._headers = headers
        self._secrets = secrets
        self._with_usage = with_usage
        self._decoder = SSEDecoder()
        self._calls = ToolCallPositions()
        self._sent: list[AIMessageChunk] = []
        self._top: Json = {}
        self._choice: Json = {}
        self._usage: Json | None = None
        self._details: list[list[Json]] = []
        self._kept: Json = {}
        self._texts: dict[str, list[str]] = {}
        self._surrogates = SurrogateJoiner()
        self._audio = Base64Joiner()
        self._unstreamed: list[bytes] | None = None
        self._plain_reasoning = False
        self._logprobs_given = False
        self._begun = False
        self._done = False

    def __repr__(self) -> str:
        finish = self._choice.get("finish_reason")
        return f"ReplyStream(chunks={len(self._sent)}, finish_reason={finish!r}, done={self._done})"

    @property
    def done(self) -> bool:
        """Whether the end marker `[DONE]` has arrived; what follows it is ignored."""
        return self._done

    def feed(self, piece: bytes) -> Iterator[ChatGenerationChunk]:
        """Take the next bytes; yield the chunks they complete, each before what follows it is looked at.

        Raises:
            APIError: An event reports an error; it carries what had arrived.
            StreamBroken: An event after the first chunk is not a JSON object.
            ProtocolViolation: An event before the first chunk is not a JSON object.
        """
        if not self._begun and (start := piece.lstrip()):
            self._begun = True
            # No line of an event stream begins with a brace: this is a whole answer under a wrong content type.
            self._unstreamed = [] if start.startswith(b"{") else None
        if self._unstreamed is not None:
            self._unstreamed.append(piece)
            return
        yield from self._take(self._decoder.feed(piece))

    def finish(self) -> Iterator[ChatGenerationChunk]:
        """Yield the last chunk, after the stream has ended.

        Raises:
            StreamBroken: No finish reason had arrived: the answer is not complete.
            OpenRouterError: The answer came unstreamed, and is none.
        """
        if self._unstreamed is not None:
            yield self.whole(parse_completion(b"".join(self._unstreamed), self._headers, secrets=self._secrets))
            return
        # The last event may have been cut in two: the missing finish reason below tells.
        with suppress(ProtocolViolation, StreamBroken):
            yield from self._take(self._decoder.close())
        if not self._choice.get("finish_reason"):
            raise self.broken("the stream ended without a finish reason")
        collected = self._collected()
        if before := self._before_last(collected):
            yield ChatGenerationChunk(message=before)
        if self._logprobs_given:
            self._choice.pop("logprobs", None)
        metadata = metadata_of(self._top, self._choice, self._usage)
        last = AIMessageChunk(
            content=self._surrogates.rest("content"),
            additional_kwargs=collected,
            response_metadata=metadata,
            usage_metadata=usage_of(self._usage) if self._usage and self._with_usage else None,
            chunk_position="last",
        )
        yield ChatGenerationChunk(message=last, generation_info=dict(metadata))

    def _before_last(self, collected: Json) -> AIMessageChunk | None:
        """Return what belongs to blocks that were streamed: citations of the text, ends of broken tool calls.

        Citations that are left for the last chunk have no text; see `_blocks`.
        """
        fields: Json = {}
        if "annotations" in collected and any(chunk.content for chunk in self._sent):
            fields["additional_kwargs"] = {"annotations": collected.pop("annotations")}
        if marks := self._calls.marks(cut=self._choice.get("finish_reason") == "length"):
            fields["tool_call_chunks"] = marks
        if not fields:
            return None
        return AIMessageChunk(content="", response_metadata={"model_provider": MODEL_PROVIDER}, **fields)

    def whole(self, result: ChatResult) -> ChatGenerationChunk:
        """Return an answer that came unstreamed as one chunk."""
        message = result.generations[0].message
        assert isinstance(message, AIMessage)  # noqa: S101 - narrows what the field declares
        chunk = AIMessageChunk(
            content=message.content,
            tool_calls=message.tool_calls,
            invalid_tool_calls=message.invalid_tool_calls,
            additional_kwargs=message.additional_kwargs,
            response_metadata=message.response_metadata,
            usage_metadata=message.usage_metadata if self._with_usage else None,
            chunk_position="last",
        )
        return ChatGenerationChunk(message=chunk, generation_info=result.generations[0].generation_info)

    def broken(self, reason: str) -> StreamBroken:
        """Return the error for a stream that stopped; it carries what had arrived."""
        return StreamBroken(reason, partial=self.partial())

    def partial(self, unsent: AIMessageChunk | None = None) -> AIMessageChunk | None:
        """Return everything that has arrived as one chunk, or None."""
        chunks = list(self._sent) if unsent is None else [*self._sent, unsent]
        collected, marks = self._collected(), self._calls.marks(cut=True)
        if collected or marks:
            chunks.append(AIMessageChunk(content="", additional_kwargs=collected, tool_call_chunks=marks))
        if not chunks:
            return None
        first, *others = chunks
        merged = first + others if others else first
        assert isinstance(merged, AIMessageChunk)  # noqa: S101 - narrows what `+` declares
        return merged

    def _take(self, payloads: list[bytes]) -> Iterator[ChatGenerationChunk]:
        for payload in payloads:
            if self._done:
                break
            if payload.startswith(_DONE) and payload.strip() == _DONE:
                self._done = True
                break
            if not payload or payload.isspace():
                continue  # keeps the connection alive
            try:
                message = self._message(*decode_object(payload, self._secrets))
            except ProtocolViolation as failure:
                if self._sent:
                    raise self.broken(f"the stream went on with something else: {failure}") from failure
                raise
            if message is not None:
                self._sent.append(message)
                yield ChatGenerationChunk(message=message)

    def _message(self, payload: Json, odd: bool) -> AIMessageChunk | None:
        """Note what an event says about the answer; return a chunk when it brings some of it."""
        if odd or self._surrogates.waits:
            payload = self._mend(payload)
        self._top.update(_without_nulls(payload))
        if usage := dict_of(payload.get("usage")):
            self._usage = later_usage(self._usage or {}, usage)
        choices = payload.get("choices")
        choice = dict_of(cast("list[object]", choices)[0]) if isinstance(choices, list) and choices else None
        failed = payload.get("error")
        if choice is not None:
            failed = failed or choice.get("finish_reason") == "error" or choice.get("error")
            self._choice.update(_without_nulls(choice))
        message = None if choice is None else self._chunk(choice)
        if failed:
            raise self._error(payload, message)
        return message

    def _mend(self, payload: Json) -> Json:
        """Return an event with whole characters; only of a delta the other half may still come."""
        mended = cast("Json", mend(payload))
        for raw, choice in zip(dicts_of(payload.get("choices"))[:1], dicts_of(mended.get("choices")), strict=False):
            if (delta := dict_of(raw.get("delta"))) is not None:
                choice["delta"] = self._surrogates.join(delta)
        return mended

    def _error(self, payload: Json, message: AIMessageChunk | None) -> OpenRouterError:
        """Return the error of an event; what the event brings of the answer was not handed on, but had arrived."""
        error = error_in({**self._top, **payload}, headers=self._headers, secrets=self._secrets)
        if error is None:
            return ProtocolViolation("the stream reported an error that says nothing")
        error.partial = self.partial(message)
        return error

    def _chunk(self, choice: Json) -> AIMessageChunk | None:
        delta = dict_of(choice.get("delta")) or dict_of(choice.get("message")) or {}
        fields: Json = {}
        extra: Json = {}
        content = delta.get("content")
        if not isinstance(content, str):
            content = content_of(content)
        if not delta.keys() <= _TEXT_ONLY:
            if calls := dicts_of(delta.get("tool_calls")):
                fields["tool_call_chunks"] = [self._calls.place(call) for call in calls]
            if reasoning := self._reasoning(delta):
                extra["reasoning_content"] = reasoning
            for key, value in delta.items():
                if key not in MESSAGE_KEYS and value not in EMPTY:
                    self._keep(key, value, extra)
        metadata: Json = {"model_provider": MODEL_PROVIDER}
        logprobs = self._logprobs(choice) if choice.get("logprobs") else None
        if logprobs:
            metadata["logprobs"] = logprobs
        if not (content or extra or fields or logprobs):
            return None
        if extra:
            fields["additional_kwargs"] = extra
        return AIMessageChunk(content=content, response_metadata=metadata, **fields)

    def _logprobs(self, choice: Json) -> Json | None:
        """Return those that LangChain can add up, lists of tokens; of others the last chunk has the last."""
        logprobs = dict_of(choice.get("logprobs"))
        if not logprobs or not all(value is None or isinstance(value, list) for value in logprobs.values()):
            return None
        self._logprobs_given = True
        return logprobs

    def _reasoning(self, delta: Json) -> str:
        """Return the reasoning text of a delta; details repeat it, unless they are all there is."""
        plain = plain_reasoning_of(delta)
        self._plain_reasoning = self._plain_reasoning or bool(plain)
        return plain if self._plain_reasoning else reasoning_in_details(delta)

    def _keep(self, key: str, value: Any, extra: Json) -> None:
        """Hand on what LangChain adds up rightly; collect the rest for the last chunk."""
        if key == "reasoning_details":
            self._details.append(dicts_of(value))
        elif key == "audio":
            extra |= {key: audio} if (audio := self._audio_of(dict_of(value) or {})) else {}
        elif isinstance(value, str):
            self._texts.setdefault(key, []).append(value)
        elif isinstance(value, list):
            self._kept[key] = [*(self._kept[key] if isinstance(self._kept.get(key), list) else []), *value]
        elif not isinstance(self._kept.get(key), list):
            self._kept[key] = value

    def _audio_of(self, value: Json) -> Json:
        """Return of a piece of audio what adds up: texts, and the first value of anything else."""
        known = cast("Json", self._kept.setdefault("_audio", {}))
        audio = {k: v for k, v in value.items() if k in _AUDIO_TEXTS and isinstance(v, str)}
        if "data" in audio:
            audio["data"] = self._audio.feed(audio["data"])
        first = {k: v for k, v in value.items() if k not in {*_AUDIO_TEXTS, *known} and v is not None}
        known.update(first)
        return {**audio, **first}

    def _collected(self) -> Json:
        extra = {key: value for key, value in self._kept.items() if not key.startswith("_")}
        for key, parts in self._texts.items():
            # Of a field not known here, either a text cut into pieces or a word that every delta repeats.
            repeated = key != "refusal" and len(set(parts)) == 1
            extra.setdefault(key, parts[0] if repeated else "".join(parts))
        if self._details:
            extra["reasoning_details"] = merge_reasoning_details(self._details)
        if rest := self._audio.rest:
            extra["audio"] = {"data": rest}
        return extra


def _without_nulls(wire: Json) -> Json:
    """Return what a server reports: null means that it says nothing, not that the value is gone.

    An empty finish reason is none: some servers send it with every delta.
    """
    return {k: v for k, v in wire.items() if v is not None and not (v == "" and k == "finish_reason")}


class ToolCallPositions:
    """Gives every fragment of a tool call the position of its call, which is what LangChain merges by.

    Servers omit `index`, send 0 for every call, or repeat id and name in each fragment.
    """

    def __init__(self) -> None:
        self._calls: list[Json] = []

    def place(self, raw: Json) -> ToolCallChunk:
        """Return the fragment with its position, and with the name only when it is new."""
        function = dict_of(raw.get("function")) or {}
        index, call_id, name = (
            raw.get("index"),
            text_of(raw.get("id")) or None,
            text_of(function.get("name")) or None,
        )
        position = self._position(index, call_id, name)
        call = self._calls[position]
        chunk = ToolCallChunk(
            name=None if name is None or call["name"] == name else name,
            args=arguments_of(function.get("arguments")),
            id=call_id,
            index=position,
            type="tool_call_chunk",
        )
        call["id"] = call["id"] or call_id
        call["name"] = call["name"] or name
        call["args"].append(chunk["args"])
        return chunk

    def marks(self, *, cut: bool) -> list[ToolCallChunk]:
        """Return fragments that make LangChain report the calls whose arguments are not a JSON object.

        Args:
            cut: Whether the answer was cut off; see `parse_arguments`.
        """
        found: list[ToolCallChunk] = []
        for position, call in enumerate(self._calls):
            arguments = "".join(call["args"])
            try:
                parse_arguments(arguments, cut=cut and position == len(self._calls) - 1)
            except ValueError:
                mark = mark_unreadable(arguments)
                found.append(ToolCallChunk(name=None, args=mark, id=None, index=position, type="tool_call_chunk"))
        return found

    def _position(self, index: object, call_id: str | None, name: str | None) -> int:
        for position in range(len(self._calls) - 1, -1, -1):
            call = self._calls[position]
            same_index = call["index"] == index
            same_id = call_id is None or call["id"] is None or call["id"] == call_id
            if index is None:
                # Without an index, a fragment that opens a call has a name or an id of its own.
                opens = name is not None and call_id is None and call["name"] is not None
                if same_id and not opens:
                    return position
                if call_id is None:
                    break
            elif same_index and same_id:
                # One index for all and no ids: another name after arguments is the next call.
                renamed = name is not None and call["name"] is not None and name != call["name"]
                if call_id is None and renamed and any(call["args"]):
                    break
                return position
        self._calls.append({"index": index, "id": None, "name": None, "args": []})
        return len(self._calls) - 1
