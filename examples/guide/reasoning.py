"""Let the model think first, and show its thoughts."""

from langchain_openrouter import ChatOpenRouter

model = ChatOpenRouter(
    model="anthropic/claude-sonnet-4.5",
    max_tokens=16384,
    reasoning={"effort": "high", "summary": "auto"},
)
message = model.invoke("What is the square root of 529?")
for block in message.content_blocks:
    if block["type"] == "reasoning":
        print("Thoughts:", block.get("reasoning"))
print("Answer:", message.text)
