"""Roles by command: built-in ones shown, own ones from files."""

import json
from pathlib import Path

import pytest

from proxy.cli.role import rule_words
from tests.cli.conftest import Command
from tests.control.plane import Plane

DEPLOYER = """\
apiVersion: kubewitness.io/v1
kind: Role
metadata: {name: deployer}
spec:
  description: rolls out
  scopes: [project, cluster, namespace]
  permissions: [audit.look]
  rules:
  - {verbs: [get, list, watch, patch], apiGroups: [apps], resources: [deployments, deployments/scale]}
  denies:
  - {verbs: ["*"], apiGroups: [""], resources: [secrets], names: [root]}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "deployer.yaml"
    path.write_text(DEPLOYER)
    return path


def test_built_in_roles_come_first_and_have_pages(plane: Plane, command: Command) -> None:
    del plane
    names = command("role", "list", "-o", "name").out.splitlines()
    assert names[:2] == ["admin", "admin-read-only"]
    page = command("role", "show", "namespace-admin").out
    assert "Granted in   namespace" in page
    assert "kubernetes.exec" in page


def test_a_role_of_ones_own(
    plane: Plane, command: Command, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = command("role", "add", "-f", str(file), "--reason", "asked for")
    assert (done.code, done.out) == (0, "Added role deployer.\n"), done.err
    page = command("role", "show", "deployer").out
    assert "  get, list, watch, patch deployments, deployments/scale of apps\n" in page
    assert "  * secrets named root\n" in page
    assert command("role", "add", "-f", str(file)).code == 5
    file.write_text(DEPLOYER.replace("rolls out", "rolls back"))
    done = command("role", "add", "-f", str(file), "--replace", "-o", "json")
    assert json.loads(done.out)["description"] == "rolls back"
    assert command("role", "list", "-o", "name").out.splitlines()[-1] == "deployer"
    assert command("role", "remove", "deployer", "--yes").err == "Removed role deployer.\n"
    assert plane.events("role.add")[0]["detail"]["reason"] == "asked for"
    assert command("role", "remove", "admin", "--yes").code == 5


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        (DEPLOYER.replace("audit.look", "audit.destroy"), 2, "permissions"),
        (DEPLOYER.replace("verbs", "verb", 1), 2, "rules"),
        (DEPLOYER + "---\n" + DEPLOYER.replace("deployer", "x"), 2, "one document of kind Role"),
        (DEPLOYER.replace("kind: Role", "kind: Group"), 2, "one document of kind Role"),
        (DEPLOYER.replace("deployer", "admin"), 5, "built in"),
    ],
)
def test_what_is_no_role(
    plane: Plane, command: Command, file: Path, text: str, code: int, said: str
) -> None:
    del plane
    file.write_text(text)
    done = command("role", "add", "-f", str(file))
    assert (done.code, said in done.err) == (code, True), done.err


def test_rules_in_words() -> None:
    assert rule_words({"verbs": ["get"], "paths": ["/metrics"]}) == "get /metrics"
    rule = {"verbs": ["*"], "apiGroups": ["", "apps"], "resources": ["*"], "namespaces": ["web"]}
    assert rule_words(rule) == "* * of core, apps in web"
