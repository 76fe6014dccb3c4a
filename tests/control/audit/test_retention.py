"""Retention over the API: two people agree, everything is on record first, nothing is removed."""

import pytest

from proxy.cli.client import Client
from proxy.errors import (
    ConflictError,
    DeniedError,
    InvalidInputError,
    KubewitnessError,
    NotFoundError,
)
from tests.control.plane import Plane


@pytest.fixture
def ann(plane: Plane) -> Client:
    return Client(plane.granted("ann", "admin"))


@pytest.fixture
def bob(plane: Plane) -> Client:
    return Client(plane.granted("bob", "admin"))


def outcomes(plane: Plane, action: str) -> list[str]:
    return [line["outcome"] for line in plane.journal.durable if line.get("action") == action]


PARTS = {"partitions": ["events_d20250101", "events_m202412"], "archive": "/archive"}


def test_nothing_begins_before_two_people_agreed(plane: Plane, ann: Client, bob: Client) -> None:
    made = ann.post("/retentions", {"olderThanDays": 400, "reason": "policy 12"})
    path = f"/retentions/{made['id']}"
    assert (made["proposedBy"], made["approved"]) == ("ann", False)
    for approver in (None, ann):
        if approver is not None:
            approver.post(f"{path}/approve")
        with pytest.raises(DeniedError, match="of 2 approvals"):
            ann.post(f"{path}/begin", PARTS)
    with pytest.raises(ConflictError, match="'ann' has approved"):
        ann.post(f"{path}/approve")
    assert bob.post(f"{path}/approve")["approved"] is True
    assert ann.post(f"{path}/begin", PARTS)["approvedBy"] == ["ann", "bob"]
    ann.post(f"{path}/end", {"partitions": PARTS["partitions"], "records": 7})
    assert ann.get("/retentions")["items"][0]["approvedBy"] == ["ann", "bob"]
    begun = [line for line in plane.journal.durable if line.get("action") == "audit.retain.begin"]
    assert [line["outcome"].split(":")[0] for line in begun] == [
        *("requested", "denied") * 2,
        *("requested", "ok"),
    ]
    assert begun[-2]["detail"]["partitions"] == PARTS["partitions"], "before anything is removed"
    assert outcomes(plane, "audit.retain.end") == ["requested", "ok"]


def test_a_hold_needs_a_second_person_to_end(plane: Plane, ann: Client, bob: Client) -> None:
    made = ann.post("/legal-holds", {"reason": "case 7", "since": "2026-01-01"})
    assert (made["since"], made["until"]) == ("2026-01-01T00:00:00.000000Z", "")
    with pytest.raises(DeniedError, match="somebody else"):
        ann.post(f"/legal-holds/{made['id']}/release", {"reason": "over"})
    assert bob.post(f"/legal-holds/{made['id']}/release", {"reason": "over"})["releasedBy"] == "bob"
    assert ann.get("/legal-holds")["items"][0]["releaseReason"] == "over"
    assert outcomes(plane, "audit.hold.place") == ["requested", "ok"]


@pytest.mark.parametrize(
    ("path", "body", "error"),
    [
        ("/retentions", {"olderThanDays": 10, "reason": "x"}, InvalidInputError),
        ("/retentions", {"olderThanDays": 400}, InvalidInputError),
        ("/retentions/none/approve", None, NotFoundError),
        ("/retentions/none/begin", PARTS, NotFoundError),
        ("/retentions/none/begin", PARTS | {"partitions": ["yesterday"]}, InvalidInputError),
        ("/retentions/none/end", {"partitions": [], "records": -1}, InvalidInputError),
        ("/legal-holds", {"reason": "x", "since": "when?"}, InvalidInputError),
        ("/legal-holds", {"reason": " "}, InvalidInputError),
        ("/legal-holds/none/release", {"reason": "x"}, NotFoundError),
    ],
)
def test_what_is_refused(
    ann: Client, path: str, body: dict[str, object] | None, error: type[KubewitnessError]
) -> None:
    with pytest.raises(error):
        ann.post(path, body)
