"""Documents to apply, and a way to apply them."""

from typing import Any

from proxy.cli.client import Client


def document(kind: str, name: str = "", **spec: Any) -> dict[str, Any]:
    head = {"apiVersion": "kubewitness.io/v1", "kind": kind}
    return head | ({"metadata": {"name": name}} if name else {}) | {"spec": spec}


EVERYTHING = [
    document("Grant", group="dev", role="project-read-only", project="app", reason="they build it"),
    document("Project", "app", places=[{"cluster": "prod", "namespaces": ["web", "api"]}]),
    document("User", "rob", groups=["dev"], displayName="Rob Roy"),
    document("Group", "dev", description="builds the app"),
    document("Grant", user="rob", role="deployer", cluster="prod", expiresAt="2099-01-01T00:00:00Z"),
    document(
        "Role", "deployer", scopes=["cluster"], permissions=["session.look"],
        rules=[{"verbs": ["*"], "apiGroups": ["apps"], "resources": ["deployments"]}],
    ),
]  # fmt: skip


def send(client: Client, *documents: dict[str, Any], **given: Any) -> list[dict[str, Any]]:
    changes: list[dict[str, Any]] = client.post("/apply", {"objects": list(documents), **given})[
        "changes"
    ]
    return changes


def with_clusters(client: Client) -> Client:
    """The same, after two clusters were added."""
    for name in ("prod", "test"):
        client.post("/clusters", {"name": name, "inCluster": True})
    return client
