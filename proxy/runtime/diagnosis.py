"""What `kubewitness doctor` looks at: each check has a name, a result and advice.

It only reads, also while `serve` runs.
"""

import os
import re
import socket
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

from proxy.audit.journal.filesystem import filesystem, require_durable
from proxy.audit.journal.records import intact, read_batch, read_header, segments
from proxy.audit.journal.space import STEPS, room
from proxy.clock import Clock
from proxy.data_dir import DataDir
from proxy.errors import KubewitnessError, SettingsError
from proxy.pki.authorities import read_certificates
from proxy.settings import Settings, split_address

_LEAST_FREE: Final = 1 << 30
"""Bytes; below a GiB the record may fill the disk within hours."""
_FOREIGN: Final = (
    "Find out how they came there: an older copy of the volume, a directory that is used twice, or"
    " somebody with the login of serve, whose password is then to be changed first."
)
"""What to do about records that a journal does not have; this does not heal by itself."""
_ADVICE: Final = (
    (
        ("no space", "disk is full", "quota", "fills its disk", "no room"),
        "Make room on the journal's volume, or enlarge it.",
    ),
    (("database", "postgres", "index"), "See that PostgreSQL runs and is reached."),
    (("read-only", "input/output"), "Look at the disk (dmesg) and its mount."),
    (("replaced", "deleted", "removed", "truncated"), "Find out who touched the journal's files."),
    (("has not confirmed", "wait for the disk"), "The disk is slow or hangs; look at its load."),
)
"""Words in a cause, and what to do about it."""
_SOON: Final = timedelta(days=7).total_seconds()


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    check: str
    status: Status
    message: str
    advice: str = ""


Results = Iterator[Finding]


def diagnose(settings: Settings, clock: Clock) -> list[Finding]:
    """Every check that needs no running proxy."""
    data = DataDir(settings.data_dir)
    findings = list(_directory(data))
    if any(item.status is Status.FAILED for item in findings):
        return findings
    checks: tuple[tuple[str, Callable[[], Results]], ...] = (
        ("permissions", lambda: _permissions(data)),
        ("disk", lambda: _disk(settings, data)),
        ("certificates", lambda: _certificates(settings, data, clock)),
        ("journal", lambda: _journal(data)),
        ("addresses", lambda: _addresses(settings, data)),
        ("clock", lambda: _clock(data, clock)),
    )
    for name, check in checks:
        try:
            findings += check()
        except (KubewitnessError, OSError) as error:
            hint = error.hint if isinstance(error, KubewitnessError) else ""
            text = error.message if isinstance(error, KubewitnessError) else str(error)
            findings.append(Finding(name, Status.FAILED, text, hint))
    return findings


def _directory(data: DataDir) -> Results:
    try:
        data.require()
    except KubewitnessError as error:
        yield Finding("data-directory", Status.FAILED, error.message, error.hint)
    else:
        yield Finding("data-directory", Status.OK, f"{data.path.absolute()} is initialised")


def _permissions(data: DataDir) -> Results:
    found = data.path.stat()
    if found.st_uid != os.getuid():
        yield Finding(
            "owner",
            Status.WARNING,
            f"{data.path} belongs to user {found.st_uid}, you are {os.getuid()}",
            "Run `serve` as its owner.",
        )
    open_to_others = [
        path
        for path in (data.path, *_secret_files(data))
        if stat.S_IMODE(path.stat().st_mode) & 0o077
    ]
    for path in open_to_others:
        mode = "700" if path.is_dir() else "600"
        yield Finding(
            "permissions",
            Status.FAILED,
            f"others may open {path}",
            f"chmod {mode} {path}, and consider what it holds as known to them.",
        )
    if not open_to_others:
        yield Finding("permissions", Status.OK, "keys and records are readable by their owner only")


def _secret_files(data: DataDir) -> Iterator[Path]:
    yield from data.pki.glob("*.key")
    yield from (path for path in (data.admin_context, data.state_database) if path.exists())


def _disk(settings: Settings, data: DataDir) -> Results:
    try:
        doubt = require_durable(data.journal, settings)
    except SettingsError as error:
        yield Finding("filesystem", Status.FAILED, error.message, error.hint)
    else:
        kind = filesystem(data.journal) or "an unknown filesystem"
        if doubt:
            better = "The settings allow it; a local disk (ext4, xfs) or a volume is better."
            yield Finding("filesystem", Status.WARNING, doubt, better)
        else:
            yield Finding("filesystem", Status.OK, f"journal on {kind}")
    found = room(os.statvfs(data.journal))
    if found.ratio < STEPS[0] or found.free < _LEAST_FREE:
        yield Finding(
            "disk-space",
            Status.WARNING,
            found.words,
            "When the disk is full, calls are refused. Make room or enlarge it.",
        )
    else:
        yield Finding("disk-space", Status.OK, found.words)


def _certificates(settings: Settings, data: DataDir, clock: Clock) -> Results:
    server = settings.tls.cert_file or data.pki / "server.crt"
    authority = settings.tls.ca_cert_file or data.pki / "ca.crt"
    for name, path in (("authority", authority), ("server-certificate", server)):
        end = read_certificates(path)[0].not_valid_after_utc
        left = end.timestamp() - clock.now()
        text = f"{path.name} ends {end:%Y-%m-%d %H:%M} UTC"
        if left <= 0:
            yield Finding(name, Status.FAILED, f"{path.name} ended {end:%Y-%m-%d}", _renewal(name))
        elif left < _SOON:
            yield Finding(name, Status.WARNING, text, _renewal(name))
        else:
            yield Finding(name, Status.OK, text)


def _renewal(name: str) -> str:
    if name == "authority":
        return "Replace the authority; kubeconfigs have to be issued anew."
    return "`serve` renews its own; one that you configured you must replace."


def _journal(data: DataDir) -> Results:
    slots = sorted(path for path in data.journal.iterdir() if path.is_dir())
    for slot in slots:
        names = segments([path.name for path in slot.iterdir()])
        if not names:
            continue
        path = slot / str(names[-1])
        # The newest segment: earlier ones are what `audit verify` is for.
        content = path.read_bytes()
        read = read_header(content)
        position, batches = read[1] if read else 0, 0
        while (found := read_batch(content, position)) is not None:
            if not intact(content, found):
                yield Finding(
                    "journal",
                    Status.FAILED,
                    f"{path} is damaged at byte {position}",
                    "Restore the file from a copy before the next start.",
                )
                return
            position, batches = found.next, batches + 1
        yield Finding(
            "journal", Status.OK, f"{slot.name}: {len(names)} segments, the newest is intact"
        )
    if not slots:
        yield Finding("journal", Status.OK, "nothing recorded yet")


def _addresses(settings: Settings, data: DataDir) -> Results:
    if data.in_use:
        yield Finding("serve", Status.OK, "serve is running on this directory")
        return
    yield Finding("serve", Status.OK, "serve is not running")
    for name in ("listen", "control", "metrics"):
        address = getattr(settings, name)
        try:
            _try_bind(address)
        except OSError as error:
            yield Finding(
                f"address-{name}",
                Status.FAILED,
                f"{address}: {error.strerror or error}",
                f"Stop what uses it, or choose another with --{name}.",
            )
        else:
            yield Finding(f"address-{name}", Status.OK, f"{address} is free")


def audit_state(page: str) -> Finding:
    """What the health page of a running proxy says of its record."""
    found = re.search(r"^\[(.)\]audit (\w+)(?:: )?(.*)$", page, re.MULTILINE)
    if found is None:
        return Finding("audit", Status.WARNING, "the health page says nothing of the record")
    mark, state, cause = found.groups()
    if mark == "+":
        return Finding("audit", Status.OK, "ok: every call is recorded")
    status, means = (
        (Status.FAILED, "calls are refused") if mark == "-" else (Status.WARNING, "calls go on")
    )
    return Finding("audit", status, f"{state}, {means}: {cause}", _advice(cause.lower()))


def _advice(cause: str) -> str:
    """What to do about the cause of an audit state."""
    if "other records of writer" in cause:
        return _FOREIGN
    for words, advice in _ADVICE:
        if any(word in cause for word in words):
            return f"{advice} It heals by itself, without a restart."
    return "The log of serve says more. It heals by itself, without a restart."


def _try_bind(address: str) -> None:
    host, port = split_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def _clock(data: DataDir, clock: Clock) -> Results:
    newest = max(
        (path.stat().st_mtime for path in data.journal.glob("*/*.jsonl")), default=clock.now()
    )
    behind = newest - clock.now()
    if behind > 1:
        yield Finding(
            "clock",
            Status.FAILED,
            f"the clock is {behind:.0f} s behind the last record",
            "Synchronise it (NTP, chrony) before you start.",
        )
    else:
        yield Finding("clock", Status.OK, "not behind the last record")
