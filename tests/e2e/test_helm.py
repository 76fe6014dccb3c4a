"""A life of a helm release, by every way that leads to the cluster."""

import json

from tests.e2e.client import Client
from tests.e2e.conftest import CHART, Cluster


def test_install_upgrade_rollback_uninstall(
    helm: Client, kubectl: Client, cluster: Cluster
) -> None:
    def greeting() -> str:
        return kubectl.ok("get", "configmap", "tiny", "-o", "jsonpath={.data.index\\.html}")

    image = f"image={cluster.image}"
    helm.ok("install", "tiny", str(CHART), "--wait", "--timeout=60s", "--set", image)
    assert kubectl.ok("get", "deployment", "tiny", "-o", "jsonpath={.status.readyReplicas}") == "1"
    assert greeting() == "hello"
    options = ("--wait", "--timeout=60s", "--set", f"{image},greeting=again")
    helm.ok("upgrade", "tiny", str(CHART), *options)
    assert greeting() == "again"
    helm.ok("rollback", "tiny", "1", "--wait", "--timeout=60s")
    assert greeting() == "hello"
    history = json.loads(helm.ok("history", "tiny", "-o", "json"))
    assert [entry["revision"] for entry in history] == [1, 2, 3]
    helm.ok("uninstall", "tiny", "--wait", "--timeout=60s")
    assert kubectl.ok("get", "deployments", "-o", "name") == ""
