"""The same statements on both databases, within the transaction that the reader is in."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from proxy.audit.index.asking import ASKED, Asker
from proxy.audit.index.reading import translated
from proxy.errors import UnavailableError
from tests.postgres import Database


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/some.db"
    database: Database = request.getfixturevalue("database")
    return database.url.replace("postgresql://", "postgresql+asyncpg://")


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(
            engine.sync_engine, "connect", lambda c, _: c.execute("PRAGMA journal_mode=WAL")
        )
        event.listen(engine.sync_engine, "begin", lambda c: c.exec_driver_sql("BEGIN"))
    else:
        engine = engine.execution_options(isolation_level="REPEATABLE READ")
    async with engine.begin() as connection:
        kind = "blob" if engine.dialect.name == "sqlite" else "bytea"
        await connection.exec_driver_sql(f"CREATE TABLE kept (number bigint, value {kind})")
        for number in range(5):
            await connection.exec_driver_sql(
                f"INSERT INTO kept VALUES ({number}, {_literal(engine, bytes([number]))})"
            )
    yield engine
    await engine.dispose()


def _literal(engine: AsyncEngine, value: bytes) -> str:
    return f"x'{value.hex()}'" if engine.dialect.name == "sqlite" else f"'\\x{value.hex()}'"


async def test_numbers_lists_and_bytes_are_parameters(url: str) -> None:
    async with opened(url) as engine, engine.connect() as connection:
        ask = Asker(connection).ask
        statement = (
            "SELECT number, substr(value, 1, $3) FROM kept WHERE number AMONG $1 AND value > $2"
        )
        found = await ask(statement, [1, 3, 4, 9], b"\x01", 1)
        assert sorted((number, bytes(value)) for number, value in found) == [
            (3, b"\x03"),
            (4, b"\x04"),
        ]
        assert list(await ask(statement, [], b"", 1)) == []


async def test_what_others_commit_meanwhile_is_not_seen(url: str) -> None:
    async with opened(url) as engine, engine.connect() as connection:
        ask = Asker(connection).ask
        assert [tuple(row) for row in await ask("SELECT count(*) FROM kept")] == [(5,)]
        async with engine.begin() as other:
            await other.exec_driver_sql("DELETE FROM kept")
        assert [tuple(row) for row in await ask("SELECT count(*) FROM kept")] == [(5,)]


async def test_who_listens_is_told(url: str) -> None:
    told: list[tuple[Any, ...]] = []
    async with opened(url) as engine:
        noting = engine.execution_options(**{ASKED: lambda *asked: told.append(asked)})
        async with noting.connect() as connection:
            await Asker(connection).ask("SELECT $1 + 0", 7)
    assert [given for _, given in told] == [(7,)]


async def test_an_error_of_the_driver_is_the_index_that_cannot_be_read(url: str) -> None:
    async with opened(url) as engine, engine.connect() as connection:
        with pytest.raises(UnavailableError, match="the index cannot be read"):
            async with translated():
                await Asker(connection).ask("SELECT nothing FROM nowhere")
