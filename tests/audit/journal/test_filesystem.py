"""Which filesystem a path is on, and whether the journal may be there."""

from pathlib import Path

import pytest

from proxy.audit.journal.filesystem import filesystem, require_durable, weakness
from proxy.errors import SettingsError
from proxy.settings import Audit, Journal, Settings

MOUNTS = r"""
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 22 0:5 / /data rw - nfs4 server:/export rw
24 23 0:6 / /data/journal rw - ext4 /dev/vdb rw
25 22 0:7 / /with\040space rw - tmpfs tmpfs rw
26 22 0:8 / /twice rw - ext4 /dev/vdc rw
27 22 0:9 / /twice rw - tmpfs tmpfs rw
28 22 0:9 / /sshfs rw - fuse.sshfs host: rw
""".lstrip()


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    path = tmp_path / "mountinfo"
    path.write_text(MOUNTS)
    return path


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/somewhere", "ext4"),
        ("/data", "nfs4"),
        ("/data/other", "nfs4"),
        ("/database", "ext4"),
        ("/data/journal/main", "ext4"),
        ("/with space/x", "tmpfs"),
        ("/twice", "tmpfs"),
        ("/sshfs/x", "fuse.sshfs"),
    ],
)
def test_the_innermost_and_latest_mount_counts(mounts: Path, path: str, kind: str) -> None:
    assert filesystem(Path(path), mounts) == kind


@pytest.mark.parametrize("path", ["/proc", "/proc/self"])
def test_on_this_machine(path: str) -> None:
    assert filesystem(Path(path)) == "proc"


def test_where_the_kernel_does_not_say(tmp_path: Path) -> None:
    assert filesystem(tmp_path, tmp_path / "none") == ""


@pytest.mark.parametrize(
    ("kind", "safe"),
    [(kind, False) for kind in ("tmpfs", "ramfs", "overlay", "nfs", "nfs4", "9p", "cifs", "fuse.x")]
    + [(kind, True) for kind in ("ext4", "xfs", "btrfs", "zfs", "")],
)
def test_which_filesystems_keep_what_was_synced(kind: str, safe: bool) -> None:
    assert (weakness(kind) == "") is safe


@pytest.mark.parametrize(
    ("path", "ack", "unsafe", "refused"),
    [
        ("/data/journal", "local", "refuse", False),
        ("/data/other", "local", "refuse", True),
        ("/with space", "local", "refuse", True),
        ("/data/other", "replicated", "refuse", False),
        ("/data/other", "local", "allow", False),
    ],
)
def test_who_may_record_there(
    mounts: Path, path: str, ack: str, unsafe: str, refused: bool
) -> None:
    settings = Settings(
        audit=Audit.model_validate({"ack": ack}),
        journal=Journal.model_validate({"unsafe_filesystem": unsafe}),
    )
    if not refused:
        doubt = require_durable(Path(path), settings, mounts)
        assert bool(doubt) == bool(weakness(filesystem(Path(path), mounts)))
        return
    with pytest.raises(SettingsError) as error:
        require_durable(Path(path), settings, mounts)
    assert path in error.value.message
    assert filesystem(Path(path), mounts) in error.value.message
    for way in ("--data-dir", "--audit-ack replicated", "--journal-unsafe-filesystem allow"):
        assert way in error.value.hint
