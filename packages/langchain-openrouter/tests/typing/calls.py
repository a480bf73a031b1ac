# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""What comes back from calls, from tools and from structured output; checked, and run up to the first call."""

from collections.abc import AsyncIterator, Iterator
from typing import Any, assert_type

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable
from langchain_core.tools import tool
from pydantic import BaseModel
from typing_extensions import TypedDict

from langchain_openrouter import ChatOpenRouter


class Movie(BaseModel):
    """A movie."""

    title: str


class MovieDict(TypedDict):
    """A movie."""

    title: str


@tool
def find_movie(title: str) -> str:
    """Find a movie."""
    return title


def count_movies(year: int) -> int:
    """Count the movies of a year."""
    return year


SCHEMA: dict[str, Any] = {"title": "Movie", "type": "object", "properties": {"title": {"type": "string"}}}

model = ChatOpenRouter(model="acme/one", api_key="key")
with_tools = model.bind_tools([Movie, MovieDict, find_movie, count_movies, SCHEMA, {"type": "openrouter:web_search"}])
assert_type(with_tools, Runnable[LanguageModelInput, AIMessage])
assert_type(model.bind_tools([Movie], tool_choice="any", strict=True), Runnable[LanguageModelInput, AIMessage])
model.bind_tools([Movie], tool_choice=True, parallel_tool_calls=False)
model.bind_tools([Movie], tool_choice={"type": "function", "function": {"name": "Movie"}})

assert_type(model.with_structured_output(Movie), Runnable[LanguageModelInput, Movie])
assert_type(model.with_structured_output(MovieDict), Runnable[LanguageModelInput, MovieDict])
assert_type(model.with_structured_output(SCHEMA), Runnable[LanguageModelInput, dict[str, Any]])
assert_type(
    model.with_structured_output(Movie, method="json_schema", strict=True, temperature=0),
    Runnable[LanguageModelInput, Movie],
)
assert_type(model.with_structured_output(method="json_mode"), Runnable[LanguageModelInput, dict[str, Any]])
assert_type(model.with_structured_output(Movie, include_raw=True), Runnable[LanguageModelInput, dict[str, Any]])

prompt = ChatPromptTemplate.from_messages([("human", "{question}")])
chain = prompt | model | StrOutputParser()
bound = model.bind(temperature=0, stop=["END"])


def structured(schema: type | dict[str, Any], *, include_raw: bool) -> Runnable[LanguageModelInput, Any]:
    """A schema that is not known before run time."""
    return model.with_structured_output(schema, include_raw=include_raw)


def either_way(*, include_raw: bool) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
    """The type that LangChain's own signature has still fits."""
    return model.with_structured_output(Movie, include_raw=include_raw)


def called() -> None:
    """Everything that would send a request."""
    assert_type(model.invoke("Hello"), AIMessage)
    assert_type(
        model.invoke([HumanMessage("Hello")], stop=["END"], temperature=0, extra_headers={"X-A": "b"}), AIMessage
    )
    assert_type(model.stream("Hello"), Iterator[AIMessageChunk])
    assert_type(model.batch(["Hello", [("human", "Hello")]]), list[AIMessage])
    assert_type(bound.invoke("Hello"), AIMessage)
    assert_type(with_tools.invoke("Hello"), AIMessage)
    assert_type(model.with_structured_output(Movie).invoke("Hello").title, str)
    assert_type(model.with_structured_output(MovieDict).invoke("Hello")["title"], str)
    assert_type(chain.invoke({"question": "Hello"}), str)


async def called_asynchronously() -> None:
    """The same, asynchronously."""
    assert_type(await model.ainvoke("Hello"), AIMessage)
    assert_type(model.astream("Hello"), AsyncIterator[AIMessageChunk])
    assert_type(await model.abatch(["Hello"]), list[AIMessage])
    assert_type(await with_tools.ainvoke("Hello"), AIMessage)
    assert_type(await model.with_structured_output(Movie).ainvoke("Hello"), Movie)


def rejected() -> None:
    """What type checkers must find."""
    model.invoke(1)  # pyright: ignore[reportArgumentType]
    model.invoke("Hello", stop="END")  # pyright: ignore[reportArgumentType]
    model.bind_tools([1])  # pyright: ignore[reportArgumentType]
    model.bind_tools([Movie], tool_choice=1.5)  # pyright: ignore[reportArgumentType]
    model.bind_tools([Movie], strict="yes")  # pyright: ignore[reportArgumentType]
    model.with_structured_output(1)  # pyright: ignore[reportArgumentType, reportCallIssue]
    model.with_structured_output(Movie, method="yaml")  # pyright: ignore[reportArgumentType, reportCallIssue]
