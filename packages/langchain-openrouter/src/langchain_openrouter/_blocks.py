"""Standard content blocks for our messages: what `content_blocks`, `output_version="v1"` and events show; pure.

LangChain's own best effort knows neither images nor citations nor audio of this API, and merges streamed
tool calls into whatever text or reasoning block has the same index.
"""

from collections import Counter
from typing import Any, TypeAlias, cast

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages import content as blocks
from langchain_core.messages.block_translators import register_translator
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.utils._merge import merge_dicts

from langchain_openrouter._replies import MODEL_PROVIDER, dict_of, dicts_of, text_of

Json: TypeAlias = dict[str, Any]


def translate_content(message: AIMessage) -> list[blocks.ContentBlock]:
    """Return the blocks of a whole message: reasoning, text, images, audio, tool calls.

    Raises:
        NotImplementedError: The content is a list already; LangChain then does its best.
    """
    return cast("list[blocks.ContentBlock]", [*_said(message), *_calls(message)])


def translate_content_chunk(message: AIMessageChunk) -> list[blocks.ContentBlock]:
    """Return the blocks of a streamed chunk, or of chunks added up.

    Raises:
        NotImplementedError: See `translate_content`.
    """
    said = _said(message)
    if message.chunk_position == "last" and message.content:
        return cast("list[blocks.ContentBlock]", [*said, *_calls(message)])
    said = _indexed(said)
    if message.chunk_position == "last" or not message.tool_call_chunks:
        return cast("list[blocks.ContentBlock]", [*said, *_calls(message)])
    fragments: list[Json] = [
        {**chunk, "type": "tool_call_chunk", "index": f"lc_tool_{chunk.get('index')}"}
        for chunk in message.tool_call_chunks
    ]
    return cast("list[blocks.ContentBlock]", [*said, *fragments])


def _indexed(said: list[Json]) -> list[Json]:
    """Give every block of a chunk a name, by which its continuation in other chunks finds it.

    LangChain would number the blocks that have none, and merge those of equal numbers: two images into one.
    """
    seen: Counter[str] = Counter()
    named: list[Json] = []
    for block in said:
        kind = block["type"]
        named.append({**block, "index": f"lc_{kind}_{seen[kind]}"})
        seen[kind] += 1
    return named


def _said(message: AIMessage) -> list[Json]:
    if not isinstance(message.content, str):
        raise NotImplementedError
    kwargs = cast("Json", message.additional_kwargs)
    found: list[Json] = []
    if reasoning := text_of(kwargs.get("reasoning_content")):
        found.append({"type": "reasoning", "reasoning": reasoning})
    annotations = [_annotation(raw) for raw in dicts_of(kwargs.get("annotations"))]
    # The text of a chunk's citations came in others, unless they come in the last one; see `_stream`.
    ended = not isinstance(message, AIMessageChunk) or message.chunk_position == "last"
    if message.content or (annotations and not ended):
        text: Json = {"type": "text", "text": message.content}
        found.append({**text, "annotations": annotations} if annotations else text)
    if refusal := text_of(kwargs.get("refusal")):
        found.append({"type": "non_standard", "value": {"type": "refusal", "refusal": refusal}})
    found.extend(_image(raw) for raw in dicts_of(kwargs.get("images")))
    audio = dict_of(kwargs.get("audio")) or {}
    if data := text_of(audio.get("data")):
        found.append({"type": "audio", "base64": data})
    return found


def _calls(message: AIMessage) -> list[Json]:
    valid = [{"type": "tool_call", **{k: call.get(k) for k in ("name", "args", "id")}} for call in message.tool_calls]
    return [*valid, *(cast("Json", call) for call in message.invalid_tool_calls)]


def _annotation(raw: Json) -> Json:
    """Return a citation (API digest 9.2), or the annotation as it is."""
    source = dict_of(raw.get("url_citation"))
    if source is None:
        return {"type": "non_standard_annotation", "value": raw}
    fields = {key: source.get(key) for key in ("url", "title", "start_index", "end_index")}
    fields["cited_text"] = source.get("content")
    return {"type": "citation", **{key: value for key, value in fields.items() if value is not None}}


def _image(raw: Json) -> Json:
    url = text_of((dict_of(raw.get("image_url")) or {}).get("url"))
    head, comma, data = url.partition(";base64,")
    if not comma or not head.startswith("data:"):
        return {"type": "image", "url": url} if url else {"type": "non_standard", "value": raw}
    return {"type": "image", "base64": data, "mime_type": head.removeprefix("data:")}


class EventChunks:
    """Holds back what LangChain's typed event stream replaces where it should add up: audio and logprobs.

    Pass every chunk of one answer through `take`; the last one brings all of both.
    """

    def __init__(self) -> None:
        self._audio: Json = {}
        self._logprobs: Json = {}

    def take(self, chunk: ChatGenerationChunk) -> ChatGenerationChunk:
        """Return the chunk to make events of; the given one stays as it is."""
        message = chunk.message
        self._audio = merge_dicts(self._audio, dict_of(message.additional_kwargs.get("audio")) or {})
        self._logprobs = merge_dicts(self._logprobs, dict_of(message.response_metadata.get("logprobs")) or {})
        kwargs = {key: value for key, value in message.additional_kwargs.items() if key != "audio"}
        metadata = {key: value for key, value in message.response_metadata.items() if key != "logprobs"}
        if isinstance(message, AIMessageChunk) and message.chunk_position == "last":
            kwargs |= {"audio": self._audio} if self._audio else {}
            metadata["logprobs"] = self._logprobs or None
        changed = message.model_copy(update={"additional_kwargs": kwargs, "response_metadata": metadata})
        return ChatGenerationChunk(message=changed, generation_info=chunk.generation_info)


def register() -> None:
    """Let LangChain find these functions by the `model_provider` of our messages."""
    register_translator(MODEL_PROVIDER, translate_content, translate_content_chunk)
