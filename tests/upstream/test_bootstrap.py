import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.errors import InvalidInputError
from proxy.upstream import rights
from proxy.upstream.bootstrap import manifest, role
from proxy.upstream.excess import ResourceRule, excess_of_rules
from tests.upstream.fake_api import allows

AUTHN = "authentication.k8s.io"


def documents(text: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for item in yaml.safe_load_all(text):
        if item:
            # The account's own come first; what follows is of `rights`.
            found.setdefault(item["kind"], item)
    return found


def may(rules: list[dict[str, Any]], resource: str, name: str = "", **more: str) -> bool:
    return allows(rules, {"verb": "impersonate", "resource": resource, "name": name} | more)


@pytest.mark.parametrize(
    ("resource", "name", "more", "allowed"),
    [
        ("users", "alice", {}, True),
        ("groups", "dev", {}, True),
        ("groups", "ops", {}, True),
        ("groups", "system:masters", {}, False),
        ("groups", "other", {}, False),
        ("groups", "", {}, False),
        ("serviceaccounts", "default", {}, False),
        ("uids", "7", {"group": AUTHN}, True),
        ("userextras", "a1", {"group": AUTHN, "subresource": "kubewitness.io/credential"}, True),
        ("userextras", "bob", {"group": AUTHN, "subresource": "kubewitness.io/impersonator"}, True),
        ("userextras", "x", {"group": AUTHN, "subresource": "scopes"}, False),
        ("pods", "", {"verb": "get"}, False),
        ("secrets", "", {"verb": "get"}, False),
        ("users", "alice", {"verb": "get"}, False),
        ("*", "", {"verb": "*", "group": "*"}, False),
    ],
)
def test_the_role_allows_what_is_needed_and_no_more(
    resource: str, name: str, more: dict[str, str], allowed: bool
) -> None:
    assert may(role(["dev", "ops"])["rules"], resource, name, **more) is allowed


def test_without_groups_there_is_no_rule_for_them() -> None:
    for group in ("system:masters", "dev", ""):
        assert not may(role([])["rules"], "groups", group)


def test_users_can_be_named() -> None:
    rules = role(["dev"], ["alice"])["rules"]
    assert may(rules, "users", "alice")
    assert not may(rules, "users", "system:kube-controller-manager")


def test_our_own_checker_finds_nothing_to_complain_about() -> None:
    rules = [
        ResourceRule(
            tuple(item["verbs"]), tuple(item["apiGroups"]), tuple(item["resources"]),
            tuple(item.get("resourceNames", ())),
        )
        for item in role(["dev"])["rules"]
    ]  # fmt: skip
    assert excess_of_rules(rules) == []


def test_the_manifest_has_the_account_and_nothing_else() -> None:
    found = documents(manifest("prod", ["dev"]))
    assert list(found) == [
        "Namespace",
        "ServiceAccount",
        "Secret",
        "ClusterRole",
        "ClusterRoleBinding",
    ]
    assert found["ClusterRole"] == role(["dev", *rights.groups([])])
    assert (
        found["ClusterRoleBinding"]["roleRef"]["name"] == found["ClusterRole"]["metadata"]["name"]
    )
    (subject,) = found["ClusterRoleBinding"]["subjects"]
    account = found["ServiceAccount"]["metadata"]
    assert (subject["name"], subject["namespace"]) == (account["name"], account["namespace"])


def test_a_requested_token_leaves_no_secret() -> None:
    text = manifest("prod", ["dev"], token_secret=False)
    assert "Secret" not in documents(text)
    assert "kubectl -n kubewitness create token kubewitness" in text


def test_what_a_person_must_know_is_in_it() -> None:
    assert "system: users" in manifest("prod", ["dev"])
    assert "2 named users" in manifest("prod", ["dev"], users=["a", "b"])
    assert "no group" in manifest("prod", [])


@pytest.mark.parametrize(
    ("name", "groups", "users"),
    [
        ("Prod", [], []),
        ("prod\n- evil", [], []),
        ("prod", ["system:masters"], []),
        ("prod", [""], []),
        ("prod", [], ["system:admin"]),
        ("prod", ["a\nb"], []),
    ],
)
def test_refuses(name: str, groups: list[str], users: list[str]) -> None:
    with pytest.raises(InvalidInputError):
        manifest(name, groups, users=users)


def test_the_steps_in_its_comments_make_a_kubeconfig(tmp_path: Path) -> None:
    """The go-template, run by the real kubectl on a Secret like the one the cluster fills in."""
    text = manifest("prod", ["dev"])
    steps = [line.removeprefix("#   ") for line in text.splitlines() if line.startswith("#   ")]
    template = "\n".join(steps).split("go-template='")[1].split("'")[0]
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "kubewitness-token"},
        "data": {"ca.crt": "Q0E=", "token": "dG9rZW4="},
    }
    kubectl = Path(sys.executable).with_name("kubectl")
    made = subprocess.run(
        [kubectl, "annotate", "--local", "-f", "-", "x=y", "-o", f"go-template={template}"],
        input=json.dumps(secret), capture_output=True, text=True, timeout=60, check=True,
        env={"KUBECONFIG": str(tmp_path / "none"), "HOME": str(tmp_path)},
    )  # fmt: skip
    kubeconfig = yaml.safe_load(made.stdout)
    assert kubeconfig["users"][0]["user"]["token"] == "token"
    assert kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"] == "Q0E="
    assert kubeconfig["current-context"] == "prod"
