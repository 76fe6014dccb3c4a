"""Who may be issued what, and who may see and revoke it.

A credential is worth all that its user was granted, now and later. So only credential.manage of the
organization makes one for the control plane; in a narrower scope it makes kubeconfigs, for clusters
of the scope, of people who are granted something there and nothing elsewhere. What a kubeconfig of
somebody who is not registered is worth, the clusters decide, by the name and the groups in it: that
may be anything, so it takes everything in all of them to make one.
"""

from collections.abc import Callable
from typing import Final

from msgspec import structs

from proxy.authz.applying import at_cluster
from proxy.authz.roles import BUILT_IN, KUBERNETES
from proxy.authz.standing import caller_of, governed
from proxy.clock import Clock
from proxy.control.entry.route import Act
from proxy.control.entry.seeing import all_of_it, governs, seen_clusters
from proxy.control.people.escalation import check_group, check_user
from proxy.errors import ConflictError, DeniedError, InvalidInputError
from proxy.state.access import ORGANIZATION, User
from proxy.state.permission import Permission
from proxy.state.snapshot import Credential, Snapshot, Usage

ALL: Final = "*"
"""In a credential: all clusters, now and later."""
_MANAGE: Final = Permission.MANAGE_CREDENTIALS
_ALL_CLUSTERS: Final = structs.replace(BUILT_IN["admin"], permissions=KUBERNETES)
"""What the role admin gives in clusters, without what it gives here."""
Names = tuple[str, ...]


def check_issue(
    act: Act, name: str, groups: Names, clusters: Names, usage: Usage
) -> tuple[Names, Names]:
    """The groups and clusters of a credential for the user `name`, from what was asked for.

    Raises DeniedError where the caller may not give that away, InvalidInputError, ConflictError.
    """
    _check_reach(act, name, usage)
    check_user(act, name)
    user = act.access.users.get(name)
    if user is None:
        if usage is not Usage.ADMIN:
            _check_unregistered(act, name)
        for group in groups:
            # Nobody may pass for a member of a group by the words of a certificate.
            check_group(act, group)
    else:
        groups = _registered(user, groups)
    return tuple(dict.fromkeys(groups)), _clusters(act, user, clusters, usage)


def check_revoke(act: Act, user: str) -> None:
    """Raise DeniedError unless the caller may revoke what a user has: it is theirs, or in reach."""
    if user != act.user and not governs(act, _MANAGE, user):
        raise DeniedError(
            f"{act.user!r} may not revoke what {user!r} has: it needs the permission {_MANAGE} "
            f"wherever {user!r} was granted something.",
            hint="A grant in a scope of yours you can revoke.",
        )


def seen_credentials(act: Act) -> Callable[[Credential], bool]:
    """Whether the caller gets to see a credential: it is theirs, or of a user in their reach."""
    known: dict[str, bool] = {act.user: True}

    def seen(credential: Credential) -> bool:
        user = credential.user
        if user not in known:
            known[user] = governs(act, Permission.LOOK_AT_CREDENTIALS, user)
        return known[user]

    return seen


def reachable_clusters(
    snapshot: Snapshot, user: str, groups: Names, clusters: Names, clock: Clock
) -> Names:
    """Names of the clusters that a credential reaches now: those in it, where a grant of a governed
    user reaches."""
    names = snapshot.clusters if ALL in clusters else clusters
    access = snapshot.access
    if not governed(access, user, groups):
        return tuple(sorted(names))
    caller, now = caller_of(access, user, groups), clock.now()
    return tuple(sorted(name for name in names if at_cluster(access, caller, name, now).applied))


def _check_reach(act: Act, name: str, usage: Usage) -> None:
    if all_of_it(act, _MANAGE):
        return
    if usage is Usage.ADMIN or not governs(act, _MANAGE, name):
        what = "a credential for the control plane" if usage is Usage.ADMIN else "one of this user"
        raise DeniedError(
            f"{act.user!r} may not issue {what}: it needs the permission {_MANAGE} in the whole "
            "organization.",
            hint="In a narrower scope it is for kubeconfigs of registered people whose grants all "
            "lie in that scope.",
        )


def _check_unregistered(act: Act, name: str) -> None:
    try:
        act.check_everything(_ALL_CLUSTERS, ORGANIZATION)
    except DeniedError as error:
        raise DeniedError(
            f"{act.user!r} may not issue a kubeconfig for {name!r}, who is not registered: what it "
            "may do the clusters decide by its name and groups, and nobody gives more than they hold.",
            hint=f"`kubewitness user add {name}` and grants say what they may do; or ask somebody "
            f"with the role {_ALL_CLUSTERS.name}.",
        ) from error


def _registered(user: User, groups: Names) -> Names:
    if user.disabled_at is not None:
        raise ConflictError(
            f"{user.name!r} is disabled.", hint=f"`kubewitness user enable {user.name}` first."
        )
    if groups and set(groups) != set(user.groups):
        raise InvalidInputError(
            f"{user.name!r} is registered, in {', '.join(user.groups) or 'no group'}: that counts, "
            "and not what a certificate says.",
            hint="Leave the groups out; `kubewitness user change` changes them.",
        )
    return user.groups


def _clusters(act: Act, user: User | None, clusters: Names, usage: Usage) -> Names:
    if usage is Usage.ADMIN:
        if clusters:
            raise InvalidInputError("A credential for the control plane reaches no clusters.")
        return ()
    mine = None if all_of_it(act, _MANAGE) else seen_clusters(act, _MANAGE)
    if not clusters and user is not None:
        clusters = _granted(act, user)
        clusters = (ALL,) if mine is None else tuple(name for name in clusters if name in mine)
    if not clusters:
        raise InvalidInputError(
            "The credential would reach no cluster.", hint="Name one, or `*` for all."
        )
    if ALL in clusters and not act.services.watcher.current.clusters:
        raise InvalidInputError(
            "There is no cluster yet.", hint="Add one with `cluster add` first."
        )
    for name in clusters:
        if mine is not None and name not in mine:
            raise DeniedError(
                f"{act.user!r} may not issue credentials for the cluster {name!r}.",
                hint="Name clusters of your scope.",
            )
    return tuple(dict.fromkeys(clusters))


def _granted(act: Act, user: User) -> Names:
    """Where grants to a user reach; refused when it is nowhere."""
    found = reachable_clusters(
        act.services.watcher.current, user.name, user.groups, (ALL,), act.services.clock
    )
    if not found:
        raise InvalidInputError(
            f"{user.name!r} reaches no cluster: no grant of theirs is for one.",
            hint=f"`kubewitness grant add --user {user.name}` first, or name clusters.",
        )
    return found
