"""Acts of people at the server itself: commands that work on its disk, on record by themselves.

Such a command asks no control plane: none may run, or it has the very trouble that is to be mended.
It writes into a journal of its own beside the others, which `serve` indexes and ships like them.
Who acts is whom the operating system says.
"""

import asyncio
import os
import pwd
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from proxy.audit.acts import Actor, Acts
from proxy.audit.event import SystemEvent, body
from proxy.audit.journal.writer import JournalWriter
from proxy.audit.port import JournalUnavailableError
from proxy.clock import Clock, SystemClock
from proxy.data_dir import DataDir
from proxy.settings import KIB, Journal, Settings

SLOT: Final = "cli"
"""Journal slot of commands; each has it only while it writes an event."""
VIA: Final = "cli (local)"
_SEGMENT: Final = 64 * KIB
"""Bytes; a command writes one event and ends."""
_TRIES: Final = 40
_PAUSE: Final = 0.05
"""Seconds until the slot is tried again: another command may be writing its event."""
_NO_LOGIN: Final = 0xFFFF_FFFF
"""`loginuid` of a process that began with no login, such as a service."""


def person() -> Actor:
    """Who runs this process: `os:` and the login, and what else the operating system says of them.

    `loginUid` is who logged in, whatever they became afterwards with su or sudo.
    """
    uid = os.getuid()
    login = _login(uid)
    detail: dict[str, Any] = {
        "via": VIA,
        "host": socket.gethostname(),
        "uid": uid,
        "login": login,
    }
    with suppress(OSError, ValueError):
        behind = int(Path("/proc/self/loginuid").read_text(encoding="ascii"))
        if behind not in (uid, _NO_LOGIN):
            detail |= {"loginUid": behind, "loginName": _login(behind)}
    return Actor(f"os:{login}", detail)


def local_acts(data: DataDir, settings: Settings, clock: Clock | None = None) -> Acts:
    """Acts of the person who runs this process on `data`, which a `serve` may be running on."""
    clock = clock or SystemClock()
    # Nobody's calls go there, so it needs no reserve.
    given = settings.journal.model_copy(update={"segment_bytes": _SEGMENT, "reserve_bytes": 0})

    async def write(event: SystemEvent) -> None:
        with _as_owner(data.path):
            journal = await _opened(data.path, given, clock)
            try:
                await journal.append(body(event))
            finally:
                await journal.close()

    return Acts(write, clock, person())


async def _opened(path: Path, settings: Journal, clock: Clock) -> JournalWriter:
    for _ in range(_TRIES):
        with suppress(JournalUnavailableError):
            return await JournalWriter.open(path, SLOT, settings, clock=clock)
        await asyncio.sleep(_PAUSE)
    return await JournalWriter.open(path, SLOT, settings, clock=clock)


def _login(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)  # as in a container, whose users have no names


@contextmanager
def _as_owner(path: Path) -> Iterator[None]:
    """As root: with the rights of the owner of `path`, so that `serve` can read what is written."""
    owner = path.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        yield
        return
    group = os.getegid()
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
