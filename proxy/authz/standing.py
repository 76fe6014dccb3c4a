"""Who a caller is to the grants, and which of those stand for them now.

What can be known of an `Access` before anybody calls is kept as long as that value is the newest:
one index of its grants by whom they are for.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from proxy.state.access import ORGANIZATION, Access, Grant, SubjectKind

LOCAL_ADMIN: Final = Grant(
    id="local-admin",
    subject_kind=SubjectKind.USER,
    subject="admin",
    role="admin",
    scope=ORGANIZATION,
    created_at=0.0,
    created_by="kubewitness",
    reason="Whoever can read the data directory holds the authority's key.",
)
"""Of the machine's own administrator (`proxy.runtime.admin`); it cannot be revoked."""

_Subject = tuple[SubjectKind, str]


class Caller(NamedTuple):
    """Somebody who was authenticated, as the grants know them. Made by `caller_of`."""

    user: str
    groups: tuple[str, ...]
    """Those that count: see `caller_of`."""
    local_admin: bool = False
    """The machine's own administrator, by the credential in the data directory."""


def caller_of(access: Access, user: str, certificate_groups: tuple[str, ...]) -> Caller:
    """The caller behind a verified certificate.

    Of a registered user only the memberships of the registry count: a certificate outlives them.
    """
    known = access.users.get(user)
    return Caller(user, certificate_groups if known is None else known.groups)


def governed(access: Access, user: str, certificate_groups: tuple[str, ...]) -> bool:
    """Whether grants decide what this caller may do: a registered user, disabled ones included, or
    somebody unknown with a certificate for a registered group."""
    return user in access.users or any(group in access.groups for group in certificate_groups)


def granted(access: Access, caller: Caller) -> tuple[Grant, ...]:
    """Every grant to the caller or a group of theirs that was not revoked, ended ones included.

    None while the user is disabled. Users and groups that are not registered have none.
    """
    found: tuple[Grant, ...] = (LOCAL_ADMIN,) if caller.local_admin else ()
    known = access.users.get(caller.user)
    if known is not None and known.disabled_at is not None:
        return found
    by_subject = _index_of(access)
    if known is not None:
        found += by_subject.get((SubjectKind.USER, caller.user), ())
    for group in dict.fromkeys(caller.groups):
        if group in access.groups:
            found += by_subject.get((SubjectKind.GROUP, group), ())
    return found


def is_over(grant: Grant, now: float) -> bool:
    """Whether a grant does not count at wall time `now` (seconds since the epoch)."""
    ended = grant.expires_at is not None and grant.expires_at <= now
    return ended or grant.revoked_at is not None


def standing(access: Access, caller: Caller, now: float) -> tuple[Grant, ...]:
    """The grants that count for the caller at wall time `now` (seconds since the epoch)."""
    return tuple(grant for grant in granted(access, caller) if not is_over(grant, now))


class _Newest:
    """The index of the newest `Access`; an older one is indexed again each time it is asked about."""

    def __init__(self) -> None:
        self.access: Access | None = None
        self.by_subject: Mapping[_Subject, tuple[Grant, ...]] = {}


_newest: Final = _Newest()


def _index_of(access: Access) -> Mapping[_Subject, tuple[Grant, ...]]:
    if _newest.access is not access:
        _newest.by_subject = _indexed(access)
        _newest.access = access
    return _newest.by_subject


def _indexed(access: Access) -> Mapping[_Subject, tuple[Grant, ...]]:
    lists: dict[_Subject, list[Grant]] = {}
    for grant in access.grants:
        lists.setdefault((grant.subject_kind, grant.subject), []).append(grant)
    return {subject: tuple(grants) for subject, grants in lists.items()}
