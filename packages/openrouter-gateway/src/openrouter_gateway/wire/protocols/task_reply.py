"""The replies to tasks: one JSON body each, whatever it holds."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar, cast

import msgspec

from openrouter_gateway.core.events import Ended, Event, Failed, Step, UsageReported
from openrouter_gateway.core.usage import Usage
from openrouter_gateway.errors import Garbled, UpstreamError
from openrouter_gateway.wire.protocols.framing import BodyBuffer
from openrouter_gateway.wire.protocols.openai_reply import error_in_reply, read_usage

Reader: TypeAlias = Callable[[bytes], tuple[dict[str, Any], Usage | None]]
"""Returns what a body says in the hub's form, and the tokens that it counts. Raises `UpstreamError`."""
T = TypeVar("T")


class TaskDecoder:
    """One body to events: a step, its usage, the end; see `base.Decoder`."""

    __slots__ = ("_buffer", "_read")

    def __init__(self, read: Reader) -> None:
        self._read = read
        self._buffer = BodyBuffer()

    def feed(self, data: bytes) -> list[Event]:
        """See `BodyBuffer`."""
        self._buffer.take(data)
        return []

    def finish(self) -> list[Event]:
        """See `base.Decoder`."""
        try:
            chunk, usage = self._read(self._buffer.whole())
        except UpstreamError as error:
            return [Failed(error)]
        step = Step({"choices": [], **chunk})
        return [step, Ended()] if usage is None else [step, UsageReported(usage), Ended()]


def read_reply(body: bytes, decode: Callable[[bytes], T]) -> T:
    """Return what a decoder makes of a reply, which may have an attribute `error`.

    Raises:
        UpstreamError: the reply is an error, or is not what the decoder wants.
    """
    try:
        reply = decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Garbled(f"the provider sent something else than was asked for: {error}") from None
    error: object = getattr(reply, "error", None)
    if error:
        raise error_in_reply({"error": error})
    return reply


def read_prompt_usage(usage: object) -> Usage | None:
    """Return the tokens of a request that is all prompt: some servers count only the total."""
    if not isinstance(usage, Mapping) or not usage:
        return None
    found = read_usage(dict(cast("Mapping[str, Any]", usage)))
    if found.prompt_tokens:
        return found
    return msgspec.structs.replace(found, prompt_tokens=found.total_tokens - found.completion_tokens)
