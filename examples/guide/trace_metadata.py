"""Annotate requests for the places where traces are broadcast to."""

from langchain_openrouter import ChatOpenRouter

model = ChatOpenRouter(
    model="anthropic/claude-sonnet-4.5",
    trace={
        "trace_id": "trace-789",
        "span_name": "summarize",
        "customer_tier": "gold",  # any other key is metadata of your own
    },
)
print(model.invoke("Say hi.").text)
