"""The route that explains an access: which grant allows a call, which denies it, what is missing."""

from typing import Final, Literal

import msgspec

from proxy.authz.explaining import Explanation, explain
from proxy.authz.matching import Request
from proxy.authz.standing import caller_of, governed
from proxy.control.entry.fields import Name, Names, Text
from proxy.control.entry.route import About, Act, Detail, Route
from proxy.control.entry.seeing import is_own, reaching
from proxy.control.people.grants import ScopeItem, scope_item
from proxy.errors import DeniedError, InvalidInputError, not_found
from proxy.kube.attributes import RequestInfo
from proxy.kube.call_class import classify
from proxy.state.access import Grant, Scope, ScopeKind
from proxy.state.permission import Permission

_METHODS: Final = {"get": "GET", "list": "GET", "watch": "GET", "update": "PUT", "patch": "PATCH"}
_STREAMS: Final = {
    "exec": "exec", "attach": "attach", "portforward": "portforward", "port-forward": "portforward",
}  # fmt: skip
"""Verbs as people say them, and the subresource that kubectl creates then."""
_UNREGISTERED: Final = (
    "{user} is not registered, nor in a registered group: grants say nothing of them, and {then}"
)
_THEN: Final = {
    "cluster": "the cluster's own rules decide",
    "refuse": "access.unregistered refuses who is not registered",
}
"""What becomes of their calls, by the setting."""


class ExplainRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A call that somebody might make."""

    user: Name
    cluster: Name
    verb: Name
    """As kube-apiserver names it; `exec`, `attach` and `port-forward` are understood, too."""
    resource: Text = ""
    """Plural: `pods`; empty with a path."""
    subresource: Text = ""
    api_group: Text = ""
    namespace: Text = ""
    name: Text = ""
    path: Text = ""
    """Of a request for no resource, such as `/metrics`."""
    groups: Names = ()
    """Of the certificate of somebody who is not registered."""


class ConsideredItem(msgspec.Struct, frozen=True):
    """A grant to them, and what it says of the call."""

    grant: str
    """Its id."""
    role: str
    scope: ScopeItem
    verdict: str


class ExplanationItem(msgspec.Struct, frozen=True):
    """Whether the call would be allowed, and why."""

    allowed: bool
    """By a grant."""
    governed: bool
    """Whether grants decide; if not, the cluster's own rules do, or the setting `access.unregistered`
    refuses the call."""
    why: str
    grant: str
    """Id of the grant that allows or denies it; empty when none does, or it is out of sight."""
    missing: tuple[str, ...]
    considered: tuple[ConsideredItem, ...]


async def explain_access(act: Act) -> ExplanationItem:
    """Decide as the data plane would, now, and say why."""
    wanted, now = act.body_as(ExplainRequest), act.services.clock.now()
    _check_asking(act, wanted)
    access = act.access
    if not governed(access, wanted.user, wanted.groups):
        why = not_by_a_grant(wanted.user, act.services.settings.access.unregistered)
        return ExplanationItem(False, False, why, "", ("to be registered, and a grant",), ())
    caller = caller_of(access, wanted.user, wanted.groups)
    found = explain(access, caller, request_of(wanted), now)
    return _shown(found, act)


def not_by_a_grant(user: str, unregistered: Literal["cluster", "refuse"]) -> str:
    """What is said of somebody whom no grant governs, by the setting `access.unregistered`."""
    return _UNREGISTERED.format(user=user, then=_THEN[unregistered])


def request_of(wanted: ExplainRequest) -> Request:
    """The call as the data plane would understand it. Raises InvalidInputError."""
    if bool(wanted.resource) == bool(wanted.path):
        raise InvalidInputError("Give either a resource or a path.")
    verb, subresource = wanted.verb.lower(), wanted.subresource
    if verb in _STREAMS and not subresource:
        subresource, verb = _STREAMS[verb], "create"
    info = RequestInfo(
        is_resource=bool(wanted.resource),
        verb=verb,
        group=wanted.api_group,
        version="",
        namespace=wanted.namespace,
        resource=wanted.resource,
        subresource=subresource,
        name=wanted.name,
        parts=tuple(part for part in (wanted.resource, wanted.name, subresource) if part),
        field_selector="",
        label_selector="",
        path=wanted.path,
    )
    method = _METHODS.get(verb, verb.upper() if wanted.path else "POST")
    return Request(wanted.cluster, info, classify(method, info, upgrade=False))


def _check_asking(act: Act, wanted: ExplainRequest) -> None:
    """Everybody may ask about themselves; about others, whoever sees the grants of the place."""
    if wanted.user == act.user:
        return
    place = Scope(ScopeKind.CLUSTER, cluster=wanted.cluster)
    if wanted.namespace:
        place = Scope(ScopeKind.NAMESPACE, cluster=wanted.cluster, namespace=wanted.namespace)
    if not act.holds(Permission.LOOK_AT_GRANTS, place):
        raise DeniedError(
            f"{act.user!r} may not ask about others there: it needs the permission "
            f"{Permission.LOOK_AT_GRANTS} at {place}.",
            hint="About oneself everybody may ask.",
        )
    if wanted.cluster not in act.services.watcher.current.clusters:
        raise not_found("cluster", wanted.cluster)


def _shown(found: Explanation, act: Act) -> ExplanationItem:
    """The explanation without grants that the caller does not get to see."""
    within = reaching(act, Permission.LOOK_AT_GRANTS)

    def seen(grant: Grant) -> bool:
        return within(grant.scope) or is_own(act, grant)

    considered = [item for item in found.considered if seen(item.grant)]
    hidden = {item.grant.id for item in found.considered if not seen(item.grant)}
    why, grant = found.why, found.grant
    if grant in hidden:
        may = "allows" if found.allowed else "denies"
        why, grant = f"A grant beyond what you get to see {may} it", ""
    return ExplanationItem(
        allowed=found.allowed,
        governed=True,
        why=why,
        grant=grant,
        missing=() if found.grant in hidden else found.missing,
        considered=tuple(
            ConsideredItem(
                item.grant.id, item.grant.role, scope_item(item.grant.scope), item.verdict
            )
            for item in considered
        ),
    )


def _about(act: Act) -> About:
    wanted = act.body_as(ExplainRequest)
    what = wanted.path or "/".join(filter(None, (wanted.resource, wanted.subresource)))
    detail: Detail = {
        "verb": wanted.verb, "what": what, "cluster": wanted.cluster,
        "namespace": wanted.namespace, "name": wanted.name,
    }  # fmt: skip
    return About(f"user {wanted.user}", {key: value for key, value in detail.items() if value})


ROUTES = (
    Route(
        "POST", "/access/explain", "explainAccess", "Explain whether somebody may make a call.",
        explain_access, action="access.explain", about=_about, body=ExplainRequest,
        response=ExplanationItem,
    ),
)  # fmt: skip
