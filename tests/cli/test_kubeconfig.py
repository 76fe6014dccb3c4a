"""Issuing, listing and revoking by command, against a real control plane."""

import base64
import json
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from tests.cli.conftest import Command, issue, user_of
from tests.control.plane import ADVERTISED, Plane


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
    done = command(
        "kubeconfig", "revoke", short, "--reason", "laptop stolen", "--yes", "-o", "name"
    )
    assert (done.code, done.out.strip()) == (0, listed[0]["serial"])
    done = command("kubeconfig", "revoke", "--user", "alice", "--yes", "-o", "name")
    assert done.out.strip() == listed[1]["serial"]
    assert "laptop stolen" in command("kubeconfig", "list", "--all", "--user", "alice").out
    assert command("kubeconfig", "list", "--user", "alice", "-o", "name").out == ""


def test_revoke_wants_exactly_one_target_and_asks(prod: Plane, command: Command) -> None:
    del prod
    assert command("kubeconfig", "revoke").code == 2
    assert command("kubeconfig", "revoke", "abc", "--user", "alice").code == 2
    assert command("kubeconfig", "revoke", "deadbeef", "--yes").code == 4
    done = command("kubeconfig", "revoke", "deadbeef")
    assert (done.code, "Revoke deadbeef?" in done.err) == (1, True)


def test_issue_on_standard_output_is_a_kubeconfig_and_nothing_else(
    prod: Plane, command: Command
) -> None:
    del prod
    reached = ("--server", "203.0.113.7:443")
    done = command("kubeconfig", "issue", "alice", "-c", "prod", "-o", "-", *reached)
    assert done.code == 0, done.err
    cluster = yaml.safe_load(done.out)["clusters"][0]["cluster"]
    assert cluster["server"] == "https://203.0.113.7:443/clusters/prod"
    # Wherever it is reached, the certificate is that of the name it advertises.
    assert cluster["tls-server-name"] == ADVERTISED.rpartition(":")[0]
    assert "Valid until" in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-o", "-", "--exec"), "name a file"),
        *(
            (("-o", "-", "--server", bad), "HOST:PORT")
            for bad in ("a", "a:0", ":1", "a/b:1", "u@a:1")
        ),
    ],
)
def test_issue_refuses_before_anything_is_issued(
    prod: Plane, command: Command, words: tuple[str, ...], said: str
) -> None:
    done = command("kubeconfig", "issue", "alice", "-c", "prod", *words)
    assert (done.code, said in done.err) == (2, True), done.err
    assert prod.events("credential.issue") == []


def test_issue_to_a_file_takes_the_address_too(
    prod: Plane, command: Command, tmp_path: Path
) -> None:
    del prod
    issue(command, tmp_path / "a", "--server", "[::1]:8443")
    cluster = yaml.safe_load((tmp_path / "a").read_text())["clusters"][0]["cluster"]
    assert cluster["server"] == "https://[::1]:8443/clusters/prod"


def test_a_registered_name_is_enough(prod: Plane, command: Command, tmp_path: Path) -> None:
    del prod
    command("group", "add", "dev")
    command("user", "add", "rob", "--group", "dev")
    file = tmp_path / "rob.kubeconfig"
    issued = ("kubeconfig", "issue", "rob", "-o", str(file))
    nothing = command(*issued)
    assert (nothing.code, "grant add --user rob" in nothing.err) == (2, True), nothing.err
    assert not file.exists()
    command("grant", "add", "--group", "dev", "--role", "cluster-admin", "--cluster", "test")
    done = command(*issued)
    assert (done.code, "for rob in dev: context test" in done.out) == (0, True), done.err
    [context] = yaml.safe_load(file.read_text())["contexts"]
    assert context["name"] == "test"
    # Later grants need no other credential: it is for wherever grants reach.
    assert json.loads(command("kubeconfig", "list", "-u", "rob", "-o", "json").out)[0]["clusters"] == ["*"]  # fmt: skip
    other = command(*issued, "--group", "ops")
    assert (other.code, "registered" in other.err) == (2, True), other.err
    early = command(*issued, "--cluster", "prod")
    assert (early.code, "No grant of rob reaches prod yet" in early.err) == (0, True), early.err


def test_the_reason_is_recorded(prod: Plane, command: Command) -> None:
    done = command("kubeconfig", "issue", "eve", "-c", "prod", "-o", "-", "--reason", "on call")
    assert done.code == 0, done.err
    assert prod.events("credential.issue")[0]["detail"]["reason"] == "on call"


def test_revoking_a_user_takes_their_tokens_too(prod: Plane, command: Command) -> None:
    del prod
    command("user", "add", "ci", "--service")
    assert command("token", "add", "ci", "-P", "audit.look", "--expires", "1h").code == 0
    identity = command("token", "list", "-o", "name").out.strip()
    done = command("kubeconfig", "revoke", "--user", "ci", "--yes")
    assert (done.code, done.out, done.err) == (
        0,
        "",
        f"The API token {identity} is revoked, too.\n",
    )
    assert command("token", "list", "-o", "name").out == ""
