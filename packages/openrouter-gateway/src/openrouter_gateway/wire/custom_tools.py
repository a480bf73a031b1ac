"""Custom tools, whose input is free text, as functions with one text parameter: the form that every provider knows.

Providers of the Responses API get them in this form, too: llama.cpp's skips custom tools (github.com/ggml-org/llama.cpp
issue 23465, 2026-05), Ollama's refuses their calls (github.com/ollama/ollama issue 17673, 2026-09).

Shapes: github.com/openai/openai-openapi at f85dbe2 (2026-08-21), `CustomToolParam`, `CustomToolCall`.
"""

import re
from typing import Any, Final, TypeAlias, cast

import msgspec

from openrouter_gateway.errors import BadRequest

Json: TypeAlias = dict[str, Any]

INPUT: Final = "input"
"""The parameter."""
_PLAIN: Final = "The whole input of the tool, as plain text."
_BEGIN: Final = re.compile(r'\s*\{\s*"input"\s*:\s*"')
_HIGH: Final = r"\\u[dD][89abAB][0-9a-fA-F]{2}"
_LOW: Final = r"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_TOKEN: Final = re.compile(
    rf'(?P<plain>[^"\\]+)|\\(?P<short>[^u])|(?P<pair>{_HIGH}{_LOW})'
    rf"|(?P<lone>{_HIGH}(?=[^\\]|\\[^u]|.{{6}})|{_LOW})"
    rf"|(?!{_HIGH})\\u(?P<code>[0-9a-fA-F]{{4}})|(?P<wrong>\\u(?=.{{10}}))",
    re.DOTALL,
)
"""A piece of a JSON string that needs nothing behind it to be read. What is wrong in it is taken as it is."""
_SHORT: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "/": "/"}

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def to_function(tool: Json, path: str) -> Json:
    """Return the function that stands for a custom tool. How its text is to be written is told with the parameter.

    Raises:
        BadRequest: it has no name, or a format that is not known; the message names the field.
    """
    if not isinstance(tool.get("name"), str):
        raise BadRequest(f"{path}.name: is missing")
    parameter = {"type": "string", "description": _describe(tool.get("format"), f"{path}.format")}
    function: Json = {"name": tool["name"]}
    if tool.get("description") is not None:
        function["description"] = tool["description"]
    function["parameters"] = {
        "type": "object",
        "properties": {INPUT: parameter},
        "required": [INPUT],
        "additionalProperties": False,
    }
    return {"type": "function", "function": function}


def _describe(form: object, path: str) -> str:
    if form is None:
        return _PLAIN
    given = cast("Json", form) if isinstance(form, dict) else {}
    match given.get("type"):
        case "text":
            return _PLAIN
        case "grammar":
            for key in ("syntax", "definition"):
                if not isinstance(given.get(key), str):
                    raise BadRequest(f"{path}.{key}: is missing")
            return f"{_PLAIN} It must match this grammar ({given['syntax']}):\n{given['definition']}"
        case kind:
            raise BadRequest(f"{path}.type: {kind!r} is not text or grammar")


def to_arguments(text: str) -> str:
    """Return a custom tool's input as arguments of the function that stands for it."""
    return _encode({INPUT: text}).decode()


class InputReader:
    """Reads a custom tool's input out of the function's arguments while they arrive in pieces.

    Arguments that are not of the expected form are looked at when they are whole. What is no JSON with an input, as
    some models call tools, is itself the input.
    """

    __slots__ = ("_begun", "_ended", "_held", "_texts")

    def __init__(self) -> None:
        self._held = ""
        self._begun = False
        self._ended = False
        self._texts: list[str] = []

    @property
    def text(self) -> str:
        """The input so far."""
        return "".join(self._texts)

    def feed(self, piece: str) -> str:
        """Return what a piece of the arguments adds to the input."""
        if self._ended:
            return ""
        self._held += piece
        if not self._begun:
            begin = _BEGIN.match(self._held)
            if begin is None:
                return ""
            self._begun = True
            self._held = self._held[begin.end() :]
        return self._keep(self._read())

    def finish(self) -> str:
        """Return what the end of the arguments adds to the input. Half an escape sequence adds nothing."""
        return "" if self._begun else self._keep(_input_in(self._held))

    def _keep(self, text: str) -> str:
        self._texts.append(text)
        return text

    def _read(self) -> str:
        held, at = self._held, 0
        made: list[str] = []
        while (token := _TOKEN.match(held, at)) is not None:
            made.append(_read_token(token))
            at = token.end()
        self._held = held[at:]
        self._ended = self._held.startswith('"')
        return "".join(made)


def _read_token(token: re.Match[str]) -> str:
    text = token[0]
    match token.lastgroup:
        case "short":
            return _SHORT.get(token["short"], text)
        case "pair":
            return chr(0x10000 + ((int(text[2:6], 16) & 0x3FF) << 10) + (int(text[8:12], 16) & 0x3FF))
        case "lone":
            return "\ufffd"
        case "code":
            return chr(int(token["code"], 16))
        case _:
            return text


def _input_in(arguments: str) -> str:
    try:
        whole: object = _decode(arguments)
    except (msgspec.DecodeError, RecursionError):
        return arguments
    text = cast("Json", whole).get(INPUT) if isinstance(whole, dict) else None
    return text if isinstance(text, str) else arguments
