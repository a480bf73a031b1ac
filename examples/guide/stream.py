"""Print an answer while it is written."""

from langchain_openrouter import ChatOpenRouter

model = ChatOpenRouter(model="anthropic/claude-sonnet-4.5", max_tokens=64)
for chunk in model.stream("Write a haiku about the sea."):
    print(chunk.text, end="", flush=True)
