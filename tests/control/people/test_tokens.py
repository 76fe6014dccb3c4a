"""API tokens: shown once, worth no more than they are for, refused when they do not count."""

import json
from typing import Any

import pytest

from proxy.cli.client import Client
from proxy.errors import DeniedError, InvalidInputError, NotFoundError
from proxy.state.access import ORGANIZATION
from proxy.state.snapshot import Usage
from tests.control.organization import BANK, SHOP, found, granted
from tests.control.plane import Plane, raw


def make(plane: Plane, user: str = "ci", **given: Any) -> dict[str, Any]:
    """A token of a registered service, as the API shows it once."""
    client = plane.client()
    if user not in plane.services.watcher.current.access.users:
        client.post("/users", {"name": user, "kind": "service"})
    body = {"user": user, "permissions": ["cluster.look"], "expiresAt": "90d"}
    made: dict[str, Any] = client.post("/tokens", body | given)
    return made


def ask(
    plane: Plane, token: str, method: str = "GET", path: str = "/clusters", **given: Any
) -> Any:
    """Status and answer to a request that shows a token and no certificate."""
    body = given.pop("body", None)
    content = None if body is None else json.dumps(body).encode()
    status, _, answer = raw(
        plane, method, "/api/v1" + path, content, anonymous=True, Authorization=f"Bearer {token}", **given
    )  # fmt: skip
    return status, answer


def test_a_token_is_shown_once_and_kept_nowhere(plane: Plane) -> None:
    made = make(plane)
    secret = made["token"].removeprefix(f"kwt_{made['id']}_")
    assert made["token"].startswith(f"kwt_{made['id']}_")
    [listed] = plane.client().get("/tokens")["items"]
    assert listed == {key: value for key, value in made.items() if key != "token"}
    ask(plane, made["token"])
    kept = json.dumps(plane.journal.durable) + str(plane.services.watcher.current.tokens)
    assert len(secret) == 43
    assert secret not in kept
    assert made["token"] not in kept


def test_it_may_do_what_both_it_and_its_user_may(plane: Plane) -> None:
    found(plane)
    made = make(plane)
    assert ask(plane, made["token"])[0] == 403, "its user was granted nothing"
    granted(plane.client(), "ci", "project-admin", SHOP)
    status, answer = ask(plane, made["token"])
    assert (status, [item["name"] for item in answer["items"]]) == (200, ["prod", "test"])
    status, answer = ask(plane, made["token"], path="/grants")
    assert status == 403
    assert "not for grant.look" in answer["detail"]
    assert ask(plane, made["token"], path="/whoami")[1]["token"] == made["id"]


def test_it_reaches_no_further_than_its_scope(plane: Plane) -> None:
    found(plane)
    granted(plane.client(), "seller", "project-admin", SHOP)
    granted(plane.client(), "seller", "project-admin", BANK)
    everywhere = make(plane, "seller")["token"]
    there = make(plane, "seller", scope={"kind": "cluster", "cluster": "prod"})["token"]
    names = [item["name"] for item in ask(plane, everywhere)[1]["items"]]
    assert names == ["prod", "test", "vault"]
    assert [item["name"] for item in ask(plane, there)[1]["items"]] == ["prod"]
    assert ask(plane, there, "POST", "/clusters/vault/check")[0] == 404


@pytest.mark.parametrize(
    "spoiled",
    [
        lambda token: token[:-1] + ("A" if token[-1] != "A" else "B"),
        lambda token: token.replace("kwt_0", "kwt_f"),
        lambda token: "kwt_",
        lambda token: token + "A",
        lambda token: f"x {token}",
        lambda token: "",
    ],
    ids=["another secret", "another id", "begun", "longer", "after a word", "empty"],
)
def test_what_is_not_a_token_is_refused_alike_and_recorded_without_it(
    plane: Plane, spoiled: Any
) -> None:
    made = make(plane)
    wrong = spoiled(made["token"])
    status, answer = ask(plane, wrong)
    assert status == 401
    assert answer["type"] == "urn:kubewitness:unauthenticated"
    event = plane.events("listClusters")[-1]
    assert event["outcome"].startswith("denied: ")
    assert made["token"].rpartition("_")[2] not in json.dumps(plane.journal.durable)
    assert "secret" not in answer["detail"]


def test_an_expired_a_revoked_and_a_disabled_one_are_refused(plane: Plane) -> None:
    made, client = make(plane), plane.client()
    assert ask(plane, made["token"], path="/version")[0] == 200
    client.change("PATCH", "/users/ci", {"disabled": True})
    assert ask(plane, made["token"], path="/version")[0] == 401
    client.change("PATCH", "/users/ci", {"disabled": False})
    assert ask(plane, made["token"], path="/version")[0] == 200
    gone = client.post(f"/tokens/{made['id']}/revoke", {"reason": "was in a log"})
    assert (gone["status"], gone["revokedReason"]) == ("revoked", "was in a log")
    assert ask(plane, made["token"], path="/version")[0] == 401
    assert client.get("/tokens")["items"] == []
    assert len(client.get("/tokens", {"all": True})["items"]) == 1
    event = plane.events("token.revoke")[-1]
    assert event["detail"]["after"]["status"] == "revoked"


def test_with_a_certificate_both_must_be_of_one_user(plane: Plane) -> None:
    made = make(plane)
    own = plane.granted("ci", "admin")
    bearer = f"Bearer {made['token']}"
    status, _, answer = raw(plane, "GET", "/api/v1/whoami", server=own, Authorization=bearer)
    assert (status, answer["user"], answer["token"]) == (200, "ci", made["id"])
    # The token says what may be done, although the certificate alone could do more.
    assert raw(plane, "GET", "/api/v1/users", server=own, Authorization=bearer)[0] == 403
    status, _, answer = raw(plane, "GET", "/api/v1/whoami", Authorization=bearer)
    assert status == 401
    assert "not of admin" in answer["detail"]


def test_other_schemes_are_refused(plane: Plane) -> None:
    status, _, _ = raw(plane, "GET", "/api/v1/version", Authorization="Basic YTpi")
    assert status == 401


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"expiresAt": "2y"}, InvalidInputError, "not a time"),
        ({"expiresAt": "400d"}, InvalidInputError, "year"),
        ({"expiresAt": "2020-01-01"}, InvalidInputError, "past"),
        ({"permissions": []}, InvalidInputError, "permissions"),
        ({"permissions": ["root"]}, InvalidInputError, "permissions"),
        ({"scope": {"kind": "cluster"}}, InvalidInputError, "cluster"),
        ({"user": "nobody"}, NotFoundError, "nobody"),
    ],
)  # fmt: skip
def test_what_is_no_token(
    plane: Plane, given: dict[str, Any], error: type[Exception], said: str
) -> None:
    make(plane)
    body = {"user": "ci", "permissions": ["cluster.look"], "expiresAt": "90d"}
    with pytest.raises(error, match=said):
        plane.client().post("/tokens", body | given)


def test_nobody_makes_a_token_worth_more_than_they_hold(plane: Plane) -> None:
    found(plane)
    client = plane.client()
    client.post(
        "/roles",
        {"name": "helpdesk", "scopes": ["organization"], "permissions": ["credential.manage"]},
    )
    desk = Client(plane.credential("desk", Usage.ADMIN))
    client.post("/users", {"name": "desk"})
    granted(client, "desk", "helpdesk", ORGANIZATION)
    client.post("/users", {"name": "boss"})
    granted(client, "boss", "admin", ORGANIZATION)
    body = {"permissions": ["audit.look"], "expiresAt": "1d"}
    for user in ("boss", "banker"):
        with pytest.raises(DeniedError, match="may not give away"):
            desk.post("/tokens", {"user": user, **body})
    client.post("/users", {"name": "new"})
    assert desk.post("/tokens", {"user": "new", **body})["user"] == "new"


def test_a_token_makes_none_that_is_worth_more(plane: Plane) -> None:
    made = make(plane, "boss", permissions=["credential.manage"])
    granted(plane.client(), "boss", "admin", ORGANIZATION)
    body = {"user": "boss", "permissions": ["audit.export"], "expiresAt": "1d"}
    status, answer = ask(plane, made["token"], "POST", "/tokens", body=body)
    assert status == 403
    assert "API token lacks" in answer["detail"]


def test_lists_come_in_pages(plane: Plane) -> None:
    ids = [make(plane)["id"] for _ in range(5)]
    client = plane.client()
    first = client.get("/tokens", {"limit": 2})
    second = client.get("/tokens", {"limit": 2, "cursor": first["next"]})
    third = client.get("/tokens", {"limit": 2, "cursor": second["next"]})
    seen = [item["id"] for page in (first, second, third) for item in page["items"]]
    assert (seen, third["next"]) == (ids[::-1], "")
