"""Tools, tool choices, schemas and structured output."""

import json
from typing import Any, Literal, cast

import pytest
from langchain.agents import create_agent  # pyright: ignore[reportUnknownVariableType]
from langchain.agents.structured_output import ProviderStrategy
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from pydantic import BaseModel, Field, ValidationError
from scripted_server import ScriptedServer, completion, event, json_reply, sse_reply
from typing_extensions import TypedDict

from langchain_openrouter import ChatOpenRouter, ConfigurationError
from langchain_openrouter._tools import close_schema, to_response_format, to_wire_choice, to_wire_tool

Json = dict[str, Any]


class GetWeather(BaseModel):
    """Get the current weather in a given location."""

    location: str = Field(description="The city and state")


class Weather(TypedDict):
    """Get the current weather in a given location."""

    location: str


def get_weather(location: str) -> str:
    """Get the current weather in a given location."""
    return f"Sunny in {location}"


class Inner(BaseModel):
    """Has a default."""

    unit: str = "C"


class Nested(BaseModel):
    """Has definitions, alternatives and lists."""

    inner: Inner
    many: list[Inner] = Field(default_factory=list[Inner])
    maybe: Inner | None = None


MARK = {"type": "ephemeral"}
DICT_TOOL: Json = {
    "type": "function",
    "function": {
        "name": "f",
        "parameters": {"type": "object", "properties": {"a": {"type": "string"}}},
    },
    "cache_control": {"type": "ephemeral"},
}


def names(wire: Json) -> tuple[str, list[str]]:
    return wire["function"]["name"], list(wire["function"]["parameters"]["properties"])


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (GetWeather, "GetWeather"),
        (Weather, "Weather"),
        (get_weather, "get_weather"),
        (tool(get_weather), "get_weather"),
        (GetWeather.model_json_schema(), "GetWeather"),
    ],
    ids=["pydantic", "typed dict", "function", "langchain tool", "json schema"],
)
def test_every_form_of_a_tool(given: Any, name: str) -> None:
    wire = to_wire_tool(given)
    assert wire["type"] == "function"
    assert names(wire) == (name, ["location"])
    assert wire["function"]["description"].startswith("Get the current weather")
    assert "strict" not in wire["function"]


@pytest.mark.parametrize(
    "given",
    [
        DICT_TOOL,
        {"type": "openrouter:web_search"},
        {"type": "openrouter:web_search", "parameters": {"max_results": 3}, "new": None},
        {"type": "web_search_preview"},
    ],
)
def test_dicts_of_the_api_travel_verbatim(given: Json) -> None:
    before = json.dumps(given)
    assert to_wire_tool(given) == given
    to_wire_tool(given, strict=True)
    assert json.dumps(given) == before


class Node(BaseModel):
    """A node of a tree."""

    name: str
    children: list["Node"] = Field(default_factory=list["Node"])


class Tree(BaseModel):
    """A tree."""

    root: Node


def grow(tree: Tree) -> None:
    """Grow a tree."""


NODE: Json = {
    "type": "object",
    "properties": {
        "name": {"title": "Name", "type": "string"},
        "children": {"title": "Children", "type": "array", "items": {"$ref": "#/$defs/Node"}},
    },
    "required": ["name", "children"],
    "additionalProperties": False,
}
DEFINITIONS: Json = {"Node": {**NODE, "title": "Node", "description": "A node of a tree."}}


@pytest.mark.parametrize("given", [Node, Node.model_json_schema()], ids=["class", "schema"])
def test_a_class_that_holds_itself_keeps_its_definition(given: Any) -> None:
    """At the root, which must be an object and no reference; in tools and in response formats."""
    tool_wire = to_wire_tool(given, strict=True)["function"]
    assert (tool_wire["name"], tool_wire["description"]) == ("Node", "A node of a tree.")
    assert tool_wire["parameters"] == {**NODE, "$defs": DEFINITIONS}
    format_wire = to_response_format(given, strict=True)["json_schema"]
    assert (format_wire["name"], format_wire["schema"]) == ("Node", {**NODE, "$defs": DEFINITIONS})


@pytest.mark.parametrize("given", [Tree, tool(grow)], ids=["class", "langchain tool"])
def test_a_field_that_holds_itself_keeps_its_definition(given: Any) -> None:
    parameters = to_wire_tool(given)["function"]["parameters"]
    (field,) = parameters["properties"].values()
    assert parameters["$defs"]["Node"]["properties"]["children"]["items"] == {"$ref": "#/$defs/Node"}
    assert field["$ref"].startswith("#/$defs/")


def test_definitions_without_a_cycle_are_put_in_their_places() -> None:
    """As LangChain does, for models that cannot follow references."""
    assert "$defs" not in to_wire_tool(Nested)["function"]["parameters"]


@pytest.mark.parametrize(
    "given",
    [
        {"name": "f", "description": "F.", "input_schema": {"type": "object", "properties": {}}},
        {"type": "custom", "name": "f", "description": "F.", "input_schema": {"type": "object", "properties": {}}},
        {"name": "f", "description": "F.", "parameters": {"type": "object", "properties": {}}},
        tool("f", description="F.", args_schema={"type": "object", "properties": {}})(get_weather),
    ],
    ids=["Anthropic", "Anthropic, with its type", "OpenAI's function", "langchain tool"],
)
def test_a_tool_keeps_its_mark_for_the_cache(given: Any) -> None:
    """In every spelling; LangChain's tools hold it in their `extras`."""
    marked: Any = {**given, "cache_control": MARK} if isinstance(given, dict) else given
    if marked is given:
        marked.extras = {"cache_control": MARK}
    function = {"name": "f", "description": "F.", "parameters": {"type": "object", "properties": {}}}
    assert to_wire_tool(marked) == {"type": "function", "function": function, "cache_control": MARK}


def test_strict_closes_the_schema_and_leaves_server_tools_alone() -> None:
    wire = to_wire_tool(GetWeather, strict=True)
    assert wire["function"]["strict"] is True
    assert wire["function"]["parameters"]["additionalProperties"] is False
    assert wire["function"]["parameters"]["required"] == ["location"]
    assert to_wire_tool(DICT_TOOL, strict=True)["cache_control"] == {"type": "ephemeral"}
    assert to_wire_tool(GetWeather, strict=False)["function"]["strict"] is False
    assert to_wire_tool({"type": "openrouter:web_search"}, strict=True) == {"type": "openrouter:web_search"}


def test_closing_reaches_definitions_lists_and_alternatives() -> None:
    closed = close_schema(Nested.model_json_schema())
    assert closed["required"] == ["inner", "many", "maybe"]
    assert closed["$defs"]["Inner"]["required"] == ["unit"]
    assert closed["$defs"]["Inner"]["additionalProperties"] is False
    assert "default" not in json.dumps(closed).replace("Has a default", "")


def test_closing_keeps_properties_that_are_named_like_keywords() -> None:
    schema: Json = {
        "type": "object",
        "properties": {
            "default": {"type": "string", "default": "x"},
            "items": {"type": "array", "items": {"type": "object", "properties": {"properties": {"type": "string"}}}},
            "free": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    }
    before = json.dumps(schema)
    closed = close_schema(schema)
    assert closed["required"] == ["default", "items", "free"]
    assert closed["properties"]["default"] == {"type": "string"}
    assert closed["properties"]["items"]["items"]["required"] == ["properties"]
    assert closed["properties"]["free"] == {"type": "object", "additionalProperties": {"type": "string"}}
    assert json.dumps(schema) == before


NAMED = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    ("choice", "wire"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        ("any", "required"),
        (True, NAMED),
        (False, None),
        ("", None),
        ("f", NAMED),
        (NAMED, NAMED),
        ({"type": "openrouter:web_search"}, {"type": "openrouter:web_search"}),
        ({"type": "tool", "name": "f"}, NAMED),
        ({"type": "function", "name": "f"}, NAMED),
        ({"type": "any"}, "required"),
        ({"type": "auto"}, "auto"),
        ({"type": "none"}, "none"),
        ({"new": {"a": None}}, {"new": {"a": None}}),
    ],
)
def test_every_form_of_a_choice(choice: Any, wire: Any) -> None:
    assert to_wire_choice(choice, [DICT_TOOL]) == wire


def test_no_choice_of_ours_sends_none(server: ScriptedServer) -> None:
    """`False` is LangChain's word for it."""
    model_for(server).bind_tools([DICT_TOOL], tool_choice=False).invoke("hi")
    assert server.seen[-1].body["tools"] == [DICT_TOOL]
    assert "tool_choice" not in server.seen[-1].body


def test_a_tool_may_be_called_any() -> None:
    own = {"type": "function", "function": {"name": "any"}}
    assert to_wire_choice("any", [own]) == own


def test_a_server_tool_can_be_chosen() -> None:
    server_tool = {"type": "openrouter:web_search"}
    assert to_wire_choice(True, [server_tool]) == server_tool
    assert to_wire_choice("openrouter:web_search", [DICT_TOOL, server_tool]) == server_tool


@pytest.mark.parametrize(("choice", "complaint"), [("nope", "f"), (True, "exactly one")])
def test_choices_that_cannot_work(choice: Any, complaint: str) -> None:
    tools = [DICT_TOOL] if choice == "nope" else [DICT_TOOL, DICT_TOOL]
    with pytest.raises(ConfigurationError, match=complaint):
        to_wire_choice(choice, tools)


def test_response_format() -> None:
    wire = to_response_format(GetWeather)
    assert wire["json_schema"]["name"] == "GetWeather"
    assert wire["json_schema"]["description"] == "Get the current weather in a given location."
    assert "strict" not in wire["json_schema"]
    assert "additionalProperties" not in wire["json_schema"]["schema"]
    strict = to_response_format(Nested, strict=True)["json_schema"]
    assert strict["strict"] is True
    assert strict["schema"]["properties"]["inner"]["additionalProperties"] is False
    own: Json = {"name": "n", "schema": {"type": "object", "properties": {}}, "strict": False}
    assert to_response_format(own) == {"type": "json_schema", "json_schema": own}
    free: Json = {"title": "Ein Café; " + "x" * 99, "type": "object", "properties": {}}
    name = to_response_format(free)["json_schema"]["name"]
    assert name.startswith("Ein_Caf___x")
    assert len(name) == 64


def test_the_schema_of_a_response_format_is_a_tool_too() -> None:
    """So that one dict serves every method of structured output."""
    named: Json = {"name": "f", "schema": {"type": "object", "properties": {"a": {"type": "string"}}}, "strict": True}
    before = json.dumps(named)
    function = {"name": "f", "parameters": named["schema"], "strict": True}
    assert to_wire_tool(named) == {"type": "function", "function": function}
    assert to_wire_tool(named, strict=True)["function"]["parameters"]["additionalProperties"] is False
    assert json.dumps(named) == before


def model_for(server: ScriptedServer) -> ChatOpenRouter:
    return ChatOpenRouter(model="acme/one", base_url=server.url)


def call_reply(name: str, arguments: str) -> Json:
    return completion(
        None, tool_calls=[{"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}}]
    )


def test_bind_tools(server: ScriptedServer) -> None:
    server.answer(json_reply(call_reply("GetWeather", '{"location": "SF"}')))
    bound = model_for(server).bind_tools([GetWeather], tool_choice="any", strict=True, parallel_tool_calls=False)
    message = bound.invoke("weather?")
    assert isinstance(message, AIMessage)
    assert message.tool_calls == [{"name": "GetWeather", "args": {"location": "SF"}, "id": "c1", "type": "tool_call"}]
    body = server.seen[-1].body
    assert body["tools"] == [to_wire_tool(GetWeather, strict=True)]
    assert body["tool_choice"] == "required"
    assert body["parallel_tool_calls"] is False


def test_bind_tools_sends_no_choice_of_its_own(server: ScriptedServer) -> None:
    model_for(server).bind_tools([GetWeather]).invoke("weather?")
    assert set(server.seen[-1].body) == {"model", "messages", "tools"}


Method = Literal["function_calling", "json_schema", "json_mode"]
METHODS: list[Method] = ["function_calling", "json_schema", "json_mode"]


def answer_for(method: str, arguments: str) -> Json:
    return call_reply("GetWeather", arguments) if method == "function_calling" else completion(arguments)


@pytest.mark.parametrize("method", METHODS)
class TestStructuredOutput:
    """Every method, with and without the raw message."""

    def test_pydantic(self, server: ScriptedServer, method: Method) -> None:
        """The answer is an instance of the class."""
        server.answer(json_reply(answer_for(method, '{"location": "SF"}')))
        structured = model_for(server).with_structured_output(GetWeather, method=method)
        assert structured.invoke("x") == GetWeather(location="SF")

    def test_json_schema(self, server: ScriptedServer, method: Method) -> None:
        """The answer is a dict."""
        server.answer(json_reply(answer_for(method, '{"location": "SF"}')))
        schema = GetWeather.model_json_schema()
        structured = model_for(server).with_structured_output(schema, method=method)
        assert structured.invoke("x") == {"location": "SF"}

    def test_include_raw(self, server: ScriptedServer, method: Method) -> None:
        """Raw message, parsed answer, no error."""
        server.answer(json_reply(answer_for(method, '{"location": "SF"}')))
        structured = model_for(server).with_structured_output(GetWeather, method=method, include_raw=True)
        answer = structured.invoke("x")
        assert isinstance(answer, dict)
        assert isinstance(answer["raw"], AIMessage)
        assert (answer["parsed"], answer["parsing_error"]) == (GetWeather(location="SF"), None)

    def test_include_raw_reports_what_does_not_match(self, server: ScriptedServer, method: Method) -> None:
        """Instead of raising it."""
        server.answer(json_reply(answer_for(method, '{"place": "SF"}')))
        structured = model_for(server).with_structured_output(GetWeather, method=method, include_raw=True)
        answer = structured.invoke("x")
        assert isinstance(answer, dict)
        assert answer["parsed"] is None
        assert isinstance(answer["parsing_error"], ValidationError | ValueError)

    async def test_streamed(self, server: ScriptedServer, method: Method) -> None:
        """The last streamed value is the whole answer."""
        arguments = '{"location": "SF"}'
        if method == "function_calling":
            part: Json = {
                "tool_calls": [{"index": 0, "id": "c", "function": {"name": "GetWeather", "arguments": arguments}}]
            }
        else:
            part = {"content": arguments}
        server.answer(sse_reply(event(part), event({}, "stop")))
        structured = model_for(server).with_structured_output(GetWeather.model_json_schema(), method=method)
        values = [value async for value in structured.astream("x")]
        assert values[-1] == {"location": "SF"}


def test_what_each_method_sends(server: ScriptedServer) -> None:
    model = model_for(server)
    server.answer(json_reply(completion('{"location": "SF"}')))
    model.with_structured_output(GetWeather, method="json_mode").invoke("x")
    assert server.seen[-1].body["response_format"] == {"type": "json_object"}
    model.with_structured_output(GetWeather, method="json_schema", strict=True).invoke("x")
    assert server.seen[-1].body["response_format"] == to_response_format(GetWeather, strict=True)
    model.with_structured_output(None, method="json_mode", seed=1).invoke("x")
    assert server.seen[-1].body["seed"] == 1
    server.answer(json_reply(call_reply("GetWeather", '{"location": "SF"}')))
    model.with_structured_output(GetWeather, strict=True).invoke("x")
    body = server.seen[-1].body
    assert set(body) == {"model", "messages", "tools", "tool_choice"}
    assert body["tool_choice"] == {"type": "function", "function": {"name": "GetWeather"}}
    assert body["tools"][0]["function"]["strict"] is True


@pytest.mark.parametrize(
    ("schema", "options"),
    [
        (None, {}),
        (None, {"method": "json_schema"}),
        (GetWeather, {"method": "json_mode", "strict": True}),
        (GetWeather, {"method": "guess"}),
    ],
)
def test_arguments_that_do_not_go_together(schema: Any, options: Json) -> None:
    model = ChatOpenRouter(model="acme/one", base_url="http://localhost/v1")
    with pytest.raises(ConfigurationError):
        model.with_structured_output(schema, **options)


def test_an_agent_with_a_tool_and_a_provider_strategy(server: ScriptedServer) -> None:
    server.answer(
        json_reply(call_reply("get_weather", '{"location": "SF"}')), json_reply(completion('{"location": "SF"}'))
    )
    format_ = ProviderStrategy(GetWeather)
    agent = cast("Any", create_agent(model_for(server), tools=[get_weather], response_format=format_))
    result = agent.invoke({"messages": [{"role": "user", "content": "weather?"}]})
    assert result["structured_response"] == GetWeather(location="SF")
    first, second = (seen.body for seen in server.seen)
    assert first["response_format"]["type"] == "json_schema"
    assert second["messages"][1]["tool_calls"][0]["id"] == "c1"
    assert second["messages"][2] == {
        "role": "tool",
        "tool_call_id": "c1",
        "content": "Sunny in SF",
        "name": "get_weather",
    }


def test_an_agent_of_a_model_by_name(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the guide writes it."""
    monkeypatch.setenv("OPENROUTER_API_BASE", server.url)
    server.answer(json_reply(completion('{"location": "SF"}')))
    format_ = ProviderStrategy(GetWeather)
    agent = cast("Any", create_agent(model="openrouter:acme/one", tools=[get_weather], response_format=format_))
    result = agent.invoke({"messages": [{"role": "user", "content": "weather?"}]})
    assert result["structured_response"] == GetWeather(location="SF")
    assert server.seen[0].body["model"] == "acme/one"
    assert server.seen[0].body["response_format"]["json_schema"]["name"] == "GetWeather"


@pytest.mark.parametrize("strict", [True, None])
def test_the_format_of_an_agent_is_closed_where_it_is_strict(server: ScriptedServer, strict: bool | None) -> None:
    """LangChain leaves it open, and servers that enforce it refuse that."""
    server.answer(json_reply(completion('{"inner": {"unit": "C"}, "many": [], "maybe": null}')))
    agent = cast("Any", create_agent(model_for(server), response_format=ProviderStrategy(Nested, strict=strict)))
    assert agent.invoke({"messages": [("human", "hi")]})["structured_response"] == Nested(inner=Inner())
    held = server.seen[0].body["response_format"]["json_schema"]
    expected = close_schema(Nested.model_json_schema()) if strict else Nested.model_json_schema()
    shown = {"properties", "$defs", "required", "additionalProperties"}
    assert {name: held["schema"].get(name) for name in shown} == {name: expected.get(name) for name in shown}
    assert held.get("strict") is strict


@pytest.mark.parametrize("schema", [GetWeather, Weather])
def test_arguments_that_are_not_json_are_a_parsing_error(server: ScriptedServer, schema: Any) -> None:
    """LangChain's parsers alone would answer None, as if the model had called nothing."""
    server.answer(json_reply(call_reply(schema.__name__, '{"location": "S')))
    result = model_for(server).with_structured_output(schema, include_raw=True).invoke("hi")
    assert result["parsed"] is None
    assert isinstance(result["parsing_error"], OutputParserException)
    assert result["raw"].invalid_tool_calls[0]["name"] == schema.__name__
    with pytest.raises(OutputParserException, match=schema.__name__):
        model_for(server).with_structured_output(schema).invoke("hi")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("schema", [GetWeather, Weather])
@pytest.mark.parametrize("how", ["whole", "streaming", "stream"])
def test_an_answer_that_was_cut_off_is_a_parsing_error(
    server: ScriptedServer, method: Method, schema: Any, how: str
) -> None:
    """LangChain's parsers alone would complete its JSON: San Francisco would become San."""
    cut = '{"location": "San'
    call = {"index": 0, "id": "c1", "function": {"name": schema.__name__, "arguments": cut}}
    delta: Json = {"tool_calls": [call]} if method == "function_calling" else {"content": cut}
    if how == "whole":
        body = completion(None) | {"choices": [{"finish_reason": "length", "message": delta}]}
        server.answer(json_reply(body))
    else:
        server.answer(sse_reply(event(delta), event({}, "length")))
    # An explicit False would keep LangChain from streaming at all.
    options: Json = {"streaming": True} if how == "streaming" else {}
    model = ChatOpenRouter(model="acme/one", base_url=server.url, **options)
    structured = model.with_structured_output(schema, method=method)
    with pytest.raises(OutputParserException) as caught:
        _ = list(structured.stream("hi")) if how == "stream" else structured.invoke("hi")
    assert caught.value.llm_output == cut
    if how != "stream":
        raw = model.with_structured_output(schema, method=method, include_raw=True).invoke("hi")
        assert raw["parsed"] is None
        assert isinstance(raw["parsing_error"], OutputParserException)


TEXT_METHODS: list[Method] = ["json_schema", "json_mode"]


@pytest.mark.parametrize("method", TEXT_METHODS)
@pytest.mark.parametrize("schema", [GetWeather, Weather])
@pytest.mark.parametrize("cut", ['{"location": "San', '{"location": "SF", "more": [1', '```json\n{"location":'])
def test_text_that_lacks_its_end_is_a_parsing_error(
    server: ScriptedServer, method: Method, schema: Any, cut: str
) -> None:
    """Also when the server says that the model stopped by itself."""
    server.answer(json_reply(completion(cut)))
    structured = model_for(server).with_structured_output(schema, method=method, include_raw=True)
    result = structured.invoke("hi")
    assert result["parsed"] is None
    assert "before the end of its JSON" in str(result["parsing_error"])


@pytest.mark.parametrize("method", TEXT_METHODS)
@pytest.mark.parametrize("finish", ["stop", "length"])
@pytest.mark.parametrize(
    "text",
    [
        '```json\n{"location": "SF"}\n```',
        '{"location": "SF"} Is there more {that I can do?',
        '{"location": "SF"}',
    ],
)
def test_text_that_holds_all_of_its_json_is_read(
    server: ScriptedServer, method: Method, finish: str, text: str
) -> None:
    """Whatever stands around it, and wherever the answer was cut."""
    body = completion(text)
    body["choices"][0]["finish_reason"] = finish
    server.answer(json_reply(body))
    assert model_for(server).with_structured_output(Weather, method=method).invoke("hi") == {"location": "SF"}


def test_prose_is_no_json_that_was_cut_off(server: ScriptedServer) -> None:
    server.answer(json_reply(completion("Sorry.")))
    with pytest.raises(OutputParserException, match="Invalid json output: Sorry"):
        model_for(server).with_structured_output(Weather, method="json_mode").invoke("hi")


@pytest.mark.parametrize("method", TEXT_METHODS)
def test_a_refusal_is_a_parsing_error_that_says_so(server: ScriptedServer, method: Method) -> None:
    server.answer(json_reply(completion(None, refusal="I will not.")))
    with pytest.raises(OutputParserException, match=r"the model refused: I will not\."):
        model_for(server).with_structured_output(Weather, method=method).invoke("hi")


@pytest.mark.parametrize("schema", [GetWeather, Weather])
def test_streamed_arguments_may_begin_with_blanks(server: ScriptedServer, schema: Any) -> None:
    """Until they end, arguments are not JSON; that is no error of theirs."""
    parts = [" ", "{", '"location": "S', 'F"}']
    calls: list[Json] = [{"index": 0, "function": {"arguments": part}} for part in parts]
    calls[0] |= {"id": "c1", "function": {"name": schema.__name__, "arguments": parts[0]}}
    server.answer(sse_reply(*(event({"tool_calls": [call]}) for call in calls), event({}, "tool_calls")))
    values = list(model_for(server).with_structured_output(schema).stream("hi"))
    assert values[-1] == (GetWeather(location="SF") if schema is GetWeather else {"location": "SF"})


@pytest.mark.parametrize("stream", [False, True])
def test_an_agent_keeps_both_messages_of_a_server_that_repeats_an_id(server: ScriptedServer, stream: bool) -> None:
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    call["function"] = {"name": "get_weather", "arguments": '{"location": "SF"}'}
    if stream:
        server.answer(
            sse_reply(event({"tool_calls": [call]}), event({}, "tool_calls")),
            sse_reply(event({"content": "do"}), event({"content": "ne"}), event({}, "stop")),
        )
    else:
        server.answer(json_reply(completion(None, tool_calls=[call])), json_reply(completion("done")))
    model = ChatOpenRouter(model="acme/one", base_url=server.url, streaming=stream)
    agent = cast("Any", create_agent(model, tools=[get_weather]))
    messages = agent.invoke({"messages": [{"role": "user", "content": "weather?"}]})["messages"]
    assert [message.type for message in messages] == ["human", "ai", "tool", "ai"]
    assert messages[-1].text == "done"
    assert messages[1].response_metadata["id"] == messages[-1].response_metadata["id"] == "gen-1"
