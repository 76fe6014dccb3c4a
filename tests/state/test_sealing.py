import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.errors import SettingsError
from proxy.state.sealing import SealError, SecretBox


@pytest.fixture
def box(tmp_path: Path) -> SecretBox:
    return SecretBox.open(tmp_path / "pki" / "state.key")


def test_the_key_is_made_once_and_private(tmp_path: Path, box: SecretBox) -> None:
    path = tmp_path / "pki" / "state.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    sealed = box.seal("c1", b"token")
    assert SecretBox.open(path).unseal("c1", sealed) == b"token"


def test_nothing_readable_is_in_what_is_sealed(box: SecretBox) -> None:
    sealed = box.seal("c1", b"very-secret-token")
    assert b"secret" not in sealed
    assert sealed != box.seal("c1", b"very-secret-token")


@pytest.mark.parametrize(
    ("context", "change", "message"),
    [
        ("c2", lambda sealed: sealed, "altered or belongs"),
        ("c1", lambda sealed: sealed[:-1] + bytes([sealed[-1] ^ 1]), "altered or belongs"),
        ("c1", lambda sealed: sealed[:20], "altered or belongs"),
        ("c1", lambda sealed: b"kw9:" + sealed[4:], "unknown format"),
        ("c1", lambda sealed: b"", "unknown format"),
    ],
    ids=["context", "bit", "cut", "version", "empty"],
)
def test_what_was_touched_does_not_open(
    box: SecretBox, context: str, change: Callable[[bytes], bytes], message: str
) -> None:
    with pytest.raises(SealError, match=message):
        box.unseal(context, change(box.seal("c1", b"token")))


def test_another_key_is_named(tmp_path: Path, box: SecretBox) -> None:
    other = SecretBox.open(tmp_path / "other.key")
    with pytest.raises(SealError, match=r"sealed with key [0-9a-f]{8}, and .*state\.key holds"):
        box.unseal("c1", other.seal("c1", b"token"))


def test_a_key_file_others_can_read_is_refused(tmp_path: Path, box: SecretBox) -> None:
    (tmp_path / "pki" / "state.key").chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        SecretBox.open(tmp_path / "pki" / "state.key")


def test_a_file_that_is_no_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "k").write_bytes(b"short")
    with pytest.raises(SettingsError, match="not a state key"):
        SecretBox.open(tmp_path / "k")
