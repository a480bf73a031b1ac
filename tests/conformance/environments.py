"""One virtual environment for each lock file of a client: third-party clients pin versions that conflict.

The same goes for `receivers/`, the tools that traces are sent to.

`clients/<client>/requirements.lock` becomes `.venv-conformance/<client>`, and `requirements-<release>.lock` beside it
becomes `.venv-conformance/<client>-<release>`. Environments are kept; one is made anew when its lock or the Python
that runs the tests changes.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
CLIENTS: Final = Path(__file__).with_name("clients")
RECEIVERS: Final = Path(__file__).with_name("receivers")
ENVIRONMENTS: Final = ROOT / ".venv-conformance"

_INSTALL_TIMEOUT_S: Final = 600.0


class InstallFailed(Exception):
    """An environment could not be made; the message has the output of the step that failed."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """One release of one client, and where it is installed."""

    name: str
    script: Path
    lock: Path

    @property
    def directory(self) -> Path:
        """Where the environment is, or will be."""
        return ENVIRONMENTS / self.name

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.directory / "bin" / "python"

    @property
    def is_current(self) -> bool:
        """Whether it was made from this lock by this Python."""
        stamp = self._stamp
        return self.python.exists() and stamp.exists() and stamp.read_text() == self._key

    @property
    def _stamp(self) -> Path:
        return self.directory / ".made-from"

    @property
    def _key(self) -> str:
        return hashlib.sha256(sys.version.encode() + self.lock.read_bytes()).hexdigest()

    def ensure(self, say: Callable[[str], None]) -> None:
        """Make the environment unless it is current. `say` shows one line to whoever waits.

        Raises:
            InstallFailed: with the output of the step that failed.
        """
        if self.is_current:
            return
        say(f"Installing {self.name} into {self.directory.relative_to(ROOT)} (once) ...")
        _run([sys.executable, "-m", "venv", "--clear", str(self.directory)])
        pip = [str(self.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "--no-deps", "--require-hashes", "--requirement", str(self.lock)])
        self._stamp.write_text(self._key)


def find_environments() -> list[Environment]:
    """Return every environment that `clients/` describes, by name."""
    return _find(CLIENTS)


def find_receivers() -> list[Environment]:
    """Return every environment that `receivers/` describes, by name."""
    return _find(RECEIVERS)


def _find(directory: Path) -> list[Environment]:
    return [
        Environment(
            name=lock.parent.name + lock.stem.removeprefix("requirements"),
            script=lock.with_name("script.py"),
            lock=lock,
        )
        for lock in sorted(directory.glob("*/requirements*.lock"))
    ]


def _run(command: list[str]) -> None:
    outer = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=outer, timeout=_INSTALL_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise InstallFailed(f"{' '.join(command)} did not end within {_INSTALL_TIMEOUT_S:g} s") from None
    if done.returncode:
        raise InstallFailed(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
