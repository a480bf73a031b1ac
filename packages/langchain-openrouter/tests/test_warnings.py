"""Warnings: they name the line of the user, which a filter can then match and an editor can open."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain.chat_models import init_chat_model
from pydantic import SecretStr
from scripted_server import ScriptedServer

from langchain_openrouter import ChatOpenRouter, OpenRouterEmbeddings
from langchain_openrouter.profiles import profile_of

KEY = SecretStr("sk-or-v1-0123456789")


def make_with_milliseconds(_: ScriptedServer) -> None:
    ChatOpenRouter(model="a/b", api_key=KEY, timeout=30_000)


def make_with_an_unknown_argument(_: ScriptedServer) -> None:
    ChatOpenRouter(model="a/b", api_key=KEY, preset="p")  # pyright: ignore[reportCallIssue]


def make_by_name(_: ScriptedServer) -> None:
    init_chat_model("openrouter:a/b", api_key=KEY, timeout=30_000)


def call_with_milliseconds(server: ScriptedServer) -> None:
    ChatOpenRouter(model="a/b", base_url=server.url).invoke("hi", timeout=30_000)


def make_embeddings_with_milliseconds(_: ScriptedServer) -> None:
    OpenRouterEmbeddings(model="a/b", api_key=KEY, timeout=30_000)


def look_up_a_profile(_: ScriptedServer) -> None:
    profile_of("a/b")


@pytest.mark.parametrize(
    "act",
    [
        make_with_milliseconds,
        make_with_an_unknown_argument,
        make_by_name,
        call_with_milliseconds,
        make_embeddings_with_milliseconds,
        look_up_a_profile,
    ],
)
def test_they_point_at_the_line_of_the_user(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, act: Callable[[ScriptedServer], Any]
) -> None:
    if act is look_up_a_profile:
        monkeypatch.setenv("OPENROUTER_MODEL_PROFILES", str(tmp_path / "missing.json"))
    with pytest.warns(UserWarning, match=r"seconds|preset|OPENROUTER_MODEL_PROFILES") as caught:
        act(server)
    (warning,) = caught
    first = act.__code__.co_firstlineno
    assert (warning.filename, warning.lineno) == (act.__code__.co_filename, first + 1)
