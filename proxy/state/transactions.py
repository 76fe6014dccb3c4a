"""Transactions on the state's database that end in bounded time, whatever the database does.

A server that went away without a word leaves us waiting on a socket, so a connection to a server
has until a deadline to answer and is then cut from our side: everything that waits on it ends at
once. A pooled connection that died since its last use is replaced without anybody noticing.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Any, Final, Self

from asyncpg.exceptions import InternalClientError
from sqlalchemy import Executable, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from proxy.errors import UnavailableError
from proxy.state import tables
from proxy.state.database import WRITE
from proxy.state.postgres import CHANNEL

LIMIT: Final = 1.5
"""Seconds a server has for the first answer, and then for what is asked next."""
LONG_LIMIT: Final = 15.0
"""The same for reading all of the state."""
_ONE_MOMENT: Final = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
READ_VERSION: Final = select(tables.meta.c.version)
"""The first statement of a change that is none of the state, and that nobody is told of."""
_RAISE_VERSION: Final = update(tables.meta).values(version=tables.meta.c.version + 1)
RAISE_ACCESS: Final = update(tables.meta).values(
    version=tables.meta.c.version + 1, access_version=tables.meta.c.version + 1
)
"""The first statement of a change of who exists or what is granted."""
_NOTIFY: Final = text("SELECT pg_notify(:channel, :payload)")


class Transactions:
    """Begins transactions on one engine. Everything raises UnavailableError in bounded time."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._remote = engine.dialect.name == "postgresql"

    @contextlib.asynccontextmanager
    async def reading(self, *, limit: float = LIMIT) -> AsyncIterator[tuple[AsyncConnection, int]]:
        """A transaction that sees one moment, and the version of the state at that moment.

        `limit` is in seconds, of what is read in the transaction.
        """
        options = _ONE_MOMENT if self._remote else {}
        with translated():
            async with contextlib.AsyncExitStack() as stack:
                connection, deadline = await self._begin(stack, READ_VERSION, options)
                version = await _version(connection)
                deadline.extend(limit)
                yield connection, version

    @contextlib.asynccontextmanager
    async def changing(
        self, first: Executable = _RAISE_VERSION, *, limit: float = LIMIT
    ) -> AsyncIterator[tuple[AsyncConnection, int]]:
        """A transaction that changes something, and the version it makes.

        Committed at the end of the block, unless it raises. Others that watch the state are told.
        Another `first` statement is for changes that nobody needs to see, or that raise more. `limit`
        is in seconds, of what is done in the transaction.
        """
        with translated():
            async with contextlib.AsyncExitStack() as stack:
                # The first statement, so that writers queue on this row in PostgreSQL.
                connection, deadline = await self._begin(stack, first, dict(WRITE))
                version = await _version(connection)
                deadline.extend(limit)
                yield connection, version
                if self._remote and first is not READ_VERSION:
                    await connection.execute(_NOTIFY, {"channel": CHANNEL, "payload": str(version)})
                await self._commit(connection)

    async def _begin(
        self, stack: contextlib.AsyncExitStack, first: Executable, options: dict[str, Any]
    ) -> tuple[AsyncConnection, "_Deadline"]:
        try:
            return await self._try_begin(stack, first, options)
        except DBAPIError as error:
            # Nothing was done yet. A connection from the pool may have died since its last use;
            # a new one says how things are.
            if not (self._remote and error.connection_invalidated):
                raise
        return await self._try_begin(stack, first, options)

    async def _try_begin(
        self, stack: contextlib.AsyncExitStack, first: Executable, options: dict[str, Any]
    ) -> tuple[AsyncConnection, "_Deadline"]:
        async with contextlib.AsyncExitStack() as own:
            deadline = own.enter_context(_Deadline())
            plain = await own.enter_async_context(self._engine.connect())
            if self._remote:
                deadline.watch((await plain.get_raw_connection()).driver_connection)
            connection = await plain.execution_options(**options)
            await connection.execute(first)
            stack.push_async_exit(own.pop_all())
        return connection, deadline

    async def _commit(self, connection: AsyncConnection) -> None:
        try:
            await connection.commit()
        except (DBAPIError, InternalClientError, OSError) as error:
            if not self._remote:
                raise
            raise UnavailableError(
                "The state database went away while it committed the change.",
                hint="See whether the change was made, and repeat it if it was not.",
            ) from error


class _Deadline:
    """Cuts a connection to a server that takes too long, and says so in place of what follows."""

    def __init__(self) -> None:
        self._handle: asyncio.TimerHandle | None = None
        self._connection: Any = None
        self._expired = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._handle is not None:
            self._handle.cancel()
        if self._expired and isinstance(error, DBAPIError | OSError):
            raise UnavailableError(
                "The state database does not answer: it took too long and was given up."
            ) from error

    def watch(self, connection: Any) -> None:  # noqa: ANN401  # the driver's own
        """Give `connection` (asyncpg's) LIMIT from now."""
        self._connection = connection
        self.extend(LIMIT)

    def extend(self, seconds: float) -> None:
        """Give what is watched so many seconds from now."""
        if self._handle is not None:
            self._handle.cancel()
        if self._connection is not None:
            loop = asyncio.get_running_loop()
            self._handle = loop.call_later(seconds, self._cut)

    def _cut(self) -> None:
        self._expired = True
        self._connection.terminate()


async def _version(connection: AsyncConnection) -> int:
    return int((await connection.execute(READ_VERSION)).scalar_one())


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Failures of the database as UnavailableError; broken constraints stay IntegrityError.

    A task that is being cancelled hears of that and nothing else: the driver's way out of a
    connection that is cut at the same moment replaces one by the other, and the task would go on.
    """
    try:
        yield
    except IntegrityError:
        raise
    except UnavailableError as error:
        _require_wanted(error)
        raise
    except (DBAPIError, InternalClientError, PoolTimeoutError, OSError) as error:
        _require_wanted(error)
        cause = error.orig if isinstance(error, DBAPIError) else error
        reason = "no answer in time" if isinstance(cause, TimeoutError) else str(cause)
        raise UnavailableError(f"The state database does not answer: {reason}.") from error


def _require_wanted(error: Exception) -> None:
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError from error
