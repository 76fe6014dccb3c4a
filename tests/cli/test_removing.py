"""Old records leave the index of a real PostgreSQL, or do not: each rule holds in the database."""

import datetime as dt
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from proxy.audit.index.postgres import PostgresIndex
from proxy.audit.index.postgresql.removal import partitions_before, remove
from proxy.audit.index.postgresql.upgrade import acting_as_owner, upgrading
from proxy.audit.index.query import Filter
from proxy.audit.index.retention import MissingRecordError
from proxy.audit.index.rows import micros, row
from proxy.audit.index.store import Position
from proxy.audit.journal.archive import Archive
from proxy.cli.removing import Removing
from proxy.clock import rfc3339
from proxy.errors import ConflictError
from proxy.runtime.rebuild import fill_and_compare
from proxy.state import database as state
from tests.audit.journal.test_archive import WRITER
from tests.audit.journal.test_archive import segment as archived
from tests.postgres import Database

DAY = 86_400
TODAY = int(dt.datetime.now(dt.UTC).timestamp()) // DAY * DAY
OLD = 300
"""Days; the records of the test are so old, a day apart."""


class Recorder:
    """What the control plane would be told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []

    def post(self, path: str, body: Mapping[str, Any]) -> None:
        self.told.append((path.rsplit("/", 1)[1], dict(body)))


def body(seq: int) -> bytes:
    at = rfc3339(TODAY - (OLD - seq) * DAY)
    return b'"kind":"SystemEvent","auditID":"e-%d","stageTimestamp":"%b"' % (seq, at.encode())


@pytest.fixture
async def index(database: Database, tmp_path: Path) -> AsyncIterator[PostgresIndex]:
    """Five records, each of another day, in the index and in the archive."""
    async with upgrading(database.url, [], lambda _: None):
        engine = state.connect(database.url, admin=True)
        await state.migrate(engine)
        await engine.dispose()
    archived(tmp_path / "archive", 1, 1, 5, body=body)
    rows = [row(WRITER, seq, line) for seq, line in Archive([tmp_path]).lines(WRITER)]
    index = await PostgresIndex.open(database.url)
    await index.insert(rows, WRITER, Position("", 0, 5))
    yield index
    await index.close()


def permit(database: Database, *approvers: str, days: int = OLD - 3) -> dict[str, Any]:
    before = (TODAY - days * DAY) * 1_000_000
    database.exec(f"INSERT INTO kubewitness.retentions VALUES ('r1', {before}, 'policy', 'ann', 0)")
    for name in approvers:
        database.exec(f"INSERT INTO kubewitness.retention_approvals VALUES ('r1', '{name}', 0)")
    return {"id": "r1", "before": rfc3339(before / 1_000_000)}


async def left(index: PostgresIndex) -> int:
    return await index.count(Filter(include_noise=True))


async def test_what_is_approved_leaves_and_explains_its_gap(
    index: PostgresIndex, database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = Recorder()
    retention = permit(database, "ann", "bob")
    await Removing(recorder, retention, [tmp_path], dry_run=True).run(database.url)
    assert (await left(index), recorder.told) == (5, [])
    await Removing(recorder, retention, [tmp_path], dry_run=False).run(database.url)
    assert await left(index) == 3
    (began, said), (ended, outcome) = recorder.told
    assert (began, ended) == ("begin", "end")
    assert said["partitions"] == outcome["partitions"]
    assert (outcome["records"], outcome["problem"]) == (2, "")
    async with acting_as_owner(database.url) as connection:
        gone = await connection.fetch("SELECT writer, first_seq, last_seq FROM kubewitness.removed")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("DELETE FROM kubewitness.removed")
    assert {tuple(item) for item in gone} <= {(WRITER, 1, 1), (WRITER, 2, 2), (WRITER, 1, 2)}
    compared = await fill_and_compare(index, [tmp_path], lambda *_: None)
    assert (compared.equal, compared.records) == (True, 3), "what was removed stays away"
    assert await left(index) == 3
    await Removing(recorder, retention, [tmp_path], dry_run=False).run(database.url)
    assert "Removed 2 records" in capsys.readouterr().out


async def test_a_writer_of_whom_nothing_is_left_is_not_shipped_again(
    index: PostgresIndex, database: Database, tmp_path: Path
) -> None:
    retention = permit(database, "ann", "bob", days=OLD - 6)
    await Removing(Recorder(), retention, [tmp_path], dry_run=False).run(database.url)
    assert (await left(index), (await index.positions())[WRITER].seq) == (0, 5)


async def test_days_get_partitions_after_a_removal_as_before(
    index: PostgresIndex, database: Database, tmp_path: Path
) -> None:
    at = rfc3339(dt.datetime(2015, 3, 1, tzinfo=dt.UTC).timestamp()).encode()
    said = b'"kind":"SystemEvent","auditID":"e-6","stageTimestamp":"%b"' % at
    archived(tmp_path / "archive", 2, 6, 1, body=lambda _: said)
    rows = [row(WRITER, seq, line) for seq, line in Archive([tmp_path]).lines(WRITER, 6)]
    await index.insert(rows, WRITER, Position("", 0, 6))
    recorder, retention = Recorder(), permit(database, "ann", "bob")
    await Removing(recorder, retention, [tmp_path], dry_run=False).run(database.url)
    assert recorder.told[0][1]["partitions"][0] == "events_past"
    # The one of the past is made again, and does not stand in the way of days.
    wanted = f"SELECT kubewitness.ensure_partitions(ARRAY[{TODAY // DAY + 20}])"
    assert [database.exec(wanted), database.exec(wanted)] == ["2", "0"]
    await Removing(recorder, retention, [tmp_path], dry_run=False).run(database.url)
    assert len(recorder.told) == 2, "the partition of the past is empty now, and stays"


@pytest.mark.parametrize(
    ("approvers", "days", "hold", "says"),
    [
        (("ann",), OLD - 3, "", "not approved"),
        (("ann", "bob"), OLD - 3, "NULL, NULL", "legal hold h1"),
        (("ann", "bob"), OLD - 3, f"NULL, {(TODAY - (OLD - 1) * DAY) * 1_000_000 + 1}", "hold h1"),
    ],
    ids=["one approver", "held", "held in part"],
)
async def test_the_database_itself_refuses(
    index: PostgresIndex,
    database: Database,
    tmp_path: Path,
    approvers: tuple[str, ...],
    days: int,
    hold: str,
    says: str,
) -> None:
    retention = permit(database, *approvers, days=days)
    if hold:
        database.exec(f"INSERT INTO kubewitness.legal_holds VALUES ('h1', {hold}, 'c', 'ann', 0)")
    before = await left(index)
    with pytest.raises(ConflictError, match=says):
        await Removing(Recorder(), retention, [tmp_path], dry_run=False).run(database.url)
    assert await left(index) == before
    async with acting_as_owner(database.url) as connection:
        partitions = await partitions_before(connection, micros(retention["before"]))
        with pytest.raises(asyncpg.RaiseError, match=says):
            await remove(connection, partitions[0], "r1", 0)


@pytest.mark.parametrize("dry_run", [True, False])
async def test_a_legal_hold_is_noticed_before_the_archive_is_read(
    index: PostgresIndex, database: Database, tmp_path: Path, dry_run: bool
) -> None:
    (tmp_path / "empty").mkdir()
    retention, recorder = permit(database, "ann", "bob"), Recorder()
    database.exec(
        "INSERT INTO kubewitness.legal_holds VALUES ('h1', NULL, NULL, 'case 7', 'ann', 0)"
    )
    removing = Removing(recorder, retention, [tmp_path / "empty"], dry_run=dry_run)
    with pytest.raises(ConflictError, match=r"legal hold h1 \(case 7\); nothing was removed"):
        await removing.run(database.url)
    assert (await left(index), recorder.told) == (5, [])
    database.exec("INSERT INTO kubewitness.legal_hold_releases VALUES ('h1', 'settled', 'ann', 0)")
    with pytest.raises(MissingRecordError):
        await removing.run(database.url)


async def test_the_database_knows_its_own_limit_of_age(
    index: PostgresIndex, database: Database
) -> None:
    permit(database, "ann", "bob", days=-2)
    today = dt.datetime.fromtimestamp(TODAY, dt.UTC).strftime("events_d%Y%m%d")
    async with acting_as_owner(database.url) as connection:
        for partition, says in ((today, "too young"), ("events", "no partition")):
            with pytest.raises(asyncpg.RaiseError, match=says):
                await connection.fetchval(
                    "SELECT kubewitness.remove_partition($1, 'r1')", partition
                )


async def test_what_the_archive_lacks_stays(
    index: PostgresIndex, database: Database, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    recorder = Recorder()
    removing = Removing(
        recorder, permit(database, "ann", "bob"), [tmp_path / "empty"], dry_run=False
    )
    with pytest.raises(MissingRecordError, match="does not have record 1"):
        await removing.run(database.url)
    assert (await left(index), recorder.told) == (5, [])


async def test_serve_s_own_roles_cannot(index: PostgresIndex, database: Database) -> None:
    permit(database, "ann", "bob")
    for role in ("kubewitness_writer", "kubewitness_reader", "kubewitness_state"):
        connection = await asyncpg.connect(database.url)
        try:
            await connection.execute(f"SET ROLE {role}")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetchval(
                    "SELECT kubewitness.remove_partition('events_past', 'r1')"
                )
        finally:
            await connection.close()
