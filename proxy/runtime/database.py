"""What `kubewitness db` does: set PostgreSQL up, and say how it stands."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from proxy.audit.acts import PROXY, Actor, Acts
from proxy.audit.index.postgres import PostgresIndex
from proxy.audit.index.postgresql import attestation
from proxy.audit.index.postgresql.connecting import connect, translated
from proxy.audit.index.postgresql.ddl import SCHEMA_VERSION
from proxy.audit.index.postgresql.identity import Identity, KnownServer
from proxy.audit.index.postgresql.upgrade import upgrading
from proxy.clock import Clock, SystemClock
from proxy.errors import KubewitnessError, UnavailableError
from proxy.runtime.noted import UPGRADE, DatabaseNotes
from proxy.settings import database_place
from proxy.state import database as state
from proxy.state.migrations import HEAD
from proxy.state.roles import SCHEMA, VIEWS, Role

ACCEPT: Final = "database.accept"
_LOCKS: Final = 4
"""That a statement about all records takes on each partition: its own, and those of its indexes."""
_AT_ONCE: Final = 5
"""Such transactions of one process: a page of the log in each of four readers, and shipping."""
_HOLDERS: Final = 2
"""Who may hold each lock: PostgreSQL makes room for so many on average (its lock.c)."""


async def upgrade(
    url: str,
    logins: Sequence[str],
    say: Callable[[str], None],
    *,
    actor: Actor = PROXY,
    clock: Clock | None = None,
) -> None:
    """Make or update roles, schema, state tables and rights as the administrator of `url`.

    Who did it is noted there, and put on record by the next server that starts. Raises SettingsError
    when the administrator lacks a right, UnavailableError when the server does not answer.
    """
    clock = clock or SystemClock()
    acts = Acts(DatabaseNotes(url, clock).write, clock, actor)
    detail = {"logins": list(logins)} if logins else {}
    async with acts.act(UPGRADE, database_place(url), detail) as told:
        async with upgrading(url, logins, say):
            engine = state.connect(url, admin=True)
            try:
                changed = await state.migrate(engine)
            finally:
                await engine.dispose()
            say("state tables brought up to date" if changed else "state tables are up to date")
        told.update(stateSchema=HEAD, changed=changed, indexSchema=SCHEMA_VERSION)


@dataclass(frozen=True)
class Writer:
    """One writer's records in the index."""

    writer: str
    last: int
    """Its last sequence."""
    records: int | None
    """How many there are; None when they were not counted."""
    removed: int
    """How many a retention removed."""

    @property
    def gap(self) -> int | None:
        """How many are missing without an explanation."""
        return None if self.records is None else self.last - self.records - self.removed


@dataclass(frozen=True)
class DatabaseStatus:
    """How the database stands."""

    problem: str
    """Why it counts as down; empty when it does not."""
    server: str
    schema: int | None
    partitions: int
    first: str
    last: str
    estimate: int
    """Records, as the planner's statistics have it."""
    locks: int
    """How many PostgreSQL has room for."""
    writers: tuple[Writer, ...]

    @property
    def processes(self) -> int:
        """Of how many processes of `serve` the locks fit, with searches at their busiest."""
        return self.locks * _HOLDERS // (_LOCKS * _AT_ONCE * max(self.partitions, 1))


async def status(url: str, *, count: bool, known: KnownServer | None = None) -> DatabaseStatus:
    """Look at everything `serve` depends on; with `count` every record is counted.

    A server that is another than the `known` one is a problem.

    Raises UnavailableError when the server does not answer, SettingsError when the schema is not
    there.
    """
    connection = await connect(url, Role.WRITER)
    try:
        with translated(hint=""):
            facts = await attestation.look(connection)
            problem = ""
            try:
                attestation.attest(facts, await known.get() if known is not None else None)
            except KubewitnessError as error:
                problem = str(error)
            names = sorted(
                table.name for table in facts.tables if table.name.startswith("events_d")
            )
            estimate = await connection.fetchval(_ESTIMATE)
            locks = await connection.fetchval(_ROOM)
            positions = await connection.fetch(f"SELECT writer, seq FROM {SCHEMA}.positions()")
    finally:
        await connection.close()
    return DatabaseStatus(
        problem,
        f"PostgreSQL {facts.version}, system {facts.identifier}, timeline {facts.timeline}",
        facts.schema,
        max(len(facts.tables) - 1, 0),
        names[0] if names else "",
        names[-1] if names else "",
        max(int(estimate), 0),
        int(locks),
        await _writers(url, [tuple(row) for row in positions], count=count),
    )


async def _writers(
    url: str, positions: list[tuple[Any, ...]], *, count: bool
) -> tuple[Writer, ...]:
    reader = await connect(url, Role.READER)
    try:
        with translated(hint=""):
            removed = dict(await reader.fetch(_REMOVED))
            # A gap shows without reading a row: sequences are dense, so counting them is enough.
            counted = {}
            if count:
                await reader.execute("SET statement_timeout = 0")
                counted = dict(await reader.fetch(_COUNT))
    finally:
        await reader.close()
    return tuple(
        Writer(writer, seq, counted.get(writer, 0) if count else None, int(removed.get(writer, 0)))
        for writer, seq in sorted(positions)
    )


_ESTIMATE = (
    "SELECT coalesce(sum(c.reltuples), 0)::bigint FROM pg_class c JOIN pg_inherits i"
    f" ON i.inhrelid = c.oid WHERE i.inhparent = '{SCHEMA}.events'::regclass AND c.reltuples > 0"
)
# As the settings' own description has it (postgresql.org/docs/current/runtime-config-locks.html).
_ROOM = (
    "SELECT current_setting('max_locks_per_transaction')::bigint"
    " * (current_setting('max_connections')::bigint"
    " + current_setting('max_prepared_transactions')::bigint)"
)
_REMOVED = f"SELECT writer, sum(records)::bigint FROM {VIEWS}.removed GROUP BY writer"
_COUNT = f"SELECT writer, count(*) FROM {VIEWS}.events GROUP BY writer"


async def accept_server(
    url: str, known: KnownServer, acts: Acts
) -> tuple[Identity | None, Identity]:
    """Take the server that `url` leads to now for ours; which it was before, and which it is.

    Raises what `PostgresIndex.attest` does about a server that does not keep records as it must,
    and UnavailableError when it cannot be put on record with `acts`.
    """
    before: Identity | None = None
    with contextlib.suppress(UnavailableError):  # a damaged file is replaced, too
        before = await known.get()
    was = {"before": named(before)} if before is not None else {}
    async with acts.act(ACCEPT, database_place(url), was) as told:
        connection = await connect(url, Role.WRITER)
        try:
            with translated(hint=""):
                found = attestation.attest(await attestation.look(connection), None)
        finally:
            await connection.close()
        told["after"] = named(found)
        await known.accept(found)
    return before, found


def named(server: Identity) -> str:
    """A server as people compare it with another."""
    return f"system {server.identifier}, timeline {server.timeline}"


async def open_index(url: str, known: KnownServer | None = None) -> PostgresIndex:
    """The index at `url`, attested. Raises as `PostgresIndex.attest` does."""
    index = await PostgresIndex.open(url, known)
    try:
        await index.attest()
    except BaseException:
        await index.close()
        raise
    return index
