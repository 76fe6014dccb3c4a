"""The authority over the API: rotated with overlap, on record, by administrators only."""

import pytest

from proxy.cli.client import Client
from proxy.errors import DeniedError
from proxy.state.snapshot import Usage
from tests.control.plane import Plane


def test_rotation_signs_anew_and_keeps_trusting_the_former(plane: Plane) -> None:
    client = plane.client()
    before = client.get("/authority")
    assert before["external"] is False
    assert [item["fingerprint"] for item in before["trusted"]] == [before["current"]["fingerprint"]]
    after = client.post("/authority/rotate")
    assert after["current"]["fingerprint"] != before["current"]["fingerprint"]
    trusted = [item["fingerprint"] for item in after["trusted"]]
    assert trusted == [after["current"]["fingerprint"], before["current"]["fingerprint"]]


def test_rotation_is_on_record_before_and_after(plane: Plane) -> None:
    made = plane.client().post("/authority/rotate")
    events = [line for line in plane.journal.durable if line.get("action") == "authority.rotate"]
    assert [event["outcome"] for event in events] == ["requested", "ok"]
    assert events[1]["detail"]["fingerprint"] == made["current"]["fingerprint"]


def test_only_administrators_may(plane: Plane) -> None:
    renewing = Client(plane.credential("alice", Usage.RENEW))
    with pytest.raises(DeniedError):
        renewing.post("/authority/rotate")
    with pytest.raises(DeniedError):
        renewing.get("/authority")
