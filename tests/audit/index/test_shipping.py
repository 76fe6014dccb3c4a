"""Shipping to a shared index: every durable record once, in order, whatever the database does."""

import asyncio
import errno
import os
import shutil
from pathlib import Path

import pytest

from proxy.audit.index import shipping, tailing
from proxy.audit.index.rows import row
from proxy.audit.index.shipping import Shipper
from proxy.audit.index.store import ForeignRecordsError
from proxy.audit.journal.writer import JournalWriter
from proxy.audit.port import JournalUnavailableError
from proxy.clock import ManualClock
from proxy.errors import UnavailableError
from proxy.metrics import Metrics
from proxy.tasks import cancel, spawn
from tests.audit.journals import FaultyStorage, a_call, intent, settings, until, writing
from tests.audit.reading import records
from tests.audit.shared_index import MemoryIndex


@pytest.fixture
def index() -> MemoryIndex:
    return MemoryIndex()


def shipper(data_dir: Path, index: MemoryIndex, clock: ManualClock) -> Shipper:
    return Shipper(data_dir / "journal", index, clock=clock, metrics=Metrics())


def expect_all(index: MemoryIndex, data_dir: Path) -> None:
    (shipped,) = index.rows.values()
    assert sorted(shipped) == [record["seq"] for record in records(data_dir)]


async def grow(journal: JournalWriter, count: int = 40) -> None:
    await asyncio.gather(*[journal.append(intent(a_call())) for _ in range(count)])


async def test_a_successor_goes_on_where_the_index_is(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock, index: MemoryIndex
) -> None:
    async with writing(tmp_path, disk, clock) as journal:
        for _ in range(4):
            await grow(journal, 70)
            assert await shipper(tmp_path, index, clock).catch_up() >= 70
            assert await shipper(tmp_path, index, clock).catch_up() == 0
    await shipper(tmp_path, index, clock).catch_up()
    expect_all(index, tmp_path)


async def test_an_insert_whose_answer_was_lost_is_not_repeated_and_is_told(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock, index: MemoryIndex
) -> None:
    work = shipper(tmp_path, index, clock)
    told: list[int] = []
    work.on_indexed(lambda _, seq: told.append(seq))
    async with writing(tmp_path, disk, clock) as journal:
        await grow(journal)
        index.lose_answer = 1
        with pytest.raises(UnavailableError):
            await work.catch_up()
        assert told == [0]
        assert await work.catch_up() == 0
        assert told[-1] == 41
    await work.catch_up()
    expect_all(index, tmp_path)


async def test_what_our_writer_has_not_acknowledged_is_not_shipped(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock, index: MemoryIndex
) -> None:
    """After a sync that failed, the batch can be read, and a sync here would mean nothing."""
    async with writing(tmp_path, disk, clock) as journal:
        work = Shipper(
            tmp_path / "journal",
            index,
            clock=clock,
            metrics=Metrics(),
            durable={"0": lambda: journal.durable},
        )
        assert await work.catch_up() == 1
        disk.fail = dict.fromkeys(("sync", "create"), OSError(errno.EIO, os.strerror(errno.EIO)))
        with pytest.raises(JournalUnavailableError):
            await journal.append(intent(a_call()))
        assert [record["seq"] for record in records(tmp_path)] == [1, 2]
        assert await work.catch_up() == 0
    await work.catch_up()
    expect_all(index, tmp_path)


async def test_only_what_is_synced_is_shipped(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock, index: MemoryIndex,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    synced: list[str] = []
    before = os.fdatasync

    def fdatasync(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        before(descriptor)

    async with writing(tmp_path, disk, clock) as journal:
        await grow(journal)
        monkeypatch.setattr(os, "fdatasync", fdatasync)
        await shipper(tmp_path, index, clock).catch_up()
        assert [Path(path).name for path in synced] == ["000001-000001.jsonl"]
        assert sorted(*index.rows.values()) == list(range(1, 42))


async def test_one_failure_is_bridged_and_two_are_told(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock, index: MemoryIndex
) -> None:
    work = shipper(tmp_path, index, clock)
    told: list[str] = []
    work.on_change(told.append)
    async with writing(tmp_path, disk, clock) as journal:
        journal.on_durable(work.wake)
        await grow(journal)
        index.lose_answer = 1
        running = spawn(work.run(), name="indexer")
        while not told:
            await asyncio.sleep(0)
        assert told == [""]
        index.down = "the database is gone"
        await grow(journal)
        while len(set(told)) < 2:
            await asyncio.sleep(0.001)
        assert told[-1] == "the database is gone"
        assert work.failure().startswith("the database is gone; ")
        index.down = ""
        while told[-1]:
            await asyncio.sleep(0.001)
        assert work.failure() == ""
        await cancel(running)
    await work.catch_up()
    expect_all(index, tmp_path)


async def test_a_database_that_hangs_is_down(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock, index: MemoryIndex,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(shipping, "PATIENCE", 0.01)
    work = shipper(tmp_path, index, clock)
    async with writing(tmp_path, disk, clock) as journal:
        await grow(journal)
        index.answering.clear()
        with pytest.raises(UnavailableError, match=r"has not answered for 0\.01 s"):
            await work.catch_up()
        index.answering.set()
        assert await work.catch_up() == 41


async def test_a_quiet_database_is_asked_whether_it_is_there_and_attested(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock, index: MemoryIndex
) -> None:
    work = shipper(tmp_path, index, clock)
    async with writing(tmp_path, disk, clock):
        await work.catch_up()
        assert index.attested == 1
        index.asked.clear()
        await work.catch_up()
        assert index.asked == []
        clock.advance(shipping.PROBE)
        await work.catch_up()
        assert index.asked == ["after"]
        clock.advance(shipping.ATTEST)
        await work.catch_up()
        assert index.attested == 2


async def test_false_records_behind_ours_are_noticed_while_more_is_shipped(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock, index: MemoryIndex
) -> None:
    work = shipper(tmp_path, index, clock)
    async with writing(tmp_path, disk, clock) as journal:
        await grow(journal)
        await work.catch_up()
        ((writer, rows),) = index.rows.items()
        rows[9_000] = row(writer, 9_000, rows[2].line)

        async def go_on() -> None:
            for _ in range(70):  # without a second of quiet
                clock.advance(1.0)
                await grow(journal, 1)
                await work.catch_up()

        with pytest.raises(ForeignRecordsError, match="at sequence 9000"):
            await go_on()


class Copies:
    """A data directory and older copies of it."""

    def __init__(self, path: Path, clock: ManualClock) -> None:
        self.path = path
        self.clock = clock

    async def grow(self, count: int, slot: str = "0") -> None:
        journal = await JournalWriter.open(self.path, slot, settings(), clock=self.clock)
        await grow(journal, count)
        await journal.close()

    def keep(self) -> None:
        shutil.copytree(self.path, self.path.with_name("copy"))

    def restore(self) -> None:
        shutil.rmtree(self.path)
        shutil.copytree(self.path.with_name("copy"), self.path)


@pytest.fixture
def copies(tmp_path: Path, clock: ManualClock) -> Copies:
    path = tmp_path / "data"
    path.mkdir()
    return Copies(path, clock)


class Told:
    """What a shipper says of itself: of the database, and of the journals that it only carries."""

    def __init__(self, work: Shipper) -> None:
        self.trouble: list[str] = []
        self.aside: list[str] = []
        work.on_change(self.trouble.append)
        work.on_aside(self.aside.append)

    @property
    def last(self) -> tuple[str, str]:
        return self.trouble[-1], self.aside[-1]


def carrier(copies: Copies, index: MemoryIndex, clock: ManualClock) -> Shipper:
    """Of a process that writes to slot 0, and carries all others."""
    return Shipper(
        copies.path / "journal",
        index,
        clock=clock,
        metrics=Metrics(),
        durable={"0": lambda: 1_000},
    )


async def carrying(copies: Copies, index: MemoryIndex, clock: ManualClock) -> tuple[Shipper, Told]:
    """A shipper whose own journal and one that it only carries are level, and what it says."""
    await copies.grow(20, "cli")
    await copies.grow(20)
    work = carrier(copies, index, clock)
    told = Told(work)
    await work.catch_up()
    return work, told


def falsify(index: MemoryIndex, slot: str) -> str:
    """Add a record behind those of the writer in `slot`, whom it returns."""
    ((writer, rows),) = [item for item in index.rows.items() if item[0].endswith(f"-{slot}")]
    rows[9_000] = row(writer, 9_000, rows[2].line)
    return writer


def other_records(writer: str) -> str:
    said = f"the index holds other records of writer {writer} at sequence 9000 than its journal"
    return f"{said}; {shipping.WAY_OUT}"


async def test_a_false_record_behind_a_journal_that_we_only_carry_is_no_trouble_of_ours(
    copies: Copies, clock: ManualClock, index: MemoryIndex
) -> None:
    work, told = await carrying(copies, index, clock)
    writer = falsify(index, "cli")
    clock.advance(shipping.ATTEST)
    running = spawn(work.run(), name="shipper")
    await until(lambda: told.aside[-1])
    await copies.grow(20)
    await copies.grow(20, "cli")
    work.wake()
    await until(lambda: max(index.rows[f"{writer[:8]}-0"]) == 44)
    assert told.last == ("", other_records(writer))
    assert set(told.trouble) == {""}
    assert len(index.rows[writer]) == 23, "nothing more of it is shipped"
    # The index is not level all the same, and whoever looks is told so.
    assert work.failure().startswith("the index holds other records of writer")
    await work.lag.measure()
    with pytest.raises(ForeignRecordsError, match="-cli at sequence 9000"):
        await work.catch_up()
    assert work.lag.records == 22
    # It is gone from there: that is noticed with the next attestation.
    del index.rows[writer][9_000]
    clock.advance(shipping.ATTEST)
    work.wake()
    await until(lambda: len(index.rows[writer]) == 44)
    await until(lambda: not told.aside[-1])
    assert work.failure() == ""
    await cancel(running)


async def test_a_journal_that_was_set_aside_is_not_read_each_second(
    copies: Copies, clock: ManualClock, index: MemoryIndex
) -> None:
    work, told = await carrying(copies, index, clock)
    falsify(index, "cli")
    for _ in range(2):  # found by looking at its end, and by beginning anew
        clock.advance(shipping.ATTEST)
        with pytest.raises(ForeignRecordsError):
            await work.catch_up()
    index.asked.clear()
    for _ in range(5):
        clock.advance(shipping.PROBE)
        with pytest.raises(ForeignRecordsError):
            await work.catch_up()
    assert set(index.asked) == {"after"}
    assert told.aside[-1]
    # A person moved it away: that shows within a second.
    (copies.path / "journal" / "cli").rename(copies.path / "aside")
    clock.advance(shipping.PROBE)
    await work.catch_up()
    assert told.aside[-1] == ""


async def test_a_false_record_behind_our_own_journal_is_trouble(
    copies: Copies, clock: ManualClock, index: MemoryIndex
) -> None:
    work, told = await carrying(copies, index, clock)
    writer = falsify(index, "0")
    clock.advance(shipping.ATTEST)
    running = spawn(work.run(), name="shipper")
    await until(lambda: told.trouble and told.trouble[-1])
    assert told.last == (other_records(writer), "")
    assert work.failure().startswith(f"the index holds other records of writer {writer} at")
    # Calls wait for this one: when it is gone from there, that shows within a second.
    del index.rows[writer][9_000]
    clock.advance(shipping.PROBE)
    await until(lambda: not told.trouble[-1])
    # Both at once: each is told as what it is.
    falsify(index, "0")
    falsify(index, "cli")
    clock.advance(shipping.ATTEST)
    await until(lambda: all(told.last))
    assert "-cli at" in told.aside[-1]
    assert ("-0 at" in told.trouble[-1], "-cli at" in told.trouble[-1]) == (True, False)
    await cancel(running)


async def test_what_is_set_aside_stays_so_while_the_database_is_away(
    copies: Copies, clock: ManualClock, index: MemoryIndex
) -> None:
    work, told = await carrying(copies, index, clock)
    falsify(index, "cli")
    clock.advance(shipping.ATTEST)
    running = spawn(work.run(), name="shipper")
    await until(lambda: told.aside[-1])
    began = len(told.aside)
    index.down = "the database is gone"
    clock.advance(shipping.ATTEST)
    work.wake()
    await until(lambda: told.trouble[-1])
    assert told.trouble[-1] == "the database is gone"
    index.down = ""
    await until(lambda: not told.trouble[-1])
    assert all(told.aside[began:]), "nobody knew better meanwhile"
    await cancel(running)


@pytest.mark.parametrize("noticed", ["attest", "probe", "insert"])
async def test_what_another_server_lacks_is_shipped_again(
    copies: Copies, clock: ManualClock, index: MemoryIndex, noticed: str
) -> None:
    """A standby that was promoted without the last commits, or an older copy that was accepted."""
    await copies.grow(50)
    work = shipper(copies.path, index, clock)
    await work.catch_up()
    (shipped,) = index.rows.values()
    for seq in sorted(shipped)[-5:]:
        del shipped[seq]
    index.down = "the server is gone"
    if noticed == "insert":
        await copies.grow(1)
    else:
        clock.advance(shipping.ATTEST if noticed == "attest" else shipping.PROBE)
    with pytest.raises(UnavailableError):
        await work.catch_up()
    assert index.asked[-1] == {"probe": "after"}.get(noticed, noticed)
    index.down = ""
    await work.catch_up()
    expect_all(index, copies.path)


@pytest.mark.parametrize("later", [0, 3, 30, 300])
async def test_a_journal_restored_from_an_older_copy_is_noticed(
    copies: Copies, clock: ManualClock, index: MemoryIndex, later: int
) -> None:
    await copies.grow(20)
    copies.keep()
    await copies.grow(50)
    await shipper(copies.path, index, clock).catch_up()
    copies.restore()
    if later:
        await copies.grow(later)
    before = {writer: dict(rows) for writer, rows in index.rows.items()}
    with pytest.raises(ForeignRecordsError, match=r"other records of writer .*-0 at sequence 74"):
        await shipper(copies.path, index, clock).catch_up()
    assert index.rows == before


async def test_one_foreign_journal_does_not_hold_up_the_others(
    copies: Copies, clock: ManualClock, index: MemoryIndex
) -> None:
    await copies.grow(20, "main")
    copies.keep()
    await copies.grow(20, "main")
    work = shipper(copies.path, index, clock)
    await work.catch_up()
    copies.restore()
    await copies.grow(20, "worker-9")
    with pytest.raises(ForeignRecordsError, match="-main"):
        await shipper(copies.path, index, clock).catch_up()
    assert {writer[9:]: len(rows) for writer, rows in index.rows.items()} == {
        "main": 44,
        "worker-9": 22,
    }


async def test_a_new_identity_is_the_way_out(
    copies: Copies, clock: ManualClock, index: MemoryIndex
) -> None:
    await copies.grow(20)
    copies.keep()
    await copies.grow(20)
    await shipper(copies.path, index, clock).catch_up()
    copies.restore()
    # As the README says.
    (copies.path / "journal").rename(copies.path / "journal.restored")
    (copies.path / "instance").unlink()
    await copies.grow(5)
    await shipper(copies.path, index, clock).catch_up()
    assert sorted(map(len, index.rows.values())) == [7, 44]


async def test_two_directories_with_one_identity_are_noticed(
    copies: Copies, clock: ManualClock, index: MemoryIndex
) -> None:
    await copies.grow(20)
    copies.keep()
    copies.restore()
    work = shipper(copies.path, index, clock)
    await work.catch_up()
    await copies.grow(5)
    await work.catch_up()
    twin = shipper(copies.path.with_name("copy"), index, clock)
    with pytest.raises(ForeignRecordsError):
        await twin.catch_up()


def test_a_sequence_is_found_where_it_was_told_last(tmp_path: Path) -> None:
    from proxy.audit.journal.records import GENESIS, Header, frame, line

    def segment(number: int, first: int, *batches: tuple[int, int]) -> None:
        header = Header(1, "w-0", 1, number, first, GENESIS, "")
        data = line(header)
        for start, count in batches:
            data += frame([b'"n":%d' % number] * count, b"0" * 32 * count, start, GENESIS).data
        (tmp_path / f"000001-{number:06}.jsonl").write_bytes(data + b"\0" * 100)

    segment(1, 1, (1, 2), (3, 3))
    segment(2, 3, (3, 3), (6, 1))
    assert tailing.seek(tmp_path, 2).position[0] == "000001-000001.jsonl"
    found = tailing.seek(tmp_path, 4)
    assert (found.position.segment, found.position.seq) == ("000001-000002.jsonl", 2)
    assert found.line == b'{"seq":4,"salt":"' + b"0" * 32 + b'","n":2}'
    assert tailing.seek(tmp_path, 6).position.seq == 6
    assert tailing.seek(tmp_path, 7).beyond
    (tmp_path / "000001-000001.jsonl").unlink()
    assert tailing.seek(tmp_path, 2) == (("", 0, 2), None, False)


async def test_a_defect_of_the_driver_does_not_end_the_proxy(
    tmp_path: Path, disk: FaultyStorage, clock: ManualClock, index: MemoryIndex,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    work = shipper(tmp_path, index, clock)
    monkeypatch.setattr(work, "retry", 0.01)
    told: list[str] = []
    work.on_change(told.append)
    sound = index.insert

    async def insert(*_: object) -> None:
        raise RuntimeError("cannot switch to state 12")

    async with writing(tmp_path, disk, clock) as journal:
        monkeypatch.setattr(index, "insert", insert)
        running = spawn(work.run(), name="indexer")
        while "RuntimeError: cannot switch to state 12" not in told:
            await asyncio.sleep(0.001)
        monkeypatch.setattr(index, "insert", sound)
        await grow(journal)
        while told[-1]:
            await asyncio.sleep(0.001)
        await cancel(running)
    await work.catch_up()
    expect_all(index, tmp_path)
