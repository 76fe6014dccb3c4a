"""Who exists and what is granted: the one way to read and change it. Each method is one transaction.

What each change checks stands with its table: `users`, `groups`, `projects`, `custom_roles`,
`granting`. Nobody's right to make it is looked at here; `proxy.authz` does, before.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from proxy.clock import Clock
from proxy.errors import ConflictError
from proxy.state import custom_roles, granted, granting, groups, projects, tables, users
from proxy.state.access import (
    Access,
    Grant,
    Group,
    Place,
    Project,
    Role,
    Scope,
    SubjectKind,
    User,
    UserKind,
)
from proxy.state.change import Change
from proxy.state.reading import read_access, read_version
from proxy.state.transactions import LONG_LIMIT, RAISE_ACCESS, Transactions
from proxy.state.users import RemovedUser, RevokedAccess

Step = Callable[[Change], Awaitable[object]]
"""One of several changes that are made together, such as `partial(groups.add, name="dev", by="ann")`
or `lambda change: granting.revoke(change, id, by="ann", reason="")`."""


class _UndoneError(Exception):
    """Leaves a transaction without a change, with what there would have been."""

    def __init__(self, access: Access) -> None:
        super().__init__()
        self.access = access


class People:
    """Users, groups, projects, custom roles and grants in the state's database.

    Where there is `expected`, it is the `changed` of what the caller saw: PreconditionError when it
    was changed since. Where two are returned, they are before and after.
    """

    def __init__(self, transactions: Transactions, clock: Clock) -> None:
        self._transactions = transactions
        self._clock = clock

    async def access(self) -> Access:
        """All of it, as it is now."""
        async with self._transactions.reading(limit=LONG_LIMIT) as (connection, _):
            return await read_access(connection, now=self._clock.now())

    async def add_user(
        self,
        name: str,
        *,
        kind: UserKind,
        groups: Iterable[str] = (),
        display_name: str = "",
        by: str,
    ) -> User:
        """Register a user: `proxy.state.users.add`."""
        async with self._changing() as change:
            return await users.add(
                change, name, kind=kind, groups=groups, display_name=display_name, by=by
            )

    async def change_user(
        self,
        name: str,
        *,
        groups: Iterable[str] | None = None,
        display_name: str | None = None,
        disabled: bool | None = None,
        reason: str = "",
        expected: int | None = None,
    ) -> tuple[User, User]:
        """Change what is not None: `proxy.state.users.edit`."""
        async with self._changing() as change:
            return await users.edit(
                change,
                name,
                groups=groups,
                display_name=display_name,
                disabled=disabled,
                reason=reason,
                expected=expected,
            )

    async def remove_user(
        self, name: str, *, by: str, reason: str, expected: int | None = None
    ) -> RemovedUser:
        """Disable a user and revoke all they had: `proxy.state.users.remove`."""
        async with self._changing() as change:
            return await users.remove(change, name, by=by, reason=reason, expected=expected)

    async def revoke_access(self, name: str, *, by: str, reason: str) -> RevokedAccess:
        """Revoke every credential and API token of a user: `proxy.state.users.revoke`."""
        async with self._changing() as change:
            return await users.revoke(change, name, by=by, reason=reason)

    async def add_group(self, name: str, *, description: str = "", by: str) -> Group:
        """Register a group: `proxy.state.groups.add`."""
        async with self._changing() as change:
            return await groups.add(change, name, description=description, by=by)

    async def change_group(
        self, name: str, *, description: str, expected: int | None = None
    ) -> tuple[Group, Group]:
        """Describe a group anew: `proxy.state.groups.edit`."""
        async with self._changing() as change:
            return await groups.edit(change, name, description=description, expected=expected)

    async def remove_group(self, name: str, *, expected: int | None = None) -> Group:
        """Forget a group: `proxy.state.groups.remove`."""
        async with self._changing() as change:
            return await groups.remove(change, name, expected=expected)

    async def add_project(
        self, name: str, *, places: Iterable[Place], description: str = "", by: str
    ) -> Project:
        """Make a project: `proxy.state.projects.add`."""
        async with self._changing() as change:
            return await projects.add(change, name, places=places, description=description, by=by)

    async def change_project(
        self,
        name: str,
        *,
        places: Iterable[Place] | None = None,
        description: str | None = None,
        expected: int | None = None,
    ) -> tuple[Project, Project]:
        """Change what is not None: `proxy.state.projects.edit`."""
        async with self._changing() as change:
            return await projects.edit(
                change, name, places=places, description=description, expected=expected
            )

    async def remove_project(self, name: str, *, expected: int | None = None) -> Project:
        """Forget a project: `proxy.state.projects.remove`."""
        async with self._changing() as change:
            return await projects.remove(change, name, expected=expected)

    async def add_role(self, role: Role) -> Role:
        """Make a custom role: `proxy.state.custom_roles.add`."""
        async with self._changing() as change:
            return await custom_roles.add(change, role)

    async def replace_role(self, role: Role, expected: int | None = None) -> tuple[Role, Role]:
        """Let a custom role give something else: `proxy.state.custom_roles.replace`."""
        async with self._changing() as change:
            return await custom_roles.replace(change, role, expected=expected)

    async def remove_role(self, name: str, expected: int | None = None) -> Role:
        """Forget a custom role: `proxy.state.custom_roles.remove`."""
        async with self._changing() as change:
            return await custom_roles.remove(change, name, expected=expected)

    async def add_grant(
        self,
        *,
        subject_kind: SubjectKind,
        subject: str,
        role: str,
        scope: Scope,
        expires_at: float | None = None,
        reason: str = "",
        by: str,
    ) -> Grant:
        """Give a user or a group a role: `proxy.state.granting.add`."""
        async with self._changing() as change:
            return await granting.add(
                change,
                subject_kind=subject_kind,
                subject=subject,
                role=role,
                scope=scope,
                expires_at=expires_at,
                reason=reason,
                by=by,
            )

    async def revoke_grant(
        self,
        id: str,  # noqa: A002
        *,
        by: str,
        reason: str,
        expected: int | None = None,
    ) -> Grant:
        """End a grant: `proxy.state.granting.revoke`."""
        async with self._changing() as change:
            return await granting.revoke(change, id, by=by, reason=reason, expected=expected)

    async def grant(self, id: str) -> Grant:  # noqa: A002
        """One grant, also when it has ended. Raises NotFoundError."""
        async with self._transactions.reading() as (connection, _):
            return await granted.get(connection, id)

    async def grants(
        self,
        *,
        user: str | None = None,
        group: str | None = None,
        role: str | None = None,
        cluster: str | None = None,
        project: str | None = None,
        ended: bool = False,
        after: tuple[float, str] | None = None,
        limit: int = 1000,
    ) -> list[Grant]:
        """Grants, newest first, from beyond `after`: when one was made, and its id.

        With `ended` also those expired or revoked.
        """
        wanted = granted.listed(
            now=self._clock.now(),
            user=user,
            group=group,
            role=role,
            cluster=cluster,
            project=project,
            ended=ended,
        )
        async with self._transactions.reading() as (connection, _):
            return await granted.page(connection, wanted, after=after, limit=limit)

    async def apply(self, steps: Sequence[Step], *, version: int, dry_run: bool = False) -> Access:
        """Make all the changes, in their order, or none; what there is then.

        `version` is that of the Access the changes were thought out for: ConflictError when it is
        another one now. With `dry_run` nothing is changed, and every check is made all the same.
        Raises what the steps raise.
        """
        try:
            async with self._transactions.changing(limit=LONG_LIMIT) as (connection, new):
                await _require_version(connection, version)
                await connection.execute(update(tables.meta).values(access_version=new))
                change = Change(connection, new, self._clock.now())
                for step in steps:
                    await step(change)
                access = await read_access(connection, now=change.now)
                _undo(access, dry_run=dry_run)
                return access
        except _UndoneError as undone:
            return undone.access

    @contextlib.asynccontextmanager
    async def _changing(self) -> AsyncIterator[Change]:
        async with self._transactions.changing(RAISE_ACCESS) as (connection, version):
            yield Change(connection, version, self._clock.now())


def _undo(access: Access, *, dry_run: bool) -> None:
    if dry_run:
        raise _UndoneError(access)


async def _require_version(connection: AsyncConnection, version: int) -> None:
    found = await read_version(connection)
    if found != version:
        raise ConflictError(
            f"Who exists or what is granted was changed in between: it is at version {found}, not"
            f" {version}.",
            hint="Look at what there is now, and apply the changes again.",
        )
