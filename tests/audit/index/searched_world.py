"""A world of random rows in an index, and the random filters that search it."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from proxy.audit.index.query import Cursor, Filter, Within, matches
from proxy.audit.index.rows import Row, row
from proxy.audit.index.store import Position
from tests.audit.journals import NOW
from tests.audit.some_rows import (
    CLASSES,
    CLUSTERS,
    CREDENTIALS,
    FLAGS,
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
    `more` lines come in between.
    """

    def __init__(
        self,
        opened: Callable[[], Awaitable[Any]],
        *,
        stretch: int,
        writers: int,
        calls: int = 400,
        more: Sequence[bytes] = (),
    ) -> None:

        self.loop = asyncio.new_event_loop()
        self.index = self.run(opened())
        lines = framed(_mixed(some_lines(7, calls), more))
        made = [row("w-0", seq * stretch, line) for seq, line in enumerate(lines, 1)]
        self.rows = [item._replace(writer=_writer(item, writers)) for item in made]
        at = 0
        chance = random.Random(3)
        while at < len(self.rows):
            some = self.rows[at : at + chance.randrange(1, 60)]
            if at < len(self.rows) // 2 <= at + len(some):
                self.run(self.index.close())
                self.index = self.run(opened())
            at += len(some)
            for writer in sorted({item.writer for item in some}):
                mine = [item for item in some if item.writer == writer]
                self.run(self.index.insert(mine, writer, Position("s", at, mine[-1].seq)))
        self.shown = shown(self.rows)

    def close(self) -> None:
        self.run(self.index.close())
        self.loop.close()

    def run(self, awaitable: Any) -> Any:
        return self.loop.run_until_complete(awaitable)

    def expected(self, wanted: Filter) -> list[Row]:
        found = [item for item in self.shown if matches(item, wanted)]
        return sorted(found, key=Cursor.of, reverse=True)


def _mixed(lines: list[bytes], more: Sequence[bytes]) -> list[bytes]:
    chance = random.Random(5)
    for line in more:
        lines.insert(chance.randrange(len(lines)), line)
    return lines


def _writer(item: Row, writers: int) -> str:
    """All events of a call have one writer."""
    return f"w-{sum(item.audit_id.encode()) % writers}"


def few(values: list[str], *more: str) -> st.SearchStrategy[tuple[str, ...]]:
    """Mostly nothing, sometimes one or two of `values` or beginnings of them."""
    beginnings = st.builds(
        lambda value, n: value[:n] + "*", st.sampled_from(values), st.integers(0, 3)
    )
    one = st.sampled_from([*values, *more]) | beginnings
    return st.just(()) | st.lists(one, min_size=1, max_size=2).map(tuple)


MOMENTS = st.none() | st.integers(-5, 250).map(lambda tenths: int(NOW * 10 + tenths) * 100_000)
WITHINS = st.builds(
    Within,
    user=st.sampled_from([*USERS, "nobody"]),
    clusters=st.lists(st.sampled_from([*CLUSTERS, ""]), max_size=1).map(tuple),
    namespaces=st.lists(
        st.tuples(st.sampled_from([*CLUSTERS, ""]), st.sampled_from(NAMESPACES)), max_size=4
    ).map(tuple),
    calls=st.sampled_from([False, False, False, True]),
    system=st.booleans(),
)
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
    credentials=few(CREDENTIALS),
    suspicious=st.just(())
    | st.lists(st.sampled_from([*FLAGS, "*", "nothing"]), min_size=1, max_size=2).map(tuple),
    text=st.sampled_from(["", "ALICE", "é", "É", "%", "_", "a%b", "\\", "a\0B", "/API/x", "0"]),
    audit_ids=few(["call-1", "call-2", "s13"]),
    actions=few(["audit.search"], ""),
    targets=few(["alice"], ""),
    reasons=few(["ok"], ""),
    kinds=few(["Event", "SystemEvent", "ConnectionEvent"]),
    include_noise=st.booleans(),
    open_only=st.booleans(),
    within=st.none() | WITHINS,
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
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
