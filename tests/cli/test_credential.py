"""The kubectl plugin: one certificate for many commands, renewed in time, kept when nobody answers."""

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.cli.conftest import Command, issue, user_of
from tests.control.plane import Plane


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


def test_many_at_once_renew_once(prod: Plane, command: Command, tmp_path: Path) -> None:
    file = tmp_path / "bob.kubeconfig"
    issue(command, file, "--exec")
    arguments = [
        sys.executable,
        "-m",
        "proxy",
        *user_of(file)["exec"]["args"],
        "--cache",
        str(tmp_path / "c"),
    ]

    def run(_: int) -> bytes:
        return subprocess.run(arguments, check=True, capture_output=True).stdout

    with ThreadPoolExecutor(4) as pool:
        answers = set(pool.map(run, range(4)))
    assert len(answers) == 1
    assert (
        len([event for event in prod.events("credential.renew") if event["outcome"] == "requested"])
        == 1
    )


@pytest.mark.parametrize(
    "content", ["", "[]", "server: x", "key: [", "server: https://x:1\nca-data: '!'"]
)
def test_a_damaged_renewal_file_is_named(command: Command, tmp_path: Path, content: str) -> None:
    file = tmp_path / "x.renew.yaml"
    file.write_text(content)
    done = command(
        "credential", "exec", "--config", str(file), "--cache", str(tmp_path), direct=True
    )
    assert done.code == 2
    assert "x.renew.yaml" in done.err


def test_another_version_of_the_protocol_is_refused(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = {"apiVersion": "client.authentication.k8s.io/v1beta1", "kind": "ExecCredential"}
    monkeypatch.setenv("KUBERNETES_EXEC_INFO", json.dumps(info))
    done = command("credential", "exec", "--config", str(tmp_path / "x"), direct=True)
    assert done.code == 2
    assert "v1beta1" in done.err
