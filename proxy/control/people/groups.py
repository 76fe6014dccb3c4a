"""Routes of groups: whom something can be granted to at once. They are the organization's."""

import msgspec

from proxy.clock import rfc3339
from proxy.control.entry.fields import (
    Name,
    PagedQuery,
    Reason,
    ReasonQuery,
    Text,
    check_in_path,
    page,
)
from proxy.control.entry.route import Act, Route, Versioned, about_name, about_new
from proxy.control.entry.seeing import seen_subjects
from proxy.errors import not_found
from proxy.state.access import Access, Group, SubjectKind
from proxy.state.permission import Permission


class GroupItem(msgspec.Struct, frozen=True, rename="camel"):
    """A group."""

    name: str
    description: str
    members: tuple[str, ...]
    """Registered users in it; they are put in it as users."""
    created_at: str
    created_by: str


class GroupList(msgspec.Struct, frozen=True):
    """Groups by name."""

    items: tuple[GroupItem, ...]
    next: str
    """Cursor of the next page; empty at the end."""


class AddGroupRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A group to make."""

    name: Name
    description: Text = ""
    reason: Reason = ""


class ChangeGroupRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What to change."""

    description: Text
    reason: Reason = ""


async def list_groups(act: Act) -> GroupList:
    """Groups the caller may see."""
    seen = seen_subjects(act, Permission.LOOK_AT_USERS)
    found = [
        act.access.groups[name]
        for name in sorted(act.access.groups)
        if seen(SubjectKind.GROUP, name)
    ]
    shown, following = page(found, lambda group: (group.name,), act.query_as(PagedQuery))
    members = _all_members(act.access)
    return GroupList(
        tuple(group_item(group, members.get(group.name, ())) for group in shown), following
    )


async def show(act: Act) -> Versioned:
    """One group."""
    group = _known(act)
    if not seen_subjects(act, Permission.LOOK_AT_USERS)(SubjectKind.GROUP, group.name):
        raise not_found("group", group.name)
    return _versioned(act, group)


async def add(act: Act) -> Versioned:
    """Make a group."""
    act.require(Permission.MANAGE_USERS)
    wanted = act.body_as(AddGroupRequest)
    check_in_path(wanted.name)
    made = await act.services.store.people.add_group(
        wanted.name, description=wanted.description, by=act.user
    )
    await act.services.watcher.refresh()
    act.changed(None, group_item(made, ()))
    return _versioned(act, made)


async def change(act: Act) -> Versioned:
    """Change its description."""
    act.require(Permission.MANAGE_USERS)
    known = _known(act)
    before, after = await act.services.store.people.change_group(
        known.name,
        description=act.body_as(ChangeGroupRequest).description,
        expected=act.unchanged(known.changed),
    )
    await act.services.watcher.refresh()
    members = members_of(act.access, known.name)
    act.changed(group_item(before, members), group_item(after, members))
    return _versioned(act, after)


async def remove(act: Act) -> None:
    """Remove a group that nothing is granted to."""
    act.require(Permission.MANAGE_USERS)
    known = _known(act)
    members = members_of(act.access, known.name)
    gone = await act.services.store.people.remove_group(
        known.name, expected=act.unchanged(known.changed)
    )
    await act.services.watcher.refresh()
    act.changed(group_item(gone, members), None)


def group_item(group: Group, members: tuple[str, ...]) -> GroupItem:
    """`group` as it is shown."""
    return GroupItem(
        name=group.name,
        description=group.description,
        members=members,
        created_at=rfc3339(group.created_at),
        created_by=group.created_by,
    )


def members_of(access: Access, group: str) -> tuple[str, ...]:
    """Names of the users in a group, sorted."""
    return tuple(name for name in sorted(access.users) if group in access.users[name].groups)


def _all_members(access: Access) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for name in sorted(access.users):
        for group in access.users[name].groups:
            found.setdefault(group, []).append(name)
    return {group: tuple(names) for group, names in found.items()}


def _versioned(act: Act, group: Group) -> Versioned:
    return Versioned(group_item(group, members_of(act.access, group.name)), group.changed)


def _known(act: Act) -> Group:
    name = act.param("name")
    group = act.access.groups.get(name)
    if group is None:
        raise not_found("group", name)
    return group


ROUTES = (
    Route(
        "GET", "/groups", "listGroups", "List groups.", list_groups,
        query=PagedQuery, response=GroupList,
    ),
    Route(
        "POST", "/groups", "addGroup", "Make a group.", add, action="group.add", about=about_new,
        body=AddGroupRequest, response=GroupItem, status=201, versioned=True,
    ),
    Route(
        "GET", "/groups/{name}", "getGroup", "Show a group.", show,
        response=GroupItem, versioned=True,
    ),
    Route(
        "PATCH", "/groups/{name}", "changeGroup", "Change a group's description.", change,
        action="group.change", about=about_name, body=ChangeGroupRequest, response=GroupItem,
        versioned=True, conditional=True,
    ),
    Route(
        "DELETE", "/groups/{name}", "removeGroup", "Remove a group that nothing is granted to.",
        remove, action="group.remove", about=about_name, query=ReasonQuery, status=204,
        conditional=True,
    ),
)  # fmt: skip
