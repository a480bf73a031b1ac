"""Third-party clients, each in an environment of its own, against the running gateway and its embedded model."""

import ast
import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

from conformance.environments import Environment, find_environments
from fakes.gateway import Gateway, clean_environment

_CASE_TIMEOUT_S: Final = 60.0
_RUNNER: Final = Path(__file__).with_name("run_case.py")
_ENVIRONMENTS: Final = find_environments()


def _cases_of(script: Path) -> list[str]:
    """Return the names of a script's cases without importing it, because only its own environment can."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    names = [node.name for node in ast.parse(script.read_text()).body if isinstance(node, functions)]
    return [name.removeprefix("case_") for name in names if name.startswith("case_")]


@pytest.mark.parametrize(
    ("environment", "case"),
    [
        pytest.param(environment, case, id=f"{environment.name}-{case}")
        for environment in _ENVIRONMENTS
        for case in _cases_of(environment.script)
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


@pytest.mark.parametrize("environment", [pytest.param(each, id=each.name) for each in _ENVIRONMENTS])
def test_lock(environment: Environment) -> None:
    """Everything that is installed is pinned by hash, and comes from the index that the user has configured."""
    lock = environment.lock.read_text()
    pins = re.findall(r"^[a-z0-9._-]+==[^ ]+", lock, re.MULTILINE)
    for wanted in environment.lock.with_suffix(".in").read_text().split():
        assert wanted in pins
    assert lock.count("--hash=sha256:") >= len(pins)
    assert "://" not in lock
