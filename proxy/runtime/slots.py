"""Journals that nobody writes this time: their last process may have died in the middle."""

from collections.abc import Collection
from typing import Final

import structlog

from proxy.audit.journal.records import segments
from proxy.audit.journal.writer import JournalWriter
from proxy.clock import Clock
from proxy.data_dir import DataDir
from proxy.runtime.local_acts import SLOT
from proxy.settings import Settings

_log = structlog.get_logger(__name__)

_TAIL: Final = 4096
"""Bytes that hold the last line of a sealed segment; a seal has about 200."""


async def recover_unused(
    data: DataDir, settings: Settings, used: Collection[str], clock: Clock
) -> None:
    """Close the calls that were left open in slots that are not `used` now.

    Raises what JournalWriter.open does: a journal that cannot be recovered needs a person.
    """
    # Nobody's calls go there, so it needs no reserve either.
    given = settings.journal.model_copy(update={"reserve_bytes": 0})
    # A command may be writing into its own at this moment, and recovers it the next time itself.
    for slot in sorted(unsealed(data) - set(used) - {SLOT}):
        _log.info("recovering the journal of an unused slot", slot=slot)
        journal = await JournalWriter.open(data.path, slot, given, clock=clock)
        await journal.close()


def unsealed(data: DataDir) -> set[str]:
    """Slots whose journal was not closed in good order."""
    found = set()
    for directory in data.journal.iterdir() if data.journal.exists() else ():
        names = segments([path.name for path in directory.iterdir()]) if directory.is_dir() else []
        if not names:
            continue
        with (directory / str(names[-1])).open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL))
            lines = file.read().rstrip(b"\0").splitlines()
        if not lines or not lines[-1].startswith(b'{"kind":"JournalSeal"'):
            found.add(directory.name)
    return found
