"""What users can import, exactly; that it is documented; and what importing it leaves alone."""

import ast
import importlib
import pickle
import re
import runpy
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

import langchain_openrouter
from langchain_openrouter import ChatOpenRouter, OpenRouterError, errors
from langchain_openrouter._arguments import Arguments

SURFACE: Final = {
    "chat_models": {"ChatOpenRouter"},
    "errors": {
        "APIError", "AuthenticationFailed", "BadRequest", "ConfigurationError", "ConnectionFailed", "ContextTooLong",
        "NotFound", "OpenRouterError", "PayloadTooLarge", "PaymentRequired", "PermissionDenied", "ProtocolViolation",
        "RateLimited", "RequestTimedOut", "ServerFailed", "StreamBroken", "TimedOut", "Unprocessable",
    },
    "costs": {"CostSummary", "CostTracker", "track_costs"},
    "embeddings": {"OpenRouterEmbeddings"},
    "generations": {"GenerationRecord", "aget_generation", "get_generation"},
    "models": {"ModelFilters", "ModelInfo", "ModelPricing", "alist_models", "list_models"},
    "profiles": set[str](),
    "settings": {"MaxPrice", "PluginConfig", "ProviderPreferences", "ReasoningConfig", "TraceConfig"},
}  # fmt: skip
"""Public modules, and which of their names the package exports. A name that is added or lost is a decision: it is
written here."""

HOMES: Final = {name: module for module, names in SURFACE.items() for name in names}
TYPING: Final = sorted(Path(__file__).with_name("typing").glob("*.py"))
PACKAGE: Final = Path(langchain_openrouter.__file__).parent


def test_the_names_are_exactly_these() -> None:
    """`__all__` is sorted, without doubles; what is not in it is private or a module."""
    assert sorted(HOMES) == langchain_openrouter.__all__
    assert set(HOMES) <= set(dir(langchain_openrouter))
    for name in HOMES:
        getattr(langchain_openrouter, name)  # some are imported when they are first asked for
    public = {name for name, value in vars(langchain_openrouter).items() if not isinstance(value, ModuleType)}
    assert HOMES.keys() == {name for name in public if not name.startswith("_")}


def test_the_modules_are_exactly_these() -> None:
    """All others begin with an underscore."""
    assert SURFACE.keys() == {file.stem for file in PACKAGE.glob("[!_]*.py")}


@pytest.mark.parametrize("name", sorted(HOMES))
def test_a_name_has_one_home_that_says_what_it_is(name: str) -> None:
    """Exported by its module too, which pickles and tracebacks name; documented by a docstring of its own."""
    found = getattr(langchain_openrouter, name)
    module = importlib.import_module(f"langchain_openrouter.{HOMES[name]}")
    assert found is getattr(module, name)
    assert name in module.__all__
    assert found.__module__ == module.__name__
    own: str | None = vars(found).get("__doc__") if isinstance(found, type) else found.__doc__
    assert own, f"{name} has no docstring of its own"


def test_a_module_exports_what_it_defines() -> None:
    """Every `__all__` names things that are there; public modules have one."""
    for name in SURFACE:
        module = importlib.import_module(f"langchain_openrouter.{name}")
        assert sorted(module.__all__) == module.__all__
        assert [missing for missing in module.__all__ if not hasattr(module, missing)] == []


def test_the_drawn_tree_of_errors_is_the_real_one() -> None:
    """The docstring of `errors` shows every class below the one that it inherits from."""
    drawn: dict[str, str] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"^    ((?:│   |├── |└── |    )*)([A-Z]\w+) ", line):
            del above[len(found[1]) // 4 :]
            drawn[found[2]] = above[-1] if above else "ModelError"
            above.append(found[2])
    assert {name: getattr(errors, name).__base__.__name__ for name in errors.__all__} == drawn


def test_errors_are_read_by_another_process() -> None:
    """A worker's exception comes back whole, though the reader has imported nothing yet."""
    kinds = [value for value in vars(langchain_openrouter).values() if _is_error(value)]
    assert set(SURFACE["errors"]) == {kind.__name__ for kind in kinds}
    reader = "import pickle, sys\nfor error in pickle.load(sys.stdin.buffer): print(type(error).__name__, error)"
    pickled = pickle.dumps([kind("It broke.") for kind in kinds])
    printed = subprocess.run([sys.executable, "-c", reader], input=pickled, stdout=subprocess.PIPE, check=True)
    assert [f"{kind.__name__} It broke." for kind in kinds] == printed.stdout.decode().splitlines()


def _is_error(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, OpenRouterError)


def test_importing_it_needs_no_http_library_and_no_socket() -> None:
    """Neither does making a model: who only builds chains or reads help waits for neither.

    LangChain's own imports open a socket to see whether there is IPv6, and take `httpx2` for LangSmith where they find
    it. So LangChain comes first, and the libraries are out of reach for all.
    """
    code = """
import sys
sys.modules.update(dict.fromkeys(["httpx2", "httpcore2", "openai", "langchain_openai"]))
import langchain_core.language_models.chat_models
opened = []
sys.addaudithook(lambda event, _: opened.append(event) if event.startswith("socket.") else None)
from langchain_openrouter import ChatOpenRouter
ChatOpenRouter(model="a/b", api_key="x").bind_tools([])
print(opened)
"""
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_the_version_and_the_types_are_shipped() -> None:
    """`__version__` is the installed one; the marker makes type checkers read the annotations."""
    assert version("langchain-openrouter") == langchain_openrouter.__version__
    assert (PACKAGE / "py.typed").is_file()


@pytest.mark.parametrize("file", TYPING, ids=lambda file: file.stem)
def test_what_type_checks_also_runs(file: Path) -> None:
    """The files of `typing/`, which `make check` type-checks, raise nothing and warn of nothing."""
    runpy.run_path(str(file))


def test_every_constructor_argument_is_type_checked() -> None:
    """`typing/constructor.py` uses each field's name and alias."""
    tree = ast.parse(next(file for file in TYPING if file.stem == "constructor").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    used = {keyword.arg for call in calls if _calls_the_class(call) for keyword in call.keywords}
    assert _argument_names() == used - {"modell"}


def test_type_checkers_see_every_argument() -> None:
    """`_arguments` has each field by its name and its alias, and nothing else."""
    assert _argument_names() == Arguments.__annotations__.keys() | {"model"}


def _argument_names() -> set[str]:
    fields: dict[str, Any] = ChatOpenRouter.model_fields
    return {*fields, *(field.alias for field in fields.values() if field.alias)}


def _calls_the_class(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id == "ChatOpenRouter"
