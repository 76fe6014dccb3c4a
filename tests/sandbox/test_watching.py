"""Watches over plain HTTP, as informers make them."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from proxy.sandbox import Sandbox
from proxy.sandbox.kinds import CONFIG_MAP, NAMESPACE
from proxy.sandbox.store import Store

PATH = "/api/v1/namespaces/quiet/configmaps"
Event = dict[str, Any]


class Client:
    def __init__(self, session: aiohttp.ClientSession, sandbox: Sandbox) -> None:
        self.session = session
        self.registry = sandbox.registry

    def create(self, name: str, **labels: str) -> None:
        meta = {"name": name, "labels": labels}
        self.registry.create(CONFIG_MAP, "quiet", {"metadata": meta})

    def delete(self, name: str) -> None:
        self.registry.delete(CONFIG_MAP, self.registry.require(CONFIG_MAP, "quiet", name))

    def relabel(self, name: str, **labels: str) -> None:
        item = self.registry.require(CONFIG_MAP, "quiet", name)
        self.registry.mutate(CONFIG_MAP, item, lambda it: it["metadata"].update(labels=labels))

    def version(self) -> int:
        return self.registry.store.revision

    async def watch(self, count: int, query: str, accept: str = "application/json") -> list[Event]:
        """The first `count` events of a watch."""
        headers = {"Accept": accept}
        async with self.session.get(f"{PATH}?watch=1&{query}", headers=headers) as response:
            assert response.status == 200
            async with asyncio.timeout(5):
                return [json.loads(await response.content.readline()) for _ in range(count)]


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    sandbox = Sandbox()
    url = await sandbox.start()
    sandbox.registry.create(NAMESPACE, "", {"metadata": {"name": "quiet"}})
    token = sandbox.kubeconfig()["users"][0]["user"]["token"]
    headers = {"Authorization": f"Bearer {token}", "Impersonate-User": "alice"}
    async with aiohttp.ClientSession(url, headers=headers) as session:
        yield Client(session, sandbox)
    await sandbox.stop()


def told(events: list[Event]) -> list[tuple[str, str]]:
    return [(event["type"], event["object"]["metadata"].get("name", "")) for event in events]


async def test_a_watch_starts_with_what_is_there(client: Client) -> None:
    client.create("a")
    assert told(await client.watch(1, "")) == [("ADDED", "a")]


async def test_a_watch_from_a_version_tells_what_happened_since(client: Client) -> None:
    client.create("a")
    since = client.version()
    client.create("b")
    client.relabel("a", x="1")
    client.delete("b")
    events = await client.watch(3, f"resourceVersion={since}")
    assert told(events) == [("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(set(versions))


async def test_a_watch_goes_on_with_what_happens_next(client: Client) -> None:
    watching = asyncio.ensure_future(client.watch(2, f"resourceVersion={client.version()}"))
    await asyncio.sleep(0.05)
    client.create("a")
    client.delete("a")
    assert told(await watching) == [("ADDED", "a"), ("DELETED", "a")]


async def test_selectors_turn_changes_into_comings_and_goings(client: Client) -> None:
    since = client.version()
    client.create("a", tier="low")
    client.relabel("a", tier="high")
    client.relabel("a", tier="low")
    events = await client.watch(2, f"resourceVersion={since}&labelSelector=tier%3Dhigh")
    assert told(events) == [("ADDED", "a"), ("DELETED", "a")]


async def test_a_watch_list_ends_its_list_with_a_bookmark(client: Client) -> None:
    client.create("a")
    query = "sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan"
    added, mark = await client.watch(2, query)
    assert told([added]) == [("ADDED", "a")]
    assert mark["type"] == "BOOKMARK"
    assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_the_forgotten_past_is_an_error_event(client: Client) -> None:
    small = Store(history=1)
    small.load(client.registry.store.dump())
    client.registry.store = small
    since = client.version()
    client.create("a")
    client.create("b")
    (event,) = await client.watch(1, f"resourceVersion={since}")
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == (
        "ERROR",
        410,
        "Expired",
    )


async def test_tables_name_their_columns_once(client: Client) -> None:
    client.create("a")
    client.create("b")
    events = await client.watch(2, "", "application/json;as=Table;v=v1;g=meta.k8s.io")
    assert [event["object"]["kind"] for event in events] == ["Table", "Table"]
    assert [bool(event["object"]["columnDefinitions"]) for event in events] == [True, False]


async def test_a_watch_ends_when_its_time_is_over(client: Client) -> None:
    async with client.session.get(f"{PATH}?watch=true&timeoutSeconds=1") as response:
        assert await response.read() == b""


async def test_lists_come_in_pages(client: Client) -> None:
    for name in ("a", "b", "c"):
        client.create(name)
    async with client.session.get(f"{PATH}?limit=2") as response:
        page = await response.json()
    assert [item["metadata"]["name"] for item in page["items"]] == ["a", "b"]
    assert page["metadata"]["remainingItemCount"] == 1
    async with client.session.get(
        f"{PATH}?limit=2&continue={page['metadata']['continue']}"
    ) as response:
        page = await response.json()
    assert [item["metadata"]["name"] for item in page["items"]] == ["c"]
    assert "continue" not in page["metadata"]


@pytest.mark.parametrize(
    ("query", "code"),
    [("limit=x", 400), ("labelSelector=%3D", 400), ("continue=nonsense", 400)],
)
async def test_bad_queries_are_refused(client: Client, query: str, code: int) -> None:
    async with client.session.get(f"{PATH}?{query}") as response:
        body = await response.json()
    assert (response.status, body["status"], body["code"]) == (code, "Failure", code)
