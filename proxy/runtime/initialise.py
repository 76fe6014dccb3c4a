"""Filling a new data directory: authority, keys, state, and the first administrator, recorded."""

from proxy.audit.event import SystemEvent, body, new_id
from proxy.audit.journal.writer import JournalWriter
from proxy.clock import Clock, SystemClock, rfc3339
from proxy.data_dir import DataDir
from proxy.metrics import Metrics
from proxy.runtime.admin import ensure_admin
from proxy.runtime.core import MAIN_SLOT, state_url
from proxy.runtime.identity import Identity
from proxy.settings import Settings
from proxy.state.repository import StateStore
from proxy.state.sealing import SecretBox


async def fill(settings: Settings, data: DataDir, clock: Clock | None = None) -> None:
    """Make what is missing; what is there stays. Raises KubewitnessError.

    The journal is opened first: a disk that cannot hold the record is no place for a proxy.
    """
    clock = clock or SystemClock()
    journal = await JournalWriter.open(data.path, MAIN_SLOT, settings.journal, clock=clock)
    try:
        identity = Identity(settings, data, clock, Metrics(), issuing=True)
        box = SecretBox.choose(settings.state_key_file, data.state_key)
        store = await StateStore.open(state_url(settings, data), box, clock=clock)
        try:
            credential = await ensure_admin(
                data,
                store,
                identity.authorities(),
                server=f"https://{settings.control}",
                clock=clock,
            )
        finally:
            await store.close()
        now = clock.now()
        detail: dict[str, str | int | bool | list[str]] = {}
        if credential is not None:
            detail = {"credential": credential.serial, "user": credential.user}
        event = SystemEvent(
            event_id=new_id(now),
            stage_timestamp=rfc3339(now),
            action="instance.init",
            target=data.path.name,
            detail=detail,
        )
        await journal.append(body(event))
    finally:
        await journal.close()
