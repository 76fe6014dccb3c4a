"""What each kind of document changes."""

from collections.abc import Iterator
from typing import Final

import msgspec

from proxy.audit.moments import parse_moment
from proxy.authz.roles import role_of
from proxy.authz.standing import is_over
from proxy.control.documents.manifests import (
    GrantDocument,
    GroupDocument,
    ProjectDocument,
    RoleDocument,
    UserDocument,
)
from proxy.control.documents.planning import Action, Plan, Planned, Prune
from proxy.control.documents.pruning import Pruner, ending, identity, key_of, title
from proxy.control.entry.fields import check_in_path, given
from proxy.control.entry.route import Act
from proxy.control.people.denials import check_denying, check_gaining, check_losing
from proxy.control.people.escalation import check_group, check_role_change
from proxy.control.people.grants import grant_item
from proxy.control.people.groups import group_item, members_of
from proxy.control.people.projects import check_clusters, gained, places_of, project_item, scope_of
from proxy.control.people.roles import role_item, role_of_fields
from proxy.control.people.users import check_membership, check_registrable, user_item
from proxy.errors import InvalidInputError, not_found
from proxy.state import custom_roles, granting, groups, projects, users
from proxy.state.access import Role, UserKind
from proxy.state.change import Change
from proxy.state.permission import Permission

_MICROS: Final = 1_000_000


class Planner:
    """Plans for one caller, against the state as it is known now."""

    def __init__(self, act: Act, reason: str) -> None:
        self._act = act
        self._access = act.access
        self._reason = reason
        self._now = act.services.clock.now()
        self._roles: dict[str, Role] = {}
        """As they will be: what is granted by the same documents is worth that."""

    def planners(self) -> dict[str, tuple[Plan, Prune]]:
        """Of each kind: what a document changes, and what is taken away that none mentions."""
        without = Pruner(self._act, self._reason)
        return {
            "User": (self.user, without.users),
            "Group": (self.group, without.groups),
            "Role": (self.role, without.roles),
            "Project": (self.project, without.projects),
            "Grant": (self.grant, without.grants),
        }

    def user(self, document: UserDocument) -> Iterator[Planned]:
        """Register somebody, or change what the document says of them."""
        act, name, spec = self._act, document.metadata.name, document.spec
        known = self._access.users.get(name)
        groups_, display, disabled = (
            given(spec.groups),
            given(spec.display_name),
            given(spec.disabled),
        )
        if known is None:
            check_registrable(name)
        elif given(spec.kind) not in (None, known.kind):
            raise InvalidInputError(f"{name!r} is a {known.kind.value}, and that stays.")
        elif (
            (groups_ is None or set(groups_) == set(known.groups))
            and display in (None, known.display_name)
            and disabled in (None, known.disabled_at is not None)
        ):
            return
        act.require(Permission.MANAGE_USERS)
        if known is None:
            for group in groups_ or ():
                check_group(act, group)
        elif groups_ is not None:
            check_membership(act, known, groups_)

        async def make(change: Change) -> msgspec.Struct:
            if known is None:
                kind = given(spec.kind) or UserKind.PERSON
                await users.add(change, name, kind=kind, by=act.user)
            _, after = await users.edit(
                change,
                name,
                groups=groups_,
                display_name=display,
                disabled=disabled,
                reason=self._reason,
            )
            return user_item(after)

        before = None if known is None else user_item(known)
        yield Planned(_action(before), "User", name, before, make)

    def group(self, document: GroupDocument) -> Iterator[Planned]:
        """Make a group, or describe it anew."""
        act, name, text = self._act, document.metadata.name, given(document.spec.description)
        known = self._access.groups.get(name)
        if known is not None and text in (None, known.description):
            return
        act.require(Permission.MANAGE_USERS)
        check_in_path(name)
        members = members_of(self._access, name)

        async def make(change: Change) -> msgspec.Struct:
            if known is None:
                made = await groups.add(change, name, description=text or "", by=act.user)
            else:
                _, made = await groups.edit(change, name, description=text or "")
            return group_item(made, members)

        before = None if known is None else group_item(known, members)
        yield Planned(_action(before), "Group", name, before, make)

    def role(self, document: RoleDocument) -> Iterator[Planned]:
        """Make a custom role, or let it give something else."""
        act, name = self._act, document.metadata.name
        known = role_of(self._access, name)
        role = role_of_fields(name, document.spec, act.user)
        if known is not None and _same_role(known, role):
            return
        act.require(Permission.MANAGE_ROLES)
        if known is not None:
            check_role_change(act, known, role)
        self._roles[name] = role

        async def make(change: Change) -> msgspec.Struct:
            if known is None:
                return role_item(await custom_roles.add(change, role))
            _, after = await custom_roles.replace(change, role)
            return role_item(after)

        before = None if known is None else role_item(known)
        yield Planned(_action(before), "Role", name, before, make)

    def project(self, document: ProjectDocument) -> Iterator[Planned]:
        """Make a project, or change what belongs to it."""
        act, name, text = self._act, document.metadata.name, given(document.spec.description)
        items = given(document.spec.places)
        places = None if items is None else places_of(items)
        known = self._access.projects.get(name)
        if (
            known is not None
            and text in (None, known.description)
            and (places is None or set(places) == set(known.places))
        ):
            return
        # As the routes have it: only what takes away is the project's own to do.
        added = gained(() if known is None else known.places, places or ())
        if known is None or added:
            act.require(Permission.MANAGE_PROJECTS)
        else:
            act.require(Permission.MANAGE_PROJECTS, scope_of(name))
        check_clusters(act, places or ())
        if known is not None and added:
            act.check_places(name, added)
            check_gaining(act, name)
        if known is not None and places is not None:
            check_losing(act, name, gained(places, known.places))

        async def make(change: Change) -> msgspec.Struct:
            if known is None:
                made = await projects.add(
                    change, name, places=places or (), description=text or "", by=act.user
                )
            else:
                _, made = await projects.edit(change, name, places=places, description=text)
            return project_item(made)

        before = None if known is None else project_item(known)
        yield Planned(_action(before), "Project", name, before, make)

    def grant(self, document: GrantDocument) -> Iterator[Planned]:
        """Grant a role; one with another end takes the place of the one there is."""
        act, spec = self._act, document.spec
        key = key_of(spec)
        expires = _moment(spec.expires_at, self._now)
        same = [
            grant
            for grant in self._access.grants
            if identity(grant) == key and not is_over(grant, self._now)
        ]
        if any(grant.expires_at == expires for grant in same):
            return
        role = self._roles.get(spec.role) or role_of(self._access, spec.role)
        if role is None:
            raise not_found("role", spec.role)
        act.check_grantable(role, key[3])
        check_denying(act, role, key[0], key[1])
        for grant in same:
            yield ending(act, grant, self._reason)

        async def make(change: Change) -> msgspec.Struct:
            made = await granting.add(
                change,
                subject_kind=key[0],
                subject=key[1],
                role=spec.role,
                scope=key[3],
                expires_at=expires,
                reason=spec.reason or self._reason,
                by=act.user,
            )
            return grant_item(made, change.now)

        target = f"{key[0].value} {key[1]}"
        yield Planned(Action.ADD, "Grant", title(key), None, make, target=target)


def _action(before: msgspec.Struct | None) -> Action:
    return Action.ADD if before is None else Action.CHANGE


def _same_role(known: Role, role: Role) -> bool:
    return (
        not known.built_in
        and all(
            getattr(known, member) == getattr(role, member)
            for member in ("description", "permissions", "rules", "denies")
        )
        and set(known.scopes) == set(role.scopes)
        and set(known.kubernetes_groups) == set(role.kubernetes_groups)
    )


def _moment(text: str, now: float) -> float | None:
    """An end that means the same whenever the document is applied."""
    if not text:
        return None
    if text.strip()[-1:].isalpha() and not text.strip().endswith(("Z", "z")):
        raise InvalidInputError(
            f"{text!r} is counted from now, and a document is applied again and again.",
            hint="Write a moment, such as 2027-03-31T18:00:00Z.",
        )
    return parse_moment(text, now) / _MICROS
