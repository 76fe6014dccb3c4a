"""Applying files: all or nothing, a diff first, and what is taken away is asked about."""

import io
import json
import re
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.control.plane import Plane

DOCS = Path(__file__).parents[2] / "docs"
PEOPLE = """\
apiVersion: kubewitness.io/v1
kind: Group
metadata: {name: dev}
spec: {description: builds}
---
apiVersion: kubewitness.io/v1
kind: User
metadata: {name: rob}
spec: {groups: [dev], displayName: Rob Roy}
---
apiVersion: kubewitness.io/v1
kind: User
metadata: {name: ann}
---
apiVersion: kubewitness.io/v1
kind: Project
metadata: {name: shop}
spec:
  places: [{cluster: prod}, {cluster: test, namespaces: [web, api]}]
---
apiVersion: kubewitness.io/v1
kind: Role
metadata: {name: deployer}
spec:
  scopes: [project]
  permissions: [session.look]
  rules: [{verbs: [patch], apiGroups: [apps], resources: [deployments]}]
---
apiVersion: kubewitness.io/v1
kind: Grant
spec: {group: dev, role: deployer, project: shop, reason: they build it}
---
apiVersion: kubewitness.io/v1
kind: Grant
spec: {user: ann, role: cluster-admin, cluster: prod, expiresAt: 2035-01-01T12:30:00Z}
"""
LESS = PEOPLE.replace("metadata: {name: ann}", "metadata: {name: eve}").replace("user: ann", "user: eve")  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "people.yaml"
    path.write_text(PEOPLE)
    return path


def test_a_dry_run_shows_it_and_changes_nothing(prod: Plane, command: Command, file: Path) -> None:
    del prod
    done = command("apply", "-f", str(file), "--dry-run")
    assert done.code == 0, done.err
    assert "+ user rob\n    displayName: Rob Roy\n    groups: dev\n" in done.out
    assert "7 added (--dry-run: nothing was changed)." in done.err
    assert command("user", "list", "-o", "name").out == ""


def test_it_is_made_and_a_second_time_changes_nothing(
    prod: Plane, command: Command, file: Path
) -> None:
    done = command("apply", "-f", str(file), "--reason", "merged #41")
    assert (done.code, "7 added." in done.err) == (0, True), done.err
    assert command("user", "list", "-o", "name").out == "ann\nrob\n"
    assert len(command("grant", "list", "-o", "name").out.split()) == 2
    again = command("apply", "-f", str(file))
    assert (again.out, again.err) == ("", "Everything is as the files say.\n")
    assert prod.events("access.apply")[0]["detail"]["reason"] == "merged #41"


def test_what_is_exported_changes_nothing_either(
    prod: Plane, command: Command, file: Path, tmp_path: Path
) -> None:
    del prod
    command("apply", "-f", str(file))
    command("grant", "add", "--user", "rob", "--role", "auditor", "--organization", "--expires", "30d")  # fmt: skip
    done = command("apply", "--export")
    assert (done.code, done.err) == (0, "")
    copy = tmp_path / "copy.yaml"
    copy.write_text(done.out)
    again = command("apply", "-f", str(copy), "--prune", "--dry-run")
    assert (again.out, "as the files say" in again.err) == ("", True), again.out + again.err
    assert command("apply", "--export", "-f", str(copy)).code == 2


def test_pruning_asks_first(
    prod: Plane, command: Command, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del prod
    command("apply", "-f", str(file))
    file.write_text(LESS)
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    asked = command("apply", "-f", str(file), "--prune")
    assert (asked.code, "- user ann" in asked.err, "away?" in asked.err) == (1, True, True)
    assert "ann" in command("user", "list", "-o", "name").out
    monkeypatch.setattr("sys.stdin", io.StringIO(LESS))
    piped = command("apply", "-f", "-", "--prune")
    assert (piped.code, "nobody can be asked" in piped.err) == (2, True)
    done = command("apply", "-f", str(file), "--prune", "--yes", "-o", "json")
    assert done.code == 0, done.err
    assert {change["action"] for change in json.loads(done.out)} == {"add", "remove"}
    assert command("user", "list", "-o", "name").out == "eve\nrob\n"
    assert command("grant", "list", "--user", "ann", "-o", "name").out == ""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("groups: [dev]", "groups: [none]", "document 2: "),
        ("groups: [dev]", "groups: dev", "document 2: spec.groups"),
        ("displayName", "displayname", "document 2: spec"),
        ("role: deployer", "role: none", "document 6: "),
        ("cluster: test", "cluster: none", "document 4: "),
        ("session.look", "session.see", "document 5: spec.permissions"),
        ("apiVersion: kubewitness.io/v1\nkind: User", "apiVersion: v1\nkind: User", "document 2: apiVersion"),
    ],
)  # fmt: skip
def test_one_error_and_nothing_is_made(
    prod: Plane, command: Command, file: Path, old: str, new: str, said: str
) -> None:
    del prod
    file.write_text(PEOPLE.replace(old, new, 1))
    done = command("apply", "-f", str(file))
    assert (done.code != 0, f"{file}, {said}" in done.err) == (True, True), done.err
    assert command("group", "list", "-o", "name").out == ""


def test_there_must_be_something(prod: Plane, command: Command, tmp_path: Path) -> None:
    del prod
    (tmp_path / "empty.yaml").write_text("---\n")
    assert command("apply").code == 2
    assert command("apply", "-f", str(tmp_path / "empty.yaml")).code == 2
    assert command("apply", "-f", str(tmp_path / "none.yaml"), "-o", "csv").code == 2


def documents_of(page: Path) -> list[str]:
    """The YAML blocks of a page that are documents of ours."""
    blocks = re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    return [block for block in blocks if "apiVersion: kubewitness.io/v1" in block]


def test_what_the_documentation_shows_can_be_applied(
    prod: Plane, command: Command, tmp_path: Path
) -> None:
    del prod
    shown = [block for page in sorted(DOCS.glob("*.md")) for block in documents_of(page)]
    assert len(shown) >= 2
    for number, block in enumerate(shown):
        (tmp_path / f"{number}.yaml").write_text(block)
    done = command("apply", "-f", str(tmp_path), "--yes")
    assert (done.code, done.err.count("error:")) == (0, 0), done.err
    assert "+ role deployer" in done.out


def test_a_field_that_is_not_there_is_named_with_its_file(
    prod: Plane, command: Command, file: Path
) -> None:
    del prod
    file.write_text(PEOPLE.replace("groups: [dev]", "grups: [dev]"))
    done = command("apply", "-f", str(file))
    assert done.code != 0
    assert f"{file}, document 2: spec: Object contains unknown field `grups`" in done.err
    assert "openapi" not in done.err
