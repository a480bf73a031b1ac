"""A provider that is strict about what it is sent, and knows enough to answer LangChain's standard questions.

A request whose fields, messages, content parts, tools or formats do not have the shapes of chat completions is
answered with 400 and the reason (`check`), so a test that gets an answer has sent the right bytes. Answers follow
rules, not a model (`reply_to`): a call while tools are offered and the user spoke last, JSON of the asked-for shape,
else a sentence. Values come from what the question quotes and counts. Details of the usage come from what was sent:
sound, marked prefixes (written once, then read), reasoning, spoken answers.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, TypeAlias, cast

from typing_extensions import override

from fakes.threads import running_server

Json: TypeAlias = dict[str, Any]

PNG: Final = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + b"\0" * 17
PDF: Final = b"%PDF-1.4\n%%EOF\n"
WAV: Final = b"RIFF\x24\0\0\0WAVEfmt " + b"\0" * 24
MP4: Final = b"\0\0\0\x18ftypmp42" + b"\0" * 12
TEXT: Final = "Hello, this is a strict provider."
THOUGHTS: Final = "The user wants an answer."

_STARTS: Final[Mapping[str, bytes]] = {
    "image/png": PNG[:8],
    "application/pdf": PDF[:5],
    "wav": WAV[:4],
    "video/mp4": MP4[:8],
}
"""How the data of each media type begins, the ones that the tests send."""

_FIELDS: Final = frozenset(
    {
        "model", "messages", "stream", "stream_options", "temperature", "seed", "stop", "max_tokens", "tools",
        "tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort", "modalities", "audio",
    }
)  # fmt: skip
_MESSAGE_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "system": frozenset({"content", "name"}),
    "user": frozenset({"content", "name"}),
    "assistant": frozenset({"content", "name", "tool_calls", "reasoning", "reasoning_details"}),
    "tool": frozenset({"content", "name", "tool_call_id"}),
}
_ROLE_PARTS: Final[Mapping[str, frozenset[str]]] = {
    "system": frozenset({"text"}),
    "user": frozenset({"text", "image_url", "input_audio", "video_url", "file"}),
    "assistant": frozenset({"text"}),
    "tool": frozenset({"text", "image_url", "file"}),
}


class WrongShape(Exception):
    """A part of the request is not what the API takes; the text says which."""


@dataclass
class StandardProvider:
    """The running server's port, and the content parts that it accepted, by kind, in the order of the requests."""

    port: int = 0
    parts: list[str] = field(default_factory=list[str])
    cached: set[str] = field(default_factory=set[str])

    @property
    def base_url(self) -> str:
        """Where the gateway is to send."""
        return f"http://127.0.0.1:{self.port}/v1"

    def answer(self, body: Json) -> Json:
        """Return the whole answer to a request.

        Raises:
            WrongShape: the request is refused.
        """
        check(body)
        self.parts.extend(part["type"] for part in _parts_of(body) if part["type"] != "text")
        message = reply_to(body)
        reason = "tool_calls" if "tool_calls" in message else "stop"
        return {
            "id": "chatcmpl-standard",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": reason}],
            "usage": self._count(body, message),
        }

    def _count(self, body: Json, message: Json) -> Json:
        marked = {part["text"] for part in _parts_of(body) if "cache_control" in part}
        read, written = marked & self.cached, marked - self.cached
        self.cached |= marked
        sounds = 40 * sum(part["type"] == "input_audio" for part in _parts_of(body))
        thoughts, spoken = 20 * ("reasoning" in message), 30 * ("audio" in message)
        prompt, completion = len(json.dumps(body["messages"])) // 4 + sounds + 1, 10 + thoughts + spoken
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {
                "cached_tokens": sum(len(text.split()) for text in read),
                "cache_write_tokens": sum(len(text.split()) for text in written),
                "audio_tokens": sounds,
            },
            "completion_tokens_details": {"reasoning_tokens": thoughts, "audio_tokens": spoken},
        }


# -- what is accepted ------------------------------------------------------------------------------------


def check(body: Json) -> None:
    """Check a whole request.

    Raises:
        WrongShape: something in it is not what the API takes.
    """
    _only(body, _FIELDS, "the request")
    _check_messages(body["messages"])
    _check_tools(body.get("tools", []), body.get("tool_choice"))
    _check_format(body)
    if "audio" in body.get("modalities", []) and not body.get("stream"):
        raise WrongShape("sound is given out in streams only")


def _check_messages(messages: list[Json]) -> None:
    open_calls: list[str] = []
    for message in messages:
        role = message["role"]
        if role not in _MESSAGE_FIELDS:
            raise WrongShape(f"role {role!r}")
        _only(message, _MESSAGE_FIELDS[role] | {"role"}, f"a message of role {role}")
        if role == "tool":
            if message.get("tool_call_id") not in open_calls:
                raise WrongShape(f"a result of the call {message.get('tool_call_id')!r}, which is not open")
            open_calls.remove(message["tool_call_id"])
        elif open_calls:
            raise WrongShape(f"the calls {open_calls} have no result")
        calls = message.get("tool_calls", [])
        open_calls.extend(_check_call(call) for call in calls)
        _check_content(message.get("content"), role, may_be_null=bool(calls))
        for detail in message.get("reasoning_details", []):
            _only(detail, {"type", "text", "signature", "format"}, "a block of reasoning")


def _check_call(call: Json) -> str:
    _only(call, {"id", "type", "function"}, "a tool call")
    _only(call["function"], {"name", "arguments"}, "the function of a tool call")
    if call["type"] != "function" or not isinstance(json.loads(call["function"]["arguments"]), dict):
        raise WrongShape("a tool call")
    return call["id"]


def _check_content(content: Any, role: str, *, may_be_null: bool) -> None:
    if isinstance(content, str) or (content is None and may_be_null):
        return
    if not isinstance(content, list) or not content:
        raise WrongShape(f"the content of a message of role {role}: {content!r}")
    for part in cast("list[Json]", content):
        kind = part.get("type")
        if kind not in _ROLE_PARTS[role]:
            raise WrongShape(f"a part of type {kind!r} in a message of role {role}")
        _PART_CHECKS[kind]({key: value for key, value in part.items() if key != "cache_control"})


def _check_text(part: Json) -> None:
    _only(part, {"type", "text"}, "a text")
    if not isinstance(part["text"], str) or not part["text"]:
        raise WrongShape("a text that is none")


def _check_image(part: Json) -> None:
    _only(part, {"type", "image_url"}, "an image")
    _only(part["image_url"], {"url", "detail"}, "the image_url of an image")
    if not part["image_url"]["url"].startswith("https://"):
        _check_data_url(part["image_url"]["url"], "image/png")


def _check_video(part: Json) -> None:
    _only(part, {"type", "video_url"}, "a video")
    _only(part["video_url"], {"url"}, "the video_url of a video")
    _check_data_url(part["video_url"]["url"], "video/mp4")


def _check_audio(part: Json) -> None:
    _only(part, {"type", "input_audio"}, "a sound")
    _only(part["input_audio"], {"data", "format"}, "the input_audio of a sound")
    _check_data(part["input_audio"]["data"], part["input_audio"]["format"])


def _check_file(part: Json) -> None:
    _only(part, {"type", "file"}, "a file")
    _only(part["file"], {"filename", "file_data"}, "the file of a file")
    _check_data_url(part["file"]["file_data"], "application/pdf")


_PART_CHECKS: Final[Mapping[str, Callable[[Json], None]]] = {
    "text": _check_text,
    "image_url": _check_image,
    "input_audio": _check_audio,
    "video_url": _check_video,
    "file": _check_file,
}


def _check_data_url(url: str, kind: str) -> None:
    head, _, data = url.partition(";base64,")
    if head != f"data:{kind}":
        raise WrongShape(f"{url[:40]!r} is no data URL of {kind}")
    _check_data(data, kind)


def _check_data(data: str, kind: str) -> None:
    try:
        plain = base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise WrongShape(f"{data[:40]!r} is not base64") from error
    if kind not in _STARTS or not plain.startswith(_STARTS[kind]):
        raise WrongShape(f"data that is no {kind}")


def _check_tools(tools: list[Json], choice: Any) -> None:
    for tool in tools:
        _only(tool, {"type", "function", "cache_control"}, "a tool")
        _only(tool["function"], {"name", "description", "parameters", "strict"}, "the function of a tool")
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", tool["function"]["name"]):
            raise WrongShape(f"the name {tool['function']['name']!r} of a tool")
        if tool["function"]["parameters"]["type"] != "object":
            raise WrongShape("the parameters of a tool")
    named = [{"type": "function", "function": {"name": tool["function"]["name"]}} for tool in tools]
    if choice is not None and choice not in [*named, *(("auto", "none", "required") if tools else ())]:
        raise WrongShape(f"tool_choice {choice!r}")


def _check_format(body: Json) -> None:
    format_ = body.get("response_format", {"type": "text"})
    match format_["type"]:
        case "text":
            _only(format_, {"type"}, "response_format")
        case "json_object":
            _only(format_, {"type"}, "response_format")
            if "json" not in json.dumps(body["messages"]).lower():
                raise WrongShape("response_format json_object, and no message says JSON")
        case "json_schema":
            _only(format_, {"type", "json_schema"}, "response_format")
            _only(format_["json_schema"], {"name", "description", "schema", "strict"}, "json_schema")
        case other:
            raise WrongShape(f"response_format {other!r}")


def _only(found: Json, allowed: set[str] | frozenset[str], where: str) -> None:
    if unknown := found.keys() - allowed:
        raise WrongShape(f"{where} has the unknown keys {sorted(unknown)}")


def _parts_of(body: Json) -> Iterator[Json]:
    for message in body["messages"]:
        if isinstance(message.get("content"), list):
            yield from message["content"]


# -- what is answered ------------------------------------------------------------------------------------


def reply_to(body: Json) -> Json:
    """Return the assistant's message that answers a request of the right shape."""
    question = _question_of(body)
    message: Json = {"role": "assistant", "content": TEXT}
    tool = _tool_to_call(body)
    if tool is not None:
        arguments = json.dumps(example_of(tool["parameters"], question), ensure_ascii=False)
        call = {"id": "call_1", "type": "function", "function": {"name": tool["name"], "arguments": arguments}}
        message |= {"content": None, "tool_calls": [call]}
    elif (format_ := body.get("response_format", {})).get("type") == "json_schema":
        message["content"] = json.dumps(example_of(format_["json_schema"]["schema"], question))
    elif format_.get("type") == "json_object":
        message["content"] = json.dumps(dict.fromkeys(_quoted(question), "A word."))
    if body.get("reasoning_effort"):
        message["reasoning"] = THOUGHTS
    if "audio" in body.get("modalities", []):
        sound = base64.b64encode(WAV).decode()
        message |= {"content": None, "audio": {"id": "audio_1", "data": sound, "transcript": TEXT}}
    return message


def _question_of(body: Json) -> str:
    content = next((m["content"] for m in reversed(body["messages"]) if m["role"] == "user"), "")
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)


def _tool_to_call(body: Json) -> Json | None:
    tools = [tool["function"] for tool in body.get("tools", [])]
    match body.get("tool_choice", "auto"):
        case "none":
            return None
        case {"function": {"name": name}}:
            return next(tool for tool in tools if tool["name"] == name)
        case "auto" if body["messages"][-1]["role"] != "user":
            return None
        case _:
            return tools[0] if tools else None


def example_of(schema: Json, question: str, definitions: Json | None = None) -> Any:
    """Return a value of a JSON Schema, made of what the question quotes and counts where it can be."""
    known: Json = schema.get("$defs", definitions or {})
    if "$ref" in schema:
        return example_of(known[schema["$ref"].rpartition("/")[2]], question, known)
    if "anyOf" in schema:
        return example_of(schema["anyOf"][0], question, known)
    match schema["type"]:
        case "object":
            inner: Json = schema.get("properties", {})
            return {name: example_of(value, question, known) for name, value in inner.items()}
        case "integer":
            return int((re.findall(r"\d+", question) or ["1"])[0])
        case "string":
            return (_quoted(question) or ["A word."])[0]
        case other:
            raise WrongShape(f"a schema of type {other!r}")


def _quoted(question: str) -> list[str]:
    return re.findall(r"'([^']+)'", question)


def to_chunks(answer: Json) -> Iterator[Json]:
    """Return the chunks of an answer: everything long in pieces, the usage in a last one without choices."""
    head = {**answer, "object": "chat.completion.chunk"}
    usage = head.pop("usage")
    choice = answer["choices"][0]
    for delta in _deltas(choice["message"]):
        yield {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]}
    yield {**head, "choices": [], "usage": usage}


def _deltas(message: Json) -> Iterator[Json]:
    yield {"role": "assistant", "content": ""}
    for key in ("reasoning", "content"):
        yield from ({key: piece} for piece in _pieces(message.get(key) or ""))
    for at, call in enumerate(message.get("tool_calls", [])):
        yield {"tool_calls": [{**call, "index": at, "function": {**call["function"], "arguments": ""}}]}
        for piece in _pieces(call["function"]["arguments"]):
            yield {"tool_calls": [{"index": at, "function": {"arguments": piece}}]}
    if sound := message.get("audio"):
        yield from ({"audio": {"id": sound["id"], "transcript": piece}} for piece in _pieces(sound["transcript"]))
        yield {"audio": {"id": sound["id"], "data": sound["data"]}}


def _pieces(text: str) -> list[str]:
    return re.findall(r".{1,8}", text, re.DOTALL)


# -- the server ------------------------------------------------------------------------------------------


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    provider: StandardProvider

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            answer = self.provider.answer(body)
        except (WrongShape, KeyError, TypeError, ValueError) as error:
            problem = {"message": f"{type(error).__name__}: {error}", "type": "invalid_request_error", "code": None}
            self._send(400, "application/json", json.dumps({"error": problem}))
            return
        if body.get("stream"):
            events = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in to_chunks(answer))
            self._send(200, "text/event-stream", f"{events}data: [DONE]\n\n")
        else:
            self._send(200, "application/json", json.dumps(answer))

    def _send(self, status: int, kind: str, text: str) -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""


@contextmanager
def running_standard_provider() -> Generator[StandardProvider]:
    """Run the provider in threads of this process."""
    provider = StandardProvider()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"provider": provider}))
    provider.port = server.server_port
    with running_server(server):
        yield provider
