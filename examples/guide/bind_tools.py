"""Let the model call a tool."""

from pydantic import BaseModel, Field

from langchain_openrouter import ChatOpenRouter


class GetWeather(BaseModel):
    """Get the current weather in a given location."""

    location: str = Field(description="City and state, e.g. San Francisco, CA")


model = ChatOpenRouter(model="anthropic/claude-sonnet-4.5", temperature=0)
message = model.bind_tools([GetWeather]).invoke("What is the weather like in San Francisco?")
for call in message.tool_calls:
    print(call)
