"""API tokens by command: shown once, used, revoked, and never anywhere else."""

import json
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import Command
from tests.control.plane import Plane


@pytest.fixture
def ci(prod: Plane, command: Command) -> Plane:
    command("user", "add", "ci", "--service")
    done = command("grant", "add", "--user", "ci", "--role", "admin-read-only", "--organization")
    assert done.code == 0, done.err
    return prod


def made(command: Command, *more: str) -> str:
    done = command("token", "add", "ci", "-P", "cluster.look", "--expires", "1h", *more)
    assert done.code == 0, done.err
    assert "kwt_" not in done.err
    return done.out


def test_the_secret_is_alone_on_standard_output_and_nowhere_else(
    ci: Plane, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = made(command, "--reason", "nightly").strip()
    assert secret.startswith("kwt_")
    assert len(secret.split()) == 1
    file = tmp_path / "token"
    file.write_text(secret)
    monkeypatch.setenv("KUBEWITNESS_TOKEN_FILE", str(file))
    assert command("cluster", "list", "-o", "name").out == "prod\ntest\n"
    refused = command("user", "list")
    assert (refused.code, secret in refused.err) == (3, False)
    monkeypatch.delenv("KUBEWITNESS_TOKEN_FILE")

    [item] = json.loads(command("token", "list", "-o", "json").out)
    assert (item["user"], item["permissions"], item["status"]) == ("ci", ["cluster.look"], "active")
    assert "nightly" in command("token", "list").out
    gone = command("token", "revoke", item["id"], "--yes", "--reason", "was in a log")
    assert (gone.code, "revoked" in gone.out) == (0, True), gone.err
    assert "No standing tokens" in command("token", "list").err
    assert command("token", "list", "--all", "-o", "name").out.strip() == item["id"]
    monkeypatch.setenv("KUBEWITNESS_TOKEN_FILE", str(file))
    after = command("cluster", "list")
    assert (after.code, "token" in after.err, secret in after.err) == (3, True, False)
    assert secret.rpartition("_")[2] not in json.dumps(ci.journal.durable)


def test_a_file_of_its_own_is_private(ci: Plane, command: Command, tmp_path: Path) -> None:
    del ci
    file = tmp_path / "ci.token"
    assert made(command, "-o", str(file)) == ""
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text().startswith("kwt_")


def test_a_context_holds_it_with_the_server(
    ci: Plane, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del ci
    file, mine = tmp_path / "ci.context.yaml", tmp_path / "mine.yaml"
    made(command, "--context", "-o", str(file), "--cluster", "prod")
    assert file.stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv("KUBEWITNESS_CONFIG", str(mine))
    assert command("context", "add", str(file), direct=True).code == 0
    secret = yaml.safe_load(file.read_text())["contexts"][0]["token"]
    shown = command("context", "show", direct=True).out
    assert ("API token" in shown, secret in shown) == (True, False)
    # No further than its scope.
    assert command("cluster", "list", "-o", "name", direct=True).out == "prod\n"


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (["-P", "none", "--expires", "1h"], 2, "none"),
        (["-P", "cluster.look", "--expires", "400d"], 2, "year"),
        (["-P", "cluster.look", "--expires", "1h", "--context"], 2, "needs a file"),
        (["-P", "cluster.look", "--expires", "1h", "-o", "nowhere/at/all"], 2, "no directory"),
        (["-P", "cluster.look", "--expires", "1h", "-n", "web"], 2, "needs a cluster"),
        (["-P", "audit.lok", "--expires", "1h"], 2, "Did you mean audit.look"),
        (["--expires", "1h"], 2, "--permission"),
    ],
)
def test_nothing_is_issued(
    ci: Plane, command: Command, more: list[str], code: int, said: str
) -> None:
    del ci
    done = command("token", "add", "ci", *more)
    assert (done.code, said in done.err) == (code, True), done.err
    assert command("token", "list", "--all", "-o", "name").out == ""
