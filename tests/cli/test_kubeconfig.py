"""Issuing, listing and revoking by command, against a real control plane."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509

from tests.cli.conftest import Command
from tests.control.plane import ADVERTISED, Plane


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


def test_issue_writes_a_private_file_that_holds_its_own_key(
    prod: Plane, command: Command, tmp_path: Path
) -> None:
    file = tmp_path / "alice.kubeconfig"
    out = issue(command, file)
    assert "(8h)" in out
    assert "context prod" in out
    assert file.stat().st_mode & 0o777 == 0o600
    document = yaml.safe_load(file.read_text())
    assert document["clusters"][0]["cluster"]["server"] == f"https://{ADVERTISED}/clusters/prod"
    pem = base64.b64decode(user_of(file)["client-certificate-data"])
    certificate = x509.load_pem_x509_certificate(pem)
    assert [item.value for item in certificate.subject] == ["alice", "dev"]
    # The key was made here: the server saw a signing request only.
    key = base64.b64decode(user_of(file)["client-key-data"])
    assert b"PRIVATE KEY" in key
    assert key.decode() not in json.dumps(prod.journal.durable)


def test_every_cluster_gets_a_context(prod: Plane, command: Command, tmp_path: Path) -> None:
    file = tmp_path / "a.kubeconfig"
    done = command("kubeconfig", "issue", "alice", "-c", "*", "-o", str(file))
    assert done.code == 0, done.err
    assert [item["name"] for item in yaml.safe_load(file.read_text())["contexts"]] == [
        "prod",
        "test",
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["system:masters", "-c", "prod"], 2, "system:"),
        (["alice", "-g", "system:masters", "-c", "prod"], 2, "system:"),
        (["alice", "-c", "nowhere"], 4, "'nowhere'"),
        (["alice", "-c", "prod", "--ttl", "99d"], 2, "longer than"),
    ],
)
def test_refusals_write_nothing(
    prod: Plane, command: Command, tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    del prod
    file = tmp_path / "a.kubeconfig"
    done = command("kubeconfig", "issue", *arguments, "-o", str(file))
    assert done.code == code
    assert said in done.err
    assert not file.exists()


def test_an_unwritable_file_is_noticed_before_anything_is_issued(
    prod: Plane, command: Command, tmp_path: Path
) -> None:
    done = command(
        "kubeconfig", "issue", "alice", "-c", "prod", "-o", str(tmp_path / "no" / "file")
    )
    assert done.code == 2
    assert "no directory" in done.err
    assert prod.events("credential.issue") == []


def test_list_and_revoke(prod: Plane, command: Command, tmp_path: Path) -> None:
    del prod
    issue(command, tmp_path / "one")
    issue(command, tmp_path / "two")
    listed = json.loads(command("kubeconfig", "list", "--user", "alice", "-o", "json").out)
    assert [item["status"] for item in listed] == ["valid", "valid"]
    table = command("kubeconfig", "list").out.splitlines()
    assert table[0].split()[:3] == ["SERIAL", "USER", "GROUPS"]
    assert sum("alice" in line for line in table) == 2

    short = listed[0]["serial"][:8]
    done = command("kubeconfig", "revoke", short, "--reason", "laptop stolen", "-o", "name")
    assert (done.code, done.out.strip()) == (0, listed[0]["serial"])
    done = command("kubeconfig", "revoke", "--user", "alice", "--yes", "-o", "name")
    assert done.out.strip() == listed[1]["serial"]
    assert "laptop stolen" in command("kubeconfig", "list", "--all", "--user", "alice").out
    assert command("kubeconfig", "list", "--user", "alice", "-o", "name").out == ""


def test_revoke_wants_exactly_one_target_and_asks(prod: Plane, command: Command) -> None:
    del prod
    assert command("kubeconfig", "revoke").code == 2
    assert command("kubeconfig", "revoke", "abc", "--user", "alice").code == 2
    assert command("kubeconfig", "revoke", "deadbeef").code == 4


def plugin(command: Command, file: Path, cache: Path) -> tuple[int, dict[str, Any], str]:
    arguments = user_of(file)["exec"]["args"]
    done = command(*arguments, "--cache", str(cache), direct=True)
    return done.code, json.loads(done.out) if done.code == 0 else {}, done.err


def test_the_exec_form_renews_caches_and_survives_a_silent_server(
    prod: Plane, command: Command, tmp_path: Path, stop: Callable[[], None]
) -> None:
    file, cache = tmp_path / "bob.kubeconfig", tmp_path / "cache"
    assert "gets itself certificates" in issue(command, file, "--exec")
    renewal = tmp_path / "bob.kubeconfig.renew.yaml"
    assert renewal.stat().st_mode & 0o777 == 0o600
    section = user_of(file)["exec"]
    assert section["apiVersion"] == "client.authentication.k8s.io/v1"
    assert section["args"] == ["credential", "exec", "--config", str(renewal)]
    assert "client-key-data" not in user_of(file)

    code, first, _ = plugin(command, file, cache)
    assert code == 0
    certificate = x509.load_pem_x509_certificate(first["status"]["clientCertificateData"].encode())
    assert [item.value for item in certificate.subject] == ["alice", "dev"]
    held = next(cache.glob("*.json"))
    assert held.stat().st_mode & 0o777 == 0o600

    # From the cache, without a word to the server.
    asked = len(prod.events("credential.renew"))
    assert plugin(command, file, cache)[1] == first
    assert len(prod.events("credential.renew")) == asked

    # Past 80 % of its life: a new one…
    content = json.loads(held.read_text())
    held.write_text(json.dumps(content | {"renewAt": 1.0}))
    code, second, _ = plugin(command, file, cache)
    assert second["status"]["clientCertificateData"] != first["status"]["clientCertificateData"]

    # …or the present one, when nobody answers.
    content = json.loads(held.read_text())
    held.write_text(json.dumps(content | {"renewAt": 1.0}))
    stop()
    code, third, _ = plugin(command, file, cache)
    assert third["status"]["clientCertificateData"] == second["status"]["clientCertificateData"]


def test_a_revoked_user_gets_no_new_certificate(
    prod: Plane, command: Command, tmp_path: Path
) -> None:
    del prod
    file = tmp_path / "bob.kubeconfig"
    issue(command, file, "--exec")
    command("kubeconfig", "revoke", "--user", "alice", "--yes")
    code, _, said = plugin(command, file, tmp_path / "cache")
    assert code == 3
    assert "revoked" in said
