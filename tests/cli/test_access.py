"""Why somebody may, or may not: the answer, its reasons, and the exit code."""

import json

import pytest

from tests.cli.conftest import Command
from tests.control.plane import Plane


@pytest.fixture
def rob(prod: Plane, command: Command) -> Plane:
    command("user", "add", "rob")
    done = command("grant", "add", "--user", "rob", "--role", "namespace-read-only", "-c", "prod", "-n", "web")  # fmt: skip
    assert done.code == 0, done.err
    return prod


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        (["get", "pods", "-n", "web"], 0, "yes: "),
        (["get", "deploy", "web-0", "-n", "web"], 0, "yes: "),
        (["get", "pods", "-n", "other"], 1, "no: "),
        (["create", "pods", "-n", "web"], 1, "no: "),
        (["get", "secrets", "-n", "web"], 1, "kubernetes.secrets"),
        (["exec", "pods", "web-0", "-n", "web"], 1, "kubernetes.exec"),
        (["create", "pods/exec", "web-0", "-n", "web"], 1, "kubernetes.exec"),
        (["get", "/metrics"], 1, "no: "),
        (["get", "/healthz"], 0, "yes: "),
    ],
)
def test_answers(rob: Plane, command: Command, asked: list[str], code: int, said: str) -> None:
    del rob
    done = command("access", "explain", "rob", *asked, "--cluster", "prod")
    assert (done.code, said in done.out) == (code, True), done.out + done.err
    assert "namespace web of prod" in done.out


def test_documents_have_all_of_it(rob: Plane, command: Command) -> None:
    del rob
    asked = ["access", "explain", "rob", "delete", "pods", "-n", "web", "-c", "prod"]
    done = command(*asked, "-o", "json")
    said = json.loads(done.out)
    assert (done.code, said["allowed"], len(said["considered"])) == (1, False, 1)
    assert command(*asked, "-o", "name").out == "no\n"
    assert command(*asked, "-o", "csv").out.splitlines()[1].startswith("rob,delete,pods,prod,web,no,")  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        (["rob", "get", "pods", "-c", "none"], 4, "'none'"),
        (["rob", "get", "a/b/c", "-c", "prod"], 2, "not a resource"),
        (["rob", "get", "pods"], 2, "--cluster"),
        (["stranger", "get", "pods", "-c", "prod"], 1, ""),
    ],
)
def test_what_has_no_answer(
    rob: Plane, command: Command, asked: list[str], code: int, said: str
) -> None:
    del rob
    done = command("access", "explain", *asked)
    assert (done.code, said in done.err) == (code, True), done.err


def test_who_is_not_registered_is_nobodys_no(rob: Plane, command: Command) -> None:
    del rob
    done = command("access", "explain", "stranger", "get", "pods", "-c", "prod")
    assert (done.code, done.out.split(":")[0]) == (1, "not by a grant")
    assert "cluster's own rules decide" in done.out.replace("\n", " ")
