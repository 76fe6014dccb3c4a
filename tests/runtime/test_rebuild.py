"""The index made anew from the journals holds what they hold, or says what it does not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.audit.index.postgres import PostgresIndex
from proxy.audit.index.query import Filter
from proxy.audit.index.shipping import Shipper
from proxy.audit.index.sqlite import SqliteIndex
from proxy.audit.journal.writer import JournalWriter
from proxy.clock import SystemClock
from proxy.data_dir import DataDir
from proxy.metrics import Metrics
from proxy.runtime.comparing import What
from proxy.runtime.rebuild import fill_and_compare, rebuild_sqlite
from proxy.tasks import cancel, spawn
from tests.audit.index.postgresql.databases import Ready, forge, forged_row, ready_database
from tests.audit.journal.test_archive import WRITER, segment
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


ALTERED = "UPDATE kubewitness.events SET line = 'forged' WHERE seq = 7;"
BESIDE = "UPDATE kubewitness.events SET username = 'nobody', code = 418 WHERE seq = 9;"
MOVED = "UPDATE kubewitness.events SET at = at + 86400000000 WHERE seq = 11;"
REMOVED = "DELETE FROM kubewitness.events WHERE seq IN (3, 13);"
LATER = forged_row("seq = 1000")
EARLIER = forged_row("seq = 0") + forged_row("seq = -5")
TWICE = forged_row("at = at + 1, line = 'forged'") + forged_row("at = at - 1")
INVENTED = (
    forged_row("writer = 'nobody'")
    + forged_row("writer = 'nobody', seq = 12")
    + forged_row("writer = ''")
)
NOBODY = [("", 1, None), ("nobody", 2, None)]
ATTACKS: dict[str, tuple[str, int, list[tuple[str, int, list[str]]]]] = {
    "altered": (ALTERED, 41, [("different", 7, ["line"])]),
    "altered beside the line": (BESIDE, 41, [("different", 9, ["username", "code"])]),
    "moved to another day": (MOVED, 41, [("different", 11, ["at"])]),
    "removed": (REMOVED, 42, [("restored", 3, []), ("restored", 13, [])]),
    "added later": (LATER, 42, [("unknown", 1000, [])]),
    "added before the first": (EARLIER, 42, [("unknown", -5, []), ("unknown", 0, [])]),
    "added under a sequence that is taken": (
        TWICE,
        42,
        [("unknown", 7, []), ("unknown", 7, [])],
    ),
    "all at once": (
        LATER + EARLIER + TWICE + INVENTED + ALTERED + BESIDE + MOVED + REMOVED,
        39,
        [
            *(("restored", 3, []), ("restored", 13, [])),
            *(("unknown", -5, []), ("unknown", 0, [])),
            *(("unknown", 7, []), ("unknown", 7, []), ("different", 7, ["at", "line"])),
            *(("different", 9, ["username", "code"]), ("different", 11, ["at"])),
            ("unknown", 1000, []),
        ],
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
async def test_every_row_that_is_not_what_the_journal_says_is_named(
    data: DataDir, ready: Ready, name: str
) -> None:
    deed, records, expected = ATTACKS[name]
    index = await PostgresIndex.open(ready.url)
    await fill_and_compare(index, [data.journal / "worker-1"], quiet)
    forge(ready.database, deed)
    compared = await fill_and_compare(index, [data.journal / "worker-1"], quiet)
    found = [(one.what.value, one.seq, list(one.columns)) for one in compared.differences]
    assert (compared.records, found) == (records, expected)
    assert compared.equal == (name == "removed")
    again = await fill_and_compare(index, [data.journal / "worker-1"], quiet)
    left = [one for one in expected if one[0] != "restored"]
    assert [(one.what.value, one.seq, list(one.columns)) for one in again.differences] == left
    assert compared.wrong == again.wrong == len(left)
    await index.close()


async def test_whose_journal_is_not_here_is_told_and_nothing_more(
    data: DataDir, ready: Ready
) -> None:
    index = await PostgresIndex.open(ready.url)
    await fill_and_compare(index, [data.journal], quiet)
    forge(ready.database, INVENTED)
    compared = await fill_and_compare(index, [data.journal], quiet)
    assert (compared.equal, compared.differences, compared.records) == (True, [], 252)
    assert compared.unaccounted == NOBODY
    assert (compared.unaccounted_writers, compared.unaccounted_records) == (2, 3)
    one = await fill_and_compare(index, [data.journal / "worker-1"], quiet)
    assert (one.equal, one.records, len(one.unaccounted)) == (True, 42, 3)
    assert one.unaccounted_records == 210 + 3
    await index.close()


async def test_what_is_before_the_journals_here_is_told_and_nothing_more(
    tmp_path: Path, ready: Ready
) -> None:
    for number in range(3):
        segment(tmp_path / "journal", number + 1, 1 + 10 * number, 10)
    index = await PostgresIndex.open(ready.url)
    await fill_and_compare(index, [tmp_path / "journal"], quiet)
    (tmp_path / "journal" / "000001-000001.jsonl").rename(tmp_path / "000001-000001.jsonl")
    compared = await fill_and_compare(index, [tmp_path / "journal"], quiet)
    assert (compared.equal, compared.records) == (True, 20)
    assert compared.unaccounted == [(WRITER, 10, 11)]
    whole = await fill_and_compare(index, [tmp_path], quiet)
    assert (whole.records, whole.unaccounted) == (30, [])
    await index.close()


async def test_records_that_no_journal_has_are_named(data: DataDir, ready: Ready) -> None:
    index = await PostgresIndex.open(ready.url)
    await fill_and_compare(index, [data.journal / "worker-1"], quiet)
    (last,) = sorted((data.journal / "worker-1").glob("*.jsonl"))
    last.write_bytes(last.read_bytes()[:4000])
    compared = await fill_and_compare(index, [data.journal / "worker-1"], quiet)
    assert not compared.equal
    assert compared.records + compared.counts[What.UNKNOWN] == 42
    assert [one.seq for one in compared.differences] == list(range(compared.records + 1, 43))
    await index.close()


async def test_nothing_differs_while_records_are_written_and_shipped(
    data: DataDir, ready: Ready
) -> None:
    index = await PostgresIndex.open(ready.url)
    shipped = await PostgresIndex.open(ready.url)
    shipper = Shipper(data.journal, shipped, clock=SystemClock(), metrics=Metrics())
    journal = await JournalWriter.open(data.path, "worker-2", settings())

    async def serve() -> None:
        while True:
            await journal.append(intent(a_call()))
            shipper.wake()

    tasks = [spawn(serve(), name="calls"), spawn(shipper.run(), name="shipper")]
    found = [await fill_and_compare(index, [data.journal], quiet) for _ in range(2)]
    assert [(one.equal, one.differences, one.unaccounted) for one in found] == [(True, [], [])] * 2
    assert 252 <= found[0].records < found[1].records
    for task in tasks:
        assert not task.done()
        await cancel(task)
    await journal.close()
    for one in (index, shipped):
        await one.close()
