"""Calls as `proxy.authn.suspicion` sees them; what it finds stands on their record."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from proxy.audit.flags import SUSPICIOUS
from proxy.authn.suspicion import Suspicion, Use
from proxy.gateway.exchange import Identified
from proxy.gateway.record import CallRecord
from proxy.kube.attributes import RequestInfo
from proxy.state.access import UserKind
from proxy.state.snapshot import Snapshot

_DENIED: Final = frozenset({401, 403})
_LISTS: Final = frozenset({"list", "watch"})
_LIST: Final = 3
"""Reads of secrets that the list of a namespace counts as: it shows all of them."""


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
                secrets=_secrets(described.info),
                lists_all_secrets=_lists_all_secrets(described.info),
            )
        )
        record = received.record
        record.denied_by_cluster = self._denied_by_cluster
        if flags:
            record.call.annotations[SUSPICIOUS] = flags

    @contextmanager
    def stream(self, identified: Identified) -> Iterator[None]:
        """A watch, a followed log or a tunnel is open: the credential is in use where it came from."""
        who, connection = identified.who, identified.described.routed.received.connection
        stream = self._suspicion.opened(who.user, who.serial, connection.source)
        try:
            yield
        finally:
            self._suspicion.closed(stream)

    def refused(self, record: CallRecord, code: int) -> None:
        """A call that we are about to refuse, before that is written."""
        if code in _DENIED:
            self._denied(record)

    def unrecorded(self, record: CallRecord, code: int) -> None:
        """One that has no record of its own: a burst is told with the next one that has."""
        if code in _DENIED:
            self._suspicion.denied_before(record.call.credential)

    def _denied_by_cluster(self, record: CallRecord) -> None:
        """The cluster refused it: its outcome may say more than its intent did."""
        if self._denied(record):
            record.describe_again()

    def _denied(self, record: CallRecord) -> bool:
        flags = self._suspicion.denied(record.call.credential)
        if flags:
            notes = record.call.annotations
            notes[SUSPICIOUS] = f"{notes[SUSPICIOUS]},{flags}" if SUSPICIOUS in notes else flags
        return bool(flags)


def _secrets(info: RequestInfo) -> int:
    """As how many reads of secrets a call counts."""
    if info.resource != "secrets" or info.group:
        return 0
    if info.verb in _LISTS:
        return 1 if info.name else _LIST
    return int(info.verb == "get")


def _lists_all_secrets(info: RequestInfo) -> bool:
    return _secrets(info) == _LIST and not info.namespace
