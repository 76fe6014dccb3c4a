"""The index made anew from the journals holds what they hold, or says what it does not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.audit.index.postgres import PostgresIndex
from proxy.audit.index.query import Filter
from proxy.audit.index.sqlite import SqliteIndex
from proxy.audit.journal.writer import JournalWriter
from proxy.data_dir import DataDir
from proxy.errors import KubewitnessError
from proxy.runtime.rebuild import Compared, fill_and_compare, rebuild_sqlite
from tests.audit.index.postgresql.databases import Ready, ready_database
from tests.audit.journals import a_call, intent, outcome, settings
from tests.postgres import Postgres

ALL = Filter(include_noise=True)


async def record(data_dir: Path, calls: int, slot: str = "main") -> None:
    journal = await JournalWriter.open(data_dir, slot, settings())
    for _ in range(calls):
        call = a_call()
        journal.post(intent(call))
        await journal.append(outcome(call))
    await journal.close()


@pytest.fixture
async def data(tmp_path: Path) -> DataDir:
    """Two journals of several epochs, some of several segments."""
    found = DataDir(tmp_path / "data")
    found.create()
    for calls in (100, 3):
        await record(found.path, calls)
    await record(found.path, 20, "worker-1")
    return found


@pytest.fixture
def ready(postgres: Postgres) -> Iterator[Ready]:
    with ready_database(postgres) as ready:
        yield ready


def quiet(step: str, done: int, total: int) -> None:
    assert done >= 0, (step, total)


async def test_an_embedded_index_is_replaced_when_it_is_equal(data: DataDir) -> None:
    data.index_database.write_bytes(b"this was an index once")
    told: list[tuple[str, int, int]] = []
    compared = await rebuild_sqlite(data, lambda *step: told.append(step))
    assert compared.equal
    assert compared.records == 2 * 123 + 2 * 3
    filled = [step for step in told if step[0] == "filled"]
    assert filled[-1][1] == filled[-1][2] > 0, "the bar ends full"
    index = await SqliteIndex.open(data.index_database)
    assert await index.count(ALL) == 123 + 2 * 3, "one for each call, and what is no call"
    await index.close()
    assert not list(data.path.glob("index.new*"))


async def test_what_postgresql_lacks_is_added(data: DataDir, ready: Ready) -> None:
    index = await PostgresIndex.open(ready.url)
    first = await fill_and_compare(index, [data.journal / "worker-1"], quiet)
    assert (first.equal, first.records) == (True, 42)
    both = await fill_and_compare(index, [data.journal], quiet)
    assert (both.equal, both.records) == (True, 252)
    again = await fill_and_compare(index, [data.journal], quiet)
    assert again == both
    await index.close()


OPEN = "SET session_replication_role = replica;ALTER TABLE kubewitness.events DISABLE TRIGGER ALL;"


@pytest.mark.parametrize(
    ("deed", "expected"),
    [
        ("DELETE FROM kubewitness.events WHERE seq = 7", Compared(records=42)),
        ("UPDATE kubewitness.events SET line = 'forged' WHERE seq = 7", "seq 7"),
        # What filters look at, beside a line that is as it was.
        ("UPDATE kubewitness.events SET username = 'nobody' WHERE seq = 7", 7),
    ],
    ids=["deleted", "altered", "altered beside the line"],
)
async def test_what_an_administrator_did_shows(
    data: DataDir, ready: Ready, deed: str, expected: Compared | str | int
) -> None:
    index = await PostgresIndex.open(ready.url)
    await fill_and_compare(index, [data.journal / "worker-1"], quiet)
    names = ready.database.exec(
        "SELECT string_agg(format('ALTER TABLE kubewitness.%I DISABLE TRIGGER ALL', c.relname), ';')"
        " FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = 'kubewitness.events'::regclass"
    )
    ready.database.exec(f"{OPEN} {names}; {deed}")
    if isinstance(expected, Compared):
        assert await fill_and_compare(index, [data.journal / "worker-1"], quiet) == expected
    elif isinstance(expected, int):
        compared = await fill_and_compare(index, [data.journal / "worker-1"], quiet)
        assert [seq for _, seq in compared.different] == [expected]
    else:
        with pytest.raises(KubewitnessError, match=expected):
            await fill_and_compare(index, [data.journal / "worker-1"], quiet)
    await index.close()


async def test_records_that_no_journal_has_are_named(data: DataDir, ready: Ready) -> None:
    index = await PostgresIndex.open(ready.url)
    await fill_and_compare(index, [data.journal / "worker-1"], quiet)
    (last,) = sorted((data.journal / "worker-1").glob("*.jsonl"))
    last.write_bytes(last.read_bytes()[:4000])
    compared = await fill_and_compare(index, [data.journal / "worker-1"], quiet)
    assert not compared.equal
    assert compared.records + len(compared.unknown) == 42
    await index.close()
