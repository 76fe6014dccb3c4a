"""A proxy knows the server its records went to, also after a restart, and goes to no other."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.audit.index.postgres import PostgresIndex
from proxy.audit.index.postgresql.identity import Identity, KnownServer
from proxy.errors import UnavailableError
from proxy.runtime.database import accept_server, named, open_index, status
from tests.audit.index.postgresql.databases import Ready, ready_database
from tests.audit.written import Written
from tests.postgres import Postgres

ONE, OTHER = Identity(7_654_321_987_654_321_987, 3), Identity(8, 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "database-server.json"


async def test_a_restart_knows_it(path: Path) -> None:
    known = KnownServer(path)
    assert await known.get() is None
    await known.keep(ONE)
    assert await known.get() == ONE
    assert await KnownServer(path).get() == ONE
    assert path.read_text() == '{"systemIdentifier":"7654321987654321987","timeline":3}\n'
    assert path.stat().st_mode & 0o777 == 0o600
    await KnownServer(path).accept(OTHER)  # by another process
    assert await known.get() == OTHER


async def test_without_a_file_it_is_known_for_as_long_as_we_live() -> None:
    known = KnownServer()
    await known.keep(ONE)
    assert await known.get() == ONE


async def test_a_failover_goes_on(path: Path) -> None:
    await KnownServer(path).keep(ONE)
    known = KnownServer(path)
    assert await known.get() == ONE
    await known.keep(ONE._replace(timeline=4))
    assert await KnownServer(path).get() == ONE._replace(timeline=4)


@pytest.mark.parametrize("text", ["", "{}", '{"systemIdentifier":"x","timeline":1}', "\0"])
async def test_a_damaged_file_is_no_first_start(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(UnavailableError, match="db accept-server"):
        await KnownServer(path).get()


async def test_a_disk_that_takes_no_file_keeps_nobody_from_going_on(tmp_path: Path) -> None:
    known = KnownServer(tmp_path / "missing" / "file")
    await known.keep(ONE)
    with pytest.raises(UnavailableError, match="No such file"):
        await known.accept(ONE)


@pytest.fixture
def moved(postgres: Postgres) -> Iterator[tuple[Ready, Ready]]:
    """Two servers, as when a name leads from one to the other.

    Those of one version have one identifier here: they are copies of a template.
    """
    with Postgres(18) as second, ready_database(postgres) as one, ready_database(second) as other:
        yield one, other


async def test_another_server_is_down_until_it_is_accepted(
    moved: tuple[Ready, Ready], path: Path
) -> None:
    one, other = moved
    await (await open_index(one.url, KnownServer(path))).close()
    index = await PostgresIndex.open(other.url, KnownServer(path))
    for _ in range(2):
        with pytest.raises(UnavailableError, match=r"another server than before.*accept-server"):
            await index.attest()
    assert (
        "another server" in (await status(other.url, count=False, known=KnownServer(path))).problem
    )
    written = Written()
    before, now = await accept_server(other.url, KnownServer(path), written.acts())
    assert before is not None
    intent, outcome = written.events
    assert (intent.action, intent.outcome, outcome.outcome) == (
        "database.accept",
        "requested",
        "ok",
    )
    assert (outcome.detail["before"], outcome.detail["after"]) == (named(before), named(now))
    assert "@" not in intent.target
    assert (before == now, now) == (False, await KnownServer(path).get())
    await index.attest()
    assert (await status(other.url, count=False, known=KnownServer(path))).problem == ""
    await index.close()


async def test_an_older_copy_is_down(postgres: Postgres, path: Path) -> None:
    with_one = ready_database(postgres)
    ready = await asyncio.to_thread(with_one.__enter__)
    try:
        _, now = await accept_server(ready.url, KnownServer(path), Written().acts())
        await KnownServer(path).accept(now._replace(timeline=now.timeline + 1))
        with pytest.raises(UnavailableError, match="went back from timeline 2 to 1"):
            await open_index(ready.url, KnownServer(path))
    finally:
        await asyncio.to_thread(with_one.__exit__, None, None, None)
