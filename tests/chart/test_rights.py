"""What the groups of grants may do as the chart makes it is what `proxy.upstream.rights` says, name by name."""

import json
from typing import Any

import pytest

from proxy.errors import InvalidInputError
from proxy.upstream import bootstrap
from proxy.upstream.rights import groups, manifest, rights
from tests.chart import helm
from tests.chart.helm import Manifest, of_kind
from tests.chart.matrix import MATRIX
from tests.chart.rights import FILE, rights_text

RBAC = ("ClusterRole", "ClusterRoleBinding", "RoleBinding")
ODD = ["123", "0x1f", "1e3", "null", "true", "on", "y", "0-0", "namespace", "kubewitness", "a" * 63]
"""Names that YAML could read as something else, or that stand in what is made."""
NAMESPACES: dict[str, list[str]] = {
    "none": [],
    "one": ["web"],
    "several, in no order, one twice": ["web", "api", "kube-system", "web"],
    "odd ones": ODD,
}
BAD = ["", "Not one", "NAMESPACE", "-a", "a-", "a.b", "a:b", "a" * 64, 'a"b', "a\n", "../x", "*"]


def values(namespaces: list[str], **more: Any) -> Manifest:
    return {"impersonation": {"roles": {"create": True, "namespaces": namespaces}, **more}}


def granted(manifests: list[Manifest]) -> list[Manifest]:
    """All of RBAC but what is about the accounts of the chart's own pods."""
    found = [item for kind in RBAC for item in of_kind(manifests, kind)]
    own = ("-impersonator", "-keys")
    return [item for item in found if not item["metadata"]["name"].endswith(own)]


def impersonated(manifests: list[Manifest]) -> Any:
    """The rules of the account."""
    roles = of_kind(manifests, "ClusterRole")
    (role,) = [r for r in roles if r["metadata"]["name"].endswith("-impersonator")]
    return role["rules"]


def by_name(items: list[Manifest]) -> dict[tuple[str, str, str], Manifest]:
    found = {}
    for item in items:
        head = item["metadata"]
        found[item["kind"], head.get("namespace", ""), head["name"]] = item
    assert len(found) == len(items), "each name once"
    return found


def test_the_file_is_of_the_proxy_s_own_rights() -> None:
    assert FILE.read_text() == rights_text(), "out of date: run `make docs`"


@pytest.mark.parametrize("name", NAMESPACES)
def test_objects_are_those_of_the_proxy_with_the_chart_s_labels(name: str) -> None:
    rendered = helm.rendered(values(NAMESPACES[name]))
    (account,) = [i for i in of_kind(rendered, "ServiceAccount") if i["metadata"]["name"] == "kubewitness"]  # fmt: skip
    wanted = rights(NAMESPACES[name], account["metadata"]["labels"])
    assert by_name(granted(rendered)) == by_name(wanted)


@pytest.mark.parametrize("name", NAMESPACES)
def test_their_groups_may_be_impersonated_and_each_stands_there_once(name: str) -> None:
    known = ["dev", "kubewitness:admin", "dev"]
    rendered = helm.rendered(values(NAMESPACES[name], groups=known, users=["rob"]))
    wanted = bootstrap.role([*known, *groups(NAMESPACES[name])], ["rob"])
    assert impersonated(rendered) == wanted["rules"]


def test_without_being_asked_for_there_is_nothing_of_it() -> None:
    asked = {"impersonation": {"roles": {"create": False, "namespaces": ["web"]}}}
    for each in ({}, MATRIX["replicas"], asked):
        rendered = helm.rendered(each)
        assert granted(rendered) == []
        assert "kubewitness:" not in json.dumps(impersonated(rendered))


def test_an_account_that_others_make_leaves_the_rights_to_us() -> None:
    rendered = helm.rendered(values(["web"], create=False))
    names = {item["metadata"]["name"] for item in of_kind(rendered, "ClusterRole")}
    assert names == {item["metadata"]["name"] for item in rights([], {}) if item["kind"] == "ClusterRole"}  # fmt: skip
    assert len(of_kind(granted(rendered), "RoleBinding")) == 2


def test_values_of_a_release_before_there_were_any_are_understood() -> None:
    # As `helm upgrade --reuse-values` has them: without what is new.
    old = helm.rendered({"impersonation": {"roles": None}})
    assert granted(old) == []
    assert "impersonation.roles.create=true" in helm.notes({"impersonation": {"roles": None}})


def test_what_is_no_namespace_is_refused_by_both_and_named() -> None:
    done = helm.with_values("template", values(["web", *BAD]))
    assert done.code != 0
    for number, name in enumerate(BAD, start=1):
        assert f"at '/impersonation/roles/namespaces/{number}'" in done.stderr, name
        with pytest.raises(InvalidInputError, match="namespace"):
            manifest([name])
    assert "namespaces/0'" not in done.stderr
    assert manifest(ODD)
