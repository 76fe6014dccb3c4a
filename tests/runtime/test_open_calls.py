"""Which calls are open is listed as the records say, whatever somebody made of the list."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from proxy.audit.index.postgres import PostgresIndex
from proxy.audit.index.query import Filter
from proxy.audit.index.rows import Row
from proxy.audit.journal.writer import JournalWriter
from proxy.runtime.rebuild import fill_and_compare
from tests.audit.index.postgresql.databases import Ready, forge, ready_database
from tests.audit.journals import a_call, intent, outcome, settings
from tests.postgres import Postgres

ALL = Filter(include_noise=True)


@pytest.fixture
def ready(postgres: Postgres) -> Iterator[Ready]:
    with ready_database(postgres) as ready:
        yield ready


@pytest.fixture
async def index(ready: Ready, tmp_path: Path) -> AsyncIterator[PostgresIndex]:
    """Of a journal with ten calls that ended, and three that are open."""
    journal = await JournalWriter.open(tmp_path, "main", settings())
    for number in range(13):
        call = a_call()
        await journal.append(intent(call))
        if number < 10:
            await journal.append(outcome(call))
    await journal.close()
    index = await PostgresIndex.open(ready.url)
    compared = await fill_and_compare(index, [tmp_path], quiet)
    assert (compared.equal, compared.calls_put_right) == (True, 0)
    yield index
    await index.close()


def quiet(step: str, done: int, total: int) -> None:
    assert done >= 0, (step, total)


async def shown(index: PostgresIndex) -> list[Row]:
    return (await index.search(ALL, limit=1000)).rows


ENDED = "FROM kubewitness.events WHERE kind = 'Event' AND NOT terminal ORDER BY seq LIMIT 1"
DEEDS = {
    "emptied": ("DELETE FROM kubewitness.open_calls", 3),
    "one less": (
        "DELETE FROM kubewitness.open_calls WHERE seq = (SELECT min(seq) FROM kubewitness.open_calls)",
        1,
    ),
    "one more": (
        f"INSERT INTO kubewitness.open_calls SELECT audit_id, writer, seq, at {ENDED}",
        1,
    ),
    # It is added again, and opens nothing.
    "an intent taken away": (
        f"DELETE FROM kubewitness.events WHERE seq = (SELECT seq {ENDED})",
        1,
    ),
    "of a call that never was": (
        "INSERT INTO kubewitness.open_calls VALUES ('nothing', 'nobody', 1, 1)",
        0,
    ),
}


@pytest.mark.parametrize("name", DEEDS)
async def test_the_list_is_put_right(
    index: PostgresIndex, ready: Ready, tmp_path: Path, name: str
) -> None:
    deed, wrong = DEEDS[name]
    before = await shown(index)
    assert len({row.audit_id for row in before if not row.terminal}) == 3
    forge(ready.database, deed)
    compared = await fill_and_compare(index, [tmp_path], quiet)
    assert (compared.calls_put_right, compared.calls_left, compared.equal) == (wrong, [], True)
    assert await shown(index) == before
    assert (await fill_and_compare(index, [tmp_path], quiet)).calls_put_right == 0


async def test_what_cannot_be_put_right_is_named(
    index: PostgresIndex, ready: Ready, tmp_path: Path
) -> None:
    before = await shown(index)
    ready.database.exec("UPDATE kubewitness.open_calls SET seq = 1000000, at = 0")
    assert await shown(index) != before
    compared = await fill_and_compare(index, [tmp_path], quiet)
    assert (compared.equal, compared.wrong, compared.calls_put_right) == (False, 0, 0)
    assert set(compared.calls_left) == {row.audit_id for row in before if not row.terminal}
