"""The route of an investigation: everything there is about one user, for who may see it.

It is on record before it is shown. Calls are narrowed to what the caller may see; where a user's
credentials were used from, and what they are, is shown to those in whose reach the user is.
"""

import shlex
from typing import Final

import msgspec

from proxy.audit.index.query import ANY, Cursor, Filter
from proxy.audit.index.rows import EVENT, Row
from proxy.audit.moments import parse_moment, write_moment
from proxy.authn.memory import place_of
from proxy.clock import rfc3339
from proxy.control.audit.investigation import (
    AddressItem,
    CallItem,
    InvestigatedGrant,
    InvestigatedToken,
    Investigation,
    addresses_of,
    call_item,
    commands_of,
    objects_of,
    sightings_of,
)
from proxy.control.audit.search import Text, caught_up
from proxy.control.entry.route import About, Act, Route
from proxy.control.entry.seeing import governs, is_own, seen_subjects
from proxy.control.people.credentials import CredentialItem, item_of
from proxy.errors import DeniedError, not_found
from proxy.state.access import Grant, SubjectKind, User
from proxy.state.permission import Permission
from proxy.state.sightings import Sighting
from proxy.state.tokens import Token

SINCE: Final = "30d"
"""How far back it goes when nobody says."""
MOST: Final = 100
"""Of each list."""
LOOKED_AT: Final = 5_000
"""Calls that commands and objects are summed up from, the latest first."""
_PAGE: Final = 1_000
_SEEN: Final = 2_000
"""Sightings that are read."""
_STREAMS: Final = (
    "pods/exec", "pods/attach", "pods/portforward", "pods/proxy", "services/proxy", "nodes/proxy",
)  # fmt: skip
_DENIED: Final = ("401", "403")
_ERROR: Final = 400


class InvestigationQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far back."""

    since: Text = ""
    """RFC 3339, or a time ago such as `24h`; 30 days when it is left out."""


async def investigate(act: Act) -> Investigation:
    """All about one user."""
    name = act.param("name")
    _check(act, name)
    now = act.services.clock.now()
    since = parse_moment(act.query_as(InvestigationQuery).since or SINCE, now)
    complete = await caught_up(act)
    user = act.access.users.get(name)
    credentials = await _credentials(act, name)
    serials = tuple(item.serial for item in credentials)
    calls = _Calls(act, Filter(users=(name,), since=since, include_noise=True, within=act.within()))
    total, failed = await calls.counted()
    rows = await calls.latest()
    groups = {group for item in credentials if item.status == "valid" for group in item.groups}
    act.detail["results"] = len(rows)
    return Investigation(
        user=name,
        status=_status(user),
        kind=user.kind.value if user is not None else "",
        groups=user.groups if user is not None else tuple(sorted(groups)),
        since=write_moment(since),
        calls=total,
        failed=failed,
        looked_at=len(rows),
        complete=complete,
        credentials=credentials[:MOST],
        tokens=await _tokens(act, name),
        grants=await _grants(act, name, user),
        addresses=await _addresses(act, name, rows),
        flagged=await calls.some(suspicious=(ANY,), kinds=()),
        denied=await calls.denied(serials),
        sessions=await calls.some(resources=_STREAMS),
        commands=commands_of(rows, MOST),
        objects=objects_of(rows, MOST),
        revoke=commands(name, user),
    )


def commands(name: str, user: User | None) -> tuple[str, ...]:
    """What ends every access of a user: the first all that was issued, the second for good."""
    quoted = shlex.quote(name)
    revoke = f'kubewitness kubeconfig revoke --user {quoted} --yes --reason "…"'
    disable = f'kubewitness user disable {quoted} --yes --reason "…"'
    enabled = user is not None and user.disabled_at is None
    return (revoke, disable) if enabled else (revoke,)


class _Calls:
    """What the caller may see of a user's calls."""

    def __init__(self, act: Act, given: Filter) -> None:
        self._index = act.services.index
        self._given = given

    async def counted(self) -> tuple[int, int]:
        """All, and those that failed."""
        given = msgspec.structs.replace(self._given, kinds=(EVENT,))
        found = await self._index.stats(given, "class", limit=1)
        return found.total, found.failed

    async def latest(self) -> list[Row]:
        """The latest ones, without discovery and health probes."""
        given = msgspec.structs.replace(self._given, kinds=(EVENT,), include_noise=False)
        rows: list[Row] = []
        cursor: Cursor | None = None
        while len(rows) < LOOKED_AT:
            page = await self._index.search(given, limit=_PAGE, cursor=cursor)
            rows += page.rows
            cursor = page.cursor
            if cursor is None:
                break
        return rows

    async def some(self, **more: tuple[str, ...]) -> tuple[CallItem, ...]:
        """The latest of those for which more holds."""
        return tuple(map(call_item, await self._some(**more)))

    async def denied(self, serials: tuple[str, ...]) -> tuple[CallItem, ...]:
        """Those that were refused; also as nobody, with a credential that does not count any more."""
        rows = await self._some(status=_DENIED)
        if serials:
            rows += await self._some(users=("",), credentials=serials, status=_DENIED)
        rows.sort(key=Cursor.of, reverse=True)
        return tuple(map(call_item, rows[:MOST]))

    async def _some(self, **more: tuple[str, ...]) -> list[Row]:
        given = msgspec.structs.replace(self._given, **({"kinds": (EVENT,)} | more))
        return (await self._index.search(given, limit=MOST)).rows


def _check(act: Act, name: str) -> None:
    if not act.holds(Permission.LOOK_AT_AUDIT):
        raise DeniedError(
            f"{act.user!r} may not investigate: it needs the permission "
            f"{Permission.LOOK_AT_AUDIT}, too.",
            hint=f"`kubewitness grant list --user {act.user}` shows what they were granted.",
        )
    # Who is not registered may still have a credential: that is for those who see everybody.
    if not seen_subjects(act, Permission.LOOK_AT_USERS)(SubjectKind.USER, name):
        raise not_found("user", name)


def _status(user: User | None) -> str:
    if user is None:
        return "unregistered"
    return "active" if user.disabled_at is None else "disabled"


async def _credentials(act: Act, name: str) -> tuple[CredentialItem, ...]:
    if not governs(act, Permission.LOOK_AT_CREDENTIALS, name):
        return ()
    now = act.services.clock.now()
    found = await act.services.store.credentials(user=name, ended=True, limit=_PAGE)
    found.sort(key=lambda one: (one.revoked_at is not None or one.not_after <= now, -one.issued_at))
    return tuple(item_of(one, now) for one in found)


async def _tokens(act: Act, name: str) -> tuple[InvestigatedToken, ...]:
    if not governs(act, Permission.LOOK_AT_CREDENTIALS, name):
        return ()
    now = act.services.clock.now()
    found = await act.services.store.tokens.list(user=name, ended=True, limit=MOST)
    return tuple(_token(one, now) for one in found)


def _token(token: Token, now: float) -> InvestigatedToken:
    return InvestigatedToken(
        id=token.id,
        permissions=tuple(sorted(token.permissions)),
        status=_ended(token.revoked_at, token.not_after, now),
        created_at=rfc3339(token.created_at),
        created_by=token.created_by,
        not_after=rfc3339(token.not_after),
    )


async def _grants(act: Act, name: str, user: User | None) -> tuple[InvestigatedGrant, ...]:
    people = act.services.store.people
    found = await people.grants(user=name, ended=True, limit=MOST)
    for group in user.groups if user is not None else ():
        found += await people.grants(group=group, ended=True, limit=MOST)
    found.sort(key=lambda grant: (grant.revoked_at is not None, -grant.created_at))
    now = act.services.clock.now()
    seen = [
        grant for grant in found
        if is_own(act, grant) or act.holds(Permission.LOOK_AT_GRANTS, grant.scope)
    ]  # fmt: skip
    return tuple(_grant(grant, now) for grant in seen[:MOST])


def _grant(grant: Grant, now: float) -> InvestigatedGrant:
    return InvestigatedGrant(
        id=grant.id,
        subject=f"{grant.subject_kind} {grant.subject}",
        role=grant.role,
        scope=str(grant.scope),
        status=_ended(grant.revoked_at, grant.expires_at, now),
        created_at=rfc3339(grant.created_at),
        created_by=grant.created_by,
        reason=grant.reason,
        expires_at=rfc3339(grant.expires_at) if grant.expires_at is not None else "",
        revoked_at=rfc3339(grant.revoked_at) if grant.revoked_at is not None else "",
        revoked_by=grant.revoked_by,
    )


def _ended(revoked_at: float | None, ends: float | None, now: float) -> str:
    if revoked_at is not None:
        return "revoked"
    return "expired" if ends is not None and ends <= now else "active"


async def _addresses(act: Act, name: str, rows: list[Row]) -> tuple[AddressItem, ...]:
    settings = act.services.settings.suspicious

    def network(address: str) -> str:
        return place_of(address, settings.ipv4_prefix, settings.ipv6_prefix).network

    found: list[Sighting] = []
    if governs(act, Permission.LOOK_AT_AUDIT, name):
        found = await act.services.store.sightings.of_user(name, _SEEN)
    # What was seen in the last seconds may not be written there yet.
    known = {one.key for one in found}
    found += [one for one in sightings_of(name, rows) if one.key not in known]
    return addresses_of(found, network, MOST)


def _about(act: Act) -> About:
    return About(act.param("name"), {"since": act.query_as(InvestigationQuery).since or SINCE})


ROUTES = (
    Route(
        "GET", "/users/{name}/investigation", "investigateUser", "All about one user.",
        investigate, action="user.investigate", about=_about, query=InvestigationQuery,
        response=Investigation,
    ),
)  # fmt: skip
