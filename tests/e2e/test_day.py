"""A day in the life: two projects, three clusters, eight people of all roles, CI, a leaver and a thief.

Every call is looked at from both sides: what the client was told, what our record says of it, and whether the API
server's own audit log has it. `prod` is the cluster with a node; `staging` and `test` are clusters of their own.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.contain import NODE_ADDRESS
from tests.e2e.client import Client, Result
from tests.e2e.conftest import WEB, Cluster, make_namespace
from tests.e2e.release import eventually
from tests.e2e.serving import Proxy, kubewitness, serve

pytestmark = pytest.mark.timeout(600)

PEOPLE = Path(__file__).parent / "manifests" / "day.yaml"
THIEF = "thief"
THIEF_ADDRESS, WIRE_ADDRESS = "172.31.252.2", "172.31.252.1"
WEB_NAMESPACE, API_NAMESPACE, OTHER_NAMESPACE = "day-shop-web", "day-shop-api", "day-other"
NAMESPACES = (WEB_NAMESPACE, API_NAMESPACE, OTHER_NAMESPACE)
PERSONS = ("anna", "omar", "paul", "rita", "carl", "nina", "noah", "ci")
"""All who reach a cluster; ada, the auditor, reaches none."""
CUT_SECONDS = 1.0
"""From when an act is on record, before it is done, until the person's client has ended."""


@dataclass(frozen=True)
class Day:
    """The proxy of the day, the administrators of the clusters, and everybody's kubectl."""

    proxy: Proxy
    admins: dict[str, Client]
    audit_logs: dict[str, Path]
    kubectl: dict[str, Client]

    def run(self, name: str, cluster: str, namespace: str, *arguments: str) -> Result:
        """Run kubectl as somebody in a namespace of a cluster.

        Without a context for it the address is written by hand, as somebody would who tries.
        """
        client = self.kubectl[name].within(namespace)
        return client.run(f"--server={self.server(name, cluster)}", *arguments)

    def server(self, name: str, cluster: str) -> str:
        """The address of a cluster behind the proxy."""
        view = json.loads(self.kubectl[name].ok("config", "view", "--raw", "-o", "json"))
        server = view["clusters"][0]["cluster"]["server"]
        return re.sub(r"/clusters/[^/]+", f"/clusters/{cluster}", server)

    def recorded(self, name: str, since: str) -> list[dict[str, Any]]:
        """What the record says of somebody's calls, oldest first, without discovery."""
        options = ("--since", since, "-o", "json", "--limit", "1000")
        found = json.loads(self.proxy.cli("audit", "search", "-u", name, *options))
        return list(reversed(found))

    def executed(self, cluster: str) -> set[tuple[str, str]]:
        """The calls that the API server has answered: id and URI. Our reviews of `--as` have the id, too."""
        events = map(json.loads, self.audit_logs[cluster].read_text().splitlines())
        return {(event["auditID"], event["requestURI"]) for event in events}


@contextmanager
def going(kubectl: Client, *arguments: str) -> "Iterator[subprocess.Popen[bytes]]":
    """A command that goes on, and is over afterwards whatever happens."""
    with kubectl.start(*arguments) as process:
        try:
            yield process
        finally:
            process.kill()


def end_of(process: "subprocess.Popen[bytes]") -> "Future[float]":
    """The moment at which a command will have ended, in seconds since the epoch; somebody looks from now on."""
    waiting = ThreadPoolExecutor(1)
    ended = waiting.submit(lambda: (process.communicate(), time.time())[1])
    waiting.shutdown(wait=False)
    return ended


def begun(day: Day, action: str) -> float:
    """When the newest act of this kind was put on record as asked for, in seconds since the epoch."""
    look = ("audit", "system", "--all", "--action", action, "-o", "json")
    events = json.loads(day.proxy.cli(*look))
    newest = [item for item in events if item["auditID"] == events[0]["auditID"]]
    first, last = sorted(item["stageTimestamp"] for item in newest)
    assert first < last, "asked for, then done"
    return datetime.fromisoformat(first).timestamp()


def now() -> str:
    """A moment as `--since` takes it."""
    return datetime.now(UTC).isoformat()


@pytest.fixture(scope="module")
def room() -> Iterator[None]:
    """A host of its own for the thief: a network namespace with one wire to ours."""
    wire = ("ip", "link", "add", "day0", "type", "veth", "peer", "name", "day1")
    inside = ("ip", "-n", THIEF)
    for command in (
        ("ip", "netns", "add", THIEF),
        wire,
        ("ip", "address", "add", f"{WIRE_ADDRESS}/24", "dev", "day0"),
        ("ip", "link", "set", "day0", "up"),
        ("ip", "link", "set", "day1", "netns", THIEF),
        (*inside, "address", "add", f"{THIEF_ADDRESS}/24", "dev", "day1"),
        (*inside, "link", "set", "day1", "up"),
        (*inside, "route", "add", "default", "via", WIRE_ADDRESS),
    ):
        subprocess.run(command, check=True)
    yield
    subprocess.run(("ip", "link", "delete", "day0"), check=True)
    subprocess.run(("ip", "netns", "delete", THIEF), check=True)


@pytest.fixture(scope="module")
def day(
    room: None,
    admin: Client,
    second_kubeconfig: Path,
    third_kubeconfig: Path,
    audit_log: Path,
    cluster: Cluster,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Day]:
    """The morning: three clusters behind a proxy, the people's file applied, a kubeconfig for each of them."""
    del room
    directory = tmp_path_factory.mktemp("day")
    second, third = (Client(admin.program, file) for file in (second_kubeconfig, third_kubeconfig))
    for name in NAMESPACES:
        make_namespace(admin, name)
    there = admin.within(WEB_NAMESPACE)
    there.ok("create", "deployment", "web", f"--image={cluster.image}", "--", "sh", "-c", WEB)
    there.ok("create", "secret", "generic", "card", "--from-literal=number=canary-of-the-day")
    there.ok("rollout", "status", "deployment/web", "--timeout=90s")
    with serve(directory, host=NODE_ADDRESS) as proxy:
        admins = {"prod": admin, "staging": second, "test": third}
        logs = {
            "prod": audit_log,
            "staging": audit_log.with_name("audit-second.log"),
            "test": audit_log.with_name("audit-third.log"),
        }
        walls = []
        for name, client in admins.items():
            limited = [f"--namespace={item}" for item in NAMESPACES[:2] if name == "prod"]
            walls.append(kubewitness("cluster", "bootstrap", name, "--rights", *limited))
            # No namespace of its own: the manifest has several.
            client.within("").ok("apply", "-f", "-", stdin=walls[-1].encode())
            proxy.cli("cluster", "add", name, "--kubeconfig", str(client.kubeconfig))
        proxy.cli("apply", "-f", str(PEOPLE), "--reason", "the first day", "--yes")
        kubectl = {}
        for name in PERSONS:
            file = directory / f"{name}.kubeconfig"
            proxy.cli("kubeconfig", "issue", name, "--ttl", "2h", "-o", str(file))
            kubectl[name] = Client(admin.program, file)
        yield Day(proxy, admins, logs, kubectl)
        for client, text in zip(admins.values(), walls, strict=True):
            client.run(
                "delete", "--ignore-not-found", "--wait=false", "-f", "-", stdin=text.encode()
            )
    for name in NAMESPACES:
        admin.run("delete", "namespace", name, "--wait=false")


YES, NO = True, False
POD = "deploy/web"
PROXIED = "/api/v1/namespaces/day-shop-web/services/web/proxy/"
CALLS = [
    ("anna", "prod", WEB_NAMESPACE, ("get", "secret", "card", "-o", "name"), YES),
    ("anna", "prod", WEB_NAMESPACE, ("exec", POD, "--", "true"), YES),
    ("anna", "test", "default", ("get", "namespaces", "-o", "name"), YES),
    ("omar", "prod", WEB_NAMESPACE, ("get", "pods", "-A", "-o", "name"), YES),
    ("omar", "prod", WEB_NAMESPACE, ("get", "nodes", "-o", "name"), YES),
    ("omar", "prod", WEB_NAMESPACE, ("logs", POD, "--tail=1"), YES),
    ("omar", "prod", WEB_NAMESPACE, ("get", "secrets"), NO),
    ("omar", "prod", WEB_NAMESPACE, ("exec", POD, "--", "true"), NO),
    ("omar", "prod", WEB_NAMESPACE, ("delete", "deployment", "web"), NO),
    ("paul", "prod", WEB_NAMESPACE, ("create", "configmap", "paul-was-here"), YES),
    ("paul", "prod", API_NAMESPACE, ("get", "pods"), YES),
    ("paul", "prod", OTHER_NAMESPACE, ("get", "pods"), NO),
    ("paul", "prod", WEB_NAMESPACE, ("get", "nodes"), NO),
    ("paul", "prod", WEB_NAMESPACE, ("get", "pods", "-A"), NO),
    ("paul", "staging", "default", ("get", "nodes", "-o", "name"), YES),
    ("paul", "test", "default", ("get", "namespaces"), NO),
    ("rita", "prod", WEB_NAMESPACE, ("get", "deployments", "-o", "name"), YES),
    ("rita", "prod", WEB_NAMESPACE, ("create", "configmap", "rita"), NO),
    ("rita", "prod", WEB_NAMESPACE, ("get", "secret", "card"), NO),
    ("rita", "staging", "default", ("get", "pods", "-A", "-o", "name"), YES),
    ("carl", "test", "default", ("create", "namespace", "carl-lab"), YES),
    ("carl", "test", "default", ("delete", "namespace", "carl-lab", "--wait=false"), YES),
    ("carl", "prod", WEB_NAMESPACE, ("get", "pods"), NO),
    ("nina", "prod", WEB_NAMESPACE, ("exec", POD, "--", "true"), YES),
    ("nina", "prod", WEB_NAMESPACE, ("scale", POD, "--replicas=1"), YES),
    ("nina", "prod", WEB_NAMESPACE, ("get", "secret", "card", "-o", "name"), YES),
    ("nina", "prod", API_NAMESPACE, ("get", "pods"), NO),
    ("nina", "prod", WEB_NAMESPACE, ("delete", "namespace", WEB_NAMESPACE), NO),
    ("nina", "prod", WEB_NAMESPACE, ("get", "pods", "--as=anna"), NO),
    ("noah", "prod", WEB_NAMESPACE, ("get", "pods", "-o", "name"), YES),
    ("noah", "prod", WEB_NAMESPACE, ("logs", POD, "--tail=1"), YES),
    ("noah", "prod", WEB_NAMESPACE, ("auth", "can-i", "list", "pods"), YES),
    ("noah", "prod", WEB_NAMESPACE, ("exec", POD, "--", "true"), NO),
    ("noah", "prod", WEB_NAMESPACE, ("attach", POD), NO),
    ("noah", "prod", WEB_NAMESPACE, ("port-forward", POD, ":8080"), NO),
    ("noah", "prod", WEB_NAMESPACE, ("get", "--raw", PROXIED), NO),
    ("noah", "prod", WEB_NAMESPACE, ("get", "secret", "card"), NO),
    ("noah", "prod", WEB_NAMESPACE, ("create", "token", "default"), NO),
    ("noah", "prod", WEB_NAMESPACE, ("get", "pods", "--as-group=kubewitness:admin", "--as=x"), NO),
    ("ci", "prod", API_NAMESPACE, ("create", "deployment", "api", "--image=busybox"), YES),
    ("ci", "prod", API_NAMESPACE, ("rollout", "history", "deploy/api"), YES),
    ("ci", "prod", WEB_NAMESPACE, ("get", "pods"), NO),
]


@pytest.mark.parametrize(
    ("name", "where", "namespace", "arguments", "allowed"),
    CALLS,
    ids=[f"{name} in {where} {place}: {' '.join(words)}" for name, where, place, words, _ in CALLS],
)
def test_what_each_may_do_and_what_not(
    day: Day, name: str, where: str, namespace: str, arguments: tuple[str, ...], allowed: bool
) -> None:
    since = now()
    done = day.run(name, where, namespace, *arguments)
    calls = day.recorded(name, since)
    denied = [call for call in calls if call.get("responseStatus", {}).get("code") == 403]
    executed = day.executed(where)
    assert calls, done.errors
    assert {call["cluster"] for call in calls} == {where}
    if allowed:
        assert done.code == 0, done.errors
        assert not denied
        assert {(call["auditID"], call["requestURI"]) for call in calls} <= executed
        return
    assert done.code != 0, done.text
    # It is we who said no, in words that kubectl shows, and the cluster never heard of it.
    assert name in done.errors
    assert denied, calls
    for call in denied:
        assert call["annotations"]["authorization.k8s.io/decision"] == "forbid"
        assert (call["auditID"], call["requestURI"]) not in executed


def test_can_i_agrees_with_the_grants(day: Day) -> None:
    def can(name: str, namespace: str, *words: str) -> str:
        done = day.run(name, "prod", namespace, "auth", "can-i", *words)
        explained = subprocess.run(
            [sys.executable, "-m", "proxy", "access", "explain", name, words[0], words[1],
             "-n", namespace, "--cluster", "prod", "--data-dir", str(day.proxy.data_dir)],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        (answer, *_) = done.text.split()
        assert (explained.returncode == 0) == (answer == "yes"), explained.stdout
        return answer

    assert can("noah", WEB_NAMESPACE, "list", "pods") == "yes"
    assert can("noah", WEB_NAMESPACE, "create", "pods") == "no"
    assert can("noah", WEB_NAMESPACE, "get", "secrets") == "no"
    assert can("nina", WEB_NAMESPACE, "create", "pods/exec") == "yes"
    assert can("nina", API_NAMESPACE, "list", "pods") == "no"


def test_each_sees_of_the_log_what_is_theirs(day: Day, tmp_path: Path) -> None:
    def sees(name: str, *filters: str) -> set[str]:
        file = tmp_path / f"{name}.context.yaml"
        if not file.exists():
            day.proxy.cli("context", "issue", name, "--ttl", "1h", "-o", str(file))
        done = subprocess.run(
            [sys.executable, "-m", "proxy", "audit", "search", "-o", "json", "--limit", "1000", *filters],
            capture_output=True, text=True, check=True, timeout=60,
            env={**os.environ, "KUBEWITNESS_CONFIG": str(file)},
        )  # fmt: skip
        return {call["user"]["username"] for call in json.loads(done.stdout)}

    everybody = {"anna", "omar", "paul", "rita", "carl", "nina", "noah", "ci"}
    assert sees("ada") >= everybody
    assert sees("omar") >= everybody
    assert sees("noah") == {"noah"}
    assert sees("carl", "--cluster", "prod") == {"carl"}
    # Of prod a project sees its namespaces, of staging everything.
    assert sees("rita", "--cluster", "prod", "-n", WEB_NAMESPACE) >= {"nina", "noah", "omar"}
    assert sees("rita", "--cluster", "prod", "-n", OTHER_NAMESPACE) == set()
    assert sees("rita", "--cluster", "test") == set()


def test_ci_looks_by_a_token_and_does_no_more_than_it_says(day: Day, tmp_path: Path) -> None:
    file = tmp_path / "ada.context.yaml"
    scope = ("--permission", "audit.look", "--expires", "1h")
    day.proxy.cli("token", "add", "ada", *scope, "--context", "-o", str(file))

    def ada(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "proxy", *arguments],
            capture_output=True, text=True, check=False, timeout=60,
            env={**os.environ, "KUBEWITNESS_CONFIG": str(file)},
        )  # fmt: skip

    assert ada("audit", "search", "-u", "nina", "-o", "name").returncode == 0
    export = ada("audit", "export", "-o", "ndjson", "-u", "nina")
    assert export.returncode != 0 or "nina" not in export.stdout
    assert ada("user", "add", "eve").returncode != 0
    (token,) = json.loads(day.proxy.cli("token", "list", "--user", "ada", "-o", "json"))
    day.proxy.cli("token", "revoke", token["id"], "--yes", "--reason", "end of the day")
    assert ada("audit", "search", "-o", "name").returncode != 0


def test_a_grant_that_is_taken_back_counts_from_the_next_call(day: Day) -> None:
    (grant,) = json.loads(day.proxy.cli("grant", "list", "--user", "rita", "-o", "json"))
    assert day.run("rita", "staging", "default", "get", "nodes").code == 0
    day.proxy.cli("grant", "revoke", grant["id"], "--yes", "--reason", "moves on")
    done = day.run("rita", "staging", "default", "get", "nodes")
    assert done.code != 0
    assert "rita" in done.errors
    day.proxy.cli(
        "grant", "add", "--user", "rita", "--role", "project-read-only", "--project", "shop"
    )
    assert day.run("rita", "staging", "default", "get", "nodes").code == 0


def test_rolebindings_follow_the_grants(day: Day, admin: Client, tmp_path: Path) -> None:
    manifest = kubewitness("cluster", "reconcile", "prod", "--manifest")
    there = admin.within("kubewitness")
    there.ok("apply", "-f", "-", stdin=manifest.encode())
    secret = "secret/kubewitness-rolebindings-token"
    there.ok("wait", "--for=jsonpath={.data.token}", secret, "--timeout=20s")
    _, _, below = manifest.partition("# Next")
    lines = [line.removeprefix("#").removeprefix("   ") for line in below.splitlines()[2:]]
    script, _, _ = "\n".join(lines).partition("kubewitness cluster reconcile")
    path = f"{admin.program.parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "KUBECONFIG": str(admin.kubeconfig)}
    subprocess.run(["bash", "-euc", script], cwd=tmp_path, env=environment, check=True)
    second = tmp_path / "prod-rolebindings.kubeconfig"
    day.proxy.cli("cluster", "reconcile", "prod", "--kubeconfig", str(second), "--enforce")

    def bindings() -> set[str]:
        selector = "app.kubernetes.io/managed-by=kubewitness"
        found = admin.ok("get", "rolebindings", "-A", "-l", selector, "-o", "json")
        items = json.loads(found)["items"]
        return {f"{item['metadata']['namespace']}/{item['metadata']['name']}" for item in items}

    expected = {
        f"{WEB_NAMESPACE}/kubewitness-namespace-admin",
        f"{WEB_NAMESPACE}/kubewitness-namespace-read-only",
        f"{WEB_NAMESPACE}/kubewitness-project-admin",
        f"{WEB_NAMESPACE}/kubewitness-project-read-only",
        f"{API_NAMESPACE}/kubewitness-namespace-admin",
        f"{API_NAMESPACE}/kubewitness-project-admin",
        f"{API_NAMESPACE}/kubewitness-project-read-only",
    }
    eventually("each grant has its RoleBinding", lambda: bindings() == expected, 30)
    # The second account can do nothing else.
    account = Client(admin.program, second)
    assert account.run("get", "secrets", "-A").code != 0
    assert account.run("auth", "can-i", "impersonate", "users").text.strip() == "no"
    other = ("grant", "add", "--user", "noah", "--role", "namespace-read-only", "--cluster", "prod")
    added = json.loads(day.proxy.cli(*other, "--namespace", OTHER_NAMESPACE, "-o", "json"))
    place = f"{OTHER_NAMESPACE}/kubewitness-namespace-read-only"
    eventually("a new grant gets one", lambda: place in bindings(), 10)
    day.proxy.cli("grant", "revoke", added["id"], "--yes")
    eventually("and loses it", lambda: bindings() == expected, 10)
    day.proxy.cli("cluster", "reconcile", "prod", "--off")


def test_a_leaver_keeps_nothing_and_their_shell_ends(day: Day) -> None:
    nina = day.kubectl["nina"].within(WEB_NAMESPACE)
    with going(nina, "exec", POD, "--", "sleep", "300") as shell:
        eventually("the shell is open", lambda: bool(json.loads(
            day.proxy.cli("session", "list", "--open", "-o", "json"))), 15)  # fmt: skip
        ended = end_of(shell)
        day.proxy.cli("user", "remove", "nina", "--reason", "left", "--yes")
        assert ended.result(20) - begun(day, "user.remove") <= CUT_SECONDS
    done = nina.run("get", "pods")
    assert done.code != 0
    assert "nina" in done.errors or "logged in" in done.errors
    assert json.loads(day.proxy.cli("grant", "list", "--user", "nina", "-o", "json")) == []
    # Nobody can be called the same, and the record stays.
    again = subprocess.run(
        [sys.executable, "-m", "proxy", "user", "add", "nina", "--data-dir", str(day.proxy.data_dir)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert again.returncode != 0
    assert day.recorded("nina", "24h")


def test_a_stolen_kubeconfig_is_seen_investigated_and_worth_nothing(day: Day) -> None:
    noah = day.kubectl["noah"].within(WEB_NAMESPACE)
    stolen = ["ip", "netns", "exec", THIEF, *noah.command("get", "pods", "-o", "name")]

    def thief() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(stolen, capture_output=True, text=True, check=False, timeout=60)

    with going(noah, "get", "pods", "--watch") as watch:
        assert noah.run("get", "pods").code == 0
        assert thief().returncode == 0, "nothing is refused for a suspicion"
        found = json.loads(day.proxy.cli("audit", "suspicious", "--user", "noah", "-o", "json"))
        flags = {
            flag for item in found if item["address"] == THIEF_ADDRESS for flag in item["flags"]
        }
        assert flags >= {"new-address", "two-networks"}
        page = day.proxy.cli("user", "investigate", "noah")
        for word in (NODE_ADDRESS, THIEF_ADDRESS, "two-networks", "namespace-read-only"):
            assert word in page
        (command,) = re.findall(
            r"^\s*(kubewitness kubeconfig revoke --user noah.*)$", page, re.MULTILINE
        )
        ended = end_of(watch)
        day.proxy.cli(*shlex.split(command)[1:])
        assert ended.result(20) - begun(day, "credential.revoke") <= CUT_SECONDS
    for refused in (thief(), noah.run("get", "pods")):
        text = refused.stderr if isinstance(refused.stderr, str) else refused.stderr.decode()
        assert "revoked" in text


def test_every_act_of_the_day_is_in_the_system_log(day: Day) -> None:
    options = ("-o", "json", "--limit", "1000", "--since", "2h")
    acts = json.loads(day.proxy.cli("audit", "system", *options))
    actions = {act["action"] for act in acts}
    assert actions >= {
        "access.apply", "cluster.add", "cluster.reconcile", "credential.issue", "grant.add",
        "grant.revoke", "token.add", "token.revoke", "user.remove", "user.investigate",
        "audit.search", "audit.suspicious",
    }  # fmt: skip
    assert all(act["actor"] for act in acts if act["action"] == "grant.revoke")
    assert "canary-of-the-day" not in json.dumps(acts)
