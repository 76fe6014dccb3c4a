"""NetworkPolicies held by the kernel: read from the API server again and again, and written as rules of nftables.

The cluster's pod network (`ptp`) enforces none, so this stands in for a network plugin that does. What comes from the
node itself passes, as kubelet's probes must; what a policy does not let pass is rejected, so that nobody waits for it.
"""

import base64
import json
import ssl
import subprocess
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from tests.cluster.build import find_tool

TABLE = "kubewitness-policies"
POLL_SECONDS = 0.3
_PATHS = ("/apis/networking.k8s.io/v1/networkpolicies", "/api/v1/pods", "/api/v1/namespaces")

Manifest = dict[str, Any]
Direction = Literal["ingress", "egress"]


@dataclass(frozen=True)
class World:
    """What policies are about: pods that have an address, and the labels of namespaces."""

    pods: tuple[Manifest, ...]
    namespaces: dict[str, dict[str, str]]

    @classmethod
    def of(cls, pods: Iterable[Manifest], namespaces: Iterable[Manifest]) -> "World":
        """Without pods that are over: their addresses may be others' by now."""
        return cls(
            tuple(pod for pod in pods if _lives(pod)),
            {item["metadata"]["name"]: item["metadata"].get("labels", {}) for item in namespaces},
        )


def ruleset(policies: Sequence[Manifest], world: World) -> str:
    """The table that holds these policies, in the place of the one before, as nftables reads it."""
    lines = [f"table ip {TABLE}", f"delete table ip {TABLE}", f"table ip {TABLE} {{"]
    jumps: dict[Direction, list[str]] = {"ingress": [], "egress": []}
    for pod in world.pods:
        for direction, into in jumps.items():
            applying = [policy for policy in policies if _applies(policy, direction, pod)]
            if not applying:
                continue
            address = pod["status"]["podIP"]
            chain = f"{direction}-{address.replace('.', '-')}"
            into.append(f"{address} : jump {chain}")
            lines.append(f" chain {chain} {{")
            for policy in applying:
                lines += [f"  {match} return" for match in _matches(policy, direction, pod, world)]
            lines += ["  meta l4proto tcp reject with tcp reset", "  reject", " }"]
    leaving, arriving = _lookup("saddr", jumps["egress"]), _lookup("daddr", jumps["ingress"])
    lines += [*_entry("forward", leaving + arriving), *_entry("input", leaving)]
    return "\n".join([*lines, "}", ""])


def _lookup(side: str, jumps: list[str]) -> list[str]:
    return [f"ip {side} vmap {{ {', '.join(jumps)} }}"] if jumps else []


def _entry(hook: str, rules: list[str]) -> list[str]:
    # After the translation of Service addresses, which is where policies apply.
    head = f"type filter hook {hook} priority 10; policy accept;"
    return [
        f" chain {hook} {{",
        *(f"  {line}" for line in [head, "ct state established,related accept", *rules]),
        " }",
    ]


def _lives(pod: Manifest) -> bool:
    status = pod.get("status", {})
    over = status.get("phase") in {"Succeeded", "Failed"}
    return bool(status.get("podIP")) and not over and not pod["spec"].get("hostNetwork")


def _applies(policy: Manifest, direction: Direction, pod: Manifest) -> bool:
    spec = policy["spec"]
    types = spec.get("policyTypes") or ["Ingress"]
    return (
        direction.capitalize() in types
        and policy["metadata"]["namespace"] == pod["metadata"]["namespace"]
        and _selects(spec.get("podSelector", {}), pod["metadata"].get("labels", {}))
    )


def _selects(selector: Manifest, labels: dict[str, str]) -> bool:
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for term in selector.get("matchExpressions", []):
        value, values = labels.get(term["key"]), term.get("values", [])
        held = {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not held[term["operator"]]:
            return False
    return True


def _matches(policy: Manifest, direction: Direction, pod: Manifest, world: World) -> Iterator[str]:
    """What passes, one match a line."""
    for rule in policy["spec"].get(direction) or []:
        peers = rule.get("from" if direction == "ingress" else "to") or [None]
        for peer in peers:
            for address, other in _peer(peer, direction, policy, world):
                ports_of = pod if direction == "ingress" else other
                for port in rule.get("ports") or [None]:
                    yield from (f"{address} {match}".strip() for match in _port(port, ports_of))


def _peer(
    peer: Manifest | None, direction: Direction, policy: Manifest, world: World
) -> Iterator[tuple[str, Manifest | None]]:
    side = "saddr" if direction == "ingress" else "daddr"
    if peer is None:
        yield "", None
    elif "ipBlock" in peer:
        block = peer["ipBlock"]
        but = ", ".join(block.get("except", []))
        yield f"ip {side} {block['cidr']}" + (f" ip {side} != {{ {but} }}" if but else ""), None
    else:
        for pod in world.pods:
            if _is_peer(pod, peer, policy["metadata"]["namespace"], world):
                yield f"ip {side} {pod['status']['podIP']}", pod


def _is_peer(pod: Manifest, peer: Manifest, namespace: str, world: World) -> bool:
    there = pod["metadata"]["namespace"]
    if "namespaceSelector" not in peer:
        near = there == namespace
    else:
        near = _selects(peer["namespaceSelector"], world.namespaces.get(there, {}))
    return near and _selects(peer.get("podSelector", {}), pod["metadata"].get("labels", {}))


def _port(port: Manifest | None, pod: Manifest | None) -> Iterator[str]:
    """Matches for a port; a name is one of the ports of the pod that is connected to, or none."""
    if port is None:
        yield ""
        return
    protocol = port.get("protocol", "TCP").lower()
    number = port.get("port")
    if number is None:
        yield f"meta l4proto {protocol}"
    elif isinstance(number, int):
        end = f"-{port['endPort']}" if "endPort" in port else ""
        yield f"{protocol} dport {number}{end}"
    elif pod is not None:
        for container in pod["spec"]["containers"]:
            for known in container.get("ports", []):
                if known.get("name") == number:
                    yield f"{protocol} dport {known['containerPort']}"


class _Api:
    """The lists that policies are made of, over one connection."""

    def __init__(self, kubectl: Path, kubeconfig: Path, directory: Path) -> None:
        view = [str(kubectl), f"--kubeconfig={kubeconfig}", "config", "view", "--minify"]
        raw = subprocess.run(
            [*view, "--raw", "--flatten", "-o", "json"], capture_output=True, check=True
        )
        config = json.loads(raw.stdout)
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        pair = directory / "admin.pem"
        pair.touch(mode=0o600)
        parts = (user["client-certificate-data"], user["client-key-data"])
        pair.write_bytes(b"\n".join(map(base64.b64decode, parts)))
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        context = ssl.create_default_context(cadata=authority)
        context.load_cert_chain(pair)
        address = urlsplit(cluster["server"])
        self._connection = HTTPSConnection(address.netloc, context=context, timeout=10)

    def close(self) -> None:
        self._connection.close()

    def lists(self) -> list[list[Manifest]]:
        found = []
        for path in _PATHS:
            self._connection.request("GET", path)
            found.append(json.loads(self._connection.getresponse().read())["items"])
        return found


class Enforcer:
    """Follows the cluster until it is told to stop."""

    def __init__(self, api: _Api) -> None:
        self._api = api
        self._stop = threading.Event()
        self._written = ""
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self.error: Exception | None = None

    def look(self) -> None:
        """Make the rules what the policies are now."""
        policies, pods, namespaces = self._api.lists()
        wanted = ruleset(policies, World.of(pods, namespaces))
        if wanted != self._written:
            _nft(wanted)
            self._written = wanted

    @contextmanager
    def following(self) -> Iterator["Enforcer"]:
        """Policies hold from here on, and no more afterwards.

        Raises:
            Exception: following them failed at some point, so that what was seen says nothing.
        """
        self.look()
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join()
            _nft(f"table ip {TABLE}\ndelete table ip {TABLE}\n")
        if self.error is not None:
            raise self.error

    def _follow(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            try:
                self.look()
            except (OSError, ValueError, subprocess.CalledProcessError) as error:
                self.error = error
                return


def _nft(script: str) -> None:
    program = find_tool("nft") or "nft"
    subprocess.run([program, "-f", "-"], input=script.encode(), check=True, capture_output=True)


@contextmanager
def enforced(kubectl: Path, kubeconfig: Path, directory: Path) -> Iterator[Enforcer]:
    """Every NetworkPolicy of the cluster holds in this network namespace, which is the node's."""
    api = _Api(kubectl, kubeconfig, directory)
    with closing(api), Enforcer(api).following() as enforcer:
        yield enforcer
