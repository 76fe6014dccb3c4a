"""Why somebody may do something, over REST, without names that the asker does not get to see."""

from typing import Any

import pytest

from proxy.cli.client import Client
from proxy.control.people.explain import not_by_a_grant
from proxy.errors import DeniedError, InvalidInputError, NotFoundError
from proxy.state.access import ORGANIZATION
from proxy.state.snapshot import Usage
from tests.control.organization import SHOP, WEB, found, granted
from tests.control.plane import Plane


def ask(client: Client, **given: Any) -> dict[str, Any]:
    body = {
        "user": "seller",
        "cluster": "prod",
        "verb": "get",
        "resource": "pods",
        "namespace": "web",
    }
    said: dict[str, Any] = client.post("/access/explain", body | given)
    return said


def test_what_allows_and_what_is_missing(plane: Plane) -> None:
    found(plane)
    client = plane.client()
    said = ask(client)
    [grant] = client.get("/grants", {"group": "sellers"})["items"]
    assert (said["allowed"], said["governed"], said["grant"]) == (True, True, grant["id"])
    assert said["considered"][0]["scope"] == grant["scope"]
    for given in (
        {"verb": "delete"},
        {"verb": "exec"},
        {"resource": "secrets"},
        {"namespace": "x"},
    ):
        said = ask(client, **given)
        assert (said["allowed"], bool(said["missing"])) == (False, True), given
    assert "kubernetes.exec" in str(ask(client, verb="exec")["missing"])
    assert ask(client, resource="", path="/version", namespace="")["allowed"] is True
    event = plane.events("access.explain")[-1]
    assert (event["target"], event["detail"]["what"]) == ("user seller", "/version")


def test_who_is_not_registered_is_the_clusters_to_judge(plane: Plane) -> None:
    found(plane)
    said = ask(plane.client(), user="stranger")
    assert (said["allowed"], said["governed"]) == (False, False)
    assert "cluster's own rules" in said["why"]
    assert ask(plane.client(), user="stranger", groups=["sellers"])["allowed"] is True


def test_who_is_not_registered_is_refused_where_that_is_said() -> None:
    assert "the cluster's own rules decide" in not_by_a_grant("rob", "cluster")
    assert "access.unregistered refuses" in not_by_a_grant("rob", "refuse")


def test_everybody_may_ask_about_themselves_and_no_further(plane: Plane) -> None:
    found(plane)
    own = Client(plane.credential("seller", Usage.ADMIN))
    assert ask(own)["allowed"] is True
    with pytest.raises(DeniedError, match=r"grant\.look"):
        ask(own, user="banker")


def test_grants_beyond_the_askers_sight_stay_there(plane: Plane) -> None:
    found(plane)
    client = plane.client()
    hidden = granted(client, "seller", "admin-read-only", ORGANIZATION)
    granted(client, "seller", "namespace-admin", WEB)
    boss = Client(plane.granted("boss", "project-admin", SHOP))
    said = ask(boss, resource="nodes", namespace="")
    assert said["allowed"] is True
    assert (said["grant"], "beyond what you get to see" in said["why"]) == ("", True)
    assert hidden not in str(said)
    assert "organization" not in str(said)
    with pytest.raises(DeniedError):
        ask(boss, cluster="vault")
    with pytest.raises(DeniedError):
        ask(boss, cluster="test", namespace="other")


def test_what_is_no_question(plane: Plane) -> None:
    found(plane)
    with pytest.raises(InvalidInputError, match="resource or a path"):
        ask(plane.client(), path="/metrics")
    with pytest.raises(NotFoundError, match="'none'"):
        ask(plane.client(), cluster="none")
