"""A second administrator gets a file, adds it, and is somebody of their own in the record."""

import stat
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import Command
from tests.control.plane import Plane


def test_a_second_administrator(
    plane: Plane, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, mine = tmp_path / "ann.context.yaml", tmp_path / "home" / "config.yaml"
    done = command("context", "issue", "ann", "--role", "admin", "--ttl", "2h", "-o", str(file))
    assert (done.code, "for ann" in done.out) == (0, True)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    key = yaml.safe_load(file.read_text())["contexts"][0]["client-key-data"]
    assert key not in done.out + done.err

    monkeypatch.setenv("KUBEWITNESS_CONFIG", str(mine))
    assert command("context", "add", str(file), direct=True).code == 0
    assert stat.S_IMODE(mine.stat().st_mode) == 0o600
    assert "ann@" in command("context", "list", direct=True).out
    assert command("cluster", "list", direct=True).code == 0, "it is the current one"
    assert command("audit", "search", direct=True).code == 0
    actors = [
        line["actor"] for line in plane.journal.durable if line.get("action") == "audit.search"
    ]
    assert set(actors) == {"ann"}
    again = command("context", "add", str(file), direct=True)
    assert (again.code, "already" in again.err) == (5, True)


@pytest.mark.parametrize(
    ("given", "server", "warned"),
    [
        ([], None, True),
        (["--server", "127.0.0.1:9443"], "https://127.0.0.1:9443", True),
        (["--server", "[::1]:1"], "https://[::1]:1", True),
        (["--server", "localhost:1"], "https://localhost:1", True),
        (["--server", "proxy.example:9443"], "https://proxy.example:9443", False),
        (["--server", "https://[2001:db8::1]:9443"], "https://[2001:db8::1]:9443", False),
    ],
)
def test_an_address_of_this_machine_only_is_warned_about(
    plane: Plane,
    command: Command,
    tmp_path: Path,
    given: list[str],
    server: str | None,
    warned: bool,
) -> None:
    file = tmp_path / "ann.yaml"
    done = command("context", "issue", "ann", "--role", "admin", "-o", str(file), *given)
    assert done.code == 0, done.err
    found = yaml.safe_load(file.read_text())["contexts"][0]["server"]
    assert found == (server or found)
    assert ("from this machine only" in done.err) is warned


@pytest.mark.parametrize(
    ("content", "code", "says"),
    [
        (None, 4, "no file"),
        ("- not a mapping\n", 2, "mapping"),
        ("contexts: []\n", 2, "no contexts"),
        ("contexts: [{name: x, client-key-data: '?'}]\n", 2, "base64"),
    ],
)
def test_what_is_no_context_file(
    command: Command, tmp_path: Path, content: str | None, code: int, says: str
) -> None:
    file = tmp_path / "given.yaml"
    if content is not None:
        file.write_text(content)
    done = command("context", "add", str(file), direct=True)
    assert (done.code, says in done.err) == (code, True), done.err


@pytest.mark.parametrize("where", ["taken.yaml", "nowhere/ann.yaml"])
def test_nothing_is_issued_that_could_not_be_written(
    plane: Plane, command: Command, tmp_path: Path, where: str
) -> None:
    (tmp_path / "taken.yaml").touch()
    before = len(plane.client().get("/credentials")["items"])
    assert (
        command("context", "issue", "ann", "--role", "admin", "-o", str(tmp_path / where)).code == 2
    )
    assert len(plane.client().get("/credentials")["items"]) == before


def test_who_is_granted_nothing_gets_no_context(
    plane: Plane, command: Command, tmp_path: Path
) -> None:
    file = tmp_path / "ann.yaml"
    done = command("context", "issue", "ann", "-o", str(file))
    assert (done.code, "--role admin" in done.err, file.exists()) == (2, True, False)
    plane.granted("ann", "auditor")
    assert command("context", "issue", "ann", "-o", str(file)).code == 0


def test_a_role_is_granted_once_and_where_it_was_said(
    plane: Plane, command: Command, tmp_path: Path
) -> None:
    client = plane.client()
    client.post("/clusters", {"name": "prod", "inCluster": True})
    client.post("/projects", {"name": "shop", "places": [{"cluster": "prod"}]})
    given = ("--role", "auditor", "--project", "shop", "-o")
    for name in ("one.yaml", "two.yaml"):
        assert command("context", "issue", "eve", *given, str(tmp_path / name)).code == 0
    [grant] = client.get("/grants", {"user": "eve"})["items"]
    assert grant["scope"] == {"kind": "project", "project": "shop"}
    both = ("--role", "auditor", "--project", "shop", "--cluster", "prod")
    assert command("context", "issue", "eve", *both, "-o", str(tmp_path / "x")).code == 2
    alone = command("context", "issue", "eve", "--project", "shop", "-o", str(tmp_path / "x"))
    assert (alone.code, "--role" in alone.err) == (2, True)


def test_a_context_is_taken_away_here_and_the_credential_stays(
    plane: Plane, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBEWITNESS_CONFIG", str(tmp_path / "config.yaml"))
    name = f"ann@{plane.address}"
    file = tmp_path / "ann.yaml"
    command("context", "issue", "ann", "--role", "auditor", "-o", str(file))
    command("context", "add", str(file), direct=True)
    again = command("context", "add", str(file), direct=True)
    assert f"kubewitness context remove {name}" in again.err
    assert command("context", "remove", "none", "--yes", direct=True).code == 4
    assert command("context", "remove", name, direct=True).code == 1
    assert command("context", "list", "-o", "name", direct=True).out == f"{name}\n"
    done = command("context", "remove", name, "--yes", direct=True)
    assert (done.code, done.out.startswith(f"Removed {name}")) == (0, True)
    assert command("context", "list", "-o", "name", direct=True).out == ""
    assert "current-context" not in (tmp_path / "config.yaml").read_text()
    assert len(plane.client().get("/credentials", {"user": "ann"})["items"]) == 1
