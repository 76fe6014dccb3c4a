"""Who calls, and what they may do.

The sandbox knows one bearer token. Its account may do what the proxy's own account on a real cluster
may: impersonate, ask about access, and read discovery. Impersonated people may do everything,
except that members of the group `read-only` only look.
"""

import hmac
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from multidict import CIMultiDictProxy

from proxy.sandbox.failures import ApiError, bad_request, forbidden
from proxy.sandbox.objects import Object

OWN_ACCOUNT: Final = "system:serviceaccount:kubewitness:proxy"
READ_ONLY_GROUP: Final = "read-only"
LOOKING: Final = frozenset({"get", "list", "watch"})
_IMPERSONATED: Final = frozenset({"users", "groups", "serviceaccounts", "uids"})
_REVIEWS: Final = frozenset(
    {"selfsubjectreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews", "subjectaccessreviews"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Account:
    """An identity: user, groups, uid, and extra values by key."""

    user: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: dict[str, list[str]] = field(default_factory=dict)

    def info(self) -> Object:
        """The account as `UserInfo`."""
        body: Object = {"username": self.user}
        if self.uid:
            body["uid"] = self.uid
        body["groups"] = list(self.groups)
        if self.extra:
            body["extra"] = self.extra
        return body


def identify(headers: CIMultiDictProxy[str], token: str) -> Account:
    """The account behind a request's headers.

    Raises ApiError 401 without the token and 400 when impersonation headers make no sense.
    """
    given = headers.get("Authorization", "").removeprefix("Bearer ")
    if not hmac.compare_digest(given.encode(), token.encode()):
        raise ApiError(401, "Unauthorized", "Unauthorized")
    user = headers.get("Impersonate-User", "")
    asked = [name for name in headers if name.lower().startswith("impersonate-")]
    if not user:
        if asked:
            raise bad_request("impersonation headers without Impersonate-User")
        groups = (
            "system:serviceaccounts",
            "system:serviceaccounts:kubewitness",
            "system:authenticated",
        )
        return Account(OWN_ACCOUNT, groups)
    return Account(
        user,
        _groups(user, headers.getall("Impersonate-Group", [])),
        headers.get("Impersonate-Uid", ""),
        _extra(headers),
    )


def _groups(user: str, given: list[str]) -> tuple[str, ...]:
    groups = list(given)
    if not groups and user.startswith("system:serviceaccount:"):
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{user.split(':', 3)[2]}"]
    added = "system:unauthenticated" if user == "system:anonymous" else "system:authenticated"
    if added not in groups and "system:unauthenticated" not in groups:
        groups.append(added)
    return tuple(groups)


def _extra(headers: CIMultiDictProxy[str]) -> dict[str, list[str]]:
    prefix = "impersonate-extra-"
    found: dict[str, list[str]] = {}
    for name, value in headers.items():
        if name.lower().startswith(prefix):
            # The server lower-cases first and decodes then.
            found.setdefault(unquote(name.lower().removeprefix(prefix)), []).append(value)
    return found


def may(account: Account, verb: str, group: str, resource: str) -> bool:
    """Whether `account` may do `verb` on `resource` (`pods` or `pods/exec`) of an API group."""
    if group in ("authentication.k8s.io", "authorization.k8s.io") and resource in _REVIEWS:
        return verb == "create"
    if account.user == OWN_ACCOUNT:
        return verb == "impersonate" and (
            resource in _IMPERSONATED or resource.partition("/")[0] == "userextras"
        )
    if READ_ONLY_GROUP in account.groups:
        return verb in LOOKING and resource.partition("/")[2] not in (
            "exec",
            "attach",
            "portforward",
        )
    return True


def demand(account: Account, verb: str, group: str, resource: str, namespace: str) -> None:
    """Raise ApiError 403 unless `account` may do this; the message reads like a real server's."""
    if may(account, verb, group, resource):
        return
    where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    plural = resource.partition("/")[0]
    qualified = f"{plural}.{group}" if group else plural
    raise forbidden(
        f'{qualified} is forbidden: User "{account.user}" cannot {verb} resource "{resource}" '
        f'in API group "{group}" {where}'
    )
