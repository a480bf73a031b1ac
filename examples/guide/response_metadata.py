"""See who answered, and how the answer ended."""

from langchain_openrouter import ChatOpenRouter

model = ChatOpenRouter(model="anthropic/claude-sonnet-4.5")
message = model.invoke("Tell me a joke.")
for name, value in sorted(message.response_metadata.items()):
    print(f"{name}: {value!r}")
