"""Group requests of one workflow, and name a step of it."""

from langchain_openrouter import ChatOpenRouter

model = ChatOpenRouter(
    model="anthropic/claude-sonnet-4.5",
    session_id="workflow-abc-123",  # or OPENROUTER_SESSION_ID
)
print(model.invoke("Say hi.").text)
print(model.invoke("Say hi again.", session_id="workflow-abc-123-step-1").text)
