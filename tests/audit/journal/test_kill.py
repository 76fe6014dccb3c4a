"""A real process, really killed: what it was told is durable is there at the next start."""

import asyncio
import random
import sys
from pathlib import Path

from proxy.audit.index.indexer import Indexer
from proxy.audit.index.query import Filter
from proxy.audit.index.sqlite import SqliteIndex
from proxy.audit.journal.writer import JournalWriter
from proxy.clock import ManualClock
from tests.audit.journals import settings
from tests.audit.reading import dense, records

ROOT = Path(__file__).parents[2]
CYCLES = 6


async def run_and_kill(data_dir: Path, seed: int) -> list[tuple[str, str]]:
    """What the process was told is durable, until it was killed at a random instant."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.audit.killed", str(data_dir), str(seed)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    told = [await process.stdout.readline()]
    await asyncio.sleep(random.Random(seed).random() / 10)
    process.kill()
    told += (await process.stdout.read()).splitlines(keepends=True)
    await process.wait()
    whole = [line.decode().split() for line in told if line.endswith(b"\n")]
    return [
        (what, audit_id)
        for what, audit_id in (words for words in whole if words[0] in ("intent", "outcome"))
    ]


async def test_nothing_acknowledged_is_lost(tmp_path: Path, clock: ManualClock) -> None:
    told: list[tuple[str, str]] = []
    for seed in range(CYCLES):
        acknowledged = await run_and_kill(tmp_path, seed)
        assert acknowledged
        told += acknowledged
    await (await JournalWriter.open(tmp_path, "0", settings(), clock=clock)).close()

    found = records(tmp_path)
    assert dense(found)
    stages: dict[str, list[str]] = {}
    for record in found:
        if record["kind"] == "Event":
            stages.setdefault(record["auditID"], []).append(record.get("closeReason", "done"))
    assert all(len(told_of) == 2 for told_of in stages.values()), "a call without one outcome"
    for what, audit_id in told:
        assert audit_id in stages
        if what == "outcome":
            assert stages[audit_id][1] == "done"

    index = await SqliteIndex.open(tmp_path / "index.db")
    await Indexer(tmp_path / "journal", index, clock=clock).catch_up()
    assert await index.count(Filter(kinds=("Event",))) == len(stages)
    assert await index.count(Filter(open_only=True)) == 0
    await index.close()
