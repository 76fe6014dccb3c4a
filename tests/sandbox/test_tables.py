import pytest

from proxy.sandbox.kinds import STORED, Kind
from proxy.sandbox.tables import columns, duration, table


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (200, "3m20s"),
        (600, "10m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 300, "3h5m"),
        (10 * 3600 + 300, "10h"),
        (50 * 3600, "2d2h"),
        (9 * 86400 + 3600, "9d"),
    ],
)
def test_durations_read_as_kubectl_writes_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize("kind", STORED, ids=lambda kind: str(kind.plural))
def test_a_row_has_a_cell_for_every_column(kind: Kind) -> None:
    item = {"metadata": {"name": "x", "creationTimestamp": "2026-01-01T00:00:00Z"}}
    shown = table(kind, [item], 0, include="None")
    assert len(shown["rows"][0]["cells"]) == len(columns(kind))
    assert "object" not in shown["rows"][0]
