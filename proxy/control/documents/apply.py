"""The route of `apply`: people, projects, roles and grants as documents say, all or nothing."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, Final

import msgspec

from proxy.control.documents.applying import Planner
from proxy.control.documents.manifests import Documents
from proxy.control.documents.planning import Action, Planned, kind_of, plan
from proxy.control.documents.telling import each_recorded
from proxy.control.entry.fields import Reason
from proxy.control.entry.route import About, Act, Detail, Route, reason_of

_MOST: Final = 256 * 1024
"""Bytes of changes that stand in the record whole; of more only what was done to what."""


class ApplyRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What there should be."""

    objects: Documents
    prune: bool = False
    """Also take away what the documents do not mention, of the kinds they mention: users are
    removed, groups, projects and roles too, grants revoked. Only what the caller manages."""
    dry_run: bool = False
    """Say what would change, after every check, and change nothing."""
    reason: Reason = ""


class ChangeItem(msgspec.Struct, frozen=True):
    """One change."""

    action: Action
    kind: str
    name: str
    before: dict[str, Any] | None
    """The thing as the API shows it; null when it was not there."""
    after: dict[str, Any] | None
    """Null when it is gone, or revoked."""


class ApplyResult(msgspec.Struct, frozen=True):
    """What was changed, or would be, in the order in which it is done; empty when nothing."""

    changes: tuple[ChangeItem, ...]


async def apply(act: Act) -> ApplyResult:
    """Plan against the state as it is, and make all changes in one transaction."""
    wanted, services = act.body_as(ApplyRequest), act.services
    reason = wanted.reason or "apply"
    version = act.access.version
    changes = plan(wanted.objects, Planner(act, reason).planners(), prune=wanted.prune)
    if changes:
        try:
            async with _recorded(act, changes, reason, dry_run=wanted.dry_run):
                await services.store.people.apply(
                    [change.step for change in changes], version=version, dry_run=wanted.dry_run
                )
        finally:  # also when it was done and could not be recorded
            await services.watcher.refresh()
    made = tuple(map(_item, changes))
    act.detail["changes"] = _told(made)
    return ApplyResult(made)


def _recorded(
    act: Act, changes: Sequence[Planned], reason: str, *, dry_run: bool
) -> AbstractAsyncContextManager[None]:
    """Each change on record by itself, unless none will be made."""
    return nullcontext() if dry_run else each_recorded(act, changes, reason)


def _item(change: Planned) -> ChangeItem:
    before = None if change.before is None else msgspec.to_builtins(change.before)
    after = None if change.after is None else msgspec.to_builtins(change.after)
    return ChangeItem(change.action, change.kind, change.name, before, after)


def _told(changes: tuple[ChangeItem, ...]) -> list[Any]:
    if len(msgspec.json.encode(changes)) <= _MOST:
        return [msgspec.to_builtins(change) for change in changes]
    return [f"{change.action} {change.kind} {change.name}" for change in changes]


def _about(act: Act) -> About:
    wanted = act.body_as(ApplyRequest)
    counted: dict[str, int] = {}
    for document in wanted.objects:
        counted[kind_of(document)] = counted.get(kind_of(document), 0) + 1
    detail: Detail = {
        "objects": [f"{count} {kind}" for kind, count in sorted(counted.items())],
        "prune": wanted.prune,
        "dryRun": wanted.dry_run,
    }
    return About("", detail | reason_of(act))


ROUTES = (
    Route(
        "POST", "/apply", "apply", "Make users, groups, projects, roles and grants as documents say.",
        apply, action="access.apply", about=_about, body=ApplyRequest, response=ApplyResult,
    ),
)  # fmt: skip
