"""Filling a new data directory: authority, keys, state, and the first administrator, recorded."""

from typing import Final

from proxy.audit.acts import PROXY, Actor, Acts, into
from proxy.audit.journal.writer import JournalWriter
from proxy.clock import Clock, SystemClock
from proxy.data_dir import DataDir
from proxy.metrics import Metrics
from proxy.pki.keys import fingerprint
from proxy.runtime.admin import ensure_admin
from proxy.runtime.core import MAIN_SLOT, state_url
from proxy.runtime.identity import Identity
from proxy.settings import Settings
from proxy.state.repository import StateStore
from proxy.state.sealing import SecretBox

ACTION: Final = "instance.init"


async def fill(
    settings: Settings, data: DataDir, clock: Clock | None = None, actor: Actor = PROXY
) -> None:
    """Make what is missing; what is there stays. Raises KubewitnessError.

    The journal is opened first: a disk that cannot hold the record is no place for a proxy.
    """
    clock = clock or SystemClock()
    journal = await JournalWriter.open(data.path, MAIN_SLOT, settings.journal, clock=clock)
    acts = Acts(into(journal), clock, actor)
    try:
        async with acts.act(ACTION, data.path.name) as told:
            identity = Identity(settings, data, clock, Metrics(), issuing=True)
            told["authority"] = fingerprint(identity.authorities().current.certificate)
            box = SecretBox.choose(settings.state_key_file, data.state_key)
            store = await StateStore.open(state_url(settings, data), box, clock=clock)
            try:
                await ensure_admin(
                    data,
                    store,
                    identity.authorities(),
                    acts,
                    server=f"https://{settings.control}",
                    clock=clock,
                )
            finally:
                await store.close()
    finally:
        await journal.close()
