"""Go on to the next provider when one fails."""

from langchain_openrouter import ChatOpenRouter

model = ChatOpenRouter(
    model="anthropic/claude-opus-4.5",
    route="fallback",
)
print(model.invoke("Say hi.").response_metadata["provider"])
