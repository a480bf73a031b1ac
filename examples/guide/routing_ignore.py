"""Use any provider but these."""

from langchain_openrouter import ChatOpenRouter

model = ChatOpenRouter(
    model="meta-llama/llama-4-maverick",
    openrouter_provider={"ignore": ["DeepInfra"]},
)
print(model.invoke("Say hi.").response_metadata["provider"])
