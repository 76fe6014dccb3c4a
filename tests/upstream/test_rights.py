"""What the groups of our roles may do in a cluster."""

import pytest
import yaml

from proxy.authz.applying import at_cluster
from proxy.authz.roles import BUILT_IN
from proxy.authz.standing import Caller
from proxy.errors import InvalidInputError
from proxy.state.access import ClusterAccess, Place, Scope, ScopeKind
from proxy.upstream.bootstrap import manifest
from proxy.upstream.rights import groups, rights
from proxy.upstream.rights import manifest as rights_manifest
from tests.authz.people import NOW, access, grant, user

SCOPES = {
    ScopeKind.ORGANIZATION: Scope(ScopeKind.ORGANIZATION),
    ScopeKind.PROJECT: Scope(ScopeKind.PROJECT, project="shop"),
    ScopeKind.CLUSTER: Scope(ScopeKind.CLUSTER, cluster="prod"),
    ScopeKind.NAMESPACE: Scope(ScopeKind.NAMESPACE, cluster="prod", namespace="web"),
}


def given() -> dict[str, ClusterAccess]:
    """Every group that a grant of a built-in role can give at a cluster, or in namespace web."""
    found = {}
    for role in BUILT_IN.values():
        for kind in role.scopes:
            for places in (Place("prod"), Place("prod", ("web",))):
                state = access(
                    grant("rob", role.name, SCOPES[kind]),
                    users=(user("rob"),),
                    projects={"shop": (places,)},
                )
                for group in at_cluster(state, Caller("rob", ()), "prod", NOW).groups:
                    found[group] = role.clusters
    return found


def bound() -> dict[str, tuple[str, str]]:
    """Group → namespace and ClusterRole."""
    return {
        subject["name"]: (item["metadata"].get("namespace", ""), item["roleRef"]["name"])
        for item in rights(["web"], {})
        if item["kind"].endswith("Binding")
        for subject in item["subjects"]
    }


def test_every_group_that_grants_can_give_is_bound_and_may_be_impersonated() -> None:
    assert set(given()) == set(bound()) == set(groups(["web"]))


def test_each_is_bound_to_what_its_role_says_where_it_says() -> None:
    wanted = {
        (ClusterAccess.FULL, ""): "cluster-admin",
        (ClusterAccess.READ, ""): "kubewitness-read-only",
        (ClusterAccess.FULL, "web"): "admin",
        (ClusterAccess.READ, "web"): "view",
    }
    for group, clusters in given().items():
        namespace = "web" if group.endswith(":web") else ""
        assert bound()[group] == (namespace, wanted[clusters, namespace]), group


def test_who_looks_sees_no_secrets_and_changes_nothing() -> None:
    for item in rights(["web"], {}):
        for rule in item.get("rules", ()):
            assert set(rule["verbs"]) <= {"get", "list", "watch"}
            assert not {"secrets", "nodes/proxy"} & set(rule.get("resources", ()))
            assert "" not in rule.get("apiGroups", ()) or "*" not in rule["resources"]


def test_rules_that_the_cluster_writes_are_not_named() -> None:
    # Who names them owns them, and the second server-side apply conflicts with the cluster's controller.
    (role,) = [item for item in rights([], {}) if "aggregationRule" in item]
    assert "rules" not in role


def test_the_manifest_lets_us_impersonate_exactly_these() -> None:
    items = [item for item in yaml.safe_load_all(manifest("prod", ["dev"], namespaces=["web"])) if item]  # fmt: skip
    role = next(item for item in items if item["metadata"]["name"] == "kubewitness-impersonator")
    (rule,) = [rule for rule in role["rules"] if rule["resources"] == ["groups"]]
    assert rule["resourceNames"] == sorted(["dev", *groups(["web"])])
    assert "system:" not in str([item for item in items if item["kind"].endswith("Binding")])


def test_a_namespace_is_a_namespace() -> None:
    with pytest.raises(InvalidInputError, match="namespace"):
        manifest("prod", [], namespaces=["Not one"])


def test_the_rights_alone_name_the_groups_and_make_no_account() -> None:
    text = rights_manifest(["web"])
    documents = [item for item in yaml.safe_load_all(text) if item]
    assert documents == rights(["web"], {"app.kubernetes.io/name": "kubewitness"})
    assert all(f"#   {group}\n" in text for group in groups(["web"]))
    assert not {item["kind"] for item in documents} & {"ServiceAccount", "Secret"}
    with pytest.raises(InvalidInputError):
        rights_manifest(["../x"])
