"""The composition of a move; tests/cli/test_db_move.py does one with a real PostgreSQL."""

import pytest

from proxy.data_dir import DataDir
from proxy.errors import SettingsError
from proxy.runtime.moving import move_state
from proxy.settings import Settings


async def test_without_a_database_nothing_is_touched(settings: Settings) -> None:
    data = DataDir(settings.data_dir)
    before = sorted(path.name for path in data.journal.rglob("*"))
    with pytest.raises(SettingsError, match="name no database"):
        await move_state(settings, data)
    assert sorted(path.name for path in data.journal.rglob("*")) == before


async def test_what_cannot_be_reached_is_a_failure_on_record(settings: Settings) -> None:
    data = DataDir(settings.data_dir)
    elsewhere = settings.model_copy(update={"database": "postgresql://nobody@127.0.0.1:1/none"})
    with pytest.raises(Exception, match=r"127\.0\.0\.1"):
        await move_state(elsewhere, data)
    written = b"".join(path.read_bytes() for path in sorted(data.journal.glob("*/*.jsonl")))
    assert written.count(b'"action":"state.move"') == 2
    assert b'"outcome":"failed: ' in written
