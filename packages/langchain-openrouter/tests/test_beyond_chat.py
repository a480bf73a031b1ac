"""The snippets of docs/client/beyond-chat.md run as written, in order, against a server that answers them."""

import re
from pathlib import Path
from typing import Any

import pytest
from scripted_server import Json, Reply, ScriptedServer, completion, json_reply
from test_drivers import error_reply
from test_embeddings import vectors

from langchain_openrouter import costs

PAGE = (Path(__file__).parents[3] / "docs" / "client" / "beyond-chat.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def listed(**model: Any) -> Json:
    return {"data": [model], "total_count": 1, "links": {"next": None}}


REPLIES: list[tuple[list[Reply], str]] = [
    ([json_reply(vectors([0.1, 0.2, 0.3], [0.4, 0.5, 0.6]))], "2 [0.1, 0.2, 0.3]"),
    ([json_reply(vectors([0.7]))], "[0.7]"),
    (
        [json_reply(completion()), json_reply(completion()), json_reply(vectors([0.7]))],
        "1.25\n3 0 0\n14\nacme/one 2 1.0\nacme/vectors 1 0.25",
    ),
    ([json_reply(completion())], "0.5"),
    (
        [json_reply(listed(id="acme/one", context_length=8192, pricing={"prompt": "0.00000015"}))],
        "acme/one: 8192 tokens, 0.15 USD per million",
    ),
    (
        [
            json_reply(completion()),
            error_reply(404),
            json_reply({"data": {"provider_name": "Acme", "total_cost": 0.5, "native_tokens_completion": 2}}),
        ],
        "Acme 0.5 2",
    ),
]
"""What the server answers to each snippet, and what the snippet then prints."""


def test_snippets(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-or-test")
    monkeypatch.setenv("OPENROUTER_API_BASE", server.url)
    namespace: dict[str, Any] = {}
    assert len(SNIPPETS) == len(REPLIES)
    for snippet, (replies, printed) in zip(SNIPPETS, REPLIES, strict=True):
        server.answer(*replies)
        exec(snippet, namespace)  # noqa: S102 - our own text
        assert printed in capsys.readouterr().out
        assert server.script == replies[-1:]
    assert server.seen[1].body["input_type"] == "search_query"


def test_every_total_is_explained() -> None:
    table = PAGE.partition("| | |")[2].partition("Sums are exact")[0]
    names = [*costs.CostSummary.__dataclass_fields__, "total", "by_model", "by_provider", "failed"]
    assert [name for name in names if f"`{name}`" not in table] == []
