"""LangChain's own unit tests for chat models."""

from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_tests.unit_tests import ChatModelUnitTests

from langchain_openrouter import ChatOpenRouter


class TestStandard(ChatModelUnitTests):
    """Runs them against ours."""

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        """The class under test."""
        return ChatOpenRouter

    @property
    def chat_model_params(self) -> dict[str, Any]:
        """What a model needs."""
        return {"model": "openai/gpt-4o-mini", "api_key": "sk-or-test"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        """Variables, arguments, and the attributes they must give."""
        variables = {
            "OPENROUTER_API_KEY": "key",
            "OPENROUTER_API_BASE": "https://base/v1",
            "OPENROUTER_APP_URL": "https://app.example",
            "OPENROUTER_APP_TITLE": "App",
            "OPENROUTER_APP_CATEGORIES": "cli-agent, writing",
            "OPENROUTER_SESSION_ID": "session-1",
        }
        attributes = {
            "openrouter_api_key": "key",
            "openrouter_api_base": "https://base/v1",
            "app_url": "https://app.example",
            "app_title": "App",
            "app_categories": ["cli-agent", "writing"],
            "session_id": "session-1",
        }
        return variables, {"model": "a/b"}, attributes
