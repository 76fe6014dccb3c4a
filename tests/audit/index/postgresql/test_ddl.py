"""The schema: what it makes is what the tables of the index say, with guards on each partition."""

from collections.abc import Iterator

import pytest

from proxy.audit.index.postgresql.ddl import FIRST_DAY, LAST_DAY
from proxy.audit.index.rows import Row
from tests.audit.index.postgresql.databases import Ready, ready_database
from tests.postgres import Postgres


@pytest.fixture(scope="module")
def ready(postgres: Postgres) -> Iterator[Ready]:
    with ready_database(postgres) as made:
        yield made


def test_columns_are_those_of_a_row_and_when_it_came(ready: Ready) -> None:
    columns = ready.database.exec(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'kubewitness.events'::regclass"
        " AND attnum > 0 ORDER BY attnum"
    )
    assert columns.split() == [*Row._fields, "recorded_at"]


def test_texts_compare_by_code_point(ready: Ready) -> None:
    other = ready.database.exec(
        "SELECT attrelid::regclass, attname FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid"
        " WHERE relnamespace = 'kubewitness'::regnamespace AND atttypid = 'text'::regtype"
        " AND attrelid::regclass::text IN ('kubewitness.events', 'kubewitness.open_calls',"
        " 'kubewitness.blocks') AND attcollation <> 'pg_catalog.\"C\"'::regcollation"
    )
    assert other == ""


def test_partitions_cover_all_of_time(ready: Ready) -> None:
    """Ends are there for good; what lies between is made when it is needed."""
    assert (
        ready.database.exec(
            "SELECT relation, low = -9223372036854775808, high FROM kubewitness.partitions()"
            " WHERE relation::text LIKE '%past'"
        )
        == f"kubewitness.events_past|t|{FIRST_DAY * 86_400_000_000}"
    )
    assert (
        ready.database.exec(
            "SELECT relation, low, high = 9223372036854775807 FROM kubewitness.partitions()"
            " WHERE relation::text LIKE '%future'"
        )
        == f"kubewitness.events_future|{LAST_DAY * 86_400_000_000}|t"
    )
    overlaps = (
        "SELECT count(*) FROM kubewitness.partitions() a JOIN kubewitness.partitions() b"
        " ON a.relation <> b.relation AND a.low < b.high AND b.low < a.high"
    )
    assert ready.database.exec(overlaps) == "0"


def test_each_partition_has_its_indexes_and_guards(ready: Ready) -> None:
    found = ready.database.exec(
        "SELECT p.relation, (SELECT count(*) FROM pg_index WHERE indrelid = p.relation),"
        " (SELECT string_agg(tgname || tgenabled::text, ',' ORDER BY tgname) FROM pg_trigger"
        "  WHERE tgrelid = p.relation) FROM kubewitness.partitions() p"
    ).splitlines()
    assert len(found) >= 10
    assert {line.split("|", 1)[1] for line in found} == {"3|kubewitness_guardA,kubewitness_rowA"}


@pytest.mark.parametrize(
    "view", ["events", "open_calls", "blocks", "postings", "run_texts", "removed"]
)
def test_readers_see_views_only(ready: Ready, view: str) -> None:
    for schema, expected in (("kubewitness", "f"), ("kubewitness_views", "t")):
        may = f"SELECT has_table_privilege('kubewitness_reader', '{schema}.{view}', 'SELECT')"
        assert ready.database.exec(may) == expected
