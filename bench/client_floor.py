"""The floor under every chat model of LangChain: it builds the messages that ours returns, and does no I/O."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from typing_extensions import override

ID = "gen-1771043112-abcdefghij0123456789"
METADATA: dict[str, Any] = {
    "model_name": "acme/one",
    "id": ID,
    "created": 1771043112,
    "object": "chat.completion",
    "finish_reason": "stop",
    "native_finish_reason": "stop",
    "logprobs": None,
    "model_provider": "openrouter",
    "provider": "Acme",
    "cost": 0.0001,
}
_INFO = {"finish_reason": "stop", "logprobs": None}


class Floor(BaseChatModel):
    """Answers with `events` words."""

    events: int

    @property
    @override
    def _llm_type(self) -> str:
        return "floor"

    @property
    def _usage(self) -> UsageMetadata:
        return UsageMetadata(input_tokens=12, output_tokens=self.events, total_tokens=12 + self.events)

    def _result(self) -> ChatResult:
        message = AIMessage(
            content=" word" * self.events,
            id=ID,
            tool_calls=[],
            invalid_tool_calls=[],
            usage_metadata=self._usage,
            additional_kwargs={},
            response_metadata=dict(METADATA),
        )
        return ChatResult(generations=[ChatGeneration(message=message, generation_info=dict(_INFO))])

    def _chunks(self) -> Iterator[ChatGenerationChunk]:
        for _ in range(self.events):
            metadata = {"model_provider": "openrouter"}
            yield ChatGenerationChunk(message=AIMessageChunk(content=" word", id=ID, response_metadata=metadata))
        last = AIMessageChunk(
            content="",
            id=ID,
            response_metadata=dict(METADATA),
            usage_metadata=self._usage,
            chunk_position="last",
        )
        yield ChatGenerationChunk(message=last, generation_info=dict(_INFO))

    @override
    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return self._result()

    @override
    async def _agenerate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return self._result()

    @override
    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        return self._chunks()

    @override
    async def _astream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._chunks():
            yield chunk
