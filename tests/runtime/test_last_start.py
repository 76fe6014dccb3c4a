"""A setting that somebody changed in a file is on record at the start that follows."""

from pathlib import Path

import pytest

from proxy.cli.settings_table import rows
from proxy.data_dir import DataDir
from proxy.errors import UnavailableError
from proxy.runtime.last_start import record_settings
from proxy.settings import Journal, Settings
from tests.audit.written import Written


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    found = DataDir(tmp_path / "data")
    found.create()
    return found


def given(**settings: object) -> Settings:
    return Settings().model_copy(update=settings)


async def test_the_first_start_records_all_of_them(data: DataDir) -> None:
    written = Written()
    await record_settings(data, given(workers=2), written.acts())
    assert written.told == [
        ("settings.change", "data", "requested"),
        ("settings.change", "data", "ok"),
    ]
    after = written.events[0].detail["after"]
    assert list(after) == [row.name for row in rows()]
    assert (after["workers"], after["tls.names"][0]) == (2, "localhost")
    assert data.last_start.stat().st_mode & 0o777 == 0o600


async def test_a_start_with_the_same_settings_records_nothing(data: DataDir) -> None:
    written = Written()
    for _ in range(2):
        await record_settings(data, given(database="postgresql://u:p@db/x"), written.acts())
    assert len(written.events) == 2


async def test_what_differs_is_recorded_before_and_after(data: DataDir) -> None:
    written = Written()
    await record_settings(data, given(), written.acts())
    changed = given(journal=Journal(deadline=2.5), trusted_proxies=("10.0.0.0/8",))
    await record_settings(data, changed, written.acts())
    assert written.events[2].detail == {
        "before": {"trusted_proxies": [], "journal.deadline": 1.0},
        "after": {"trusted_proxies": ["10.0.0.0/8"], "journal.deadline": 2.5},
    }
    await record_settings(data, given(), written.acts())
    assert written.events[4].detail["after"]["journal.deadline"] == 1.0


async def test_of_a_secret_only_that_it_changed(data: DataDir) -> None:
    written = Written()
    for password in ("hunter2", "swordfish"):
        settings = given(database=f"postgresql://kw:{password}@db.example:5432/kw")
        await record_settings(data, settings, written.acts())
    assert written.events[2].detail == {"before": {}, "after": {}, "secretChanged": ["database"]}
    kept = data.last_start.read_text()
    assert "hunter2" not in kept + str(written.events)
    assert "swordfish" not in kept + str(written.events)
    await record_settings(data, given(), written.acts())
    assert written.events[4].detail == {
        "before": {"database": "db.example:5432"},
        "after": {"database": ""},
    }


async def test_a_setting_that_a_new_version_brings_changed_only_if_it_is_set(data: DataDir) -> None:
    written = Written()
    await record_settings(data, given(), written.acts())
    text = data.last_start.read_text()
    data.last_start.write_text(text.replace('"workers": 1,', '"former": 1,'))
    await record_settings(data, given(), written.acts())
    assert written.events[2].detail == {"before": {"former": 1}, "after": {}}
    data.last_start.write_text(text.replace('"workers": 1,', ""))
    await record_settings(data, given(workers=3), written.acts())
    assert written.events[4].detail["after"] == {"workers": 3}


@pytest.mark.parametrize("text", ["", "[]", '{"settings": 1}', '{"settings": {}, "salt": "x"}'])
async def test_a_damaged_file_is_as_none(data: DataDir, text: str) -> None:
    data.last_start.write_text(text)
    written = Written()
    await record_settings(data, given(), written.acts())
    assert "last one kept is lost" in written.events[0].detail["reason"]
    await record_settings(data, given(), written.acts())
    assert len(written.events) == 2


async def test_what_cannot_be_recorded_is_recorded_by_the_next_start(data: DataDir) -> None:
    written = Written()
    await record_settings(data, given(), written.acts())
    written.full = True
    with pytest.raises(UnavailableError):
        await record_settings(data, given(workers=2), written.acts())
    written.full = False
    await record_settings(data, given(workers=2), written.acts())
    assert written.events[2].detail == {"before": {"workers": 1}, "after": {"workers": 2}}


async def test_what_cannot_be_kept_keeps_nobody_from_starting(data: DataDir) -> None:
    written = Written()
    data.last_start.mkdir()
    for _ in range(2):
        await record_settings(data, given(), written.acts())
    assert [outcome for _, _, outcome in written.told] == ["requested", "ok"] * 2
