"""Random rows in all their states, and what a search may show of them."""

import random

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
from proxy.audit.index.rows import Row
from proxy.clock import rfc3339
from tests.audit.journals import NOW

USERS = ["alice", "Alice", "bob", "b*b", "system:x", "é\ud7ff", "é\U0010ffffx", "a\u0000b", ""]
GROUPS = ["dev", "de", "a,b", "new\nline", "back\\nslash", '","']
CLUSTERS = ["prod", "stage"]
NAMESPACES = ["", "shop", "Shop", "kube-system"]
NAMES = ["", "web-0", "web-1", "w%b", "w_b", "web\\0"]
RESOURCES = [("pods", ""), ("pods", "exec"), ("deployments", ""), ("secrets", "")]
API_GROUPS = ["", "apps", "example.com"]
VERBS = ["get", "list", "watch", "create", "delete"]
CLASSES = ["read", "mutate", "stream", "discovery", "health", "privileged"]
CODES = [0, 101, 200, 201, 301, 399, 400, 403, 404, 499, 500, 503]
SOURCES = ["10.0.0.1", "10.0.1.7", "192.168.1.1", "2001:db8::1", "::ffff:10.0.0.9", "not-an-ip"]
TOOLS = ["kubectl", "helm", ""]
CREDENTIALS = ["", "a1", "a2", "b1"]
FLAGS = ["new-address", "new-network", "off-hours"]


def some_lines(seed: int, calls: int) -> list[bytes]:
    """The bodies of random calls in all their states, and of other events, shuffled a little."""
    chance = random.Random(seed)
    timed: list[tuple[float, bytes]] = []
    flagged = random.Random(seed + 1)  # its own, so that all the rest is as it always was
    for number in range(calls):
        at = NOW + chance.randrange(200) / 10
        flags = ",".join(flagged.sample(FLAGS, max(0, flagged.randrange(-3, 3))))
        if number % 13 == 0:
            act = SystemEvent(f"s{number}", rfc3339(at), "audit.search", "bob")
            if flags:
                act.detail = {"suspicious": flags}
            timed.append((at, body(act)))
            timed.append(
                (at, body(ConnectionEvent(f"c{number}", rfc3339(at), ("10.0.0.1",), "data", "tls")))
            )
        resource, subresource = chance.choice(RESOURCES)
        call = Call(
            audit_id=f"call-{number}",
            request_received_timestamp=rfc3339(at),
            source_ips=(chance.choice(SOURCES),),
            user=User(
                chance.choice(USERS), groups=tuple(chance.sample(GROUPS, chance.randrange(3)))
            ),
            verb=chance.choice(VERBS),
            cluster=chance.choice(CLUSTERS),
            call_class=chance.choice(CLASSES),
            credential=flagged.choice(CREDENTIALS),
            annotations={SUSPICIOUS: flags} if flags else {},
            tool=chance.choice(TOOLS),
            user_agent=chance.choice(["kubectl/1.37", "Helm/4 100%", "x_y", "É"]),
            kubectl_session=chance.choice(["", "s1", "s2"]),
            kubectl_command=chance.choice(["", "kubectl get", "kubectl delete"]),
            request_uri=f"/api/{chance.choice(['x', 'X', 'a%b'])}",
            object_ref=ObjectRef(
                resource,
                chance.choice(NAMESPACES),
                chance.choice(NAMES),
                chance.choice(API_GROUPS),
                "v1",
                subresource,
            ),
        )
        description = describe(call)
        progress = Progress(ResponseStatus(chance.choice(CODES)))
        timed.append((at, stage(description, Stage.REQUEST_RECEIVED, at)))
        if chance.random() < 0.4:
            timed.append((at + 1, stage(description, Stage.RESPONSE_STARTED, at + 1, progress)))
        if chance.random() < 0.7:
            last = chance.choice([Stage.RESPONSE_COMPLETE, Stage.PANIC])
            timed.append((at + 2, stage(description, last, at + 2, progress)))
    return [line for _, line in sorted(timed, key=lambda entry: entry[0])]


def framed(bodies: list[bytes]) -> list[bytes]:
    return [b'{"seq":%d,"salt":"%032d",%b}' % (n, n, item) for n, item in enumerate(bodies, 1)]


def shown(rows: list[Row]) -> list[Row]:
    """What a search may show, worked out the slow way."""
    last: dict[str, Row] = {}
    others = []
    for item in rows:
        if item.kind != "Event":
            others.append(item)
        elif item.audit_id not in last or not last[item.audit_id].terminal:
            last[item.audit_id] = item
    return [*others, *last.values()]
