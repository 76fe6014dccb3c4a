"""The rig itself: what the other tests take for granted is really there."""

import json
from pathlib import Path

from tests.e2e.client import Client
from tests.e2e.conftest import find_program


def test_every_node_is_ready(admin: Client) -> None:
    nodes = json.loads(admin.ok("get", "nodes", "-o", "json"))["items"]
    ready = [
        condition["status"]
        for node in nodes
        for condition in node["status"]["conditions"]
        if condition["type"] == "Ready"
    ]
    assert ready
    assert set(ready) == {"True"}


def test_the_clients_are_three_minor_releases_apart(admin: Client) -> None:
    def minor(name: str) -> int:
        client = Client(find_program(name), admin.kubeconfig)
        version = json.loads(client.ok("version", "--client", "-o", "json"))
        return int(version["clientVersion"]["minor"])

    assert minor("kubectl") - minor("kubectl-older") == 3


def test_a_pods_account_is_known_to_the_api_server(
    admin: Client, shared: str, tmp_path: Path
) -> None:
    path = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    token = admin.within(shared).ok("exec", "deploy/web", "--", "cat", path)
    config = json.loads(admin.ok("config", "view", "--raw", "--minify", "-o", "json"))
    config["users"][0]["user"] = {"token": token}
    file = tmp_path / "pod.kubeconfig"
    file.write_text(json.dumps(config))
    whoami = Client(admin.program, file).ok(
        "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"
    )
    assert whoami == f"system:serviceaccount:{shared}:default"


def test_the_api_servers_log_has_each_call(admin: Client, audit_log: Path) -> None:
    result = admin.run("get", "configmap", "no-such-thing-7c1f")
    assert result.code == 1
    events = [json.loads(line) for line in audit_log.read_text().splitlines()]
    ours = [event for event in events if "no-such-thing-7c1f" in event["requestURI"]]
    seen = [
        (e["stage"], e["verb"], e["user"]["username"], e["responseStatus"]["code"]) for e in ours
    ]
    assert seen == [("ResponseComplete", "get", "admin", 404)]


def test_the_second_cluster_is_another(admin: Client, second_kubeconfig: Path) -> None:
    second = Client(admin.program, second_kubeconfig)
    second.ok("create", "configmap", "only-there")
    assert admin.run("get", "configmap", "only-there").code == 1
    assert second.ok("get", "nodes", "-o", "name") == ""

    def uid(client: Client) -> str:
        return client.ok("get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")

    assert uid(admin) != uid(second)


def test_the_second_cluster_trusts_none_of_the_firsts_certificates(
    admin: Client, second_kubeconfig: Path
) -> None:
    def look(kubeconfig: Path, path: str) -> str:
        return Client(admin.program, kubeconfig).ok(
            "config", "view", "--raw", "-o", f"jsonpath={path}"
        )

    server = look(second_kubeconfig, "{.clusters[0].cluster.server}")
    result = admin.run("get", "namespaces", f"--server={server}", "--insecure-skip-tls-verify")
    assert result.code == 1
    assert "Unauthorized" in result.errors or "must be logged in" in result.errors
