"""Routes of projects: clusters, whole or by namespaces, that belong together."""

from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

from proxy.clock import rfc3339
from proxy.control.entry.fields import (
    Name,
    Names,
    PagedQuery,
    Reason,
    ReasonQuery,
    Text,
    given,
    page,
)
from proxy.control.entry.route import Act, Route, Versioned, about_name, about_new
from proxy.control.entry.seeing import seen_clusters
from proxy.control.people.denials import check_gaining, check_losing
from proxy.errors import not_found
from proxy.state.access import Place, Project, Scope, ScopeKind
from proxy.state.permission import Permission


class PlaceItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A cluster, or some namespaces of it."""

    cluster: Name
    namespaces: Names = ()
    """Empty means the whole cluster."""


Places = Annotated[tuple[PlaceItem, ...], msgspec.Meta(max_length=1000)]


class ProjectItem(msgspec.Struct, frozen=True, rename="camel"):
    """A project."""

    name: str
    description: str
    places: tuple[PlaceItem, ...]
    """At most one for each cluster."""
    created_at: str
    created_by: str


class ProjectList(msgspec.Struct, frozen=True):
    """Projects by name."""

    items: tuple[ProjectItem, ...]
    next: str
    """Cursor of the next page; empty at the end."""


class AddProjectRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A project to make."""

    name: Name
    places: Places = ()
    description: Text = ""
    reason: Reason = ""


class ChangeProjectRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What to change; what is left out stays."""

    places: Places | UnsetType = UNSET
    """All of them. To add one takes project.manage in the organization: it widens every grant."""
    description: Text | UnsetType = UNSET
    reason: Reason = ""


async def list_projects(act: Act) -> ProjectList:
    """Projects the caller may see."""
    found = [
        act.access.projects[name]
        for name in sorted(act.access.projects)
        if act.holds(Permission.LOOK_AT_PROJECTS, scope_of(name))
    ]
    shown, following = page(found, lambda project: (project.name,), act.query_as(PagedQuery))
    return ProjectList(tuple(project_item(project) for project in shown), following)


async def show(act: Act) -> Versioned:
    """One project."""
    project = _known(act, Permission.LOOK_AT_PROJECTS)
    return Versioned(project_item(project), project.changed)


async def add(act: Act) -> Versioned:
    """Make a project of registered clusters."""
    act.require(Permission.MANAGE_PROJECTS)
    wanted = act.body_as(AddProjectRequest)
    places = places_of(wanted.places)
    check_clusters(act, places)
    made = await act.services.store.people.add_project(
        wanted.name, places=places, description=wanted.description, by=act.user
    )
    await act.services.watcher.refresh()
    act.changed(None, project_item(made))
    return Versioned(project_item(made), made.changed)


async def change(act: Act) -> Versioned:
    """Change its description, or what belongs to it."""
    known = _known(act, Permission.LOOK_AT_PROJECTS)
    act.require(Permission.MANAGE_PROJECTS, scope_of(known.name))
    wanted = act.body_as(ChangeProjectRequest)
    places = None
    if not isinstance(wanted.places, UnsetType):
        places = places_of(wanted.places)
        check_clusters(act, places)
        if added := gained(known.places, places):
            # Whoever has a role in the project has it there from then on.
            act.require(Permission.MANAGE_PROJECTS)
            act.check_places(known.name, added)
            check_gaining(act, known.name)
        check_losing(act, known.name, gained(places, known.places))
    before, after = await act.services.store.people.change_project(
        known.name,
        places=places,
        description=given(wanted.description),
        expected=act.unchanged(known.changed),
    )
    await act.services.watcher.refresh()
    act.changed(project_item(before), project_item(after))
    return Versioned(project_item(after), after.changed)


async def remove(act: Act) -> None:
    """Remove a project that no grant is for."""
    known = _known(act, Permission.LOOK_AT_PROJECTS)
    act.require(Permission.MANAGE_PROJECTS)
    gone = await act.services.store.people.remove_project(
        known.name, expected=act.unchanged(known.changed)
    )
    await act.services.watcher.refresh()
    act.changed(project_item(gone), None)


def scope_of(name: str) -> Scope:
    """The scope of a grant that holds in a project."""
    return Scope(ScopeKind.PROJECT, project=name)


def places_of(items: tuple[PlaceItem, ...]) -> tuple[Place, ...]:
    """Places as the state has them."""
    return tuple(Place(item.cluster, tuple(sorted(set(item.namespaces)))) for item in items)


def gained(before: tuple[Place, ...], after: tuple[Place, ...]) -> tuple[Place, ...]:
    """What belongs to a project `after` that did not `before`."""
    known = {place.cluster: place.namespaces for place in before}
    found: list[Place] = []
    for place in after:
        had = known.get(place.cluster)
        if had is None or (had and not place.namespaces):
            found.append(place)
        elif had and (new := set(place.namespaces) - set(had)):
            found.append(Place(place.cluster, tuple(sorted(new))))
    return tuple(found)


def check_clusters(act: Act, places: tuple[Place, ...]) -> None:
    """Refuse clusters that are not registered, or that the caller does not get to see: NotFoundError."""
    seen = seen_clusters(act, Permission.LOOK_AT_CLUSTERS)
    for place in places:
        if place.cluster not in seen:
            raise not_found("cluster", place.cluster)


def project_item(project: Project) -> ProjectItem:
    """`project` as it is shown."""
    return ProjectItem(
        name=project.name,
        description=project.description,
        places=tuple(PlaceItem(place.cluster, place.namespaces) for place in project.places),
        created_at=rfc3339(project.created_at),
        created_by=project.created_by,
    )


def _known(act: Act, permission: Permission) -> Project:
    name = act.param("name")
    project = act.access.projects.get(name)
    if project is None or not act.holds(permission, scope_of(name)):
        raise not_found("project", name)
    return project


ROUTES = (
    Route(
        "GET", "/projects", "listProjects", "List projects.", list_projects,
        query=PagedQuery, response=ProjectList,
    ),
    Route(
        "POST", "/projects", "addProject", "Make a project.", add,
        action="project.add", about=about_new, body=AddProjectRequest, response=ProjectItem,
        status=201, versioned=True,
    ),
    Route(
        "GET", "/projects/{name}", "getProject", "Show a project.", show,
        response=ProjectItem, versioned=True,
    ),
    Route(
        "PATCH", "/projects/{name}", "changeProject",
        "Change a project's description, or what belongs to it.", change,
        action="project.change", about=about_name, body=ChangeProjectRequest,
        response=ProjectItem, versioned=True, conditional=True,
    ),
    Route(
        "DELETE", "/projects/{name}", "removeProject", "Remove a project that no grant is for.",
        remove, action="project.remove", about=about_name, query=ReasonQuery, status=204,
        conditional=True,
    ),
)  # fmt: skip
