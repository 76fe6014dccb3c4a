"""Planted bugs below the writer's queue: what a disk at its worst brings to light."""

from contextlib import suppress
from functools import partial
from typing import Any, Final

from proxy.audit.journal import bookmark, records, recovery
from proxy.audit.journal.open_calls import OpenCalls
from proxy.audit.journal.records import Batch, frame
from proxy.audit.journal.recovery import Recovered
from proxy.audit.journal.segments import Segments
from proxy.audit.journal.writer import JournalWriter
from tests.faults import crash_states, simulated_writer
from tests.faults.bug import Bug
from tests.faults.report import Report
from tests.faults.swapping import swapped


def _hunt(life: int, _: Bug) -> Report:
    return crash_states.hunt(life=life)


class _Deaf:
    """A storage whose directories are never synced; everything else is passed on."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def sync_directory(self, path: object) -> None:
        pass


_sound_init = Segments.__init__
_sound_commit = Segments.commit
_sound_begin = Segments._begin
_sound_fail = Segments._fail
_sound_header = Segments._header
_sound_rewritten = recovery._rewritten
_sound_recover = recovery.recover
_sound_first_records = recovery.first_records
_sound_sound = records.sound


def _write_unsynced(self: Segments, present: Any, batch: Batch) -> None:
    present.file.write(batch.data, self._end)
    self._end += len(batch.data)
    self._last = batch


def _write_then_sync_the_one_before(self: Segments, present: Any, batch: Batch) -> None:
    present.file.sync()
    _write_unsynced(self, present, batch)


def _commit_again_in_place(self: Segments, batch: Batch) -> None:
    """As `Segments.commit`, but a failed sync is simply repeated."""
    if self._open is not None and self._open.capacity - self._end > len(batch.data):
        present = self._open
        try:
            present.file.write(batch.data, self._end)
            try:
                present.file.sync()
            except OSError:
                present.file.sync()
        except OSError as error:
            self._fail(present, error)
        else:
            self._end += len(batch.data)
            self._last = batch
            return
    _sound_commit(self, batch)


def _begin_quietly(self: Segments, batch: Batch) -> None:
    with suppress(OSError):
        _sound_begin(self, batch)


def _commit_renumbered(self: Segments, batch: Batch) -> None:
    """What failed is written again under the sequences that follow it."""
    try:
        _sound_commit(self, batch)
    except OSError:
        bodies = [line[line.index(b'","') + 3 : -1] for line in batch.data.split(b"\n")[:-2]]
        again = frame(bodies, b"00" * 16 * len(bodies), batch.last + 1, batch.sha256)
        _sound_commit(self, again)


def _fail_and_remove(self: Segments, present: Any, error: OSError) -> None:
    _sound_fail(self, present, error)
    self._storage.remove(self._directory / str(present.name))


def _finish_too_short(self: Segments, present: Any) -> None:
    with suppress(OSError):
        present.file.truncate(self._end - 1)
    self._drop(present)


def _fill_and_name_last(self: Segments, present: Any, header: bytes, batch: Batch) -> None:
    self._end = len(header)
    present.file.write(header, 0)
    present.file.sync()
    self._write(present, batch)
    self._storage.sync_directory(self._directory)


def _fill_at_once(self: Segments, present: Any, header: bytes, batch: Batch) -> None:
    self._end = len(header)
    self._storage.sync_directory(self._directory)
    present.file.write(header, 0)
    self._write(present, batch)


def _header_of(self: Segments, batch: Batch, *rest: Any, **changes: Any) -> bytes:
    values: dict[str, Any] = {
        "first": batch.first,
        "last": batch.last,
        "prev": batch.prev,
    } | changes
    return _sound_header(self, Batch(data=batch.data, sha256=batch.sha256, **values), *rest)


def _header_from_last(self: Segments, batch: Batch, *rest: Any) -> bytes:
    return _header_of(self, batch, *rest, first=batch.last + 1)


def _deaf_init(self: Segments, storage: Any, *args: Any, **named: Any) -> None:
    _sound_init(self, _Deaf(storage), *args, **named)


def _lines_count(data: bytes, position: int) -> int:
    """Whole lines are kept, whether or not their batch is complete."""
    end = _sound_sound(data, position)
    while data.startswith(b'{"seq":', end) and (stop := data.find(b"\n", end)) > 0:
        end = stop + 1
    return end


def _all_but_the_last(data: bytes, position: int) -> int:
    end = position
    while (following := records.read_batch(data, end)) is not None:
        if records.read_batch(data, following.next) is None and end > position:
            break
        end = following.next
    return end


def _without_sync(self: Any, path: Any, data: bytes, end: int) -> None:
    file = self._storage.open(path)
    file.truncate(end)
    file.close()


def _synced_alone(self: Any, path: Any, data: bytes, end: int) -> None:
    file = self._storage.open(path)
    file.truncate(end)
    file.sync()
    file.close()


def _torn_hides_all(data: bytes, position: int) -> int:
    return position if records.last_batch(data) is None else _sound_rewritten(data, position)


def _epoch_again(*args: Any) -> Recovered:
    recovered = _sound_recover(*args)
    recovered.epoch = max(1, recovered.epoch - 1)
    return recovered


def _one_left_open(recovered: Recovered, now: float) -> list[bytes]:
    records = _sound_first_records(recovered, now)
    return records[1:] if len(records) > 1 else records


def _closed_twice(recovered: Recovered, now: float) -> list[bytes]:
    records = _sound_first_records(recovered, now)
    return [records[0], *records] if len(records) > 1 else records


def _seen_as_sealed(_: bytes) -> bool:
    return True


def _believed(data: bytes) -> Any:
    """A bookmark whose checksum is not looked at."""
    first, *lines = data.split(b"\n")[:-2] or [b""]
    try:
        head = bookmark._decode_head(first)
    except records.UNREADABLE:
        return None
    name = records.SegmentName(head.epoch, head.segment)
    return bookmark.Bookmark(head.writer, name, head.seq, head.sha256, lines)


def _hunt_writer(_: Bug) -> Report:
    return simulated_writer.crashed_writers(runs=1000)


def _commit_after_telling(self: JournalWriter, batch: Batch) -> None:
    """Whoever waits is told before the thread has even seen the batch."""
    for seq, future in enumerate(self._waiting._sent, batch.first):
        if future is not None and not future.done():
            future.set_result(seq)
    _sound_writer_commit(self, batch)


def _done_whatever_happened(
    self: JournalWriter, batch: Batch, _: Exception | None, seconds: float
) -> None:
    _sound_done(self, batch, None, seconds)


def _drop_what_failed(self: JournalWriter) -> None:
    self._waiting.release(0)
    self._inflight = None
    self._send_probe()


def _number_anew(self: JournalWriter) -> None:
    batch = self._inflight
    if batch is not None:
        bodies = [line[line.index(b'","') + 3 : -1] for line in batch.data.split(b"\n")[:-2]]
        salts = b"00" * 16 * len(bodies)
        self._inflight = again = frame(bodies, salts, self._next_seq, self._prev)
        self._next_seq, self._prev = again.last + 1, again.sha256
        self._commit(again)


_sound_writer_commit = JournalWriter._commit
_sound_done = JournalWriter._done


def _bug(name: str, breaks: str, *changes: tuple[Any, str, Any], life: int = 0) -> Bug:
    """`life` is where to begin the hunt for what is rare."""
    in_writer = changes[0][0] is JournalWriter
    hunt = _hunt_writer if in_writer else partial(_hunt, life)
    return Bug(name, breaks, partial(swapped, *changes), hunt)


BUGS: Final = [
    _bug(
        "no-sync",
        "Batches are written and never synced.",
        (Segments, "_write", _write_unsynced),
    ),
    _bug(
        "ack-before-sync",
        "A batch counts when it is written; its sync comes with the next one.",
        (Segments, "_write", _write_then_sync_the_one_before),
    ),
    _bug(
        "sync-repeated",
        "A sync that failed is tried again on the same file, and believed.",
        (Segments, "commit", _commit_again_in_place),
    ),
    _bug(
        "directory-not-synced",
        "A new segment's name is never made durable.",
        (Segments, "__init__", _deaf_init),
    ),
    _bug(
        "failed-roll-swallowed",
        "A batch that a new segment could not take is forgotten and acknowledged.",
        (Segments, "_begin", _begin_quietly),
    ),
    _bug(
        "rewritten-with-new-sequences",
        "A batch that failed is written again under other sequences.",
        (Segments, "commit", _commit_renumbered),
    ),
    _bug(
        "name-synced-last",
        "A segment's new name, which was the reserve's, is made durable after its records are.",
        (Segments, "_fill", _fill_and_name_last),
        life=5,
    ),
    _bug(
        "header-synced-with-its-batch",
        "A segment's header is made durable together with its first batch.",
        (Segments, "_fill", _fill_at_once),
    ),
    _bug(
        "left-without-a-look",
        "Nobody looks whether a full segment is still there before it is left.",
        (Segments, "_refuse_misplaced", lambda *_: None),
        life=5,
    ),
    _bug(
        "header-overrules",
        "A segment that has only a header overrules the batch before it.",
        (recovery, "_batch_at", lambda *_: True),
        life=2,
    ),
    _bug(
        "kept-by-a-sync-alone",
        "Recovery believes a sync after one that failed, and writes nothing again.",
        (recovery._Scan, "_cut", _synced_alone),
        life=22,
    ),
    _bug(
        "torn-trailer-hides-all",
        "Nothing is read in an older segment whose last trailer is torn.",
        (recovery, "_rewritten", _torn_hides_all),
        life=15,
    ),
    _bug(
        "failed-segment-removed",
        "A segment that failed is removed, with the durable batches in it.",
        (Segments, "_fail", _fail_and_remove),
    ),
    _bug(
        "finished-segment-cut-short",
        "A full segment is cut one byte too early.",
        (Segments, "_finish", _finish_too_short),
    ),
    _bug(
        "header-with-wrong-sequence",
        "A header's firstSeq is that of the batch after its first.",
        (Segments, "_header", _header_from_last),
    ),
    _bug(
        "checksum-not-checked",
        "A batch with a trailer counts, whatever stands before the trailer.",
        (records, "intact", lambda *_: True),
        (recovery, "intact", lambda *_: True),
    ),
    _bug(
        "torn-batch-kept",
        "Recovery keeps the whole lines of a torn batch.",
        (recovery, "sound", _lines_count),
    ),
    _bug(
        "whole-batch-cut",
        "Recovery cuts the last whole batch as well.",
        (recovery, "sound", _all_but_the_last),
    ),
    _bug(
        "kept-but-not-synced",
        "Recovery builds on what only the page cache holds.",
        (recovery._Scan, "_cut", _without_sync),
    ),
    _bug(
        "epoch-again",
        "The new epoch has the number of the last one.",
        (recovery, "recover", _epoch_again),
    ),
    _bug(
        "open-call-left-open",
        "One of the calls that a crash left open gets no outcome.",
        (recovery, "first_records", _one_left_open),
    ),
    _bug(
        "open-call-closed-twice",
        "One of the calls that a crash left open gets two outcomes.",
        (recovery, "first_records", _closed_twice),
    ),
    _bug(
        "every-end-is-a-seal",
        "Recovery takes every journal for one that was closed in good order.",
        (recovery, "sealed", _seen_as_sealed),
    ),
    _bug(
        "bookmark-forgotten",
        "Recovery begins behind a bookmark and forgets the open calls it names.",
        (OpenCalls, "restore", lambda *_: None),
    ),
    _bug(
        "bookmark-believed",
        "A torn bookmark counts like a whole one.",
        (recovery, "decode", _believed),
    ),
    _bug(
        "told-before-the-disk",
        "Whoever waits for a record is told before the disk has it.",
        (JournalWriter, "_commit", _commit_after_telling),
    ),
    _bug(
        "error-not-looked-at",
        "The thread's error is not looked at: what failed counts as durable.",
        (JournalWriter, "_done", _done_whatever_happened),
    ),
    _bug(
        "failed-batch-dropped",
        "A batch that failed is not tried again; its sequences are never written.",
        (JournalWriter, "_try_again", _drop_what_failed),
    ),
    _bug(
        "failed-batch-numbered-anew",
        "A batch that failed is tried again under new sequences.",
        (JournalWriter, "_try_again", _number_anew),
    ),
]
