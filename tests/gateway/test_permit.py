"""What a call rests on, judged again while it lasts."""

from proxy.gateway.permit import Permit
from tests.authz.people import NOW, access, cluster, grant, request, user

WATCH = request("GET /api/v1/pods?watch=1")
ROB = (user("rob"),)


def permit(*groups: str, refuse: bool = False) -> Permit:
    return Permit("rob", groups, WATCH, refuse=refuse)


def test_a_grant_that_ends_ends_the_call() -> None:
    state = access(grant("rob", "cluster-admin", cluster("prod"), ends=NOW + 5), users=ROB)
    made = permit()
    decision = made.judge(state, NOW)
    assert decision is not None
    assert (decision.allowed, decision.grant) == (True, "rob-cluster-admin")
    assert made.stands(state, NOW + 4.999)
    assert not made.stands(state, NOW + 5)


def test_another_grant_that_goes_on_carries_it_on() -> None:
    grants = (
        grant("rob", "cluster-admin", cluster("prod"), ends=NOW + 5),
        grant("rob", "admin-read-only", ends=NOW + 9),
    )
    made = permit()
    state = access(*grants, users=ROB)
    made.judge(state, NOW)
    assert made.stands(state, NOW + 5)
    assert not made.stands(state, NOW + 9)


def test_a_new_state_is_looked_at_and_an_old_one_is_not() -> None:
    made = permit()
    before = access(grant("rob", "admin"), users=ROB)
    made.judge(before, NOW)
    assert made.stands(before, NOW)
    assert made.stands(access(grant("rob", "admin-read-only"), users=ROB), NOW)
    assert not made.stands(access(users=ROB), NOW)
    assert not made.stands(access(grant("rob", "admin"), users=(user("rob", disabled=True),)), NOW)


def test_who_is_not_registered_stands_as_the_setting_says() -> None:
    assert permit("dev").judge(access(), NOW) is None
    assert permit("dev").stands(access(), NOW)
    assert not permit("dev", refuse=True).stands(access(), NOW)
    assert not permit("dev").stands(access(groups=("dev",)), NOW)
