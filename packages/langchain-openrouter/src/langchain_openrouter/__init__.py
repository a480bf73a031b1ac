"""ChatOpenRouter: the LangChain chat model for OpenRouter and for gateways that speak its API."""

import typing
from importlib import import_module as _import_module
from importlib.metadata import version as _version

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

if typing.TYPE_CHECKING:
    from langchain_openrouter.costs import CostSummary, CostTracker, track_costs
    from langchain_openrouter.embeddings import OpenRouterEmbeddings
    from langchain_openrouter.generations import GenerationRecord, aget_generation, get_generation
    from langchain_openrouter.models import ModelFilters, ModelInfo, ModelPricing, alist_models, list_models

__all__ = [
    "APIError",
    "AuthenticationFailed",
    "BadRequest",
    "ChatOpenRouter",
    "ConfigurationError",
    "ConnectionFailed",
    "ContextTooLong",
    "CostSummary",
    "CostTracker",
    "GenerationRecord",
    "MaxPrice",
    "ModelFilters",
    "ModelInfo",
    "ModelPricing",
    "NotFound",
    "OpenRouterEmbeddings",
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
    "aget_generation",
    "alist_models",
    "get_generation",
    "list_models",
    "track_costs",
]

__version__ = _version("langchain-openrouter")

# What goes beyond chat is imported when it is first asked for: most programs never do.
_HOMES = {
    "CostSummary": "costs",
    "CostTracker": "costs",
    "GenerationRecord": "generations",
    "ModelFilters": "models",
    "ModelInfo": "models",
    "ModelPricing": "models",
    "OpenRouterEmbeddings": "embeddings",
    "aget_generation": "generations",
    "alist_models": "models",
    "get_generation": "generations",
    "list_models": "models",
    "track_costs": "costs",
}


def __getattr__(name: str) -> typing.Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(_import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
