"""Calls as people read them: one line in a table, one page for a whole call."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from proxy.audit.event import CLAIMED_USER, WITHHELD
from proxy.cli.moments import local
from proxy.cli.output import Column, visible

COLUMNS: Final = (
    Column("time", whole=True),
    Column("user", 8),
    Column("cluster", 8, 2),
    Column("verb", 10),
    Column("object", 20, middle=True),
    Column("namespace", 8, 1),
    Column("status", 7),
    Column("duration", 8, 4, right=True),
    Column("tool", 14, 3),
)
"""At 80 cells all but duration and tool are there."""


def row(call: Mapping[str, Any]) -> tuple[str, ...]:
    """The cells of a call, or of what else was recorded."""
    if call.get("kind") in _OTHER:
        return _OTHER[call["kind"]](call)
    return (
        local(_text(call, "requestReceivedTimestamp"), short=True),
        who(call),
        _text(call, "cluster"),
        _text(call, "verb"),
        thing(call),
        _text(_part(call, "objectRef"), "namespace"),
        status(call),
        duration(_number(call, "totalMicros")) if "responseStatus" in call else "",
        _text(call, "kubectlCommand") or _text(call, "tool"),
    )


def _system_row(event: Mapping[str, Any]) -> tuple[str, ...]:
    when = local(_text(event, "stageTimestamp"), short=True)
    outcome = _text(event, "outcome") or "ok"
    action, target = _text(event, "action"), _text(event, "target")
    return (when, _text(event, "actor") or "-", "", action, target, "", outcome, "", "")


def _connection_row(event: Mapping[str, Any]) -> tuple[str, ...]:
    when = local(_text(event, "stageTimestamp"), short=True)
    source = ", ".join(event.get("sourceIPs", []))
    return (when, "-", "", "connect", source, "", _text(event, "reason"), "", "")


_OTHER: Final = {"SystemEvent": _system_row, "ConnectionEvent": _connection_row}


def who(call: Mapping[str, Any]) -> str:
    """The user, and whom the call was made as; `(name)` is only what a certificate said that does not count."""
    user = _text(_part(call, "user"), "username") or _claimed(call) or "-"
    other = _text(_part(call, "impersonatedUser"), "username")
    return f"{user} as {other}" if other else user


def _claimed(call: Mapping[str, Any]) -> str:
    name = _text(_part(call, "annotations"), CLAIMED_USER)
    return f"({name})" if name else ""


def thing(call: Mapping[str, Any]) -> str:
    """`pods/web-0`, `pods/web-0 exec`, or the path when it is not about an object."""
    found = _part(call, "objectRef")
    if not found.get("resource"):
        return _text(call, "requestURI").partition("?")[0]
    named = "/".join(part for part in (found["resource"], found.get("name", "")) if part)
    return f"{named} {found['subresource']}" if found.get("subresource") else str(named)


def status(call: Mapping[str, Any]) -> str:
    """The code; `open` for a stream under way, and why it ended when that was not by itself."""
    code = _number(_part(call, "responseStatus"), "code")
    reason = _text(call, "closeReason")
    if call.get("stage") not in ("ResponseComplete", "Panic"):
        return f"{code} open" if code else "open"
    if code and reason in ("", "refused"):
        return str(code)
    return f"{code} {reason}".strip() if code else reason or "-"


def duration(micros: int) -> str:
    """`0.8 ms`, `12 ms`, `3.4 s`, `5m12s`."""
    if micros < 10_000:
        return f"{micros / 1000:.1f} ms"
    if micros < 1_000_000:
        return f"{micros / 1000:.0f} ms"
    if micros < 60_000_000:
        return f"{micros / 1_000_000:.1f} s"
    minutes, seconds = divmod(micros // 1_000_000, 60)
    return f"{minutes}m{seconds:02}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02}m"


def size(count: int) -> str:
    """Bytes in words: `512 B`, `1.4 MiB`."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{count} B"


def page(events: list[Mapping[str, Any]]) -> str:
    """All events of one call as a page; the last one of it knows most."""
    call = next(event for event in reversed(events) if event.get("kind") == "Event")
    lines = [_headline(call), *_corrections(events), ""]
    lines += _facts(_who_lines(call))
    lines += ["", "What", *_facts(_what_lines(call), indent=2)]
    lines += ["", "Events", *(_stage_line(event) for event in events)]
    raw = _part(call, "raw")
    if raw:
        lines += ["", "Not UTF-8 (base64 of what was sent)", *_facts(raw.items(), indent=2)]
    return "\n".join(lines) + "\n"


def _headline(call: Mapping[str, Any]) -> str:
    where = f" on {_text(call, 'cluster')}" if call.get("cluster") else ""
    namespace = _text(_part(call, "objectRef"), "namespace")
    inside = f" in {namespace}" if namespace else ""
    return visible(
        f"{who(call)}: {_text(call, 'verb')} {thing(call)}{inside}{where} → {status(call)}"
    )


def _corrections(events: list[Mapping[str, Any]]) -> list[str]:
    """What its client was told in truth, where the outcome was confirmed too late."""
    found = []
    for event in events:
        if event.get("action") == WITHHELD:
            detail = _part(event, "detail")
            told = _number(detail, "answered")
            instead = f"told {told} instead" if told else "cut off before the answer's end"
            why = _text(detail, "cause")
            found.append(visible(f"The client never got that answer; it was {instead}: {why}"))
    return found


def _who_lines(call: Mapping[str, Any]) -> list[tuple[str, str]]:
    user, other = _part(call, "user"), _part(call, "impersonatedUser")
    return [
        ("Audit ID", _text(call, "auditID")),
        ("User", _text(user, "username") or _nobody(call)),
        ("Groups", ", ".join(user.get("groups", []))),
        ("Credential", _text(call, "credential")),
        ("As", _text(other, "username")),
        ("As groups", ", ".join(other.get("groups", []))),
        ("From", ", ".join(call.get("sourceIPs", []))),
        ("Tool", _text(call, "tool")),
        ("User agent", _text(call, "userAgent")),
        ("Command", _text(call, "kubectlCommand")),
        ("Session", _text(call, "kubectlSession")),
        ("Client's audit ID", _text(call, "clientAuditID")),
    ]


def _nobody(call: Mapping[str, Any]) -> str:
    name = _text(_part(call, "annotations"), CLAIMED_USER)
    said = f"; a certificate that does not count says {name}" if name else ""
    return f"- (not authenticated{said})"


def _what_lines(call: Mapping[str, Any]) -> list[tuple[str, str]]:
    found, answer = _part(call, "objectRef"), _part(call, "responseStatus")
    notes = _part(call, "annotations")
    group = "/".join(part for part in (found.get("apiGroup"), found.get("apiVersion")) if part)
    lines = [
        ("Cluster", _text(call, "cluster")),
        ("Request", f"{_text(call, 'httpMethod')} {_text(call, 'requestURI')}".strip()),
        ("Class", _text(call, "class")),
        ("API", group),
        ("Object", thing(call) if found else ""),
        ("Namespace", _text(found, "namespace")),
        ("Label selector", _text(call, "labelSelector")),
        ("Field selector", _text(call, "fieldSelector")),
        ("Status", " ".join(str(answer[key]) for key in ("code", "reason") if answer.get(key))),
        ("Message", _text(answer, "message")),
        ("Ended", _text(call, "closeReason")),
    ]
    if answer:
        lines += [
            ("Time", duration(_number(call, "totalMicros"))),
            ("Time of the cluster", duration(_number(call, "upstreamMicros"))),
            ("Sent", size(_number(call, "bytesIn"))),
            ("Received", size(_number(call, "bytesOut"))),
        ]
    return lines + [(key.rpartition("/")[2].capitalize(), str(notes[key])) for key in sorted(notes)]


def _stage_line(event: Mapping[str, Any]) -> str:
    place = f"{_text(event, 'writer')} #{_number(event, 'seq')}" if event.get("seq") else ""
    when = local(_text(event, "stageTimestamp"))
    micros = _text(event, "stageTimestamp")[19:26]
    return visible(
        f"  {when}{micros}  {_text(event, 'stage') or _text(event, 'action'):<17} {place}".rstrip()
    )


def _facts(pairs: Iterable[tuple[str, Any]], indent: int = 0) -> list[str]:
    kept = [(name, visible(value)) for name, value in pairs if value not in ("", None)]
    width = max((len(name) for name, _ in kept), default=0)
    return [f"{' ' * indent}{visible(name):<{width}}  {value}" for name, value in kept]


def _part(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = value.get(name)
    return part if isinstance(part, Mapping) else {}


def _text(value: Mapping[str, Any], name: str) -> str:
    return str(value.get(name) or "")


def _number(value: Mapping[str, Any], name: str) -> int:
    return int(value.get(name) or 0)
