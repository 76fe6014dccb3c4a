"""Projects over REST: who may let what belong to them."""

import pytest

from proxy.cli.client import Client
from proxy.control.people.projects import gained
from proxy.errors import ConflictError, DeniedError, InvalidInputError, NotFoundError
from proxy.state.access import Place
from tests.control.organization import SHOP, found
from tests.control.plane import Plane, raw

PROD = [{"cluster": "prod", "namespaces": []}]


def test_a_project_from_first_to_last(plane: Plane) -> None:
    found(plane)
    client = plane.client()
    made = client.post("/projects", {"name": "app", "places": PROD, "description": "x"})
    assert (made["places"], made["createdBy"]) == (PROD, "admin")
    shown, version = client.versioned("/projects/app")
    assert shown == made
    places = [{"cluster": "prod", "namespaces": ["api", "web"]}]
    changed = client.change("PATCH", "/projects/app", {"places": places}, version=version)
    assert (changed["places"], changed["description"]) == (places, "x")
    assert raw(plane, "DELETE", "/api/v1/projects/app", If_Match=version)[0] == 412
    assert client.delete("/projects/app") is None
    with pytest.raises(ConflictError, match="in use"):
        client.delete("/projects/bank")
    event = plane.events("project.change")[-1]
    assert event["detail"]["before"]["places"] == PROD
    assert event["detail"]["after"]["places"] == places


def test_what_cannot_belong_to_a_project(plane: Plane) -> None:
    found(plane)
    client = plane.client()
    for places in ([{"cluster": "none"}], [{"cluster": ""}], [*PROD, *PROD], [{"cluster": "prod", "namespaces": ["A b"]}]):  # fmt: skip
        with pytest.raises((NotFoundError, InvalidInputError)):
            client.post("/projects", {"name": "app", "places": places})
    for name in ("A b", "-", "a/b"):
        with pytest.raises(InvalidInputError):
            client.post("/projects", {"name": name, "places": PROD})


def test_a_projects_own_administrator_takes_away_and_never_adds(plane: Plane) -> None:
    found(plane)
    boss = Client(plane.granted("boss", "project-admin", SHOP))
    assert boss.change("PATCH", "/projects/shop", {"description": "ours"})["description"] == "ours"
    for places in (
        [{"cluster": "prod"}, {"cluster": "test"}],
        [{"cluster": "prod"}, {"cluster": "test", "namespaces": ["web", "more"]}],
    ):
        with pytest.raises(DeniedError, match=r"project\.manage"):
            boss.change("PATCH", "/projects/shop", {"places": places})
    with pytest.raises(NotFoundError, match="no cluster 'vault'"):
        boss.change("PATCH", "/projects/shop", {"places": [{"cluster": "vault"}]})
    assert boss.change("PATCH", "/projects/shop", {"places": PROD})["places"] == PROD
    with pytest.raises(DeniedError):
        boss.delete("/projects/shop")


def test_roles_in_a_project_come_with_what_is_added_to_it(plane: Plane) -> None:
    found(plane)
    client = plane.client()
    client.post(
        "/roles",
        {
            "name": "planner",
            "scopes": ["organization"],
            "permissions": ["project.look", "project.manage", "cluster.look"],
        },
    )
    planner = Client(plane.granted("planner", "planner"))
    # Somebody is a project-admin of the bank: they would be one of prod as well.
    with pytest.raises(DeniedError):
        planner.change("PATCH", "/projects/bank", {"places": [{"cluster": "vault"}, *PROD]})
    assert client.change("PATCH", "/projects/bank", {"places": [{"cluster": "vault"}, *PROD]})


@pytest.mark.parametrize(
    ("before", "after", "new"),
    [
        ((), (Place("a"),), (Place("a"),)),
        ((Place("a"),), (), ()),
        ((Place("a"),), (Place("a", ("x",)),), ()),
        ((Place("a", ("x",)),), (Place("a"),), (Place("a"),)),
        ((Place("a", ("x",)),), (Place("a", ("x", "y")),), (Place("a", ("y",)),)),
        ((Place("a", ("x", "y")),), (Place("a", ("y",)), Place("b")), (Place("b"),)),
    ],
    ids=str,
)  # fmt: skip
def test_what_a_project_gains(
    before: tuple[Place, ...], after: tuple[Place, ...], new: tuple[Place, ...]
) -> None:
    assert gained(before, after) == new
