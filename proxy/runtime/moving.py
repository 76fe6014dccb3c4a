"""Taking a data directory's embedded state to PostgreSQL, on record before and after."""

from collections.abc import Mapping
from typing import Final

from proxy.audit.acts import PROXY, Actor, Acts, into
from proxy.audit.journal.writer import JournalWriter
from proxy.clock import Clock, SystemClock
from proxy.data_dir import DataDir
from proxy.errors import SettingsError
from proxy.runtime.core import MAIN_SLOT
from proxy.settings import Settings, database_place
from proxy.state import moving

ACTION: Final = "state.move"


async def move_state(
    settings: Settings, data: DataDir, clock: Clock | None = None, actor: Actor = PROXY
) -> Mapping[str, int]:
    """Copy the state of `data` to the database of `settings`; rows by table.

    Nothing may serve meanwhile; the caller holds the directory's lock. Raises SettingsError without
    such a database, and what `proxy.state.moving.move` raises.
    """
    if not settings.database:
        raise SettingsError(
            "The settings name no database.", hint="Set `database` to postgresql://… first."
        )
    clock = clock or SystemClock()
    journal = await JournalWriter.open(data.path, MAIN_SLOT, settings.journal, clock=clock)
    acts, place = Acts(into(journal), clock, actor), database_place(settings.database)
    try:
        async with acts.act(ACTION, data.path.name, {"database": place}) as told:
            moved = await moving.move(data.state_database, settings.database)
            told.update(moved)
    finally:
        await journal.close()
    return moved
