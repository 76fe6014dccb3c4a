"""Who sees what through the API: one's own, what was granted, and for as long as it is."""

import json
import time
from typing import Any

import pytest

from proxy.audit.event import WITHHELD, ConnectionEvent, ObjectRef, SystemEvent, User, body
from proxy.audit.index.query import Within
from proxy.cli.client import Client, Server
from proxy.clock import rfc3339
from proxy.control.audit.sight import said
from proxy.errors import NotFoundError
from proxy.state.access import Place, Scope, ScopeKind, SubjectKind
from proxy.state.snapshot import Usage
from tests.control.audit.test_streams import Tail
from tests.control.plane import Plane

PROD = Scope(ScopeKind.CLUSTER, cluster="prod")
SHOP = Scope(ScopeKind.PROJECT, project="shop")


class Calls:
    """Calls of two people in three places, and what is no call."""

    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        web = ObjectRef("pods", "web", "web-0", "", "v1")
        self.own = plane.call(user=User("carol"), cluster="stage", object_ref=web)
        self.prod = plane.call(user=User("bob"), cluster="prod", object_ref=web)
        self.shop = plane.call(user=User("bob"), cluster="stage")  # in the namespace shop
        self.other = plane.call(user=User("bob"), cluster="stage", object_ref=web)
        now = rfc3339(plane.clock.now())
        self.bodies = [
            body(SystemEvent("act-1", now, "user.add", "bob")),
            body(SystemEvent("act-2", now, "user.add", "carol")),
            body(SystemEvent(self.prod, now, WITHHELD, target=self.prod, outcome="failed")),
            body(ConnectionEvent("conn-1", now, ("10.0.0.1",), "data", "tls-handshake")),
        ]
        plane.run(plane._append(self.bodies))
        self.all = {self.own, self.prod, self.shop, self.other}

    def seen(self, server: Server) -> set[str]:
        """What each way of looking shows; they agree, or it fails."""
        client = Client(server)
        found = {item["auditID"] for item in client.get("/audit/calls")["items"]}
        counted = client.get("/audit/stats", {"by": "cluster"})
        assert counted["total"] == len(found)
        who = client.get("/audit/who", {"resource": "pods", "name": "web-0", "namespace": "web"})
        assert sum(item["calls"] for item in who["items"]) == len(found - {self.shop})
        for audit_id in self.all:
            if audit_id in found:
                assert client.get(f"/audit/calls/{audit_id}")["items"]
            else:
                with pytest.raises(NotFoundError):
                    client.get(f"/audit/calls/{audit_id}")
        return found

    def others(self, server: Server) -> set[str]:
        """What is no call, without the looks of the tests themselves."""
        page = Client(server).get("/audit/calls", {"kind": ["system", "connection"], "limit": 1000})
        ours = {"act-1", "act-2", "conn-1", self.prod}
        return {item["auditID"] for item in page["items"]} & ours


def exported(server: Server, **query: Any) -> set[str]:
    lines = b"".join(Client(server).chunks("/audit/export", query)).splitlines()
    return {json.loads(line)["auditID"] for line in lines}


@pytest.fixture
def calls(plane: Plane) -> Calls:
    plane.run(plane.services.store.add_cluster("stage", server="https://c:6443", kubeconfig=b""))
    plane.credential("carol", Usage.ADMIN)  # registers the cluster prod
    places = (Place("stage", ("shop",)),)
    plane.run(plane.services.store.people.add_project("shop", places=places, by="test"))
    return Calls(plane)


def test_without_a_grant_one_sees_ones_own(plane: Plane, calls: Calls) -> None:
    server = plane.credential("carol", Usage.ADMIN)
    assert calls.seen(server) == exported(server) == {calls.own}
    assert calls.others(server) == {"act-2"}
    with pytest.raises(NotFoundError):
        Client(server).get("/audit/calls/act-1")
    assert calls.seen(plane.credential("nobody", Usage.ADMIN)) == set()


@pytest.mark.parametrize(
    ("role", "scope", "sees", "exports"),
    [
        ("cluster-admin", PROD, {"prod"}, set()),
        ("project-read-only", SHOP, {"shop"}, set()),
        ("project-admin", SHOP, {"shop"}, {"shop"}),
        ("auditor", SHOP, {"shop"}, {"shop"}),
        (
            "namespace-admin",
            Scope(ScopeKind.NAMESPACE, cluster="stage", namespace="shop"),
            set(),
            set(),
        ),
    ],
)
def test_a_grant_shows_its_scope(
    plane: Plane, calls: Calls, role: str, scope: Scope, sees: set[str], exports: set[str]
) -> None:
    server = plane.granted("carol", role, scope)
    assert calls.seen(server) == {calls.own} | {getattr(calls, name) for name in sees}
    assert exported(server) == {calls.own} | {getattr(calls, name) for name in exports}
    assert calls.others(server) == {"act-2"}


def test_an_auditor_of_the_organization_sees_and_exports_everything(
    plane: Plane, calls: Calls
) -> None:
    server = plane.granted("carol", "auditor")
    assert calls.seen(server) == exported(server) == calls.all
    assert calls.others(server) == {"act-1", "act-2", "conn-1", calls.prod}
    assert {"act-1", "conn-1"} < exported(server, kind=["system", "connection"])


def test_who_may_export_a_part_exports_nothing_that_is_of_no_part(
    plane: Plane, calls: Calls
) -> None:
    plane.granted("carol", "auditor", SHOP)
    server = plane.granted("carol", "admin-read-only")
    assert calls.others(server) == {"act-1", "act-2", "conn-1", calls.prod}
    assert exported(server) == {calls.own, calls.shop}
    assert {"act-1", "conn-1"}.isdisjoint(exported(server, kind=["system", "connection"]))


def test_a_correction_is_shown_with_its_call(plane: Plane, calls: Calls) -> None:
    server = plane.granted("carol", "cluster-admin", PROD)
    items = Client(server).get(f"/audit/calls/{calls.prod}")["items"]
    assert [item.get("action") for item in items if "action" in item] == [WITHHELD]


def test_the_record_of_a_look_says_what_was_visible_to_it(plane: Plane, calls: Calls) -> None:
    server = plane.granted("carol", "cluster-admin", PROD)
    plane.granted("carol", "auditor", SHOP)
    calls.seen(server)
    exported(server)
    sight = ["own", "cluster/prod", "namespace/stage/shop"]
    for action in ("audit.search", "audit.stats", "audit.who", "audit.show"):
        intent, outcome = plane.events(action)[:2]
        assert intent["detail"]["visible"] == outcome["detail"]["visible"] == sight, action
    for event in plane.events("audit.export"):
        assert event["detail"]["visible"] == ["own", "namespace/stage/shop"]
    plane.client().get("/audit/calls")
    assert plane.events("audit.search")[-1]["detail"]["visible"] == ["everything"]


def test_many_places_are_counted_rather_than_named() -> None:
    within = Within("a", tuple(f"c{n}" for n in range(150)), system=True)
    words = said(within)
    assert words[:2] == ["own", "cluster/c0"]
    assert words[-2:] == ["and 50 more", "system"]
    assert said(Within("a", ("c0",), calls=True)) == ["own", "calls"]


def test_a_tail_narrows_and_widens_with_the_grants_of_its_reader(
    plane: Plane, calls: Calls
) -> None:
    server = plane.granted("carol", "cluster-admin", PROD)
    tail = Tail(Client(server), last=1)
    tail.wait(1)  # it has begun
    seen = [calls.prod, plane.call(user=User("bob"), cluster="prod")]
    assert tail.wait(2) == seen
    (grant,) = plane.services.watcher.current.access.grants
    plane.run(plane.services.store.people.revoke_grant(grant.id, by="test", reason=""))
    time.sleep(1)
    plane.call(user=User("bob"), cluster="prod")
    own = plane.call(user=User("carol"), cluster="prod")
    assert tail.wait(3) == [*seen, own]
    plane.granted("carol", "cluster-admin", PROD)
    time.sleep(1)
    again = plane.call(user=User("bob"), cluster="prod")
    assert tail.wait(4) == [*seen, own, again]


def test_a_tail_of_somebody_who_leaves_a_group_narrows(plane: Plane, calls: Calls) -> None:
    people = plane.services.store.people
    plane.run(people.add_group("watchers", by="test"))
    plane.granted("dave", "namespace-admin", Scope(ScopeKind.NAMESPACE, cluster="prod", namespace="x"))  # fmt: skip
    plane.run(people.change_user("dave", groups=("watchers",)))
    plane.run(_grant_to_group(plane, "watchers"))
    tail = Tail(Client(plane.credential("dave", Usage.ADMIN)), last=1)
    assert tail.wait(1) == [calls.prod]
    plane.run(people.change_user("dave", groups=()))
    time.sleep(1)
    plane.call(user=User("bob"), cluster="prod")
    own = plane.call(user=User("dave"), cluster="prod")
    assert tail.wait(2) == [calls.prod, own]


async def _grant_to_group(plane: Plane, group: str) -> None:
    await plane.services.store.people.add_grant(
        subject_kind=SubjectKind.GROUP, subject=group, role="cluster-admin", scope=PROD, by="test"
    )
    await plane.services.watcher.refresh()
