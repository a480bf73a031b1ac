"""Get an answer as an object."""

from pydantic import BaseModel, Field

from langchain_openrouter import ChatOpenRouter


class Movie(BaseModel):
    """A movie with details."""

    title: str = Field(description="The title of the movie")
    year: int = Field(description="The year it was released")
    director: str = Field(description="The name of its director")
    rating: float = Field(description="Its rating out of 10")


model = ChatOpenRouter(model="openai/gpt-5.4", temperature=0)
structured_model = model.with_structured_output(Movie, method="json_schema")
print(repr(structured_model.invoke("Provide details about the movie Inception.")))
