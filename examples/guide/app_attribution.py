"""Say which application is asking."""

from langchain_openrouter import ChatOpenRouter

model = ChatOpenRouter(
    model="anthropic/claude-sonnet-4.5",
    app_url="https://myapp.com",  # or OPENROUTER_APP_URL
    app_title="My App",  # or OPENROUTER_APP_TITLE
)
print(model.invoke("Say hi.").text)
