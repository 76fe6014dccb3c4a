"""Databases set up as `kubewitness db upgrade` does it, with a login as `serve` has one."""

import asyncio
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from proxy.audit.index.postgres import PostgresIndex
from proxy.audit.index.rows import Row, row
from proxy.audit.index.store import Position
from proxy.runtime.database import upgrade
from tests.audit.some_rows import framed, some_lines
from tests.postgres import Database, Postgres, temporary_database

PASSWORD = "pass/word"


@dataclass(frozen=True)
class Ready:
    """A database that `serve` could use."""

    database: Database
    login: str

    @property
    def url(self) -> str:
        """Its URL for the login of `serve`."""
        return self.database.login(self.login, PASSWORD)


@contextmanager
def ready_database(server: Postgres) -> Iterator[Ready]:
    """A database after `db upgrade --login`, and a login of its own; both go."""
    login = f"serve_{secrets.token_hex(4)}"
    with temporary_database(server) as database:
        database.exec(f"CREATE ROLE {login} LOGIN PASSWORD '{PASSWORD}'")
        try:
            asyncio.run(upgrade(database.url, [login], lambda _: None))
            yield Ready(database, login)
        finally:
            if server.running:
                server.exec(f'DROP DATABASE "{database.name}" WITH (FORCE); DROP ROLE {login}')


def some_rows(calls: int = 60, writer: str = "w-0", seed: int = 7) -> list[Row]:
    """Rows of random calls of one writer, dense from 1."""
    return [row(writer, seq, line) for seq, line in enumerate(framed(some_lines(seed, calls)), 1)]


async def fill(index: PostgresIndex, rows: Sequence[Row]) -> None:
    """Insert rows of one writer as one step."""
    await index.insert(rows, rows[0].writer, Position("", 0, rows[-1].seq))


def forge(database: Database, deed: str) -> None:
    """Run `deed` as somebody who has the rights of the owner, and takes the guards away meanwhile."""
    database.exec(f"{_guards('DISABLE')} {deed}; {_guards('ENABLE ALWAYS')}")


def forged_row(changes: str) -> str:
    """The deed of adding a row that is as one of sequence 7, but for the changes."""
    return (
        "CREATE TEMPORARY TABLE one AS"
        " SELECT * FROM kubewitness.events WHERE seq = 7 ORDER BY at LIMIT 1;"
        f"UPDATE one SET {changes}; INSERT INTO kubewitness.events SELECT * FROM one;"
        "DROP TABLE one;"
    )


def _guards(how: str) -> str:
    names = " ".join(
        f"EXECUTE format('ALTER TABLE %s {how} TRIGGER {name}', guarded);"
        for name in ("kubewitness_guard", "kubewitness_row")
    )
    return (
        "DO $$ DECLARE guarded regclass; BEGIN"
        " FOR guarded IN SELECT 'kubewitness.events'::regclass UNION ALL SELECT inhrelid::regclass"
        " FROM pg_inherits WHERE inhparent = 'kubewitness.events'::regclass"
        f" LOOP {names} END LOOP; END $$;"
    )
