"""The product's decisions and those of a slow, obvious oracle, over random organizations.

Seeded, so that a failure can be had again: `KUBEWITNESS_TEST_CASES` cases (identity, grants,
request) from `KUBEWITNESS_TEST_SEED`.
"""

import os
import random
from collections import Counter

import msgspec

from proxy.authz.deciding import Request, decide, kubernetes_groups
from proxy.authz.explaining import explain
from proxy.authz.standing import caller_of, governed
from proxy.kube.request_info import InvalidRequest, RefusedTarget, describe
from proxy.state.access import ORGANIZATION, Access, Grant, Place, Role, Rule, Scope, User
from proxy.state.permission import Permission
from tests.authz import oracle, people
from tests.authz.people import NOW

CASES = int(os.environ.get("KUBEWITNESS_TEST_CASES", "100000"))
SEED = int(os.environ.get("KUBEWITNESS_TEST_SEED", "7"))
REQUESTS = 25
"""Requests that are put to each organization."""

CLUSTERS = ("prod", "test")
NAMESPACES = ("web", "db", "kube-system")
USERS = ("ann", "rob", "eve", "Rob")
GROUPS = ("dev", "ops", "admin")
ROLES = (
    *oracle.FULL_ROLES,
    *oracle.READ_ROLES,
    *oracle.NO_CLUSTER_ROLES,
    *("one", "two", "three", "one", "two", "three", "gone"),
)
METHODS = ("GET", "GET", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "get", "PROXY")
KINDS = (
    ("", "pods"),
    ("", "pods"),
    ("", "secrets"),
    ("", "secrets"),
    ("", "serviceaccounts"),
    ("", "services"),
    ("", "nodes"),
    ("", "namespaces"),
    ("apps", "deployments"),
    ("example.com", "widgets"),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("subresources.kubevirt.io", "virtualmachineinstances"),
)
SUBRESOURCES = (
    *("exec", "attach", "portforward", "proxy", "token", "log", "status", "scale", "console"),
    *("EXEC", "proxy/exec/a/b", "exec/", "log/x", "*"),
)
QUERIES = (
    *("", "", "", "?watch=true", "?watch=1", "?watch=0", "?watch", "?w%61tch=1", "?watch=false"),
    *("?fieldSelector=metadata.name%3Dmain", "?watch=1;x", "?command=sh", "?dryRun=All"),
)
PATHS = (
    *("/api", "/apis/apps", "/version", "/healthz", "/livez/ping", "/openapi/v3", "/metrics"),
    *("/logs/x", "/debug/pprof/profile", "/", "/apis", "/api/v1", "/secrets", "/versions"),
)
REVIEWS = (
    "/apis/authentication.k8s.io/v1/selfsubjectreviews",
    "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
    "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
    "/apis/authorization.k8s.io/v1/subjectaccessreviews",
    "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews/x",
    "/apis/example.com/v1/selfsubjectaccessreviews",
)


class Chance:
    """Random values of everything that a decision depends on."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.pick = self._random.choice

    def maybe(self, part: float) -> bool:
        return self._random.random() < part

    def some(self, items: tuple[str, ...], most: int = 2) -> tuple[str, ...]:
        return tuple(self._random.sample(items, self._random.randint(0, most)))

    def few(self, items: tuple[str, ...], most: int = 2) -> tuple[str, ...]:
        return tuple(self._random.sample(items, self._random.randint(1, most)))

    # --- who, and what was granted -----------------------------------------------------------

    def access(self) -> Access:
        users = [self._user(name) for name in USERS if self.maybe(0.8)]
        projects = {name: self._places() for name in ("shop", "bank") if self.maybe(0.8)}
        return people.access(
            *(self._grant(number) for number in range(self._random.randint(0, 8))),
            users=tuple(users),
            groups=tuple(name for name in GROUPS if self.maybe(0.7)),
            projects=projects,
            roles=tuple(self._role(name) for name in ("one", "two", "three", "admin")),
        )

    def _user(self, name: str) -> User:
        return people.user(name, *self.some(GROUPS), disabled=self.maybe(0.1))

    def _places(self) -> tuple[Place, ...]:
        found = tuple(Place(name, self.some(NAMESPACES)) for name in CLUSTERS)
        return found[: self._random.randint(0, 2)]

    def _grant(self, number: int) -> Grant:
        subject = self.pick(["rob", "rob", "rob", "ann", "Rob", *(f"@{name}" for name in GROUPS)])
        ends = self.pick([None, None, None, NOW + 60, NOW, NOW - 60])
        made = people.grant(
            subject, self.pick(ROLES), self._scope(), key=f"grant-{number}", ends=ends
        )
        return msgspec.structs.replace(made, revoked_at=NOW - 1) if self.maybe(0.05) else made

    def _scope(self) -> Scope:
        return self.pick(
            [
                ORGANIZATION,
                ORGANIZATION,
                people.cluster("prod"),
                people.project(self.pick(["shop", "bank"])),
                people.cluster(self.pick(CLUSTERS)),
                people.namespace(self.pick(CLUSTERS), self.pick(NAMESPACES)),
                people.namespace("prod", "web"),
            ]
        )

    def _role(self, name: str) -> Role:
        held = self.some(tuple(Permission), 4) if self.maybe(0.5) else tuple(Permission)
        return people.role(
            name,
            *(self._rule() for _ in range(self._random.randint(0, 3))),
            denies=tuple(self._rule() for _ in range(self._random.choice([0, 0, 1, 2]))),
            permissions=frozenset(Permission(item) for item in held),
            groups=self.some(("ops", "system:masters", "kubewitness:admin", "view", "System:x"), 2),
        )

    def _rule(self) -> Rule:
        verbs = self.few(("*", "*", "get", "list", "watch", "create", "delete", "proxy"), 3)
        if self.maybe(0.1):
            return Rule(verbs, paths=self.few(("*", "/metrics", "/logs/*", "/api*", "/"), 2))
        resources = (
            *("*", "*", "pods", "secrets", "pods/exec", "pods/*", "*/scale", "*/*", "namespaces"),
            *("services/proxy", "serviceaccounts/token", "nodes", "deployments", "widgets"),
        )
        return Rule(
            verbs,
            api_groups=self.some(("*", "*", "", "apps", "example.com"), 3),
            resources=self.few(resources, 3),
            namespaces=self.few(("web", "db", "*"), 1) if self.maybe(0.3) else (),
            names=self.few(("main", "other", "*"), 1) if self.maybe(0.3) else (),
        )

    # --- requests ----------------------------------------------------------------------------

    def target(self) -> str:
        if self.maybe(0.1):
            return self.pick(PATHS)
        if self.maybe(0.05):
            return self.pick(REVIEWS)
        group, resource = self.pick(KINDS)
        path = f"/apis/{group}/v1" if group else "/api/v1"
        if self.maybe(0.1):
            path += self.pick(["/watch", "/proxy"])
        if resource == "namespaces" or self.maybe(0.75):
            path += f"/namespaces/{self.pick(NAMESPACES)}"
        if resource != "namespaces" or self.maybe(0.2):
            path += f"/{resource}" if resource != "namespaces" else "/status"
            if self.maybe(0.6):
                path += f"/{self.pick(['main', 'other', 'm%61in'])}"
                if self.maybe(0.5):
                    path += f"/{self.pick(SUBRESOURCES)}"
        return path + self.pick(["", "", "", "", "/"]) + self.pick(QUERIES)


def test_the_product_decides_as_the_oracle_says() -> None:
    chance = Chance(SEED)
    seen: Counter[str] = Counter()
    state = chance.access()
    while seen["cases"] < CASES:
        if seen["cases"] % REQUESTS == 0:
            state = chance.access()
        method, target = chance.pick(METHODS), chance.target()
        upgrade = chance.maybe(0.15)
        try:
            description = describe(method, target.encode(), upgrade=upgrade)
        except (RefusedTarget, InvalidRequest):
            continue
        user, certificate = chance.pick([*USERS, "rob", "rob"]), chance.some(GROUPS)
        request = Request(
            chance.pick(["prod", "prod", *CLUSTERS]),
            description.info,
            description.call_class,
            upgrade,
            impersonates=chance.maybe(0.1),
        )
        asked = oracle.Asked(request.cluster, method, request.info, upgrade, request.impersonates)
        now = chance.pick([NOW, NOW, NOW, NOW - 60.001, NOW + 60])
        _compare(state, user, certificate, request, asked, now, seen)
    print(dict(seen))  # shown with -s
    assert min(seen["allowed"], seen["denied by a role"], seen["special and allowed"]) > CASES / 200


def _compare(
    state: Access,
    user: str,
    certificate: tuple[str, ...],
    request: Request,
    asked: oracle.Asked,
    now: float,
    seen: Counter[str],
) -> None:
    case = (user, certificate, asked, now, state)
    caller = caller_of(state, user, certificate)
    decision = decide(state, caller, request, now)
    assert decision.allowed is oracle.may(state, user, certificate, asked, now), case
    assert governed(state, user, certificate) is oracle.is_governed(state, user, certificate), case
    groups = kubernetes_groups(state, caller, request.cluster, now)
    expected = oracle.groups_in_the_cluster(state, user, certificate, request.cluster, now)
    assert list(groups) == expected, case
    seen["cases"] += 1
    seen["allowed"] += decision.allowed
    seen["denied by a role"] += bool(not decision.allowed and decision.grant)
    seen["special and allowed"] += bool(decision.allowed and oracle.specials(asked))
    if seen["cases"] % 10 == 0:
        explanation = explain(state, caller, request, now)
        assert explanation.allowed is decision.allowed, case
        assert bool(explanation.missing) is not decision.allowed, case
