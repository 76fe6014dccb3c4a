"""The ports of the record: what the gateway may ask of a journal."""

from asyncio import Future
from typing import Protocol

from proxy.errors import UnavailableError


class JournalUnavailableError(UnavailableError):
    """The record cannot be made durable now. Nothing may be forwarded or released on it.

    The message says why (disk full, file replaced, sync too slow) and is shown to the caller.
    """


def unavailable(what: str, error: Exception) -> JournalUnavailableError:
    """The refusal for a disk's `error`, in words for a person: `<what>: <why>`."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return JournalUnavailableError(f"{what}: {reason or type(error).__name__}")


class Journal(Protocol):
    """Where events become durable, in the order of the calls to this object.

    Used from one event loop only. Bodies are what `proxy.audit.event` encodes; the journal owns
    the sequence, the salt and the framing.
    """

    def append(self, body: bytes, *, urgent: bool = True, reserve: bool = False) -> Future[int]:
        """Queue one record and return a future of its sequence number.

        One that is not urgent waits for the next batch that another record asks for, at most a
        few hundredths of a second: nobody waits for it yet, and a sync of its own would only
        delay those that somebody waits for.

        The future resolves only when the record is durable (synced). It fails with
        JournalUnavailableError when that did not happen within the deadline, and then whether the
        record will survive a crash is unknown. Cancelling the future does not take it back.
        Raises JournalUnavailableError at once when the journal is closed or its queue is full.

        While the disk is full, records with `reserve` are still taken and made durable on the
        space kept back for this, until that is used up too: what follows the intent of a call
        under way, and the intents of break-glass calls (see `reserve_left`).
        """
        ...

    def post(self, body: bytes) -> None:
        """Queue one record that nobody waits for; same order, same durability.

        Refused only when the journal is closed or its queue full: while the disk fails, the
        outcomes of the calls that are cut for it are kept for when it is back. While the disk is
        full, also when half of the reserve is used up: the rest is for calls.
        """
        ...

    @property
    def failure(self) -> str:
        """Why appending would be refused now, in words for a person; empty when it would not."""
        ...

    @property
    def reserve_left(self) -> int:
        """Bytes that break-glass calls may still use now; more than 0 means one may go on.

        0 unless the disk is full and records go to the reserve. An eighth of the reserve is not
        counted: it is for the outcomes of the calls under way when nothing else is left.
        """
        ...
