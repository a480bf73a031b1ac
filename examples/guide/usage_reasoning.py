"""Count the tokens that a model thought with."""

from langchain_openrouter import ChatOpenRouter

model = ChatOpenRouter(model="anthropic/claude-sonnet-4.5", reasoning={"effort": "high"})
message = model.invoke("What is the square root of 529?")
print(message.usage_metadata)
