"""Routes of users: who exists. They are the organization's; others see those in their scopes.

Nobody is ever deleted: who is removed stays, disabled, so that a name in the record can never come
to mean somebody else.
"""

from collections.abc import Callable
from enum import StrEnum

import msgspec
from msgspec import UNSET, UnsetType

from proxy.clock import rfc3339
from proxy.control.entry.admitting import LOCAL_ADMIN
from proxy.control.entry.fields import (
    Name,
    Names,
    PagedQuery,
    Reason,
    ReasonQuery,
    Text,
    check_in_path,
    given,
    page,
)
from proxy.control.entry.route import About, Act, Detail, Route, Versioned, about_name, reason_of
from proxy.control.entry.seeing import seen_subjects
from proxy.control.people.credentials import CredentialItem, item_of
from proxy.control.people.denials import check_leaving
from proxy.control.people.escalation import check_group
from proxy.control.people.grants import GrantItem, grant_item
from proxy.errors import InvalidInputError, not_found
from proxy.state.access import SubjectKind, User, UserKind
from proxy.state.permission import Permission


class Status(StrEnum):
    """Whether anything of a user is accepted."""

    ACTIVE = "active"
    DISABLED = "disabled"


class UserItem(msgspec.Struct, frozen=True, rename="camel"):
    """A registered user."""

    name: str
    kind: UserKind
    display_name: str
    groups: tuple[str, ...]
    """Those they are in now; what a certificate says of groups does not count."""
    status: Status
    created_at: str
    created_by: str
    disabled_at: str = ""
    disabled_reason: str = ""


class UserList(msgspec.Struct, frozen=True):
    """Users by name."""

    items: tuple[UserItem, ...]
    next: str
    """Cursor of the next page; empty at the end."""


class AddUserRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Somebody to register."""

    name: Name
    """The name Kubernetes and the log see."""
    kind: UserKind = UserKind.PERSON
    """`person`, or `service` for a machine."""
    display_name: Text = ""
    groups: Names = ()
    """Those they are in; each must be there."""
    reason: Reason = ""


class ChangeUserRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What to change; what is left out stays."""

    display_name: Text | UnsetType = UNSET
    groups: Names | UnsetType = UNSET
    """All of them: what is not named here they are no longer in."""
    disabled: bool | UnsetType = UNSET
    """True refuses everything of theirs from the next call on and cuts open streams."""
    reason: Reason = ""


class RemovedUser(msgspec.Struct, frozen=True):
    """What a removal did."""

    user: UserItem
    credentials: tuple[CredentialItem, ...]
    """Revoked with it."""
    grants: tuple[GrantItem, ...]
    """Revoked with it."""


async def list_users(act: Act) -> UserList:
    """Users the caller may see."""
    seen = seen_subjects(act, Permission.LOOK_AT_USERS)
    found = [
        act.access.users[name] for name in sorted(act.access.users) if seen(SubjectKind.USER, name)
    ]
    shown, following = page(found, lambda user: (user.name,), act.query_as(PagedQuery))
    return UserList(tuple(user_item(user, seen) for user in shown), following)


async def show(act: Act) -> Versioned:
    """One user."""
    name, seen = act.param("name"), seen_subjects(act, Permission.LOOK_AT_USERS)
    user = act.access.users.get(name)
    if user is None or not seen(SubjectKind.USER, name):
        raise not_found("user", name)
    return Versioned(user_item(user, seen), user.changed)


async def add(act: Act) -> Versioned:
    """Register somebody: from then on grants decide what they may do."""
    act.require(Permission.MANAGE_USERS)
    wanted = act.body_as(AddUserRequest)
    check_registrable(wanted.name)
    for group in wanted.groups:
        check_group(act, group)
    made = await act.services.store.people.add_user(
        wanted.name,
        kind=wanted.kind,
        groups=wanted.groups,
        display_name=wanted.display_name,
        by=act.user,
    )
    await act.services.watcher.refresh()
    act.changed(None, user_item(made))
    return Versioned(user_item(made), made.changed)


async def change(act: Act) -> Versioned:
    """Change groups or display name, disable or enable."""
    act.require(Permission.MANAGE_USERS)
    wanted, known = act.body_as(ChangeUserRequest), _known(act)
    if not isinstance(wanted.groups, UnsetType):
        check_membership(act, known, wanted.groups)
    before, after = await act.services.store.people.change_user(
        known.name,
        groups=given(wanted.groups),
        display_name=given(wanted.display_name),
        disabled=given(wanted.disabled),
        reason=wanted.reason,
        expected=act.unchanged(known.changed),
    )
    await act.services.watcher.refresh()
    act.changed(user_item(before), user_item(after))
    return Versioned(user_item(after), after.changed)


async def remove(act: Act) -> RemovedUser:
    """Disable for good, and revoke every credential and grant, in one transaction."""
    act.require(Permission.MANAGE_USERS)
    known = _known(act)
    gone = await act.services.store.people.remove_user(
        known.name,
        by=act.user,
        reason=act.query_as(ReasonQuery).reason,
        expected=act.unchanged(known.changed),
    )
    await act.services.watcher.refresh()
    now = act.services.clock.now()
    act.changed(user_item(known), user_item(gone.user))
    act.detail["revokedCredentials"] = [item.serial for item in gone.credentials]
    act.detail["revokedGrants"] = [item.id for item in gone.grants]
    return RemovedUser(
        user_item(gone.user),
        tuple(item_of(item, now) for item in gone.credentials),
        tuple(grant_item(item, now) for item in gone.grants),
    )


def user_item(
    user: User, seen: Callable[[SubjectKind, str], bool] = lambda kind, name: True
) -> UserItem:
    """`user` as it is shown to somebody who gets to see what `seen` says."""
    return UserItem(
        name=user.name,
        kind=user.kind,
        display_name=user.display_name,
        groups=tuple(group for group in user.groups if seen(SubjectKind.GROUP, group)),
        status=Status.ACTIVE if user.disabled_at is None else Status.DISABLED,
        created_at=rfc3339(user.created_at),
        created_by=user.created_by,
        disabled_at="" if user.disabled_at is None else rfc3339(user.disabled_at),
        disabled_reason=user.disabled_reason,
    )


def check_registrable(name: str) -> None:
    """Refuse to register the machine's own administrator, who must not be disabled: InvalidInputError.

    Also a name that cannot be asked for.
    """
    check_in_path(name)
    if name == LOCAL_ADMIN:
        raise InvalidInputError(
            f"{name!r} is the machine's own administrator, whom nobody registers.",
            hint="Register people under their own names.",
        )


def check_membership(act: Act, known: User, groups: tuple[str, ...]) -> None:
    """Raise DeniedError where being in these groups, and in no other, would give a user what the
    caller does not hold: by a group that is joined, or one that denies and is left."""
    for group in sorted(set(groups) - set(known.groups)):
        check_group(act, group)
    check_leaving(act, set(known.groups) - set(groups))


def _known(act: Act) -> User:
    name = act.param("name")
    user = act.access.users.get(name)
    if user is None:
        raise not_found("user", name)
    return user


def _about_add(act: Act) -> About:
    wanted = act.body_as(AddUserRequest)
    detail: Detail = {"userKind": wanted.kind.value, "groups": list(wanted.groups)}
    return About(wanted.name, detail | reason_of(act))


ROUTES = (
    Route(
        "GET", "/users", "listUsers", "List users.", list_users,
        query=PagedQuery, response=UserList,
    ),
    Route(
        "POST", "/users", "addUser", "Register a user.", add, action="user.add", about=_about_add,
        body=AddUserRequest, response=UserItem, status=201, versioned=True,
    ),
    Route(
        "GET", "/users/{name}", "getUser", "Show a user.", show, response=UserItem, versioned=True,
    ),
    Route(
        "PATCH", "/users/{name}", "changeUser", "Change, disable or enable a user.", change,
        action="user.change", about=about_name, body=ChangeUserRequest, response=UserItem,
        versioned=True, conditional=True,
    ),
    Route(
        "DELETE", "/users/{name}", "removeUser",
        "Disable a user and revoke their credentials and grants; the name stays taken.", remove,
        action="user.remove", about=about_name, query=ReasonQuery, response=RemovedUser,
        conditional=True,
    ),
)  # fmt: skip
