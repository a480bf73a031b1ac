"""Prefer the provider that writes fastest, in tokens per second."""

from langchain_openrouter import ChatOpenRouter

model = ChatOpenRouter(
    model="openai/gpt-4o",
    openrouter_provider={"sort": "throughput"},
)
print(model.invoke("Say hi.").response_metadata["provider"])
