"""Nobody finds what they may not see: random viewers and filters, against an obvious oracle.

`python -m tests.audit.index.leaks COUNT [SEED]` asks SQLite so many times and says what it found.
"""

import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import pytest

from proxy.audit.event import WITHHELD, SystemEvent, body
from proxy.audit.index import searching
from proxy.audit.index.export import json_lines
from proxy.audit.index.listeners import Subscription
from proxy.audit.index.query import Cursor, Filter, Within, matches
from proxy.audit.index.rows import Row
from proxy.audit.index.sqlite import SqliteIndex
from proxy.audit.index.store import Page
from proxy.audit.resources import parse_resource
from proxy.authz.holding import within
from proxy.authz.roles import BUILT_IN
from proxy.authz.standing import caller_of
from proxy.clock import rfc3339
from proxy.state.access import (
    ORGANIZATION,
    Access,
    Grant,
    Group,
    Place,
    Project,
    Role,
    Scope,
    ScopeKind,
    SubjectKind,
    User,
    UserKind,
)
from proxy.state.permission import Permission
from tests.audit.index.searched_world import World
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
)

VIEWERS: Final = [*(user for user in USERS if "\0" not in user), "nobody"]
"""A user whose name holds NUL is never given a certificate."""
ACTIONS: Final = ("grant.add", "audit.search", "journal.open")
_EVERYWHERE: Final = tuple(ScopeKind)
CUSTOM: Final = {
    "looker": Role("looker", "", _EVERYWHERE, frozenset({Permission.LOOK_AT_AUDIT})),
    "guard": Role("guard", "", _EVERYWHERE, frozenset({Permission.LOOK_AT_SYSTEM_LOG})),
    "exporter": Role("exporter", "", _EVERYWHERE, frozenset({Permission.EXPORT_AUDIT})),
}
_NAMESPACES: Final = [namespace for namespace in NAMESPACES if namespace]
_COLUMNS: Final = {"user": "username", "class": "call_class", "source": "source_ip"}
_ALL_ROWS: Final = 10_000
_AT_ONCE: Final = 3
_ALIKE: Final = 25
"""Filters one after the other that ask for the same members: statements are compiled once."""


def other_lines() -> list[bytes]:
    """Acts of all users and of nobody, corrections of calls, and what cannot be read."""
    chance = random.Random(11)
    lines = [b'"kind":"Event","auditID":7']
    for number in range(60):
        at = rfc3339(NOW + chance.randrange(200) / 10)
        actor, action = chance.choice(USERS), chance.choice(ACTIONS)
        lines.append(body(SystemEvent(f"act-{number}", at, action, actor)))
        if number % 3 == 0:
            call = f"call-{number}"
            lines.append(body(SystemEvent(call, at, WITHHELD, target=call, outcome="failed")))
    return lines


def some_world(opened: Callable[[], Awaitable[Any]]) -> World:
    """Rows in full blocks, and newer ones that are in none."""
    return World(opened, stretch=75, writers=1, calls=150, more=other_lines())


class Viewer(NamedTuple):
    """Somebody, and all that was granted to anybody."""

    user: str
    access: Access

    def within(self) -> Within:
        """What they may see, as the product works it out."""
        caller = caller_of(self.access, self.user, ("certified",))
        return within(self.access, caller, NOW)

    def granted(self, permission: Permission) -> Iterator[Scope]:
        """Where they hold a permission: the oracle's half of it."""
        groups: tuple[str, ...] = ("certified",)
        if self.user in self.access.users:
            groups = self.access.users[self.user].groups
        for grant in self.access.grants:
            if grant.subject_kind is SubjectKind.USER and self.user in self.access.users:
                mine = grant.subject == self.user
            else:
                mine = grant.subject_kind is SubjectKind.GROUP and grant.subject in groups
            role = BUILT_IN.get(grant.role) or CUSTOM[grant.role]
            ended = grant.expires_at is not None and grant.expires_at <= NOW
            if mine and not ended and permission in role.permissions:
                yield grant.scope


class Seen:
    """A world, and what of it is whose, read from the lines themselves."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.facts = {(row.writer, row.seq): _facts(row) for row in world.rows}
        self.found: Counter[str] = Counter()

    def may_see(self, row: Row, viewer: Viewer) -> bool:
        """The oracle."""
        kind, user, cluster, namespace = self.facts[row.writer, row.seq]
        if user and user == viewer.user:
            return True
        if kind != "Event":
            return ORGANIZATION in viewer.granted(Permission.LOOK_AT_SYSTEM_LOG)
        return any(
            _holds(scope, cluster, namespace, viewer.access.projects)
            for scope in viewer.granted(Permission.LOOK_AT_AUDIT)
        )

    def expected(self, given: Filter, viewer: Viewer) -> list[Row]:
        rows = [row for row in self.world.shown if self.may_see(row, viewer)]
        return sorted((row for row in rows if matches(row, given)), key=Cursor.of, reverse=True)


def _holds(scope: Scope, cluster: str, namespace: str, projects: Mapping[str, Project]) -> bool:
    """Whether what happened in a namespace of a cluster happened in a scope."""
    if scope.kind is ScopeKind.ORGANIZATION:
        return True
    if scope.kind is ScopeKind.CLUSTER:
        return scope.cluster == cluster
    if scope.kind is ScopeKind.NAMESPACE:
        return (scope.cluster, scope.namespace) == (cluster, namespace)
    return any(
        place.cluster == cluster and (not place.namespaces or namespace in place.namespaces)
        for place in projects[scope.project].places
    )


def _facts(row: Row) -> tuple[str, str, str, str]:
    try:
        line = json.loads(row.line)
        user = line["user"]["username"] if "user" in line else line.get("actor", "")
        namespace = line.get("objectRef", {}).get("namespace", "")
        if not isinstance(line["auditID"], str):
            return "", "", "", ""
        return line["kind"], user, line.get("cluster", ""), namespace
    except ValueError:
        return "", "", "", ""


def some_viewer(chance: random.Random) -> Viewer:
    """Somebody who sees little, mostly, among others."""
    names = chance.sample(VIEWERS, 3)
    everybody = [*names, "dev", "certified"]
    projects = {name: Project(name, _some_places(chance), NOW, "") for name in ("web", "data")}
    grants = tuple(
        _some_grant(chance, chance.choice(everybody)) for _ in range(chance.choice([0, 1, 2, 3, 4]))
    )
    known = names if chance.random() < 0.8 else names[1:]
    users = {
        name: User(name, UserKind.PERSON, ("dev",) if chance.random() < 0.5 else (), NOW, "")
        for name in known
    }
    groups = {name: Group(name, NOW, "") for name in ("dev", "certified")}
    return Viewer(names[0], Access(users, groups, projects, CUSTOM, grants))


def _some_places(chance: random.Random) -> tuple[Place, ...]:
    return tuple(
        Place(cluster, tuple(chance.sample(_NAMESPACES, chance.choice([0, 1, 1, 2]))))
        for cluster in chance.sample(CLUSTERS, chance.choice([0, 1, 1, 2]))
    )


def _some_grant(chance: random.Random, subject: str) -> Grant:
    role = chance.choice([*BUILT_IN.values(), *CUSTOM.values()])
    kind = chance.choice([one for one in role.scopes if one is not ScopeKind.ORGANIZATION] or [ScopeKind.ORGANIZATION])  # fmt: skip
    if ScopeKind.ORGANIZATION in role.scopes and chance.random() < 0.2:
        kind = ScopeKind.ORGANIZATION
    cluster, namespace = chance.choice(CLUSTERS), chance.choice(_NAMESPACES)
    scope = {
        ScopeKind.ORGANIZATION: ORGANIZATION,
        ScopeKind.PROJECT: Scope(kind, project=chance.choice(["web", "data"])),
        ScopeKind.CLUSTER: Scope(kind, cluster=cluster),
        ScopeKind.NAMESPACE: Scope(kind, cluster=cluster, namespace=namespace),
    }[kind]
    of_group = subject in ("dev", "certified")
    return Grant(
        id=str(chance.random()),
        subject_kind=SubjectKind.GROUP if of_group else SubjectKind.USER,
        subject=subject,
        role=role.name,
        scope=scope,
        created_at=NOW,
        created_by="",
        expires_at=chance.choice([None, None, NOW - 1, NOW, NOW + 1]),
    )


_TEXTS: Final[dict[str, list[str]]] = {
    "users": USERS,
    "clusters": CLUSTERS,
    "namespaces": NAMESPACES,
    "names": NAMES,
    "verbs": VERBS,
    "classes": CLASSES,
    "tools": TOOLS,
    "sessions": ["s1", "s2", ""],
    "commands": ["kubectl get", "kubectl delete"],
    "kinds": ["Event", "SystemEvent", "ConnectionEvent", "Unreadable"],
    "audit_ids": ["call-1", "call-3", "act-1", "s13", "c13"],
}
_OTHERS: Final[dict[str, list[str]]] = {
    "groups": GROUPS,
    "resources": ["pods", "pods/", "pods/exec", "deployments.apps"],
    "status": ["403", "4xx", "<400", ">=400"],
    "sources": ["10.0.0.1", "10.0.0.0/8", "2001:db8::/32", "0.0.0.0/0"],
}


def some_filter(form: random.Random, chance: random.Random) -> Filter:
    """A filter of at most three members, so that most find something; `form` says which."""
    given: dict[str, Any] = {"include_noise": form.random() < 0.6}
    members = [*_TEXTS, *_OTHERS, "text", "since", "until", "open_only"]
    for member in form.sample(members, form.choice([0, 0, 1, 1, 2, 3])):
        if member in _TEXTS:
            values = chance.sample(_TEXTS[member], chance.choice([1, 1, 2]))
            if chance.random() < 0.2:
                values = [value[: chance.randrange(3)] + "*" for value in values]
            given[member] = tuple(values)
        elif member in _OTHERS:
            given[member] = tuple(chance.sample(_OTHERS[member], chance.choice([1, 2])))
        elif member == "text":
            given[member] = chance.choice(["ALICE", "é", "/api/x", "a%b", "0", "kubectl"])
        elif member == "open_only":
            given[member] = True
        else:
            given[member] = int((NOW + chance.uniform(-1, 24)) * 1_000_000)
    return Filter(**given)


async def _pages(seen: Seen, given: Filter, limit: int, *, oldest_first: bool) -> list[Row]:
    rows: list[Row] = []
    cursor: Cursor | None = None
    while True:
        page: Page = await seen.world.index.search(
            given, limit=limit, cursor=cursor, oldest_first=oldest_first
        )
        assert len(page.rows) <= limit
        rows += page.rows
        cursor = page.cursor
        if cursor is None:
            return rows


async def _search(seen: Seen, chance: random.Random, given: Filter, viewer: Viewer) -> None:
    expected = seen.expected(given, viewer)
    limit = max(1, len(expected) // chance.choice([1, 1, 2, 3]) + chance.choice([-1, 0, 1]))
    oldest_first = chance.random() < 0.5
    asked = msgspec.structs.replace(given, within=viewer.within())
    found = await _pages(seen, asked, limit, oldest_first=oldest_first)
    assert found == (expected[::-1] if oldest_first else expected)
    seen.found["rows of searches"] += len(found)


async def _export(seen: Seen, chance: random.Random, given: Filter, viewer: Viewer) -> None:
    del chance
    asked = msgspec.structs.replace(given, within=viewer.within())
    found = await _pages(seen, asked, _ALL_ROWS, oldest_first=True)
    lines = list(json_lines(found))
    assert lines == list(json_lines(seen.expected(given, viewer)[::-1]))
    seen.found["lines of exports"] += len(lines)


async def _stats(seen: Seen, chance: random.Random, given: Filter, viewer: Viewer) -> None:
    by: Any = chance.choice(
        ["user", "cluster", "verb", "class", "resource", "namespace", "code", "tool", "source"]
    )
    seconds = chance.choice([0, 0, 5])
    asked = msgspec.structs.replace(given, within=viewer.within())
    stats = await seen.world.index.stats(asked, by, bucket_seconds=seconds, limit=1000)
    expected = seen.expected(given, viewer)
    values = [getattr(row, _COLUMNS.get(by, by)) for row in expected]
    counted = Counter("" if value is None else str(value) for value in values)
    assert {tally.value: tally.count for tally in stats.tallies} == counted
    assert stats.total == len(expected)
    assert stats.failed == sum((row.code or 0) >= 400 for row in expected)
    if seconds:
        assert sum(tally.count for tally in stats.buckets) == len(expected)
    seen.found["counted"] += len(expected)


async def _count(seen: Seen, chance: random.Random, given: Filter, viewer: Viewer) -> None:
    del chance
    asked = msgspec.structs.replace(given, within=viewer.within())
    assert await seen.world.index.count(asked) == len(seen.expected(given, viewer))


async def _get(seen: Seen, chance: random.Random, given: Filter, viewer: Viewer) -> None:
    del given
    audit_id = chance.choice(seen.world.rows).audit_id
    rows = sorted(
        (row for row in seen.world.rows if row.audit_id == audit_id),
        key=lambda row: (row.at, row.writer, row.seq),
    )
    calls = [seen.may_see(row, viewer) for row in rows if row.kind == "Event"]
    assert len(set(calls)) < 2, "a call is seen whole, or not at all"
    expected = [
        row
        for row in rows
        if seen.may_see(row, viewer) or (row.action == WITHHELD and True in calls)
    ]
    assert await seen.world.index.get(audit_id, viewer.within()) == expected
    seen.found["looked up and seen" if expected else "looked up and not seen"] += 1


async def _who(seen: Seen, chance: random.Random, given: Filter, viewer: Viewer) -> None:
    del given
    row = chance.choice(seen.world.rows)
    cluster = chance.choice([row.cluster, row.cluster, ""])
    resource = row.resource or "pods"
    touchers = await seen.world.index.who(
        cluster, row.namespace, parse_resource(resource), row.name, viewer.within()
    )
    about = Filter(
        clusters=(cluster,) if cluster else (),
        namespaces=(row.namespace,),
        resources=(resource,),
        names=(row.name,),
        include_noise=True,
    )
    expected: Counter[tuple[str, str]] = Counter(
        (one.username, one.verb) for one in seen.expected(about, viewer)
    )
    found = {(t.username, verb): n for t in touchers for verb, n in t.verbs.items()}
    assert found == expected
    seen.found["touchers"] += len(touchers)


async def _tail(seen: Seen, chance: random.Random, given: Filter, viewer: Viewer) -> None:
    del chance
    rows = seen.world.rows
    subscription = Subscription(msgspec.structs.replace(given, within=viewer.within()), _ALL_ROWS)
    subscription.offer(rows)
    expected = [row for row in rows if seen.may_see(row, viewer) and matches(row, given)]
    assert [await anext(subscription) for _ in expected] == expected
    assert not subscription._rows
    seen.found["rows of tails"] += len(expected)


_WAYS: Final = (_search, _search, _export, _stats, _stats, _count, _get, _who, _tail)


async def ask(seen: Seen, seed: int) -> None:
    """One viewer, one filter, one way to ask. Raises AssertionError when more or less is found."""
    chance = random.Random(seed)
    given = some_filter(random.Random(seed // _ALIKE), chance)
    viewer, way = some_viewer(chance), chance.choice(_WAYS)
    try:
        await way(seen, chance, given, viewer)
    except AssertionError as error:
        error.add_note(f"seed {seed}: {way.__name__[1:]} of {given} by {viewer.within()}")
        raise


def ask_many(seen: Seen, seeds: range) -> None:
    """Ask once for each seed, some at a time; the second half narrowed down by every posting."""

    async def asking(some: Iterator[int]) -> None:
        for seed in some:
            await ask(seen, seed)

    async def together(some: range) -> None:
        shared = iter(some)
        await asyncio.gather(*(asking(shared) for _ in range(_AT_ONCE)))

    half = len(seeds) // 2
    seen.world.run(together(seeds[:half]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "_FEW", 0)
        seen.world.run(together(seeds[half:]))


def main() -> None:
    """Ask as often as the command line says."""
    count, first = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "index.db"
        world = some_world(partial(SqliteIndex.open, path))
        seen = Seen(world)
        begun = time.monotonic()
        ask_many(seen, range(first, first + count))
        print(f"{count} asked in {time.monotonic() - begun:.0f} s; no leak; {dict(seen.found)}")
        world.close()


if __name__ == "__main__":
    main()
