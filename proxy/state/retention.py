"""Retention: what was proposed to leave the index, who approved it, and what must not leave.

Rows are only ever added. Nothing here removes a record: `kubewitness audit retain run` does, with
an account of the database that `serve` does not have, through a procedure of the database that
looks at the same rows for itself.
"""

import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import msgspec
from sqlalchemy import Row, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from proxy.clock import Clock
from proxy.errors import ConflictError, DeniedError, InvalidInputError, NotFoundError
from proxy.state import tables

APPROVERS: Final = 2
"""Different people who must approve before anything may leave."""
DAY: Final = 86_400
MIN_DAYS: Final = 90
"""Nothing younger leaves, whoever approves (PCI DSS 10.5.1: three months at hand)."""
_MICROS: Final = 1_000_000


class Retention(msgspec.Struct, frozen=True, rename="camel"):
    """A proposal that old records leave the index."""

    id: str
    before: int
    """µs since the epoch, a UTC midnight: whole days before it may go."""
    reason: str
    proposed_by: str
    proposed_at: float
    approved_by: tuple[str, ...] = ()

    @property
    def approved(self) -> bool:
        """Whether enough people said yes."""
        return len(set(self.approved_by)) >= APPROVERS


class LegalHold(msgspec.Struct, frozen=True, rename="camel"):
    """A span of time whose records must stay."""

    id: str
    since: int | None
    """µs since the epoch; None is from the beginning."""
    until: int | None
    """Exclusive; None is for ever."""
    reason: str
    placed_by: str
    placed_at: float
    released_by: str = ""
    released_at: float = 0.0
    release_reason: str = ""

    def covers(self, since: int, until: int) -> bool:
        """Whether it is in force and touches [since, until)."""
        begins = self.since is None or self.since < until
        ends = self.until is None or self.until > since
        return not self.released_by and begins and ends


Reading = Callable[[], AbstractAsyncContextManager[tuple[AsyncConnection, int]]]
Changing = Callable[[], AbstractAsyncContextManager[tuple[AsyncConnection, int]]]


class Retentions:
    """The proposals and holds in the state's database. Each method is one transaction."""

    def __init__(self, reading: Reading, changing: Changing, clock: Clock) -> None:
        self._reading = reading
        self._changing = changing
        self._clock = clock

    async def propose(self, days: int, *, by: str, reason: str) -> Retention:
        """Propose that records older than `days` whole days leave.

        Raises InvalidInputError when that is too young, or no reason is given.
        """
        if days < MIN_DAYS:
            raise InvalidInputError(
                f"Records must be kept for {MIN_DAYS} days at least, not {days}.",
                hint="Choose an older limit; auditors usually ask for a year or more.",
            )
        _require_reason(reason)
        now = self._clock.now()
        before = (int(now) // DAY - days) * DAY * _MICROS
        made = Retention(uuid.uuid4().hex[:12], before, reason, by, now)
        values = msgspec.structs.asdict(made)
        del values["approved_by"]
        async with self._changing() as (connection, _):
            await connection.execute(insert(tables.retentions).values(values))
        return made

    async def approve(
        self, identity: str, *, by: str, beside: tuple[str, ...] | None = None
    ) -> Retention:
        """Approve a proposal. Whether `by` is somebody else than those `beside` is the caller's to
        check; None is for who does not mind.

        Raises NotFoundError, and ConflictError for one's second time, or when others than those
        `beside` have approved.
        """
        found = await self.get(identity)
        values = {"retention": identity, "approved_by": by, "approved_at": self._clock.now()}
        table = tables.retention_approvals
        try:
            async with self._changing() as (connection, _):
                await connection.execute(insert(table).values(values))
                query = select(table.c.approved_by).where(table.c.retention == identity)
                others = set((await connection.execute(query)).scalars()) - {by}
                if beside is not None and others != set(beside):
                    raise ConflictError(
                        f"Somebody else approved retention {identity} in between.",
                        hint="Look at it again, and repeat the approval if it is still right.",
                    )
        except IntegrityError as error:
            raise ConflictError(
                f"{by!r} has approved retention {identity} already.",
                hint=f"It takes {APPROVERS} different people.",
            ) from error
        return msgspec.structs.replace(found, approved_by=(*found.approved_by, by))

    async def get(self, identity: str) -> Retention:
        """One proposal. Raises NotFoundError."""
        for found in await self.list():
            if found.id == identity:
                return found
        raise NotFoundError(
            f"There is no retention {identity!r}.",
            hint="`kubewitness audit retain list` shows those there are.",
        )

    async def list(self) -> tuple[Retention, ...]:
        """Every proposal, newest first, with who approved it in the order they did."""
        table, approvals = tables.retentions, tables.retention_approvals
        async with self._reading() as (connection, _):
            rows = (await connection.execute(select(table))).mappings().all()
            yes = (
                await connection.execute(select(approvals).order_by(approvals.c.approved_at))
            ).all()
        found = [
            Retention(
                **row,
                approved_by=tuple(row_.approved_by for row_ in yes if row_.retention == row["id"]),
            )
            for row in rows
        ]
        return tuple(sorted(found, key=lambda item: -item.proposed_at))

    async def place_hold(
        self, *, since: int | None, until: int | None, by: str, reason: str
    ) -> LegalHold:
        """Keep every record of [since, until) until the hold is released.

        Raises InvalidInputError for an empty span or without a reason.
        """
        _require_reason(reason)
        if since is not None and until is not None and since >= until:
            raise InvalidInputError("The hold ends before it begins.")
        made = LegalHold(uuid.uuid4().hex[:12], since, until, reason, by, self._clock.now())
        values = {
            name: getattr(made, name)
            for name in ("id", "since", "until", "reason", "placed_by", "placed_at")
        }
        async with self._changing() as (connection, _):
            await connection.execute(insert(tables.legal_holds).values(values))
        return made

    async def release_hold(self, identity: str, *, by: str, reason: str) -> LegalHold:
        """End a hold. Somebody else than who placed it has to.

        Raises NotFoundError, DeniedError for the one who placed it, ConflictError when it has
        been released.
        """
        _require_reason(reason)
        found = next((hold for hold in await self.holds() if hold.id == identity), None)
        if found is None:
            raise NotFoundError(
                f"There is no legal hold {identity!r}.",
                hint="`kubewitness audit hold list` shows those there are.",
            )
        if found.placed_by == by:
            raise DeniedError(
                f"{by!r} placed hold {identity}, so somebody else has to release it.",
                hint="Ask a second administrator.",
            )
        now = self._clock.now()
        values = {"hold": identity, "released_by": by, "released_at": now, "reason": reason}
        try:
            async with self._changing() as (connection, _):
                await connection.execute(insert(tables.legal_hold_releases).values(values))
        except IntegrityError as error:
            raise ConflictError(f"Hold {identity} has been released already.") from error
        return msgspec.structs.replace(
            found, released_by=by, released_at=now, release_reason=reason
        )

    async def holds(self) -> tuple[LegalHold, ...]:
        """Every hold, released ones too, newest first."""
        table, releases = tables.legal_holds, tables.legal_hold_releases
        async with self._reading() as (connection, _):
            rows = (await connection.execute(select(table))).mappings().all()
            ended = {row.hold: row for row in (await connection.execute(select(releases))).all()}
        return tuple(
            sorted(
                (_hold(row, ended.get(row["id"])) for row in rows),
                key=lambda hold: -hold.placed_at,
            )
        )


def holds_over(holds: Iterable[LegalHold], since: int, until: int) -> list[LegalHold]:
    """Those in force that touch [since, until) (µs since the epoch)."""
    return [hold for hold in holds if hold.covers(since, until)]


def _hold(row: Mapping[Any, Any], release: Row[Any] | None) -> LegalHold:
    hold = LegalHold(**row)
    if release is None:
        return hold
    return msgspec.structs.replace(
        hold,
        released_by=release.released_by,
        released_at=release.released_at,
        release_reason=release.reason,
    )


def _require_reason(reason: str) -> None:
    if not reason.strip():
        raise InvalidInputError("Say why: the reason becomes part of the record.")
