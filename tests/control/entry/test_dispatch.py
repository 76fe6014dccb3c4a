"""Every way into the control plane: who is let in, what is recorded, and when nothing happens."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proxy.cli.client import Client
from proxy.errors import (
    DeniedError,
    KubewitnessError,
    NotFoundError,
    UnavailableError,
)
from proxy.settings import Limits
from proxy.state.snapshot import Usage
from tests.control.plane import Plane, raw


def test_a_connection_without_a_certificate_is_told_so_and_recorded(shared: Plane) -> None:
    status, headers, problem = raw(shared, "GET", "/api/v1/clusters", anonymous=True)
    assert status == 401
    assert headers["Content-Type"] == "application/problem+json"
    assert problem["type"] == "urn:kubewitness:unauthenticated"
    assert "no client certificate" in problem["detail"]
    assert problem["hint"]
    event = shared.events()[-1]
    assert event["action"] == "listClusters"
    assert event["outcome"].startswith("denied: ")
    assert event["sourceIPs"] == ["127.0.0.1"]
    assert problem["instance"] == f"urn:uuid:{event['auditID']}"


@pytest.mark.parametrize("usage", [Usage.KUBECTL, Usage.RENEW])
def test_other_credentials_are_denied_by_name(shared: Plane, usage: Usage) -> None:
    client = Client(shared.credential("mallory", usage))
    with pytest.raises(DeniedError, match=f"is for {usage}, not for admin"):
        client.get("/clusters")
    event = shared.events()[-1]
    assert event["actor"] == "mallory"
    assert event["outcome"].startswith("denied: ")


def test_a_revoked_admin_is_refused_at_the_next_request(plane: Plane) -> None:
    other = plane.granted("carol", "admin")
    assert Client(other).get("/whoami")["user"] == "carol"
    plane.client().post("/credentials/revoke", {"user": "carol", "reason": "left"})
    with pytest.raises(DeniedError, match="was revoked"):
        Client(other).get("/whoami")


def test_a_certificate_of_another_authority_never_gets_in(plane: Plane, tmp_path: Any) -> None:
    with Plane(tmp_path / "other") as other:
        stranger = replace(
            plane.admin(), certificate=other.admin().certificate, key=other.admin().key
        )
    with pytest.raises(KubewitnessError, match="certificate"):
        Client(stranger).get("/whoami")


def test_an_act_is_recorded_before_and_after(plane: Plane) -> None:
    plane.client().post("/clusters", {"name": "prod", "kubeconfig": "secret: hunter2"})
    intent, outcome = plane.events("cluster.add")
    assert intent["outcome"] == "requested"
    assert outcome["outcome"] == "ok" if "outcome" in outcome else True
    assert intent["auditID"] == outcome["auditID"]
    for event in (intent, outcome):
        assert event["actor"] == "admin"
        assert event["target"] == "prod"
        assert event["sourceIPs"] == ["127.0.0.1"]
        assert "hunter2" not in json.dumps(event)
    assert outcome["detail"]["after"]["server"] == "https://cluster.example:6443"


def test_a_failed_act_says_why_in_the_record(plane: Plane) -> None:
    plane.clusters.failure = "connection refused"
    with pytest.raises(UnavailableError, match="connection refused"):
        plane.client().post("/clusters", {"name": "prod", "kubeconfig": "x"})
    assert [event["outcome"] for event in plane.events("cluster.add")] == [
        "requested",
        "failed: connection refused",
    ]
    assert plane.client().get("/clusters")["items"] == []


def test_without_a_record_nothing_is_done(plane: Plane) -> None:
    client = plane.client()
    plane.journal.refuse = "no space left on device"
    with pytest.raises(UnavailableError, match=r"Nothing was done.*no space left"):
        client.post("/clusters", {"name": "prod", "kubeconfig": "x"})
    plane.journal.refuse = ""
    assert client.get("/clusters")["items"] == []
    assert plane.clusters.kubeconfigs == []


def test_a_lost_outcome_is_not_reported_as_success(plane: Plane) -> None:
    client = plane.client()
    plane.journal.refuse_after = 1
    with pytest.raises(
        UnavailableError, match="It was done, but its outcome could not be recorded"
    ):
        client.post("/clusters", {"name": "prod", "kubeconfig": "x"})


def test_a_refusal_that_cannot_be_recorded_is_a_503(plane: Plane) -> None:
    plane.journal.refuse = "no space left on device"
    status, _, problem = raw(plane, "GET", "/api/v1/clusters", anonymous=True)
    assert status == 503
    assert problem["type"] == "urn:kubewitness:unavailable"


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_sites_cannot_use_a_browsers_certificate(shared: Plane, site: str) -> None:
    status, _, _ = raw(shared, "POST", "/api/v1/clusters/prod/check", Sec_Fetch_Site=site)
    assert status == 403
    assert shared.events("cluster.check")[-1]["outcome"].startswith("denied: ")


def test_a_defect_tells_the_caller_nothing(plane: Plane) -> None:
    plane.clusters.bug = "hunter2"
    body = b'{"name": "a", "inCluster": true}'
    status, _, problem = raw(plane, "POST", "/api/v1/clusters", body)
    assert status == 500
    assert "hunter2" not in json.dumps(problem)
    assert plane.events("cluster.add")[-1]["outcome"] == "failed: internal error"


@pytest.mark.parametrize(
    ("path", "error"),
    [("/clusters/none/check", NotFoundError), ("/credentials/0af/revoke", NotFoundError)],
)
def test_errors_keep_their_kind_on_the_way_to_the_client(
    plane: Plane, path: str, error: type[KubewitnessError]
) -> None:
    with pytest.raises(error):
        plane.client().post(path, {} if "revoke" in path else None)


def test_a_flood_without_a_credential_is_a_few_records_and_a_sum(tmp_path: Path) -> None:
    with Plane(tmp_path / "d", Limits(recorded_refusals=5)) as plane:
        before = len(plane.events())
        answers = [
            raw(plane, "GET", f"/api/v1/projects/{'x' * 5000}", anonymous=True) for _ in range(12)
        ]
        assert {status for status, _, _ in answers} == {401}
        assert ["instance" in problem for *_, problem in answers] == [True] * 5 + [False] * 7
        events = plane.events()[before:]
        assert len(events) == 5
        assert {len(event["target"]) < 400 for event in events} == {True}
        assert all("SHA-256" in event["target"] for event in events)
        Client(plane.credential("mallory", Usage.ADMIN)).get("/whoami")
        plane.run(closed(plane))
        Client(plane.admin()).get("/whoami")
        event = plane.events("refusals.sum")[-1]
    assert (event["target"], event["detail"]["count"]) == ("control", 7)
    assert event["detail"]["reasons"] == {"control-denied": 7}


async def closed(plane: Plane) -> None:
    """In the loop of the plane: its sums are recorded now."""
    plane.services.strangers.close()
