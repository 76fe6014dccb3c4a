"""Kubeconfigs that would make the proxy run, read or reach what is only its own machine's."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.cli.client import Client
from proxy.errors import InvalidInputError
from proxy.state.access import Place, Role, Scope, ScopeKind
from proxy.state.permission import Permission
from proxy.upstream.bootstrap import role
from tests.control.plane import Plane
from tests.upstream.fake_api import FakeApi, serving

V1 = "client.authentication.k8s.io/v1"
SECRET = "hunter2"
REFUSED = "has not permitted"


@dataclass
class Site:
    """A proxy, the cluster behind it, and a server of the attacker's."""

    plane: Plane
    api: FakeApi
    sink: FakeApi
    path: Path

    @property
    def pwned(self) -> Path:
        """Is there when a command of the attacker's has run."""
        return self.path / "pwned"

    @property
    def secret(self) -> Path:
        """A file of the proxy's machine."""
        return self.path / "secret"

    @property
    def plugin(self) -> dict[str, Any]:
        return {"apiVersion": V1, "command": "/bin/sh", "args": ["-c", f"touch {self.pwned}"]}

    def attacker(self, who: str) -> Client:
        people = self.plane.services.store.people
        if who == "clusterer":
            held = frozenset({Permission.MANAGE_CLUSTERS, Permission.LOOK_AT_CLUSTERS})
            made = Role("clusterer", "", (ScopeKind.ORGANIZATION,), permissions=held)
            self.plane.run(people.add_role(made))
            return Client(self.plane.granted("mallory", "clusterer"))
        if who == "project-admin":
            self.plane.run(people.add_project("shop", places=(Place("prod"),), by="test"))
            scope = Scope(ScopeKind.PROJECT, project="shop")
            return Client(self.plane.granted("mallory", "project-admin", scope))
        scope = Scope(ScopeKind.CLUSTER, cluster="prod")
        return Client(self.plane.granted("mallory", "cluster-admin", scope))

    def assert_nothing_left(self) -> None:
        assert not self.pwned.exists()
        assert self.sink.seen == []
        assert SECRET not in json.dumps(self.plane.events())


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Plane(tmp_path / "data", examining=True) as plane:
        api, sink = FakeApi(rules=role(["dev"])["rules"]), FakeApi()
        servers = [serving(api, tmp_path / "api"), serving(sink, tmp_path / "sink")]
        for server in servers:
            plane.run(server.__aenter__())
        made = Site(plane, api, sink, tmp_path)
        made.secret.write_text(SECRET)
        plane.client().post("/clusters", {"name": "prod", "kubeconfig": kubeconfig(api)})
        yield made
        for server in servers:
            plane.run(server.__aexit__(None, None, None))


def kubeconfig(api: FakeApi, user: dict[str, Any] | None = None, **cluster: Any) -> str:
    trust = base64.b64encode(api.ca_pem or b"").decode()
    entry = {"server": api.server, "certificate-authority-data": trust} | cluster
    document = {
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "clusters": [{"name": "x", "cluster": entry}],
        "users": [{"name": "x", "user": {"token": "good"} if user is None else user}],
    }
    return yaml.safe_dump(document)


def users(site: Site) -> list[tuple[dict[str, Any], str]]:
    plain = {"apiVersion": V1, "command": "sh", "args": site.plugin["args"]}
    return [
        ({"exec": site.plugin}, REFUSED),
        ({"exec": plain}, REFUSED),
        ({"tokenFile": str(site.secret)}, REFUSED),
        ({"client-certificate": str(site.secret), "client-key": str(site.secret)}, "Embed it"),
        ({"auth-provider": {"name": "gcp", "config": {"cmd-path": "/bin/sh"}}}, "auth-provider"),
    ]


@pytest.mark.parametrize("who", ["cluster-admin", "project-admin", "clusterer"])
def test_the_second_account_runs_and_reads_nothing(site: Site, who: str) -> None:
    attacker = site.attacker(who)
    for user, message in users(site):
        for server in (site.api, site.sink):
            body = {"kubeconfig": kubeconfig(server, user)}
            wanted = message if server is site.api else None
            with pytest.raises(InvalidInputError, match=wanted):
                attacker.change("PUT", "/clusters/prod/reconciler", body)
    site.assert_nothing_left()


@pytest.mark.parametrize("who", ["cluster-admin", "project-admin", "clusterer"])
def test_another_account_runs_and_reads_nothing(site: Site, who: str) -> None:
    attacker = site.attacker(who)
    before = site.plane.client().get("/clusters/prod")
    for user, message in users(site):
        with pytest.raises(InvalidInputError, match=message):
            attacker.change("PATCH", "/clusters/prod", {"kubeconfig": kubeconfig(site.api, user)})
    assert site.plane.client().get("/clusters/prod") == before
    site.assert_nothing_left()


def test_a_registered_cluster_runs_and_reads_nothing(site: Site) -> None:
    attacker = site.attacker("clusterer")
    for user, message in users(site):
        body = {"name": "mine", "kubeconfig": kubeconfig(site.sink, user)}
        with pytest.raises(InvalidInputError, match=message):
            attacker.post("/clusters", body)
    site.assert_nothing_left()


@pytest.mark.parametrize(
    ("cluster", "message"),
    [
        ({"certificate-authority": "/etc/passwd", "certificate-authority-data": ""}, "Embed it"),
        ({"server": "http://127.0.0.1:9464"}, "on the proxy's own machine"),
        ({"server": "http://localhost:9464"}, "on the proxy's own machine"),
        ({"server": "http://169.254.169.254"}, "is not encrypted"),
        ({"server": "https://k/a b"}, "not a URL"),
    ],
)
def test_an_address_that_is_only_the_machines_is_refused(
    site: Site, cluster: dict[str, Any], message: str
) -> None:
    attacker = site.attacker("clusterer")
    body = {"name": "mine", "kubeconfig": kubeconfig(site.sink, **cluster)}
    with pytest.raises(InvalidInputError, match=message):
        attacker.post("/clusters", body)
    site.assert_nothing_left()


@pytest.mark.parametrize("who", ["cluster-admin", "project-admin"])
def test_the_second_account_is_of_the_registered_cluster(site: Site, who: str) -> None:
    attacker, path = site.attacker(who), "/clusters/prod/reconciler"
    with pytest.raises(InvalidInputError, match="is registered as"):
        attacker.change("PUT", path, {"kubeconfig": kubeconfig(site.sink)})
    trust = base64.b64encode(site.sink.ca_pem or b"").decode()
    pinned: dict[str, Any] = {"certificate-authority-data": trust}
    other = kubeconfig(site.api, None, **pinned)
    with pytest.raises(InvalidInputError, match="certificate authority is not the one"):
        attacker.change("PUT", path, {"kubeconfig": other})
    loose: dict[str, Any] = {"certificate-authority-data": "", "insecure-skip-tls-verify": True}
    with pytest.raises(InvalidInputError, match="does not verify"):
        attacker.change("PUT", path, {"kubeconfig": kubeconfig(site.api, None, **loose)})
    site.assert_nothing_left()


def test_apply_knows_no_clusters(site: Site) -> None:
    document = {"apiVersion": "kubewitness.io/v1", "kind": "Cluster", "metadata": {"name": "mine"}}
    with pytest.raises(InvalidInputError):
        Client(site.plane.admin()).post("/apply", {"documents": [document], "reason": "x"})


def test_what_is_tried_is_on_record_without_what_is_secret(site: Site) -> None:
    attacker = site.attacker("clusterer")
    for user in ({"exec": site.plugin}, {"tokenFile": str(site.secret)}, {"token": SECRET}):
        body = {"name": "mine", "kubeconfig": kubeconfig(site.sink, user)}
        with pytest.raises(Exception, match=r"permitted|401"):
            attacker.post("/clusters", body)
    with pytest.raises(InvalidInputError):
        attacker.post("/clusters", {"name": "mine", "kubeconfig": "x: &a [1]\ny: *a"})
    events = [item for item in site.plane.events("cluster.add") if item["target"] == "mine"]
    intents = [item["detail"] for item in events if item["outcome"] == "requested"]
    assert [item.get("server") for item in intents] == [site.sink.server] * 3 + [None]
    assert [item["login"] for item in intents] == [
        "exec plugin /bin/sh", f"token file {site.secret}", "token", "cannot be read",
    ]  # fmt: skip
    assert SECRET not in json.dumps(site.plane.events())


class TestStored:
    """What was registered before is held to the same settings when it is used."""

    def store(self, site: Site, user: dict[str, Any]) -> None:
        document = kubeconfig(site.sink, user).encode()
        store = site.plane.services.store
        site.plane.run(store.add_cluster("old", server=site.sink.server, kubeconfig=document))
        site.plane.run(
            store.reconcilers.put(
                "prod", server=site.sink.server, kubeconfig=document, enforce=True, by="mallory"
            )
        )
        site.plane.run(site.plane.services.watcher.refresh())

    @pytest.mark.parametrize("kind", ["exec", "tokenFile"])
    def test_it_is_refused_when_it_is_used(self, site: Site, kind: str) -> None:
        self.store(site, {kind: site.plugin if kind == "exec" else str(site.secret)})
        client = site.plane.client()
        with pytest.raises(InvalidInputError, match=REFUSED):
            client.post("/clusters/old/check")
        with pytest.raises(InvalidInputError, match=REFUSED):
            client.get("/clusters/prod/reconciler")
        site.assert_nothing_left()

    def test_a_second_account_is_only_ever_used_at_the_registered_cluster(self, site: Site) -> None:
        self.store(site, {"token": "good"})
        with pytest.raises(Exception, match="404"):
            site.plane.client().get("/clusters/prod/reconciler")
        assert site.api.seen[-1][1].startswith("/api")
        site.assert_nothing_left()
