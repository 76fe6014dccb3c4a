"""docs/reference/roles.md: the permissions there are, and which built-in role holds them."""

import ast
import inspect
from collections.abc import Iterator

from proxy.authz.roles import BUILT_IN, EVERYBODY, ORGANIZATION_ONLY
from proxy.state import permission as permissions
from proxy.state.access import ClusterAccess, Role
from proxy.state.permission import Permission

_CLUSTERS = {
    ClusterAccess.NONE: "nothing",
    ClusterAccess.READ: "get, list and watch, without what the `kubernetes.` permissions are about",
    ClusterAccess.FULL: "everything",
}
_HEAD = """# Roles and permissions

{note}
A grant gives a user or a group a role in a scope: the organization, a project, a cluster or a namespace
([people and access](../people-and-access.md)). Roles of your own are made of the same permissions, and of rules for requests to clusters.

## Built-in roles

| role | where | in clusters | what it is for |
|---|---|---|---|
{roles}

## Permissions

Everybody who is known holds `{everybody}`, and sees their own calls. Those marked * are about what belongs to the whole organization: a narrower
grant of the role does not give them.

| permission | {names} | meaning |
|---|{columns}---|
{permissions}
"""


def roles(note: str) -> str:
    """The page."""
    return _HEAD.format(
        note=note,
        roles="\n".join(_role(role) for role in BUILT_IN.values()),
        everybody=", ".join(sorted(EVERYBODY)),
        names=" | ".join(f"{name}" for name in BUILT_IN),
        columns=":-:|" * len(BUILT_IN),
        permissions="\n".join(_permissions()),
    )


def _role(role: Role) -> str:
    where = ", ".join(kind.value for kind in role.scopes)
    return f"| `{role.name}` | {where} | {_CLUSTERS[role.clusters]} | {role.description} |"


def _permissions() -> Iterator[str]:
    meanings = _meanings()
    for item in Permission:
        held = " | ".join("x" if item in role.permissions else "" for role in BUILT_IN.values())
        mark = "*" if item in ORGANIZATION_ONLY else ""
        yield f"| `{item}`{mark} | {held} | {meanings.get(item.name, '')} |"


def _meanings() -> dict[str, str]:
    """What stands below each member of the enum."""
    tree = ast.parse(inspect.getsource(permissions))
    (kind,) = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    found = {}
    for before, after in zip(kind.body, kind.body[1:], strict=False):
        if isinstance(before, ast.Assign) and isinstance(after, ast.Expr):
            name, text = before.targets[0], after.value
            if isinstance(name, ast.Name) and isinstance(text, ast.Constant):
                found[name.id] = " ".join(str(text.value).split())
    return found
