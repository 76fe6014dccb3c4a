"""A full disk: what still goes on, what does not, and the way back."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from proxy.audit.journal.writer import JournalWriter
from proxy.audit.port import JournalUnavailableError
from proxy.clock import ManualClock
from proxy.metrics import Metrics
from tests.audit.journals import (
    SmallDisk,
    a_call,
    actions,
    crash,
    intent,
    note,
    notes,
    outcome,
    settings,
    until,
)
from tests.audit.reading import dense, records

KIB = 1024
SEGMENT = 64 * KIB
RESERVE = 256 * KIB
MIB = 1024 * KIB


def reserve_of(data_dir: Path) -> int:
    path = data_dir / "journal" / "0" / "reserve"
    return path.stat().st_size if path.exists() else 0


async def opened(
    data_dir: Path,
    disk: SmallDisk,
    metrics: Metrics | None = None,
    *,
    reserve: int = RESERVE,
    segment: int = SEGMENT,
) -> JournalWriter:
    return await JournalWriter.open(
        data_dir,
        "0",
        settings(reserve_bytes=reserve, segment_bytes=segment),
        clock=ManualClock(),
        storage=disk,
        metrics=metrics,
    )


async def filled(data_dir: Path, disk: SmallDisk, journal: JournalWriter) -> None:
    """Append until the disk is full and the reserve is used."""
    await until(lambda: reserve_of(data_dir))
    disk.room = 0
    with contextlib.suppress(JournalUnavailableError):
        while True:
            await journal.append(note("x" * 8000))


async def test_what_is_under_way_ends_and_others_are_refused(tmp_path: Path) -> None:
    disk, metrics, call = SmallDisk(MIB), Metrics(), a_call()
    journal = await opened(tmp_path, disk, metrics)
    states: list[int] = []
    journal.on_state(lambda level, _: states.append(level))
    await journal.append(intent(call))
    await filled(tmp_path, disk, journal)

    assert journal.failure == "the disk is full, only its reserve is left"
    with pytest.raises(JournalUnavailableError, match="the disk is full"):
        _ = journal.append(intent(a_call()))
    left = journal.reserve_left
    assert RESERVE // 2 < left < RESERVE
    await journal.append(outcome(call), reserve=True)
    journal.post(note("a system event"))
    await journal.append(note("break-glass"), reserve=True)
    assert journal.reserve_left < left
    await asyncio.sleep(0.3)  # a look for room, in vain
    assert journal.failure
    assert reserve_of(tmp_path) == 0
    assert metrics.journal_reserve_bytes._value.get() < RESERVE
    assert states == [2]

    disk.room = 10 * MIB
    await until(lambda: not journal.failure, 1)
    assert journal.reserve_left == 0
    await journal.append(note("after"))
    await until(lambda: reserve_of(tmp_path) == RESERVE)
    await until(lambda: metrics.journal_reserve_bytes._value.get() == RESERVE)
    assert states == [2, 0]
    await journal.close()
    assert [text for text in notes(tmp_path) if not text.startswith("x")] == [
        "a system event",
        "break-glass",
        "after",
    ]
    found = records(tmp_path)
    assert dense(found)
    healed = next(record for record in found if record.get("action") == "journal.heal")
    assert healed["detail"]["from"] == "closed"
    assert "disk is full" in healed["detail"]["cause"]
    stages = [record["stage"] for record in found if record.get("auditID") == call.audit_id]
    assert stages == ["RequestReceived", "ResponseComplete"]


async def test_the_reserve_ends_too_and_its_end_is_for_calls(tmp_path: Path) -> None:
    disk = SmallDisk(MIB)
    journal = await opened(tmp_path, disk)
    await filled(tmp_path, disk, journal)
    with contextlib.suppress(JournalUnavailableError):
        while True:
            journal.post(note("p" * 1000))
            await asyncio.sleep(0)
    with pytest.raises(JournalUnavailableError):
        journal.post(note("p" * 1000))
    # A batch counts twice from when its thread has written it to when it is known here.
    await until(lambda: RESERVE // 4 < journal.reserve_left < RESERVE // 2)
    while journal.reserve_left:
        await journal.append(note("b" * 1000), reserve=True)
    kept_back = 0
    with contextlib.suppress(JournalUnavailableError):
        while True:
            await journal.append(note("o" * 1000), reserve=True)
            kept_back += 1
    assert 20 < kept_back < 32
    with pytest.raises(JournalUnavailableError):
        _ = journal.append(note("o" * 1000), reserve=True)
    disk.room = MIB * 10
    await until(lambda: not journal.failure, 1)
    await journal.append(note("after"))
    await journal.close()
    assert dense(records(tmp_path))


async def test_a_start_on_a_full_disk_is_closed_and_heals(tmp_path: Path) -> None:
    disk = SmallDisk(MIB)
    journal = await opened(tmp_path, disk)
    await until(lambda: reserve_of(tmp_path))
    await journal.close()
    disk.room = 0
    journal = await opened(tmp_path, disk)
    states: list[int] = []
    journal.on_state(lambda level, _: states.append(level))
    assert states == [2]
    assert journal.reserve_left > 0
    await journal.append(note("repair"), reserve=True)
    disk.room = MIB
    await until(lambda: not journal.failure, 1)
    await journal.close()
    assert notes(tmp_path) == ["repair"]
    assert dense(records(tmp_path))


async def test_after_a_crash_on_the_reserve_what_is_left_of_it_serves(tmp_path: Path) -> None:
    disk = SmallDisk(16 * MIB)
    size = 8 * MIB
    journal = await opened(tmp_path, disk, segment=size, reserve=size)
    await until(lambda: reserve_of(tmp_path) == size)
    while not journal.failure:
        await journal.append(note("x" * MIB))
    left = journal.reserve_left
    assert left
    crash(journal)

    journal = await opened(tmp_path, disk, segment=size, reserve=size)
    assert "disk is full" in journal.failure
    assert MIB < journal.reserve_left < left
    await journal.append(note("repair"), reserve=True)
    await journal.close()
    assert notes(tmp_path)[-1] == "repair"
    assert dense(records(tmp_path))


async def test_without_room_for_a_reserve_calls_go_on_and_it_is_said(tmp_path: Path) -> None:
    disk = SmallDisk(SEGMENT + RESERVE // 2)
    journal = await opened(tmp_path, disk)
    states: list[tuple[int, str]] = []
    journal.on_state(lambda level, cause: states.append((level, cause)))
    await until(lambda: states)
    assert states == [(1, "the reserve cannot be made: No space left on device")]
    await journal.append(note("served"))
    disk.room = 10 * MIB
    await until(lambda: reserve_of(tmp_path) == RESERVE, 2)
    await until(lambda: states[-1] == (0, ""))
    await journal.close()


async def test_no_reserve_is_kept_when_none_is_wanted(tmp_path: Path) -> None:
    disk = SmallDisk(MIB)
    journal = await opened(tmp_path, disk)
    await until(lambda: reserve_of(tmp_path))
    await journal.close()
    journal = await opened(tmp_path, disk, reserve=0)
    await until(lambda: not reserve_of(tmp_path))
    with contextlib.suppress(JournalUnavailableError):
        while True:
            await journal.append(note("x" * 8000))
            disk.room = 0
    assert "No space left on device" in journal.failure
    assert journal.reserve_left == 0
    with pytest.raises(JournalUnavailableError):
        _ = journal.append(note("break-glass"), reserve=True)
    await journal.close()
    assert "journal.heal" not in actions(tmp_path)
