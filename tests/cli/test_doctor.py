"""`kubewitness doctor`: its forms, its exit codes, and the clusters of a running proxy."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.cli.app import run
from proxy.settings import Settings
from tests.audit.index.postgresql.databases import ready_database
from tests.postgres import Database, Postgres
from tests.runtime.processes import Process, initialised, own_environment, start

__all__ = ["own_environment", "start"]


@pytest.fixture
def settings(tmp_path: Path, own_environment: None) -> Settings:
    from proxy import logs

    logs.configure("warning")
    return initialised(tmp_path / "data")


def free(settings: Settings) -> list[str]:
    """Options that name no port somebody else may have."""
    addresses = [f"--{name}=127.0.0.1:0" for name in ("listen", "control", "metrics")]
    return ["--data-dir", str(settings.data_dir), *addresses]


@pytest.mark.parametrize(
    ("harm", "code", "status"), [(False, 0, "ok"), (True, 1, "failed")], ids=["healthy", "broken"]
)
def test_the_exit_code_says_whether_it_is_fit(
    settings: Settings, capsys: pytest.CaptureFixture[str], harm: bool, code: int, status: str
) -> None:
    if harm:
        (settings.data_dir / "pki" / "ca.key").chmod(0o644)
    assert run(["doctor", *free(settings), "-o", "json"]) == code
    findings = {item["check"]: item for item in json.loads(capsys.readouterr().out)}
    assert findings["permissions"]["status"] == status


def test_a_table_for_people(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", *free(settings)]) == 0
    assert capsys.readouterr().out.startswith("STATUS")


def test_forms_that_make_no_sense_are_refused(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["doctor", *free(settings), "-o", "name"]) == 2
    assert "Use table, json or yaml" in capsys.readouterr().err


def test_the_database_is_looked_at_while_nothing_serves(
    settings: Settings,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def finding() -> dict[str, str]:
        assert run(["doctor", *free(settings), "-o", "json"]) == 1
        found: list[dict[str, str]] = json.loads(capsys.readouterr().out)
        return {item["check"]: item for item in found}["database"]

    monkeypatch.setenv("KUBEWITNESS_DATABASE", database.url)
    assert "kubewitness db upgrade" in finding()["advice"]
    assert run(["db", "upgrade", "--database", database.url]) == 0
    capsys.readouterr()
    # The tests' administrator is none that `serve` should have.
    assert "SUPERUSER" in finding()["message"]


def test_too_little_room_for_locks_is_said(
    settings: Settings,
    postgres: Postgres,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with ready_database(postgres) as ready:
        monkeypatch.setenv("KUBEWITNESS_DATABASE", ready.url)
        for workers, status in ((1, "ok"), (64, "warning")):
            monkeypatch.setenv("KUBEWITNESS_WORKERS", str(workers))
            assert run(["doctor", *free(settings), "-o", "json"]) == 0
            found = {item["check"]: item for item in json.loads(capsys.readouterr().out)}
            assert found["database"]["status"] == status
            told = "max_locks_per_transaction" in found["database"]["advice"]
            assert told == (status == "warning")


def test_a_running_proxy_is_asked_for_its_clusters(
    settings: Settings, start: Callable[..., Process], capsys: pytest.CaptureFixture[str]
) -> None:
    process = start("serve", *free(settings))
    process.wait_for("kubewitness is ready")
    metrics = process.wait_for(r"http://([\d.:]+)/metrics")[1]
    assert run(["doctor", *free(settings), "--metrics", metrics, "-o", "json"]) == 0
    findings = {item["check"]: item for item in json.loads(capsys.readouterr().out)}
    assert findings["audit"]["message"] == "ok: every call is recorded"
    assert findings["serve"]["message"] == "serve is running on this directory"
    assert findings["control-plane"]["status"] == "ok"


def test_a_running_proxy_whose_health_page_is_elsewhere(
    settings: Settings, start: Callable[..., Process], capsys: pytest.CaptureFixture[str]
) -> None:
    start("serve", *free(settings)).wait_for("kubewitness is ready")
    assert run(["doctor", *free(settings), "-o", "json"]) == 0
    findings = {item["check"]: item for item in json.loads(capsys.readouterr().out)}
    assert findings["audit"]["status"] == "warning"
    assert "--metrics" in findings["audit"]["advice"]
