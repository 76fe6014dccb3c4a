"""Commands run as a person runs them, against a control plane in a thread."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest
import yaml

from proxy.cli.app import run
from proxy.runtime.local_acts import SLOT
from tests.audit.reading import records
from tests.control.plane import Plane
from tests.postgres import Database


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str


class Command(Protocol):
    """`command("cluster", "list")` with the data directory of the plane, unless `direct`."""

    def __call__(self, *arguments: str, direct: bool = False) -> Done: ...


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    running = Plane(tmp_path / "data")
    with running:
        yield running


@pytest.fixture
def stop(plane: Plane) -> Callable[[], None]:
    """Stop the control plane before the test ends."""
    return plane.stop


@pytest.fixture
def command(
    plane: Plane, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Command:
    for name in (
        "KUBEWITNESS_DATA_DIR",
        "KUBEWITNESS_CONTEXT",
        "KUBEWITNESS_TOKEN_FILE",
        "KUBECONFIG",
        "KUBERNETES_EXEC_INFO",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KUBEWITNESS_CONFIG", str(plane.data.path / "no-contexts.yaml"))
    monkeypatch.setenv("COLUMNS", "400")

    def invoke(*arguments: str, direct: bool = False) -> Done:
        capsys.readouterr()
        given = list(arguments) if direct else [*arguments, "--data-dir", str(plane.data.path)]
        code = run(given)
        said = capsys.readouterr()
        return Done(code, said.out, said.err)

    return invoke


@pytest.fixture
def prod(plane: Plane) -> Plane:
    plane.client().post("/clusters", {"name": "prod", "inCluster": True})
    plane.client().post("/clusters", {"name": "test", "inCluster": True})
    return plane


def issue(command: Command, file: Path, *more: str) -> str:
    done = command(
        "kubeconfig",
        "issue",
        "alice",
        "-g",
        "dev",
        "-c",
        "prod",
        "--ttl",
        "8h",
        "-o",
        str(file),
        *more,
    )
    assert done.code == 0, done.err
    return done.out


def user_of(file: Path) -> dict[str, Any]:
    user: dict[str, Any] = yaml.safe_load(file.read_text())["users"][0]["user"]
    return user


@pytest.fixture
def contexts(
    plane: Plane, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Path:
    del command  # it cleans the environment first
    entry = yaml.safe_load(plane.data.admin_context.read_text())
    document = {
        "current-context": "here",
        "contexts": [
            {"name": "here", "data-dir": str(plane.data.path)},
            {**entry, "name": "there", "data-dir": ""},
            {"name": "broken", "server": "https://x:1"},
        ],
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(document))
    monkeypatch.setenv("KUBEWITNESS_CONFIG", str(path))
    return path


LOGIN = "kw_move_login"


@pytest.fixture
def upgraded(command: Command, database: Database, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of `serve`'s login in a database that `db upgrade` was run on."""
    database.exec(
        f"""
        DO $$ BEGIN
          IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{LOGIN}') THEN
            CREATE ROLE {LOGIN} LOGIN PASSWORD 'p';
          END IF;
        END $$;
        """
    )
    monkeypatch.setenv("KUBEWITNESS_ADMIN_DATABASE", database.url)
    done = command("db", "upgrade", "--login", LOGIN, direct=True)
    assert done.code == 0, done.err
    return database.login(LOGIN, "p")


def local_acts(plane: Plane) -> list[dict[str, Any]]:
    """What commands on the server's disk recorded by themselves."""
    found = records(plane.data.path, SLOT)
    return [item for item in found if item["action"] not in ("journal.open", "journal.close")]
