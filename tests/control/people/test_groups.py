"""Groups over REST."""

import pytest

from proxy.errors import ConflictError, NotFoundError
from proxy.state.access import ORGANIZATION
from tests.control.organization import granted
from tests.control.plane import Plane, raw


def test_a_group_from_first_to_last(plane: Plane) -> None:
    client = plane.client()
    made = client.post("/groups", {"name": "dev", "description": "builds", "reason": "new team"})
    assert (made["name"], made["members"], made["createdBy"]) == ("dev", [], "admin")
    client.post("/users", {"name": "rob", "groups": ["dev"]})
    shown, version = client.versioned("/groups/dev")
    assert shown["members"] == ["rob"]
    changed = client.change("PATCH", "/groups/dev", {"description": "runs it"}, version=version)
    assert (changed["description"], changed["members"]) == ("runs it", ["rob"])
    assert raw(plane, "DELETE", "/api/v1/groups/dev", If_Match=version)[0] == 412
    granted(client, "dev", "auditor", ORGANIZATION, kind="group")
    with pytest.raises(ConflictError, match="in use"):
        client.delete("/groups/dev")
    [grant] = client.get("/grants", {"group": "dev"})["items"]
    client.post(f"/grants/{grant['id']}/revoke", {})
    assert client.delete("/groups/dev", {"reason": "dissolved"}) is None
    assert client.get("/users/rob")["groups"] == []
    with pytest.raises(NotFoundError):
        client.get("/groups/dev")
    event = plane.events("group.remove")[-1]
    assert event["detail"]["before"]["members"] == ["rob"]
    assert event["detail"]["reason"] == "dissolved"


def test_lists_come_in_pages(plane: Plane) -> None:
    client = plane.client()
    names = [f"g{number}" for number in range(5)]
    for name in names:
        client.post("/groups", {"name": name})
    assert [item["name"] for item in client.pages("/groups", {"limit": 2})] == names
    with pytest.raises(NotFoundError):
        client.get("/groups/none")
