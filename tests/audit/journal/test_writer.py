"""The writer: order, density, batching, deadlines, bounds, and what happens when the disk fails."""

import asyncio
import errno
import time
from pathlib import Path

import pytest

from proxy.audit.journal.storage import FileStorage
from proxy.audit.journal.writer import JournalWriter
from proxy.audit.port import Journal, JournalUnavailableError
from proxy.clock import ManualClock, SystemClock
from tests.audit.journals import (
    FaultyStorage,
    a_call,
    actions,
    crash,
    intent,
    note,
    notes,
    outcome,
    settings,
    until,
    writing,
)
from tests.audit.reading import dense, lines, records


async def test_it_is_a_journal(tmp_path: Path, disk: FaultyStorage, clock: ManualClock) -> None:
    async with writing(tmp_path, disk, clock) as writer:
        journal: Journal = writer
        assert journal.failure == ""
        assert await journal.append(note("a")) == 2  # 1 says that the journal was opened


async def test_records_are_dense_and_in_order(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock
) -> None:
    async def caller(name: int) -> list[int]:
        return [await journal.append(note(f"{name}/{i}")) for i in range(50)]

    async with writing(tmp_path, disk, clock) as journal:
        seqs = await asyncio.gather(*(caller(name) for name in range(20)))
    assert sorted(seq for mine in seqs for seq in mine) == list(range(2, 1002))
    found = records(tmp_path)
    assert dense(found)
    by_seq = {record["seq"]: record.get("note") for record in found}
    for name, mine in enumerate(seqs):
        assert [by_seq[seq] for seq in mine] == [f"{name}/{i}" for i in range(50)]
    assert len({record["salt"] for record in found}) == len(found)


async def test_posts_and_appends_keep_their_order(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock
) -> None:
    async with writing(tmp_path, disk, clock) as journal:
        appended = []
        for i in range(10):
            journal.post(note(2 * i))
            appended.append(journal.append(note(2 * i + 1)))
        await appended[-1]
    assert notes(tmp_path) == [str(i) for i in range(20)]


async def test_what_queues_during_a_sync_goes_in_the_next_batch(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock
) -> None:
    async with writing(tmp_path, disk, clock) as journal:
        disk.hold.clear()
        first = journal.append(note("first"))
        await until(disk.waiting.is_set)
        rest = [journal.append(note(i)) for i in range(100)]
        await asyncio.sleep(0.01)
        assert not first.done()
        disk.log.clear()
        disk.hold.set()
        await asyncio.gather(first, *rest)
        assert [what for what, _ in disk.log] == ["write", "sync"]


async def test_nothing_is_released_before_its_sync(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock
) -> None:
    async with writing(tmp_path, disk, clock) as journal:
        disk.hold.clear()
        future = journal.append(note("x"))
        await until(disk.waiting.is_set)
        await asyncio.sleep(0.02)
        assert not future.done()
        disk.hold.set()
        assert await future == 2


async def test_a_cancelled_wait_leaves_the_record(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock
) -> None:
    async with writing(tmp_path, disk, clock) as journal:
        journal.append(note("left")).cancel()
        assert await journal.append(note("stayed")) == 3
    assert notes(tmp_path) == ["left", "stayed"]


async def test_segments_rotate_and_are_cut_to_size(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock
) -> None:
    async with writing(tmp_path, disk, clock) as journal:
        for i in range(300):
            await journal.append(note("x" * 1000 + str(i)))
        await journal.append(note("y" * 200_000))  # larger than a segment
    files = sorted((tmp_path / "journal" / "0").glob("*.jsonl"))
    assert len(files) > 3
    assert all(b"\0" not in path.read_bytes() for path in files)
    assert lines(files[-1])[-1]["kind"] == "JournalSeal"
    assert dense(records(tmp_path))
    assert {oct(path.stat().st_mode & 0o777) for path in files} == {"0o600"}
    assert oct(files[0].parent.stat().st_mode & 0o777) == "0o700"


# -- bounds ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bounds", "size", "fits"),
    [({"queue_records": 100}, 10, 100), ({"queue_bytes": 1024 * 1024}, 100_000, 10)],
    ids=["records", "bytes"],
)
async def test_a_full_queue_refuses_at_once(
    tmp_path: Path,
    disk: FaultyStorage,
    clock: ManualClock,
    bounds: dict[str, int],
    size: int,
    fits: int,
) -> None:
    async with writing(tmp_path, disk, clock, **bounds) as journal:
        disk.hold.clear()
        journal.post(note("with the disk"))
        await until(disk.waiting.is_set)
        for _ in range(fits):
            journal.post(note("x" * size))
        for refused in (journal.append, journal.post):
            with pytest.raises(JournalUnavailableError, match="wait for the disk"):
                refused(note("x" * size))
        disk.hold.set()
        await until(lambda: not journal._waiting.bodies)
        await journal.append(note("taken again"))


# -- deadline ----------------------------------------------------------------------------------


async def test_a_hung_disk_refuses_after_the_deadline_and_heals(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock
) -> None:
    async with writing(tmp_path, disk, clock) as journal:
        disk.hold.clear()
        old = journal.append(note("in flight"))
        await until(disk.waiting.is_set)
        waiting = journal.append(note("queued"))
        await asyncio.sleep(0.05)
        clock.advance(0.9)
        await asyncio.sleep(0.05)
        assert not old.done()
        assert journal.failure == ""
        young = journal.append(note("younger"))
        await asyncio.sleep(0.05)
        clock.advance(0.2)
        for future in (old, waiting):
            with pytest.raises(JournalUnavailableError, match="not confirmed a record for 1 s"):
                await asyncio.wait_for(future, 1)
        assert not young.done()
        assert "1 s" in journal.failure
        with pytest.raises(JournalUnavailableError):
            _ = journal.append(note("refused"))
        journal.post(note("an outcome, kept"))
        disk.hold.set()
        assert await young == 4
        await until(lambda: not journal.failure)
        await journal.append(note("after"))
    assert notes(tmp_path) == ["in flight", "queued", "younger", "an outcome, kept", "after"]
    assert actions(tmp_path) == ["journal.open", "journal.heal", "journal.close"]


async def test_a_busy_loop_is_not_taken_for_a_hung_disk(
    tmp_path: Path, disk: FaultyStorage
) -> None:
    async with writing(tmp_path, disk, SystemClock(), deadline=0.1) as journal:
        first = journal.append(note("before the loop was busy"))
        await asyncio.sleep(0.03)
        second = journal.append(note("behind it"), urgent=False)
        time.sleep(0.3)
        assert await first < await second
        assert journal.failure == ""


async def test_a_record_nobody_waits_for_goes_with_the_next_batch(
    tmp_path: Path, disk: FaultyStorage
) -> None:
    async with writing(tmp_path, disk, SystemClock()) as journal:
        patient = journal.append(note("an intent of a read"), urgent=False)
        before = len(disk.log)
        await asyncio.sleep(0.005)
        assert len(disk.log) == before
        assert await journal.append(note("its outcome")) == await patient + 1
        alone = journal.append(note("alone"), urgent=False)
        assert await asyncio.wait_for(alone, 1)


# -- a disk that fails --------------------------------------------------------------------------

FAULTS = {
    "sync": {"sync 1": OSError(errno.EIO, "Input/output error")},
    "write": {"write 1": OSError(errno.ENOSPC, "No space left on device")},
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_a_failed_batch_is_rewritten_to_a_new_segment(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock, fault: dict[str, OSError]
) -> None:
    async with writing(tmp_path, disk, clock) as journal:
        await journal.append(note("before"))
        disk.fail.update(fault)
        disk.log.clear()
        states: list[tuple[int, str]] = []
        journal.on_state(lambda level, cause: states.append((level, cause)))
        assert await journal.append(note("hit")) == 3
        assert await journal.append(note("after")) >= 4
        assert journal.failure == ""
        await until(lambda: len(states) == 2)
        assert [level for level, _ in states] == [1, 0]
        assert str(next(iter(fault.values()))) == states[0][1]
        touched = [number for what, number in disk.log if what == "sync"]
        assert touched.count(1) <= 1, "a file whose sync failed was synced again"
    assert notes(tmp_path) == ["before", "hit", "after"]
    assert actions(tmp_path) == ["journal.open", "journal.heal", "journal.close"]
    assert dense(records(tmp_path))


async def test_a_torn_write_is_rewritten(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock
) -> None:
    async with writing(tmp_path, disk, clock) as journal:
        await journal.append(note("before"))
        disk.torn = True
        hit = journal.append(note("hit"))
        await until(lambda: journal.failure)
        disk.torn = False
        with pytest.raises(JournalUnavailableError, match="Input/output error"):
            await hit
        await until(lambda: not journal.failure)
        await journal.append(note("after"))
    assert notes(tmp_path) == ["before", "hit", "after"]
    assert dense(records(tmp_path))


async def test_a_dead_disk_closes_the_gate_until_it_is_back(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock
) -> None:
    async with writing(tmp_path, disk, clock) as journal:
        disk.hold.clear()
        hit = journal.append(note("hit"))
        await until(disk.waiting.is_set)
        queued = journal.append(note("queued"))
        disk.fail["sync"] = disk.fail["create"] = OSError(errno.EIO, "Input/output error")
        disk.hold.set()
        for future in (hit, queued):
            with pytest.raises(JournalUnavailableError, match="Input/output error"):
                await future
        assert "Input/output error" in journal.failure
        with pytest.raises(JournalUnavailableError, match="Input/output error"):
            _ = journal.append(note("refused"))
        files = len(list((tmp_path / "journal" / "0").iterdir()))
        await asyncio.sleep(0.6)  # two attempts to heal
        assert len(list((tmp_path / "journal" / "0").iterdir())) == files
        assert journal.failure
        clock.advance(3)
        disk.fail.clear()
        await until(lambda: not journal.failure, 1)
        await journal.append(note("after"))
    assert notes(tmp_path) == ["hit", "queued", "after"]
    found = records(tmp_path)
    assert dense(found)
    healed = next(record for record in found if record.get("action") == "journal.heal")
    assert healed["detail"]["seconds"] == 3
    assert "Input/output error" in healed["detail"]["cause"]


async def test_a_directory_taken_away_closes_the_gate(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock
) -> None:
    async with writing(tmp_path, disk, clock) as journal:
        (tmp_path / "journal" / "0").rename(tmp_path / "journal" / "gone")
        with pytest.raises(JournalUnavailableError, match="was deleted or moved"):
            await journal.append(note("hit"))
        await until(lambda: "No such file or directory" in journal.failure)
        (tmp_path / "journal" / "gone").rename(tmp_path / "journal" / "0")
        await until(lambda: not journal.failure, 2)
    assert notes(tmp_path) == ["hit"]


# -- opening and closing -------------------------------------------------------------------------


async def test_a_second_process_is_refused(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock
) -> None:
    async with writing(tmp_path, disk, clock):
        with pytest.raises(JournalUnavailableError, match="in use by another process"):
            await JournalWriter.open(tmp_path, "0", settings(), clock=clock)
    async with writing(tmp_path, FileStorage(), clock) as journal:
        assert await journal.append(note("mine now")) == 4


async def test_the_sequence_goes_on_across_clean_restarts(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock
) -> None:
    for i in range(3):
        async with writing(tmp_path, disk, clock) as journal:
            await journal.append(note(i))
    assert notes(tmp_path) == ["0", "1", "2"]
    assert dense(records(tmp_path))
    assert actions(tmp_path) == ["journal.open", "journal.close"] * 3


async def test_close_writes_what_is_queued_and_then_refuses(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock
) -> None:
    async with writing(tmp_path, disk, clock) as journal:
        futures = [journal.append(note(i)) for i in range(5000)]
        await journal.close()
        assert all(future.done() and not future.exception() for future in futures)
        for refused in (journal.append, journal.post):
            with pytest.raises(JournalUnavailableError, match="closed"):
                refused(note("late"))
    assert len(notes(tmp_path)) == 5000


async def test_open_calls_of_a_crash_get_an_outcome(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock
) -> None:
    done, left = a_call(), a_call(request_uri="/é\u0000")
    journal = await JournalWriter.open(tmp_path, "0", settings(), clock=clock, storage=disk)
    for record in (intent(done), intent(left), outcome(done)):
        await journal.append(record)
    crash(journal)
    async with writing(tmp_path, disk, clock):
        pass
    found = [r for r in records(tmp_path) if r.get("auditID") == left.audit_id]
    assert [r["stage"] for r in found] == ["RequestReceived", "ResponseComplete"]
    assert found[1]["closeReason"] == "interrupted"
    assert found[1]["responseStatus"]["code"] == 0
    assert found[1]["requestURI"] == "/é\u0000"
    opened = [r for r in records(tmp_path) if r.get("action") == "journal.recover"]
    assert [r["detail"]["interrupted"] for r in opened] == [1]


async def test_no_seal_hides_an_outcome_that_was_refused(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock
) -> None:
    given = settings(queue_records=100)
    journal = await JournalWriter.open(tmp_path, "0", given, clock=clock, storage=disk)
    call = a_call()
    await journal.append(intent(call))
    disk.hold.clear()
    journal.post(intent(a_call()))
    await asyncio.sleep(0)
    for _ in range(100):
        journal.post(intent(a_call()))
    with pytest.raises(JournalUnavailableError):
        journal.post(outcome(call))
    disk.hold.set()
    await journal.close()
    again = await JournalWriter.open(tmp_path, "0", given, clock=clock, storage=disk)
    await again.close()
    stages = [item["stage"] for item in records(tmp_path) if item.get("auditID") == call.audit_id]
    assert stages == ["RequestReceived", "ResponseComplete"]
