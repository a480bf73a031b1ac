"""A model of OpenAI's dialect that thinks: two turns with one tool, and details of reasoning that must come back."""

from dataclasses import dataclass
from typing import Any, Final

THOUGHT: Final = "The user wants the weather."
ANSWER: Final = "It is sunny in Paris."
DETAILS: Final[list[dict[str, Any]]] = [
    {
        "type": "reasoning.text",
        "text": THOUGHT,
        "signature": "c2lnbmVk",
        "id": "reasoning-1",
        "format": "unknown",
        "index": 0,
        "vendor_field": {"kept": [1.50, None]},
    },
    {"type": "reasoning.encrypted", "data": "ZW5jcnlwdGVk", "id": "reasoning-2", "format": "unknown", "index": 1},
]
_CALL: Final[dict[str, Any]] = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
}


@dataclass
class Turn:
    """An answer: the body of one, and the deltas of a stream that says the same."""

    finish_reason: str | None
    message: dict[str, Any]
    deltas: list[dict[str, Any]]
    tokens: int = 7

    @property
    def usage(self) -> dict[str, Any]:
        """What it counts."""
        return {"prompt_tokens": 11, "completion_tokens": self.tokens, "total_tokens": 11 + self.tokens}

    @property
    def whole(self) -> dict[str, Any]:
        """The body."""
        message = {"role": "assistant", "content": None, **self.message}
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason}
        return {
            "id": "chatcmpl-fake",
            "object": "chat.completion",
            "created": 1,
            "model": "x",
            "choices": [choice],
            "usage": self.usage,
        }


def think(body: dict[str, Any]) -> Turn:
    """Return the next turn; words of reproach if the thoughts of the last one did not come back unchanged."""
    if body["messages"][-1]["role"] != "tool":
        first, second = DETAILS
        begun = {key: value for key, value in first.items() if key != "signature"}
        signed = {"type": "reasoning.text", "signature": first["signature"], "index": 0}
        function = _CALL["function"]
        call = {**_CALL, "index": 0, "function": {**function, "arguments": ""}}
        rest = {"index": 0, "function": {"arguments": function["arguments"]}}
        return Turn(
            "tool_calls",
            {"reasoning": THOUGHT, "reasoning_details": DETAILS, "tool_calls": [_CALL]},
            [
                {"role": "assistant", "reasoning": THOUGHT[:9], "reasoning_details": [begun | {"text": THOUGHT[:9]}]},
                {
                    "reasoning": THOUGHT[9:],
                    "reasoning_details": [{"type": "reasoning.text", "text": THOUGHT[9:], "index": 0}],
                },
                {"reasoning_details": [signed]},
                {"reasoning_details": [second]},
                {"tool_calls": [call]},
                {"tool_calls": [rest]},
            ],
        )
    came_back = [message.get("reasoning_details") for message in body["messages"] if message["role"] == "assistant"]
    text = ANSWER if came_back == [DETAILS] else f"Those are not my thoughts: {came_back}"
    return Turn("stop", {"content": text}, [{"role": "assistant", "content": text}])
