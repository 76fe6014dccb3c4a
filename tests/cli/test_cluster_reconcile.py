"""RoleBindings kept in step, by command."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from proxy.reaching import Upstream
from tests.cli.conftest import Command
from tests.control.plane import Plane
from tests.upstream.fake_rbac import FakeRbac, serving


@pytest.fixture
def plane(tmp_path: Path, unused_tcp_port: int) -> Iterator[Plane]:
    permit = Upstream(plain_http=(f"http://127.0.0.1:{unused_tcp_port}",))
    with Plane(tmp_path / "data", upstream=permit) as running:
        yield running


@pytest.fixture
def cluster(plane: Plane, unused_tcp_port: int) -> Iterator[FakeRbac]:
    fake = FakeRbac(port=unused_tcp_port)
    registered = {"name": "prod", "kubeconfig": fake.kubeconfig().decode()}
    plane.client().post("/clusters", registered)
    running = serving(fake)
    plane.run(running.__aenter__())
    yield fake
    plane.run(running.__aexit__(None, None, None))


def test_begun_shown_and_ended(command: Command, cluster: FakeRbac, tmp_path: Path) -> None:
    file = tmp_path / "second"
    file.write_bytes(cluster.kubeconfig())
    done = command("cluster", "reconcile", "prod", "--kubeconfig", str(file))
    assert done.code == 0, done.err
    assert "are reported, not mended" in done.out
    assert "Nothing differs now." in done.out
    done = command("cluster", "reconcile", "prod", "--kubeconfig", str(file), "--enforce")
    assert "are mended" in done.out
    shown = json.loads(command("cluster", "reconcile", "prod", "-o", "json").out)
    assert (shown["cluster"], shown["enforce"], shown["drift"]) == ("prod", True, [])
    assert "looked after no more" in command("cluster", "reconcile", "prod", "--off").out
    done = command("cluster", "reconcile", "prod")
    assert "are not looked after" in done.err
    assert "--kubeconfig" in done.err


def test_the_second_account_may_bind_two_roles_and_impersonate_nobody(command: Command) -> None:
    done = command("cluster", "reconcile", "prod", "--manifest")
    documents = list(yaml.safe_load_all(done.out))
    (role,) = [item for item in documents if item and item["kind"] == "ClusterRole"]
    verbs = {
        (resource, verb): rule.get("resourceNames")
        for rule in role["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert verbs == {
        ("namespaces", "list"): None,
        ("rolebindings", "list"): None,
        ("rolebindings", "create"): None,
        ("rolebindings", "delete"): None,
        ("clusterroles", "bind"): ["admin", "view"],
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--off", "--manifest"], "Give one of"),
        (["--enforce"], "--enforce goes with --kubeconfig"),
    ],
)
def test_contradictions_are_refused(command: Command, arguments: list[str], message: str) -> None:
    done = command("cluster", "reconcile", "prod", *arguments)
    assert done.code != 0
    assert message in done.err
