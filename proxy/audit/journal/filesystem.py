"""What the journal lies on: whether a sync there means that a record survives.

In memory (tmpfs) a record is gone with the next restart, in a container's own layer (overlay) with
the container, and on a network filesystem a sync may not mean what it says.
"""

import re
from pathlib import Path
from typing import Final

from proxy.errors import SettingsError
from proxy.settings import Settings

MOUNTS: Final = Path("/proc/self/mountinfo")
_MEMORY: Final = "what is there is gone with the next restart"
_LAYER: Final = "what is there is gone with the container"
_NETWORK: Final = "a sync may not mean there what it says"
_UNSAFE: Final = {
    "tmpfs": _MEMORY,
    "ramfs": _MEMORY,
    "overlay": _LAYER,
    "aufs": _LAYER,
    "nfs": _NETWORK,
    "nfs4": _NETWORK,
    "cifs": _NETWORK,
    "smb3": _NETWORK,
    "9p": _NETWORK,
    "fuse": _NETWORK,
}


def filesystem(path: Path, mounts: Path = MOUNTS) -> str:
    """The type of the filesystem `path` is or would be on; empty where the kernel does not say."""
    best, kind = -1, ""
    resolved = path.resolve()
    try:
        lines = mounts.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ""
    for line in lines:
        mount, _, details = line.partition(" - ")
        point = Path(_unescaped(mount.split()[4]))
        # Of two mounts on the same point the later one is seen.
        if resolved.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), details.split()[0]
    return kind


def _unescaped(point: str) -> str:
    """proc_pid_mountinfo(5): blanks and backslashes in a mount point stand in octal."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), point)


def weakness(kind: str) -> str:
    """Why a record on a filesystem of type `kind` may not survive; empty when nothing says so."""
    # `fuse.sshfs` is a kind of fuse.
    return _UNSAFE.get(kind.partition(".")[0], "")


def require_durable(journal: Path, settings: Settings, mounts: Path = MOUNTS) -> str:
    """Refuse to record in the directory `journal` alone when a record there may not survive.

    Returns what is doubtful although the settings allow it; empty when nothing is.
    Raises SettingsError naming the filesystem, the path and the ways out.
    """
    kind = filesystem(journal, mounts)
    why = weakness(kind)
    if not why:
        return ""
    found = f"The journal {journal.absolute()} is on {kind}: {why}"
    if settings.audit.ack == "replicated" or settings.journal.unsafe_filesystem == "allow":
        return f"{found}."
    raise SettingsError(
        f"{found}, so a record there proves nothing.",
        hint="Put the data directory on a local disk or a volume (--data-dir); or let the database "
        "count as well (--audit-ack replicated); or accept that records can be lost "
        "(--journal-unsafe-filesystem allow).",
    )
