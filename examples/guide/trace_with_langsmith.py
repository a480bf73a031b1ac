"""Trace every call of a model in LangSmith."""

import getpass
import os

from langchain_openrouter import ChatOpenRouter

if not os.getenv("LANGSMITH_API_KEY"):
    os.environ["LANGSMITH_API_KEY"] = getpass.getpass("Your LangSmith API key: ")
os.environ["LANGSMITH_TRACING"] = "true"

model = ChatOpenRouter(model="anthropic/claude-sonnet-4.5")
print(model.invoke("Tell me a joke.").text)
