"""Count the tokens of a call."""

from langchain_openrouter import ChatOpenRouter

model = ChatOpenRouter(model="anthropic/claude-sonnet-4.5")
message = model.invoke("Tell me a joke.")
print(message.usage_metadata)
