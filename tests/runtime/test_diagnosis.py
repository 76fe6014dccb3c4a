"""What doctor finds, on real directories."""

import os
import socket
from pathlib import Path

import pytest

from proxy.audit.journal import filesystem
from proxy.clock import ManualClock, SystemClock
from proxy.data_dir import DataDir
from proxy.runtime.diagnosis import Finding, Status, audit_state, diagnose
from proxy.settings import Audit, Journal, Settings


def by_check(findings: list[Finding]) -> dict[str, Finding]:
    return {item.check: item for item in findings}


def test_a_fresh_directory_is_healthy(settings: Settings) -> None:
    findings = by_check(diagnose(settings, SystemClock()))
    # What the tests' own disk is like is not ours to choose.
    ours = [item for name, item in findings.items() if name not in {"filesystem", "disk-space"}]
    assert {item.status for item in ours} == {Status.OK}, findings
    assert set(findings) == {
        *("data-directory", "permissions", "filesystem", "disk-space", "authority", "clock"),
        *("server-certificate", "journal", "serve"),
        *("address-listen", "address-control", "address-metrics"),
    }


def test_without_init_there_is_one_finding(settings: Settings, tmp_path: Path) -> None:
    elsewhere = settings.model_copy(update={"data_dir": tmp_path / "other"})
    (finding,) = diagnose(elsewhere, SystemClock())
    assert (finding.check, finding.status) == ("data-directory", Status.FAILED)
    assert "kubewitness init" in finding.advice


@pytest.mark.parametrize("path", [".", "pki/ca.key", "pki/state.key", "admin/context.yaml"])
def test_what_others_may_read_is_named(settings: Settings, path: str) -> None:
    target = settings.data_dir / path
    target.chmod(target.stat().st_mode | 0o044)
    finding = by_check(diagnose(settings, SystemClock()))["permissions"]
    assert finding.status is Status.FAILED
    assert f"others may open {target}" in finding.message
    assert finding.advice.startswith("chmod ")


@pytest.mark.parametrize(
    ("days", "status"), [(0, Status.OK), (85, Status.WARNING), (91, Status.FAILED)]
)
def test_a_server_certificate_that_ends(settings: Settings, days: int, status: Status) -> None:
    clock = ManualClock(SystemClock().now() + days * 86_400)
    finding = by_check(diagnose(settings, clock))["server-certificate"]
    assert finding.status is status


def test_a_damaged_journal(settings: Settings) -> None:
    (path,) = (settings.data_dir / "journal" / "main").glob("*.jsonl")
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"action":"', b'"action":"x', 1))
    finding = by_check(diagnose(settings, SystemClock()))["journal"]
    assert finding.status is Status.OK, "a changed length is a torn tail here, cut at the start"
    path.write_bytes(content.replace(b'"action":"j', b'"action":"J', 1))
    finding = by_check(diagnose(settings, SystemClock()))["journal"]
    assert finding.status is Status.FAILED
    assert f"{path} is damaged at byte" in finding.message


def test_an_address_that_is_taken(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        changed = settings.model_copy(update={"listen": address})
        finding = by_check(diagnose(changed, SystemClock()))["address-listen"]
    assert finding.status is Status.FAILED
    assert "--listen" in finding.advice


def test_while_serve_runs_its_addresses_are_its_own(settings: Settings) -> None:
    with DataDir(settings.data_dir).exclusively():
        findings = by_check(diagnose(settings, SystemClock()))
    assert findings["serve"].message == "serve is running on this directory"
    assert "address-listen" not in findings


def test_a_clock_behind_the_record(settings: Settings) -> None:
    clock = ManualClock(SystemClock().now() - 3600)
    finding = by_check(diagnose(settings, clock))["clock"]
    assert finding.status is Status.FAILED


def test_a_missing_certificate_is_a_finding_and_not_the_end(settings: Settings) -> None:
    (settings.data_dir / "pki" / "server.crt").unlink()
    findings = by_check(diagnose(settings, SystemClock()))
    assert findings["certificates"].status is Status.FAILED
    assert "journal" in findings


@pytest.mark.parametrize(
    ("line", "status", "message", "advice"),
    [
        ("[+]audit ok", Status.OK, "ok: every call is recorded", ""),
        (
            "[-]audit closed: records cannot be made durable: No space left on device",
            Status.FAILED,
            "closed, calls are refused: records cannot be made durable: No space left on device",
            "Make room on the journal's volume",
        ),
        (
            "[~]audit degraded: the journal fills its disk: less than 5%",
            Status.WARNING,
            "degraded, calls go on: the journal fills its disk: less than 5%",
            "Make room on the journal's volume",
        ),
        (
            "[~]audit degraded: the database is away",
            Status.WARNING,
            "degraded, calls go on: the database is away",
            "See that PostgreSQL runs",
        ),
        (
            "[~]audit degraded: the index holds other records of writer 1f-cli at sequence 9",
            Status.WARNING,
            "degraded, calls go on: the index holds other records of writer 1f-cli at sequence 9",
            "Find out how they came there",
        ),
        (
            "[-]audit failed: no answer within 2 s",
            Status.FAILED,
            "failed, calls are refused: no answer within 2 s",
            "The log of serve says more",
        ),
        ("[+]other ok", Status.WARNING, "the health page says nothing of the record", ""),
    ],
)
def test_what_the_health_page_says_of_the_record(
    line: str, status: Status, message: str, advice: str
) -> None:
    found = audit_state(f"[+]shutdown ok\n{line}\nreadyz check failed\n")
    assert (found.check, found.status, found.message) == ("audit", status, message)
    assert found.advice.startswith(advice)
    assert bool(found.advice) == bool(advice)


@pytest.mark.parametrize(
    ("unsafe", "ack", "status"),
    [
        ("refuse", "local", Status.FAILED),
        ("allow", "local", Status.WARNING),
        ("refuse", "replicated", Status.WARNING),
    ],
)
def test_a_journal_in_memory(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, unsafe: str, ack: str, status: Status
) -> None:
    monkeypatch.setattr(filesystem, "filesystem", lambda path, mounts: "tmpfs")
    changed = settings.model_copy(
        update={
            "journal": Journal.model_validate({"unsafe_filesystem": unsafe}),
            "audit": Audit.model_validate({"ack": ack}),
        }
    )
    finding = by_check(diagnose(changed, SystemClock()))["filesystem"]
    assert finding.status is status
    assert "is on tmpfs: what is there is gone with the next restart" in finding.message


@pytest.mark.parametrize(
    ("free", "status"), [(500, Status.OK), (150, Status.WARNING), (0, Status.WARNING)]
)
def test_a_disk_that_fills(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, free: int, status: Status
) -> None:
    gib = 1 << 30
    found = os.statvfs_result((gib, gib, 1000, free, free, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: found)
    finding = by_check(diagnose(settings, SystemClock()))["disk-space"]
    assert finding.status is status
    assert f"{free / 10:.1f} % of the space free" in finding.message
