"""Any sequence of changes: the state says what a plain dictionary would, whatever was refused."""

import asyncio
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from proxy.clock import ManualClock
from proxy.errors import ConflictError, KubewitnessError, NotFoundError
from proxy.state.access import ORGANIZATION, Place, Scope, ScopeKind, SubjectKind, UserKind
from proxy.state.database import sqlite_url
from proxy.state.repository import StateStore
from proxy.state.sealing import SecretBox
from proxy.state.snapshot import Snapshot

NAMES = st.sampled_from(["a", "b", "c"])
SUBJECTS = st.sampled_from(list(SubjectKind))
CLUSTERS = st.sampled_from(["prod", "test"])
SCOPES = st.sampled_from(
    [
        ORGANIZATION,
        *(Scope(ScopeKind.CLUSTER, cluster=name) for name in ("prod", "test")),
        *(Scope(ScopeKind.PROJECT, project=name) for name in "ab"),
    ]
)


class Machine(RuleBasedStateMachine):
    """The model: sets and dictionaries, and what each change should do to them."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = tempfile.TemporaryDirectory()
        url = sqlite_url(Path(self.directory.name) / "state.db")
        opening = StateStore.open(url, SecretBox(bytes(32)), clock=ManualClock())
        self.store = self.runner.run(opening)
        self.people = self.store.people
        self.snapshot: Snapshot | None = None
        self.users: dict[str, set[str]] = {}
        self.disabled: set[str] = set()
        self.groups: set[str] = set()
        self.projects: dict[str, set[str]] = {}
        self.clusters: set[str] = set()
        self.grants: dict[str, tuple[SubjectKind, str, Scope]] = {}

    def teardown(self) -> None:
        self.runner.run(self.store.close())
        self.runner.close()
        self.directory.cleanup()

    def attempt(
        self, change: Awaitable[Any], refused: type[KubewitnessError] | None
    ) -> Any:  # what the change returns
        """What the change returns; None when it was refused as it should be."""

        async def run() -> tuple[Any, type[KubewitnessError] | None]:
            try:
                return await change, None
            except KubewitnessError as error:
                return None, type(error)

        made, found = self.runner.run(run())
        assert found is refused
        return made

    @rule(name=CLUSTERS)
    def add_cluster(self, name: str) -> None:
        refused = ConflictError if name in self.clusters else None
        self.attempt(self.store.add_cluster(name, server="https://s", kubeconfig=b"k"), refused)
        self.clusters.add(name)

    @rule(name=CLUSTERS)
    def remove_cluster(self, name: str) -> None:
        refused = None if name in self.clusters else NotFoundError
        self.attempt(self.store.remove_cluster(name), refused)
        self.clusters.discard(name)
        self.grants = {k: v for k, v in self.grants.items() if v[2].cluster != name}
        for places in self.projects.values():
            places.discard(name)

    @rule(name=NAMES, groups=st.sets(NAMES))
    def add_user(self, name: str, groups: set[str]) -> None:
        refused: type[KubewitnessError] | None = None
        if groups - self.groups:
            refused = NotFoundError
        elif name in self.users:
            refused = ConflictError
        adding = self.people.add_user(name, kind=UserKind.PERSON, groups=groups, by="x")
        if self.attempt(adding, refused):
            self.users[name] = groups

    @rule(name=NAMES, groups=st.none() | st.sets(NAMES), disabled=st.none() | st.booleans())
    def change_user(self, name: str, groups: set[str] | None, disabled: bool | None) -> None:
        wrong = name not in self.users or (groups or set()) - self.groups
        changing = self.people.change_user(name, groups=groups, disabled=disabled)
        if self.attempt(changing, NotFoundError if wrong else None):
            self.users[name] = self.users[name] if groups is None else groups
            if disabled is not None:
                (self.disabled.add if disabled else self.disabled.discard)(name)

    @rule(name=NAMES)
    def remove_user(self, name: str) -> None:
        refused = None if name in self.users else NotFoundError
        if self.attempt(self.people.remove_user(name, by="x", reason=""), refused):
            self.users[name] = set()
            self.disabled.add(name)
            gone = (SubjectKind.USER, name)
            self.grants = {k: v for k, v in self.grants.items() if v[:2] != gone}

    @rule(name=NAMES)
    def add_group(self, name: str) -> None:
        refused = ConflictError if name in self.groups else None
        self.attempt(self.people.add_group(name, by="x"), refused)
        self.groups.add(name)

    @rule(name=NAMES)
    def remove_group(self, name: str) -> None:
        refused: type[KubewitnessError] | None = None
        if name not in self.groups:
            refused = NotFoundError
        elif (SubjectKind.GROUP, name) in {item[:2] for item in self.grants.values()}:
            refused = ConflictError
        if self.attempt(self.people.remove_group(name), refused):
            self.groups.discard(name)
            for groups in self.users.values():
                groups.discard(name)

    @rule(name=st.sampled_from("ab"), places=st.sets(CLUSTERS))
    def add_project(self, name: str, places: set[str]) -> None:
        refused: type[KubewitnessError] | None = None
        if places - self.clusters:
            refused = NotFoundError
        elif name in self.projects:
            refused = ConflictError
        adding = self.people.add_project(name, places=map(Place, places), by="x")
        if self.attempt(adding, refused):
            self.projects[name] = places

    @rule(name=st.sampled_from("ab"))
    def remove_project(self, name: str) -> None:
        refused: type[KubewitnessError] | None = None
        if name not in self.projects:
            refused = NotFoundError
        elif name in {item[2].project for item in self.grants.values()}:
            refused = ConflictError
        if self.attempt(self.people.remove_project(name), refused):
            del self.projects[name]

    @rule(kind=SUBJECTS, subject=NAMES, scope=SCOPES)
    def add_grant(self, kind: SubjectKind, subject: str, scope: Scope) -> None:
        known = self.users if kind is SubjectKind.USER else self.groups
        refused: type[KubewitnessError] | None = None
        if subject not in known:
            refused = NotFoundError
        elif kind is SubjectKind.USER and subject in self.disabled:
            refused = ConflictError
        elif (scope.cluster and scope.cluster not in self.clusters) or (
            scope.project and scope.project not in self.projects
        ):
            refused = NotFoundError
        adding = self.people.add_grant(
            subject_kind=kind, subject=subject, role="admin", scope=scope, by="x"
        )
        made = self.attempt(adding, refused)
        if made:
            self.grants[made.id] = (kind, subject, scope)

    @rule(data=st.data())
    def revoke_grant(self, data: st.DataObject) -> None:
        identity = data.draw(st.sampled_from([*self.grants, "unknown"]))
        refused = None if identity in self.grants else NotFoundError
        self.attempt(self.people.revoke_grant(identity, by="x", reason=""), refused)
        self.grants.pop(identity, None)

    @invariant()
    def says_what_the_model_says(self) -> None:
        self.snapshot = self.runner.run(self.store.snapshot(self.snapshot))
        assert self.snapshot == self.runner.run(self.store.snapshot())
        access = self.snapshot.access
        assert {name: set(user.groups) for name, user in access.users.items()} == self.users
        disabled = {name for name, user in access.users.items() if user.disabled_at is not None}
        assert disabled == self.disabled
        assert set(access.groups) == self.groups
        places = {
            name: {place.cluster for place in project.places}
            for name, project in access.projects.items()
        }
        assert places == self.projects
        found = {item.id: (item.subject_kind, item.subject, item.scope) for item in access.grants}
        assert found == self.grants
        assert set(self.snapshot.clusters) == self.clusters


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=8,
    stateful_step_count=20,
    suppress_health_check=[HealthCheck.too_slow],
)
