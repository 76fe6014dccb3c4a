"""What a client writes is bounded on record, most of all what one without a credential writes."""

import asyncio
import hashlib
import json
from typing import Any

import pytest

from proxy.audit.strangers import STRANGE
from proxy.settings import KIB, Limits, Settings
from tests.gateway.conftest import Make
from tests.gateway.world import World

PODS = "/clusters/prod/api/v1/namespaces/default/pods"
MANY = 900_000


def size(world: World) -> int:
    return sum(len(json.dumps(line)) for line in world.journal.lines)


@pytest.fixture
async def world(make_world: Make) -> World:
    return await make_world(Settings(listen="127.0.0.1:0", limits=Limits(recorded_refusals=6)))


PLACES = {
    "query": (f"{PODS}?{'x' * MANY}", ()),
    "label selector": (f"{PODS}?labelSelector={'x' * MANY}", ()),
    "name": (f"{PODS}/{'x' * MANY}", ()),
    "resource": (f"/clusters/prod/apis/a/v1/{'x' * MANY}", ()),
    "not UTF-8": (f"{PODS}?%s", ()),
    "no cluster": (f"/{'x' * MANY}", ()),
    "user agent": (PODS, (f"User-Agent: {'x' * MANY}",)),
    "kubectl's headers": (PODS, (f"Kubectl-Command: {'x' * MANY}", f"Kubectl-Session: {'x' * 9}")),
    "audit id": (PODS, (f"Audit-ID: {'x' * MANY}",)),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("longest", [256 * KIB, 2048 * KIB])
async def test_nobody_fills_the_journal_without_a_credential(
    make_world: Make, place: str, longest: int
) -> None:
    limits = Limits(recorded_refusals=6, uri_bytes=longest)
    world = await make_world(Settings(listen="127.0.0.1:0", limits=limits))
    path, headers = PLACES[place]
    lines = "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()
    data = lines.replace(b"%s", b"\xff" * MANY)
    answers = [await ask(world, data) for _ in range(20)]
    assert {answer.split()[1] for answer in answers} <= {b"400", b"401", b"404", b"414"}
    assert size(world) < 60 * KIB
    assert world.requests == []


async def ask(world: World, data: bytes) -> bytes:
    """One request without a certificate, on a connection of its own; the head of its answer."""
    reader, writer = await world.connect(None)
    writer.write(data)
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return head


async def test_what_was_cut_can_be_told_by_its_length_and_hash(world: World) -> None:
    target = f"{PODS}?{'x' * 10_000}"
    await world.get(target, user=None)
    uri = world.terminals()[0]["requestURI"]
    path = target.removeprefix("/clusters/prod")
    digest = hashlib.sha256(path.encode()).hexdigest()
    assert uri == f"{path[:STRANGE]}… ({len(path)} characters, SHA-256 {digest})"


async def test_beyond_the_budget_refusals_are_one_sum(world: World) -> None:
    answers = [await world.get(PODS, user=None) for _ in range(20)]
    assert {status for status, _, _ in answers} == {401}
    assert ["audit-id" in headers for _, headers, _ in answers] == [True] * 6 + [False] * 14
    assert len(world.terminals()) == 6
    assert world.refusals("no-certificate") == 20
    await world.plane.drain(0)
    world.journal.sync()
    (event,) = [line for line in world.journal.lines if line.get("action") == "refusals.sum"]
    assert event["detail"]["count"] == 14
    assert event["detail"]["reasons"] == {"no-certificate": 14}
    assert event["detail"]["sources"] == {"127.0.0.1": 14}


async def test_handshakes_that_fail_draw_on_the_same_budget(world: World) -> None:
    for _ in range(20):
        reader, writer = await asyncio.open_connection(*world.address)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await reader.read()
        writer.close()
    await world.until(lambda: world.refusals("tls-handshake") == 20)
    assert len(world.connection_events()) == 6
    status, headers, _ = await world.get(PODS, user=None)
    assert (status, "audit-id" in headers) == (401, False)
    status, headers, _ = await world.get(PODS, user=None, source="127.0.0.2")
    assert (status, "audit-id" in headers) == (401, True), "another address has its own"


async def test_a_flood_keeps_nobody_with_a_credential_from_anything(world: World) -> None:
    for _ in range(20):
        await world.get(PODS, user=None)
    for _ in range(20):
        status, headers, _ = await world.get(PODS)
        assert (status, "audit-id" in headers) == (200, True)
    for _ in range(20):
        status, headers, _ = await world.get(PODS.replace("prod", "other"))
        assert (status, "audit-id" in headers) == (403, True), "their refusals are each on record"


async def test_a_revoked_credential_is_no_credential(world: World) -> None:
    world.revoke("alice")
    found = [await world.get(f"{PODS}?{'x' * 3000}") for _ in range(9)]
    assert ["audit-id" in headers for _, headers, _ in found] == [True] * 6 + [False] * 3
    one = world.terminals()[0]
    assert one["annotations"]["kubewitness.io/claimed-user"] == "alice"
    assert len(one["requestURI"]) < 400


@pytest.mark.parametrize("bad", ["/nowhere", f"{PODS}/../x", "/clusters/prod/api/v1//pods"])
async def test_a_refusal_of_somebody_we_know_says_who_it_was(world: World, bad: str) -> None:
    for _ in range(9):
        status, _, _ = await world.get(bad)
        assert status in {400, 404}
    ends = world.terminals()
    assert [end["user"]["username"] for end in ends] == ["alice"] * 9
    assert all(end["credential"] for end in ends)


@pytest.mark.parametrize("user", ["alice", None])
@pytest.mark.parametrize(("longest", "status"), [(4 * KIB, 414), (8 * KIB, 0)])
async def test_how_long_a_uri_may_be_is_a_setting(
    make_world: Make, user: str | None, longest: int, status: int
) -> None:
    world = await make_world(Settings(listen="127.0.0.1:0", limits=Limits(uri_bytes=longest)))
    target = f"{PODS}?labelSelector={'x' * 5000}"
    found, _, body = await world.get(target, user=user)
    assert found == (status or (200 if user else 401))
    (end,) = world.terminals()
    if status:
        assert f"{len(target)} bytes, and at most {longest}" in body.decode()
        assert "limits.uri_bytes" in body.decode()
        assert end["requestURI"].count("SHA-256") == 1
        assert end["user"]["username"] == (user or "")
    elif user:
        assert end["requestURI"] == target.removeprefix("/clusters/prod")


async def test_of_somebody_we_know_headers_are_kept_whole(world: World) -> None:
    long = "x" * 100_000
    await world.get(
        PODS, *(f"{name}: {long}" for name in ("User-Agent", "Kubectl-Session", "Audit-ID"))
    )
    (end,) = world.terminals()
    assert [end[field] for field in ("userAgent", "kubectlSession", "clientAuditID")] == [long] * 3


async def test_what_is_not_text_is_bounded_as_well(world: World) -> None:
    request = b"GET %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\nUser-Agent: %b\r\n\r\n"
    await world.raw(request % (PODS.encode(), b"\xff" * 5000), None)
    await world.raw(request % (PODS.encode(), b"k9s\xff"), None)
    cut, whole = world.terminals()
    raw: dict[str, Any] = cut.get("raw", {})
    assert "userAgent" not in raw
    assert len(cut["userAgent"]) < STRANGE + 120
    assert whole["raw"]["userAgent"]
