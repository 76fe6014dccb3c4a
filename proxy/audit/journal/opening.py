"""Opening a journal's files: the lock of its slot, what was there, and where writing begins."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from proxy.audit.journal.bookmark import Bookmarks
from proxy.audit.journal.instance import take_slot
from proxy.audit.journal.recovery import Recovered, recover
from proxy.audit.journal.reserve import Reserve
from proxy.audit.journal.segments import Segments
from proxy.audit.journal.storage import Storage
from proxy.clock import Clock
from proxy.settings import Journal as JournalSettings


class Files(NamedTuple):
    """What a writer's thread works on."""

    writer: str
    segments: Segments
    reserve: Reserve
    bookmarks: Bookmarks
    unlock: Callable[[], None]


def open_files(
    storage: Storage, data_dir: Path, slot: str, settings: JournalSettings, clock: Clock
) -> tuple[Files, Recovered]:
    """Lock and recover `<data_dir>/journal/<slot>`; nothing of the new epoch is written yet.

    Blocking. Raises JournalUnavailableError when another process has the slot,
    CorruptJournalError when the journal is damaged, OSError when the disk refuses.
    """
    directory = data_dir / "journal" / slot
    writer, unlock = take_slot(storage, data_dir, directory, slot)
    try:
        recovered = recover(storage, directory, writer)
        reserve = Reserve(storage, directory, settings.reserve_bytes)
        reserve.find()
    except BaseException:
        unlock()
        raise
    bookmarks = Bookmarks(storage, directory, writer)
    segments = Segments(
        storage,
        directory,
        writer=writer,
        epoch=recovered.epoch,
        segment_bytes=settings.segment_bytes,
        clock=clock,
        reserve=reserve,
        on_finished=bookmarks.finished,
    )
    return Files(writer, segments, reserve, bookmarks, unlock), recovered
