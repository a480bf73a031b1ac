"""Use these providers and no others."""

from langchain_openrouter import ChatOpenRouter

model = ChatOpenRouter(
    model="openai/gpt-4o",
    openrouter_provider={"only": ["OpenAI", "Azure"]},
)
print(model.invoke("Say hi.").response_metadata["provider"])
