"""`kubewitness db` by hand: on the embedded database, and what it says without one."""

from pathlib import Path

import pytest

from proxy.runtime.local_acts import person
from tests.cli.conftest import Command, local_acts
from tests.control.plane import Plane
from tests.postgres import Database


def test_an_embedded_database_has_no_server(plane: Plane, command: Command) -> None:
    assert "embedded" in command("db", "status").out
    assert "no server to accept" in command("db", "accept-server").err


def test_accepting_a_server_is_on_record(
    plane: Plane, command: Command, upgraded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBEWITNESS_DATABASE", upgraded)
    plane.data.database_server.write_text('{"systemIdentifier":"8","timeline":1}')
    done = command("db", "accept-server")
    assert (done.code, "Before: system 8" in done.out) == (0, True), done.err
    assert "journal open" not in done.out + done.err, "that is for the log"
    intent, outcome = local_acts(plane)
    assert (intent["action"], intent["outcome"]) == ("database.accept", "requested")
    assert outcome["detail"]["before"] == "system 8, timeline 1"
    assert outcome["detail"]["after"] in done.out
    assert (outcome["actor"], outcome["detail"]["via"]) == (person().name, "cli (local)")
    assert ":p@" not in str(local_acts(plane)), "no password"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("db", "upgrade"), 2, "KUBEWITNESS_ADMIN_DATABASE"),
        (("db", "upgrade", "--database", "mysql://x"), 2, "postgresql://"),
        (("db", "upgrade", "--database", "postgresql://a:b/c@db/audit"), 2, "/ as %2F"),
        (("db", "upgrade", "--database-file", "/nowhere/dsn"), 2, "/nowhere/dsn"),
        (("db", "upgrade", "--database-file", "/x", "--database", "y"), 2, "both set"),
        (("db", "status", "--data-dir", "/nowhere"), 4, "not a kubewitness data directory"),
        (("db", "accept-server", "--data-dir", "/nowhere"), 4, "not a kubewitness data directory"),
    ],
)
def test_what_is_missing_is_said(
    command: Command, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: int, says: str
) -> None:
    monkeypatch.delenv("KUBEWITNESS_ADMIN_DATABASE", raising=False)
    done = command(*words, direct=True)
    assert (done.code, says in done.err) == (code, True), done.err


def test_upgrade_says_what_it_did_and_no_password(
    command: Command, database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KUBEWITNESS_ADMIN_DATABASE", database.url)
    done = command("db", "upgrade", direct=True)
    assert (done.code, "schema version" in done.out) == (0, True), done.err
    password = database.url.split("@", 1)[0].rsplit(":", 1)[1]
    assert password not in done.out + done.err
    monkeypatch.delenv("KUBEWITNESS_ADMIN_DATABASE")
    (tmp_path / "dsn").write_text(database.url)
    again = command("db", "upgrade", "--database-file", str(tmp_path / "dsn"), direct=True)
    assert again.code == 0, again.err
    monkeypatch.setenv("KUBEWITNESS_ADMIN_DATABASE", database.url)
    missing = command("db", "upgrade", "--login", "nobody-there", direct=True)
    assert (missing.code, "no login 'nobody-there'" in missing.err) == (4, True)
