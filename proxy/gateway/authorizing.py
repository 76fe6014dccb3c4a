"""Step 5 of a call: may it be made, there, and as whom.

Of somebody whom grants govern they decide every call, and the cluster sees the groups that they
give. Of others the credential says which clusters they reach, and the cluster's rules decide.
"""

import functools
from collections.abc import Callable
from typing import Final

from proxy.audit.event import User
from proxy.authz.access_review import AccessReviewer
from proxy.authz.deciding import Request, kubernetes_groups
from proxy.authz.standing import Caller, governed
from proxy.errors import DeniedError, UnavailableError
from proxy.gateway.exchange import Authorized, Identified
from proxy.gateway.permit import Permit
from proxy.gateway.receiving import Refused
from proxy.kube import impersonation
from proxy.kube.impersonation import Identity, InvalidImpersonation
from proxy.state.snapshot import Snapshot
from proxy.upstream.cluster import EXTRA_CREDENTIAL, EXTRA_IMPERSONATOR, Target

DECISION: Final = "authorization.k8s.io/decision"
REASON: Final = "authorization.k8s.io/reason"


@functools.lru_cache(maxsize=4096)
def _own(user: str, groups: tuple[str, ...], serial: str) -> Identity:
    return Identity(user, groups, extra=((EXTRA_CREDENTIAL, (serial,)),))


class Authorizer:
    """Step 5, for the calls of one process; it keeps nothing between them."""

    def __init__(
        self,
        target_of: Callable[[str], Target | None],
        reviewer: AccessReviewer,
        *,
        refuse_unregistered: bool,
    ) -> None:
        self._target_of = target_of
        self._reviewer = reviewer
        self._refuse = refuse_unregistered

    async def authorize(self, identified: Identified, snapshot: Snapshot, now: float) -> Authorized:
        """Grants, then the credential, then the cluster's word about `--as`. Raises Refused.

        A cluster that does not exist and one that may not be reached get the same answer, so that
        nobody can list clusters by trying names.
        """
        wanted = _requested(identified)
        why = self._decide(identified, snapshot, now, impersonates=wanted is not None)
        target = self._target(identified, snapshot)
        own = _identity(identified, snapshot, now)
        identity = own if wanted is None else await self._as(identified, target, own, wanted)
        call = identified.described.routed.received.record.call
        reaches = f"credential {identified.who.serial} reaches {target.name}"
        call.annotations |= {DECISION: "allow", REASON: why or reaches}
        return Authorized(identified, target, identity)

    def _decide(
        self, identified: Identified, snapshot: Snapshot, now: float, *, impersonates: bool
    ) -> str:
        """The grant that allows the call; empty when grants do not decide about this caller."""
        described, who = identified.described, identified.who
        cluster = described.routed.cluster
        request = Request(
            cluster, described.info, described.call_class, described.upgrade, impersonates
        )
        permit = Permit(who.user, who.credential.groups, request, refuse=self._refuse)
        decision = permit.judge(snapshot.access, now)
        if decision is not None and not decision.allowed:
            acting = " as somebody else" if impersonates else ""
            raise _forbidden(identified, "no-grant", decision.why, acting)
        described.routed.received.connection.permit = permit
        return "" if decision is None else decision.why

    def _target(self, identified: Identified, snapshot: Snapshot) -> Target:
        name = identified.described.routed.cluster
        reaches = snapshot.reaches(identified.who.credential, name)
        target = self._target_of(name) if reaches else None
        if target is None:
            raise _forbidden(identified, "no-access", "the credential is not for that cluster")
        if target.refused:
            call = identified.described.routed.received.record.call
            call.annotations |= {DECISION: "forbid", REASON: target.refused}
            message = f"cluster {name!r} is not served now: {target.refused}"
            raise Refused(503, "cluster-refused", message)
        return target

    async def _as(
        self, identified: Identified, target: Target, own: Identity, wanted: Identity
    ) -> Identity:
        """Whom `--as` asks for, if the cluster's own rules let the caller be them."""
        call = identified.described.routed.received.record.call
        denial = impersonation.never(wanted)
        if denial is None:
            try:
                await self._reviewer.review(target, own, wanted, call.audit_id)
            except DeniedError as error:
                denial = error.message
            except UnavailableError as error:
                raise Refused(503, "upstream", error.message) from None
        if denial is not None:
            call.annotations |= {DECISION: "forbid", REASON: denial}
            raise Refused(403, "impersonation", denial)
        extra = (
            *wanted.extra,
            (EXTRA_CREDENTIAL, (identified.who.serial,)),
            (EXTRA_IMPERSONATOR, (identified.who.user,)),
        )
        return Identity(wanted.user, wanted.groups, wanted.uid, extra)


def _requested(identified: Identified) -> Identity | None:
    """Whom `--as` asks for, on record from here on; None when nothing was asked."""
    received = identified.described.routed.received
    try:
        wanted = impersonation.requested(received.request.headers)
    except InvalidImpersonation as error:
        raise Refused(400, "bad-impersonation", str(error)) from None
    if wanted is not None:
        extra = dict(wanted.extra)
        call = received.record.call
        call.impersonated_user = User(wanted.user, wanted.uid, wanted.groups, extra)
    return wanted


def _identity(identified: Identified, snapshot: Snapshot, now: float) -> Identity:
    """The caller as the cluster shall see them: with the groups that their grants give there, and
    with those of the certificate only when no grant can say anything about them."""
    who, access = identified.who, snapshot.access
    groups = who.groups
    if governed(access, who.user, groups):
        cluster = identified.described.routed.cluster
        groups = kubernetes_groups(access, Caller(who.user, groups), cluster, now)
    return _own(who.user, groups, who.serial)


def _forbidden(identified: Identified, category: str, why: str, acting: str = "") -> Refused:
    described = identified.described
    call = described.routed.received.record.call
    call.annotations |= {DECISION: "forbid", REASON: why}
    where = f"in cluster {described.routed.cluster!r}"
    message = f"user {identified.who.user!r} may not {_act(identified)}{acting} {where}: {why}"
    return Refused(403, category, message)


def _act(identified: Identified) -> str:
    info = identified.described.info
    if not info.is_resource:
        return f"{info.verb} {info.path}"
    kind = f"{info.resource}.{info.group}" if info.group else info.resource
    what = f"{kind}/{info.subresource}" if info.subresource else kind
    return f"{info.verb} {what}" + (f" in namespace {info.namespace!r}" if info.namespace else "")
