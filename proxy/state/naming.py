"""Names of people and of things they are granted, and what makes a scope or a rule a sound one."""

import re
from collections.abc import Collection, Iterable
from typing import Final

from proxy.errors import InvalidInputError
from proxy.kube.impersonation import InvalidIdentity, check_name
from proxy.state.access import Place, Rule, Scope, ScopeKind

BUILT_IN_ROLES: Final = frozenset(
    {
        "admin",
        "admin-read-only",
        "auditor",
        "project-admin",
        "project-read-only",
        "cluster-admin",
        "namespace-admin",
        "namespace-read-only",
    }
)
"""Names no custom role can have. What they give is written in `proxy.authz.roles`."""
MAX_TEXT: Final = 1000
"""Characters of a description, a reason or a display name."""
_LABEL: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_OF_SCOPE: Final = {
    ScopeKind.ORGANIZATION: (),
    ScopeKind.PROJECT: ("project",),
    ScopeKind.CLUSTER: ("cluster",),
    ScopeKind.NAMESPACE: ("cluster", "namespace"),
}


def check_label(kind: str, name: str) -> None:
    """Refuse the name of a group, project, role or namespace that is no DNS label.

    Raises InvalidInputError; `kind` names it there.
    """
    if not _LABEL.fullmatch(name):
        raise InvalidInputError(
            f"{name!r} is not a {kind} name.",
            hint="Use 1 to 63 lower-case letters, digits and hyphens, as in a DNS label.",
        )


def check_subject(kind: str, name: str) -> None:
    """Refuse the name of a `user` or `group` that no credential may hold: InvalidInputError."""
    try:
        check_name(kind, name)
    except InvalidIdentity as error:
        raise InvalidInputError(f"{kind} name: {error}.", hint="Choose another name.") from error


def check_text(what: str, text: str) -> None:
    """Refuse a text for people that is too long: InvalidInputError."""
    if len(text) > MAX_TEXT:
        raise InvalidInputError(
            f"The {what} is {len(text)} characters long.", hint=f"Use {MAX_TEXT} at most."
        )


def check_scope(scope: Scope) -> None:
    """Refuse a scope that names too much or too little for its kind: InvalidInputError."""
    wanted = _OF_SCOPE[scope.kind]
    for field in ("project", "cluster", "namespace"):
        name = getattr(scope, field)
        if field in wanted:
            check_label(field, name)
        elif name:
            raise InvalidInputError(
                f"A grant for the scope {scope.kind.value!r} names no {field}, and this one names {name!r}.",
                hint=f"Say only: {', '.join(wanted) or 'nothing more'}.",
            )


def sorted_places(places: Iterable[Place]) -> tuple[Place, ...]:
    """The places of a project as they are stored: sorted, namespaces too.

    Raises InvalidInputError for a cluster that is named twice, or an impossible name.
    """
    found: dict[str, Place] = {}
    for place in places:
        check_label("cluster", place.cluster)
        for namespace in place.namespaces:
            check_label("namespace", namespace)
        if place.cluster in found:
            raise InvalidInputError(
                f"Cluster {place.cluster!r} is named twice.",
                hint="Name it once, with all its namespaces, or with none for the whole cluster.",
            )
        found[place.cluster] = Place(place.cluster, tuple(sorted(set(place.namespaces))))
    return tuple(found[name] for name in sorted(found))


def check_rule(rule: Rule, where: str = "A rule") -> None:
    """Refuse a rule that can match nothing, or that mixes resources and paths: InvalidInputError.

    `where` begins what it says: `rules[1]`, for somebody who wrote several.
    """
    of_resources = (rule.api_groups, rule.resources, rule.namespaces, rule.names)
    if not rule.verbs:
        raise InvalidInputError(f"{where} has no verbs.", hint="Say which, or `*` for all.")
    if rule.paths:
        if any(of_resources):
            raise InvalidInputError(
                f"{where} has paths, and resources as well.", hint="Make two rules of it."
            )
        _check_paths(rule.paths)
        return
    if not (rule.api_groups and rule.resources):
        raise InvalidInputError(
            f"{where} has neither paths nor both apiGroups and resources.",
            hint='The core group is "" in apiGroups; `*` means all.',
        )
    for namespace in rule.namespaces:
        if namespace != "*":
            check_label("namespace", namespace)


def _check_paths(paths: Iterable[str]) -> None:
    for path in paths:
        if path != "*" and not path.startswith("/"):
            raise InvalidInputError(
                f"{path!r} is not a path of a rule.", hint="Begin it with `/`, such as `/metrics`."
            )


def some(names: Collection[str], limit: int = 5) -> str:
    """Up to `limit` of `names` for a message, and how many there are if that is more."""
    shown = ", ".join(sorted(names)[:limit])
    return shown if len(names) <= limit else f"{shown}, … ({len(names)} in all)"
