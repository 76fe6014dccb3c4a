"""Documents applied: what is planned is what is done, all of it or nothing."""

import json
from typing import Any

import pytest

from proxy.cli.client import Client
from proxy.errors import ConflictError, DeniedError, InvalidInputError, NotFoundError
from tests.control.organization import SHOP, found
from tests.control.plane import Plane
from tests.control.sample_documents import EVERYTHING, document, send, with_clusters


@pytest.fixture
def client(plane: Plane) -> Client:
    return with_clusters(plane.client())


def test_everything_in_any_order_and_nothing_the_second_time(plane: Plane, client: Client) -> None:
    planned = send(client, *EVERYTHING, dryRun=True)
    assert [(item["action"], item["kind"], item["name"]) for item in planned] == [
        ("add", "Group", "dev"),
        ("add", "User", "rob"),
        ("add", "Role", "deployer"),
        ("add", "Project", "app"),
        ("add", "Grant", "group/dev project-read-only project/app"),
        ("add", "Grant", "user/rob deployer cluster/prod"),
    ]
    assert client.get("/groups")["items"] == [], "nothing was done"
    done = send(client, *EVERYTHING, reason="merged #41")

    def plain(changes: list[dict[str, Any]]) -> Any:
        text = json.dumps([item["after"] for item in changes], sort_keys=True)
        items = json.loads(text)
        for item in items:
            for member in ("createdAt", "id", "reason"):
                item.pop(member, None)
        return items

    assert plain(done) == plain(planned)
    assert send(client, *EVERYTHING) == []
    assert client.get("/users/rob")["groups"] == ["dev"]
    assert client.get("/groups/dev")["members"] == ["rob"]
    reasons = {item["role"]: item["reason"] for item in client.get("/grants")["items"]}
    assert reasons == {"project-read-only": "they build it", "deployer": "merged #41"}
    outcome = [event for event in plane.events("access.apply") if "changes" in event["detail"]][1]
    assert outcome["detail"]["reason"] == "merged #41"
    assert outcome["detail"]["changes"][0]["after"]["name"] == "dev"


def test_all_or_nothing(client: Client) -> None:
    bad = document("Project", "app", places=[{"cluster": "none"}])
    with pytest.raises(NotFoundError, match=r"objects\[1\]: .*'none'"):
        send(client, document("Group", "dev"), bad)
    # Refused by the database, after the first step.
    with pytest.raises(NotFoundError, match=r"objects\[1\]: .*no group none"):
        send(client, document("Group", "dev"), document("User", "rob", groups=["none"]))
    assert client.get("/groups")["items"] == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (document("User", "rob", colour="red"), r"colour"),
        (document("Robot", "rob"), "Robot"),
        ({"kind": "User", "metadata": {"name": "rob"}}, "apiVersion"),
        (document("User", "admin"), "machine's own administrator"),
        (document("Role", "admin", scopes=["organization"]), r"objects\[0\]: .*built in"),
        (document("Grant", user="rob", group="dev", role="admin"), r"objects\[0\]: .*name one"),
        (document("Grant", role="admin"), r"objects\[0\]"),
        (document("Grant", user="rob", role="admin", cluster="prod"), "cannot be granted"),
        (document("Grant", user="rob", role="admin", organization=True, expiresAt="30d"), "again and again"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_applied(client: Client, given: dict[str, Any], said: str) -> None:
    with pytest.raises((InvalidInputError, NotFoundError, ConflictError), match=said):
        send(client, given)


def test_each_change_is_one_that_the_caller_may_make(plane: Plane) -> None:
    found(plane)
    boss = Client(plane.granted("boss", "project-admin", SHOP))
    for refused in (
        document("User", "mallory"),
        document("Group", "more"),
        document("Role", "more", scopes=["project"]),
        document("Project", "more"),
        document("Project", "shop", places=[{"cluster": "prod"}, {"cluster": "test"}]),
        document("Grant", user="seller", role="project-read-only", project="bank"),
        document("Grant", user="seller", role="admin", organization=True),
    ):
        with pytest.raises((DeniedError, NotFoundError)):
            send(boss, refused)
    grant = document("Grant", user="seller", role="project-read-only", project="shop")
    assert len(send(boss, grant)) == 1
    # What is not the project's is not pruned, and not seen.
    ended = {item["name"] for item in send(boss, grant, prune=True, dryRun=True)}
    assert ended == {"group/sellers namespace-read-only namespace/prod/web", "user/boss project-admin project/shop"}  # fmt: skip
