"""Issuing, renewing and revoking, with real certificates used on real connections."""

from typing import Any

import pytest
from cryptography import x509

from proxy.cli.client import Client
from proxy.errors import DeniedError, InvalidInputError, NotFoundError
from proxy.pki.keys import csr, new_key
from proxy.state.snapshot import Usage
from tests.control.plane import ADVERTISED, Plane


def request(**given: Any) -> dict[str, Any]:
    user = given.get("user", "alice")
    body = {"user": user, "groups": ["dev"], "clusters": ["prod"], "ttl": "8h"}
    return body | {"csr": csr(new_key(), user).decode()} | given


@pytest.fixture
def client(plane: Plane) -> Client:
    client = plane.client()
    for name in ("prod", "test"):
        client.post("/clusters", {"name": name, "inCluster": True})
    return client


def test_a_certificate_carries_the_user_and_is_known_at_once(plane: Plane, client: Client) -> None:
    issued = client.post("/credentials", request(groups=["dev", "dev", "ops"]))
    certificate = x509.load_pem_x509_certificate(issued["certificate"].encode())
    names = [(item.rfc4514_attribute_name, item.value) for item in certificate.subject]
    assert names == [("CN", "alice"), ("O", "dev"), ("O", "ops")]
    assert issued["serial"] == f"{certificate.serial_number:x}"
    assert (issued["server"], issued["reachable"]) == (ADVERTISED, ["prod"])
    known = plane.services.watcher.current.credentials[issued["serial"]]
    assert known.user == "alice"
    assert known.clusters == ("prod",)
    assert known.issued_by.startswith("admin (")


def test_a_star_reaches_every_cluster(client: Client) -> None:
    issued = client.post("/credentials", request(clusters=["*"]))
    assert issued["reachable"] == ["prod", "test"]


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"user": "system:admin"}, InvalidInputError, "system:"),
        ({"groups": ["system:masters"]}, InvalidInputError, "system:"),
        ({"groups": ["dev", "kubewitness:admin"]}, InvalidInputError, "kubewitness:"),
        ({"user": " alice"}, InvalidInputError, "blank"),
        ({"user": "a\x1bb"}, InvalidInputError, "control"),
        ({"user": ""}, InvalidInputError, "user"),
        ({"clusters": ["none"]}, NotFoundError, "'none'"),
        ({"clusters": []}, InvalidInputError, "no cluster"),
        ({"ttl": "31d"}, InvalidInputError, "longer than"),
        ({"ttl": "soon"}, InvalidInputError, "'soon' is not a lifetime"),
        ({"csr": "hello"}, InvalidInputError, "signing request"),
        ({"usage": "root"}, InvalidInputError, "usage"),
        ({"usage": "admin"}, InvalidInputError, "reaches no clusters"),
    ],
    ids=str,
)  # fmt: skip
def test_what_must_not_be_issued(
    shared: Plane, given: dict[str, Any], error: type[Exception], said: str
) -> None:
    client = shared.client()
    if not client.get("/clusters")["items"]:
        client.post("/clusters", {"name": "prod", "inCluster": True})
    with pytest.raises(error, match=said):
        client.post("/credentials", request(**given))
    assert [item["user"] for item in client.get("/credentials")["items"]] == ["admin"]


def test_renewing_keeps_the_identity_and_shortens_the_life(plane: Plane, client: Client) -> None:
    own = plane.credential("bob", Usage.RENEW, ttl=1200)
    issued = Client(own).post("/credentials/renew", {"csr": csr(new_key(), "root").decode()})
    assert (issued["user"], issued["groups"], issued["clusters"]) == ("bob", ["dev"], ["prod"])
    assert issued["usage"] == "kubectl"
    known = plane.services.watcher.current.credentials[issued["serial"]]
    assert known.not_after - plane.clock.now() <= 1200
    assert plane.events("credential.renew")[0]["actor"] == "bob"


def test_revoking_a_renewing_credential_takes_what_it_renewed(plane: Plane, client: Client) -> None:
    issued = client.post("/credentials", request(user="bob", usage="renew"))["serial"]
    other = client.post("/credentials", request(user="bob"))["serial"]
    own = plane.credential("bob", Usage.RENEW)
    renewed = Client(own).post("/credentials/renew", {"csr": csr(new_key(), "bob").decode()})[
        "serial"
    ]
    serial = next(
        item["serial"]
        for item in client.get("/credentials", {"user": "bob"})["items"]
        if item["serial"] not in (issued, other, renewed)
    )
    revoked = client.post(f"/credentials/{serial}/revoke", {})["items"]
    assert {item["serial"] for item in revoked} == {serial, renewed}
    left = client.get("/credentials", {"user": "bob"})["items"]
    assert {item["serial"] for item in left} == {issued, other}


def test_only_a_renewing_credential_renews(client: Client) -> None:
    with pytest.raises(DeniedError, match="is for admin, not for renew"):
        client.post("/credentials/renew", {"csr": csr(new_key(), "x").decode()})


def test_a_renewing_credential_only_renews(plane: Plane) -> None:
    renewing = Client(plane.credential("bob", Usage.RENEW))
    for path in ("/clusters", "/credentials", "/whoami", "/version", "/openapi.json"):
        with pytest.raises(DeniedError):
            renewing.get(path)
    with pytest.raises(DeniedError):
        renewing.post("/credentials", request())


def test_revoking_by_serial_and_by_user(plane: Plane, client: Client) -> None:
    first = client.post("/credentials", request())["serial"]
    second = client.post("/credentials", request())["serial"]
    client.post("/credentials", request(user="bob"))
    revoked = client.post(f"/credentials/{first}/revoke", {"reason": "laptop stolen"})["items"]
    assert [(item["serial"], item["status"], item["revokedReason"]) for item in revoked] == [
        (first, "revoked", "laptop stolen")
    ]
    rest = client.post("/credentials/revoke", {"user": "alice"})["items"]
    assert [item["serial"] for item in rest] == [second]
    assert {item["user"] for item in client.get("/credentials")["items"]} == {"admin", "bob"}
    everything = client.get("/credentials", {"all": True, "user": "alice"})["items"]
    assert {item["status"] for item in everything} == {"revoked"}
    outcomes = [
        event for event in plane.events("credential.revoke") if event["detail"].get("revoked")
    ]
    assert [event["detail"]["revoked"] for event in outcomes] == [[first], [second]]


def test_no_answer_and_no_record_holds_a_key(plane: Plane, client: Client) -> None:
    client.post("/credentials", request())
    texts = [str(plane.journal.durable), str(client.get("/credentials", {"all": True}))]
    for text in texts:
        assert "PRIVATE KEY" not in text
        assert "CERTIFICATE REQUEST" not in text


def test_pages_together_are_the_whole_also_of_what_is_seen_in_part(plane: Plane) -> None:
    for name in ("ann", "bob", "ann", "cy", "ann"):
        plane.credential(name)
    client = plane.client()
    whole = [item["serial"] for item in client.get("/credentials")["items"]]
    assert [item["serial"] for item in client.pages("/credentials", {"limit": 1})] == whole
    assert [item["serial"] for item in client.pages("/credentials", {"limit": 2})] == whole
    anns = client.get("/credentials", {"user": "ann"})["items"]
    assert list(client.pages("/credentials", {"user": "ann", "limit": 1})) == anns
    assert len(anns) == 3
    with pytest.raises(InvalidInputError, match="cursor"):
        client.get("/credentials", {"cursor": "AAAA"})
