"""Reading the protobuf form of Kubernetes objects.

Typed clients, and with them `kubectl create`, `kubectl auth` and `kubectl drain`, send
`application/vnd.kubernetes.protobuf`: four magic bytes, then a `runtime.Unknown` that holds the
type and the raw object. The sandbox reads that form and always answers in JSON, which those clients
accept as well.

Go writes fields that are not pointers even when they are empty, so empty strings, zeros and unset
times are dropped, except for the few fields where zero is a statement.
"""

import base64
from typing import Final

from proxy.kube.protobuf import envelope, fields
from proxy.kube.protobuf import raw as raw_bytes
from proxy.sandbox.failures import bad_request
from proxy.sandbox.objects import Object, timestamp
from proxy.sandbox.schema import Field, Message, messages

_KEEP_ZERO: Final = frozenset(
    {
        "replicas", "backoffLimit", "parallelism", "completions", "gracePeriodSeconds",
        "terminationGracePeriodSeconds", "revisionHistoryLimit", "ttlSecondsAfterFinished",
        "runAsUser", "runAsGroup", "fsGroup", "runAsNonRoot", "allowPrivilegeEscalation",
        "readOnlyRootFilesystem", "automountServiceAccountToken", "enableServiceLinks",
    }
)  # fmt: skip


def decode(body: bytes) -> Object:
    """The object in `body`. Raises ApiError 400 when it is malformed or of an unknown type."""
    try:
        found = envelope(body)
        message = messages().get(found.kind)
        if message is None:
            raise bad_request(f"the sandbox cannot read {found.kind or 'this'} in protobuf form")
        content = _message(message, found.raw)
    except (KeyError, ValueError, TypeError) as error:
        raise bad_request(f"the protobuf body is malformed: {error}") from error
    return {"apiVersion": found.api_version, "kind": found.kind, **content}


def _message(message: Message, data: bytes) -> Object:
    found: Object = {}
    for number, raw in fields(data):
        field = message.fields.get(number)
        if field is None:
            continue
        if field.is_map:
            entry = dict(fields(raw_bytes(raw)))
            key = raw_bytes(entry.get(1, b"")).decode()
            found.setdefault(field.name, {})[key] = _element(field, entry.get(2, b""))
            continue
        value = _element(field, raw)
        if field.is_list:
            found.setdefault(field.name, []).append(value)
        elif field.is_inline and isinstance(value, dict):
            found.update(value)
        elif value not in (None, "", 0) or (value is not None and field.name in _KEEP_ZERO):
            found[field.name] = value
    return found


def _element(field: Field, raw: int | bytes) -> object:
    if field.type.endswith("!"):
        return [raw_bytes(value).decode() for _, value in fields(raw_bytes(raw))]
    if field.is_message:
        return _message(messages()[field.type], raw_bytes(raw))
    match field.type:
        case "string":
            return raw_bytes(raw).decode()
        case "bytes":
            return _bytes(raw_bytes(raw))
        case "bool":
            return bool(raw)
        case "int32" | "int64" | "uint32" | "uint64":
            return _signed(raw)
        case _:
            return _value(field.type, dict(fields(raw_bytes(raw))))


def _bytes(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _signed(raw: int | bytes) -> int:
    if isinstance(raw, bytes):
        msg = "bytes where a number belongs"
        raise TypeError(msg)
    return raw - (1 << 64) if raw >= 1 << 63 else raw


def _value(kind: str, parts: dict[int, int | bytes]) -> object:
    if kind == "quantity":
        return raw_bytes(parts.get(1, b"0")).decode()
    if kind == "intorstring":
        if parts.get(1, 0) == 1:
            return raw_bytes(parts.get(3, b"")).decode()
        return _signed(parts.get(2, 0))
    if kind == "duration":
        return f"{_signed(parts.get(1, 0)) / 1e9:g}s"
    seconds = _signed(parts.get(1, 0))
    return timestamp(seconds) if parts else None
