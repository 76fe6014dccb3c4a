from hypothesis import given
from hypothesis import strategies as st

from proxy.clock import ManualClock
from proxy.state import credentials
from proxy.state.repository import StateStore
from proxy.state.snapshot import Credential
from tests.state.people import credential

LISTS = st.lists(st.text(max_size=3)).map(tuple)


@given(st.builds(Credential, groups=LISTS, clusters=LISTS))
def test_a_row_holds_all_of_it(item: Credential) -> None:
    row = credentials.row(item)
    assert credentials.values([[row[column.name] for column in credentials.COLUMNS]]) == [item]


async def test_which_are_a_users(registry: StateStore, clock: ManualClock) -> None:
    now = clock.now()
    for serial, user, life in (("a", "rob", 10.0), ("b", "rob", 5.0), ("c", "eve", 10.0)):
        await registry.record_credential(credential(serial, now, user, life))
    async with registry._reading() as (connection, version):
        for moment, serials in ((now, ["a", "b"]), (now + 5, ["a"]), (now + 10, [])):
            found = await credentials.find(connection, credentials.of_user("rob", moment))
            assert sorted(item.serial for item in found) == serials
        everything = await credentials.find(connection, credentials.newer(now, None))
        assert sorted(item.serial for item in everything) == ["a", "b", "c"]
        later = await credentials.find(connection, credentials.newer(now + 5, None))
        assert sorted(item.serial for item in later) == ["a", "c"]
        (newest,) = await credentials.find(connection, credentials.newer(now, version - 1))
    assert newest.serial == "c"
