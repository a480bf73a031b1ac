"""What the chunks of Google's replies mean: candidates, usage and blocked prompts, brought into hub form.

A candidate's finish reason is held back to the end of the reply: Google's streams have no end mark, some of them put
an empty candidate with STOP before the text, and annotations and the last tokens come with it or after it.
"""

from typing import Any, cast

import msgspec

from openrouter_gateway.core.events import ChoiceStep, Ended, Event, Failed, Step, UsageReported
from openrouter_gateway.core.usage import Usage
from openrouter_gateway.errors import Cut, Garbled, Refused
from openrouter_gateway.wire.protocols.gemini_candidate import CallNamer, Candidate
from openrouter_gateway.wire.protocols.gemini_errors import error_in_reply
from openrouter_gateway.wire.tolerant import as_count


class ReplyReader:
    """Reads the chunks of one reply. `seed` makes the ids of calls differ from those of other replies."""

    __slots__ = ("_candidates", "_last_usage", "_namer", "_usage", "done")

    def __init__(self, seed: bytes) -> None:
        self.done = False
        self._candidates: dict[int, Candidate] = {}
        self._namer = CallNamer(seed)
        self._usage: dict[str, Any] = {}
        self._last_usage: dict[str, Any] = {}

    def read(self, chunk: object, events: list[Event]) -> None:
        """Append what a chunk says.

        Raises:
            Garbled: it is no chunk of this protocol.
        """
        if type(chunk) is not dict:
            raise Garbled("the provider sent JSON that is not an object")
        fields = cast("dict[str, Any]", chunk)
        if fields.get("error"):
            self._fail(Failed(error_in_reply(fields["error"])), events)
            return
        self._namer.note(fields.get("responseId"))
        candidates = fields.get("candidates")
        if candidates:
            self._read_candidates(candidates, events)
        usage = fields.get("usageMetadata")
        if type(usage) is dict and usage:
            self._read_usage(cast("dict[str, Any]", usage), events)
        feedback = fields.get("promptFeedback")
        if type(feedback) is dict and feedback:
            self._read_feedback(cast("dict[str, Any]", feedback), events)

    def end(self, *, whole: bool) -> list[Event]:
        """Return the last events. A `whole` body is complete even if its candidates do not say that they are.

        Raises:
            Cut: a candidate has not come to its end.
            Garbled: there was none.
        """
        if self.done:
            return []
        candidates = [self._candidates[index] for index in sorted(self._candidates)]
        if not candidates:
            raise Garbled("the provider answered without any candidate")
        if not whole and any(candidate.native is None for candidate in candidates):
            raise Cut("the provider's stream ended before the answer did")
        self.done = True
        choices = [candidate.end() for candidate in candidates]
        return [Step({"choices": choices}), Ended()]

    def _fail(self, failure: Failed, events: list[Event]) -> None:
        self.done = True
        events.append(failure)

    def _read_candidates(self, candidates: object, events: list[Event]) -> None:
        if type(candidates) is not list:
            raise Garbled("the provider's `candidates` is not a list")
        choices: list[ChoiceStep] = []
        for position, candidate in enumerate(cast("list[object]", candidates)):
            if type(candidate) is not dict:
                raise Garbled("the provider sent a candidate that is not an object")
            fields = cast("dict[str, Any]", candidate)
            index: object = fields.get("index")
            index = index if type(index) is int and index >= 0 else position
            known = self._candidates.get(index)
            if known is None:
                known = self._candidates[index] = Candidate(index, self._namer)
            choice = known.read(fields)
            if choice is not None:
                choices.append(choice)
        if choices:
            events.append(Step({"choices": choices}))

    def _read_usage(self, usage: dict[str, Any], events: list[Event]) -> None:
        # Counts are of the whole so far. One that a later chunk leaves out still holds (pydantic-ai issue 5205).
        if usage != self._last_usage:
            self._last_usage = usage
            self._usage.update(usage)
            counted = to_usage(self._usage)
            if counted.total_tokens:  # LiteLLM's proxy 1.106 counts nothing in streams, and says so in zeros
                events.append(UsageReported(counted))

    def _read_feedback(self, feedback: dict[str, Any], events: list[Event]) -> None:
        reason = feedback.get("blockReason")
        if type(reason) is not str:
            return
        message = feedback.get("blockReasonMessage")
        text = f": {message}" if type(message) is str else ""
        refused = Refused(f"the provider blocked the prompt for {reason}{text}", error_type="content_policy_violation")
        refused.provider_status, refused.provider_code = 200, reason
        self._fail(Failed(refused), events)


def to_usage(fields: dict[str, Any]) -> Usage:
    """Read token counts (`UsageMetadata`: ai.google.dev/api/generate-content, 2026-11).

    Thoughts, and what tools gave the model to read, are counted apart there, and within the answer and the prompt here.
    """
    prompt = as_count(fields.get("promptTokenCount"))
    answer, thoughts = as_count(fields.get("candidatesTokenCount")), as_count(fields.get("thoughtsTokenCount"))
    total = as_count(fields.get("totalTokenCount"))
    if "toolUsePromptTokenCount" in fields:
        prompt += as_count(fields["toolUsePromptTokenCount"])
    completion = answer + thoughts
    if thoughts and total == prompt + answer and answer >= thoughts:
        completion = answer  # some models count thoughts among the answer's tokens (LiteLLM, vertex_ai/gemini, 2026)
    inputs, outputs = _by_modality(fields, "promptTokensDetails"), _by_modality(fields, "candidatesTokensDetails")
    cached = _by_modality(fields, "cacheTokensDetails")
    usage = Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=total or prompt + completion,
        cached_tokens=as_count(fields.get("cachedContentTokenCount")),
        reasoning_tokens=thoughts,
    )
    if not inputs and not outputs:
        return usage
    return msgspec.structs.replace(
        usage,
        cached_audio_tokens=cached.get("AUDIO", 0),
        prompt_audio_tokens=inputs.get("AUDIO", 0),
        prompt_image_tokens=inputs.get("IMAGE", 0),
        prompt_video_tokens=inputs.get("VIDEO", 0),
        completion_audio_tokens=outputs.get("AUDIO", 0),
        image_tokens=outputs.get("IMAGE", 0),
    )


def _by_modality(fields: dict[str, Any], key: str) -> dict[object, int]:
    """Return the counts of anything but text."""
    details = fields.get(key)
    counts: dict[object, int] = {}
    for entry in cast("list[object]", details) if isinstance(details, list) else ():
        if isinstance(entry, dict):
            held = cast("dict[str, Any]", entry)
            kind = held.get("modality")
            if kind != "TEXT" and type(kind) is str:
                counts[kind] = counts.get(kind, 0) + as_count(held.get("tokenCount"))
    return counts
