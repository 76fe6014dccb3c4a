"""What documents change, on record thing by thing: each as if its own route had been used.

So whoever looks for all grants of somebody, or for what was done to a project, finds it, whatever it
came through. `apply` in their detail is the id of the act that they are parts of.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import structlog

from proxy.audit.acts import why
from proxy.audit.event import OK, REQUESTED, new_id
from proxy.control.documents.planning import Planned
from proxy.control.entry.recording import Told, done, not_done, record
from proxy.control.entry.route import Act
from proxy.errors import UnavailableError

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def each_recorded(act: Act, changes: Sequence[Planned], reason: str) -> AsyncIterator[None]:
    """Around the making of `changes`: their intents before it, their outcomes after it.

    All of them have one outcome, as they are made together or not at all. Raises UnavailableError
    when they cannot be recorded; before the body, nothing was done.
    """
    now = act.services.clock.now()
    ids = [new_id(now) for _ in changes]

    def told(*, made: bool) -> list[Told]:
        return [
            Told(
                name,
                change.act,
                change.target or change.name,
                _detail(act, change, reason, change.after if made else None),
            )
            for name, change in zip(ids, changes, strict=True)
        ]

    try:
        await record(act, told(made=False), REQUESTED)
    except UnavailableError as unrecorded:
        raise not_done(unrecorded) from unrecorded
    try:
        yield
    except Exception as error:
        try:
            await record(act, told(made=False), why(error))
        except UnavailableError as unrecorded:
            _log.warning("outcomes not recorded", audit_id=act.id, error=unrecorded.message)
        raise
    try:
        await record(act, told(made=True), OK)
    except UnavailableError as unrecorded:
        raise done(unrecorded) from unrecorded


def _detail(act: Act, change: Planned, reason: str, after: msgspec.Struct | None) -> dict[str, Any]:
    shown = {"before": change.before, "after": after}
    things = {name: msgspec.to_builtins(item) for name, item in shown.items() if item is not None}
    about = {"via": "apply", "apply": act.id, "object": f"{change.kind} {change.name}"}
    return about | {"reason": reason} | things
