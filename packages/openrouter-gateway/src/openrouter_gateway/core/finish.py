"""Why a choice ended, in OpenRouter's five words (OpenRouter API, finish reasons, 2026-08-22)."""

_NORMALISED = {
    "stop": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "completed": "stop",
    "complete": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "refusal": "content_filter",
    "safety": "content_filter",
    "recitation": "content_filter",
    "blocklist": "content_filter",
    "prohibited_content": "content_filter",
    "guardrail_intervened": "content_filter",
    "error": "error",
    "malformed_function_call": "error",
}


def to_finish_reason(native: str) -> str:
    """Return the normalised reason. A word that is not known means that the reply ended by itself: `stop`."""
    return _NORMALISED.get(native) or _NORMALISED.get(native.lower(), "stop")
