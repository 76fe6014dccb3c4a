"""What a pruning takes away, and what it never does."""

import pytest

from proxy.cli.client import Client
from proxy.errors import ConflictError
from tests.control.plane import Plane
from tests.control.sample_documents import EVERYTHING, document, send, with_clusters


@pytest.fixture
def client(plane: Plane) -> Client:
    return with_clusters(plane.client())


def test_pruning_takes_away_what_is_not_mentioned_of_the_kinds_that_are(client: Client) -> None:
    send(client, *EVERYTHING, document("User", "eve"))
    kept = [item for item in EVERYTHING if item["spec"].get("role") != "deployer"]
    kept = [item for item in kept if item["kind"] != "Role"]
    assert {item["kind"] for item in kept} == {"Grant", "Project", "User", "Group"}
    planned = send(client, *kept, prune=True, dryRun=True)
    done = send(client, *kept, prune=True)
    names = [(item["action"], item["kind"], item["name"]) for item in done]
    assert names == [
        ("remove", "Grant", "user/rob deployer cluster/prod"),
        ("remove", "User", "eve"),
    ]
    assert [item["name"] for item in planned] == [item["name"] for item in done]
    assert client.get("/users/eve")["status"] == "disabled"
    assert client.get("/roles/deployer")["name"] == "deployer", "no role was mentioned"
    assert send(client, *kept, prune=True) == []


def test_nobody_removes_themselves_by_forgetting_to_mention_it(
    plane: Plane, client: Client
) -> None:
    ann = Client(plane.granted("ann", "admin"))
    with pytest.raises(ConflictError, match="remove yourself"):
        send(ann, document("User", "rob"), prune=True)
    other = document("Grant", user="ann", role="auditor", organization=True)
    with pytest.raises(ConflictError, match="makes you an administrator"):
        send(ann, other, prune=True)
    mine = document("Grant", user="ann", role="admin", organization=True)
    assert [item["action"] for item in send(ann, other, mine, prune=True)] == ["add"]
    # The machine's own administrator needs no grant, so it may take all of them.
    ended = send(client, other, prune=True)
    assert [item["name"] for item in ended] == ["user/ann admin organization"]
