"""Hearing of commits: what a message says, and that a connection that ends is noticed."""

import asyncio
from collections.abc import Iterator

import pytest

from proxy.audit.index.postgresql.hearing import CHANNEL, hear
from proxy.errors import UnavailableError
from tests.audit.index.postgresql.databases import Ready, ready_database
from tests.postgres import Postgres


@pytest.fixture(scope="module")
def ready(postgres: Postgres) -> Iterator[Ready]:
    with ready_database(postgres) as made:
        yield made


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("w-0 17", [("w-0", 17)]),
        ("with blanks 1", [("with blanks", 1)]),
        ("w-0 -1", []),
        ("w-0", []),
        ("", []),
        (" 5", []),
        ("w-0 99999999999999999999", []),
    ],
)
async def test_messages(ready: Ready, message: str, expected: list[tuple[str, int]]) -> None:
    heard: list[tuple[str, int]] = []
    listening = asyncio.ensure_future(hear(ready.url, lambda who, seq: heard.append((who, seq))))
    async with asyncio.timeout(10):
        while ("end", 1) not in heard:  # until it listens
            ready.database.exec(f"NOTIFY {CHANNEL}, 'end 1'")
            await asyncio.sleep(0.01)
        heard.clear()
        ready.database.exec(f"NOTIFY {CHANNEL}, '{message}'; NOTIFY {CHANNEL}, 'end 2'")
        while ("end", 2) not in heard:
            await asyncio.sleep(0.01)
    assert [item for item in heard if item[0] != "end"] == expected
    listening.cancel()
    await asyncio.wait([listening])


async def test_an_end_is_told(ready: Ready) -> None:
    listening = asyncio.ensure_future(hear(ready.url, lambda *_: None))
    kill = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ready.login}'"
    async with asyncio.timeout(10):
        while not listening.done():
            ready.database.exec(kill)
            await asyncio.sleep(0.02)
    with pytest.raises(UnavailableError):
        await listening


async def test_no_server(ready: Ready) -> None:
    with pytest.raises(UnavailableError, match="cannot be reached"):
        await hear("postgresql://x@127.0.0.1:1/x", lambda *_: None)
