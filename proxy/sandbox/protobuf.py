"""Reading the protobuf form of Kubernetes objects.

Typed clients, and with them `kubectl create`, `kubectl auth` and `kubectl drain`, send
`application/vnd.kubernetes.protobuf`: four magic bytes, then a `runtime.Unknown` that holds the
type and the raw object. The sandbox reads that form and always answers in JSON, which those clients
accept as well.

Go writes fields that are not pointers even when they are empty, so empty strings, zeros and unset
times are dropped, except for the few fields where zero is a statement.
"""

import base64
from collections.abc import Iterator
from typing import Final

from proxy.sandbox.failures import bad_request
from proxy.sandbox.objects import Object, timestamp
from proxy.sandbox.schema import Field, Message, messages

MAGIC: Final = b"k8s\x00"
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
    if not body.startswith(MAGIC):
        raise bad_request("the body is not Kubernetes protobuf: the first four bytes are wrong")
    try:
        envelope = dict(_parts(body[len(MAGIC) :]))
        kind = {number: bytes(value).decode() for number, value in _parts(_raw(envelope[1]))}
        message = messages().get(kind.get(2, ""))
        if message is None:
            raise bad_request(f"the sandbox cannot read {kind.get(2, 'this')} in protobuf form")
        fields = _message(message, _raw(envelope.get(2, b"")))
    except (IndexError, KeyError, ValueError, TypeError) as error:
        raise bad_request("the protobuf body is malformed") from error
    return {"apiVersion": kind[1], "kind": kind[2], **fields}


def _raw(value: int | bytes) -> bytes:
    if isinstance(value, int):
        msg = "a number where bytes belong"
        raise TypeError(msg)
    return value


def _parts(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        match tag & 7:
            case 0:
                value, at = _varint(data, at)
                yield tag >> 3, value
                continue
            case 2:
                length, at = _varint(data, at)
            case 1:
                length = 8
            case 5:
                length = 4
            case _:
                msg = "unknown wire type"
                raise ValueError(msg)
        if at + length > len(data):
            msg = "cut short"
            raise ValueError(msg)
        yield tag >> 3, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _message(message: Message, data: bytes) -> Object:
    found: Object = {}
    for number, raw in _parts(data):
        field = message.fields.get(number)
        if field is None:
            continue
        if field.is_map:
            entry = dict(_parts(_raw(raw)))
            key = _raw(entry.get(1, b"")).decode()
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
        return [_raw(value).decode() for _, value in _parts(_raw(raw))]
    if field.is_message:
        return _message(messages()[field.type], _raw(raw))
    match field.type:
        case "string":
            return _raw(raw).decode()
        case "bytes":
            return _bytes(_raw(raw))
        case "bool":
            return bool(raw)
        case "int32" | "int64" | "uint32" | "uint64":
            return _signed(raw)
        case _:
            return _value(field.type, dict(_parts(_raw(raw))))


def _bytes(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _signed(raw: int | bytes) -> int:
    if isinstance(raw, bytes):
        msg = "bytes where a number belongs"
        raise TypeError(msg)
    return raw - (1 << 64) if raw >= 1 << 63 else raw


def _value(kind: str, parts: dict[int, int | bytes]) -> object:
    if kind == "quantity":
        return _raw(parts.get(1, b"0")).decode()
    if kind == "intorstring":
        if parts.get(1, 0) == 1:
            return _raw(parts.get(3, b"")).decode()
        return _signed(parts.get(2, 0))
    if kind == "duration":
        return f"{_signed(parts.get(1, 0)) / 1e9:g}s"
    seconds = _signed(parts.get(1, 0))
    return timestamp(seconds) if parts else None
