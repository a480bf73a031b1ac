"""ChatOpenRouter: the LangChain chat model for OpenRouter and for gateways that speak its API."""

from importlib.metadata import version

from langchain_openrouter.chat_models import ChatOpenRouter
from langchain_openrouter.errors import (
    APIError,
    AuthenticationFailed,
    BadRequest,
    ConfigurationError,
    ConnectionFailed,
    ContextTooLong,
    NotFound,
    OpenRouterError,
    PayloadTooLarge,
    PaymentRequired,
    PermissionDenied,
    ProtocolViolation,
    RateLimited,
    RequestTimedOut,
    ServerFailed,
    StreamBroken,
    TimedOut,
    Unprocessable,
)
from langchain_openrouter.settings import (
    MaxPrice,
    PluginConfig,
    ProviderPreferences,
    ReasoningConfig,
    TraceConfig,
)

__all__ = [
    "APIError",
    "AuthenticationFailed",
    "BadRequest",
    "ChatOpenRouter",
    "ConfigurationError",
    "ConnectionFailed",
    "ContextTooLong",
    "MaxPrice",
    "NotFound",
    "OpenRouterError",
    "PayloadTooLarge",
    "PaymentRequired",
    "PermissionDenied",
    "PluginConfig",
    "ProtocolViolation",
    "ProviderPreferences",
    "RateLimited",
    "ReasoningConfig",
    "RequestTimedOut",
    "ServerFailed",
    "StreamBroken",
    "TimedOut",
    "TraceConfig",
    "Unprocessable",
]

__version__ = version("langchain-openrouter")
