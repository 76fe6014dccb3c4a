"""Routes of roles: what a grant can give. Those that are built in are shown and cannot be changed."""

from typing import Annotated

import msgspec

from proxy.authz.roles import BUILT_IN
from proxy.clock import rfc3339
from proxy.control.entry.fields import Name, Names, PagedQuery, Reason, ReasonQuery, Text, page
from proxy.control.entry.route import Act, Route, Versioned, about_name, about_new
from proxy.control.people.escalation import check_role_change
from proxy.control.people.grants import known_role
from proxy.errors import InvalidInputError
from proxy.state.access import ClusterAccess, Role, Rule, ScopeKind
from proxy.state.permission import Permission

Rules = Annotated[tuple[Rule, ...], msgspec.Meta(max_length=200)]
Scopes = Annotated[tuple[ScopeKind, ...], msgspec.Meta(min_length=1, max_length=4)]
Permissions = Annotated[tuple[Permission, ...], msgspec.Meta(max_length=100)]


class RoleItem(msgspec.Struct, frozen=True, rename="camel"):
    """A role."""

    name: str
    description: str
    built_in: bool
    scopes: tuple[ScopeKind, ...]
    """Where it can be granted."""
    permissions: tuple[Permission, ...]
    clusters: ClusterAccess
    """What a built-in role allows in clusters; custom ones say it by rules."""
    rules: tuple[Rule, ...]
    denies: tuple[Rule, ...]
    kubernetes_groups: tuple[str, ...]
    created_at: str = ""
    created_by: str = ""


class RoleList(msgspec.Struct, frozen=True):
    """Roles: those that are built in, then custom ones by name."""

    items: tuple[RoleItem, ...]
    next: str
    """Cursor of the next page; empty at the end."""


class RoleFields(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):  # fmt: skip
    """What a custom role gives."""

    description: Text = ""
    scopes: Scopes
    """Where it can be granted."""
    permissions: Permissions = ()
    rules: Rules = ()
    """What it allows in clusters; what needs a `kubernetes.` permission needs that, too."""
    denies: Rules = ()
    """What nobody with it may do in its scope, whatever else was granted to them."""
    kubernetes_groups: Names = ()
    reason: Reason = ""


class AddRoleRequest(RoleFields, frozen=True, kw_only=True):
    """A custom role to make."""

    name: Name


class ReplaceRoleRequest(RoleFields, frozen=True, kw_only=True):
    """All that a custom role gives from now on, to everybody who has it."""

    name: Text = ""
    """As in the path; may be left out."""


async def list_roles(act: Act) -> RoleList:
    """Every role: their names are words of the whole organization."""
    custom = act.access.roles
    found = [*BUILT_IN.values(), *(custom[name] for name in sorted(custom) if name not in BUILT_IN)]
    places = {role.name: f"{number:04}" for number, role in enumerate(BUILT_IN.values())}
    # Behind every number.
    shown, following = page(
        found, lambda role: (places.get(role.name, "custom"), role.name), act.query_as(PagedQuery)
    )
    return RoleList(tuple(role_item(role) for role in shown), following)


async def show(act: Act) -> Versioned:
    """One role."""
    role = known_role(act, act.param("name"))
    return Versioned(role_item(role), role.changed)


async def add(act: Act) -> Versioned:
    """Make a custom role."""
    act.require(Permission.MANAGE_ROLES)
    wanted = act.body_as(AddRoleRequest)
    role = role_of_fields(wanted.name, wanted, act.user)
    made = await act.services.store.people.add_role(role)
    await act.services.watcher.refresh()
    act.changed(None, role_item(made))
    return Versioned(role_item(made), made.changed)


async def replace(act: Act) -> Versioned:
    """Let a custom role give something else; what the caller does not hold they cannot add."""
    act.require(Permission.MANAGE_ROLES)
    wanted, known = act.body_as(ReplaceRoleRequest), known_role(act, act.param("name"))
    if wanted.name not in ("", known.name):
        raise InvalidInputError(
            f"The body is of the role {wanted.name!r}, and the path of {known.name!r}.",
            hint="Roles cannot be renamed: make another one.",
        )
    role = role_of_fields(known.name, wanted, act.user)
    check_role_change(act, known, role)
    before, after = await act.services.store.people.replace_role(role, act.unchanged(known.changed))
    await act.services.watcher.refresh()
    act.changed(role_item(before), role_item(after))
    return Versioned(role_item(after), after.changed)


async def remove(act: Act) -> None:
    """Remove a custom role that nobody was granted."""
    act.require(Permission.MANAGE_ROLES)
    known = known_role(act, act.param("name"))
    gone = await act.services.store.people.remove_role(known.name, act.unchanged(known.changed))
    await act.services.watcher.refresh()
    act.changed(role_item(gone), None)


def role_of_fields(name: str, fields: RoleFields, by: str) -> Role:
    """A custom role as the state has it; whether it makes sense is checked there."""
    return Role(
        name=name,
        description=fields.description,
        scopes=tuple(dict.fromkeys(fields.scopes)),
        permissions=frozenset(fields.permissions),
        rules=fields.rules,
        denies=fields.denies,
        kubernetes_groups=tuple(sorted(set(fields.kubernetes_groups))),
        created_by=by,
    )


def role_item(role: Role) -> RoleItem:
    """`role` as it is shown."""
    return RoleItem(
        name=role.name,
        description=role.description,
        built_in=role.built_in,
        scopes=role.scopes,
        permissions=tuple(sorted(role.permissions)),
        clusters=role.clusters,
        rules=role.rules,
        denies=role.denies,
        kubernetes_groups=role.kubernetes_groups,
        created_at=rfc3339(role.created_at) if role.created_at else "",
        created_by=role.created_by,
    )


ROUTES = (
    Route(
        "GET", "/roles", "listRoles", "List roles.", list_roles,
        query=PagedQuery, response=RoleList,
    ),
    Route(
        "POST", "/roles", "addRole", "Make a custom role.", add, action="role.add",
        about=about_new, body=AddRoleRequest, response=RoleItem, status=201, versioned=True,
    ),
    Route(
        "GET", "/roles/{name}", "getRole", "Show a role.", show, response=RoleItem, versioned=True,
    ),
    Route(
        "PUT", "/roles/{name}", "replaceRole", "Let a custom role give something else.", replace,
        action="role.replace", about=about_name, body=ReplaceRoleRequest, response=RoleItem,
        versioned=True, conditional=True,
    ),
    Route(
        "DELETE", "/roles/{name}", "removeRole", "Remove a custom role that nobody was granted.",
        remove, action="role.remove", about=about_name, query=ReasonQuery, status=204,
        conditional=True,
    ),
)  # fmt: skip
