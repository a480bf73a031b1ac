"""What happens with each generation when it is recorded: it is counted, and offered to the broadcast.

All of it is on the path of a request, so nothing here waits, and what nobody wants is not kept.
"""

from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Raw, Struct

from openrouter_gateway.broadcast.queue import Broadcaster
from openrouter_gateway.broadcast.record import Record
from openrouter_gateway.broadcast.spans import keep_settings
from openrouter_gateway.broadcast.transcript import Transcript
from openrouter_gateway.core.account import Key
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.generation import Generation

_OF_GENERATIONS: Final = ("trace", "user")
"""Fields that generations have themselves, however long callers make them."""


class Origin(Struct, frozen=True, kw_only=True):
    """What a request's headers say of where it came from, for traces and log lines."""

    traceparent: str | None = None
    request_id: str | None = None


class Observer:
    """One per process. `count` takes each generation at once, the broadcast when it gets to it."""

    def __init__(self, broadcaster: Broadcaster, count: Callable[[Generation], None]) -> None:
        self._broadcaster = broadcaster
        self._count = count

    def __repr__(self) -> str:
        return f"<Observer {self._broadcaster}>"

    def transcribe(self, request: ChatRequest) -> Transcript | None:
        """Return what is to gather a request's answer; None if nobody is going to read it."""
        return Transcript() if self._broadcaster.wants_content and request.task is None else None

    def observe(
        self,
        generation: Generation,
        request: ChatRequest,
        transcript: Transcript | None,
        origin: Origin,
        key: Key | None,
        *,
        may_keep: bool = True,
    ) -> None:
        """Take a generation with its request. Never waits, never raises.

        `may_keep`: content may be kept; where it may not, nobody is told any, as content waits and is stored there.
        """
        self._count(generation)
        broadcaster = self._broadcaster
        if not broadcaster.is_wanted:
            return
        fields: Mapping[str, Raw] = request.fields
        size_bytes = 0
        wants_content = may_keep and broadcaster.wants_content
        if not wants_content:
            size_bytes = sum(len(fields[name]) for name in _OF_GENERATIONS if name in fields)
            fields = keep_settings(fields)
        size_bytes += sum(map(len, fields.values()))
        if request.task is not None or not wants_content:  # gathered for the content log alone, if at all
            transcript = None
        broadcaster.offer(
            Record(
                generation=generation,
                request=fields,
                reply=None if transcript is None else transcript.messages,
                traceparent=origin.traceparent,
                key_name=None if key is None else key.name,
                request_id=origin.request_id,
                size_bytes=size_bytes + (0 if transcript is None else transcript.size_bytes),
            )
        )
