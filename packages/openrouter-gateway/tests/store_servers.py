"""Databases for the store's tests: a file, or a PostgreSQL server of our own, which is gone with the tests."""

import atexit
import functools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

DATABASES = ("sqlite", "postgresql")
_PLACES = ("/usr/lib/postgresql/*/bin", "/usr/local/pgsql/bin", "/opt/homebrew/opt/postgresql*/bin")


class PostgresServer:
    """A server in a directory of its own, on a socket instead of a port."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        # Short, because a socket's path may have 107 characters.
        self._directory = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        self._made = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._user = _unprivileged_user()
        if self._user is not None:
            shutil.chown(self._directory, self._user)
        self._run("initdb", "--auth=trust", "--username=gateway", "--no-sync", "--pgdata", f"{self._directory}/data")

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._programs / program, *arguments],
            user=self._user,
            cwd=self._directory,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        log = (self._directory / "log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [
                    self._programs / "postgres",
                    *("-D", f"{self._directory}/data", "-k", str(self._directory)),
                    *("-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=60"),
                ],
                user=self._user,
                cwd=self._directory,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 30
        while not (self._directory / ".s.PGSQL.5432").exists() or not self._takes_connections():
            assert self._process.poll() is None, (self._directory / "log").read_text()
            assert time.monotonic() < deadline, "PostgreSQL did not start"
            time.sleep(0.05)

    def _takes_connections(self) -> bool:
        ready = [self._programs / "pg_isready", "--quiet", "--host", str(self._directory)]
        return subprocess.run(ready, check=False).returncode == 0

    def stop(self) -> None:
        """Stop at once, breaking the connections that there are."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(30)
            self._process = None

    def new_url(self) -> str:
        """Make a database, and return its URL."""
        self._made += 1
        name = f"ledger_{self._made}"
        self._run("createdb", "--host", str(self._directory), "--username", "gateway", name)
        return f"postgresql://gateway@/{name}?host={self._directory}"

    def remove(self) -> None:
        """Stop it and delete its files."""
        self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)


def new_database(kind: str, directory: Path) -> str:
    """Return the URL of an empty database; skip the test where there can be none."""
    return f"sqlite:///{directory}/ledger.db" if kind == "sqlite" else postgres().new_url()


@functools.cache
def postgres() -> PostgresServer:
    """Return the server that all tests of this run share; skip the test where PostgreSQL is not installed."""
    programs = _find_programs()
    if programs is None:
        pytest.skip("NOT TESTED ON POSTGRESQL: it is not installed (apt-get install postgresql)")
    server = PostgresServer(programs)
    atexit.register(server.remove)
    server.start()
    return server


def _find_programs() -> Path | None:
    on_path = shutil.which("initdb")
    places = [Path(on_path).resolve().parent] if on_path else []
    for place in _PLACES:
        places += sorted(Path("/").glob(place.removeprefix("/")), reverse=True)
    return next((place for place in places if (place / "postgres").exists()), None)


def _unprivileged_user() -> str | None:
    """The server refuses to run as root. None: we are not."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody", "daemon") if name in names)
