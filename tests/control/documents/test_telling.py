"""What documents change is found like everything else: by what was done, and to what."""

from collections.abc import Mapping
from typing import Any

import pytest

from proxy.cli.client import Client
from proxy.errors import KubewitnessError, NotFoundError, UnavailableError
from tests.control.plane import Plane
from tests.control.sample_documents import EVERYTHING, document, send, with_clusters

Event = Mapping[str, Any]


@pytest.fixture
def client(plane: Plane) -> Client:
    return with_clusters(plane.client())


def parts(plane: Plane) -> list[Event]:
    """The events that are parts of an apply, oldest first."""
    return [item for item in plane.events() if item["detail"].get("via") == "apply"]


def told(events: list[Event]) -> list[tuple[str, str, str]]:
    return [(item["action"], item["target"], item.get("outcome", "ok")) for item in events]


def test_each_change_is_an_act_of_its_own(plane: Plane, client: Client) -> None:
    send(client, *EVERYTHING, reason="merged #41")
    wanted = [
        ("group.add", "dev"),
        ("user.add", "rob"),
        ("role.add", "deployer"),
        ("project.add", "app"),
        ("grant.add", "group dev"),
        ("grant.add", "user rob"),
    ]
    found = parts(plane)
    assert told(found) == [
        *((action, target, "requested") for action, target in wanted),
        *((action, target, "ok") for action, target in wanted),
    ]
    intents, outcomes = found[:6], found[6:]
    assert [item["auditID"] for item in intents] == [item["auditID"] for item in outcomes]
    assert len({item["auditID"] for item in found}) == 6
    whole = plane.events("access.apply")
    assert {item["detail"]["apply"] for item in found} == {item["auditID"] for item in whole}
    assert {(item["actor"], *item["sourceIPs"]) for item in found} == {("admin", "127.0.0.1")}
    assert {item["detail"]["reason"] for item in found} == {"merged #41"}
    assert {item["detail"]["credential"] for item in found} == {whole[0]["detail"]["credential"]}
    assert outcomes[5]["detail"]["after"]["role"] == "deployer"
    assert "before" not in outcomes[5]["detail"]
    # The whole is begun before its parts, and is ended after them.
    order = [item["auditID"] for item in plane.events()]
    assert order.index(whole[0]["auditID"]) < order.index(intents[0]["auditID"])
    assert order[-1] == whole[0]["auditID"]


def test_they_are_found_as_what_their_own_routes_leave(plane: Plane, client: Client) -> None:
    send(client, *EVERYTHING)
    client.post("/users", {"name": "alice"})
    by_route = plane.events("user.add")[-1]
    by_documents = [item for item in parts(plane) if item["action"] == "user.add"][-1]
    assert by_documents["detail"]["after"].keys() == by_route["detail"]["after"].keys()
    role = document("Role", "deployer", scopes=["cluster"], permissions=[])
    send(client, document("User", "rob", displayName="R"), role)
    assert told(parts(plane))[-2:] == [("user.change", "rob", "ok"), ("role.replace", "deployer", "ok")]  # fmt: skip
    change = parts(plane)[-2]["detail"]
    assert (change["before"]["displayName"], change["after"]["displayName"]) == ("Rob Roy", "R")


def test_what_is_pruned_is_revoked_and_removed_by_name(plane: Plane, client: Client) -> None:
    send(client, *EVERYTHING)
    grants = {item["role"]: item["id"] for item in client.get("/grants")["items"]}
    send(
        client, document("Grant", group="dev", role="project-read-only", project="app"), prune=True
    )
    assert told(parts(plane))[-1] == ("grant.revoke", grants["deployer"], "ok")
    assert parts(plane)[-1]["detail"]["before"]["subject"] == {"kind": "user", "name": "rob"}
    send(client, document("User", "lou"), prune=True)
    assert told(parts(plane))[-2:] == [("user.add", "lou", "ok"), ("user.remove", "rob", "ok")]


def test_a_dry_run_and_nothing_to_do_have_no_parts(plane: Plane, client: Client) -> None:
    send(client, *EVERYTHING, dryRun=True)
    assert parts(plane) == []
    send(client, *EVERYTHING)
    count = len(parts(plane))
    assert send(client, *EVERYTHING) == []
    assert len(parts(plane)) == count


def test_what_fails_as_a_whole_failed_in_each_part(plane: Plane, client: Client) -> None:
    with pytest.raises(NotFoundError):
        send(client, document("Group", "dev"), document("User", "rob", groups=["none"]))
    found = parts(plane)
    assert [item.get("outcome", "ok")[:7] for item in found] == [*["request"] * 2, *["failed:"] * 2]
    assert "no group none" in found[2]["outcome"]
    assert all("after" not in item["detail"] for item in found), "it was undone"
    assert client.get("/groups")["items"] == []


def test_what_cannot_be_recorded_part_by_part_is_not_done(plane: Plane, client: Client) -> None:
    plane.journal.refuse_after = 2  # the intent of the whole, and that of one part
    with pytest.raises(KubewitnessError, match="Nothing was done"):
        send(client, *EVERYTHING)
    plane.journal.refuse, plane.journal.refuse_after = "", None
    assert client.get("/groups")["items"] == []


def test_what_was_done_without_all_its_outcomes_says_so(plane: Plane, client: Client) -> None:
    plane.journal.refuse_after = 1 + 6 + 3
    with pytest.raises(UnavailableError, match="It was done, but its outcome could not"):
        send(client, *EVERYTHING)
    plane.journal.refuse, plane.journal.refuse_after = "", None
    assert client.get("/users/rob")["name"] == "rob"
