"""What an act leaves in the record: who, from where, through what, to what, and what came of it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from proxy.audit.event import SystemEvent, body
from proxy.clock import rfc3339
from proxy.control.entry.reading import LINE_LIMIT
from proxy.control.entry.route import Act, Detail
from proxy.errors import UnavailableError

_TEXT_LIMIT: Final = LINE_LIMIT
"""Characters of a client's text that a system event keeps: all of a query."""
_VIA: Final = (("kubewitness/", "cli"), ("Mozilla/", "dashboard"))
"""Beginnings of user agents, and what each is called on record; everything else is `api`."""


@dataclass(frozen=True, slots=True)
class Told:
    """An act as the record has it, or a part of one that is an act of its own."""

    id: str
    action: str
    target: str
    detail: Detail = field(default_factory=dict)


async def record(act: Act, told: Sequence[Told], outcome: str) -> None:
    """Make it durable that `act` did, or is about to do, all of it. Raises UnavailableError."""
    credential, token = act.credential, act.known.token
    by = {} if credential is None else {"credential": credential.serial}
    by |= {} if token is None else {"token": token.id}
    at = rfc3339(act.services.clock.now())
    events = [
        SystemEvent(
            event_id=item.id,
            stage_timestamp=at,
            action=item.action,
            actor=act.user,
            source_ips=(act.source,),
            target=clean(item.target),
            outcome=clean(outcome),
            detail=through(act.request.headers.get("User-Agent", "")) | _cleaned(item.detail) | by,
        )
        for item in told
    ]
    # Queued together, so that one sync makes them durable.
    await asyncio.gather(*[act.services.journal.append(body(event)) for event in events])


def not_done(unrecorded: UnavailableError) -> UnavailableError:
    """The error of an act whose intent could not be recorded."""
    return UnavailableError(
        f"Nothing was done, because it could not be recorded: {unrecorded.message}",
        hint="That comes first; `kubewitness doctor` says more.",
    )


def done(unrecorded: UnavailableError) -> UnavailableError:
    """The error of an act whose outcome could not be recorded."""
    return UnavailableError(
        f"It was done, but its outcome could not be recorded: {unrecorded.message}",
        hint="The intent is in the record. Repair the journal, then look before you repeat it.",
    )


def through(agent: str) -> Detail:
    """By which program a request came: its user agent, which may say anything."""
    agent = clean(agent)
    via = next((word for begin, word in _VIA if agent.startswith(begin)), "api")
    return {"agent": agent, "via": via}


def clean(text: str) -> str:
    """Text of a client as it can be encoded: undecodable bytes escaped, and bounded."""
    whole = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return whole if len(whole) <= _TEXT_LIMIT else whole[:_TEXT_LIMIT] + "…"


def _cleaned(detail: Detail) -> Detail:
    return {key: clean(value) if isinstance(value, str) else value for key, value in detail.items()}
