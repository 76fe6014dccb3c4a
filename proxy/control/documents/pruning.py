"""What a pruning takes away: what no document mentions, of the kinds that documents mention.

Only what the caller manages is looked at. Nobody removes themselves that way, nor the grant that
makes them an administrator, nor a denial of what they do not hold or are denied themselves.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from proxy.authz.standing import is_over
from proxy.control.documents.manifests import (
    GrantDocument,
    GrantSpec,
    GroupDocument,
    ProjectDocument,
    RoleDocument,
    UserDocument,
)
from proxy.control.documents.planning import Action, Planned
from proxy.control.entry.route import Act
from proxy.control.entry.seeing import is_own
from proxy.control.people.denials import check_ending
from proxy.control.people.grants import grant_item
from proxy.control.people.groups import group_item, members_of
from proxy.control.people.projects import project_item
from proxy.control.people.roles import role_item
from proxy.control.people.users import user_item
from proxy.errors import ConflictError
from proxy.state import custom_roles, granting
from proxy.state import groups as groups_table
from proxy.state import projects as projects_table
from proxy.state import users as users_table
from proxy.state.access import ORGANIZATION, Grant, Scope, SubjectKind
from proxy.state.change import Change
from proxy.state.permission import Permission

_ADMIN: Final = "admin"
Key = tuple[SubjectKind, str, str, Scope]
"""What tells grants apart: to whom, of which role, where."""


class Pruner:
    """Plans for one caller what is taken away."""

    def __init__(self, act: Act, reason: str) -> None:
        self._act = act
        self._access = act.access
        self._reason = reason

    def users(self, documents: Sequence[UserDocument]) -> Iterator[Planned]:
        """Remove active users who are not in the documents."""
        act, named = self._act, _names(documents)
        if not act.holds(Permission.MANAGE_USERS, ORGANIZATION):
            return
        for name, user in self._access.users.items():
            if name in named or user.disabled_at is not None:
                continue
            if name == act.user:
                raise ConflictError(
                    f"The documents do not have {name!r}, and you would remove yourself.",
                    hint="Add yourself to them.",
                )

            async def make(change: Change, name: str = name) -> None:
                await users_table.remove(change, name, by=act.user, reason=self._reason)

            yield Planned(Action.REMOVE, "User", name, user_item(user), make)

    def groups(self, documents: Sequence[GroupDocument]) -> Iterator[Planned]:
        """Remove groups that are not in the documents."""
        named = _names(documents)
        if not self._act.holds(Permission.MANAGE_USERS, ORGANIZATION):
            return
        for name, group in self._access.groups.items():
            if name not in named:

                async def make(change: Change, name: str = name) -> None:
                    await groups_table.remove(change, name)

                before = group_item(group, members_of(self._access, name))
                yield Planned(Action.REMOVE, "Group", name, before, make)

    def roles(self, documents: Sequence[RoleDocument]) -> Iterator[Planned]:
        """Remove custom roles that are not in the documents."""
        named = _names(documents)
        if not self._act.holds(Permission.MANAGE_ROLES, ORGANIZATION):
            return
        for name, role in self._access.roles.items():
            if name not in named:

                async def make(change: Change, name: str = name) -> None:
                    await custom_roles.remove(change, name)

                yield Planned(Action.REMOVE, "Role", name, role_item(role), make)

    def projects(self, documents: Sequence[ProjectDocument]) -> Iterator[Planned]:
        """Remove projects that are not in the documents."""
        named = _names(documents)
        if not self._act.holds(Permission.MANAGE_PROJECTS, ORGANIZATION):
            return
        for name, project in self._access.projects.items():
            if name not in named:

                async def make(change: Change, name: str = name) -> None:
                    await projects_table.remove(change, name)

                yield Planned(Action.REMOVE, "Project", name, project_item(project), make)

    def grants(self, documents: Sequence[GrantDocument]) -> Iterator[Planned]:
        """Revoke grants that are not in the documents, where the caller manages grants."""
        act, named = self._act, {key_of(document.spec) for document in documents}
        now = act.services.clock.now()
        standing = [grant for grant in self._access.grants if not is_over(grant, now)]
        for grant in standing:
            if identity(grant) in named or not act.holds(Permission.MANAGE_GRANTS, grant.scope):
                continue
            self._check_own(grant, named, standing)
            yield ending(act, grant, self._reason)

    def _check_own(self, grant: Grant, named: set[Key], standing: Sequence[Grant]) -> None:
        """Refuse to take away the last of what makes the caller an administrator: ConflictError."""
        act = self._act
        if grant.role != _ADMIN or not is_own(act, grant) or act.known.caller.local_admin:
            return
        if not any(
            other.role == _ADMIN and is_own(act, other) and identity(other) in named
            for other in standing
        ):
            raise ConflictError(
                "The documents do not have the grant that makes you an administrator.",
                hint="Add it to them, or let another administrator apply them.",
            )


def ending(act: Act, grant: Grant, reason: str) -> Planned:
    """Revoke a grant. Raises DeniedError where the caller does not manage grants, or would take away
    what it denies and they do not hold."""
    act.require(Permission.MANAGE_GRANTS, grant.scope)
    check_ending(act, grant)

    async def make(change: Change) -> None:
        await granting.revoke(change, grant.id, by=act.user, reason=reason)

    before = grant_item(grant, act.services.clock.now())
    return Planned(Action.REMOVE, "Grant", title(identity(grant)), before, make, target=grant.id)


def key_of(spec: GrantSpec) -> Key:
    """What tells a grant from others, as it is written down. Raises InvalidInputError."""
    kind, subject = spec.subject()
    return kind, subject, spec.role, spec.scope()


def title(key: Key) -> str:
    """`user/rob namespace-admin namespace/prod/web`."""
    kind, subject, role, scope = key
    return f"{kind.value}/{subject} {role} {scope}"


def identity(grant: Grant) -> Key:
    """What tells a grant from others."""
    return grant.subject_kind, grant.subject, grant.role, grant.scope


def _names(
    documents: Sequence[UserDocument | GroupDocument | RoleDocument | ProjectDocument],
) -> frozenset[str]:
    return frozenset(document.metadata.name for document in documents)
