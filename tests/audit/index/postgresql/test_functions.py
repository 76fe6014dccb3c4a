"""The owner's functions: they believe nothing but the records."""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest

from proxy.audit.index.postgresql.connecting import connect
from proxy.audit.index.postgresql.ddl import DAY_MICROS
from proxy.state.roles import Role
from tests.audit.index.postgresql.databases import Ready, ready_database
from tests.postgres import Postgres

AT = 1_900_000_000_000_000


@pytest.fixture(scope="module")
def ready(postgres: Postgres) -> Iterator[Ready]:
    with ready_database(postgres) as made:
        made.database.exec(f"SELECT kubewitness.ensure_partitions(ARRAY[{AT // DAY_MICROS}])")
        yield made


async def insert(connection: Any, seq: int, audit_id: str, *, terminal: bool) -> None:
    """A record of writer w, with the values that do not matter left empty."""
    await connection.execute(COLUMNS, "w", seq, audit_id, terminal, AT + seq, b"line %d" % seq)


COLUMNS = """
INSERT INTO kubewitness.events (writer, seq, kind, audit_id, stage, terminal, at, received_at, username,
  user_groups, credential, cluster, verb, call_class, api_group, api_version, resource, subresource,
  namespace, name, code, reason, source_ip, source_key, user_agent, tool, command, session, uri,
  impersonated_user, decision, close_reason, bytes_in, bytes_out, upstream_micros, total_micros,
  action, target, actor, noise, line)
VALUES ($1, $2, 'Event', $3, '', $4, $5, 0, '', '', '', '', '', '', '', '', '', '', '', '', NULL, '',
  '', '', '', '', '', '', '', '', '', '', 0, 0, 0, 0, '', '', '', false, $6)
"""
NOTE = "SELECT kubewitness.note_calls('w', $1, $2, $3, $4, $5)"


async def test_calls_open_and_close_as_the_records_say(ready: Ready) -> None:
    connection = await connect(ready.url, Role.WRITER)

    def still_open() -> str:
        return ready.database.exec("SELECT audit_id, seq FROM kubewitness.open_calls ORDER BY 1")

    try:
        await insert(connection, 1, "a", terminal=False)
        await connection.execute(NOTE, ["a", "never"], [1, 9], [AT + 1, AT + 9], [], [])
        assert still_open() == "a|1", "what is not there is not open"
        await insert(connection, 2, "a", terminal=False)
        await connection.execute(NOTE, ["a"], [2], [AT + 2], [], [])
        await connection.execute(NOTE, ["a"], [1], [AT + 1], [], [])
        assert still_open() == "a|2", "it moves forward only"
        await connection.execute(NOTE, [], [], [], ["a"], [AT + 2])
        await connection.execute(NOTE, [], [], [], ["a"], [AT + 3])
        assert still_open() == "a|2", "it ends with its terminal event, and that is not there"
        await insert(connection, 3, "a", terminal=True)
        await connection.execute(NOTE, ["a"], [3], [AT + 3], [], [])
        assert still_open() == "a|2", "a terminal event opens nothing"
        await connection.execute(NOTE, [], [], [], ["a"], [AT + 3])
        assert still_open() == ""
    finally:
        await connection.close()


async def test_records_are_compared_by_their_lines(ready: Ready) -> None:
    connection = await connect(ready.url, Role.WRITER)
    try:
        await insert(connection, 101, "x", terminal=True)
        found = await connection.fetch(
            "SELECT seq, same FROM kubewitness.compare('w', $1, $2) ORDER BY seq",
            [100, 101, 102],
            [sha256(b"line %d" % n).digest() for n in (100, 101, 102)],
        )
        assert [tuple(row) for row in found] == [(101, True)]
        found = await connection.fetch(
            "SELECT seq, same FROM kubewitness.compare('w', ARRAY[101::bigint], ARRAY[''::bytea])"
        )
        assert [tuple(row) for row in found] == [(101, False)]
        assert await connection.fetch("SELECT * FROM kubewitness.compare('w', '{}', '{}')") == []
        positions = dict(await connection.fetch("SELECT writer, seq FROM kubewitness.positions()"))
        assert positions == {"w": 101}
    finally:
        await connection.close()
