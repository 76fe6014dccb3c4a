"""Grants at the gateway: who is refused what, as whom the others reach the cluster, and for how long."""

import asyncio
import time
from typing import Any

import msgspec
import pytest

from proxy.settings import Access as AccessSettings
from proxy.settings import Settings
from proxy.state.access import ORGANIZATION, Grant, Place, User
from proxy.state.permission import Permission
from tests.authz import people
from tests.authz.people import cluster, grant, namespace, project, rule, user
from tests.gateway.conftest import Make
from tests.gateway.world import Exchange, World, ok

API = "/clusters/prod/api/v1"
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket")
DECISION, REASON = "authorization.k8s.io/decision", "authorization.k8s.io/reason"


def govern(world: World, *grants: Grant, users: tuple[User, ...] = (user("alice"),), **more: Any) -> None:  # fmt: skip
    """What the state says from now on."""
    world.access = people.access(*grants, users=users, **more)
    world.plane.state_changed()


async def code(world: World, line: str, *headers: str, user: str = "alice") -> int:
    method, _, path = line.partition(" ")
    status, _, _ = await world.get(path, *headers, method=method, user=user)
    return status


# --- who is governed -----------------------------------------------------------------------------


async def test_who_is_not_registered_is_let_through_as_before(world: World) -> None:
    govern(world, users=())
    assert await code(world, f"GET {API}/pods") == 200
    assert world.requests[0].headers("impersonate-group") == ["dev"]


async def test_who_is_not_registered_is_refused_where_the_setting_says_so(make_world: Make) -> None:
    world = await make_world(
        Settings(listen="127.0.0.1:0", access=AccessSettings(unregistered="refuse"))
    )
    status, _, body = await world.get(f"{API}/pods")
    assert status == 403
    assert b"only users who are registered" in body
    govern(world, grant("alice", "cluster-admin", cluster("prod")))
    assert await code(world, f"GET {API}/pods") == 200


@pytest.mark.parametrize("groups", [(), ("dev",)], ids=["registered", "in a registered group"])
async def test_without_a_grant_nothing_is_allowed(world: World, groups: tuple[str, ...]) -> None:
    govern(world, users=() if groups else (user("alice"),), groups=groups)
    status, _, body = await world.get(f"{API}/namespaces/default/pods/web", method="DELETE")
    assert status == 403
    message = msgspec.json.decode(body)["message"]
    assert message == (
        "user 'alice' may not delete pods in namespace 'default' in cluster 'prod': "
        "no grant of theirs is for cluster prod"
    )
    assert world.requests == []
    (outcome,) = world.terminals()
    assert outcome["annotations"][DECISION] == "forbid"
    assert outcome["annotations"][REASON] == "no grant of theirs is for cluster prod"
    assert outcome["closeReason"] == "refused"
    assert world.refusals("no-grant") == 1


async def test_who_is_disabled_is_not_authenticated(world: World) -> None:
    govern(world, grant("alice", "admin"), users=(user("alice", disabled=True),))
    status, _, body = await world.get(f"{API}/pods")
    assert (status, world.refusals("disabled")) == (401, 1)
    assert b"disabled" in body
    (outcome,) = world.terminals()
    assert outcome["user"] == {"username": ""}
    assert outcome["annotations"]["kubewitness.io/claimed-user"] == "alice"


# --- as whom -------------------------------------------------------------------------------------


async def test_the_cluster_sees_the_groups_of_the_grants_and_no_others(world: World) -> None:
    ops = people.role("ops", rule("get list", "pods"), groups=("ops-team", "system:masters"))
    govern(
        world,
        grant("alice", "namespace-admin", namespace("prod", "web")),
        grant("@team", "project-read-only", project("shop")),
        grant("alice", "ops", cluster("prod")),
        grant("alice", "auditor"),
        grant("alice", "cluster-admin", cluster("other")),
        users=(user("alice", "team"),),
        groups=("team", "dev"),
        projects={"shop": (Place("prod", ("db",)),)},
        roles=(ops,),
    )
    assert await code(world, f"GET {API}/pods") == 200
    (request,) = world.requests
    assert request.headers("impersonate-user") == ["alice"]
    assert request.headers("impersonate-group") == [
        "kubewitness:namespace-admin:web",
        "kubewitness:project-read-only:db",
        "ops-team",
    ]
    (outcome,) = world.terminals()
    # The certificate says `dev`, which is registered, too: the registry counts.
    assert outcome["user"] == {"username": "alice", "groups": ["team"]}
    assert outcome["annotations"] == {
        DECISION: "allow",
        REASON: "grant alice-ops of role ops in cluster/prod",
    }


async def test_groups_of_a_certificate_give_a_registered_user_nothing(world: World) -> None:
    govern(world, grant("@dev", "admin"), groups=("dev",))
    assert await code(world, f"GET {API}/pods") == 403
    govern(world, grant("@dev", "admin"), users=(), groups=("dev",))
    assert await code(world, f"GET {API}/pods") == 200
    assert world.requests[0].headers("impersonate-group") == ["kubewitness:admin"]


@pytest.mark.parametrize(
    "headers",
    [
        ("Impersonate-Group: kubewitness:admin",),
        ("Impersonate-User: alice", "Impersonate-Group: kubewitness:admin"),
        ("Impersonate-User: bob", "Impersonate-Group: KUBEWITNESS:admin"),
        ("Impersonate-User: kubewitness:admin",),
    ],
)
@pytest.mark.parametrize("role", ["namespace-read-only", "namespace-admin"])
async def test_nobody_takes_a_group_of_ours_by_asking_for_it(
    world: World, role: str, headers: tuple[str, ...]
) -> None:
    govern(world, grant("alice", role, namespace("prod", "web")))
    assert await code(world, f"GET {API}/namespaces/web/pods", *headers) in {400, 403}
    assert world.requests == []
    assert world.terminals()[0]["closeReason"] == "refused"


async def test_as_needs_the_permission_the_grants_and_the_cluster(world: World) -> None:
    async def handler(exchange: Exchange) -> None:
        review = "selfsubjectaccessreviews" in exchange.line
        await exchange.answer(ok(b'{"status":{"allowed":true}}' if review else b"{}"))

    world.handler = handler
    act = ("Impersonate-User: bob",)
    reader = people.role("reader", rule("get list", "pods"))
    actor = people.role(
        "actor", rule("get", "pods"), permissions=frozenset({Permission.IMPERSONATE})
    )
    govern(world, grant("alice", "reader", cluster("prod")), roles=(reader, actor))
    status, _, body = await world.get(f"{API}/pods", *act)
    assert status == 403
    assert b"as somebody else" in body
    assert b"it needs kubernetes.impersonate, which reader does not give" in body
    assert world.terminals()[0]["impersonatedUser"] == {"username": "bob"}
    both = (grant("alice", "reader", cluster("prod")), grant("alice", "actor", cluster("prod")))
    govern(world, *both, roles=(reader, actor))
    # One grant gives the listing, the other the right to act: not both at once.
    assert await code(world, f"GET {API}/pods", *act) == 403
    assert world.requests == []
    assert await code(world, f"GET {API}/namespaces/web/pods/a", *act) == 200
    review, call = world.requests
    # Custom roles give the groups that they name, and these name none.
    assert review.headers("impersonate-group") == []
    assert call.headers("impersonate-user") == ["bob"]
    assert call.headers("impersonate-group") == []


# --- what --------------------------------------------------------------------------------------

WEB = f"{API}/namespaces/web"
READ_ONLY = {
    "pods": (f"GET {WEB}/pods", 200),
    "a watch": (f"GET {WEB}/pods?watch=1", 200),
    "a log": (f"GET {WEB}/pods/a/log?follow=true", 200),
    "discovery": ("GET /clusters/prod/apis", 200),
    "itself": (f"GET {API}/namespaces/web", 200),
    "another namespace": (f"GET {API}/namespaces/db/pods", 403),
    "all namespaces": (f"GET {API}/pods", 403),
    "a watch of all": (f"GET {API}/pods?watch=1", 403),
    "a watch of all, verb first": (f"GET {API}/watch/pods", 403),
    "a watch of itself, verb first": (f"GET {API}/watch/namespaces/web", 403),
    "the list of namespaces": (f"GET {API}/namespaces", 403),
    "nodes": (f"GET {API}/nodes", 403),
    "metrics": ("GET /clusters/prod/metrics", 403),
    "a secret": (f"GET {WEB}/secrets/a", 403),
    "a secret by HEAD": (f"HEAD {WEB}/secrets/a", 403),
    "secrets by watch": (f"GET {WEB}/secrets?w%61tch=1", 403),
    "secrets, verb first": (f"GET {API}/watch/namespaces/web/secrets", 403),
    "exec": (f"POST {WEB}/pods/a/exec?command=sh", 403),
    "exec by GET": (f"GET {WEB}/pods/a/exec?command=sh", 403),
    "a pod's proxy": (f"GET {WEB}/pods/a/proxy/", 403),
    "a proxy, verb first": (f"GET {API}/proxy/namespaces/web/pods/a", 403),
    "a token": (f"POST {WEB}/serviceaccounts/a/token", 403),
    "a write": (f"DELETE {WEB}/pods/a", 403),
    "a write, dry": (f"DELETE {WEB}/pods/a?dryRun=All", 403),
    "its own end": (f"DELETE {API}/namespaces/web", 403),
}


@pytest.mark.parametrize("case", READ_ONLY)
async def test_reading_in_a_namespace_is_that_and_no_more(world: World, case: str) -> None:
    govern(world, grant("alice", "namespace-read-only", namespace("prod", "web")))
    line, expected = READ_ONLY[case]
    assert await code(world, line) == expected
    assert len(world.requests) == (expected == 200)


UPGRADES = {
    "exec": f"{WEB}/pods/a/exec?command=sh",
    "attach": f"{WEB}/pods/a/attach",
    "port-forward": f"{WEB}/pods/a/portforward",
    "a pod's proxy": f"{WEB}/pods/a/proxy/",
    "a node's proxy": f"{API}/nodes/n/proxy/exec/web/a/c?command=sh",
    "a watch": f"{WEB}/pods?watch=1",
    "secrets": f"{WEB}/secrets?watch=1",
    "something else's console": "/clusters/prod/apis/subresources.kubevirt.io/v1/namespaces/web/virtualmachineinstances/a/console",
    "health": "/clusters/prod/healthz",
}


@pytest.mark.parametrize("case", UPGRADES)
@pytest.mark.parametrize("role", ["namespace-read-only", "admin-read-only"])
async def test_no_upgrade_is_reading(world: World, role: str, case: str) -> None:
    scope = namespace("prod", "web") if role.startswith("namespace") else ORGANIZATION
    govern(world, grant("alice", role, scope))
    lines = [f"GET {UPGRADES[case]} HTTP/1.1", "Host: x", *UPGRADE, "", ""]
    answer = await world.raw("\r\n".join(lines).encode())
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"kubernetes." in answer or b"no grant of theirs reaches" in answer
    assert world.requests == []


async def test_deny_wins(world: World) -> None:
    careful = people.role(
        "careful", denies=(rule("*", "secrets"), rule("delete deletecollection", "*", names="db"))
    )
    grants = (grant("alice", "admin"), grant("alice", "careful", namespace("prod", "web")))
    govern(world, *grants, roles=(careful,))
    for line, expected in {
        f"GET {WEB}/secrets/a": 403,
        f"GET {API}/secrets": 403,
        f"GET {API}/namespaces/db/secrets": 200,
        f"DELETE {WEB}/pods/db": 403,
        f"DELETE {WEB}/pods": 403,
        f"DELETE {WEB}/pods/other": 200,
        f"GET {API}/nodes": 200,
    }.items():
        assert await code(world, line) == expected, line
    assert "alice-careful of role careful" in world.terminals()[0]["annotations"][REASON]


async def test_the_credential_still_narrows_what_grants_allow(world: World) -> None:
    govern(world, grant("alice", "admin"))
    assert await code(world, "GET /clusters/other/api/v1/pods") == 403
    assert world.refusals("no-access") == 1
    # Nothing tells a cluster that is there from one that is not.
    govern(world, grant("alice", "cluster-admin", cluster("prod")))
    there = (await world.get("/clusters/other/api/v1/pods"))[2]
    gone = (await world.get("/clusters/gone1/api/v1/pods"))[2]
    assert b"no grant of theirs is for cluster other" in there
    assert gone == there.replace(b"other", b"gone1")


# --- for how long --------------------------------------------------------------------------------


async def watching(exchange: Exchange) -> None:
    await exchange.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
    await exchange.reader.read()


ADMIN = grant("alice", "cluster-admin", cluster("prod"))
REVOCATIONS: dict[str, dict[str, Any]] = {
    "the grant is gone": {"grants": ()},
    "the user is disabled": {"grants": (ADMIN,), "users": (user("alice", disabled=True),)},
    "the role denies it now": {
        "grants": (ADMIN, grant("alice", "no", cluster("prod"))),
        "roles": (people.role("no", denies=(rule("watch", "pods"),)),),
    },
    "another scope": {"grants": (grant("alice", "cluster-admin", cluster("other")),)},
}


@pytest.mark.parametrize("case", REVOCATIONS)
async def test_a_stream_is_cut_when_it_is_no_longer_allowed(world: World, case: str) -> None:
    world.handler = watching
    govern(world, ADMIN)
    reader, writer = await world.connect()
    writer.write(f"GET {API}/pods?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await reader.readuntil(b"x\r\n")
    after = dict(REVOCATIONS[case])
    begun = time.monotonic()
    govern(world, *after.pop("grants"), **after)
    assert b"0\r\n\r\n" not in await reader.read()
    assert time.monotonic() - begun < 1
    assert (await world.settled(1))[0]["closeReason"] == "revoked"
    writer.close()


async def test_a_stream_goes_on_while_other_things_change(world: World) -> None:
    world.handler = watching
    govern(world, ADMIN)
    reader, writer = await world.connect()
    writer.write(f"GET {API}/pods?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await reader.readuntil(b"x\r\n")
    govern(world, grant("alice", "admin"), users=(user("alice"), user("bob")))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.7)
    writer.close()


async def test_a_stream_is_cut_within_a_second_of_its_grants_end(world: World) -> None:
    world.handler = watching
    ends = time.time() + 0.6
    govern(world, msgspec.structs.replace(ADMIN, expires_at=ends))
    reader, writer = await world.connect()
    writer.write(f"GET {API}/pods?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await reader.readuntil(b"x\r\n")
    await reader.read()
    assert 0 <= time.time() - ends < 1
    assert (await world.settled(1))[0]["closeReason"] == "revoked"
    assert await code(world, f"GET {API}/pods") == 403
    writer.close()


async def test_who_becomes_registered_is_governed_from_then_on(world: World) -> None:
    world.handler = watching
    reader, writer = await world.connect()
    writer.write(f"GET {API}/pods?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await reader.readuntil(b"x\r\n")
    govern(world)
    async with asyncio.timeout(1):
        await reader.read()
    assert (await world.settled(1))[0]["closeReason"] == "revoked"
    writer.close()
