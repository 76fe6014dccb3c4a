"""Accounts, roles and bindings of ours, as a cluster takes them."""

import pytest
import yaml

from proxy.upstream import manifests

ROLE = manifests.cluster_role("may-look", [{"apiGroups": [""], "resources": ["pods"]}])


@pytest.mark.parametrize("token", [True, False])
def test_an_account_has_its_role_and_a_lasting_token_where_asked(token: bool) -> None:
    made = list(yaml.safe_load_all(manifests.text(manifests.account("ours", ROLE, token=token))))
    names = {item["kind"]: item["metadata"]["name"] for item in made}
    assert names == {
        "Namespace": "kubewitness",
        "ServiceAccount": "ours",
        "ClusterRole": "may-look",
        "ClusterRoleBinding": "may-look",
    } | ({"Secret": "ours-token"} if token else {})
    bound = made[-1]
    assert bound["roleRef"]["name"] == "may-look"
    assert bound["subjects"] == [
        {"kind": "ServiceAccount", "name": "ours", "namespace": "kubewitness"}
    ]
    assert made[1]["automountServiceAccountToken"] is False


def test_a_binding_is_for_a_namespace_or_for_all() -> None:
    subjects = [manifests.group("dev")]
    everywhere = manifests.binding("b", "view", subjects)
    assert everywhere["kind"] == "ClusterRoleBinding"
    assert everywhere["metadata"] == {"name": "b", "labels": manifests.LABELS}
    here = manifests.binding("b", "view", subjects, namespace="web", labels={"x": "y"})
    assert here["kind"] == "RoleBinding"
    assert here["metadata"] == {"name": "b", "namespace": "web", "labels": {"x": "y"}}
    assert here["subjects"] == subjects


def test_the_steps_are_comments_about_the_file_and_what_takes_it() -> None:
    steps = manifests.steps("ours", "prod", file="prod-2.kubeconfig", command="reconcile")
    assert list(yaml.safe_load_all(steps)) == [None]
    assert "get secret ours-token" in steps
    assert "kubewitness cluster reconcile prod --kubeconfig prod-2.kubeconfig" in steps
