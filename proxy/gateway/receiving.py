"""Steps 1 to 4 of a call: from bytes to who wants what, where.

Nothing here waits. Each function takes the stage before and returns the next, or raises `Refused`
with the answer that the client gets and the record keeps.
"""

import functools
from typing import Final

from proxy.audit.event import CLAIMED_USER, Call, ObjectRef, User, new_id, shortened, text
from proxy.audit.port import Journal
from proxy.audit.strangers import STRANGE
from proxy.authn.authenticate import Unauthenticated, authenticate
from proxy.clock import Clock, rfc3339
from proxy.gateway.connection import ClientConnection
from proxy.gateway.exchange import Described, Identified, Received, Routed
from proxy.gateway.record import CallRecord
from proxy.gateway.request import Request
from proxy.kube.attributes import InvalidRequest
from proxy.kube.request_info import RefusedTarget, describe
from proxy.kube.user_agent import tool
from proxy.state.snapshot import Snapshot, Usage

PREFIX: Final = b"/clusters/"
MAX_NAME: Final = 253
UPGRADES: Final = frozenset({b"spdy/3.1", b"websocket"})
"""Protocols that Kubernetes speaks after an upgrade (wire reference §4.3 to §4.5)."""
NOBODY: Final = User("")

_FIELDS: Final = {
    b"user-agent": "userAgent",
    b"kubectl-command": "kubectlCommand",
    b"kubectl-session": "kubectlSession",
    b"audit-id": "clientAuditID",
    b"host": "host",
}
"""Headers a record keeps, lower-cased, with the name of their field."""

_STRANGE: Final = (
    "request_uri",
    "user_agent",
    "kubectl_command",
    "kubectl_session",
    "client_audit_id",
    "field_selector",
    "label_selector",
)
"""Fields of a call that a client writes as it likes."""


class Refused(Exception):  # noqa: N818  # an outcome, not a fault of the program
    """We answer this call ourselves; it is not forwarded.

    `category` is the short, stable word in metrics.
    """

    def __init__(
        self,
        code: int,
        category: str,
        message: str,
        *,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.category = category
        self.message = message
        self.retry_after = retry_after
        """Seconds; only when the same call may well succeed soon. Nothing was forwarded."""


def receive(
    connection: ClientConnection, request: Request, journal: Journal, clock: Clock
) -> Received:
    """1. Give the call an id and begin its record."""
    now = clock.now()
    raw: dict[str, str] = {}
    method = request.method.decode("ascii", "backslashreplace")
    call = Call(
        audit_id=new_id(now),
        request_received_timestamp=rfc3339(now),
        source_ips=(connection.source,),
        user=NOBODY,
        http_method=method,
        verb=method.lower(),
        request_uri=text(request.target, "requestURI", raw),
    )
    for name, value in request.headers:
        field = _FIELDS.get(name.lower())
        if field is None or field == "host":
            continue
        word = text(value, field, raw)
        if field == "userAgent":
            call.user_agent = word
            call.tool = tool(word)
        elif field == "kubectlCommand":
            call.kubectl_command = word
        elif field == "kubectlSession":
            call.kubectl_session = word
        else:
            call.client_audit_id = word
    call.raw = raw
    return Received(connection, request, CallRecord(journal, clock, call, now))


def route(received: Received, domain: str) -> Routed:
    """2. The cluster comes from the path prefix, or from the host name when a domain is set.

    The rest of the target stays byte for byte what the client sent. Refuses framings that another
    parser could read differently: other versions than HTTP/1.1, several hosts, a body on an
    upgrade.
    """
    request = received.request
    longest = received.connection.limits.uri_bytes
    if len(request.target) > longest:
        raise Refused(
            414,
            "uri-too-long",
            f"the path with its query has {len(request.target)} bytes, and at most {longest} are "
            "served: each record of the call would hold them (setting limits.uri_bytes)",
        )
    if request.version != "1.1":
        received.connection.reusable = False
        raise Refused(
            505, "http-version", f"HTTP/{request.version} is not served here; use HTTP/1.1"
        )
    hosts = [value for name, value in request.headers if len(name) == 4 and name.lower() == b"host"]
    if len(hosts) != 1:
        received.connection.reusable = False
        raise Refused(400, "bad-request", "exactly one Host header is needed")
    if request.upgrade:
        _check_upgrade(received)
    if request.body is not None and request.body.failed:
        raise Refused(400, "bad-request", "the request body is not framed as HTTP/1.1 says")
    named = _by_host(hosts[0], domain)
    if named is not None:
        cluster, path = named, request.target
    else:
        cluster, path = _by_prefix(request.target)
    received.record.call.cluster = cluster
    raw = received.record.call.raw
    received.record.call.request_uri = text(path, "requestURI", raw)
    return Routed(received, cluster, path)


def _check_upgrade(received: Received) -> None:
    request = received.request
    received.connection.reusable = False
    if request.body is not None:
        raise Refused(
            400, "bad-request", "a request that upgrades the connection must not have a body"
        )
    wanted = [value.lower() for name, value in request.headers if name.lower() == b"upgrade"]
    if len(wanted) != 1 or wanted[0] not in UPGRADES:
        # A tunnel that carries HTTP (h2c, TLS) would carry calls that nobody checks or records.
        raise Refused(
            400, "bad-upgrade", "only upgrades to SPDY/3.1 and to websocket are served here"
        )


def _by_prefix(target: bytes) -> tuple[str, bytes]:
    if not target.startswith(PREFIX):
        raise Refused(
            404,
            "no-cluster",
            "no cluster is served at this path: the server URL of a kubeconfig for this proxy ends "
            "in /clusters/NAME, and kubectl before 1.34 drops it for --raw",
        )
    name, slash, rest = target[len(PREFIX) :].partition(b"/")
    if not slash:
        name, mark, query = name.partition(b"?")
        rest = mark + query
    if not _is_name(name):
        raise Refused(404, "no-cluster", "the cluster's name in the path is not a DNS name")
    return name.decode(), b"/" + rest


def _by_host(host: bytes, domain: str) -> str | None:
    if not domain:
        return None
    suffix = b"." + domain.lower().encode()
    bare = (
        host.lower().rpartition(b":")[0] if host[-1:].isdigit() and b":" in host else host.lower()
    )
    name = bare.removesuffix(suffix)
    return name.decode() if name != bare and _is_name(name) else None


@functools.lru_cache(maxsize=256)
def _is_name(name: bytes) -> bool:
    return (
        0 < len(name) <= MAX_NAME
        and not name.translate(None, b"abcdefghijklmnopqrstuvwxyz0123456789-.")
        and name[0] not in b"-."
        and name[-1] not in b"-."
    )


def describe_call(routed: Routed) -> Described:
    """3. Say what the call is; refuse targets that parsers disagree about."""
    received = routed.received
    call = received.record.call
    upgrade = received.request.upgrade
    try:
        described = describe(call.http_method, routed.path, upgrade=upgrade)
    except RefusedTarget as error:
        raise Refused(400, "bad-target", str(error)) from None
    except InvalidRequest as error:
        raise Refused(
            400, "bad-request", f"kube-apiserver would not understand it: {error}"
        ) from None
    info = described.info
    received.record.info = info
    call.verb = info.verb
    call.call_class = described.call_class
    if info.is_resource:
        call.object_ref = ObjectRef(
            info.resource, info.namespace, info.name, info.group, info.version, info.subresource
        )
        call.field_selector = info.field_selector
        call.label_selector = info.label_selector
    return Described(routed, info, described.call_class, upgrade)


def recognise(received: Received, snapshot: Snapshot, now: float) -> bool:
    """Whether a call that was refused is of somebody we know; their name is on its record then.

    What a client without a credential that stands says is shortened there: anybody may be one.
    """
    call, connection = received.record.call, received.connection
    if call.user is not NOBODY:
        return True
    try:
        who = authenticate(connection.identity, snapshot, now, Usage.KUBECTL)
    except Unauthenticated:
        _shorten(call)
        return False
    call.user = User(who.user, groups=who.groups)
    call.credential = who.serial
    if len(received.request.target) > connection.limits.uri_bytes:
        call.request_uri = shortened(call.request_uri, STRANGE)
        call.raw.pop("requestURI", None)
    return True


def _shorten(call: Call) -> None:
    """Leave of each text of the client so much as a record has room for."""
    for field in _STRANGE:
        setattr(call, field, shortened(getattr(call, field), STRANGE))
    about = call.object_ref
    if about is not None:
        call.object_ref = ObjectRef(
            *(shortened(getattr(about, field), STRANGE) for field in about.__struct_fields__)
        )
    call.raw = {field: value for field, value in call.raw.items() if len(value) <= STRANGE}


def identify(described: Described, snapshot: Snapshot, now: float) -> Identified:
    """4. The verified certificate of the connection must belong to a credential that stands."""
    connection = described.routed.received.connection
    if connection.identity_error:
        raise Refused(401, "bad-certificate", connection.identity_error)
    try:
        who = authenticate(connection.identity, snapshot, now, Usage.KUBECTL)
    except Unauthenticated as error:
        call = described.routed.received.record.call
        if connection.identity is not None:
            call.credential = connection.identity.serial
            call.annotations[CLAIMED_USER] = connection.identity.user
        raise Refused(401, error.reason, str(error)) from None
    call = described.routed.received.record.call
    call.user = User(who.user, groups=who.groups)
    call.credential = who.serial
    return Identified(described, who)
