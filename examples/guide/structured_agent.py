# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
"""Let an agent use a tool, then answer as an object."""

from typing import Literal

from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy
from pydantic import BaseModel


class Weather(BaseModel):
    """The weather at a location."""

    temperature: float
    condition: Literal["Sunny", "Cloudy", "Rainy", "Snowy"]


def get_weather(location: str) -> str:
    """Get the weather at a location."""
    return f"Sunny and 75 degrees F in {location}."


agent = create_agent(
    model="openrouter:openai/gpt-5.4",
    tools=[get_weather],
    response_format=ProviderStrategy(Weather),
)
result = agent.invoke({"messages": [{"role": "user", "content": "What is the weather in San Francisco?"}]})
print(repr(result["structured_response"]))
