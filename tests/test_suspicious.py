"""What counts as out of the ordinary can be set, and what cannot be meant is refused."""

from pathlib import Path

import pytest

from proxy.errors import SettingsError
from proxy.settings import load


def test_hours_are_read_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "kubewitness.yaml").write_text("suspicious: {hours: 'Mon-Fri 08:00-18:00 UTC'}")
    found = load({"data_dir": tmp_path}).suspicious
    assert (found.hours, found.enabled, found.denials) == ("Mon-Fri 08:00-18:00 UTC", True, 30)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("hours", "all day", "suspicious.hours: .*is not written like"),
        ("hours", "08:00-18:00 Mars/Olympus", "is not known here"),
        ("ipv4_prefix", 33, "suspicious.ipv4_prefix"),
        ("silence_days", -1, "suspicious.silence_days"),
        ("unheard_of", 1, "suspicious.unheard_of"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    tmp_path: Path, name: str, value: object, says: str
) -> None:
    with pytest.raises(SettingsError, match=says):
        load({"data_dir": tmp_path, "suspicious": {name: value}})
