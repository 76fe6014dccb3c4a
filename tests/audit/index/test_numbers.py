"""Many numbers as one parameter."""

import pytest
from sqlalchemy import column, create_engine, literal, select
from sqlalchemy.dialects import postgresql

from proxy.audit.index.numbers import among


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
    statement = str(among(column("n"), [1, 2]).compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]  # SQLAlchemy's dialects are untyped
    assert "n = ANY (" in statement
