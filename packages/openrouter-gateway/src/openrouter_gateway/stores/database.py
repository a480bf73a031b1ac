"""The durable store's database: SQLite in a file or PostgreSQL by URL, migrated when it is opened.

Both go through the same statements. What differs between them is in this file.
"""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from threading import Thread
from typing import Any, Final, TypeAlias

import sqlalchemy
from sqlalchemy import Connection, Table, bindparam, event, func, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from openrouter_gateway.errors import ConfigError, GatewayError
from openrouter_gateway.stores.schema import REVISION, VERSION_TABLE

Upsert: TypeAlias = sqlite.Insert | postgresql.Insert
"""An insertion that can say what to do about rows that are there already."""

_DRIVERS: Final = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}
_BUSY_TIMEOUT_S: Final = 15.0
_COMMAND_TIMEOUT_S: Final = 60.0
_VALUE_ERRORS: Final = ("22", "23")
"""PostgreSQL's classes of SQLSTATE: data exceptions and violated constraints."""
_LOCK: Final = 0x6F72_6777
"""Names our advisory lock in PostgreSQL."""


class DatabaseUnavailable(GatewayError):
    """The database cannot be reached, is full, or is locked for too long: what fails now may work later."""

    status = 503
    error_type = "server"


class RowsRefused(Exception):
    """The database will never take one of these rows: a value is not one of its column's."""


def parse_url(written: str | URL) -> URL:
    """Return a database URL with the driver that we use.

    Raises:
        ConfigError: not a URL, or of a database that we do not speak. The message never holds the password.
    """
    try:
        url = make_url(written)
    except (ArgumentError, ValueError):
        raise ConfigError("ledger.url: not a database URL such as sqlite:///ledger.db or postgresql://...") from None
    driver = _DRIVERS.get(url.get_backend_name())
    if driver is None:
        raise ConfigError(f"ledger.url: {url.drivername} is not supported: use sqlite:///... or postgresql://...")
    if driver == _DRIVERS["sqlite"] and url.database in (None, "", ":memory:"):
        raise ConfigError("ledger.url: give SQLite a file, as in sqlite:///ledger.db: its processes share it")
    if "sslmode" in url.query:  # libpq's name, which operators know
        url = url.difference_update_query(["sslmode"]).update_query_dict({"ssl": url.query["sslmode"]})
    return url.set(drivername=driver)


class Database:
    """Connections of one process. `open` before anything else; everything in the event loop that opened it.

    Raises:
        ConfigError: the URL is wrong.
    """

    def __init__(self, url: str | URL) -> None:
        self.url = parse_url(url)
        self._engine: AsyncEngine | None = None
        self._insertions: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<Database {self.url.render_as_string(hide_password=True)}>"

    @property
    def _name(self) -> str:
        """How messages call it, without user and password."""
        url = self.url
        return f"{url.get_backend_name()} {url.database}" + (f" at {url.host}:{url.port or 5432}" if url.host else "")

    def check(self) -> None:
        """Connect and bring the schema up to date, from outside an event loop or inside of one.

        Raises:
            ConfigError: as `open`.
        """
        failures: list[BaseException] = []

        async def open_and_close() -> None:
            trial = Database(self.url)
            await trial.open()
            await trial.close()

        def run() -> None:
            try:
                asyncio.run(open_and_close())
            except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
                failures.append(error)

        thread = Thread(target=run, name="ledger-check")
        thread.start()
        thread.join()
        if failures:
            raise failures[0]

    async def open(self, *, upgrade: bool = True) -> None:
        """Connect and bring the schema up to date; of several processes that do so at once, one does the work.

        Raises:
            ConfigError: it cannot be reached or used, or its schema is newer than this version knows; without
                `upgrade` also if it is older.
        """
        self._engine = self._create_engine()
        try:
            async with self.transaction(immediate=True) as connection:
                await self.lock(connection, wait=True)
                await connection.run_sync(self._migrate, upgrade)
        except DatabaseUnavailable as error:
            await self.close()
            raise ConfigError(f"ledger.url: {error.message}") from None
        except BaseException:
            await self.close()
            raise

    def exists(self) -> bool:
        """Return whether there is a file to open; a server says so itself when it is opened."""
        return self.url.get_backend_name() != "sqlite" or Path(self.url.database or "").exists()

    async def read_revision(self) -> str | None:
        """Return the revision of a schema that may be another version's; None where there is none. Changes nothing.

        Raises:
            ConfigError: as `open`.
            DatabaseUnavailable: it cannot be reached, or not be written.
        """
        self._engine = self._create_engine()
        try:
            async with self.transaction(immediate=True) as connection:
                return await connection.run_sync(_read_revision)
        finally:
            await self.close()

    def _create_engine(self) -> AsyncEngine:
        if self.url.get_backend_name() == "sqlite":
            return _create_sqlite_engine(self.url)
        try:
            return create_async_engine(
                self.url,
                pool_size=2,
                max_overflow=4,
                pool_pre_ping=True,
                hide_parameters=True,
                connect_args={"timeout": 10, "command_timeout": _COMMAND_TIMEOUT_S},
            )
        except ModuleNotFoundError:
            raise ConfigError("ledger.url: PostgreSQL needs one more package: openrouter-gateway[postgres]") from None

    async def lock(self, connection: AsyncConnection, *, wait: bool) -> bool:
        """Be the only one, until the transaction ends, who changes the schema or thins the ledger out.

        Returns whether it is so, which with SQLite an immediate transaction is anyway.
        """
        if self.url.get_backend_name() == "sqlite":
            return True
        function = func.pg_advisory_xact_lock if wait else func.pg_try_advisory_xact_lock
        return (await connection.execute(select(function(_LOCK)))).scalar() is not False

    def _migrate(self, connection: Connection, upgrade: bool) -> None:
        current = _read_revision(connection)
        if current == REVISION:
            return
        if current is not None and current > REVISION:
            raise ConfigError(
                f"ledger.url: the schema of {self._name} has revision {current}, and this version of the gateway knows "
                f"{REVISION} as the newest: a newer gateway has used it. Run that one, or restore a backup"
            )
        if not upgrade:
            raise ConfigError(
                f"ledger.url: the schema of {self._name} has revision {current or 'none'}, and this version of the "
                f"gateway reads {REVISION}: the next `openrouter-gateway serve` brings it up to date"
            )
        _upgrade(connection)

    @asynccontextmanager
    async def transaction(
        self, *, immediate: bool = False, isolation: str | None = None
    ) -> AsyncGenerator[AsyncConnection]:
        """Run statements as one. `immediate` says that they write: SQLite then waits for its lock at the start.

        Raises:
            DatabaseUnavailable: nothing is committed.
            RowsRefused: likewise, because of a value.
        """
        async with AsyncExitStack() as stack:
            try:
                connection = await stack.enter_async_context(self._open_engine.connect())
            except Exception as error:  # drivers raise their own kinds here
                raise self._unavailable(error) from error
            try:
                await connection.execution_options(immediate=immediate)
                if isolation is not None and self.url.get_backend_name() != "sqlite":  # whose writers are serial anyway
                    await connection.execution_options(isolation_level=isolation)
                async with connection.begin():
                    yield connection
            except (SQLAlchemyError, OSError, ValueError, OverflowError) as error:
                raise self._translate(error) from error

    def _translate(self, error: Exception) -> DatabaseUnavailable | RowsRefused:
        """Causes go into messages without values: what the database quotes may be a caller's."""
        cause = _cause_of(error)
        state = str(getattr(cause, "sqlstate", None) or "")
        if isinstance(error, (IntegrityError, DataError, ValueError, OverflowError)) or state[:2] in _VALUE_ERRORS:
            return RowsRefused(f"{type(cause).__name__} {state}".rstrip())
        return self._unavailable(error)

    def _unavailable(self, error: Exception) -> DatabaseUnavailable:
        cause = _cause_of(error)
        return DatabaseUnavailable(f"{self._name}: {str(cause).partition(chr(10))[0] or type(cause).__name__}")

    def insert_into(self, table: Table) -> Upsert:
        """Return an insertion in this database's dialect."""
        return sqlite.insert(table) if self.url.get_backend_name() == "sqlite" else postgresql.insert(table)

    async def insert_new(self, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows, each with all of the table's columns in order; one whose primary key is there changes nothing.

        Raises:
            DatabaseUnavailable: none is inserted.
            RowsRefused: none is inserted, and one of them never will be.
        """
        statement = self._insertions.get(table.name)
        if statement is None:
            statement = self._insertions[table.name] = self._compile_insertion(table)
        async with self.transaction(immediate=True) as connection:
            # SQLAlchemy's own way from dictionaries to the driver costs more than the insertion.
            await connection.exec_driver_sql(statement, list(rows))

    def _compile_insertion(self, table: Table) -> str:
        values: dict[str, Any] = {column.name: bindparam(column.name) for column in table.columns}
        statement = self.insert_into(table).values(values).on_conflict_do_nothing()
        return str(statement.compile(dialect=self._open_engine.dialect))

    @property
    def _open_engine(self) -> AsyncEngine:
        assert self._engine is not None  # noqa: S101 - see `open`
        return self._engine

    async def close(self) -> None:
        """Close all connections."""
        if self._engine is not None:
            engine, self._engine = self._engine, None
            await engine.dispose()


def _read_revision(connection: Connection) -> str | None:
    if not sqlalchemy.inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608 - ours


def _cause_of(error: Exception) -> BaseException:
    """The driver's own error within SQLAlchemy's."""
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def _create_sqlite_engine(url: URL) -> AsyncEngine:
    """Readers do not wait for writers (WAL); every commit is on disk when it returns."""
    # The driver looks for a way to adapt whatever is no number or text, in vain: half of what a row of ours costs.
    sqlite3.register_adapter(type(None), {}.get)  # None, by way of C
    sqlite3.register_adapter(bool, int)
    file = Path(url.database or "")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.touch(mode=0o600)  # it says who asked for what
    except OSError as error:
        raise ConfigError(f"ledger.url: cannot write {file}: {error.strerror}") from None
    engine = create_async_engine(
        url, pool_size=2, max_overflow=4, hide_parameters=True, connect_args={"timeout": _BUSY_TIMEOUT_S}
    )

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _: object) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.isolation_level = None  # the driver begins no transactions of its own
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA secure_delete = ON")  # what is deleted, such as content, must not stay in free pages
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:  # pyright: ignore[reportUnusedFunction]
        # A transaction that reads first and writes later would fail, not wait, when another has written between.
        writes = connection.get_execution_options().get("immediate")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _upgrade(connection: Connection) -> None:
    """Run the migrations that are missing. Alembic is imported here because it is needed once per version."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
