"""Searching: the index agrees with the plain meaning of a filter, page by page."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from proxy.audit.index import searching
from proxy.audit.index.query import Cursor, Filter, matches
from proxy.audit.index.rows import Row, row
from proxy.audit.index.sqlite import SqliteIndex
from proxy.audit.index.store import Position
from proxy.audit.resources import parse_resource
from tests.audit.journals import NOW
from tests.audit.some_rows import (
    CLASSES,
    CLUSTERS,
    GROUPS,
    NAMES,
    NAMESPACES,
    TOOLS,
    USERS,
    VERBS,
    framed,
    shown,
    some_lines,
)


class World:
    """One index filled with random rows, and those rows.

    `stretch` is the distance of one sequence from the next: with a large one the rows are spread
    over several blocks. `writers` share the calls; the index is closed and opened half-way.
    """

    def __init__(self, path: Path, *, stretch: int, writers: int) -> None:
        self.loop = asyncio.new_event_loop()
        self.index = self.run(SqliteIndex.open(path))
        lines = framed(some_lines(7, 400))
        made = [row("w-0", seq * stretch, line) for seq, line in enumerate(lines, 1)]
        self.rows = [item._replace(writer=_writer(item, writers)) for item in made]
        at = 0
        chance = random.Random(3)
        while at < len(self.rows):
            some = self.rows[at : at + chance.randrange(1, 60)]
            if at < len(self.rows) // 2 <= at + len(some):
                self.run(self.index.close())
                self.index = self.run(SqliteIndex.open(path))
            at += len(some)
            for writer in sorted({item.writer for item in some}):
                mine = [item for item in some if item.writer == writer]
                self.run(self.index.insert(mine, writer, Position("s", at, mine[-1].seq)))
        self.shown = shown(self.rows)

    def run(self, awaitable: Any) -> Any:
        return self.loop.run_until_complete(awaitable)

    def expected(self, wanted: Filter) -> list[Row]:
        found = [item for item in self.shown if matches(item, wanted)]
        return sorted(found, key=Cursor.of, reverse=True)


def _writer(item: Row, writers: int) -> str:
    """All events of a call have one writer."""
    return f"w-{sum(item.audit_id.encode()) % writers}"


@pytest.fixture(scope="module", params=["newest", "blocks", "narrowed"])
def world(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Rows that are in no block yet; in many blocks; and there narrowed down to the last."""
    path = tmp_path_factory.mktemp("index") / "index.db"
    spread = request.param != "newest"
    made = World(path, stretch=151 if spread else 1, writers=2 if spread else 1)
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "narrowed":
            patch.setattr(searching, "_FEW", 0)
        yield made
    made.run(made.index.close())
    made.loop.close()


def few(values: list[str], *more: str) -> st.SearchStrategy[tuple[str, ...]]:
    """Mostly nothing, sometimes one or two of `values` or beginnings of them."""
    beginnings = st.builds(
        lambda value, n: value[:n] + "*", st.sampled_from(values), st.integers(0, 3)
    )
    one = st.sampled_from([*values, *more]) | beginnings
    return st.just(()) | st.lists(one, min_size=1, max_size=2).map(tuple)


MOMENTS = st.none() | st.integers(-5, 250).map(lambda tenths: int(NOW * 10 + tenths) * 100_000)
FILTERS = st.builds(
    Filter,
    since=MOMENTS,
    until=MOMENTS,
    users=few(USERS, "nobody"),
    groups=st.just(()) | st.lists(st.sampled_from(GROUPS), min_size=1, max_size=2).map(tuple),
    clusters=few(CLUSTERS),
    namespaces=few(NAMESPACES),
    resources=st.just(())
    | st.lists(
        st.sampled_from(
            ["pods", "po", "pods/", "pods/exec", "deploy", "deployments.apps", "secrets."]
        ),
        min_size=1,
        max_size=2,
    ).map(tuple),
    names=few(NAMES),
    verbs=few(VERBS),
    classes=few(CLASSES),
    status=st.just(())
    | st.lists(
        st.sampled_from(["403", "4xx", "5xx", ">=400", "<400", "<=201", ">499", "=200", "0"]),
        min_size=1,
        max_size=2,
    ).map(tuple),
    sources=st.just(())
    | st.lists(
        st.sampled_from(["10.0.0.1", "10.0.0.0/24", "10.0.0.0/8", "2001:db8::/32", "0.0.0.0/0"]),
        min_size=1,
        max_size=2,
    ).map(tuple),
    tools=few(TOOLS),
    sessions=few(["s1", "s2"], ""),
    commands=few(["kubectl get", "kubectl delete"]),
    text=st.sampled_from(["", "ALICE", "é", "É", "%", "_", "a%b", "\\", "a\0B", "/API/x", "0"]),
    audit_ids=few(["call-1", "call-2", "s13"]),
    kinds=few(["Event", "SystemEvent", "ConnectionEvent"]),
    include_noise=st.booleans(),
    open_only=st.booleans(),
)


def narrow(chosen: Filter, keep: set[str]) -> Filter:
    """Only some of the members, so that most filters find something."""
    default = Filter()
    return Filter(
        **{
            name: getattr(chosen if name in keep else default, name)
            for name in Filter.__struct_fields__
        }
    )


SOME = st.builds(
    narrow,
    FILTERS,
    st.sets(st.sampled_from(Filter.__struct_fields__), max_size=4),
)
PROPERTY = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)


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


@settings(max_examples=150, deadline=None)
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
