"""Two approvers are two people: whoever one of them made up, or can pass for, does not count."""

from dataclasses import replace

import pytest

from proxy.cli.client import Client
from proxy.errors import DeniedError
from proxy.pki.keys import csr, key_pem, new_key
from proxy.state.access import ORGANIZATION
from tests.control.organization import granted
from tests.control.plane import Plane


def issued(plane: Plane, by: Client, name: str) -> Client:
    """As `kubewitness context issue` does it: whoever issues it makes the key."""
    key = new_key()
    body = {"user": name, "usage": "admin", "csr": csr(key, name).decode()}
    made = by.post("/credentials", body)
    return Client(
        replace(plane.admin(), certificate=made["certificate"], key=key_pem(key).decode())
    )


def appointed(plane: Plane, by: Client, name: str) -> Client:
    """Registered, granted `admin`, and issued a credential, all by one person."""
    by.post("/users", {"name": name})
    granted(by, name, "admin", ORGANIZATION)
    return issued(plane, by, name)


def proposed(by: Client) -> str:
    made = by.post("/retentions", {"olderThanDays": 400, "reason": "policy 12"})
    return f"/retentions/{made['id']}/approve"


@pytest.fixture
def admin(plane: Plane) -> Client:
    """The machine's own."""
    return plane.client()


@pytest.fixture
def boss(plane: Plane, admin: Client) -> Client:
    return appointed(plane, admin, "boss")


def refused(who: Client, path: str, why: str) -> None:
    with pytest.raises(DeniedError, match=f"may not approve this: {why}"):
        who.post(path)


def test_two_whom_the_machines_administrator_made(
    plane: Plane, admin: Client, boss: Client
) -> None:
    ann = appointed(plane, admin, "ann")
    path = proposed(boss)
    assert boss.post(path)["approved"] is False
    found = ann.post(path)
    assert (found["approvedBy"], found["approved"]) == (["boss", "ann"], True)
    outcome = plane.events("audit.retain.approve")[-1]
    assert outcome["detail"]["madeBy"] == ["admin"]


def test_a_second_name_made_for_it(plane: Plane, boss: Client) -> None:
    path = proposed(boss)
    boss.post(path)
    refused(appointed(plane, boss, "puppet"), path, "they were registered after it was proposed")


def test_a_second_name_made_ahead(plane: Plane, boss: Client) -> None:
    puppet, other = appointed(plane, boss, "puppet"), appointed(plane, boss, "other")
    path = proposed(boss)
    refused(puppet, path, "'boss', who proposed or approved it")
    path = proposed(puppet)
    puppet.post(path)
    refused(boss, path, "they registered, granted something to, or issued a credential to 'puppet'")
    refused(other, path, "'boss' registered, .* to both them and 'puppet'")
    assert boss.get("/retentions")["items"][-1]["approved"] is False


def test_the_machines_administrator_makes_them_and_approves_nothing(
    admin: Client, boss: Client
) -> None:
    refused(admin, proposed(boss), "they are not a registered person")
    refused(boss, proposed(admin), "'admin', who proposed or approved it")


@pytest.mark.parametrize("through", ["eve", "carl", "token"])
def test_a_name_that_somebody_can_pass_for(
    plane: Plane, admin: Client, boss: Client, through: str
) -> None:
    appointed(plane, admin, "eve")
    appointed(plane, admin, "carl")
    if through == "token":
        every = ["credential.manage", "user.manage", "retention.manage", "grant.manage"]
        more = [name for name in admin.get("/roles/admin")["permissions"] if name not in every]
        body = {"user": "eve", "permissions": [*every, *more], "expiresAt": "1d"}
        token = boss.post("/tokens", body)["token"]
        between = Client(replace(plane.admin(), certificate="", key="", token=token))
    else:
        between = issued(plane, boss, through)
    passing = issued(plane, between, "eve")
    path = proposed(boss)
    boss.post(path)
    refused(passing, path, "'boss', who proposed or approved it")


def test_a_credential_that_ended_before_is_no_hand_in_it(
    plane: Plane, admin: Client, boss: Client
) -> None:
    ann = appointed(plane, admin, "ann")
    issued(plane, boss, "ann")
    [lent] = [
        item
        for item in admin.get("/credentials", {"user": "ann"})["items"]
        if item["issuedBy"].startswith("boss ")
    ]
    path = proposed(boss)
    refused(ann, path, "'boss', who proposed or approved it")
    admin.post(f"/credentials/{lent['serial']}/revoke", {})
    refused(ann, path, "'boss', who proposed or approved it")
    assert ann.post(proposed(boss))["approvedBy"] == ["ann"]


def test_what_came_after_the_proposal(plane: Plane, admin: Client, boss: Client) -> None:
    ann = appointed(plane, admin, "ann")
    admin.post("/users", {"name": "late"})
    late = issued(plane, admin, "late")
    path = proposed(boss)
    granted(admin, "late", "admin", ORGANIZATION)
    refused(late, path, "they hold no retention.manage by a grant of their own from before")
    refused(issued(plane, admin, "ann"), path, "their credential was issued after")
    # One that they renewed themselves goes back to one from before.
    assert issued(plane, issued(plane, ann, "ann"), "ann").post(path)["approvedBy"] == ["ann"]


def test_a_group_a_machine_and_a_token_do_not_approve(
    plane: Plane, admin: Client, boss: Client
) -> None:
    admin.post("/groups", {"name": "chiefs"})
    granted(admin, "chiefs", "admin", ORGANIZATION, kind="group")
    admin.post("/users", {"name": "member", "groups": ["chiefs"]})
    admin.post("/users", {"name": "robot", "kind": "service"})
    granted(admin, "robot", "admin", ORGANIZATION)
    member, robot = issued(plane, admin, "member"), issued(plane, admin, "robot")
    body = {"user": "boss", "permissions": ["retention.manage"], "expiresAt": "1d"}
    token = boss.post("/tokens", body)["token"]
    path = proposed(boss)
    refused(member, path, "they hold no retention.manage by a grant of their own")
    refused(robot, path, "they are not a registered person")
    by_token = Client(replace(plane.admin(), certificate="", key="", token=token))
    refused(by_token, path, "an API token approves nothing")


def test_a_grant_that_was_taken_back_and_given_again_is_a_new_one(
    plane: Plane, admin: Client, boss: Client
) -> None:
    ann = appointed(plane, admin, "ann")
    [old] = admin.get("/grants", {"user": "ann"})["items"]
    admin.post(f"/grants/{old['id']}/revoke", {})
    path = proposed(boss)
    granted(admin, "ann", "admin", ORGANIZATION)
    refused(ann, path, "they hold no retention.manage by a grant of their own")
    assert boss.post(path)["approvedBy"] == ["boss"]


def test_who_ends_a_hold_is_not_a_second_name_of_who_placed_it(
    plane: Plane, admin: Client, boss: Client
) -> None:
    ann, puppet = appointed(plane, admin, "ann"), appointed(plane, boss, "puppet")
    every = [*admin.get("/roles/admin")["permissions"]]
    body = {"user": "ann", "permissions": every, "expiresAt": "1d"}
    lent = Client(
        replace(plane.admin(), certificate="", key="", token=boss.post("/tokens", body)["token"])
    )
    held = boss.post("/legal-holds", {"reason": "case 7"})["id"]
    for other in (puppet, lent):
        with pytest.raises(DeniedError, match="'boss', who placed it, registered"):
            other.post(f"/legal-holds/{held}/release", {"reason": "over"})
    assert ann.post(f"/legal-holds/{held}/release", {"reason": "over"})["releasedBy"] == "ann"
    # What the machine's own administrator placed, anybody whom they appointed ends; and they what others placed.
    for placed, ended in ((admin, ann), (ann, admin)):
        held = placed.post("/legal-holds", {"reason": "case 8"})["id"]
        assert ended.post(f"/legal-holds/{held}/release", {"reason": "over"})["releasedBy"]


def test_nobody_takes_the_machines_own_name_to_stand_in_the_way(
    plane: Plane, admin: Client, boss: Client
) -> None:
    boss.post("/users", {"name": "kubewitness"})
    ann = appointed(plane, admin, "ann")
    path = proposed(boss)
    boss.post(path)
    assert ann.post(path)["approved"] is True
