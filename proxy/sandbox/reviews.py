"""Questions about identity and access: `kubectl auth whoami`, `auth can-i`, and reviews of others."""

from typing import Final

from aiohttp import web

from proxy.sandbox import accounts
from proxy.sandbox.accounts import OWN_ACCOUNT, READ_ONLY_GROUP, Account
from proxy.sandbox.calls import Call
from proxy.sandbox.objects import Object, spec_of
from proxy.upstream.cluster import EXTRA_CREDENTIAL, EXTRA_IMPERSONATOR

GROUPS: Final = ("dev", "ops", READ_ONLY_GROUP)
"""Groups the proxy's own account is said to be allowed to impersonate."""


async def answer(call: Call) -> web.Response:
    """POST of any review: the same object with a status."""
    body = await call.object()
    body["apiVersion"], body["kind"] = call.kind.api_version, call.kind.name
    body["metadata"]["creationTimestamp"] = None
    spec = spec_of(body)
    match call.kind.name:
        case "SelfSubjectReview":
            body["status"] = {"userInfo": call.account.info()}
        case "SelfSubjectRulesReview":
            body["status"] = rules(call.account)
        case "SelfSubjectAccessReview":
            body["status"] = decision(call.account, spec)
        case _:
            subject = Account(
                spec.get("user", ""), tuple(spec.get("groups") or ()), spec.get("uid", "")
            )
            body["status"] = decision(subject, spec)
    return call.answer(body, 201)


def decision(account: Account, spec: Object) -> Object:
    """Whether `account` may do what the review's spec describes, and why."""
    attributes = spec.get("resourceAttributes")
    if not attributes:
        return {
            "allowed": True,
            "reason": "the sandbox lets everyone read addresses without objects",
        }
    resource = attributes.get("resource", "")
    if attributes.get("subresource"):
        resource += "/" + attributes["subresource"]
    verb = attributes.get("verb", "")
    named = attributes.get("name") or ""
    if account.user == OWN_ACCOUNT and resource == "groups" and named.startswith("system:"):
        return {"allowed": False, "reason": f"the sandbox's rule for {_rule(account)}"}
    if accounts.may(account, verb, attributes.get("group", ""), resource):
        return {"allowed": True, "reason": f"the sandbox's rule for {_rule(account)}"}
    return {"allowed": False, "reason": f"the sandbox's rule for {_rule(account)}"}


def _rule(account: Account) -> str:
    if account.user == OWN_ACCOUNT:
        return "the proxy's own account: it may impersonate and nothing else"
    if READ_ONLY_GROUP in account.groups:
        return f"group {READ_ONLY_GROUP}: its members only look"
    return "everyone else: everything is allowed"


def rules(account: Account) -> Object:
    """What `account` may do, as `kubectl auth can-i --list` shows it.

    The proxy's own account has what a minimal account has in a real cluster.
    """
    basic = [
        {"verbs": ["create"], "apiGroups": ["authorization.k8s.io"], "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]},
        {"verbs": ["create"], "apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"]},
    ]  # fmt: skip
    if account.user == OWN_ACCOUNT:
        extras = [f"userextras/{name}" for name in (EXTRA_CREDENTIAL, EXTRA_IMPERSONATOR)]
        found = [
            {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"]},
            {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["groups"], "resourceNames": list(GROUPS)},
            {"verbs": ["impersonate"], "apiGroups": ["authentication.k8s.io"], "resources": ["uids", *extras]},
        ]  # fmt: skip
    else:
        verbs = sorted(accounts.LOOKING) if READ_ONLY_GROUP in account.groups else ["*"]
        found = [{"verbs": verbs, "apiGroups": ["*"], "resources": ["*"]}]
    paths = ["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", "/version", "/livez", "/readyz", "/healthz"]  # fmt: skip
    return {
        "resourceRules": [*found, *basic],
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": paths}],
        "incomplete": False,
    }
