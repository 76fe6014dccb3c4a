"""Who a caller is to the grants, and which of those stand."""

import msgspec

from proxy.authz.standing import LOCAL_ADMIN, Caller, caller_of, governed, standing
from tests.authz.people import NOW, access, grant, namespace, user

ROB = user("rob", "dev")


def test_of_a_registered_user_only_the_registrys_groups_count() -> None:
    state = access(users=(ROB,), groups=("dev", "ops"))
    assert caller_of(state, "rob", ("ops", "kubewitness:admin")) == Caller("rob", ("dev",))
    assert caller_of(state, "eve", ("ops",)) == Caller("eve", ("ops",))


def test_who_is_registered_or_in_a_registered_group_is_governed() -> None:
    state = access(users=(ROB, user("ann", disabled=True)), groups=("dev",))
    assert governed(state, "rob", ())
    assert governed(state, "ann", ())
    assert governed(state, "eve", ("x", "dev"))
    assert not governed(state, "eve", ("x",))
    assert not governed(state, "Rob", ())


def test_grants_stand_for_the_user_and_their_groups_until_they_end() -> None:
    mine = grant("rob", "admin", ends=NOW)
    ours = grant("@dev", "auditor")
    other = grant("@ops", "admin")
    state = access(mine, ours, other, users=(ROB,), groups=("dev", "ops"))
    rob = caller_of(state, "rob", ("ops",))
    assert standing(state, rob, NOW - 0.001) == (mine, ours)
    assert standing(state, rob, NOW) == (ours,)


def test_a_revoked_grant_does_not_stand_even_if_it_is_there() -> None:
    mine = msgspec.structs.replace(grant("rob", "admin"), revoked_at=NOW - 5)
    assert standing(access(mine, users=(ROB,)), Caller("rob", ()), NOW) == ()


def test_nothing_stands_for_who_is_disabled_or_not_registered() -> None:
    state = access(
        grant("ann", "admin"), grant("@dev", "admin"), users=(user("ann", "dev", disabled=True),)
    )
    assert standing(state, caller_of(state, "ann", ()), NOW) == ()
    # Neither the group nor the user is known: a name alone is worth nothing.
    assert standing(state, Caller("eve", ("dev",)), NOW) == ()
    assert standing(access(grant("eve", "admin")), Caller("eve", ()), NOW) == ()


def test_a_group_named_twice_counts_once() -> None:
    ours = grant("@dev", "auditor")
    state = access(ours, groups=("dev",))
    assert standing(state, Caller("eve", ("dev", "dev")), NOW) == (ours,)


def test_the_machines_own_administrator_always_holds_the_organization() -> None:
    state = access(users=(user("admin", disabled=True),))
    assert standing(state, Caller("admin", (), local_admin=True), NOW) == (LOCAL_ADMIN,)
    assert standing(state, Caller("admin", ()), NOW) == ()


def test_each_state_is_judged_by_itself() -> None:
    before = access(grant("rob", "admin"), users=(ROB,))
    after = access(grant("rob", "namespace-admin", namespace("prod", "web")), users=(ROB,))
    rob = Caller("rob", ())
    for _ in range(2):
        assert [item.role for item in standing(before, rob, NOW)] == ["admin"]
        assert [item.role for item in standing(after, rob, NOW)] == ["namespace-admin"]
