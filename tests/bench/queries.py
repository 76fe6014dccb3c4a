"""What the benchmark searches for: each filter, common pairs, and what is not there."""

from typing import Any, Final

from proxy.audit.index.query import Filter, Within
from tests.bench.generate_events import DAY, DAYS, START, World

_CI = "system:serviceaccount:ci:"
CALLS: Final = ("Event",)


def _at(day: float) -> int:
    return int((START + day * DAY) * 1_000_000)


def _calls(**given: Any) -> Filter:
    """As `audit search` asks when nothing else is said: calls, without noise."""
    return Filter(kinds=CALLS, **given)


def _credential_of(user: str) -> str:
    callers = World(seed=1, calls=1).callers
    return next(caller.credential for caller in callers if caller.user.username == user)


_PROJECT: Final = Within(
    "user-299@example.com", ("edge-1",), (("prod-eu", "team-100"), ("prod-us", "team-100"))
)
MIDDLE: Final = _at(DAYS / 2)
"""Where the deep page begins."""

CASES: Final = {
    "nothing but the last": _calls(),
    "noise too": _calls(include_noise=True),
    "one hour": _calls(since=_at(40), until=_at(40 + 1 / 24)),
    "ten days": _calls(since=_at(30), until=_at(40)),
    "user, frequent": _calls(users=(f"{_CI}argocd",)),
    "user, rare": _calls(users=("user-299@example.com",)),
    "user, none": _calls(users=("nobody",)),
    "user, beginning": _calls(users=("user-1*",)),
    "group": _calls(groups=("group-7",)),
    "group, none": _calls(groups=("no-group",)),
    "cluster": _calls(clusters=("edge-2",)),
    "cluster, none": _calls(clusters=("gone",)),
    "namespace": _calls(namespaces=("team-100",)),
    "namespace, none": _calls(namespaces=("gone",)),
    "verb": _calls(verbs=("delete",)),
    "class": _calls(classes=("stream",)),
    "resource": _calls(resources=("networkpolicies",)),
    "subresource": _calls(resources=("pods/log",)),
    "resource, none": _calls(resources=("pods.example.com",)),
    "name": _calls(names=("secret-7",)),
    "name, beginning": _calls(names=("app-39-*",)),
    "name, none": _calls(names=("gone",)),
    "status": _calls(status=("500",)),
    "status, class of": _calls(status=("4xx",)),
    "status, none": _calls(status=("418",)),
    "address": _calls(sources=("203.0.113.9",)),
    "network": _calls(sources=("10.25.0.0/16",)),
    "network, wide": _calls(sources=("10.0.0.0/8",)),
    "network, none": _calls(sources=("172.16.0.0/12",)),
    "tool": _calls(tools=("lens",)),
    "tool, none": _calls(tools=("gone",)),
    "command": _calls(commands=("kubectl delete",)),
    "session, none": _calls(sessions=("gone",)),
    "text, frequent": _calls(text="deployments"),
    "text, rare": _calls(text="user-299@"),
    "text, part of a pod's name": _calls(text="app-123-zz"),
    "text, none": _calls(text="nowhere-at-all"),
    "open": _calls(open_only=True),
    "credential": _calls(credentials=(_credential_of("user-299@example.com"),)),
    "credential, none": _calls(credentials=("gone",)),
    "reason": _calls(reasons=("InternalError",)),
    "reason, beginning": _calls(reasons=("In*",)),
    "reason, none": _calls(reasons=("Expired",)),
    "suspicious": _calls(suspicious=("*",)),
    "suspicious, one flag": _calls(suspicious=("new-address",)),
    "suspicious, none": _calls(suspicious=("off-hours",)),
    "action": Filter(actions=("cluster.add",)),
    "action, beginning": Filter(actions=("credential.*",)),
    "action, none": Filter(actions=("grant.add",)),
    "target": Filter(targets=("thing-4321",)),
    "target, none": Filter(targets=("gone",)),
    "user + reason": _calls(users=("user-7@example.com",), reasons=("Forbidden",)),
    "seen by one, their own": _calls(within=Within("user-299@example.com")),
    "seen by one, a project": _calls(within=_PROJECT),
    "seen by one, and nothing there": _calls(
        within=Within("nobody", namespaces=(("edge-2", "gone"),)), users=("user-7@example.com",)
    ),
    "seen by one, and a text": _calls(within=_PROJECT, text="app-123-zz"),
    "system events": Filter(kinds=("SystemEvent",)),
    "connections": Filter(kinds=("ConnectionEvent",)),
    "user + namespace": _calls(users=("user-7@example.com",), namespaces=("team-*",)),
    "user + verb, never together": _calls(users=(f"{_CI}prometheus",), verbs=("delete",)),
    "tool + group, never together": _calls(tools=("helm",), groups=("group-1",)),
    "user + network, never together": _calls(
        users=("user-3@example.com",), sources=("10.0.0.0/14",)
    ),
    "user + name": _calls(users=("user-3@example.com",), names=("app-39-*",)),
    "namespace + verb": _calls(namespaces=("team-3",), verbs=("delete",)),
    "namespace + resource + status": _calls(
        namespaces=("team-3",), resources=("secrets",), status=(">=400",)
    ),
    "cluster + class": _calls(clusters=("edge-2",), classes=("mutate",)),
    "text + user": _calls(text="configmaps", users=("user-200@example.com",)),
    "user + ten days": _calls(users=("user-200@example.com",), since=_at(30), until=_at(40)),
}
"""By title."""
