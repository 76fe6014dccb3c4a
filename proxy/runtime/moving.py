"""Taking a data directory's embedded state to PostgreSQL, on record before and after."""

from collections.abc import Mapping

from proxy.audit.event import SystemEvent, body, new_id
from proxy.audit.journal.writer import JournalWriter
from proxy.clock import Clock, SystemClock, rfc3339
from proxy.data_dir import DataDir
from proxy.errors import KubewitnessError, SettingsError
from proxy.runtime.core import MAIN_SLOT
from proxy.settings import Settings
from proxy.state import moving

ACTION = "state.move"


async def move_state(
    settings: Settings, data: DataDir, clock: Clock | None = None
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
    act = new_id(clock.now())

    async def record(outcome: str, counts: Mapping[str, int]) -> None:
        event = SystemEvent(
            event_id=act,
            stage_timestamp=rfc3339(clock.now()),
            action=ACTION,
            target=data.path.name,
            outcome=outcome,
            detail=dict(counts),
        )
        await journal.append(body(event))

    try:
        await record("requested", {})
        try:
            moved = await moving.move(data.state_database, settings.database)
        except KubewitnessError as error:
            await record(f"failed: {error.message}", {})
            raise
        await record("ok", moved)
    finally:
        await journal.close()
    return moved
