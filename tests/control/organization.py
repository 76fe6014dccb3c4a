"""An organization with two projects that know nothing of each other, behind a control plane."""

from proxy.cli.client import Client
from proxy.state.access import Scope, ScopeKind
from proxy.state.snapshot import Usage
from tests.control.plane import Plane

SHOP = Scope(ScopeKind.PROJECT, project="shop")
BANK = Scope(ScopeKind.PROJECT, project="bank")
PROD = Scope(ScopeKind.CLUSTER, cluster="prod")
VAULT = Scope(ScopeKind.CLUSTER, cluster="vault")
WEB = Scope(ScopeKind.NAMESPACE, cluster="prod", namespace="web")
SAFE = Scope(ScopeKind.NAMESPACE, cluster="vault", namespace="safe")
FOREIGN = ("bank", "vault", "safe", "banker", "tellers", "teller")
"""Names of what belongs to the bank: nobody of the shop may ever see one."""


def found(plane: Plane) -> dict[str, str]:
    """Make it; ids of what has no name: the bank's grant, token and credential."""
    client = plane.client()
    for name in ("prod", "test", "vault"):
        client.post("/clusters", {"name": name, "inCluster": True})
    client.post(
        "/projects",
        {"name": "shop", "places": [{"cluster": "prod"}, {"cluster": "test", "namespaces": ["web"]}]},
    )  # fmt: skip
    client.post("/projects", {"name": "bank", "places": [{"cluster": "vault"}]})
    client.post("/groups", {"name": "tellers"})
    client.post("/groups", {"name": "sellers"})
    client.post("/users", {"name": "banker", "groups": ["tellers"]})
    client.post("/users", {"name": "teller", "groups": ["tellers"]})
    client.post("/users", {"name": "seller", "groups": ["sellers"]})
    grant = granted(client, "banker", "project-admin", BANK)
    granted(client, "tellers", "namespace-read-only", SAFE, kind="group")
    granted(client, "sellers", "namespace-read-only", WEB, kind="group")
    token = client.post(
        "/tokens", {"user": "banker", "permissions": ["audit.look"], "expiresAt": "1d"}
    )["id"]
    plane.credential("banker", Usage.KUBECTL)
    serial = client.get("/credentials", {"user": "banker"})["items"][0]["serial"]
    return {"grant": grant, "token": token, "serial": serial}


def granted(client: Client, who: str, role: str, scope: Scope, *, kind: str = "user") -> str:
    """The id of a new grant."""
    place = {name: getattr(scope, name) for name in ("project", "cluster", "namespace")}
    made = client.post(
        "/grants",
        {
            "subject": {"kind": kind, "name": who},
            "role": role,
            "scope": {"kind": scope.kind.value, **{k: v for k, v in place.items() if v}},
        },
    )
    return str(made["id"])
