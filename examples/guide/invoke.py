"""Translate a sentence."""

from langchain_openrouter import ChatOpenRouter

model = ChatOpenRouter(
    model="anthropic/claude-sonnet-4.5",
    temperature=0,
    max_tokens=1024,
    max_retries=2,
)
message = model.invoke(
    [
        ("system", "You translate English to French. Translate the user's sentence."),
        ("human", "I love programming."),
    ]
)
print(message.text)
