"""Clusters by command: what leaves this machine, what is asked, what is refused."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import Command
from tests.control.plane import Plane, Seen

PEM = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    (tmp_path / "ca.pem").write_bytes(PEM)
    document = {
        "apiVersion": "v1", "kind": "Config", "current-context": "prod",
        "clusters": [
            {"name": "p", "cluster": {"server": "https://prod:6443", "certificate-authority": "ca.pem"}},
            {"name": "t", "cluster": {"server": "https://test:6443"}},
        ],
        "users": [
            {"name": "p", "user": {"token": "prod-token"}}, {"name": "t", "user": {"token": "test-token"}},
        ],
        "contexts": [
            {"name": "prod", "context": {"cluster": "p", "user": "p"}},
            {"name": "test", "context": {"cluster": "t", "user": "t"}},
        ],
    }  # fmt: skip
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(document))
    return path


def test_only_the_one_context_leaves_this_machine(
    plane: Plane, command: Command, kubeconfig: Path
) -> None:
    done = command("cluster", "add", "prod", "--kubeconfig", str(kubeconfig), "--context", "prod")
    assert done.code == 0, done.err
    assert "Added cluster prod" in done.out
    sent = plane.clusters.kubeconfigs[0]
    document = yaml.safe_load(sent)
    assert b"test" not in sent
    assert document["users"][0]["user"] == {"token": "prod-token"}
    embedded = document["clusters"][0]["cluster"]["certificate-authority-data"]
    assert base64.b64decode(embedded) == PEM
    assert "prod-token" not in done.out + done.err + json.dumps(plane.journal.durable)


def test_excess_permissions_are_said(plane: Plane, command: Command, kubeconfig: Path) -> None:
    plane.clusters.seen = Seen(note="may do everything")
    done = command("cluster", "add", "prod", "--kubeconfig", str(kubeconfig))
    assert "may do everything" in done.err
    assert "cluster bootstrap prod" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["prod", "--kubeconfig", "nowhere"], 2, "nowhere"),
        (["prod", "--kubeconfig", "{}", "--context", "other"], 2, "other"),
        (["Prod!", "--kubeconfig", "{}"], 2, "'Prod!' is not a cluster name"),
    ],
)
def test_what_cannot_be_added(
    plane: Plane, command: Command, kubeconfig: Path, arguments: list[str], code: int, said: str
) -> None:
    done = command("cluster", "add", *[item.format(kubeconfig) for item in arguments])
    assert done.code == code, done.err
    assert said in done.err
    assert plane.client().get("/clusters")["items"] == []


def test_list_check_and_remove(
    plane: Plane, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "No clusters yet" in command("cluster", "list").err
    command("cluster", "add", "prod", "--in-cluster")
    assert command("cluster", "list", "-o", "name").out == "prod\n"
    listed = command("cluster", "list").out
    assert "may only impersonate" in listed
    plane.clusters.seen = Seen(note="may list secrets")
    assert "may list secrets" in command("cluster", "check", "prod").out
    assert "may do more" in command("cluster", "list").out
    assert command("cluster", "check", "none").code == 4

    answers = iter(["n\n", "y\n"])
    monkeypatch.setattr("sys.stdin", _Answers(answers))
    assert command("cluster", "remove", "prod").code != 0
    assert command("cluster", "list", "-o", "name").out == "prod\n"
    assert command("cluster", "remove", "prod").code == 0
    assert command("cluster", "list", "-o", "name").out == ""
    assert command("cluster", "remove", "prod", "--yes").code == 4


def test_change(
    plane: Plane, command: Command, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane.clusters.seen = Seen(server="https://prod:6443")
    command("cluster", "add", "prod", "--kubeconfig", str(kubeconfig))
    given = ("cluster", "change", "prod", "--kubeconfig", str(kubeconfig))
    plane.clusters.seen = Seen(server="https://prod:6443", note="may list secrets")
    done = command(*given, "--reason", "rotated")
    assert done.code == 0, done.err
    assert done.out == "Changed cluster prod at https://prod:6443.\n"
    assert "may list secrets" in done.err
    assert plane.events("cluster.change")[0]["detail"]["reason"] == "rotated"

    plane.clusters.seen = Seen(server="https://test:6443")
    monkeypatch.setattr("sys.stdin", _Answers(iter(["n\n", "y\n"])))
    done = command(*given, "--context", "test")
    assert done.code != 0
    assert "is at https://prod:6443, and the kubeconfig says https://test:6443" in done.err
    done = command(*given, "--context", "test")
    assert done.out.strip() == "Changed cluster prod at https://test:6443."
    assert command("cluster", "change", "prod", "--in-cluster").code == 0
    assert command("cluster", "change", "none", "--in-cluster").code == 4


class _Answers:
    """A terminal on which somebody types."""

    def __init__(self, answers: Iterator[str]) -> None:
        self._answers = answers

    def readline(self, *_: object) -> str:
        return next(self._answers)

    def isatty(self) -> bool:
        return True


def test_bootstrap_needs_no_server(command: Command) -> None:
    done = command("cluster", "bootstrap", "prod", "-g", "dev", "-g", "ops", direct=True)
    assert done.code == 0, done.err
    kinds = [item["kind"] for item in yaml.safe_load_all(done.out) if item]
    assert {"ServiceAccount", "ClusterRole", "ClusterRoleBinding"} <= set(kinds)
    narrow = command(
        "cluster", "bootstrap", "prod", "-g", "dev", "--user", "alice", direct=True
    ).out
    rules = next(
        item["rules"]
        for item in yaml.safe_load_all(narrow)
        if item and item["kind"] == "ClusterRole"
    )
    assert next(rule for rule in rules if rule["resources"] == ["users"])["resourceNames"] == [
        "alice"
    ]
    assert command("cluster", "bootstrap", "prod", "-g", "system:masters", direct=True).code == 2
