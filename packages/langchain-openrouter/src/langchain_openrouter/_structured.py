"""Structured output: which arguments bind a schema to a model, and what parses the answer."""

import json
from collections.abc import Mapping
from contextlib import suppress
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.utils.json import parse_json_markdown
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import BaseModel
from typing_extensions import override

from langchain_openrouter._replies import unmark
from langchain_openrouter._tools import to_response_format, to_wire_tool
from langchain_openrouter.errors import ConfigurationError

if TYPE_CHECKING:
    from langchain_openrouter.chat_models import ChatOpenRouter

Method: TypeAlias = Literal["function_calling", "json_schema", "json_mode"]
Structured: TypeAlias = Runnable[LanguageModelInput, dict[str, Any] | BaseModel]


def structure_output(
    model: "ChatOpenRouter",
    schema: dict[str, Any] | type | None,
    *,
    method: Method,
    include_raw: bool,
    strict: bool | None,
    call: Mapping[str, Any],
) -> Structured:
    """Return the model with a parser behind it; see `ChatOpenRouter.with_structured_output`."""
    _check(schema, method, strict)
    # LangSmith shows the schema beside the run; the key never reaches the request.
    shown = {"kwargs": {"method": method, "strict": strict}, "schema": schema}
    hint: dict[str, Any] = {} if schema is None else {"ls_structured_output_format": shown}
    if method == "function_calling":
        tool = to_wire_tool(cast("Any", schema), strict=strict)
        name = tool["function"]["name"]
        bound = model.bind_tools([tool], tool_choice=name, **hint, **call)
        parser = _tool_parser(schema, name)
    else:
        format_: dict[str, Any] = {"type": "json_object"}
        if method == "json_schema":
            format_ = to_response_format(cast("Any", schema), strict=strict)
        bound = model.bind(response_format=format_, **hint, **call)
        parser = _text_parser(schema)
    if not include_raw:
        return cast("Structured", bound | parser)
    parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    return cast(
        "Structured",
        RunnableMap(raw=bound) | parsed.with_fallbacks([failed], exception_key="parsing_error"),
    )


def _check(schema: object, method: str, strict: bool | None) -> None:
    if method not in ("function_calling", "json_schema", "json_mode"):
        raise ConfigurationError(f"method must be function_calling, json_schema or json_mode, not {method!r}")
    if schema is None and method != "json_mode":
        raise ConfigurationError(f"method {method!r} needs a schema")
    if strict is not None and method == "json_mode":
        raise ConfigurationError("strict is not possible with json_mode: there is no schema to hold to")


class _DictParser(JsonOutputKeyToolsParser):
    @override
    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        _refuse_broken_calls(result, partial=partial)
        return super().parse_result(result, partial=partial)


class _PydanticParser(PydanticToolsParser):
    @override
    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        _refuse_broken_calls(result, partial=partial)
        return super().parse_result(result, partial=partial)


class _TextDictParser(JsonOutputParser):
    @override
    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        _refuse_cut_text(result, partial=partial)
        return super().parse_result(result, partial=partial)


class _TextPydanticParser(PydanticOutputParser[Any]):
    @override
    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        _refuse_cut_text(result, partial=partial)
        return super().parse_result(result, partial=partial)


def _finished(result: list[Generation], *, partial: bool) -> AIMessage | None:
    """Return the message to parse when it is all there; parsers of streams look at every beginning of it."""
    message = result[0].message if result and isinstance(result[0], ChatGeneration) else None
    if not isinstance(message, AIMessage):
        return None
    over = isinstance(message, AIMessageChunk) and message.chunk_position == "last"
    return message if over or not partial else None


def _refuse_broken_calls(result: list[Generation], *, partial: bool) -> None:
    """Raise for arguments that are not JSON: LangChain's parsers see no call then, and would answer None."""
    message = _finished(result, partial=partial)
    if message and message.invalid_tool_calls and not message.tool_calls:
        call = message.invalid_tool_calls[0]
        problem = call.get("error") or "the arguments are not a JSON object"
        raise OutputParserException(f"{call.get('name')}: {problem}", llm_output=unmark(call.get("args") or ""))


def _refuse_cut_text(result: list[Generation], *, partial: bool) -> None:
    """Raise for JSON that lacks its end, and for a refusal: LangChain's parsers complete it as if it were all."""
    message = _finished(result, partial=partial)
    if message is None:
        return
    if not message.text and (refusal := message.additional_kwargs.get("refusal")):
        raise OutputParserException(f"the model refused: {refusal}", llm_output=str(refusal))
    try:
        parse_json_markdown(message.text, parser=_decode_first)
    except ValueError as cause:
        at_limit = message.response_metadata.get("finish_reason") == "length"
        if at_limit or _can_be_completed(message.text):
            where = " at its limit of tokens" if at_limit else ""
            cut = f"the answer was cut off{where}, before the end of its JSON"
            raise OutputParserException(cut, llm_output=message.text) from cause


def _decode_first(text: str) -> Any:
    """Return the JSON that a text begins with; what some models say after it does not matter."""
    return json.JSONDecoder(strict=False).raw_decode(text)[0]


def _can_be_completed(text: str) -> bool:
    """Tell whether a text is the beginning of JSON; LangChain has an error of its own for what is none."""
    with suppress(ValueError):
        parse_json_markdown(text)
        return True
    return False


def _tool_parser(schema: object, name: str) -> Any:
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        return _PydanticParser(tools=[schema], first_tool_only=True)
    return _DictParser(key_name=name, first_tool_only=True)


def _text_parser(schema: object) -> Any:
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        return _TextPydanticParser(pydantic_object=schema)
    return _TextDictParser()
