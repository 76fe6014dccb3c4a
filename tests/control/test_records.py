"""No route, no grant and no right can delete or change a record.

Three walks: over the OpenAPI document and the permissions, over the catalogues of both databases, and
over a control plane whose every route was used by somebody who may do everything.
"""

import asyncio
import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.control import openapi
from proxy.control.entry.permissions import REQUIRED
from proxy.control.routes import ROUTES
from proxy.runtime.database import upgrade
from proxy.state import tables
from proxy.state.permission import Permission
from tests.control.organization import found
from tests.control.plane import Plane, raw
from tests.control.test_narrowing import bodies, path_of
from tests.postgres import Database

DOCUMENT = openapi.document(ROUTES)
OF_RECORDS = ("audit", "sessions")
KEPT = {"credentials", "users", "grants", "tokens", "retentions", "retention_approvals", "legal_holds", "legal_hold_releases"}  # fmt: skip
"""Tables of the state that say what was: rows of theirs may be marked, and never go."""
ADDED_TO = {"retentions", "retention_approvals", "legal_holds", "legal_hold_releases"}
"""Of them, those whose rows are never changed either."""


def test_the_document_has_no_way_to_change_what_is_recorded() -> None:
    for path, operations in DOCUMENT["paths"].items():
        noun = path.split("/")[3]
        if noun in OF_RECORDS:
            assert set(operations) == {"get"}, path
        if noun in ("retentions", "legal-holds"):
            assert set(operations) <= {"get", "post"}, path
        for method in operations:
            assert method in {"get", "post", "put", "patch", "delete"}


def test_no_permission_is_about_changing_a_record() -> None:
    verbs = {word.value.split(".")[1] for word in Permission if word.value.startswith(("audit.", "session."))}  # fmt: skip
    assert verbs == {"look", "export", "system"}
    changing = {key for key, needed in REQUIRED.items() if needed.value.startswith("audit.")}
    assert {method for method, _ in changing} == {"GET"}


@pytest.fixture
def upgraded(database: Database) -> Database:
    database.exec("DO $$ BEGIN CREATE ROLE kw_records LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")  # fmt: skip
    asyncio.run(upgrade(database.url, ("kw_records",), lambda _: None))
    return database


def rights(database: Database, right: str) -> set[tuple[str, str]]:
    """(role, table) wherever a role that a proxy can act as has a right, granted on a column, too."""
    told = database.exec(
        f"""
        SELECT r.rolname || ' ' || c.relname FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname LIKE 'kubewitness%'
        CROSS JOIN pg_roles r
        WHERE c.relkind IN ('r', 'p', 'v', 'm') AND r.rolname IN ('kubewitness_writer',
          'kubewitness_reader', 'kubewitness_state', 'kw_records')
        AND (has_table_privilege(r.oid, c.oid, '{right}')
          OR ('{right}' = 'UPDATE' AND has_any_column_privilege(r.oid, c.oid, 'UPDATE')))
        """
    )
    return {
        (role, table) for role, table in (line.split(" ", 1) for line in told.splitlines() if line)
    }


def test_in_postgresql_no_right_reaches_a_record(upgraded: Database) -> None:
    known = set(
        upgraded.exec(
            "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = 'kubewitness' AND c.relkind IN ('r', 'p')"
        ).split()
    )
    records = {name for name in known if re.fullmatch(r"events(_.+)?", name)}
    assert "events" in records
    assert known >= KEPT
    for right in ("DELETE", "TRUNCATE"):
        held = rights(upgraded, right)
        assert not {item for item in held if item[1] in records | KEPT}, right
    changed = {item for item in rights(upgraded, "UPDATE") if item[1] in records | ADDED_TO}
    assert changed == set()
    owners = set(
        upgraded.exec(
            "SELECT DISTINCT pg_get_userbyid(c.relowner) FROM pg_class c JOIN pg_namespace n"
            " ON n.oid = c.relnamespace WHERE n.nspname = 'kubewitness' AND c.relkind IN ('r', 'p')"
        ).split()
    )
    assert owners == {"kubewitness_owner"}
    members = upgraded.exec(
        "SELECT count(*) FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid"
        " JOIN pg_roles w ON w.oid = m.member WHERE r.rolname = 'kubewitness_owner'"
        " AND w.rolname = 'kw_records'"
    )
    assert members.strip() == "0"


def lines(plane: Plane) -> list[bytes]:
    """Every line of the journal, in its order."""
    files = sorted(Path(plane.data.journal).glob("*/*.jsonl"))
    return [line for file in files for line in file.read_bytes().split(b"\n") if line.strip(b"\0 ")]


def rows(path: Path) -> dict[tuple[str, int], bytes]:
    """The index's copy of each line."""
    with sqlite3.connect(path) as connection:
        found = connection.execute("SELECT writer, seq, line FROM events").fetchall()
    return {(writer, seq): line for writer, seq, line in found}


@pytest.fixture
def used(plane: Plane) -> Iterator[tuple[Plane, list[bytes], dict[tuple[str, int], bytes]]]:
    """A control plane with something on record, and what that is."""
    ids = found(plane)
    plane.call()
    plane.client().get("/audit/calls")
    yield plane, lines(plane), rows(plane.data.index_database)
    del ids


def test_whoever_may_do_everything_changes_no_record(
    used: tuple[Plane, list[bytes], dict[tuple[str, int], bytes]],
) -> None:
    plane, before, indexed = used
    assert before
    assert indexed
    client = plane.client()
    ids = {
        "grant": client.get("/grants", {"user": "banker"})["items"][0]["id"],
        "token": client.get("/tokens")["items"][0]["id"],
        "serial": client.get("/credentials", {"user": "banker"})["items"][0]["serial"],
    }
    statuses = {}
    for route in sorted(ROUTES, key=lambda route: route.method == "DELETE"):
        if route.operation == "tailCalls":  # it has no end
            continue
        body = None
        if route.body is not None:
            body = json.dumps(bodies()[route.operation]).encode()
        path = path_of(route.operation, route.path, ids)
        statuses[route.operation] = raw(plane, route.method, path, body)[0]
    assert not {name for name, status in statuses.items() if status >= 500}, statuses
    assert sum(status < 300 for status in statuses.values()) > len(statuses) / 2, statuses
    after = lines(plane)
    assert after[: len(before)] == before
    client.get("/audit/calls")
    now = rows(plane.data.index_database)
    assert {key: now[key] for key in indexed} == indexed


def test_what_was_issued_and_granted_stays_known_in_sqlite_too(plane: Plane) -> None:
    found(plane)
    client = plane.client()
    path = plane.data.path / "state.db"

    def counts() -> dict[str, int]:
        with sqlite3.connect(path) as connection:
            return {
                name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
                for name in sorted(KEPT)
            }

    before = counts()
    assert set(tables.metadata.tables) >= KEPT
    for name in ("banker", "teller", "seller"):
        client.delete(f"/users/{name}")
    client.delete("/clusters/vault")
    assert counts() == before
