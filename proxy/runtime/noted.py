"""Acts done where no journal was: noted by who did them, put on record by the next server's start.

`db upgrade` leaves its notes in the database it upgrades, `authority generate` beside the keys it
makes. A note may be forged by whoever can write there, so only those two acts are taken from notes,
and the record says that it has them from one.
"""

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from proxy.audit.acts import Write
from proxy.audit.event import REQUESTED, SystemEvent
from proxy.audit.index.postgresql.connecting import connect, translated
from proxy.audit.index.postgresql.upgrade import acting_as_owner
from proxy.clock import Clock, rfc3339
from proxy.settings import Settings
from proxy.state.notes import Note
from proxy.state.repository import StateStore
from proxy.state.roles import SCHEMA
from proxy.state.tables import noted_acts

UPGRADE: Final = "database.upgrade"
GENERATE: Final = "authority.generate"
ACTIONS: Final = frozenset({UPGRADE, GENERATE})
FILE: Final = "made.json"
"""Beside a generated authority, also in its Secret: the notes of its making. Nothing there is secret."""
_LARGEST: Final = 64 * 1024
"""Bytes of such a file that are looked at."""
_ADD: Final = "INSERT INTO kubewitness.noted_acts (id, noted_at, event) VALUES ($1, $2, $3)"
_IS_THERE: Final = """
    SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relname = $2)
"""
_log = structlog.get_logger(__name__)


def note_of(event: SystemEvent, clock: Clock) -> Note:
    """An event as a note of now; of an act's two the intent sorts first, also in one moment."""
    part = "intent" if event.outcome == REQUESTED else "outcome"
    return Note(f"{event.event_id}/{part}", clock.now(), msgspec.json.encode(event).decode())


def as_file(notes: Sequence[Note]) -> bytes:
    """Notes as `FILE` holds them."""
    return msgspec.json.format(msgspec.json.encode(notes), indent=1) + b"\n"


class DatabaseNotes:
    """Notes in a PostgreSQL that its administrator upgrades; kept back until it has the table."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._kept: list[Note] = []

    async def write(self, event: SystemEvent) -> None:
        """Note `event`, durable on return where there is a table for it.

        A database that was never upgraded has none, and gets the notes with the next. Raises
        KubewitnessError when the database does not take it.
        """
        self._kept.append(note_of(event, self._clock))
        if not await self._is_there():
            return
        async with acting_as_owner(self._url) as connection:
            with translated(hint=""):
                await connection.executemany(
                    _ADD,
                    [(note.id, note.noted_at, note.event) for note in self._kept],
                )
        self._kept.clear()

    async def _is_there(self) -> bool:
        connection: Any = await connect(self._url, None)
        try:
            with translated(hint=""):
                return bool(await connection.fetchval(_IS_THERE, SCHEMA, noted_acts.name))
        finally:
            await connection.close()


async def record_noted(settings: Settings, store: StateStore, write: Write, clock: Clock) -> None:
    """Put on record what was noted and is not yet. Raises UnavailableError, and then nothing is lost."""

    async def record(note: Note) -> None:
        event = _taken(note, clock)
        if event is not None:
            await write(event)

    await store.notes.add(await asyncio.to_thread(_beside, settings.tls.ca_cert_file))
    await store.notes.settle(record)


def _taken(note: Note, clock: Clock) -> SystemEvent | None:
    """The event to record for `note`, of now: the moment it was done is in its detail."""
    try:
        event = msgspec.json.decode(note.event, type=SystemEvent)
    except msgspec.MsgspecError:
        event = None
    if event is None or event.action not in ACTIONS:
        _log.warning("a note is of no act that is noted, and is not recorded", note=note.id)
        return None
    detail = {**event.detail, "notedAt": event.stage_timestamp}
    return msgspec.structs.replace(
        event, stage_timestamp=rfc3339(clock.now()), detail=detail, source_ips=()
    )


def _beside(authority: Path | None) -> Iterable[Note]:
    """The notes beside an authority that the settings name, if there are any."""
    if authority is None:
        return ()
    path = authority.parent / FILE
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_LARGEST), type=tuple[Note, ...])
    except FileNotFoundError:
        return ()
    except (OSError, msgspec.MsgspecError) as error:
        _log.warning("who made the authority cannot be read", file=str(path), error=str(error))
        return ()
