"""Third-party clients, each in an environment of its own, against the running gateway and its embedded model."""

import ast
import re
import subprocess
from pathlib import Path
from typing import Final

import pytest
from _pytest.mark import ParameterSet

from conformance.environments import Environment, find_environments, find_receivers
from fakes.gateway import Gateway, clean_environment

_CASE_TIMEOUT_S: Final = 60.0
_RUNNER: Final = Path(__file__).with_name("run_case.py")
_ENVIRONMENTS: Final = find_environments()


def _cases_of(script: Path) -> dict[str, list[str]]:
    """Return a script's cases and what they cover, without importing it, because only its own environment can."""
    body = ast.parse(script.read_text()).body
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    names = [node.name for node in body if isinstance(node, functions)]
    cases = {name.removeprefix("case_"): list[str]() for name in names if name.startswith("case_")}
    for node in body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "COVERS":
            covers: dict[str, list[str]] = ast.literal_eval(node.value)
            assert covers.keys() <= cases.keys(), f"{script}: no such case: {covers.keys() - cases.keys()}"
            cases |= covers
    return cases


def _to_parameter(environment: Environment, case: str, covers: list[str]) -> ParameterSet:
    client = environment.script.parent.name
    marks = [pytest.mark.covers(f"clients.{client}", *covers, name=f"{environment.name}: {case}")] if covers else []
    return pytest.param(environment, case, id=f"{environment.name}-{case}", marks=marks)


@pytest.mark.parametrize(
    ("environment", "case"),
    [
        _to_parameter(environment, case, covers)
        for environment in _ENVIRONMENTS
        for case, covers in _cases_of(environment.script).items()
    ],
    indirect=["environment"],
)
def test_client(environment: Environment, case: str, gateway: Gateway, tmp_path: Path) -> None:
    """The case holds, and the gateway has nothing to complain about."""
    logged = len(gateway.log())
    try:
        done = subprocess.run(
            [environment.python, "-I", _RUNNER, environment.script, case, gateway.base_url],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=tmp_path,
            env=clean_environment(),
            timeout=_CASE_TIMEOUT_S,
            check=False,
        )
        status, output = f"exit status {done.returncode}", done.stdout
        failed = done.returncode != 0
    except subprocess.TimeoutExpired as error:
        status, output = f"no end within {_CASE_TIMEOUT_S:g} s", str(error.stdout or b"", "utf-8", "replace")
        failed = True
    complaints = gateway.log()[logged:]
    if failed or "Traceback" in complaints:
        pytest.fail(f"{status}\n---- client\n{output}\n---- gateway\n{complaints}", pytrace=False)


@pytest.mark.parametrize(
    "environment", [pytest.param(each, id=each.name) for each in [*_ENVIRONMENTS, *find_receivers()]]
)
def test_lock(environment: Environment) -> None:
    """Everything that is installed is pinned by hash, and comes from the index that the user has configured."""
    lock = environment.lock.read_text()
    pins = re.findall(r"^[a-z0-9._-]+==[^ ]+", lock, re.MULTILINE)
    for wanted in environment.lock.with_suffix(".in").read_text().split():
        assert re.sub(r"\[.*\]", "", wanted) in pins
    assert lock.count("--hash=sha256:") >= len(pins)
    assert "://" not in lock
