"""Searching: the index agrees with the plain meaning of a filter, page by page."""

from functools import partial
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.audit.index import searching
from proxy.audit.index.query import Cursor, Filter, Within, visible
from proxy.audit.index.rows import Row
from proxy.audit.index.sqlite import SqliteIndex
from proxy.audit.resources import parse_resource
from tests.audit.index.searched_world import FILTERS, PROPERTY, SOME, World
from tests.audit.journals import NOW


@pytest.fixture(scope="module", params=["newest", "blocks", "narrowed"])
def world(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Rows that are in no block yet; in many blocks; and there narrowed down to the last."""
    path = tmp_path_factory.mktemp("index") / "index.db"
    spread = request.param != "newest"
    made = World(
        partial(SqliteIndex.open, path), stretch=151 if spread else 1, writers=2 if spread else 1
    )
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "narrowed":
            patch.setattr(searching, "_FEW", 0)
        yield made
    made.close()


@PROPERTY
@given(wanted=SOME)
def test_a_search_finds_what_the_filter_means(world: World, wanted: Filter) -> None:
    expected = world.expected(wanted)
    assert world.run(world.index.search(wanted, limit=10_000)).rows == expected
    assert world.run(world.index.count(wanted)) == len(expected)


@settings(PROPERTY, max_examples=25)
@given(wanted=SOME, limit=st.integers(9, 100), oldest_first=st.booleans())
@example(wanted=Filter(users=("alice",)), limit=1, oldest_first=False)
@example(wanted=Filter(users=("alice",)), limit=1, oldest_first=True)
def test_pages_together_are_the_whole(
    world: World, wanted: Filter, limit: int, oldest_first: bool
) -> None:
    found: list[Row] = []
    cursor = None
    while True:
        page = world.run(
            world.index.search(wanted, limit=limit, cursor=cursor, oldest_first=oldest_first)
        )
        assert len(page.rows) <= limit
        found += page.rows
        if page.cursor is None:
            break
        cursor = Cursor.parse(str(page.cursor))
    assert found == (world.expected(wanted)[::-1] if oldest_first else world.expected(wanted))


@settings(max_examples=150)
@given(
    wanted=FILTERS,
    by=st.sampled_from(
        ["user", "cluster", "verb", "class", "resource", "namespace", "code", "tool", "source"]
    ),
)
@example(wanted=Filter(), by="code")
@example(wanted=Filter(since=int((NOW + 5) * 1e6)), by="user")
def test_stats_count_what_a_search_shows(world: World, wanted: Filter, by: Any) -> None:
    column = {
        "user": "username",
        "class": "call_class",
        "source": "source_ip",
    }.get(by, by)
    expected = world.expected(wanted)
    stats = world.run(world.index.stats(wanted, by, bucket_seconds=5, limit=1000))
    counted: dict[str, int] = {}
    failed: dict[str, int] = {}
    for item in expected:
        value = getattr(item, column)
        key = "" if value is None else str(value)
        counted[key] = counted.get(key, 0) + 1
        failed[key] = failed.get(key, 0) + ((item.code or 0) >= 400)
    assert {tally.value: tally.count for tally in stats.tallies} == counted
    assert {tally.value: tally.failed for tally in stats.tallies} == failed
    assert stats.total == len(expected)
    assert stats.failed == sum(failed.values())
    assert [tally.count for tally in stats.tallies] == sorted(counted.values(), reverse=True)
    buckets = {
        start: sum(1 for item in expected if item.at // 5_000_000 * 5_000_000 == start)
        for start in {item.at // 5_000_000 * 5_000_000 for item in expected}
    }
    assert [(int(t.value), t.count) for t in stats.buckets] == sorted(buckets.items())


def test_get_tells_a_call_in_order(world: World) -> None:
    for audit_id in ("call-0", "call-1", "call-2", "s13"):
        expected = [item for item in world.rows if item.audit_id == audit_id]
        assert world.run(world.index.get(audit_id)) == expected
    assert world.run(world.index.get("nothing")) == []


def test_what_may_not_be_seen_is_not_there(world: World) -> None:
    shown = next(item for item in world.rows if item.audit_id == "call-1")
    for within in (Within("bob"), Within("", ("prod",)), Within("", system=True)):
        found = world.run(world.index.get("call-1", within))
        assert bool(found) is visible(shown, within)
        assert found in ([], world.run(world.index.get("call-1")))
    everything = world.run(world.index.search(Filter(within=Within("")), limit=10))
    assert everything.rows == []


@pytest.mark.parametrize("resource", ["pods", "pods/exec", "deploy.apps"])
def test_who_touched_an_object(world: World, resource: str) -> None:
    wanted = parse_resource(resource)
    touchers = world.run(world.index.who("prod", "shop", wanted, "web-0"))
    expected = world.expected(
        Filter(
            clusters=("prod",),
            namespaces=("shop",),
            resources=(resource,),
            names=("web-0",),
            include_noise=True,
        )
    )
    assert expected
    assert {t.username for t in touchers} == {item.username for item in expected}
    for toucher in touchers:
        mine = [item for item in expected if item.username == toucher.username]
        assert (toucher.first_seen, toucher.last_seen) == (mine[-1].at, mine[0].at)
        assert sum(toucher.verbs.values()) == len(mine)
        assert toucher.last_code in {item.code for item in mine if item.at == mine[0].at}
