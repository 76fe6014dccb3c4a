"""Routes of retention: propose, approve, hold, and put on record what the operator removes.

None of them removes anything: the account that `serve` has in the database cannot. They say who
wanted it and who agreed, and they write the record before `kubewitness audit retain run` begins.
"""

from typing import Annotated, Final

import msgspec

from proxy.audit.moments import write_moment
from proxy.clock import rfc3339
from proxy.control.audit.approving import check_approver, check_releaser
from proxy.control.audit.search import moment
from proxy.control.entry.fields import Text
from proxy.control.entry.route import About, Act, Detail, Route
from proxy.errors import DeniedError
from proxy.state.permission import Permission
from proxy.state.retention import APPROVERS, LegalHold, Retention

_MOST: Final = 36_600

Partition = Annotated[str, msgspec.Meta(pattern=r"^events_[a-z0-9]{1,40}$")]
Partitions = Annotated[tuple[Partition, ...], msgspec.Meta(max_length=_MOST)]


class ProposeRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """How old records must be to leave the index, and why they may."""

    older_than_days: int
    """Whole days before that many days ago may go."""
    reason: Text


class RetentionItem(msgspec.Struct, frozen=True, rename="camel"):
    """A proposal."""

    id: str
    before: str
    """Whole days before this moment may go."""
    reason: str
    proposed_by: str
    proposed_at: str
    approved_by: tuple[str, ...]
    approved: bool
    """Whether enough people said yes."""


class RetentionList(msgspec.Struct, frozen=True):
    """Proposals, newest first."""

    items: tuple[RetentionItem, ...]


class BeginRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the operator is about to remove."""

    partitions: Partitions
    """Those that are about to be removed."""
    archive: Text
    """Where the journals were found that hold every record of them."""


class EndRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What came of it."""

    partitions: Partitions
    """Those that were removed."""
    records: Annotated[int, msgspec.Meta(ge=0)]
    """How many were removed."""
    problem: Text = ""
    """What went wrong, if anything."""


class HoldRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What must stay, and why. Times as in searches; empty is without an end."""

    reason: Text
    since: Text = ""
    until: Text = ""


class ReleaseRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a hold ends."""

    reason: Text


class HoldItem(msgspec.Struct, frozen=True, rename="camel"):
    """A legal hold."""

    id: str
    since: str
    until: str
    reason: str
    placed_by: str
    placed_at: str
    released_by: str = ""
    released_at: str = ""
    release_reason: str = ""


class HoldList(msgspec.Struct, frozen=True):
    """Legal holds, newest first."""

    items: tuple[HoldItem, ...]


async def list_retentions(act: Act) -> RetentionList:
    """Every proposal."""
    act.require(Permission.LOOK_AT_RETENTION)
    found = await act.services.store.retentions.list()
    return RetentionList(tuple(_retention(item) for item in found))


async def propose(act: Act) -> RetentionItem:
    """Propose; nothing happens until enough different people approved."""
    act.require(Permission.MANAGE_RETENTION)
    wanted = act.body_as(ProposeRequest)
    made = await act.services.store.retentions.propose(
        wanted.older_than_days, by=act.user, reason=wanted.reason
    )
    act.detail["id"] = made.id
    return _retention(made)


async def approve(act: Act) -> RetentionItem:
    """Approve as the caller, who must be somebody else than the other approver."""
    act.require(Permission.MANAGE_RETENTION)
    retentions = act.services.store.retentions
    seen = await retentions.get(act.param("id"))
    act.detail["madeBy"] = list(await check_approver(act, seen))
    found = await retentions.approve(seen.id, by=act.user, beside=seen.approved_by)
    act.detail["approvedBy"] = list(found.approved_by)
    return _retention(found)


async def begin(act: Act) -> RetentionItem:
    """Put on record that approved partitions are being removed now."""
    act.require(Permission.MANAGE_RETENTION)
    found = await act.services.store.retentions.get(act.param("id"))
    if not found.approved:
        raise DeniedError(
            f"Retention {found.id} has {len(found.approved_by)} of {APPROVERS} approvals.",
            hint=f"Another administrator runs `kubewitness audit retain approve {found.id}`.",
        )
    act.detail.update({"approvedBy": list(found.approved_by), "reason": found.reason})
    return _retention(found)


async def end(act: Act) -> None:
    """Put on record what was removed."""
    act.require(Permission.MANAGE_RETENTION)
    await act.services.store.retentions.get(act.param("id"))


async def list_holds(act: Act) -> HoldList:
    """Every hold."""
    act.require(Permission.LOOK_AT_RETENTION)
    found = await act.services.store.retentions.holds()
    return HoldList(tuple(_hold(item) for item in found))


async def place_hold(act: Act) -> HoldItem:
    """Keep every record of a span of time."""
    act.require(Permission.MANAGE_RETENTION)
    wanted, now = act.body_as(HoldRequest), act.services.clock.now()
    made = await act.services.store.retentions.place_hold(
        since=moment(wanted.since, now),
        until=moment(wanted.until, now),
        by=act.user,
        reason=wanted.reason,
    )
    act.detail["id"] = made.id
    return _hold(made)


async def release_hold(act: Act) -> HoldItem:
    """End a hold that somebody else placed, who did not make the caller what they are."""
    act.require(Permission.MANAGE_RETENTION)
    retentions = act.services.store.retentions
    for hold in await retentions.holds():
        if hold.id == act.param("id"):
            await check_releaser(act, hold)
    found = await retentions.release_hold(
        act.param("id"), by=act.user, reason=act.body_as(ReleaseRequest).reason
    )
    return _hold(found)


def _retention(item: Retention) -> RetentionItem:
    return RetentionItem(
        item.id,
        write_moment(item.before),
        item.reason,
        item.proposed_by,
        rfc3339(item.proposed_at),
        item.approved_by,
        item.approved,
    )


def _hold(item: LegalHold) -> HoldItem:
    return HoldItem(
        item.id,
        _moment(item.since),
        _moment(item.until),
        item.reason,
        item.placed_by,
        rfc3339(item.placed_at),
        item.released_by,
        rfc3339(item.released_at) if item.released_by else "",
        item.release_reason,
    )


def _moment(micros: int | None) -> str:
    return "" if micros is None else write_moment(micros)


def _about_proposal(act: Act) -> About:
    wanted = act.body_as(ProposeRequest)
    detail: Detail = {"olderThanDays": wanted.older_than_days, "reason": wanted.reason}
    return About("", detail)


def _about_named(act: Act) -> About:
    return About(act.param("id"))


def _about_begin(act: Act) -> About:
    wanted = act.body_as(BeginRequest)
    return About(
        act.param("id"), {"partitions": list(wanted.partitions), "archive": wanted.archive}
    )


def _about_end(act: Act) -> About:
    wanted = act.body_as(EndRequest)
    detail: Detail = {"partitions": list(wanted.partitions), "records": wanted.records}
    return About(act.param("id"), detail | ({"problem": wanted.problem} if wanted.problem else {}))


def _about_hold(act: Act) -> About:
    wanted = act.body_as(HoldRequest)
    return About("", {"since": wanted.since, "until": wanted.until, "reason": wanted.reason})


def _about_release(act: Act) -> About:
    return About(act.param("id"), {"reason": act.body_as(ReleaseRequest).reason})


ROUTES = (
    Route(
        "GET", "/retentions", "listRetentions", "Proposals that old records leave the index.",
        list_retentions, response=RetentionList,
    ),
    Route(
        "POST", "/retentions", "proposeRetention", "Propose that old records leave the index.",
        propose, action="audit.retain.propose", about=_about_proposal, body=ProposeRequest,
        response=RetentionItem, status=201,
    ),
    Route(
        "POST", "/retentions/{id}/approve", "approveRetention", "Approve a proposal.", approve,
        action="audit.retain.approve", about=_about_named, response=RetentionItem,
    ),
    Route(
        "POST", "/retentions/{id}/begin", "beginRetention",
        "Put on record that an operator begins to remove what was approved.", begin,
        action="audit.retain.begin", about=_about_begin, body=BeginRequest, response=RetentionItem,
    ),
    Route(
        "POST", "/retentions/{id}/end", "endRetention",
        "Put on record what an operator removed.", end,
        action="audit.retain.end", about=_about_end, body=EndRequest, status=204,
    ),
    Route(
        "GET", "/legal-holds", "listLegalHolds", "Spans of time whose records must stay.",
        list_holds, response=HoldList,
    ),
    Route(
        "POST", "/legal-holds", "placeLegalHold", "Keep every record of a span of time.",
        place_hold, action="audit.hold.place", about=_about_hold, body=HoldRequest,
        response=HoldItem, status=201,
    ),
    Route(
        "POST", "/legal-holds/{id}/release", "releaseLegalHold",
        "End a hold; somebody else than who placed it.", release_hold,
        action="audit.hold.release", about=_about_release, body=ReleaseRequest, response=HoldItem,
    ),
)  # fmt: skip
