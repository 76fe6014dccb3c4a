"""Events: what is written down about a call, a connection or an administrative act.

A call's event is a superset of an `audit.k8s.io/v1` Event (apiserver `pkg/apis/audit/v1/types.go`)
and uses its names. The description of a call does not change between its stages, so it is encoded
once (`describe`) and each stage adds its own members around it. A *body* here is the members of a
JSON object without the braces; the writer puts the sequence and the salt in front.

Text comes from the wire as bytes. What is not UTF-8 is kept readable with backslash escapes and
kept whole in `raw` (base64 by field name), so nothing is lost and nothing breaks a reader.
"""

import base64
import hashlib
import os
from enum import StrEnum
from typing import Any, Final

import msgspec

from proxy.clock import rfc3339

API_VERSION: Final = "audit.k8s.io/v1"


class Stage(StrEnum):
    """The stages of audit.k8s.io/v1, and no others."""

    REQUEST_RECEIVED = "RequestReceived"
    RESPONSE_STARTED = "ResponseStarted"
    RESPONSE_COMPLETE = "ResponseComplete"
    PANIC = "Panic"


WITHHELD: Final = "call.withheld"
"""Action of the system event, under a call's own id, that says: the client was not told what the
outcome before it says, because that was confirmed too late."""

CLAIMED_USER: Final = "kubewitness.io/claimed-user"
"""Annotation of a call that was not authenticated: the user in a certificate of our authority that
does not count (revoked, expired, unknown). Nobody's word but the certificate's."""

TERMINAL: Final = frozenset({Stage.RESPONSE_COMPLETE, Stage.PANIC})


class CloseReason(StrEnum):
    """Why a call ended; empty in a record means that it simply completed."""

    REFUSED = "refused"
    """We answered it ourselves; nothing was forwarded."""
    UPSTREAM_FAILED = "upstream-failed"
    """The cluster could not be reached, or broke off."""
    CLIENT_GONE = "client-gone"
    REVOKED = "revoked"
    """The credential or a grant was revoked, or ended, or the user disabled, in the meantime."""
    DRAINED = "drained"
    """The proxy was shutting down."""
    RECORD_FAILED = "record-failed"
    """The outcome could not be made durable, so the response was cut."""
    INTERRUPTED = "interrupted"
    """The proxy died during the call; written at the next start."""
    PANIC = "panic"


class User(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """UserInfo of audit.k8s.io/v1."""

    username: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, tuple[str, ...]] = {}


class ObjectRef(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """ObjectReference of audit.k8s.io/v1."""

    resource: str = ""
    namespace: str = ""
    name: str = ""
    api_group: str = ""
    api_version: str = ""
    subresource: str = ""


class Call(msgspec.Struct, omit_defaults=True, rename={"audit_id": "auditID", "request_uri": "requestURI", "source_ips": "sourceIPs", "request_received_timestamp": "requestReceivedTimestamp", "user_agent": "userAgent", "impersonated_user": "impersonatedUser", "object_ref": "objectRef", "call_class": "class", "field_selector": "fieldSelector", "label_selector": "labelSelector", "kubectl_command": "kubectlCommand", "kubectl_session": "kubectlSession", "http_method": "httpMethod", "client_audit_id": "clientAuditID"}):  # fmt: skip
    """The fixed description of one call: the same members stand in each of its events."""

    audit_id: str
    request_received_timestamp: str
    source_ips: tuple[str, ...]
    """The peer's address, or the one a trusted PROXY header gave. Never a client's header."""
    user: User
    """Who the certificate says, with the groups that count; username is empty when nobody could be
    authenticated."""
    verb: str = ""
    http_method: str = ""
    request_uri: str = ""
    """Path and query as received, without the `/clusters/<name>` prefix."""
    cluster: str = ""
    call_class: str = ""
    """`proxy.kube.request_info.CallClass`."""
    credential: str = ""
    """Serial of the certificate, lower-case hex."""
    impersonated_user: User | None = None
    """Set when `--as` was asked for and allowed."""
    user_agent: str = ""
    tool: str = ""
    kubectl_command: str = ""
    kubectl_session: str = ""
    client_audit_id: str = ""
    """An `Audit-ID` the client sent; ours is what goes upstream."""
    object_ref: ObjectRef | None = None
    field_selector: str = ""
    label_selector: str = ""
    annotations: dict[str, str] = {}
    """`authorization.k8s.io/decision` and `/reason`, as kube-apiserver writes them;
    `kubewitness.io/suspicious`: what is out of the ordinary about this use of the credential; the
    outcome may have a flag more than the intent, when the cluster refuses the call."""
    raw: dict[str, str] = {}
    """Base64 of the fields whose bytes were not UTF-8."""


class ResponseStatus(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The part of metav1.Status that a record keeps."""

    code: int
    status: str = ""
    reason: str = ""
    message: str = ""


class Progress(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What a stage after the first adds to the description."""

    response_status: ResponseStatus
    bytes_in: int = 0
    """Request body bytes, or bytes from the client of an upgraded stream."""
    bytes_out: int = 0
    upstream_micros: int = 0
    """From handing the request to the cluster's connection to its response head, in µs."""
    total_micros: int = 0
    """From the request's arrival to this stage, in µs."""
    close_reason: str = ""


class ConnectionEvent(msgspec.Struct, omit_defaults=True, tag_field="kind", tag="ConnectionEvent", rename={"event_id": "auditID", "stage_timestamp": "stageTimestamp", "source_ips": "sourceIPs"}):  # fmt: skip
    """A connection that ended before it carried a call: a failed handshake, unreadable bytes."""

    event_id: str
    stage_timestamp: str
    source_ips: tuple[str, ...]
    listener: str
    reason: str
    """Short and stable: `tls-handshake`, `tls-timeout`, `proxy-protocol`, `unreadable-request`."""
    message: str = ""


REQUESTED: Final = "requested"
"""The outcome that an act's intent has."""
OK: Final = "ok"


class SystemEvent(msgspec.Struct, omit_defaults=True, tag_field="kind", tag="SystemEvent", rename={"event_id": "auditID", "stage_timestamp": "stageTimestamp", "source_ips": "sourceIPs"}):  # fmt: skip
    """An administrative act, allowed or not, or something the proxy did by itself."""

    event_id: str
    stage_timestamp: str
    action: str
    """Noun and verb: `credential.issue`, `cluster.add`, `audit.search`, `journal.recover`."""
    actor: str = ""
    """User of the control plane's client certificate; `os:` and a login of the operating system for
    commands that work on a server's disk; empty when the proxy acted by itself."""
    source_ips: tuple[str, ...] = ()
    target: str = ""
    outcome: str = OK
    detail: dict[str, Any] = {}
    """Texts, numbers and lists; `before` and `after` of a change are the thing as the API shows it,
    `visible` of a look at the log what its actor could see."""


_encode = msgspec.json.Encoder().encode


_VARIANT: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""Hex digit to one whose two highest bits are the variant of RFC 9562 §4.1."""
_ID_DIGITS: Final = 19
_REFILL: Final = 256


class _Random:
    """Random hex digits for ids; the kernel is asked once for many."""

    def __init__(self) -> None:
        self._ready: list[str] = []

    def take(self) -> str:
        try:
            return self._ready.pop()
        except IndexError:
            digits = os.urandom(_REFILL * (_ID_DIGITS + 1) // 2).hex()
            width = _ID_DIGITS + 1
            self._ready = [digits[i : i + width] for i in range(0, len(digits), width)]
            return self._ready.pop()

    def forget(self) -> None:
        self._ready.clear()


_random = _Random()
# A forked child must not hand out the ids of its parent.
os.register_at_fork(after_in_child=_random.forget)


def new_id(now: float) -> str:
    """A UUIDv7 (RFC 9562 §5.7): `now` in ms since the epoch, then 74 random bits."""
    time = f"{int(now * 1000):012x}"
    random = _random.take()
    return f"{time[:8]}-{time[8:]}-7{random[:3]}-{_VARIANT[random[3]]}{random[4:7]}-{random[7:19]}"


def text(value: bytes, field: str, raw: dict[str, str]) -> str:
    """Wire bytes as text; when they are not UTF-8, `raw[field]` keeps them whole."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        raw[field] = base64.b64encode(value).decode()
        return value.decode("utf-8", "backslashreplace")


def shortened(value: str, most: int) -> str:
    """A text as a record keeps it that has no room for more than `most` characters.

    Of a longer one: its beginning, its length, and the SHA-256 of all of it in UTF-8.
    """
    if len(value) <= most:
        return value
    whole = value.encode("utf-8", "surrogateescape")
    digest = hashlib.sha256(whole).hexdigest()
    return f"{value[:most]}… ({len(value)} characters, SHA-256 {digest})"


def describe(call: Call) -> bytes:
    """Encode the description once; pass the result to `stage`."""
    return _encode(call)[1:-1]


_STAGE_HEADS: Final = {
    name: f'"kind":"Event","apiVersion":"{API_VERSION}","level":"Metadata","stage":"{name}",'
    '"stageTimestamp":"'.encode()
    for name in Stage
}


def stage(description: bytes, name: Stage, at: float, progress: Progress | None = None) -> bytes:
    """The body of one event of a call at wall time `at`."""
    head = _STAGE_HEADS[name]
    time = rfc3339(at).encode()
    if progress is None:
        return b'%b%b",%b' % (head, time, description)
    return b'%b%b",%b,%b' % (head, time, description, _encode(progress)[1:-1])


def body(event: ConnectionEvent | SystemEvent) -> bytes:
    """The body of an event that is not a call's."""
    return _encode(event)[1:-1]
