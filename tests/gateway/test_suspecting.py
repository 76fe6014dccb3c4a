"""What is out of the ordinary stands on the record of the call itself, from its first event on."""

from typing import Any

import pytest

from proxy.audit.flags import SUSPICIOUS
from proxy.settings import Limits, Settings
from proxy.suspicious import Suspicious
from tests.gateway.conftest import Make
from tests.gateway.world import Exchange, World, ok

PODS = "/clusters/prod/api/v1/namespaces/shop/pods"
SECRETS = "/clusters/prod/api/v1/namespaces/shop/secrets"
HOME, COLLEAGUE, THIEF = "127.0.0.1", "127.0.0.77", "127.66.6.6"


@pytest.fixture
async def world(make_world: Make) -> World:
    return await make_world(
        Settings(listen="127.0.0.1:0", suspicious=Suspicious(denials=4, secret_reads=4))
    )


def flags(world: World) -> list[str]:
    """The flags of each call that ended, in order."""
    return [line.get("annotations", {}).get(SUSPICIOUS, "") for line in world.terminals()]


async def calls(world: World, *sources: str, path: str = PODS, **more: Any) -> list[str]:
    for source in sources:
        await world.get(path, source=source, **more)
    await world.settled(len(sources))
    return flags(world)


async def test_a_stolen_kubeconfig_used_from_elsewhere(world: World) -> None:
    found = await calls(world, HOME, HOME, COLLEAGUE, THIEF, THIEF, HOME, HOME)
    assert found == [
        "",
        "",
        "",
        "new-address,new-network,two-networks",
        "",
        "two-networks",
        "",
    ]


async def test_the_intent_says_it_before_anything_goes_out(world: World) -> None:
    before: list[dict[str, Any]] = []

    async def handler(exchange: Exchange) -> None:
        before.extend(world.journal.lines)
        await exchange.answer(ok(b"{}"))

    await world.get(PODS, source=HOME)
    world.handler = handler
    await world.get(PODS, method="POST", body=b"{}", source=THIEF)
    intent = before[-1]
    assert intent["stage"] == "RequestReceived"
    assert "new-network" in intent["annotations"][SUSPICIOUS]
    assert intent["sourceIPs"] == [THIEF]


async def test_addresses_of_one_network_are_ordinary(world: World) -> None:
    pool = [f"127.0.0.{number}" for number in range(1, 30)]
    assert set(await calls(world, *pool)) == {""}


async def test_refusals_in_a_row_are_told_with_the_one_that_makes_a_burst(world: World) -> None:
    found = await calls(world, *[HOME] * 6, path="/clusters/other/api/v1/pods")
    assert found == ["", "", "", "denial-burst", "", ""]
    assert {line["responseStatus"]["code"] for line in world.terminals()} == {403}


async def test_so_are_those_of_a_revoked_credential(world: World) -> None:
    world.revoke("alice")
    assert await calls(world, *[HOME] * 4) == ["", "", "", "denial-burst"]
    assert not world.suspicion.memory.users, "which is no use of it"


async def test_refusals_of_the_cluster_are_told_with_the_one_that_makes_a_burst(
    world: World,
) -> None:
    async def forbid(exchange: Exchange) -> None:
        await exchange.answer(ok(b"{}", status=b"403 Forbidden"))

    world.handler = forbid
    assert await calls(world, *[HOME] * 5) == ["", "", "", "denial-burst", ""]
    intents = [line for line in world.journal.lines if line["stage"] == "RequestReceived"]
    assert not any(SUSPICIOUS in line.get("annotations", {}) for line in intents)
    fourth = world.terminals()[3]
    assert fourth["annotations"]["authorization.k8s.io/decision"] == "allow", "what was there stays"


async def test_refusals_without_a_record_are_told_with_the_next_that_has_one(
    make_world: Make,
) -> None:
    world = await make_world(
        Settings(
            listen="127.0.0.1:0",
            suspicious=Suspicious(denials=9),
            limits=Limits(recorded_refusals=3),
        )
    )
    world.revoke("alice")
    for _ in range(12):
        await world.get(PODS, source=HOME)
    await world.get(PODS, source=COLLEAGUE)
    assert flags(world) == ["", "", "", "denial-burst"]


async def test_a_thief_in_a_shell_while_the_owner_works(world: World) -> None:
    async def handler(exchange: Exchange) -> None:
        if "exec" in exchange.line:
            await exchange.answer(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                b"Upgrade: websocket\r\n\r\n"
            )
            await exchange.reader.read()
        else:
            await exchange.answer(ok(b"{}"))

    world.handler = handler
    reader, writer = await world.connect(source=THIEF)
    head = f"GET {PODS}/p/exec?command=sh HTTP/1.1\r\nHost: x\r\n"
    writer.write(f"{head}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n".encode())
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    later(world, 3600)
    assert (await calls(world, HOME))[-1] == "new-address,new-network,two-networks"
    writer.close()
    await world.settled(2)
    later(world, 3600)
    assert (await calls(world, *[HOME] * 3))[-1] == ""


def later(world: World, seconds: float) -> None:
    """Let what was seen of credentials be so much older."""
    for subject in world.suspicion.memory.credentials.values():
        for network in subject.networks:
            subject.networks[network] -= seconds


@pytest.mark.parametrize("path", [f"{SECRETS}/db", f"{SECRETS}?fieldSelector=metadata.name%3Ddb"])
async def test_reading_secrets_many_times(world: World, path: str) -> None:
    assert await calls(world, *[HOME] * 5, path=path) == ["", "", "", "secret-burst", ""]


@pytest.mark.parametrize("query", ["", "?labelSelector=a", "?watch=true"])
async def test_a_list_of_secrets_is_three_reads(world: World, query: str) -> None:
    assert await calls(world, *[HOME] * 3, path=SECRETS + query) == ["", "secret-burst", ""]


@pytest.mark.parametrize("query", ["", "?labelSelector=a!%3Db", "?watch=true", "?limit=1"])
async def test_the_secrets_of_all_namespaces_are_told_at_the_first_list(
    world: World, query: str
) -> None:
    path = f"/clusters/prod/api/v1/secrets{query}"
    assert await calls(world, HOME, path=path) == ["secret-list"]


@pytest.mark.parametrize(
    ("path", "more"),
    [
        (SECRETS, {"method": "POST", "body": b"{}"}),
        ("/clusters/prod/apis/example.com/v1/secrets", {}),
        (f"{PODS}/secrets", {}),
    ],
)
async def test_what_is_no_reading_of_secrets(world: World, path: str, more: Any) -> None:
    assert set(await calls(world, *[HOME] * 5, path=path, **more)) == {""}


async def test_what_it_counts(world: World) -> None:
    await calls(world, HOME, THIEF)
    count = world.metrics.registry.get_sample_value
    assert count("kubewitness_suspicious_total", {"flag": "new-network"}) == 1
    assert count("kubewitness_suspicious_total", {"flag": "off-hours"}) == 0
