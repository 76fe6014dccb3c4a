"""Realistic journal lines without end: calls of people, controllers and machines over 90 days.

Skewed as real traffic is: a few controllers make most calls, most objects are pods that live for
a day, most people look and some change. The same seed gives the same lines.
"""

import heapq
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from proxy.audit.event import (
    Call,
    ConnectionEvent,
    ObjectRef,
    Progress,
    ResponseStatus,
    Stage,
    SystemEvent,
    User,
    body,
    describe,
    stage,
)
from proxy.audit.flags import SUSPICIOUS
from proxy.clock import rfc3339

DAYS: Final = 90
DAY: Final = 86_400.0
START: Final = 1_770_000_000.0
"""Wall time of the first call."""
EVENTS_A_CALL: Final = 2.06
CLUSTERS: Final = ("prod-eu", "prod-us", "stage", "dev", "edge-1", "edge-2")
NAMESPACES: Final = (*(f"team-{number}" for number in range(150)), "kube-system", "default")
GROUPS: Final = tuple(f"group-{number}" for number in range(40))
MACHINES: Final = (
    ("argocd", "argocd-application-controller/v2.14 (linux/amd64)", "argocd"),
    ("ci", "helm/v4.0.1 Helm/4.0.1", "helm"),
    ("prometheus", "Prometheus/3.4.0", "prometheus"),
    ("flux", "kustomize-controller/v1.6.0", "flux"),
    ("backup", "velero-server/v1.16 (linux/amd64)", "velero"),
    ("gitlab-runner", "gitlab-runner 18.1.0 linux/amd64", "gitlab-runner"),
)
RESOURCES: Final = (
    ("pods", "", 40),
    ("deployments", "apps", 12),
    ("configmaps", "", 8),
    ("secrets", "", 6),
    ("events", "", 6),
    ("services", "", 6),
    ("endpointslices", "discovery.k8s.io", 4),
    ("replicasets", "apps", 4),
    ("statefulsets", "apps", 3),
    ("nodes", "", 3),
    ("jobs", "batch", 3),
    ("leases", "coordination.k8s.io", 2),
    ("applications", "argoproj.io", 2),
    ("networkpolicies", "networking.k8s.io", 1),
)
_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
"""Of generated names: k8s.io/apimachinery `pkg/util/rand`."""
READS: Final = ("get", "get", "get", "list", "watch")
WRITES: Final = ("patch", "update", "create", "delete")
CODES: Final = ((200, 900), (201, 60), (404, 22), (403, 8), (409, 5), (422, 1), (500, 2), (503, 1))
REASONS: Final = {
    403: "Forbidden",
    404: "NotFound",
    409: "AlreadyExists",
    422: "Invalid",
    500: "InternalError",
    503: "ServiceUnavailable",
}


@dataclass
class Caller:
    """A person or a machine."""

    user: User
    agent: str
    tool: str
    addresses: list[str]
    namespaces: list[str]
    writes: float
    credential: str
    person: bool
    session: str = ""
    command: str = ""
    left: int = 0
    """Calls that its present command still makes."""


@dataclass
class World:
    """Everything random, from one seed."""

    seed: int
    calls: int
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = chance = random.Random(self.seed)
        self.callers = [self._machine(*machine) for machine in MACHINES]
        self.callers += [self._person(number) for number in range(300)]
        weights = [60.0, 30, 40, 25, 5, 15] + [60 / (number + 3) for number in range(300)]
        self.turns = chance.choices(self.callers, weights, k=65_536)
        self.resources = chance.choices(RESOURCES, [weight for *_, weight in RESOURCES], k=16_384)
        self.codes = chance.choices(
            [code for code, _ in CODES], [weight for _, weight in CODES], k=16_384
        )
        self.pods: list[str] = [self._pod() for _ in range(3000)]

    def _machine(self, name: str, agent: str, tool: str) -> Caller:
        chance = self.chance
        return Caller(
            User(f"system:serviceaccount:ci:{name}", groups=("system:serviceaccounts", "machines")),
            agent,
            tool,
            [f"10.{chance.randrange(4)}.0.{chance.randrange(1, 255)}" for _ in range(3)],
            chance.sample(NAMESPACES, 90),
            0.3 if name in {"argocd", "ci", "flux"} else 0.0,
            f"{chance.getrandbits(96):x}",
            person=False,
        )

    def _person(self, number: int) -> Caller:
        chance = self.chance
        version = chance.choice(("v1.37.1", "v1.36.4", "v1.35.0"))
        tool = chance.choice(("kubectl", "kubectl", "kubectl", "k9s", "lens"))
        where = [f"10.{20 + number % 30}.{chance.randrange(256)}.{chance.randrange(1, 255)}"]
        where.append(f"192.168.{number % 256}.{chance.randrange(1, 255)}")
        if number % 9 == 0:
            where.append(f"2001:db8:{number:x}::{chance.randrange(1, 65_000):x}")
        return Caller(
            User(f"user-{number}@example.com", groups=tuple(chance.sample(GROUPS, 3))),
            f"{tool}/{version} (linux/amd64) kubernetes/{chance.getrandbits(28):07x}",
            tool,
            where,
            chance.sample(NAMESPACES, 6),
            0.12,
            f"{chance.getrandbits(96):x}",
            person=True,
        )

    def _pod(self) -> str:
        chance = self.chance
        ends = "".join(chance.choices(_ALPHABET, k=15))
        return f"app-{int(chance.random() ** 2 * 400)}-{ends[:10]}-{ends[10:]}"

    def call(self, number: int, at: float) -> Call:
        """One call as the proxy describes it."""
        chance = self.chance
        dice = int(chance.random() * 65_536)
        caller = self.turns[dice]
        resource, group, _ = self.resources[dice & 16_383]
        writes = chance.random() < caller.writes
        verb = (WRITES if writes else READS)[int(chance.random() * 4.6) % (4 if writes else 5)]
        if number % 40 == 0:  # a pod is replaced
            self.pods[int(chance.random() * 3000)] = self._pod()
        namespace = caller.namespaces[int(chance.random() ** 3 * len(caller.namespaces))]
        name, subresource, kind = self._object(resource, verb, dice), "", "mutate"
        if not writes:
            kind = "read"
            if resource == "pods" and dice % 11 == 0:
                verb, subresource, kind = "get", "log", "stream"
            elif resource == "secrets":
                kind = "privileged"
        uri = _uri(group, resource, namespace, name, subresource, verb)
        if dice % 16 == 7:
            kind, resource, name, uri = "discovery", "", "", f"/apis/{group or 'apps'}?timeout=32s"
        if caller.person and caller.tool == "kubectl":
            self._command(caller, verb)
        return Call(
            audit_id=self._audit_id(at),
            request_received_timestamp=rfc3339(at),
            source_ips=(caller.addresses[dice % len(caller.addresses)],),
            user=caller.user,
            verb=verb,
            http_method="PATCH" if writes else "GET",
            request_uri=uri,
            cluster=CLUSTERS[int(chance.random() ** 2.5 * 6)],
            call_class=kind,
            credential=caller.credential,
            user_agent=caller.agent,
            tool=caller.tool,
            kubectl_command=caller.command,
            kubectl_session=caller.session,
            object_ref=ObjectRef(resource, namespace, name, group, "v1", subresource)
            if resource
            else None,
            annotations={
                "authorization.k8s.io/decision": "allow",
                "authorization.k8s.io/reason": "grant of role edit",
                **({SUSPICIOUS: "new-address"} if dice % 5_000 == 17 else {}),
            },
        )

    def _audit_id(self, at: float) -> str:
        time, tail = f"{int(at * 1000):012x}", f"{self.chance.getrandbits(72):018x}"
        return f"{time[:8]}-{time[8:]}-7{tail[:3]}-8{tail[3:6]}-{tail[6:]}"

    def _object(self, resource: str, verb: str, dice: int) -> str:
        if verb in {"list", "watch"}:
            return ""
        if resource == "pods":
            return self.pods[int(self.chance.random() ** 2 * 3000)]
        return f"{resource[:6]}-{dice % 700}"

    def _command(self, caller: Caller, verb: str) -> None:
        if caller.left <= 0:
            caller.session = str(uuid.UUID(int=self.chance.getrandbits(128), version=4))
            caller.command = f"kubectl {'describe' if verb == 'get' else verb}"
            caller.left = self.chance.randrange(1, 9)
        caller.left -= 1


def _uri(group: str, resource: str, namespace: str, name: str, sub: str, verb: str) -> str:
    base = f"/apis/{group}/v1" if group else "/api/v1"
    tail = "".join(f"/{part}" for part in (name, sub) if part)
    query = {"list": "?limit=500", "watch": "?watch=true&resourceVersion=1"}.get(verb, "")
    return f"{base}/namespaces/{namespace}/{resource}{tail}{query}"


def bodies(calls: int, seed: int = 1) -> Iterator[bytes]:
    """The bodies of the events of so many calls, in the order in which a writer gets them."""
    world = World(seed, calls)
    chance = world.chance
    waiting: list[tuple[float, int, bytes]] = []
    step = DAYS * DAY / calls
    for number in range(calls):
        at = START + (number + chance.random()) * step
        while waiting and waiting[0][0] <= at:
            yield heapq.heappop(waiting)[2]
        yield from _others(number, at)
        call = world.call(number, at)
        description = describe(call)
        yield stage(description, Stage.REQUEST_RECEIVED, at)
        taken = chance.random() * 0.05
        code = world.codes[int(chance.random() * 16_384)]
        progress = Progress(
            ResponseStatus(code, reason=REASONS.get(code, "")),
            0,
            int(taken * 80_000),
            int(taken * 9e5),
            int(taken * 1e6),
        )
        if call.verb == "watch" or call.call_class == "stream":
            began = stage(description, Stage.RESPONSE_STARTED, at + taken / 2, progress)
            heapq.heappush(waiting, (at + taken / 2, number * 2, began))
            taken = chance.random() * 300
            if number % 5000 == 4 and number > calls * 0.98:
                continue  # still open at the end
        ended = stage(description, Stage.RESPONSE_COMPLETE, at + taken, progress)
        heapq.heappush(waiting, (at + taken, number * 2 + 1, ended))
    while waiting:
        yield heapq.heappop(waiting)[2]


def _others(number: int, at: float) -> Iterator[bytes]:
    if number % 900 == 0:
        made = SystemEvent(
            f"{int(at * 1000):012x}"[:8] + f"-sys-{number}",
            rfc3339(at),
            ("audit.search", "credential.issue", "cluster.add")[number // 900 % 3],
            f"user-{number // 900 % 20}@example.com",
            (f"10.99.0.{number // 900 % 200}",),
            target=f"thing-{number // 900 % 5_000}",
        )
        yield body(made)
    if number % 2100 == 0:
        address = f"203.0.113.{number // 2100 % 250}"
        yield body(ConnectionEvent(f"conn-{number}", rfc3339(at), (address,), "data", "tls"))


def lines(calls: int, seed: int = 1, first: int = 1) -> Iterator[bytes]:
    """The same as journal lines, numbered from `first`."""
    for seq, made in enumerate(bodies(calls, seed), first):
        yield b'{"seq":%d,"salt":"%032x",%b}' % (seq, seq * 0x9E3779B97F4A7C15, made)
