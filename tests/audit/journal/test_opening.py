"""Opening a journal's files: one process at a time, and a failure leaves the slot free."""

from pathlib import Path

import pytest

from proxy.audit.journal.opening import open_files
from proxy.audit.journal.records import CorruptJournalError
from proxy.audit.journal.storage import FileStorage
from proxy.audit.port import JournalUnavailableError
from proxy.clock import ManualClock
from proxy.errors import InvalidInputError
from tests.audit.journals import settings

STORAGE = FileStorage()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    files, recovered = open_files(STORAGE, tmp_path, "0", settings(), ManualClock())
    assert files.writer.endswith("-0")
    assert recovered.epoch == 1
    with pytest.raises(JournalUnavailableError, match="in use by another process"):
        open_files(STORAGE, tmp_path, "0", settings(), ManualClock())
    files.unlock()
    open_files(STORAGE, tmp_path, "0", settings(), ManualClock())[0].unlock()
    assert not list((tmp_path / "journal" / "0").glob("*.jsonl")), "nothing is written yet"


def test_a_journal_that_is_damaged_stays_free_for_a_repair(tmp_path: Path) -> None:
    directory = tmp_path / "journal" / "0"
    directory.mkdir(parents=True)
    path = directory / "000001-000001.jsonl"
    path.write_bytes(b"not a journal\n")
    for _ in range(2):
        with pytest.raises(CorruptJournalError, match="not a journal header"):
            open_files(STORAGE, tmp_path, "0", settings(), ManualClock())
    path.unlink()
    open_files(STORAGE, tmp_path, "0", settings(), ManualClock())[0].unlock()


def test_a_slot_is_a_directorys_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="not a journal slot"):
        open_files(STORAGE, tmp_path, "../x", settings(), ManualClock())
