"""Use only providers that neither store prompts nor train on them."""

from langchain_openrouter import ChatOpenRouter

model = ChatOpenRouter(
    model="anthropic/claude-opus-4.5",
    openrouter_provider={"data_collection": "deny"},
)
print(model.invoke("Say hi.").response_metadata["provider"])
