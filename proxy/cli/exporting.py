"""What there is, as documents that `kubewitness apply` takes: applied again they change nothing."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from proxy.cli.documents import API_VERSION

if TYPE_CHECKING:
    from proxy.cli.client import Client


def exported(client: "Client") -> str:
    """YAML of all that the caller may see, in the order in which it can be made.

    Users who are disabled or were removed, built-in roles and grants that ended are left out.
    """
    from proxy.cli.output import to_yaml

    return "---\n".join(map(to_yaml, _documents(client)))


def _documents(client: "Client") -> Iterator[dict[str, Any]]:
    for item in client.pages("/groups"):
        yield _document("Group", item, {"description": item["description"]})
    for item in client.pages("/users"):
        if item["status"] == "active":
            spec = {name: item[name] for name in ("kind", "displayName", "groups")}
            yield _document("User", item, spec)
    for item in client.pages("/roles"):
        if not item["builtIn"]:
            yield _document("Role", item, _role(item))
    for item in client.pages("/projects"):
        spec = {"description": item["description"], "places": list(map(_filled, item["places"]))}
        yield _document("Project", item, spec)
    for item in client.pages("/grants"):
        if item["status"] == "active":
            yield {"apiVersion": API_VERSION, "kind": "Grant", "spec": _grant(item)}


def _document(kind: str, item: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    head = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": item["name"]}}
    return {**head, "spec": _filled(spec)}


def _role(item: dict[str, Any]) -> dict[str, Any]:
    spec = {"description": item["description"], "scopes": item["scopes"]}
    spec |= {name: item[name] for name in ("permissions", "kubernetesGroups")}
    return spec | {name: list(map(_filled, item[name])) for name in ("rules", "denies")}


def _grant(item: dict[str, Any]) -> dict[str, Any]:
    where: dict[str, Any] = {name: value for name, value in item["scope"].items() if name != "kind"}
    if item["scope"]["kind"] == "organization":
        where = {"organization": True}
    return _filled(
        {
            item["subject"]["kind"]: item["subject"]["name"],
            "role": item["role"],
            **where,
            "expiresAt": item.get("expiresAt", ""),
            "reason": item["reason"],
        }
    )


def _filled(values: dict[str, Any]) -> dict[str, Any]:
    """What says something."""
    return {name: value for name, value in values.items() if value not in ("", [], None)}
