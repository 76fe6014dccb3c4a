"""Who a call runs as is decided by the certificate and by nothing a client writes.

Numbers are those of the security lessons; each holds for plain calls, watches and upgrades.
"""

import asyncio
import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from proxy.settings import Settings
from tests.gateway.conftest import Make
from tests.gateway.world import Exchange, World, ok

PODS = "/clusters/prod/api/v1/namespaces/default/pods"
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket")
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "plain": (PODS, ()),
    "watch": (f"{PODS}?watch=true", ()),
    "upgrade": (f"{PODS}/p/exec?command=sh", UPGRADE),
    "backend": ("/clusters/prod/api/v1/namespaces/default/services/web/proxy/x", ()),
}
OURS = {
    "impersonate-user": ["alice"],
    "impersonate-group": ["dev"],
    "authorization": ["Bearer proxy-token"],
    "x-forwarded-for": ["127.0.0.1"],
}


async def send(world: World, kind: str, *headers: str) -> bytes:
    path, more = KINDS[kind]
    lines = [f"GET {path} HTTP/1.1", "Host: x", *more, *headers]
    if not any(line.lower().startswith("connection: close") for line in lines) and not more:
        lines.append("Connection: close")
    return await world.raw("\r\n".join([*lines, "", ""]).encode())


def assert_ours(world: World) -> None:
    (request,) = world.requests
    for name, values in OURS.items():
        assert request.headers(name) == values
    assert len(request.headers("impersonate-extra-kubewitness.io%2fcredential")) == 1
    names = [line.partition(b":")[0].decode().lower() for line in request.head.split(b"\r\n")[1:]]
    acting = [name for name in names if name.startswith(("impersonate", "x-remote", "x-forwarded"))]
    assert sorted(acting) == [
        "impersonate-extra-kubewitness.io%2fcredential",
        "impersonate-group",
        "impersonate-user",
        "x-forwarded-for",
    ]
    assert not any("_" in name for name in names)


@pytest.mark.parametrize("kind", KINDS)
async def test_lesson_1_connection_cannot_drop_the_identity(world: World, kind: str) -> None:
    options = "Impersonate-User, Impersonate-Group, Authorization, X-Remote-User, Audit-ID"
    options += ", X-Forwarded-For, Impersonate-Extra-kubewitness.io%2Fcredential"
    await send(world, kind, f"Connection: {'Upgrade' if kind == 'upgrade' else 'close'}, {options}")
    assert_ours(world)


HOSTILE = {
    "4 another authorization": "Authorization: Bearer alices-own",
    "4 no authorization": "Authorization:",
    "6 remote user": "X-Remote-User: admin",
    "6 remote group": "x-remote-group: system:masters",
    "6 remote extra": "X-Remote-Extra-Scopes: all",
    "6 forwarded certificate": "X-Forwarded-Client-Cert: x",
    "7 underscores, remote": "X_Remote_User: admin",
    "7 underscores, forwarded": "X_Forwarded_For: 1.2.3.4",
    "20 forwarded for": "X-Forwarded-For: 1.2.3.4",
    "20 real ip": "X-Real-Ip: 1.2.3.4",
    "20 forwarded": "Forwarded: for=1.2.3.4",
    "21 audit id": "Audit-ID: forged",
    "proxy authorization": "Proxy-Authorization: Basic x",
}


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("kind", KINDS)
async def test_claims_of_the_client_never_arrive(world: World, kind: str, case: str) -> None:
    await send(world, kind, HOSTILE[case])
    assert_ours(world)
    value = HOSTILE[case].partition(":")[2].strip().encode()
    assert not value or b": " + value + b"\r\n" not in world.requests[0].head + b"\r\n"
    assert all(line["sourceIPs"] == ["127.0.0.1"] for line in world.journal.lines)


REFUSED = {
    "4 group alone": (400, ("Impersonate-Group: system:masters",)),
    "4 group twice": (400, ("impersonate-group: a", "IMPERSONATE-GROUP: b")),
    "5 uid alone": (400, ("Impersonate-Uid: 1",)),
    "5 an unknown suffix": (400, ("Impersonate-User: bob", "Impersonate-Future: x")),
    "7 underscores": (400, ("Impersonate_User: bob",)),
    "8 user twice, in two spellings": (
        400,
        ("IMPERSONATE-USER: bob", "impersonate-user: carol"),
    ),
    "9 an encoded letter": (400, ("Impersonate-User: bob", "Impersonate-Extra-%61b: x")),
    "9 our own key": (
        403,
        ("Impersonate-User: b", "Impersonate-Extra-Kubewitness.io%2Fcredential: x"),
    ),
    "9 our own key, impersonator": (
        403,
        ("Impersonate-User: b", "Impersonate-Extra-kubewitness.io%2fimpersonator: x"),
    ),
    "empty user": (400, ("Impersonate-User:",)),
    "26 masters": (403, ("Impersonate-User: bob", "Impersonate-Group: system:masters")),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("kind", KINDS)
async def test_requested_identities_that_are_unclear_are_refused(
    world: World, kind: str, case: str
) -> None:
    code, headers = REFUSED[case]
    answer = await send(world, kind, *headers)
    assert answer.startswith(b"HTTP/1.1 %d " % code)
    assert world.requests == []
    (outcome,) = world.terminals()
    assert (outcome["closeReason"], outcome["responseStatus"]["code"]) == ("refused", code)


def reviews(allowed: dict[tuple[str, str], bool]) -> Any:
    """An API server that allows what the table says, and answers everything else."""

    async def handler(exchange: Exchange) -> None:
        if "selfsubjectaccessreviews" not in exchange.line:
            await exchange.answer(ok(b"{}"))
            return
        asked = json.loads(exchange.body)["spec"]["resourceAttributes"]
        verdict = allowed.get((asked["resource"], asked["name"]), False)
        body = json.dumps({"kind": "SelfSubjectAccessReview", "status": {"allowed": verdict}})
        await exchange.answer(ok(body.encode(), status=b"201 Created"))

    return handler


@pytest.mark.parametrize("kind", KINDS)
async def test_as_is_asked_for_in_the_users_own_name_and_both_are_recorded(
    world: World, kind: str
) -> None:
    world.handler = reviews(
        {("users", "bob"): True, ("groups", "ops"): True, ("userextras", "v"): True}
    )
    await send(
        world, kind, "Impersonate-User: bob", "Impersonate-Group: ops", "Impersonate-Extra-k: v"
    )
    *asked, request = world.requests
    assert len(asked) == 3
    for review in asked:
        assert review.headers("impersonate-user") == ["alice"]
        assert review.headers("impersonate-group") == ["dev"]
        assert review.headers("authorization") == ["Bearer proxy-token"]
        assert json.loads(review.body)["spec"]["resourceAttributes"]["verb"] == "impersonate"
    assert request.headers("impersonate-user") == ["bob"]
    assert request.headers("impersonate-group") == ["ops"]
    assert request.headers("impersonate-extra-k") == ["v"]
    assert request.headers("impersonate-extra-kubewitness.io%2fimpersonator") == ["alice"]
    (outcome,) = world.terminals()
    assert outcome["user"]["username"] == "alice"
    assert outcome["impersonatedUser"] == {
        "username": "bob",
        "groups": ["ops"],
        "extra": {"k": ["v"]},
    }
    assert outcome["annotations"]["authorization.k8s.io/decision"] == "allow"


@pytest.mark.parametrize("kind", KINDS)
async def test_as_that_the_cluster_denies_is_403_and_nothing_is_forwarded(
    world: World, kind: str
) -> None:
    world.handler = reviews({("users", "bob"): True})
    answer = await send(world, kind, "Impersonate-User: bob", "Impersonate-Group: ops")
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"'alice' may not impersonate group 'ops'" in answer.replace(b'\\"', b"'")
    assert all("selfsubjectaccessreviews" in request.line for request in world.requests)
    (outcome,) = world.terminals()
    assert outcome["annotations"]["authorization.k8s.io/decision"] == "forbid"
    assert outcome["impersonatedUser"]["username"] == "bob"


UNSAID = {
    "an error": ok(b"no", status=b"500 Internal Server Error"),
    "forbidden": ok(b"{}", status=b"403 Forbidden"),
    "no decision": ok(b"{}", status=b"201 Created"),
    "no json": ok(b"allowed", status=b"201 Created"),
    "allowed as text": ok(b'{"status":{"allowed":"true"}}', status=b"201 Created"),
    "nothing": b"",
}


@pytest.mark.parametrize("case", UNSAID)
async def test_as_that_nobody_could_decide_is_503(world: World, case: str) -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.answer(UNSAID[case])
        if not UNSAID[case]:
            exchange.writer.close()

    world.handler = handler
    status, headers, _ = await world.get(PODS, "Impersonate-User: bob")
    assert (status, "retry-after" in headers) == (503, False)
    assert len(world.requests) == 1
    assert world.terminals()[0]["closeReason"] == "refused"


async def test_lesson_3_a_fault_in_the_identity_sends_nothing(world: World) -> None:
    world.issue("bad", "dev")
    serial = next(s for s, c in world.credentials.items() if c.user == "bad")
    world.targets["prod"] = world.targets["prod"].__class__(
        "prod",
        "127.0.0.1",
        world.targets["prod"].port,
        tls=world.targets["prod"].tls,
        authorization=lambda: b"Bearer two\r\nlines",
    )
    status, _, body = await world.get(PODS, user="bad")
    assert status == 500
    assert b"two" not in body
    assert world.requests == []
    assert world.terminals()[0]["credential"] == serial


async def test_lesson_12_one_connection_to_two_clusters_is_judged_call_by_call(
    world: World,
) -> None:
    world.issue("both", clusters=("*",))
    for user, codes in (("alice", (200, 403, 200)), ("both", (200, 200, 200))):
        reader, writer = await world.connect(user)
        for name, code in zip(("prod", "other", "prod"), codes, strict=True):
            writer.write(f"GET /clusters/{name}/api/v1/pods HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert int(head.split()[1]) == code
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
        writer.close()


async def test_lesson_12_host_and_path_cannot_disagree(make_world: Make) -> None:
    world = await make_world(Settings(listen="127.0.0.1:0", domain="k8s.example"))
    host = "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n"
    named = await world.raw(host.format("/api/v1/pods", "prod.k8s.example:8443").encode())
    assert named.startswith(b"HTTP/1.1 200")
    other = await world.raw(host.format("/clusters/prod/api/v1/pods", "other.k8s.example").encode())
    assert other.startswith(b"HTTP/1.1 403")
    assert [line["cluster"] for line in world.terminals()] == ["prod", "other"]
    assert len(world.requests) == 1


@pytest.mark.parametrize("how", ["removed", "replaced", "moved"])
async def test_lesson_12_streams_end_with_their_cluster(world: World, how: str) -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        await exchange.reader.read()

    world.handler = handler
    reader, writer = await world.connect()
    writer.write(f"GET {PODS}?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await reader.readuntil(b"x\r\n")
    record = world.clusters.pop("prod")
    if how == "replaced":
        world.clusters["prod"] = type(record)("prod", "another id", record.server, 0, b"")
    if how == "moved":
        world.clusters["prod"] = msgspec.structs.replace(record, server="https://elsewhere")
    world.plane.state_changed()
    async with asyncio.timeout(1):
        assert b"0\r\n" not in await reader.read()
    assert (await world.settled(1))[0]["closeReason"] == "revoked"
    writer.close()


async def test_a_stream_outlives_another_account_of_ours(world: World) -> None:
    go_on = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        await exchange.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        await go_on.wait()
        await exchange.answer(b"0\r\n\r\n")

    world.handler = handler
    reader, writer = await world.connect()
    writer.write(f"GET {PODS}?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await reader.readuntil(b"x\r\n")
    world.clusters["prod"] = msgspec.structs.replace(world.clusters["prod"], sealed=b"another")
    world.plane.state_changed()
    go_on.set()
    async with asyncio.timeout(2):
        await reader.readuntil(b"0\r\n\r\n")
    writer.close()


async def test_lesson_12_a_credential_does_not_reach_a_cluster_registered_after_it(
    world: World,
) -> None:
    world.clusters["prod"] = msgspec.structs.replace(
        world.clusters["prod"], id="anew", created_at=1.0
    )
    status, _, _ = await world.get(PODS)
    assert status == 403
    assert world.requests == []
    world.issue("bob", clusters=("*",))
    status, _, _ = await world.get(PODS, user="bob")
    assert status == 200


async def test_a_401_of_the_cluster_asks_for_a_newer_credential_of_ours(world: World) -> None:
    told: list[str] = []
    world.targets["prod"] = replace(world.targets["prod"], unauthorized=lambda: told.append("prod"))

    async def handler(exchange: Exchange) -> None:
        await exchange.answer(ok(b"no", status=b"401 Unauthorized"))

    world.handler = handler
    status, _, _ = await world.get(PODS)
    assert (status, told) == (401, ["prod"])
