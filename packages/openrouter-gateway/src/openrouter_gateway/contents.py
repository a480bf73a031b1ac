"""What a generation is asked and answers, collected for the content log while it runs (`stores/contents` keeps it)."""

from typing import Any, Final
from typing import Protocol as Interface

from openrouter_gateway.broadcast.transcript import Transcript
from openrouter_gateway.core.catalog import AccountPolicy
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.events import Event
from openrouter_gateway.core.generation import Generation
from openrouter_gateway.errors import GatewayError
from openrouter_gateway.stores.contents import Content, ContentLog

_READ: Final = ("messages", "input", "query")
"""The fields that the model reads: of a chat, for vectors, for a ranking."""


class Reply(Interface):
    """Where a reply's events go."""

    async def take(self, events: list[Event]) -> None:
        """Pass events on."""
        ...


class Overheard:
    """A reply that a transcript is made of, before a skin writes the gateway's own fields into its steps."""

    def __init__(self, reply: Reply, transcript: Transcript) -> None:
        self._reply = reply
        self._transcript = transcript

    async def take(self, events: list[Event]) -> None:
        """See `Reply`."""
        self._transcript.take(events)
        await self._reply.take(events)


class Recording:
    """The content of one generation, while it grows: what the last endpoint said that was tried."""

    def __init__(self, log: ContentLog, request: ChatRequest) -> None:
        self._log = log
        self._request = request
        self._transcript = Transcript()

    @classmethod
    def begin(cls, log: ContentLog | None, request: ChatRequest, policy: AccountPolicy) -> "Recording | None":
        """Return the recording of a request; None if its content is not to be kept: it, or the policy, says so."""
        if log is None or policy.zdr:
            return None
        preferences = request.params.provider
        return None if preferences is not None and preferences.zdr else cls(log, request)

    def of(self, reply: Reply) -> Reply:
        """Return a reply to use instead of another one: a new attempt begins."""
        self._transcript = Transcript()
        return Overheard(reply, self._transcript)

    def end(self, generation: Generation, error: GatewayError | None) -> None:
        """Hand over what there is."""
        asked = _asked(self._request)
        self._log.keep(
            Content(
                id=generation.id,
                created=generation.created,
                key_hash=generation.key_hash,
                asked=asked,
                answer=self._transcript.messages,
                error=None if error is None else _describe(error, generation),
                size_bytes=sum(map(len, asked.values())) + self._transcript.size_bytes,
            )
        )


def _asked(request: ChatRequest) -> dict[str, Any]:
    """Return the request's own words, undecoded where they came so."""
    if "prompt" in request.echo:  # the text form, whose prompt is the content of one message
        return {"prompt": request.params.messages[0].content or ""}
    fields = request.fields
    name = next((name for name in _READ if name in fields), None)
    if name is None:
        return {}
    return {"messages" if request.task is None else "prompt": fields[name]}


def _describe(error: GatewayError, generation: Generation) -> dict[str, Any]:
    failed = [attempt for attempt in generation.attempts if attempt.outcome != "served"]
    return {
        "message": error.message,
        "status": error.status,
        "provider_name": generation.provider_name,
        "raw": None,
        "previous_errors": [
            {"status": attempt.status, "provider_name": attempt.provider, "message": attempt.outcome}
            for attempt in failed[:-1]
        ],
    }
