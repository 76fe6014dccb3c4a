"""Who may use which route: one table, and what is not in it is denied."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from proxy.errors import DeniedError
from proxy.state.permission import Permission
from proxy.state.snapshot import Usage

REQUIRED: Final[Mapping[tuple[str, str], Permission]] = MappingProxyType(
    {
        ("GET", "/api/v1/version"): Permission.LOOK_AT_SERVER,
        ("GET", "/api/v1/whoami"): Permission.LOOK_AT_SERVER,
        ("GET", "/api/v1/openapi.json"): Permission.LOOK_AT_SERVER,
        ("GET", "/api/v1/clusters"): Permission.LOOK_AT_CLUSTERS,
        ("POST", "/api/v1/clusters"): Permission.MANAGE_CLUSTERS,
        ("DELETE", "/api/v1/clusters/{name}"): Permission.MANAGE_CLUSTERS,
        ("POST", "/api/v1/clusters/{name}/check"): Permission.LOOK_AT_CLUSTERS,
        ("GET", "/api/v1/credentials"): Permission.LOOK_AT_CREDENTIALS,
        ("POST", "/api/v1/credentials"): Permission.MANAGE_CREDENTIALS,
        ("POST", "/api/v1/credentials/{serial}/revoke"): Permission.MANAGE_CREDENTIALS,
        ("POST", "/api/v1/credentials/revoke"): Permission.MANAGE_CREDENTIALS,
        ("POST", "/api/v1/credentials/renew"): Permission.RENEW,
        ("GET", "/api/v1/authority"): Permission.LOOK_AT_AUTHORITY,
        ("POST", "/api/v1/authority/rotate"): Permission.ROTATE_AUTHORITY,
        ("GET", "/api/v1/audit/calls"): Permission.LOOK_AT_AUDIT,
        ("GET", "/api/v1/audit/calls/{id}"): Permission.LOOK_AT_AUDIT,
        ("GET", "/api/v1/audit/who"): Permission.LOOK_AT_AUDIT,
        ("GET", "/api/v1/audit/stats"): Permission.LOOK_AT_AUDIT,
        ("GET", "/api/v1/audit/tail"): Permission.LOOK_AT_AUDIT,
        ("GET", "/api/v1/audit/export"): Permission.EXPORT_AUDIT,
        ("GET", "/api/v1/retentions"): Permission.LOOK_AT_RETENTION,
        ("POST", "/api/v1/retentions"): Permission.MANAGE_RETENTION,
        ("POST", "/api/v1/retentions/{id}/approve"): Permission.MANAGE_RETENTION,
        ("POST", "/api/v1/retentions/{id}/begin"): Permission.MANAGE_RETENTION,
        ("POST", "/api/v1/retentions/{id}/end"): Permission.MANAGE_RETENTION,
        ("GET", "/api/v1/legal-holds"): Permission.LOOK_AT_RETENTION,
        ("POST", "/api/v1/legal-holds"): Permission.MANAGE_RETENTION,
        ("POST", "/api/v1/legal-holds/{id}/release"): Permission.MANAGE_RETENTION,
    }
)
"""Method and path → what the caller must hold."""

HELD: Final[Mapping[Usage, frozenset[Permission]]] = MappingProxyType(
    {
        Usage.ADMIN: frozenset(Permission) - {Permission.RENEW},
        Usage.RENEW: frozenset({Permission.RENEW}),
        Usage.KUBECTL: frozenset(),
    }
)
"""What each kind of credential holds."""


def usage_of(method: str, path: str) -> Usage:
    """The usage a certificate must have to be accepted on this route at all."""
    return Usage.RENEW if REQUIRED.get((method, path)) is Permission.RENEW else Usage.ADMIN


def check(user: str, usage: Usage, method: str, path: str) -> None:
    """Raise DeniedError unless a credential of `user` for `usage` may use the route."""
    required = REQUIRED.get((method, path))
    if required is None:
        raise DeniedError(f"{method} {path}: this route allows nobody.")
    if required not in HELD[usage]:
        raise DeniedError(
            f"{user!r} may not {method} {path}: the credential is for `{usage}`, "
            f"and this needs the permission {required}.",
            hint="Use an admin credential (`kubewitness context list` shows yours).",
        )
