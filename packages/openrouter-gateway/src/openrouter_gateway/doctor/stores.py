"""Whether the stores work: database, journal, shared state. Nothing is changed, no schema is brought up to date."""

import asyncio
import os
import tempfile
import time
from pathlib import Path
from typing import Final

from msgspec import Struct

from openrouter_gateway.config.settings import Settings
from openrouter_gateway.doctor.findings import OFFLINE, Finding, failure, ok, refused, skipped, warning
from openrouter_gateway.errors import ConfigError
from openrouter_gateway.stores.database import Database, DatabaseUnavailable
from openrouter_gateway.stores.journal import count_waiting
from openrouter_gateway.stores.schema import REVISION
from openrouter_gateway.stores.state_redis import RedisState

_STUCK_S: Final = 60.0
_REDIS_LOST: Final = "start it, or check state.url; without state.url each process counts for itself"


class DatabaseFinding(Struct, frozen=True, kw_only=True):
    """`is_current` says that this version can read the database as it is."""

    finding: Finding
    is_current: bool = False


async def check_database(settings: Settings, *, timeout_s: float, offline: bool) -> DatabaseFinding:
    """Look whether the ledger's database can be written, and which schema it has."""
    finding = await _check_database(settings, timeout_s, offline=offline)
    return finding if isinstance(finding, DatabaseFinding) else DatabaseFinding(finding=finding)


async def _check_database(settings: Settings, timeout_s: float, *, offline: bool) -> Finding | DatabaseFinding:
    check = "ledger database"
    try:
        database = Database(settings.ledger.database_url)
        if not database.exists():
            return _missing_file(check, Path(database.url.database or ""))
        if offline and database.url.get_backend_name() != "sqlite":
            return skipped(check, OFFLINE)
        async with asyncio.timeout(timeout_s):
            revision = await database.read_revision()
    except ConfigError as error:
        return refused(check, error)
    except DatabaseUnavailable as error:
        return failure(check, error.message, "start it, or check ledger.url and its rights")
    except TimeoutError:
        return failure(check, f"it did not answer within {timeout_s:g} s", "check ledger.url; is it locked?")
    name = f"{database.url.get_backend_name()} {database.url.database}"
    if revision is None:
        return ok(check, f"{name} has no tables yet: the first start makes them")
    if revision > REVISION:
        message = f"{name} has the schema {revision}, and this version knows {REVISION} as the newest"
        return failure(check, message, "install the newer gateway that has used it, or restore a backup")
    if revision < REVISION:
        message = f"{name} has the schema {revision}: the next start brings it to {REVISION}"
        return warning(check, message, "back it up before that")
    return DatabaseFinding(finding=ok(check, f"{name} can be written, schema {revision}"), is_current=True)


def _missing_file(check: str, file: Path) -> Finding:
    message = f"there is no {file} yet: the first start makes it"
    return _must_be_writable(check, file.parent, "ledger.url") or ok(check, message)


def check_journal(settings: Settings) -> Finding:
    """Look whether the journal can be written, and what waits in it."""
    check, directory = "ledger journal", settings.ledger.journal_directory
    problem = _must_be_writable(check, directory, "ledger.journal")
    if problem is not None:
        return problem
    waiting = count_waiting(directory)
    if waiting.rejected:
        message = f"{waiting.rejected} generations were put aside, because they cannot be stored"
        return warning(
            check, message, f"look at the *.rejected files in {directory}; this is a defect, please report it"
        )
    if waiting.lines and time.time() - waiting.since > _STUCK_S:
        message = f"{waiting.lines} generations wait to be written to the database"
        return warning(check, message, "start the gateway: it writes them; if it runs, its log says what is wrong")
    return ok(check, f"{directory} can be written; generations that wait: {waiting.lines}")


def _must_be_writable(check: str, directory: Path, setting: str) -> Finding | None:
    """Return what is wrong with a directory, or with the one that it would be made in."""
    existing = next((each for each in (directory, *directory.parents) if each.exists()), directory)
    try:
        if existing != directory:
            if not os.access(existing, os.W_OK | os.X_OK):
                return failure(check, f"cannot make {directory}", f"check {setting} and the rights of {existing}")
            return None
        with tempfile.TemporaryFile(dir=directory):
            return None
    except OSError as error:
        return failure(
            check, f"cannot write in {directory}: {error.strerror}", f"check {setting}, rights and disk space"
        )


async def check_state(settings: Settings, *, timeout_s: float, offline: bool) -> Finding:
    """Look whether Redis answers, if there is to be one."""
    check = "shared state"
    if settings.state.url is None:
        if settings.server.workers > 1:
            message = f"none: each of the {settings.server.workers} workers counts the limits of keys for itself"
            return warning(check, message, "set state.url to a Redis or Valkey server")
        return ok(check, "none is configured, and one process needs none")
    if offline:
        return skipped(check, OFFLINE)
    try:
        state = RedisState(settings.state.url)
    except ConfigError as error:
        return refused(check, error)
    try:
        async with asyncio.timeout(timeout_s):
            await state.open()
    except ConfigError as error:
        return failure(check, error.message, _REDIS_LOST)
    except TimeoutError:
        return failure(check, f"it did not answer within {timeout_s:g} s", _REDIS_LOST)
    finally:
        await state.close()
    return ok(check, "Redis answers")
