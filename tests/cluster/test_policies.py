"""NetworkPolicies as rules: who is meant, by which ports, and that all else is rejected."""

from typing import Any

import pytest

from tests.cluster.policies import TABLE, World, ruleset

Manifest = dict[str, Any]


def pod(name: str, address: str, namespace: str = "here", **labels: str) -> Manifest:
    ports = [{"name": "web", "containerPort": 8080}]
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"containers": [{"ports": ports}]},
        "status": {"podIP": address, "phase": "Running"},
    }


def policy(**spec: Any) -> Manifest:
    selector = {"podSelector": {"matchLabels": {"app": "web"}}}
    return {"metadata": {"name": "p", "namespace": "here"}, "spec": {**selector, **spec}}


WORLD = World.of(
    [
        pod("web", "10.0.0.1", app="web"),
        pod("friend", "10.0.0.2", role="friend"),
        pod("far", "10.0.0.3", "there", role="friend"),
    ],
    [
        {"metadata": {"name": "here", "labels": {"name": "here"}}},
        {"metadata": {"name": "there", "labels": {"name": "there"}}},
    ],
)


def chains(*policies: Manifest, world: World = WORLD) -> dict[str, list[str]]:
    """The lines of each chain by its name."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in ruleset(policies, world).splitlines():
        words = line.split()
        if words[:1] == ["chain"]:
            found[words[1]] = lines = []
        elif line.startswith("  "):
            lines.append(line.strip())
    return found


def passing(direction: str, *rules: Manifest, **more: Any) -> list[str]:
    """What a policy of one direction with these rules lets pass to or from 10.0.0.1."""
    one = policy(policyTypes=[direction.capitalize()], **{direction: list(rules)}, **more)
    lines = chains(one)[f"{direction}-10-0-0-1"]
    assert lines[-2:] == ["meta l4proto tcp reject with tcp reset", "reject"]
    return [line.removesuffix("return").strip() for line in lines[:-2]]


def test_without_a_policy_everything_passes() -> None:
    assert chains() == {
        name: [
            f"type filter hook {name} priority 10; policy accept;",
            "ct state established,related accept",
        ]
        for name in ("forward", "input")
    }


def test_only_pods_that_are_selected_are_held_and_only_in_the_directions_named() -> None:
    found = chains(policy(policyTypes=["Ingress", "Egress"]))
    assert set(found) == {"ingress-10-0-0-1", "egress-10-0-0-1", "forward", "input"}
    assert found["forward"][2:] == [
        "ip saddr vmap { 10.0.0.1 : jump egress-10-0-0-1 }",
        "ip daddr vmap { 10.0.0.1 : jump ingress-10-0-0-1 }",
    ]
    # What goes to the node itself; what comes from it passes.
    assert found["input"][2:] == ["ip saddr vmap { 10.0.0.1 : jump egress-10-0-0-1 }"]
    assert "egress-10-0-0-1" not in chains(policy())


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ({}, [""]),
        ({"ports": [{"port": "web"}]}, ["tcp dport 8080"]),
        ({"ports": [{"port": "other"}]}, []),
        ({"ports": [{"port": 53, "protocol": "UDP"}]}, ["udp dport 53"]),
        ({"ports": [{"port": 80, "endPort": 90}]}, ["tcp dport 80-90"]),
        ({"from": [{"podSelector": {}}]}, ["ip saddr 10.0.0.1", "ip saddr 10.0.0.2"]),
        ({"from": [{"podSelector": {"matchLabels": {"role": "friend"}}}]}, ["ip saddr 10.0.0.2"]),
        (
            {"from": [{"namespaceSelector": {"matchLabels": {"name": "there"}}}]},
            ["ip saddr 10.0.0.3"],
        ),
        (
            {"from": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"role": "friend"}}}]},
            ["ip saddr 10.0.0.2", "ip saddr 10.0.0.3"],
        ),
        (
            {"from": [{"ipBlock": {"cidr": "10.1.0.0/16", "except": ["10.1.1.0/24"]}}]},
            ["ip saddr 10.1.0.0/16 ip saddr != { 10.1.1.0/24 }"],
        ),
    ],
)  # fmt: skip
def test_what_may_come_in(rule: Manifest, wanted: list[str]) -> None:
    assert passing("ingress", rule) == wanted


def test_what_may_go_out_names_the_other_end_and_its_ports() -> None:
    friends = {"podSelector": {"matchLabels": {"role": "friend"}}}
    assert passing("egress", {"to": [friends], "ports": [{"port": "web"}, {"port": 443}]}) == [
        "ip daddr 10.0.0.2 tcp dport 8080",
        "ip daddr 10.0.0.2 tcp dport 443",
    ]
    # Nobody knows a port by name at an address.
    assert passing("egress", {"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [{"port": "web"}]}) == []  # fmt: skip


@pytest.mark.parametrize(
    ("operator", "values", "selected"),
    [
        *(("In", ["web", "x"], True), ("In", ["x"], False)),
        *(("NotIn", ["x"], True), ("NotIn", ["web"], False)),
        *(("Exists", [], True), ("DoesNotExist", [], False)),
    ],
)
def test_expressions(operator: str, values: list[str], *, selected: bool) -> None:
    term = {"key": "app", "operator": operator, "values": values}
    found = chains(policy(podSelector={"matchExpressions": [term]}))
    assert ("ingress-10-0-0-1" in found) == selected


def test_policies_of_other_namespaces_and_pods_that_are_over_do_not_count() -> None:
    other = policy()
    other["metadata"]["namespace"] = "there"
    assert set(chains(other)) == {"forward", "input"}
    over = pod("job", "10.0.0.9", app="web")
    over["status"]["phase"] = "Succeeded"
    assert set(chains(policy(), world=World.of([over], []))) == {"forward", "input"}


def test_each_table_takes_the_place_of_the_one_before() -> None:
    head = ruleset([], WORLD).splitlines()[:3]
    assert head == [f"table ip {TABLE}", f"delete table ip {TABLE}", f"table ip {TABLE} {{"]
