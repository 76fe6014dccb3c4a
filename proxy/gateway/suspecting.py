"""Calls as `proxy.authn.suspicion` sees them; what it finds stands on their record."""

from typing import Final

from proxy.audit.flags import SUSPICIOUS
from proxy.authn.suspicion import Suspicion, Use
from proxy.gateway.exchange import Identified
from proxy.gateway.record import CallRecord
from proxy.kube.attributes import RequestInfo
from proxy.state.access import UserKind
from proxy.state.snapshot import Snapshot

_DENIED: Final = frozenset({401, 403})
_READS: Final = frozenset({"get", "list", "watch"})


class Suspecting:
    """Of the calls of one process. Nothing here waits."""

    def __init__(self, suspicion: Suspicion) -> None:
        self._suspicion = suspicion

    def look(self, identified: Identified, snapshot: Snapshot) -> None:
        """A call whose caller is known, before its intent is written."""
        described, who = identified.described, identified.who
        received = described.routed.received
        known = snapshot.access.users.get(who.user)
        flags = self._suspicion.look(
            Use(
                who.user,
                who.serial,
                who.credential.issued_at,
                received.connection.source,
                machine=known is not None and known.kind is UserKind.SERVICE,
                reads_secrets=_reads_secrets(described.info),
            )
        )
        if flags:
            received.record.call.annotations[SUSPICIOUS] = flags

    def refused(self, record: CallRecord, code: int) -> None:
        """A call that we are about to refuse, before that is written."""
        if code in _DENIED and (flags := self._suspicion.denied(record.call.credential)):
            notes = record.call.annotations
            notes[SUSPICIOUS] = f"{notes[SUSPICIOUS]},{flags}" if SUSPICIOUS in notes else flags

    def unrecorded(self, record: CallRecord, code: int) -> None:
        """One that has no record of its own: a burst is told with the next one that has."""
        if code in _DENIED:
            self._suspicion.denied_before(record.call.credential)

    def ended(self, record: CallRecord) -> None:
        """A call that ended; the cluster may have refused it."""
        if record.forwarded and record.status in _DENIED:
            self._suspicion.denied_before(record.call.credential)


def _reads_secrets(info: RequestInfo) -> bool:
    return info.resource == "secrets" and not info.group and info.verb in _READS
