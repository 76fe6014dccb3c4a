"""What each kind of document changes."""

import pytest

from proxy.cli.client import Client
from proxy.errors import DeniedError
from proxy.state.access import ORGANIZATION
from tests.control.organization import granted
from tests.control.plane import Plane
from tests.control.sample_documents import EVERYTHING, document, send, with_clusters


@pytest.fixture
def client(plane: Plane) -> Client:
    return with_clusters(plane.client())


def test_what_differs_is_changed_and_what_is_left_out_stays(client: Client) -> None:
    send(client, *EVERYTHING)
    assert send(client, document("User", "rob"), document("Group", "dev")) == []
    [change] = send(client, document("User", "rob", displayName="Robert"))
    assert change["action"] == "change"
    assert (change["before"]["displayName"], change["after"]["displayName"]) == (
        "Rob Roy",
        "Robert",
    )
    assert change["after"]["groups"] == ["dev"]
    [change] = send(client, document("Project", "app", places=[{"cluster": "prod"}]))
    assert change["after"]["places"] == [{"cluster": "prod", "namespaces": []}]
    ended, made = send(
        client,
        document(
            "Grant", user="rob", role="deployer", cluster="prod", expiresAt="2098-01-01T00:00Z"
        ),
    )
    assert (ended["action"], made["action"]) == ("remove", "add")
    assert made["after"]["expiresAt"].startswith("2098")
    [change] = send(client, document("User", "rob", disabled=True))
    assert change["after"]["status"] == "disabled"
    assert send(client, document("User", "rob", displayName="Robert")) == [], "stays disabled"


def test_a_role_that_grows_in_the_same_documents_is_worth_what_it_becomes(plane: Plane) -> None:
    client = plane.client()
    client.post("/roles", {"name": "small", "scopes": ["organization"]})
    client.post(
        "/roles",
        {
            "name": "clerk",
            "scopes": ["organization"],
            "permissions": ["role.manage", "grant.manage", "grant.look"],
        },
    )
    clerk = Client(plane.granted("clerk", "clerk"))
    grown = document("Role", "small", scopes=["organization"], permissions=["audit.export"])
    assert len(send(clerk, grown, dryRun=True)) == 1, "it is granted to nobody"
    with pytest.raises(DeniedError, match=r"audit\.export"):
        send(clerk, grown, document("Grant", user="clerk", role="small", organization=True))
    granted(client, "clerk", "small", ORGANIZATION)
    with pytest.raises(DeniedError, match=r"audit\.export"):
        send(clerk, grown)
