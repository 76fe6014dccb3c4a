"""The index in PostgreSQL: exactly once, whatever happens in between, and never a changed record."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import asyncpg
import pytest

from proxy.audit.index.blocks import BLOCK
from proxy.audit.index.postgres import PostgresIndex
from proxy.audit.index.query import Cursor, Filter
from proxy.audit.index.rows import EVENT, Row
from proxy.audit.index.store import ForeignRecordsError, Position
from proxy.errors import SettingsError, UnavailableError
from tests.audit.index.postgresql.databases import Ready, fill, forge, ready_database, some_rows
from tests.audit.some_rows import shown
from tests.postgres import Postgres, promote

DAY = 86_400_000_000
ALL = Filter(include_noise=True)


@pytest.fixture(scope="module")
def site(postgres: Postgres) -> Iterator[Ready]:
    with ready_database(postgres) as made:
        yield made


@pytest.fixture
async def index(site: Ready) -> AsyncIterator[PostgresIndex]:
    made = await PostgresIndex.open(site.url)
    yield made
    await made.close()


@pytest.fixture
def writer(request: pytest.FixtureRequest) -> str:
    """Tests share a database; each has its own writer."""
    return str(request.node.name)


async def lines(index: PostgresIndex, writer: str) -> list[tuple[int, bytes]]:
    return [(row.seq, row.line) for row in await index.after(writer, 0, 100_000)]


async def test_steps_are_there_once_and_whole(index: PostgresIndex, writer: str) -> None:
    rows = some_rows(writer=writer)
    for first in range(0, len(rows), 40):
        await fill(index, rows[first : first + 40])
    assert await index.after(writer, 0, 100_000) == rows
    assert await index.after(writer, 100, 7) == rows[100:107]
    assert (await index.positions())[writer] == Position("", 0, rows[-1].seq)


async def test_what_is_open_is_known(postgres: Postgres) -> None:
    with_open = ready_database(postgres)
    ready = await asyncio.to_thread(with_open.__enter__)
    index = await PostgresIndex.open(ready.url)
    try:
        rows = some_rows()
        for first in range(0, len(rows), 17):
            await fill(index, rows[first : first + 17])
            # Told twice, as after an answer that was lost: nothing opens again.
            await index.rewind("w-0", 1)
            await fill(index, rows[max(first - 20, 0) : first + 17])
            found = await index.search(ALL, limit=10_000)
            assert found.rows == sorted(shown(rows[: first + 17]), key=Cursor.of, reverse=True)
    finally:
        await index.close()
        await asyncio.to_thread(with_open.__exit__, None, None, None)


async def test_two_processes_tell_the_same(site: Ready, index: PostgresIndex, writer: str) -> None:
    """A worker and its successor may ship one journal for a moment."""
    rows = some_rows(writer=writer)
    others = [index, await PostgresIndex.open(site.url), await PostgresIndex.open(site.url)]
    chance = random.Random(5)

    async def ship(through: PostgresIndex) -> None:
        first = 0
        while first < len(rows):
            step = rows[first : first + chance.randrange(1, 30)]
            await fill(through, step)
            first += len(step)

    await asyncio.gather(*map(ship, others))
    assert await index.after(writer, 0, 100_000) == rows
    for other in others[1:]:
        await other.close()


@pytest.mark.parametrize(
    "change",
    [
        lambda row: row._replace(line=row.line + b" "),
        lambda row: row._replace(line=row.line + b" ", at=row.at + 1),
        lambda row: row._replace(line=row.line + b" ", at=row.at + 40 * DAY),
        lambda row: row._replace(line=b""),
    ],
    ids=["line", "moment", "another partition", "empty"],
)
@pytest.mark.parametrize("again", ["same connection", "new connection"])
async def test_a_different_record_is_refused(
    site: Ready, index: PostgresIndex, writer: str, again: str, change: Callable[[Row], Row]
) -> None:
    rows = some_rows(writer=writer)
    await fill(index, rows)
    through = index if again == "same connection" else await PostgresIndex.open(site.url)
    forged = [*rows[:5], change(rows[5]), *rows[6:]]
    more = rows[-1]._replace(seq=rows[-1].seq + 1)
    with pytest.raises(ForeignRecordsError) as refused:
        await fill(through, [*forged, more])
    assert refused.value.message == f"The index holds other records of writer {writer} from seq 6."
    assert "older copy" in refused.value.hint
    assert await index.after(writer, 0, 100_000) == rows, "and nothing of the step is added"
    if through is not index:
        await through.close()


@pytest.mark.parametrize(
    "at",
    [0, -1, -(10**18), DAY * 18_262 - 1, DAY * 18_262, 4_102_444_800_000_000, 9_000_000_000_000_000]
    + [1_800_000_000_000_000 + years * 365 * DAY for years in (-3, -1, 1, 3)],
)
async def test_clocks_that_are_wrong(index: PostgresIndex, writer: str, at: int) -> None:
    rows = [Row(writer, 1, EVENT, "a", at=at, line=b"{}"), Row(writer, 2, EVENT, "b", at=at + DAY)]
    await fill(index, rows)
    assert await index.after(writer, 0, 10) == rows


async def test_texts_that_fit_no_index(index: PostgresIndex, writer: str) -> None:
    """Whatever a client sends: nothing may stop the records behind it."""
    chance = random.Random(1)

    def text() -> str:
        return "".join(chr(chance.randrange(0x10000, 0x10FFFF)) for _ in range(2048))

    names = [name for name, kind in Row.__annotations__.items() if "str" in str(kind)]
    long: dict[str, Any] = {name: text() for name in names if name not in ("writer", "kind")}
    long["audit_id"] = long["audit_id"][:512]
    rows = [Row(writer, 1, EVENT, **long, line=b"x" * 3_000_000)]
    rows += [Row(writer, BLOCK * n, EVENT, f"id-{n}", line=b"{}") for n in (1, 2, 3)]
    for item in rows:
        await fill(index, [item])
    assert await index.after(writer, 0, 10) == rows
    found = await index.search(Filter(users=(long["username"],), include_noise=True), limit=10)
    assert found.rows == rows[:1]


async def test_a_partition_that_went_away_is_made_again(
    site: Ready, index: PostgresIndex, writer: str
) -> None:
    at = 1_500_000_000_000_000 + 5_000 * DAY
    await fill(index, [Row(writer, 1, EVENT, "a", at=at, line=b"{}")])
    name = site.database.exec(
        f"SELECT tableoid::regclass FROM kubewitness.events WHERE writer = '{writer}'"
    )
    site.database.exec(f"DROP TABLE {name}")
    rows = [Row(writer, 2, EVENT, "b", at=at, line=b"{}")]
    await fill(index, rows)
    assert await index.after(writer, 0, 10) == rows


async def test_a_step_that_is_cut_leaves_nothing_broken(
    site: Ready, index: PostgresIndex, writer: str
) -> None:
    rows = some_rows(calls=100, writer=writer)
    chance = random.Random(2)
    for attempt in range(40):
        step = asyncio.ensure_future(fill(index, rows))
        await asyncio.sleep(chance.random() * 0.03)
        step.cancel()
        await asyncio.wait([step])
        if attempt % 4 == 0:
            site.database.exec(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                f" WHERE usename = '{site.login}'"
            )
    await fill(index, rows)
    assert await index.after(writer, 0, 100_000) == rows
    active = "SELECT count(*) FROM pg_stat_activity WHERE state <> 'idle' AND usename = "
    assert site.database.exec(f"{active}'{site.login}'") == "0"


async def test_commits_are_heard_of(site: Ready, index: PostgresIndex, writer: str) -> None:
    heard: list[tuple[str, int]] = []
    listening = asyncio.ensure_future(
        index.hear(lambda who, seq: heard.append((who, seq)) if who == writer else None)
    )
    rows = some_rows(writer=writer)
    async with asyncio.timeout(10):
        while not heard:  # until it listens
            await fill(index, rows[:1])
            await asyncio.sleep(0.02)
        heard.clear()
        await fill(index, rows[1:])
        while not heard:
            await asyncio.sleep(0.01)
    assert heard[-1] == (writer, rows[-1].seq)
    for lie in ("", "no number", f"{writer} -1", f"{writer} 99999999999999999999", f"{writer} ²"):
        site.database.exec(f"NOTIFY kubewitness_events, '{lie}'")
    site.database.exec(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
        f" AND usename = '{site.login}'"
    )
    with pytest.raises(UnavailableError):
        await asyncio.wait_for(listening, 10)
    assert heard[-1] == (writer, rows[-1].seq)


async def test_partitions_are_made_ahead(site: Ready, index: PostgresIndex) -> None:
    last = "SELECT max(relname) FROM pg_class WHERE relname LIKE 'events_d2%' AND relkind = 'r'"
    name = site.database.exec(
        "SELECT to_char(now() AT TIME ZONE 'UTC' + interval '7 days', '\"events_d\"YYYYMMDD')"
    )
    site.database.exec(f"DROP TABLE kubewitness.{name}")
    await index.attest()
    assert site.database.exec(f"{last} AND relname <= '{name}'") == name


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite:///x", "not a postgresql"),
        ("postgresql://127.0.0.1:1/x?sslmode=disable", "127.0.0.1:1 cannot be reached: Con"),
        ("postgresql://nobody:hidden@{host}/{db}", "refuses the login"),
        ("postgresql://{login}:hidden@{host}/{db}", "refuses the login"),
        ("postgresql://{login}:pass%2Fword@{host}/absent", "refuses the login"),
        (
            "postgresql://{login}:pass%2Fword@{host}/{db}?sslmode=verify-full&sslrootcert=/absent",
            "",
        ),
        ("postgresql://{login}:pass%2Fword@{host}/{db}?sslmode=require", ""),
        ("postgresql://{login}:pass%2Fword@{host}/{db}?sslmode=hidden", "must be one of: disable"),
    ],
)
async def test_urls_that_lead_nowhere(site: Ready, url: str, says: str) -> None:
    server = site.database.server
    index = await PostgresIndex.open(
        url.format(host=f"{server.host}:{server.port}", db=site.database.name, login=site.login)
        if url.startswith("postgresql")
        else url
    )
    for call in (index.positions, index.attest, lambda: index.search(ALL)):
        with pytest.raises((UnavailableError, SettingsError)) as refused:
            await call()
        assert says in str(refused.value)
        assert "hidden" not in str(refused.value)
        assert "word@" not in str(refused.value)
    await index.close()


async def test_a_login_without_the_roles_is_told_what_to_do(site: Ready) -> None:
    site.database.exec("DROP ROLE IF EXISTS stranger; CREATE ROLE stranger LOGIN PASSWORD 'hidden'")
    index = await PostgresIndex.open(site.database.login("stranger", "hidden"))
    with pytest.raises(SettingsError, match="db upgrade"):
        await index.attest()
    await index.close()


async def test_a_commit_that_no_standby_confirmed_is_not_believed() -> None:
    """Cutting the wait short, PostgreSQL answers COMMIT, and adds a warning."""
    with Postgres(settings={"wal_level": "replica", "max_wal_senders": "4"}) as server:
        made = ready_database(server)
        ready = await asyncio.to_thread(made.__enter__)
        index = await PostgresIndex.open(ready.url)
        rows = some_rows()
        try:
            await fill(index, rows[:10])
            server.configure(synchronous_standby_names="absent")
            server.reload()
            while "absent" not in server.exec("SHOW synchronous_standby_names"):
                pass
            waiting = asyncio.ensure_future(fill(index, rows[10:20]))
            admin = await asyncpg.connect(ready.database.url)
            cancel = (
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
                f" WHERE wait_event = 'SyncRep' AND usename = '{ready.login}'"
            )
            async with asyncio.timeout(20):
                while not waiting.done():
                    await admin.execute(cancel)
                    await asyncio.sleep(0.02)
            await admin.close()
            with pytest.raises(UnavailableError, match="did not commit as asked"):
                await waiting
            # The rows are there, and still nobody is told so before a standby has them.
            again = asyncio.ensure_future(fill(index, rows[10:20]))
            done, _ = await asyncio.wait([again], timeout=1)
            assert not done
            server.configure(synchronous_standby_names="")
            server.reload()
            await asyncio.wait_for(again, 20)
            assert await index.after("w-0", 0, 100) == rows[:20]
        finally:
            server.configure(synchronous_standby_names="")
            server.reload()
            await index.close()
            await asyncio.to_thread(made.__exit__, None, None, None)


async def test_a_standby_without_the_last_commits_takes_over(postgres: Postgres) -> None:
    """What it lacks is told again, and found again: by its blocks, too."""
    rows = [
        Row("w", seq, EVENT, f"id-{seq}", at=100 * DAY + seq, username="ann", line=b"x")
        for seq in range(1, BLOCK + 100)
    ]
    everything = Filter(users=("ann",), include_noise=True)
    with_gap = ready_database(postgres)
    ready = await asyncio.to_thread(with_gap.__enter__)
    index = await PostgresIndex.open(ready.url)
    try:
        await fill(index, rows[:-50])
        await fill(index, rows[-50:-40])
        forge(
            ready.database,
            "DELETE FROM kubewitness.events WHERE seq > 100;"
            " DELETE FROM kubewitness.blocks WHERE first >= 0; DELETE FROM kubewitness.postings;"
            " DELETE FROM kubewitness.run_texts;"
            f" SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ready.login}'",
        )
        while True:  # a connection that is gone is noticed once
            with contextlib.suppress(UnavailableError):
                last = (await index.positions())["w"].seq
                break
        assert last == 100
        with contextlib.suppress(UnavailableError):
            await index.count(everything)
        for first in range(last, len(rows), 4_000):
            await fill(index, rows[first : first + 4_000])
        firsts = ready.database.exec("SELECT first FROM kubewitness.blocks ORDER BY first")
        assert firsts.split() == [str(-BLOCK), "0"]
        assert (await index.stats(everything, "verb")).total == len(rows)
        assert await index.count(everything) == len(rows)
    finally:
        await index.close()
        await asyncio.to_thread(with_gap.__exit__, None, None, None)


@pytest.fixture
def replaced() -> Iterator[tuple[Postgres, Ready]]:
    """A server that can be a standby, and its database."""
    with Postgres(settings={"wal_level": "replica"}) as server, ready_database(server) as ready:
        yield server, ready


async def test_nothing_is_added_above_what_another_server_lacks(
    replaced: tuple[Postgres, Ready],
) -> None:
    """A standby was promoted so quickly that nobody had asked for anything meanwhile."""
    server, ready = replaced
    index = await PostgresIndex.open(ready.url)
    rows = some_rows()
    await fill(index, rows[:50])
    forge(ready.database, "DELETE FROM kubewitness.events WHERE seq > 40")
    await asyncio.to_thread(promote, server)
    await asyncio.sleep(0.1)  # the loop hears that the connection is gone
    with pytest.raises(UnavailableError, match="Another PostgreSQL server took over"):
        await fill(index, rows[50:60])
    last = (await index.positions())["w-0"].seq
    assert last == 40
    await fill(index, rows[last:])
    assert await index.after("w-0", 0, 1000) == rows
    await index.close()
