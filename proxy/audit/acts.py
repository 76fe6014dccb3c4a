"""Acts of ours: what no request to the control plane stands behind, on record before and after.

The proxy's own doing at a start, and what commands do on a server's disk. The promise is the one of
every act: the intent is durable before anything is done, the outcome before anybody is told.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog

from proxy.audit.event import OK, REQUESTED, SystemEvent, body, new_id
from proxy.audit.port import Journal
from proxy.clock import Clock, rfc3339
from proxy.errors import DeniedError, KubewitnessError

_log = structlog.get_logger(__name__)

Write = Callable[[SystemEvent], Awaitable[None]]
"""Makes an event durable. Raises UnavailableError when it cannot."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts."""

    name: str = ""
    """As `actor` of the events; empty for the proxy itself."""
    detail: Mapping[str, Any] = field(default_factory=dict)
    """What else is known of them: it stands in each of their events."""


PROXY = Actor()
"""The proxy by itself."""


def into(journal: Journal) -> Write:
    """Events go into `journal`; on the reserve, when the disk is full: these acts repair things."""

    async def write(event: SystemEvent) -> None:
        await journal.append(body(event), reserve=True)

    return write


class Acts:
    """Acts of one actor."""

    def __init__(self, write: Write, clock: Clock, actor: Actor = PROXY) -> None:
        self._write = write
        self._clock = clock
        self._actor = actor

    @asynccontextmanager
    async def act(
        self, action: str, target: str, detail: Mapping[str, Any] | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """An act around what it does: `requested` before, then `ok`, `failed: …` or `denied: …`.

        What the body puts into the mapping stands in the outcome, besides `detail`. Raises
        UnavailableError when the intent cannot be recorded, and then the body did not run.
        """
        event_id, told = new_id(self._clock.now()), dict(detail or {})

        async def record(outcome: str) -> None:
            await self._write(
                SystemEvent(
                    event_id=event_id,
                    stage_timestamp=rfc3339(self._clock.now()),
                    action=action,
                    actor=self._actor.name,
                    target=target,
                    outcome=outcome,
                    detail={**self._actor.detail, **told},
                )
            )

        await record(REQUESTED)
        try:
            yield told
        except BaseException as error:
            try:
                await record(why(error))
            except KubewitnessError as unrecorded:
                # The first error says more; the intent without an outcome stands in the record.
                _log.warning("outcome not recorded", audit_id=event_id, error=unrecorded.message)
            raise
        await record(OK)


def why(error: BaseException) -> str:
    """The outcome of an act that ended with `error`; of a defect it tells nothing."""
    if isinstance(error, KubewitnessError):
        word = "denied" if isinstance(error, DeniedError) else "failed"
        return f"{word}: {error.message}"
    return f"failed: {'internal error' if isinstance(error, Exception) else 'interrupted'}"
