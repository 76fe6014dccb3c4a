"""Changes of the schema are noted in the server's log, where the schema's owner cannot reach."""

import pytest

from proxy.audit.index.postgresql.upgrade import upgrading
from tests.postgres import Database
from tests.postgres_programs import PostgresError


@pytest.fixture
async def upgraded(database: Database) -> Database:
    async with upgrading(database.url, [], lambda _: None):
        pass
    return database


@pytest.mark.parametrize(
    ("statement", "noted"),
    [
        ("ALTER TABLE kubewitness.events_past SET (fillfactor = 90)", "ALTER TABLE"),
        ("DROP TABLE kubewitness.events_past", "DROP"),
        ("ALTER TABLE kubewitness.index_schema ALTER version TYPE numeric", "table rewritten"),
        ("ALTER TABLE kubewitness.events DISABLE TRIGGER ALL", "ALTER TABLE"),
        ("GRANT ALL ON kubewitness.events TO PUBLIC", "GRANT by postgres"),
        ("CREATE TABLE public.other ()", ""),
    ],
)
async def test_a_change_is_noted(upgraded: Database, statement: str, noted: str) -> None:
    path = upgraded.server.base / "server.log"
    before = path.stat().st_size
    upgraded.exec(f"SET log_min_messages = log; {statement}")
    added = path.read_bytes()[before:].decode()
    if noted:
        assert f"kubewitness: {noted}" in added
    else:
        assert "public.other" not in added


async def test_the_owner_of_the_schema_cannot_take_it_away(upgraded: Database) -> None:
    for statement in (
        "DROP EVENT TRIGGER kubewitness_changed",
        "ALTER EVENT TRIGGER kubewitness_changed DISABLE",
        "DROP FUNCTION kubewitness_log.changed() CASCADE",
        (
            "CREATE OR REPLACE FUNCTION kubewitness_log.changed() RETURNS event_trigger"
            " LANGUAGE plpgsql AS 'BEGIN END'"
        ),
    ):
        with pytest.raises(PostgresError, match=r"must be owner|permission denied"):
            upgraded.exec(f"SET ROLE kubewitness_owner; {statement}")
