"""What a request needs of an endpoint, read from it once per plan."""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Any, Final

from msgspec import Struct

from openrouter_gateway.core.chat import ChatRequest, Message
from openrouter_gateway.core.parts import may_be_pdf, reference_of
from openrouter_gateway.core.plugins import CONTEXT_COMPRESSION, FILE_PARSER

CHARACTERS_PER_TOKEN: Final = 8
"""Prompts are at least as many tokens as one per eight characters: English has about four, most others fewer.

Only runs of blanks and the like are longer. What is over a limit by this measure is over it for certain.
"""

PARAMETERS: Final = frozenset(
    {
        "temperature", "top_p", "top_k", "min_p", "top_a", "frequency_penalty", "presence_penalty",
        "repetition_penalty", "max_tokens", "max_completion_tokens", "logit_bias", "logprobs", "top_logprobs",
        "prediction", "seed", "response_format", "structured_outputs", "stop", "tools", "tool_choice",
        "parallel_tool_calls", "include_reasoning", "reasoning", "reasoning_effort", "web_search_options",
        "verbosity",
    }
)  # fmt: skip
"""OpenRouter's enumeration of request parameters (models API, 2026-08-22)."""

_SYNONYMS: Final = (
    frozenset({"max_tokens", "max_completion_tokens"}),
    frozenset({"reasoning", "reasoning_effort", "include_reasoning"}),
)
"""Names of one thing, of which endpoints list some: the old and the new one, the object and its short forms (1.1)."""

_PART_MODALITY: Final = {
    "image_url": "image",
    "input_audio": "audio",
    "video_url": "video",
    "input_video": "video",
    "file": "file",
    "input_file": "file",
}
_NULL: Final = b"null"
_NOTHING: Final = frozenset({_NULL, b"[]"})
"""An empty list of tools or stops asks for as little as none does, and providers get neither."""
_NOTHING_SIZES: Final = frozenset(map(len, _NOTHING))  # others need not be copied to be told apart
_TEXT_ONLY: Final[frozenset[str]] = frozenset()


class Demand(Struct, frozen=True):
    """What the messages and parameters ask for.

    `prompt_tokens` is a lower bound. `preferred` are parameters that endpoints should support, each as a tuple of
    names of which the first that any endpoint is known to support counts. `compression` is whether prompts are
    compressed that are too long; None: for endpoints with a small context.
    """

    modalities: frozenset[str]
    prompt_tokens: int
    max_tokens: int | None
    preferred: tuple[tuple[str, ...], ...]
    compression: bool | None = False


def read_demand(request: ChatRequest, runs: AbstractSet[str] = frozenset()) -> Demand:
    """Return what the messages and parameters ask for, besides what the plugins that run here do."""
    params = request.params
    if request.task is None:
        modalities, characters = _scan(params.messages)
    else:
        modalities, characters = _scan_each(params.messages)
        runs = frozenset()  # plugins are for chats
    if "file" in modalities and FILE_PARSER in runs and _is_parsed(request):
        modalities -= {"file"}
    return Demand(
        modalities,
        characters // CHARACTERS_PER_TOKEN,
        params.max_completion_tokens or params.max_tokens,
        _preferred(request),
        request.compression if CONTEXT_COMPRESSION in runs else False,
    )


def sent_parameters(request: ChatRequest) -> AbstractSet[str]:
    """Return the parameters that are set, for `require_parameters`: a schema asks for more than a JSON mode."""
    sent = {
        name
        for name, value in request.fields.items()
        if name in PARAMETERS and (len(value) not in _NOTHING_SIZES or bytes(value) not in _NOTHING)
    }
    response_format = request.params.response_format
    if response_format is not None and response_format.type == "json_schema":
        sent.add("structured_outputs")
    return sent


def with_synonyms(parameters: Iterable[str]) -> frozenset[str]:
    """Return names of parameters and all that are other words for them."""
    names = frozenset(parameters)
    return names.union(*[words for words in _SYNONYMS if not words.isdisjoint(names)])


def _preferred(request: ChatRequest) -> tuple[tuple[str, ...], ...]:
    """OpenRouter's soft preference: `tools`, `response_format` and `verbosity`, and no others."""
    params = request.params
    if not params.tools and params.response_format is None and "verbosity" not in request.fields:
        return ()
    wanted: list[tuple[str, ...]] = []
    if params.tools:
        wanted.append(("tools",))
    kind = params.response_format.type if params.response_format else "text"
    if kind == "json_schema":
        wanted.append(("structured_outputs", "response_format"))
    elif kind != "text":
        wanted.append(("response_format",))
    if bytes(request.fields.get("verbosity", _NULL)) != _NULL:
        wanted.append(("verbosity",))
    return tuple(wanted)


def _is_parsed(request: ChatRequest) -> bool:
    """Return whether text can be made of all files, for endpoints that take none."""
    plugin = request.plugin(FILE_PARSER)
    if plugin is not None and (plugin.enabled is False or (plugin.pdf is not None and plugin.pdf.engine == "native")):
        return False
    for message in request.params.messages:
        if isinstance(message.content, list):
            for part in message.content:
                if part.get("type") == "file" and not ((file := reference_of(part)) and may_be_pdf(file)):
                    return False
    return True


def _scan(messages: list[Message]) -> tuple[frozenset[str], int]:
    """Return the modalities of all parts, and the number of characters of text."""
    characters = 0
    needed: set[str] | None = None
    for message in messages:
        content = message.content
        if type(content) is str:
            characters += len(content)
        elif content:
            needed = set() if needed is None else needed
            characters += _scan_parts(content, needed)  # pyright: ignore[reportArgumentType]
    return frozenset(needed) if needed else _TEXT_ONLY, characters


def _scan_each(messages: list[Message]) -> tuple[frozenset[str], int]:
    """Return the modalities of all messages, and the characters of the longest: a task's are read one by one."""
    found = [_scan([message]) for message in messages]
    return _TEXT_ONLY.union(*(modalities for modalities, _ in found)), max(characters for _, characters in found)


def _scan_parts(parts: list[dict[str, Any]], needed: set[str]) -> int:
    characters = 0
    for part in parts:
        kind = part.get("type")
        if kind == "text":
            text = part.get("text")
            characters += len(text) if type(text) is str else 0
        elif type(kind) is str and kind in _PART_MODALITY:
            needed.add(_PART_MODALITY[kind])
    return characters
