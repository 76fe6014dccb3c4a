"""The manifest of the account that keeps RoleBindings."""

import pytest
import yaml

from proxy.errors import InvalidInputError
from proxy.upstream.second_account import manifest


def test_it_is_yaml_for_one_account_with_one_role() -> None:
    documents = [item for item in yaml.safe_load_all(manifest("prod")) if item]
    assert [item["kind"] for item in documents] == [
        "Namespace",
        "ServiceAccount",
        "Secret",
        "ClusterRole",
        "ClusterRoleBinding",
    ]
    (binding,) = [item for item in documents if item["kind"] == "ClusterRoleBinding"]
    assert binding["subjects"][0]["name"] == documents[1]["metadata"]["name"]
    verbs = {verb for rule in documents[3]["rules"] for verb in rule["verbs"]}
    assert not verbs & {"*", "impersonate", "escalate", "update", "patch"}
    (bound,) = [rule for rule in documents[3]["rules"] if "bind" in rule["verbs"]]
    assert bound["resourceNames"] == ["admin", "view"]


@pytest.mark.parametrize("name", ["Prod", "prod\n- evil", "prod; rm -r ."])
def test_what_is_no_name_of_a_cluster_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError):
        manifest(name)
