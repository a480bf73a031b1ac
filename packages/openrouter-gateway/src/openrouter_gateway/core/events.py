"""The typed steps of a reply: what every protocol decodes to and every skin encodes from.

The hub is OpenRouter's chat dialect. A `Step` holds choices as the dictionaries that dialect shows on its wire, so
that a same-dialect reply passes with its unknown keys and needs no object per field. Decoders promise, and encoders
rely on, these rules (OpenRouter API, streaming, 2026-08-22):

* every choice has an integer `index`, a dictionary `delta` and the key `finish_reason`, normalised;
* in a delta only `content`, `reasoning` and `refusal` may be null; nothing inside a tool call is;
* usage never rides on a step, errors never do: they are events of their own;
* the answer to a task (`ChatRequest.task`) is one step without choices: its `chunk` has instead `data`
  (`core/embedding.Vector`) or `results` (`core/rerank.Ranked`).

A reply is any number of steps and usage reports, then one `Ended` or one `Failed`.
"""

from typing import Any, Required, TypeAlias, TypedDict

from msgspec import Struct

from openrouter_gateway.core.usage import Usage
from openrouter_gateway.errors import UpstreamError


class ChoiceStep(TypedDict, total=False):
    """What one choice gained. `delta` is a message fragment; unknown keys are allowed and kept."""

    index: Required[int]
    delta: Required[dict[str, Any]]
    finish_reason: Required[str | None]
    native_finish_reason: str | None
    logprobs: Any
    error: Any


class Step(Struct, frozen=True, gc=False):
    """Some choices moved on.

    `chunk` is the provider's own chunk, `choices` and every field that the gateway does not know among it. A skin may
    write the gateway's fields (id, model, ...) into it: a step is encoded once, by one skin.
    """

    chunk: dict[str, Any]

    @property
    def choices(self) -> list[ChoiceStep]:
        """What moved on."""
        return self.chunk["choices"]

    def with_choices(self, choices: list[ChoiceStep]) -> "Step":
        """Return a step that shows these choices instead, with a chunk of its own."""
        return Step({**self.chunk, "choices": choices})


class UsageReported(Struct, frozen=True, gc=False):
    """The provider's token counts so far; a later report replaces an earlier one."""

    usage: Usage


class Failed(Struct, frozen=True, gc=False):
    """The provider reported an error in its stream."""

    error: UpstreamError


class Ended(Struct, frozen=True, gc=False):
    """The provider said that the reply is complete."""


Event: TypeAlias = Step | UsageReported | Failed | Ended
