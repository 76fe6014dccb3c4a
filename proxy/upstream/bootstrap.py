"""The manifest of the account a cluster should give us: it may impersonate, and nothing else.

With it come the rights of the groups that grants give (`proxy.upstream.rights`).
"""

from collections.abc import Sequence
from typing import Any, Final

from proxy.errors import InvalidInputError
from proxy.kube.impersonation import check_name
from proxy.state.naming import check_label
from proxy.state.repository import check_cluster_name
from proxy.upstream import manifests, rights
from proxy.upstream.cluster import EXTRA_CREDENTIAL, EXTRA_IMPERSONATOR

ACCOUNT: Final = "kubewitness"
ROLE: Final = "kubewitness-impersonator"


def manifest(
    name: str,
    groups: Sequence[str],
    *,
    users: Sequence[str] = (),
    namespaces: Sequence[str] = (),
    token_secret: bool = True,
) -> str:
    """YAML for the proxy's account on the cluster that is called `name` here.

    `groups` are those it may impersonate besides our own roles'; people with other groups are
    refused by the cluster. `namespaces` are those in which something is granted by itself.
    `users` restricts whom it may impersonate; without it anyone, which Kubernetes' own rules cannot
    narrow. `token_secret` adds a Secret with a lasting token; without it a token is requested.
    Raises InvalidInputError for reserved or malformed names.
    """
    check_cluster_name(name)
    try:
        for group in groups:
            check_name("group", group)
        for user in users:
            check_name("user", user)
        for namespace in namespaces:
            check_label("namespace", namespace)
    except ValueError as error:
        raise InvalidInputError(str(error)) from error
    head = _HEAD.format(name=name, users=_users_note(users), groups=_groups_note(groups))
    own = role([*groups, *rights.groups(namespaces)], users)
    documents = manifests.account(ACCOUNT, own, token=token_secret)
    documents += rights.rights(namespaces, manifests.LABELS)
    if token_secret:
        steps = manifests.steps(ACCOUNT, name, file=f"{name}.kubeconfig", command="add")
    else:
        steps = _REQUEST_STEPS.format(name=name, namespace=manifests.NAMESPACE, account=ACCOUNT)
    return head + manifests.text(documents) + steps


def role(groups: Sequence[str], users: Sequence[str] = ()) -> dict[str, Any]:
    """The ClusterRole: users, named groups, uids, and our own two extra keys."""
    named = {"resourceNames": sorted(set(users))} if users else {}
    rules: list[dict[str, Any]] = [
        {"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"], **named}
    ]
    if groups:
        # Without names this would be system:masters too, and that is everything.
        rules.append(
            {
                "apiGroups": [""],
                "resources": ["groups"],
                "verbs": ["impersonate"],
                "resourceNames": sorted(set(groups)),
            }
        )
    rules.append(
        {
            "apiGroups": ["authentication.k8s.io"],
            "resources": [
                "uids",
                f"userextras/{EXTRA_CREDENTIAL}",
                f"userextras/{EXTRA_IMPERSONATOR}",
            ],
            "verbs": ["impersonate"],
        }
    )
    return manifests.cluster_role(ROLE, rules)


_HEAD: Final = """\
# The account of kubewitness on cluster {name}: it may impersonate, and do nothing by itself.
# Apply it as an administrator of that cluster:  kubectl apply -f -
#
{users}
#
{groups}
"""
_REQUEST_STEPS: Final = """\
---
# Next, still as that administrator: a token that ends by itself, to be renewed by you
# (kubelet renews it when the proxy runs in the cluster: use `cluster add {name} --in-cluster`).
#
#   kubectl -n {namespace} create token {account} --duration 720h
"""


def _users_note(users: Sequence[str]) -> str:
    if users:
        return f"# It may impersonate {len(set(users))} named users. Add others to {ROLE}."
    return (
        "# It may impersonate any user: rules can list names but cannot exclude any, so that includes\n"
        "# system: users such as system:kube-controller-manager. The proxy itself never issues such\n"
        "# names; to let the cluster refuse them too, list everyone with --user."
    )


def _groups_note(groups: Sequence[str]) -> str:
    if groups:
        return (
            "# It may impersonate the groups listed below and no other; system:masters never.\n"
            "# Those of kubewitness: are what grants give; the bindings at the end say what they may do.\n"
            "# A person whose certificate has a group that is not listed gets 403 from the cluster."
        )
    return (
        "# It may impersonate no group but those of kubewitness:, which are what grants give; the bindings\n"
        "# at the end say what they may do. A person whose certificate has another gets 403 from the cluster;\n"
        "# name those in use with --group."
    )
