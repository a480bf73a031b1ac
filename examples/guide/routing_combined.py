"""Combine preferences: two providers, in order, under conditions."""

from langchain_openrouter import ChatOpenRouter

model = ChatOpenRouter(
    model="openai/gpt-4o",
    temperature=0,
    openrouter_provider={
        "order": ["OpenAI", "Azure"],
        "allow_fallbacks": False,  # these two and no others
        "require_parameters": True,  # skip those that do not support temperature
        "data_collection": "deny",
    },
)
print(model.invoke("Say hi.").response_metadata["provider"])
