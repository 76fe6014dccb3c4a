"""Journals nobody writes this time."""

from pathlib import Path

import pytest

from proxy.audit.journal.writer import JournalWriter
from proxy.clock import SystemClock
from proxy.data_dir import DataDir
from proxy.runtime.slots import recover_unused, unsealed
from proxy.settings import Settings


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    found = DataDir(tmp_path / "data")
    found.create()
    return found


async def journal(data: DataDir, slot: str) -> JournalWriter:
    return await JournalWriter.open(data.path, slot, Settings().journal, clock=SystemClock())


async def crash(data: DataDir, slot: str) -> None:
    """Leave a journal as a killed process does: without its seal."""
    writer = await journal(data, slot)
    await writer.append(b'"kind":"Event"')
    (path,) = (data.journal / slot).glob("*.jsonl")
    torn = path.read_bytes()
    await writer.close()
    path.write_bytes(torn)


async def test_sealed_and_empty_ones_are_left_alone(data: DataDir) -> None:
    await (await journal(data, "main")).close()
    (data.journal / "worker-1").mkdir()
    (data.journal / "a file").write_text("of somebody")
    assert unsealed(data) == set()


async def test_only_what_is_unsealed_and_unused_is_recovered(data: DataDir) -> None:
    for slot in ("main", "worker-1", "worker-2"):
        await crash(data, slot)
    assert unsealed(data) == {"main", "worker-1", "worker-2"}
    await recover_unused(data, Settings(), ["main", "worker-1"], SystemClock())
    assert unsealed(data) == {"main", "worker-1"}


def test_a_directory_without_journals(tmp_path: Path) -> None:
    assert unsealed(DataDir(tmp_path)) == set()
