"""Private files: written whole or not at all, readable by their owner only.

Keys and credentials live in files, so a half-written or world-readable one is never left behind,
also not when the machine stops in between.
"""

import os
import tempfile
from pathlib import Path

PRIVATE = 0o600


def create_private(path: Path, data: bytes) -> None:
    """Create `path` (mode 0600) holding `data`, durable on return.

    The file appears complete or not at all, and an existing one is never touched.
    Raises FileExistsError when it exists, OSError when it cannot be written.
    """
    temporary = _write_beside(path, data)
    try:
        # link() fails where rename() would replace: two processes cannot both win.
        os.link(temporary, path)
    finally:
        temporary.unlink()
    sync_directory(path.parent)


def replace_private(path: Path, data: bytes) -> None:
    """Write `data` to `path` (mode 0600) in one step; readers see the old file or the new one."""
    path = path.resolve()  # a symbolic link keeps pointing where it does
    temporary = _write_beside(path, data)
    try:
        temporary.replace(path)
    except BaseException:
        temporary.unlink()
        raise
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make names created or renamed in `directory` durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _write_beside(path: Path, data: bytes) -> Path:
    # mkstemp creates with mode 0600 and O_EXCL, whatever the umask.
    fd, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink()
        raise
    return temporary
