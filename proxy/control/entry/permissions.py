"""Who may use which route: one table, and what is not in it is denied."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from proxy.control.entry.caller import Known
from proxy.errors import DeniedError
from proxy.state.access import Access
from proxy.state.permission import Permission
from proxy.state.snapshot import Usage

REQUIRED: Final[Mapping[tuple[str, str], Permission]] = MappingProxyType(
    {
        ("GET", "/api/v1/version"): Permission.LOOK_AT_SERVER,
        ("GET", "/api/v1/whoami"): Permission.LOOK_AT_SERVER,
        ("GET", "/api/v1/openapi.json"): Permission.LOOK_AT_SERVER,
        ("GET", "/api/v1/clusters"): Permission.LOOK_AT_CLUSTERS,
        ("POST", "/api/v1/clusters"): Permission.MANAGE_CLUSTERS,
        ("GET", "/api/v1/clusters/{name}"): Permission.LOOK_AT_CLUSTERS,
        ("PATCH", "/api/v1/clusters/{name}"): Permission.MANAGE_CLUSTERS,
        ("DELETE", "/api/v1/clusters/{name}"): Permission.MANAGE_CLUSTERS,
        ("POST", "/api/v1/clusters/{name}/check"): Permission.LOOK_AT_CLUSTERS,
        ("GET", "/api/v1/clusters/{name}/reconciler"): Permission.LOOK_AT_CLUSTERS,
        ("PUT", "/api/v1/clusters/{name}/reconciler"): Permission.MANAGE_CLUSTERS,
        ("DELETE", "/api/v1/clusters/{name}/reconciler"): Permission.MANAGE_CLUSTERS,
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
        ("GET", "/api/v1/audit/suspicious"): Permission.LOOK_AT_AUDIT,
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
        ("GET", "/api/v1/users"): Permission.LOOK_AT_USERS,
        ("POST", "/api/v1/users"): Permission.MANAGE_USERS,
        ("GET", "/api/v1/users/{name}"): Permission.LOOK_AT_USERS,
        ("PATCH", "/api/v1/users/{name}"): Permission.MANAGE_USERS,
        ("DELETE", "/api/v1/users/{name}"): Permission.MANAGE_USERS,
        ("GET", "/api/v1/users/{name}/investigation"): Permission.LOOK_AT_USERS,
        ("GET", "/api/v1/groups"): Permission.LOOK_AT_USERS,
        ("POST", "/api/v1/groups"): Permission.MANAGE_USERS,
        ("GET", "/api/v1/groups/{name}"): Permission.LOOK_AT_USERS,
        ("PATCH", "/api/v1/groups/{name}"): Permission.MANAGE_USERS,
        ("DELETE", "/api/v1/groups/{name}"): Permission.MANAGE_USERS,
        ("GET", "/api/v1/projects"): Permission.LOOK_AT_PROJECTS,
        ("POST", "/api/v1/projects"): Permission.MANAGE_PROJECTS,
        ("GET", "/api/v1/projects/{name}"): Permission.LOOK_AT_PROJECTS,
        ("PATCH", "/api/v1/projects/{name}"): Permission.MANAGE_PROJECTS,
        ("DELETE", "/api/v1/projects/{name}"): Permission.MANAGE_PROJECTS,
        ("GET", "/api/v1/roles"): Permission.LOOK_AT_ROLES,
        ("POST", "/api/v1/roles"): Permission.MANAGE_ROLES,
        ("GET", "/api/v1/roles/{name}"): Permission.LOOK_AT_ROLES,
        ("PUT", "/api/v1/roles/{name}"): Permission.MANAGE_ROLES,
        ("DELETE", "/api/v1/roles/{name}"): Permission.MANAGE_ROLES,
        ("GET", "/api/v1/grants"): Permission.LOOK_AT_GRANTS,
        ("POST", "/api/v1/grants"): Permission.MANAGE_GRANTS,
        ("GET", "/api/v1/grants/{id}"): Permission.LOOK_AT_GRANTS,
        ("POST", "/api/v1/grants/{id}/revoke"): Permission.MANAGE_GRANTS,
        ("POST", "/api/v1/access/explain"): Permission.LOOK_AT_GRANTS,
        ("POST", "/api/v1/apply"): Permission.MANAGE_GRANTS,
        ("GET", "/api/v1/tokens"): Permission.LOOK_AT_CREDENTIALS,
        ("POST", "/api/v1/tokens"): Permission.MANAGE_CREDENTIALS,
        ("POST", "/api/v1/tokens/{id}/revoke"): Permission.MANAGE_CREDENTIALS,
        ("GET", "/api/v1/sessions"): Permission.LOOK_AT_SESSIONS,
        ("GET", "/api/v1/settings"): Permission.LOOK_AT_SETTINGS,
    }
)
"""Method and path → what the caller must hold somewhere; the handler asks where."""

OWN: Final = frozenset(
    {
        ("GET", "/api/v1/audit/calls"),
        ("GET", "/api/v1/audit/calls/{id}"),
        ("GET", "/api/v1/audit/who"),
        ("GET", "/api/v1/audit/stats"),
        ("GET", "/api/v1/audit/suspicious"),
        ("GET", "/api/v1/audit/tail"),
        ("GET", "/api/v1/audit/export"),
        ("GET", "/api/v1/sessions"),
        ("GET", "/api/v1/credentials"),
        ("POST", "/api/v1/credentials/{serial}/revoke"),
        ("POST", "/api/v1/credentials/revoke"),
        ("GET", "/api/v1/tokens"),
        ("POST", "/api/v1/tokens/{id}/revoke"),
        ("GET", "/api/v1/grants"),
        ("GET", "/api/v1/grants/{id}"),
        ("POST", "/api/v1/access/explain"),
    }
)
"""Routes that everybody may use without a grant, for what is their own: calls, credentials, grants.
Who comes with an API token needs the permission in the token all the same."""


def usage_of(method: str, path: str) -> Usage:
    """The usage a certificate must have to be accepted on this route at all."""
    return Usage.RENEW if REQUIRED.get((method, path)) is Permission.RENEW else Usage.ADMIN


def check(known: Known, access: Access, now: float, method: str, path: str) -> None:
    """Raise DeniedError unless the caller may use the route for anything, at wall time `now`."""
    required = REQUIRED.get((method, path))
    if required is None:
        raise DeniedError(f"{method} {path}: this route allows nobody.")
    if required is Permission.RENEW:
        # By the kind of certificate, which `usage_of` asked for; no grant gives or takes it.
        return
    if not known.admits(required):
        raise DeniedError(
            f"The API token may not {method} {path}: it is not for {required}.",
            hint="`kubewitness token add --permission` makes one that is.",
        )
    if (method, path) not in OWN and not known.holds(access, required, now):
        raise DeniedError(
            f"{known.user!r} may not {method} {path}: this needs the permission {required}.",
            hint=f"`kubewitness grant list --user {known.user}` shows what they were granted.",
        )
