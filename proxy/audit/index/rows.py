"""From journal lines to rows: the columns of the index and how an event fills them.

A row is a copy for finding things. The line is kept beside the columns byte for byte and is what
counts; columns may shorten or escape what a database cannot hold.
"""

import ipaddress
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec
import structlog

from proxy.audit.event import TERMINAL, ObjectRef, User
from proxy.audit.flags import SUSPICIOUS
from proxy.audit.journal.records import Found, record_lines

_log = structlog.get_logger(__name__)

EVENT: Final = "Event"
SYSTEM_EVENT: Final = "SystemEvent"
CONNECTION_EVENT: Final = "ConnectionEvent"
UNREADABLE: Final = "Unreadable"
"""A line that is not an event we know: indexed by its sequence, so that nothing is hidden."""

_NOISE: Final = frozenset({"discovery", "health"})
_DECISION: Final = "authorization.k8s.io/decision"
_TEXT_LIMIT: Final = 2048
"""Characters of a text that a column keeps; the line keeps all of them."""
_KEY_LIMIT: Final = 512
"""Characters of a text in a b-tree: PostgreSQL refuses entries of more than 2,704 bytes."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Row(NamedTuple):
    """One event, as the index has it. Field names are column names."""

    writer: str
    seq: int
    kind: str
    audit_id: str = ""
    stage: str = ""
    terminal: bool = True
    """The last word: a call's terminal event, and every event that is not a call's."""
    at: int = 0
    """The stage's time, µs since the epoch."""
    received_at: int = 0
    """The call's arrival, µs since the epoch."""
    username: str = ""
    """Of a system event: its actor."""
    user_groups: str = ""
    """Each group between newlines; see `join_groups`."""
    credential: str = ""
    cluster: str = ""
    verb: str = ""
    call_class: str = ""
    api_group: str = ""
    api_version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    code: int | None = None
    """HTTP status; None before there is one, 0 when there never was."""
    reason: str = ""
    """Of the status; of a connection event its own, of a system event its outcome."""
    source_ip: str = ""
    source_key: str = ""
    """`source_ip` as 32 hex digits (IPv4 mapped into IPv6), so that networks are ranges."""
    user_agent: str = ""
    tool: str = ""
    command: str = ""
    session: str = ""
    uri: str = ""
    impersonated_user: str = ""
    decision: str = ""
    close_reason: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    upstream_micros: int = 0
    total_micros: int = 0
    action: str = ""
    target: str = ""
    actor: str = ""
    noise: bool = False
    """Discovery and health probes: recorded, and hidden unless asked for."""
    suspicious: str = ""
    """Each flag between newlines, as groups are; of a call, and of an administrative act."""
    line: bytes = b""
    """The journal's line, without its newline."""


class _Status(msgspec.Struct, gc=False):
    code: int = 0
    reason: str = ""


class _Annotations(msgspec.Struct, frozen=True, gc=False, rename={"decision": _DECISION, "suspicious": SUSPICIOUS}):  # fmt: skip
    decision: str = ""
    suspicious: str = ""


class _Detail(msgspec.Struct, frozen=True, gc=False):
    suspicious: str = ""


_NO_ANNOTATIONS: Final = _Annotations()
_NO_DETAIL: Final = _Detail()


class _Line(
    msgspec.Struct,
    gc=False,  # lines have no cycles, and there are many
    rename={
        "audit_id": "auditID",
        "stage_timestamp": "stageTimestamp",
        "received": "requestReceivedTimestamp",
        "source_ips": "sourceIPs",
        "call_class": "class",
        "object_ref": "objectRef",
        "uri": "requestURI",
        "user_agent": "userAgent",
        "command": "kubectlCommand",
        "session": "kubectlSession",
        "impersonated_user": "impersonatedUser",
        "status": "responseStatus",
        "close_reason": "closeReason",
        "bytes_in": "bytesIn",
        "bytes_out": "bytesOut",
        "upstream_micros": "upstreamMicros",
        "total_micros": "totalMicros",
    },
):
    """What the index wants of a line; other members are passed over."""

    kind: str = ""
    audit_id: str = ""
    stage: str = ""
    stage_timestamp: str = ""
    received: str = ""
    source_ips: tuple[str, ...] = ()
    user: User | None = None
    verb: str = ""
    cluster: str = ""
    call_class: str = ""
    credential: str = ""
    object_ref: ObjectRef | None = None
    uri: str = ""
    user_agent: str = ""
    tool: str = ""
    command: str = ""
    session: str = ""
    impersonated_user: User | None = None
    annotations: _Annotations = _NO_ANNOTATIONS
    detail: _Detail = _NO_DETAIL
    status: _Status | None = None
    close_reason: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    upstream_micros: int = 0
    total_micros: int = 0
    action: str = ""
    actor: str = ""
    target: str = ""
    outcome: str = "ok"
    reason: str = ""


_decode = msgspec.json.Decoder(_Line).decode
_NOBODY: Final = User("")
_NOTHING: Final = ObjectRef()


def rows(writer: str, data: bytes, found: Found) -> list[Row]:
    """The rows of one complete batch."""
    return [row(writer, seq, line) for seq, line in record_lines(data, found)]


def row(writer: str, seq: int, line: bytes) -> Row:
    """The row of one record; never fails, whatever the line holds."""
    try:
        record = _decode(line)
        made = _row(writer, seq, line, record)
    except (msgspec.DecodeError, ValueError, OverflowError) as error:
        _log.warning("record is not readable", writer=writer, seq=seq, error=str(error))
        return Row(writer, seq, UNREADABLE, line=line)
    if len(line) > _TEXT_LIMIT or b"\\u0000" in line:
        return _fit(made)
    return made


def _row(writer: str, seq: int, line: bytes, record: _Line) -> Row:
    user = record.user or _NOBODY
    ref = record.object_ref or _NOTHING
    status = record.status
    source_ip = record.source_ips[0] if record.source_ips else ""
    at = micros(record.stage_timestamp)
    is_call = record.kind == EVENT
    return Row(
        writer,
        seq,
        record.kind,
        record.audit_id,
        record.stage,
        not is_call or record.stage in TERMINAL,
        at,
        at if record.received in ("", record.stage_timestamp) else micros(record.received),
        user.username or record.actor,
        join_groups(user.groups),
        record.credential,
        record.cluster,
        record.verb,
        record.call_class,
        ref.api_group,
        ref.api_version,
        ref.resource,
        ref.subresource,
        ref.namespace,
        ref.name,
        status.code if status is not None else None,
        status.reason if status is not None else _own_reason(record),
        source_ip,
        source_key(source_ip),
        record.user_agent,
        record.tool,
        record.command,
        record.session,
        record.uri,
        record.impersonated_user.username if record.impersonated_user is not None else "",
        record.annotations.decision,
        record.close_reason,
        record.bytes_in,
        record.bytes_out,
        record.upstream_micros,
        record.total_micros,
        record.action,
        record.target,
        record.actor,
        record.call_class in _NOISE,
        _flags(record.annotations.suspicious or record.detail.suspicious),
        line,
    )


@lru_cache(maxsize=256)
def _flags(words: str) -> str:
    return join_groups(tuple(words.split(","))) if words else ""


def _own_reason(record: _Line) -> str:
    return record.outcome if record.kind == SYSTEM_EVENT else record.reason


def _fit(made: Row) -> Row:
    """Shorten texts, and escape NUL, which SQLite and PostgreSQL cannot search or hold."""
    fitting = Row._make(
        value[:_TEXT_LIMIT].replace("\0", "\\0") if isinstance(value, str) else value
        for value in made
    )
    return fitting._replace(audit_id=fitting.audit_id[:_KEY_LIMIT])


def micros(timestamp: str) -> int:
    """An RFC 3339 time as µs since the epoch. Raises ValueError when it is none."""
    if (
        len(timestamp) == 27 and timestamp[19] == "." and timestamp[26] == "Z"
    ):  # as rfc3339() writes it
        return _second(timestamp[:19]) + int(timestamp[20:26])
    return _exactly(timestamp)


@lru_cache(maxsize=64)
def _second(timestamp: str) -> int:
    return _exactly(timestamp + "Z")


def _exactly(timestamp: str) -> int:
    moment = datetime.fromisoformat(timestamp)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MICROSECOND


@lru_cache(maxsize=4096)
def join_groups(groups: tuple[str, ...]) -> str:
    r"""Groups in one text, each between newlines, so that one can be found whole.

    Backslashes and newlines within a group are escaped. No groups are the empty text.
    """
    return "".join(f"\n{_escape(group)}" for group in groups) + ("\n" if groups else "")


def group_needle(group: str) -> str:
    """What stands in `join_groups` of every user who is in `group`."""
    return f"\n{_escape(group)}\n".replace("\0", "\\0")


def _escape(group: str) -> str:
    return group.replace("\\", "\\\\").replace("\n", "\\n")


@lru_cache(maxsize=4096)
def source_key(address: str) -> str:
    """An address as 32 hex digits that sort as addresses do; empty when it is not one."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return ""
    value = int(found)
    return f"{value | 0xFFFF << 32 if found.version == 4 else value:032x}"
