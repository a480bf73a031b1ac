"""Prefer providers, in an order; others are the way out."""

from langchain_openrouter import ChatOpenRouter

model = ChatOpenRouter(
    model="anthropic/claude-opus-4.5",
    openrouter_provider={
        "order": ["Anthropic", "Google"],
        "allow_fallbacks": True,  # the default: when none of them can serve, others may
    },
)
print(model.invoke("Say hi.").response_metadata["provider"])
