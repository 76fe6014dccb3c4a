"""Rows of the state's tables as values, and back.

Thousands are read at once, so values that repeat (lists of groups, scopes) are decoded once.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Select, Table, tuple_

from proxy.state import tables
from proxy.state.access import (
    Grant,
    Group,
    Place,
    Project,
    Role,
    Rule,
    Scope,
    ScopeKind,
    SubjectKind,
    User,
    UserKind,
)
from proxy.state.permission import Permission
from proxy.state.tokens import Token


def _columns(table: Table, names: Iterable[str]) -> tuple[ColumnElement[Any], ...]:
    return tuple(table.c[name] for name in names)


USER: Final = _columns(tables.users, User.__struct_fields__)
GROUP: Final = _columns(tables.groups, Group.__struct_fields__)
PROJECT: Final = _columns(tables.projects, Project.__struct_fields__)
ROLE: Final = tuple(tables.roles.c)
GRANT: Final = tuple(tables.grants.c)
TOKEN: Final = _columns(tables.tokens, Token.__struct_fields__)
_KINDS: Final = {kind.value: kind for kind in UserKind}
_SUBJECTS: Final = {kind.value: kind for kind in SubjectKind}


def user(row: Sequence[Any]) -> User:
    """A user from the columns USER."""
    name, kind, groups, *rest = row
    return User(name, _KINDS[kind], strings(groups), *rest)


def user_row(item: User) -> dict[str, Any]:
    """The row of a user."""
    return msgspec.structs.asdict(item) | {
        "kind": item.kind.value,
        "groups": text(item.groups),
    }


def project(row: Sequence[Any]) -> Project:
    """A project from the columns PROJECT."""
    name, places, *rest = row
    return Project(name, msgspec.json.decode(places, type=tuple[Place, ...]), *rest)


def project_row(item: Project) -> dict[str, Any]:
    """The row of a project."""
    return msgspec.structs.asdict(item) | {"places": text(item.places)}


def role(row: Mapping[Any, Any]) -> Role:
    """A custom role from the columns ROLE."""
    values = dict(row)
    for name, kind in _ROLE_LISTS.items():
        values[name] = msgspec.json.decode(values[name], type=kind)
    return Role(**values)


_ROLE_LISTS: Final[Mapping[str, Any]] = {
    "scopes": tuple[ScopeKind, ...],
    "permissions": frozenset[Permission],
    "rules": tuple[Rule, ...],
    "denies": tuple[Rule, ...],
    "kubernetes_groups": tuple[str, ...],
}


def role_row(item: Role) -> dict[str, Any]:
    """The row of a custom role."""
    values = {column.name: getattr(item, column.name) for column in tables.roles.c}
    values["permissions"] = sorted(item.permissions)
    return values | {name: text(values[name]) for name in _ROLE_LISTS}


def grant(row: Sequence[Any]) -> Grant:
    """A grant from the columns GRANT."""
    identity, kind, subject, role_, scope_kind, project_, cluster, namespace, *rest = row
    scope = _scope(scope_kind, project_, cluster, namespace)
    return Grant(identity, _SUBJECTS[kind], subject, role_, scope, *rest)


def grant_row(item: Grant) -> dict[str, Any]:
    """The row of a grant."""
    values = msgspec.structs.asdict(item)
    scope: Scope = values.pop("scope")
    return values | {
        "subject_kind": item.subject_kind.value,
        "scope_kind": scope.kind.value,
        "project": scope.project,
        "cluster": scope.cluster,
        "namespace": scope.namespace,
    }


def token(row: Sequence[Any]) -> Token:
    """A token from the columns TOKEN."""
    identity, user_, digest, permissions, scope, *rest = row
    return Token(
        identity,
        user_,
        digest,
        msgspec.json.decode(permissions, type=frozenset[Permission]),
        None if scope is None else msgspec.json.decode(scope, type=Scope),
        *rest,
    )


def token_row(item: Token) -> dict[str, Any]:
    """The row of a token."""
    return msgspec.structs.asdict(item) | {
        "permissions": text(sorted(item.permissions)),
        "scope": None if item.scope is None else text(item.scope),
    }


def newest(
    query: Select[Any],
    made: ColumnElement[float],
    identity: ColumnElement[str],
    *,
    after: tuple[float, str] | None,
    limit: int,
) -> Select[Any]:
    """`query` for the newest `limit` rows from beyond `after`: when one was made, and its id."""
    if after is not None:
        query = query.where(tuple_(made, identity) < after)
    return query.order_by(made.desc(), identity.desc()).limit(limit)


def text(value: object) -> str:
    """JSON of a list or a value."""
    return msgspec.json.encode(value).decode()


@lru_cache(maxsize=4096)
def strings(encoded: str) -> tuple[str, ...]:
    """A JSON list of text."""
    return msgspec.json.decode(encoded, type=tuple[str, ...])


@lru_cache(maxsize=4096)
def _scope(kind: str, project_: str, cluster: str, namespace: str) -> Scope:
    return Scope(ScopeKind(kind), project_, cluster, namespace)
