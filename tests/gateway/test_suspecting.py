"""What is out of the ordinary stands on the record of the call itself, from its first event on."""

from typing import Any

import pytest

from proxy.audit.flags import SUSPICIOUS
from proxy.settings import Settings
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


async def test_refusals_of_the_cluster_are_told_with_the_next_call(world: World) -> None:
    async def forbid(exchange: Exchange) -> None:
        await exchange.answer(ok(b"{}", status=b"403 Forbidden"))

    world.handler = forbid
    assert await calls(world, *[HOME] * 5) == ["", "", "", "", "denial-burst"]


@pytest.mark.parametrize("path", [SECRETS, f"{SECRETS}/db", f"{SECRETS}?labelSelector=a"])
async def test_reading_secrets_many_times(world: World, path: str) -> None:
    assert await calls(world, *[HOME] * 5, path=path) == ["", "", "", "secret-burst", ""]


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
