"""Count the tokens of a streamed answer: chunks add up to a message."""

from langchain_openrouter import ChatOpenRouter

model = ChatOpenRouter(model="anthropic/claude-sonnet-4.5")
stream = model.stream("Tell me a joke.")
message = next(stream)
for chunk in stream:
    message += chunk
print(message.usage_metadata)
