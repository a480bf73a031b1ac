"""What a generation is asked and answers, for the content log (`stores/contents` keeps it)."""

from typing import Any, Final

from openrouter_gateway.broadcast.transcript import Transcript
from openrouter_gateway.core.catalog import AccountPolicy
from openrouter_gateway.core.chat import ChatRequest
from openrouter_gateway.core.generation import Generation
from openrouter_gateway.errors import GatewayError
from openrouter_gateway.stores.contents import Content

_READ: Final = ("messages", "input", "query")
"""The fields that the model reads: of a chat, for vectors, for a ranking."""


def may_keep(request: ChatRequest, policy: AccountPolicy) -> bool:
    """Return whether a request's content may be kept: not where it, or the policy, wants zero retention."""
    preferences = request.params.provider
    return not (policy.zdr or (preferences is not None and preferences.zdr))


def content_of(
    request: ChatRequest, generation: Generation, transcript: Transcript | None, error: GatewayError | None
) -> Content:
    """Return what there is to keep; the transcript is of the last endpoint that was tried, None if none was."""
    asked = _asked(request)
    said = transcript or Transcript()
    return Content(
        id=generation.id,
        created=generation.created,
        key_hash=generation.key_hash,
        asked=asked,
        answer=said.messages,
        error=None if error is None else _describe(error, generation),
        size_bytes=sum(map(len, asked.values())) + said.size_bytes,
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
            {
                "status": attempt.status,
                "provider_name": attempt.provider_name or attempt.provider,
                "message": attempt.outcome,
            }
            for attempt in failed[:-1]
        ],
    }
