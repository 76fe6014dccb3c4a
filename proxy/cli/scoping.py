"""Scopes and ends of grants as people write them in options, and as commands show them."""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final

import typer

from proxy.cli.completion import complete_cluster, complete_project
from proxy.errors import InvalidInputError

_ENDS: Final = "Write 30d or 8h (from now), 2030-12-31, or 2030-12-31T18:00."
_TTL: Final = re.compile(r"(?:[0-9]+[dhms])+", re.ASCII)

OrganizationOption = Annotated[
    bool, typer.Option("--organization", help="In the whole organization.")
]
ProjectOption = Annotated[
    str,
    typer.Option(
        "--project",
        "-p",
        autocompletion=complete_project,
        help="In this project.",
        show_default=False,
    ),
]
ClusterOption = Annotated[
    str,
    typer.Option(
        "--cluster",
        "-c",
        autocompletion=complete_cluster,
        help="In this cluster.",
        show_default=False,
    ),
]
NamespaceOption = Annotated[
    str,
    typer.Option(
        "--namespace", "-n", help="In this namespace of --cluster only.", show_default=False
    ),
]


def scope_of(*, organization: bool, project: str, cluster: str, namespace: str) -> dict[str, str]:
    """The scope that the options name; empty when they name none.

    Raises InvalidInputError when they name two.
    """
    if namespace and not cluster:
        raise InvalidInputError(
            "--namespace needs a cluster: a name means nothing without one.",
            hint="Add --cluster NAME.",
        )
    if organization + bool(project) + bool(cluster) > 1:
        raise InvalidInputError(
            "That names two scopes.",
            hint="Give one of --organization, --project or --cluster (with --namespace or without).",
        )
    if organization:
        return {"kind": "organization"}
    if project:
        return {"kind": "project", "project": project}
    if namespace:
        return {"kind": "namespace", "cluster": cluster, "namespace": namespace}
    return {"kind": "cluster", "cluster": cluster} if cluster else {}


def required_scope(
    *, organization: bool, project: str, cluster: str, namespace: str
) -> dict[str, str]:
    """The same, but one must be named: nothing is given everywhere because a word was forgotten."""
    found = scope_of(
        organization=organization, project=project, cluster=cluster, namespace=namespace
    )
    if not found:
        raise InvalidInputError(
            "Say where it holds.",
            hint="--organization, --project P, --cluster C, or --cluster C --namespace N.",
        )
    return found


def words(scope: Mapping[str, Any]) -> str:
    """`organization`, `project shop`, `cluster prod` or `namespace web of prod`."""
    kind = str(scope.get("kind", ""))
    if kind == "namespace":
        return f"namespace {scope.get('namespace', '')} of {scope.get('cluster', '')}"
    named = str(scope.get(kind) or "")
    return f"{kind} {named}".strip()


def end_of(text: str, option: str = "--expires") -> str:
    """When something ends, RFC 3339: `30d` and `8h` count from now, anything else is a time.

    Empty stays empty. Raises InvalidInputError.
    """
    if not text:
        return ""
    from proxy.cli.moments import parse, to_api
    from proxy.clock import SystemClock, rfc3339
    from proxy.pki.ttl import parse_ttl

    if _TTL.fullmatch(text.strip()):
        return rfc3339(SystemClock.now() + parse_ttl(text))
    try:
        end = to_api(text, option) or ""
    except InvalidInputError as error:
        raise InvalidInputError(error.message, hint=_ENDS) from error
    if parse(end).timestamp() <= SystemClock.now():
        raise InvalidInputError(f"{option}: {text!r} is past.", hint=_ENDS)
    return end


def place_of(text: str) -> dict[str, Any]:
    """`prod` is a whole cluster, `test:web,api` two namespaces of one; raises InvalidInputError."""
    cluster, colon, rest = text.partition(":")
    namespaces = [name.strip() for name in rest.split(",")] if colon else []
    if not cluster or not all(namespaces):
        raise InvalidInputError(
            f"{text!r} is not a place.", hint="Write CLUSTER, or CLUSTER:NAMESPACE,NAMESPACE."
        )
    return {"cluster": cluster, "namespaces": namespaces}


def places_of(texts: Iterable[str]) -> list[dict[str, Any]]:
    """Places, each cluster once; raises InvalidInputError."""
    found: dict[str, dict[str, Any]] = {}
    for place in map(place_of, texts):
        if place["cluster"] in found:
            raise InvalidInputError(
                f"The cluster {place['cluster']!r} is named twice.",
                hint="Name its namespaces together: CLUSTER:NAMESPACE,NAMESPACE.",
            )
        found[place["cluster"]] = place
    return list(found.values())


def place_words(place: Mapping[str, Any]) -> str:
    """The opposite of `place_of`."""
    namespaces = ",".join(map(str, place.get("namespaces") or ()))
    return f"{place.get('cluster', '')}:{namespaces}" if namespaces else str(place.get("cluster"))
