"""Prefer the provider that begins to answer soonest."""

from langchain_openrouter import ChatOpenRouter

model = ChatOpenRouter(
    model="openai/gpt-4o",
    openrouter_provider={"sort": "latency"},
)
print(model.invoke("Say hi.").response_metadata["provider"])
