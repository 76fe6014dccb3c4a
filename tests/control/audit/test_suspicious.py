"""Listing what was out of the ordinary: filtered, in pages, recorded, and no more than one may see."""

from typing import Any

import pytest

from proxy.audit.event import SystemEvent, User, body, new_id
from proxy.audit.flags import SUSPICIOUS
from proxy.cli.client import Client
from proxy.clock import SystemClock, rfc3339
from proxy.errors import DeniedError, InvalidInputError
from proxy.state.access import Scope, ScopeKind
from proxy.state.snapshot import Usage
from tests.control.plane import Plane

STAGE = Scope(ScopeKind.CLUSTER, cluster="stage")


def flagged(plane: Plane, *flags: str, **given: Any) -> str:
    return plane.call(annotations={SUSPICIOUS: ",".join(flags)} if flags else {}, **given)


def found(client: Client, **query: Any) -> list[str]:
    return [item["id"] for item in client.get("/audit/suspicious", query)["items"]]


def test_what_was_flagged_is_listed_newest_first(plane: Plane) -> None:
    plane.call()
    one = flagged(plane, "new-address", "new-network", credential="a1", call_class="discovery")
    other = flagged(plane, "off-hours", user=User("bob"), code=403)
    items = plane.client().get("/audit/suspicious")["items"]
    assert [item["id"] for item in items] == [other, one]
    assert items[1]["flags"] == ["new-address", "new-network"]
    assert {name: items[1][name] for name in ("user", "credential", "address", "resource", "name")} == {
        "user": "alice", "credential": "a1", "address": "10.0.0.1", "resource": "pods", "name": "web-0",
    }  # fmt: skip
    assert items[0]["status"] == 403


def test_filters(plane: Plane) -> None:
    one = flagged(plane, "new-address", "new-network", credential="a1")
    other = flagged(plane, "off-hours", user=User("bob"), credential="b1")
    client = plane.client()
    assert found(client, flag="new-network") == [one]
    assert found(client, flag=["new-network", "off-hours"]) == [other, one]
    assert found(client, user="bob") == [other]
    assert found(client, credential="a1") == [one]
    assert found(client, since="1h") == [other, one]
    assert found(client, until="1h") == []
    with pytest.raises(InvalidInputError, match="flag"):
        client.get("/audit/suspicious", {"flag": "odd"})


def test_pages(plane: Plane) -> None:
    ids = [flagged(plane, "new-address") for _ in range(7)]
    seen: list[str] = []
    cursor = ""
    while True:
        page = plane.client().get("/audit/suspicious", {"limit": 3, "cursor": cursor})
        seen += [item["id"] for item in page["items"]]
        cursor = page["next"]
        if not cursor:
            break
    assert seen == ids[::-1]


def test_every_other_look_at_the_log_finds_them_too(plane: Plane) -> None:
    one = flagged(plane, "new-address", "off-hours", credential="a1")
    plane.call(credential="a1")
    items = plane.client().get("/audit/calls", {"suspicious": "*", "credential": "a1"})["items"]
    assert [item["auditID"] for item in items] == [one]
    stats = plane.client().get("/audit/stats", {"suspicious": "off-hours", "by": "user"})
    assert (stats["total"], stats["items"][0]["value"]) == (1, "alice")


def test_acts_of_the_control_plane_are_among_them(plane: Plane) -> None:
    now = SystemClock().now()
    act = SystemEvent(
        new_id(now), rfc3339(now), "credential.suspicious", "bob", ("10.0.0.9",), "b1",
        detail={"suspicious": "two-networks"},
    )  # fmt: skip

    async def record() -> None:
        await plane.journal.append(body(act))

    plane.run(record())
    (item,) = plane.client().get("/audit/suspicious")["items"]
    assert (item["user"], item["verb"], item["name"]) == ("bob", "credential.suspicious", "b1")
    assert (item["address"], item["flags"]) == ("10.0.0.9", ["two-networks"])


def test_one_sees_one_s_own_and_those_in_one_s_scope(plane: Plane) -> None:
    mine = flagged(plane, "new-address", user=User("ann"))
    there = flagged(plane, "new-address", cluster="stage")
    flagged(plane, "new-address")
    nobody = Client(plane.credential("ann", Usage.ADMIN))
    assert found(nobody) == [mine]
    plane.run(plane.services.store.add_cluster("stage", server="https://s", kubeconfig=b""))
    scoped = Client(plane.granted("ann", "cluster-admin", STAGE))
    assert found(scoped) == [there, mine]


def test_a_look_is_on_record_before_it_is_shown(plane: Plane) -> None:
    flagged(plane, "new-address")
    found(plane.client(), user="alice")
    asked, done = plane.events("audit.suspicious")
    assert (asked["outcome"], asked["detail"]["query"]) == ("requested", "user=alice")
    assert (done.get("outcome", "ok"), done["detail"]["results"]) == ("ok", 1)
    with pytest.raises(DeniedError):
        Client(plane.credential("eve", Usage.KUBECTL)).get("/audit/suspicious")
