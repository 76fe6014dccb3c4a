"""From a URL to what it names: the kind, namespace, object and subresource."""

from dataclasses import dataclass

from proxy.sandbox.failures import no_such_path
from proxy.sandbox.kinds import Kind, by_path


@dataclass(frozen=True, slots=True)
class Target:
    """What a resource URL names. An empty name means the collection."""

    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def resource(self) -> str:
        """The plural name with the subresource, as authorisation writes it."""
        return f"{self.kind.plural}/{self.subresource}" if self.subresource else self.kind.plural


def parse(path: str) -> Target:
    """The target of a resource path such as `/apis/apps/v1/namespaces/shop/deployments/web/scale`.

    Raises ApiError 404 when nothing is served there.
    """
    parts = path.strip("/").split("/")
    prefix, rest = ("", parts[1:]) if parts[0] == "api" else (parts[1], parts[2:])
    if not rest or "" in rest:
        raise no_such_path()
    version, rest = rest[0], rest[1:]
    namespace = ""
    # `namespaces/shop/pods` is in a namespace; `namespaces/shop/status` is about one.
    if len(rest) > 2 and rest[0] == "namespaces" and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    kind = by_path(prefix, version, rest[0]) if rest else None
    if kind is None or (namespace and not kind.namespaced):
        raise no_such_path()
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    if subresource and subresource not in kind.subresources:
        raise no_such_path()
    if kind.namespaced and name and not namespace:
        raise no_such_path()
    return Target(kind, namespace, name, subresource)


def verb(method: str, target: Target, *, watch: bool) -> str:
    """The verb of a request on `target`, as authorisation names it; empty for strange methods."""
    named = bool(target.name)
    match method:
        case "GET" | "HEAD":
            return "get" if named else "watch" if watch else "list"
        case "POST":
            return "create"
        case "PUT":
            return "update"
        case "PATCH":
            return "patch"
        case "DELETE":
            return "delete" if named else "deletecollection"
        case _:
            return ""
