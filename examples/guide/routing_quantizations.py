"""Use only endpoints that run the weights at 16 bits."""

from langchain_openrouter import ChatOpenRouter

model = ChatOpenRouter(
    model="meta-llama/llama-4-maverick",
    openrouter_provider={"quantizations": ["fp16", "bf16"]},
)
print(model.invoke("Say hi.").response_metadata["provider"])
