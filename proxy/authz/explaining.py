"""Why a call is allowed or not, in sentences: what each grant of the caller says of it."""

import msgspec

from proxy.authz.applying import Applied, applied_to
from proxy.authz.deciding import Request, allows, decide, denies, in_reach, is_open
from proxy.authz.matching import needed
from proxy.authz.roles import reaches_clusters, role_of
from proxy.authz.standing import Caller, granted, is_over
from proxy.clock import rfc3339
from proxy.state.access import Access, Grant
from proxy.state.permission import Permission


class Considered(msgspec.Struct, frozen=True):
    """One grant, and what it says of the call."""

    grant: Grant
    verdict: str
    """A sentence without a full stop: `allows it`, `is over since …`, `is for another cluster`."""


class Explanation(msgspec.Struct, frozen=True):
    """Whether a call would be allowed, and all that was looked at to say so."""

    allowed: bool
    why: str
    """One sentence."""
    grant: str = ""
    """Id of the grant that allows or denies it; empty when none does."""
    missing: tuple[str, ...] = ()
    """What would be needed, each in words; empty when it is allowed."""
    considered: tuple[Considered, ...] = ()
    """Every grant to the caller or a group of theirs that was not revoked."""


def explain(access: Access, caller: Caller, request: Request, now: float) -> Explanation:
    """The decision about a call at wall time `now` (seconds since the epoch), explained."""
    decision = decide(access, caller, request, now)
    wanted = needed(request)
    considered = tuple(
        Considered(grant, _verdict(access, grant, request, wanted, now))
        for grant in granted(access, caller)
    )
    user = access.users.get(caller.user)
    if user is not None and user.disabled_at is not None:
        return Explanation(False, f"{caller.user} is disabled", missing=("to be enabled again",))
    missing = () if decision.allowed else _missing(decision.grant, request, wanted, considered)
    who = caller.user
    why = f"{who} may: {decision.why}" if decision.allowed else f"{who} may not: {decision.why}"
    return Explanation(decision.allowed, why, decision.grant, missing, considered)


def _verdict(
    access: Access, grant: Grant, request: Request, wanted: frozenset[Permission], now: float
) -> str:
    if is_over(grant, now):
        return f"is over since {rfc3339(grant.expires_at or 0.0)}"
    role = role_of(access, grant.role)
    if role is None:
        return f"is of role {grant.role}, which does not exist"
    item = applied_to(access, grant, role, request.cluster)
    if item is None:
        return f"is for {grant.scope}, not for cluster {request.cluster}"
    if denies(item, request):
        return "denies it"
    if not reaches_clusters(role):
        return "gives nothing in clusters"
    if allows(item, request, wanted):
        return "allows it"
    return _shortfall(item, request, wanted)


def _shortfall(item: Applied, request: Request, wanted: frozenset[Permission]) -> str:
    """Why a grant at the cluster does not allow the call."""
    role = item.role.name
    if not (is_open(request) or in_reach(item, request)):
        names = ", ".join(sorted(item.namespaces or ()))
        return f"reaches only what is in namespace {names}"
    if lacking := sorted(wanted - item.role.permissions):
        return f"lacks {' and '.join(lacking)}, which role {role} does not give"
    return f"is of role {role}, which does not allow to {request.info.verb or 'do'} this"


def _missing(
    denied_by: str,
    request: Request,
    wanted: frozenset[Permission],
    considered: tuple[Considered, ...],
) -> tuple[str, ...]:
    if denied_by:
        return (f"that grant {denied_by} is revoked: what it denies, nothing else can allow",)
    info = request.info
    what = f"{info.verb} {info.resource}" if info.is_resource else f"{info.verb} {info.path}"
    if info.subresource:
        what += f"/{info.subresource}"
    where = f"cluster {request.cluster}"
    if info.namespace:
        where = f"namespace {info.namespace} of {where}"
    found = [f"a grant that reaches {where}, of a role that allows to {what}"]
    if wanted:
        found.append(f"in that role: {', '.join(sorted(wanted))}")
    if any(item.verdict.startswith("is over") for item in considered):
        found.append("or a new grant in place of one that is over")
    return tuple(found)
