"""The snippets of the README run as written, in order, against a server that answers as its text says."""

import re
from pathlib import Path
from typing import Any

import pytest
from scripted_server import Json, Reply, ScriptedServer, completion, event, json_reply, sse_reply

from langchain_openrouter import errors

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def call(name: str, arguments: str) -> Json:
    return completion(None, tool_calls=[{"id": "c1", "function": {"name": name, "arguments": arguments}}])


REPLIES: list[tuple[Reply, str]] = [
    (json_reply(completion("J'adore la programmation.")), "J'adore la programmation."),
    (json_reply(completion()), ""),
    (sse_reply(event({"content": "Blue "}), event({"content": "waves."}), event({}, "stop")), "Blue waves."),
    (json_reply(call("GetWeather", '{"location": "San Francisco, CA"}')), "San Francisco, CA"),
    (json_reply(completion('{"title": "Inception", "year": 2010}')), "title='Inception' year=2010"),
    (json_reply(completion("23", reasoning="23 * 23 = 529.")), "23 * 23 = 529."),
    (json_reply(completion()), ""),
]
"""What the server answers to each snippet, and what the snippet then prints."""


def test_snippets(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-or-test")
    monkeypatch.setenv("OPENROUTER_API_BASE", server.url)
    namespace: dict[str, Any] = {}
    assert len(SNIPPETS) == len(REPLIES)
    for snippet, (reply, printed) in zip(SNIPPETS, REPLIES, strict=True):
        server.answer(reply)
        exec(snippet.replace("http://127.0.0.1:8787/api/v1", server.url), namespace)  # noqa: S102 - our own text
        assert printed in capsys.readouterr().out
    assert server.seen[-1].body["session_id"] == "workflow-abc-123-step-1"
    assert server.seen[-1].body["provider"] == {"order": ["openai", "azure"], "allow_fallbacks": False, "zdr": True}


def test_every_error_is_explained() -> None:
    table = README.partition("## Errors")[2].partition("## Connections")[0]
    assert [name for name in errors.__all__ if f"`{name}`" not in table] == []
