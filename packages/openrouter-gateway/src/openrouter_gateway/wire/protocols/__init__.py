"""The outbound dialects. Adding one: write its file and its line in this table."""

from openrouter_gateway.wire.protocols.anthropic import Anthropic
from openrouter_gateway.wire.protocols.base import Protocol
from openrouter_gateway.wire.protocols.gemini import Gemini
from openrouter_gateway.wire.protocols.local import Local
from openrouter_gateway.wire.protocols.openai import OpenAI
from openrouter_gateway.wire.protocols.openai_responses import OpenAIResponses

PROTOCOLS: dict[str, Protocol] = {
    "anthropic": Anthropic(),
    "openai": OpenAI(),
    "gemini": Gemini(),
    "openai_responses": OpenAIResponses(),
    "local": Local(),
}
