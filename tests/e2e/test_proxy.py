"""What the proxy adds: who may reach what, until when, and where to find it again."""

import json
import time
from pathlib import Path

import pytest

from tests.e2e.client import Client
from tests.e2e.conftest import FIRST, GROUP, SECOND, find_program
from tests.e2e.serving import Proxy

# Issue 4 promises one second; the rest is for starting the command that revokes.
REVOKED_SECONDS = 3.0


def allow(admin: Client, user: str) -> None:
    """Let `user` do everything in the namespace of `admin`."""
    admin.ok("create", "rolebinding", user, "--clusterrole=admin", f"--user={user}")


def test_the_clusters_account_may_only_impersonate(proxy: Proxy) -> None:
    (first,) = [
        item
        for item in json.loads(proxy.cli("cluster", "list", "-o", "json"))
        if item["name"] == FIRST
    ]
    assert not first["note"]
    (checked,) = [json.loads(proxy.cli("cluster", "check", FIRST, "-o", "json"))]
    assert checked["version"].startswith("v1.")


def test_a_credential_of_two_clusters_has_a_context_for_each(
    proxy: Proxy, admin: Client, second_kubeconfig: Path
) -> None:
    del second_kubeconfig
    both = Client(admin.program, proxy.issue("carol", GROUP, clusters=(FIRST, SECOND)))
    contexts = both.ok("config", "get-contexts", "-o", "name").split()
    assert len(contexts) == 2
    for name, context in zip((FIRST, SECOND), sorted(contexts), strict=True):
        assert name in context
        whoami = both.ok(
            "auth", "whoami", f"--context={context}", "-o", "jsonpath={.status.userInfo}"
        )
        assert json.loads(whoami)["username"] == "carol"


def test_calls_go_to_their_own_cluster(
    proxy: Proxy, admin: Client, audit_log: Path, second_kubeconfig: Path
) -> None:
    second_log = audit_log.with_name("audit-second.log")
    assert second_log.exists()
    only_second = Client(admin.program, proxy.issue("dave", GROUP, clusters=(SECOND,)))
    result = only_second.run("get", "configmap", "where-does-this-go")
    assert "forbidden" in result.errors.lower()
    assert "where-does-this-go" in second_log.read_text()
    assert "where-does-this-go" not in audit_log.read_text()
    del second_kubeconfig


def test_a_credential_of_one_cluster_does_not_reach_another(
    proxy: Proxy, admin: Client, second_kubeconfig: Path
) -> None:
    del second_kubeconfig
    client = Client(admin.program, proxy.issue("erin", GROUP, clusters=(SECOND,)))
    view = json.loads(client.ok("config", "view", "--minify", "-o", "json"))
    server = view["clusters"][0]["cluster"]["server"]
    other = server.replace(f"/clusters/{SECOND}", f"/clusters/{FIRST}")
    assert other != server
    result = client.run("get", "namespaces", f"--server={other}")
    assert result.code == 1
    assert "orbidden" in result.errors
    found = proxy.search("--user", "erin", "--cluster", FIRST)
    assert {event["responseStatus"]["code"] for event in found} == {403}


def test_revoking_refuses_the_next_call_and_cuts_open_streams(
    proxy: Proxy, admin: Client, shared: str
) -> None:
    allow(admin.within(shared), "mallory")
    mallory = Client(admin.program, proxy.issue("mallory", GROUP, clusters=(FIRST,)), shared)
    with mallory.start("logs", "-f", "deploy/web") as following:
        assert following.stdout is not None
        assert following.stdout.readline()
        started = time.monotonic()
        proxy.cli("kubeconfig", "revoke", "--user", "mallory", "--yes")
        following.communicate(timeout=20)
        assert time.monotonic() - started < REVOKED_SECONDS
    result = mallory.run("get", "pods")
    assert result.code == 1
    assert "revoked" in result.errors


@pytest.mark.parametrize("program", ["kubectl", "kubectl-older"])
def test_a_credential_that_renews_itself_needs_no_login(
    program: str, proxy: Proxy, shared: str, admin: Client
) -> None:
    user = f"frank-{program}"
    allow(admin.within(shared), user)
    file = proxy.issue(user, GROUP, clusters=(FIRST,), renewing=True)
    frank = Client(find_program(program), file, shared)
    assert frank.ok("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}") == user
    assert frank.ok("exec", "deploy/web", "--", "echo", "hello") == "hello\n"


def test_every_command_is_found_by_its_name(
    proxy: Proxy, proxied_kubeconfig: Path, admin: Client, namespace: str
) -> None:
    kubectl = Client(admin.program, proxied_kubeconfig, namespace)
    kubectl.ok("create", "configmap", "one")
    kubectl.ok("describe", "configmap", "one")
    kubectl.ok("delete", "configmap", "one")
    found = proxy.search("--namespace", namespace, "--resource", "configmaps")
    commands = [event["kubectlCommand"] for event in sorted(found, key=lambda event: event["seq"])]
    expected = ["kubectl create configmap", "kubectl describe", "kubectl delete"]
    assert list(dict.fromkeys(commands)) == expected
