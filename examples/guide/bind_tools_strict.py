"""Let the model call a tool, with arguments that match its schema exactly."""

from pydantic import BaseModel, Field

from langchain_openrouter import ChatOpenRouter


class GetWeather(BaseModel):
    """Get the current weather in a given location."""

    location: str = Field(description="City and state, e.g. San Francisco, CA")


model = ChatOpenRouter(model="anthropic/claude-sonnet-4.5", temperature=0)
message = model.bind_tools([GetWeather], strict=True).invoke("What is the weather like in San Francisco?")
print(GetWeather.model_validate(message.tool_calls[0]["args"]))
