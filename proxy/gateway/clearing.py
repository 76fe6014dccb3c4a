"""Steps 6 and 7 of a call: the head that goes upstream, from an allow-list, checked when finished."""

import structlog

from proxy.gateway.exchange import Authorized, Cleared
from proxy.gateway.receiving import Refused
from proxy.kube import impersonation
from proxy.kube.headers import GateRefused, last_gate, sanitised
from proxy.kube.impersonation import InvalidIdentity
from proxy.kube.request_info import CallClass

_log = structlog.get_logger(__name__)


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
