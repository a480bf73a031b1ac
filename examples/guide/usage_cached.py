"""Have a long prompt cached, and see the cache being written, then read."""

from langchain_core.messages import HumanMessage, SystemMessage

from langchain_openrouter import ChatOpenRouter

model = ChatOpenRouter(model="anthropic/claude-sonnet-4.5")
instructions = "You are a helpful assistant. " * 200
messages = [
    SystemMessage([{"type": "text", "text": instructions, "cache_control": {"type": "ephemeral"}}]),
    HumanMessage("Say hi."),
]
print(model.invoke(messages).usage_metadata)
print(model.invoke(messages).usage_metadata)
