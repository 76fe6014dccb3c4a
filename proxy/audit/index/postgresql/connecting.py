"""Connections to PostgreSQL: in one role each, with nothing left to what a login was set up with.

A URL is libpq's: `postgresql://user@host:5432/database?sslmode=verify-full&sslrootcert=…`. A
password may stand in it, or better in a passfile (`~/.pgpass`, PGPASSFILE). No message repeats
the URL.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import asyncpg
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from proxy.errors import SettingsError, UnavailableError
from proxy.settings import database_place, is_postgresql, require_database_url
from proxy.state.roles import SCHEMA, VIEWS, Role

CONNECT_SECONDS: Final = 2.0
_KEEP: Final = "What is recorded is in the journals; the index follows when it is back."
_UPGRADE: Final = "Run `kubewitness db upgrade` as a database administrator."

LOST: Final = (asyncpg.exceptions.InterfaceError, asyncpg.exceptions.InternalClientError)
"""What asyncpg says of a connection that ended; the second when it ended between two steps."""


SEARCH_PATH: Final = {
    # Temporary tables come last: by default they would hide ours.
    Role.OWNER: "pg_catalog, pg_temp",
    Role.WRITER: "pg_catalog, pg_temp",
    Role.READER: f"{VIEWS}, pg_catalog, pg_temp",
    Role.STATE: f"{SCHEMA}, pg_catalog, pg_temp",
}


async def connect(url: str, role: Role | None, *, seconds: float = CONNECT_SECONDS) -> Any:  # noqa: ANN401  # asyncpg is untyped
    """An asyncpg connection that acts as `role`, or as the login itself.

    Whatever `ALTER ROLE … SET` left for the login is set back to what we rely on. Raises
    SettingsError when the URL is none of PostgreSQL or the login may not act as `role`, and
    UnavailableError when the server does not answer within `seconds`.
    """
    if not is_postgresql(url):
        raise SettingsError("database: is not a postgresql:// URL.")
    require_database_url(url)
    with translated():
        try:
            async with asyncio.timeout(seconds):
                return await _connected(url, role)
        except TimeoutError as error:
            raise _unreachable(url, "does not answer in time") from error
        except OSError as error:
            # What the event loop says of it names no host.
            why = error.strerror or str(error)
            raise _unreachable(url, f"cannot be reached: {why}") from error


async def _connected(url: str, role: Role | None) -> Any:  # noqa: ANN401
    connection = await asyncpg.connect(
        url,
        server_settings=_SESSION | {"search_path": _path(role)},
    )
    try:
        if role is not None:
            await connection.execute(f"SET ROLE {role}")
    except BaseException:
        connection.terminate()
        raise
    return connection


def _unreachable(url: str, what: str) -> UnavailableError:
    return UnavailableError(f"PostgreSQL at {database_place(url)} {what}.", hint=_KEEP)


def _path(role: Role | None) -> str:
    return SEARCH_PATH[role] if role else "pg_catalog, pg_temp"


_SESSION: Final = {
    # In the first message, where they win over what `ALTER ROLE … SET` left for the login.
    "application_name": "kubewitness",
    "bytea_output": "hex",
    "client_min_messages": "warning",
    "default_transaction_deferrable": "off",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "enable_partition_pruning": "on",
    "idle_in_transaction_session_timeout": "60s",
    "idle_session_timeout": "0",
    # Hundreds of partitions look expensive enough to be compiled, and never are.
    "jit": "off",
    "lock_timeout": "5s",
    "row_security": "on",
    "statement_timeout": "60s",
    "synchronous_commit": "on",
    "timezone": "UTC",
}


_OF_ROLE: Final[dict[Role | None, dict[str, str]]] = {
    # A reader's only joins are lists of records to look up: one after the other by their key, each
    # in its own partition. Any other way begins with reading all partitions.
    Role.READER: {"enable_hashjoin": "off", "enable_mergejoin": "off"},
}


@contextmanager
def translated(hint: str = _KEEP) -> Iterator[None]:
    """Errors of asyncpg and of the network as ours, without what was in the statement."""
    try:
        yield
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as e:
        raise UnavailableError(f"PostgreSQL refuses the login: {_first(e)}.") from e
    except asyncpg.exceptions.ClientConfigurationError as e:
        raise SettingsError(f"database: is not a URL that PostgreSQL understands{_tls(e)}.") from e
    except (
        asyncpg.UndefinedObjectError,
        asyncpg.UndefinedTableError,
        asyncpg.InvalidParameterValueError,  # SET ROLE to one that is not there
        asyncpg.InvalidSchemaNameError,
        asyncpg.UndefinedFunctionError,
    ) as e:
        raise _undefined(e) from e
    except (asyncpg.InsufficientPrivilegeError, asyncpg.UndefinedColumnError) as e:
        raise SettingsError(
            f"The database does not let us: {_first(e)}.",
            hint="Run `kubewitness db upgrade --login NAME` with the name in our URL.",
        ) from e
    except asyncpg.exceptions.PostgresError as e:
        raise UnavailableError(f"PostgreSQL: {_first(e)}.", hint=hint) from e
    except TimeoutError as e:
        raise UnavailableError("PostgreSQL does not answer in time.", hint=hint) from e
    except (OSError, *LOST) as e:
        raise UnavailableError(f"PostgreSQL cannot be reached: {_first(e)}.", hint=hint) from e


def _tls(error: Exception) -> str:
    """What is wrong with TLS; these messages name files and modes, others may repeat a secret."""
    text = _first(error)
    return f": {text}" if text.startswith(("root certificate file ", "`ssl")) else ""


def _undefined(error: Exception) -> SettingsError:
    if "configuration parameter" in str(error):
        return SettingsError(f"database: the URL has an {_first(error)}.")
    return SettingsError(f"The database has no current schema: {_first(error)}.", hint=_UPGRADE)


def _first(error: BaseException) -> str:
    """The first line of a message, which names things and no values."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


class Session:
    """One connection in one role, made by need and dropped on any trouble.

    After an error or a cancellation nobody knows what the server did; the next user gets a new
    connection.
    """

    def __init__(self, url: str, role: Role) -> None:
        self._url = url
        self._role = role
        self._lock = asyncio.Lock()
        self._connection: Any = None
        self.generation = 0
        """Grows with each connection: what was learned on an older one may be out of date."""

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Any]:
        """The connection, for one user at a time. Raises as `connect` does."""
        async with self._lock:
            if self._connection is None or self._connection.is_closed():
                self._connection = await connect(self._url, self._role)
                self.generation += 1
            try:
                with translated():
                    yield self._connection
            except BaseException:
                self._drop()
                raise

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def close(self) -> None:
        """Say goodbye, briefly."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await connection.close()
        except (
            TimeoutError,
            OSError,
            asyncpg.exceptions.PostgresError,
            *LOST,
        ):
            connection.terminate()


def engine(url: str, role: Role, *, size: int = 4, read_only: bool = False) -> AsyncEngine:
    """An SQLAlchemy engine whose connections are made by `connect`. Nothing is opened yet.

    With `read_only`, a transaction sees one state of the database throughout and changes nothing.
    """
    options = {"isolation_level": "REPEATABLE READ"} if read_only else {}

    async def make(*_: object, **__: object) -> Any:  # noqa: ANN401  # as SQLAlchemy calls it
        return await connect(url, role)

    made = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=make,
        pool_size=size,
        max_overflow=0,
        pool_timeout=30,
        pool_pre_ping=True,
        **options,
    )
    event.listen(made.sync_engine, "close", _cut)
    return made.execution_options(postgresql_readonly=True) if read_only else made


def _cut(connection: Any, _record: object) -> None:  # noqa: ANN401  # the driver's, adapted
    # The polite way out waits, without an end, for the answer of a server that hangs.
    connection.driver_connection.terminate()
