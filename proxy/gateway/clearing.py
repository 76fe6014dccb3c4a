"""Steps 5 to 7 of a call: may it be made, as whom, and with which head.

The head that goes upstream is built from an allow-list and checked once more when it is finished.
"""

import functools
from collections.abc import Callable
from typing import Final

import structlog

from proxy.audit.event import User
from proxy.authz.access_review import AccessReviewer
from proxy.errors import DeniedError, UnavailableError
from proxy.gateway.exchange import Authorized, Cleared, Identified
from proxy.gateway.receiving import Refused
from proxy.kube import impersonation
from proxy.kube.headers import GateRefused, last_gate, sanitised
from proxy.kube.impersonation import Identity, InvalidIdentity, InvalidImpersonation
from proxy.kube.request_info import CallClass
from proxy.state.snapshot import Snapshot
from proxy.upstream.cluster import EXTRA_CREDENTIAL, EXTRA_IMPERSONATOR, Target

_log = structlog.get_logger(__name__)

DECISION: Final = "authorization.k8s.io/decision"
REASON: Final = "authorization.k8s.io/reason"


@functools.lru_cache(maxsize=4096)
def _own(user: str, groups: tuple[str, ...], serial: str) -> Identity:
    return Identity(user, groups, extra=((EXTRA_CREDENTIAL, (serial,)),))


async def authorize(
    identified: Identified,
    snapshot: Snapshot,
    target_of: Callable[[str], Target | None],
    reviewer: AccessReviewer,
) -> Authorized:
    """5. The credential must reach the cluster; `--as` must be allowed there, or is refused.

    A cluster that does not exist and one that may not be reached get the same answer, so that
    nobody can list clusters by trying names.
    """
    described = identified.described
    call = described.routed.received.record.call
    who = identified.who
    name = described.routed.cluster
    target = target_of(name) if snapshot.reaches(who.credential, name) else None
    if target is None:
        call.annotations |= {DECISION: "forbid", REASON: f"credential does not reach {name}"}
        message = f"user {who.user!r} may not {_act(identified)} in cluster {name!r}: the credential is not for that cluster"
        raise Refused(403, "no-access", message)
    if target.refused:
        call.annotations |= {DECISION: "forbid", REASON: target.refused}
        message = f"cluster {name!r} is not served now: {target.refused}"
        raise Refused(503, "cluster-refused", message)
    own = _own(who.user, who.groups, who.serial)
    identity = await _wanted(identified, target, own, reviewer)
    call.annotations |= {DECISION: "allow", REASON: f"credential {who.serial} reaches {name}"}
    return Authorized(identified, target, own if identity is None else identity)


def _act(identified: Identified) -> str:
    info = identified.described.info
    if not info.is_resource:
        return f"{info.verb} {info.path}"
    kind = f"{info.resource}.{info.group}" if info.group else info.resource
    what = f"{kind}/{info.subresource}" if info.subresource else kind
    return f"{info.verb} {what}" + (f" in namespace {info.namespace!r}" if info.namespace else "")


async def _wanted(
    identified: Identified, target: Target, own: Identity, reviewer: AccessReviewer
) -> Identity | None:
    """Whom `--as` asks for, allowed by the cluster's own rules; None when nothing was asked."""
    described = identified.described
    received = described.routed.received
    try:
        wanted = impersonation.requested(received.request.headers)
    except InvalidImpersonation as error:
        raise Refused(400, "bad-impersonation", str(error)) from None
    if wanted is None:
        return None
    call = received.record.call
    call.impersonated_user = User(wanted.user, wanted.uid, wanted.groups, dict(wanted.extra))
    denial = impersonation.never(wanted)
    if denial is None:
        try:
            await reviewer.review(target, own, wanted, call.audit_id)
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


def clear(authorized: Authorized) -> Cleared:
    """6 and 7. Build the finished head, then check it as if somebody else had built it."""
    described = authorized.identified.described
    received = described.routed.received
    info = described.info
    target = authorized.target
    own = target.authorization()
    upgrade = described.upgrade
    audit_id = received.record.call.audit_id
    backend = described.call_class is CallClass.PRIVILEGED and (
        info.subresource == "proxy" or info.verb == "proxy"
    )
    try:
        headers = [(b"Host", target.host_header)]
        headers += sanitised(received.request.headers, upgrade=upgrade, backend=backend)
        headers += impersonation.headers(authorized.identity)
        if own is not None:
            headers.append((b"Authorization", own))
        headers.append((b"Audit-ID", audit_id.encode()))
        headers.append((b"X-Forwarded-For", received.connection.source.encode()))
        if upgrade:
            headers.append((b"Connection", b"Upgrade"))
        last_gate(headers, authorized.identity, authorization=own)
    except InvalidIdentity as error:
        raise Refused(403, "bad-identity", f"the request was not sent: {error}") from None
    except GateRefused as error:
        # Steps 1 to 6 must make this impossible, so it is a fault of ours: say so, loudly.
        _log.error("the last gate refused a head", audit_id=audit_id, problem=str(error))
        raise Refused(500, "last-gate", f"the request was not sent: {error}") from None
    return Cleared(authorized, headers)
