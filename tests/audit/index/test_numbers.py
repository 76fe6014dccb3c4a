"""Many numbers as one parameter."""

import pytest
from sqlalchemy import column, create_engine, literal, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import create_async_engine

from proxy.audit.index.numbers import among, listed
from tests.postgres import Database


@pytest.mark.parametrize("numbers", [[], [1], list(range(0, 200_000, 2))])
def test_sqlite_takes_any_count_of_them(numbers: list[int]) -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        for number in (1, 3, 199_998):
            one = select(literal(number).label("n")).subquery()
            found = connection.execute(select(one).where(among(one.c.n, numbers))).all()
            assert bool(found) == (number in numbers)
    engine.dispose()


def test_postgresql_takes_an_array() -> None:
    statement = str(among(column("n"), [1, 2]).compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]
    assert "n = ANY (" in statement


async def test_lists_are_a_table_in_postgresql(database: Database) -> None:
    table = listed(name=["a", "b"], number=[1, 2**40])
    engine = create_async_engine(database.url.replace("postgresql://", "postgresql+asyncpg://"))
    async with engine.connect() as connection:
        found = await connection.execute(select(table).order_by(table.c.number.desc()))
        assert [tuple(row) for row in found] == [("b", 2**40), ("a", 1)]
    await engine.dispose()
