"""Who writes: the identity of a data directory, and of each journal in it."""

import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path

from proxy.audit.journal.storage import Storage
from proxy.audit.port import JournalUnavailableError
from proxy.errors import InvalidInputError

_INSTANCE = re.compile(r"[0-9a-f]{8}")
_SLOT = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


def writer_id(data_dir: Path, slot: str) -> str:
    """`<instance>-<slot>`: the writer of one journal, the same at every start.

    Raises InvalidInputError when the slot cannot be a directory's name.
    """
    if not _SLOT.fullmatch(slot):
        raise InvalidInputError(
            f"{slot!r} is not a journal slot",
            hint="Use at most 32 lower-case letters, digits and dashes.",
        )
    return f"{instance_id(data_dir)}-{slot}"


def take_slot(
    storage: Storage, data_dir: Path, directory: Path, slot: str
) -> tuple[str, Callable[[], None]]:
    """Create and lock the directory of a slot; returns the writer's id and the unlocking."""
    storage.make_directory(directory)
    writer = writer_id(data_dir, slot)
    try:
        return writer, storage.lock(directory / "lock")
    except BlockingIOError as error:
        raise JournalUnavailableError(
            f"the journal {directory} is in use by another process",
            hint="Each process needs its own slot; is the proxy running twice on this directory?",
        ) from error


def instance_id(data_dir: Path) -> str:
    """Eight hex characters that name this data directory; made durable at the first call.

    Several processes may call it at once: the first file to be linked into place wins.
    Raises InvalidInputError when the file holds something else, OSError when it cannot be made.
    """
    path = data_dir / "instance"
    if not path.exists():
        _create(path)
    text = path.read_text(encoding="ascii", errors="replace").strip()
    if not _INSTANCE.fullmatch(text):
        raise InvalidInputError(
            f"{path} does not hold an instance id (8 hex characters)",
            hint="Restore it: journals are tied to it.",
        )
    return text


def _create(path: Path) -> None:
    draft = path.with_name(f"instance.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, f"{secrets.token_hex(4)}\n".encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
