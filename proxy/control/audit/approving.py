"""Who may approve that records leave, or end a hold: a second person, not a second name of the first.

All of it is checked from what the state knows. An approver is a registered person, with a grant of
their own that lets them and a credential, all from before the proposal, so that nobody is made up for
it. And nobody whose hand is in that may be the other approver or the proposer: who registered them,
who granted it, who issued a credential of theirs that counted then, or the one that issued that. Two
approvers must not have been made by the same registered user either. The machine's own administrator
makes the first ones, and approves nothing. Who ends a hold must not have been made by who placed it.
"""

from collections.abc import Iterable
from typing import Final

from proxy.authz.roles import role_of
from proxy.clock import rfc3339
from proxy.control.entry.admitting import LOCAL_ADMIN, LOCAL_ISSUER
from proxy.control.entry.route import Act
from proxy.errors import DeniedError, NotFoundError
from proxy.state.access import ORGANIZATION, Grant, User, UserKind
from proxy.state.permission import Permission
from proxy.state.retention import LegalHold, Retention
from proxy.state.snapshot import Credential, Usage

_ALL: Final = 100_000
"""Credentials and grants of one user that are looked at."""
_MACHINE: Final = "token "
_MADE: Final = "registered, granted something to, or issued a credential to"
_HANDS: Final = (
    "Somebody else approves, who was made an administrator by neither the proposer nor another "
    "approver."
)


async def check_approver(act: Act, retention: Retention) -> tuple[str, ...]:
    """Names of those who made the caller an administrator. Raises DeniedError when the caller may
    not approve this proposal beside those who did."""
    makers = _Makers(act, retention.proposed_at)
    hands = await makers.of_caller()
    for other in {retention.proposed_by, *retention.approved_by} - {act.user}:
        if other in hands:
            raise _refused(act, f"{other!r}, who proposed or approved it, {_MADE} them", _HANDS)
    for other in retention.approved_by:
        theirs = await makers.of(other)
        if act.user in theirs:
            raise _refused(act, f"they {_MADE} {other!r}, who approved", _HANDS)
        if both := sorted(hands & theirs & act.access.users.keys()):
            raise _refused(
                act,
                f"{both[0]!r} {_MADE} both them and {other!r}, who approved",
                "Somebody else approves, who was made an administrator by another person, or by "
                "the machine's own administrator.",
            )
    return tuple(sorted(hands))


async def check_releaser(act: Act, hold: LegalHold) -> None:
    """Raise DeniedError when who placed a hold made the caller what they are.

    Where that was the machine's own administrator, who makes everybody at first, it does not matter.
    """
    hands = await _Makers(act, act.services.clock.now()).of(act.user)
    if act.known.token is not None:
        hands.add(act.known.token.created_by)
    if hold.placed_by in hands - {LOCAL_ADMIN}:
        raise DeniedError(
            f"{act.user!r} may not release this: {hold.placed_by!r}, who placed it, {_MADE} them.",
            hint="Ask an administrator whom somebody else made.",
        )


class _Makers:
    """Who made people what they were at one moment, as far as the state knows."""

    def __init__(self, act: Act, at: float) -> None:
        self._act = act
        self._store = act.services.store
        self._at = at

    async def of_caller(self) -> set[str]:
        """Who made the caller what they are. Raises DeniedError unless they are a person who was
        that before the proposal."""
        act = self._act
        user, credential = act.access.users.get(act.user), act.credential
        since = rfc3339(self._at)
        if user is None or user.kind is not UserKind.PERSON:
            raise _refused(
                act,
                "they are not a registered person",
                "People approve, under their own names: `kubewitness context issue NAME --role admin`.",
            )
        if credential is None:
            raise _refused(act, "an API token approves nothing", "Use a context of your own.")
        if user.created_at >= self._at:
            raise _refused(act, f"they were registered after it was proposed, at {since}")
        if not await self._grants(act.user):
            raise _refused(
                act,
                f"they hold no {Permission.MANAGE_RETENTION} by a grant of their own from before "
                f"it was proposed, at {since}",
                "What a group was granted does not count: nobody knows since when they are in it.",
            )
        if not await self._is_old(credential):
            raise _refused(act, f"their credential was issued after it was proposed, at {since}")
        return await self._hands(user, [credential])

    async def of(self, name: str) -> set[str]:
        """Who made somebody what they are; nobody, who is not registered."""
        user = self._act.access.users.get(name)
        return set() if user is None else await self._hands(user, ())

    async def _hands(self, user: User, used: Iterable[Credential]) -> set[str]:
        found = {user.created_by}
        # The oldest is enough to be what they are.
        found |= {grant.created_by for grant in (await self._grants(user.name))[-1:]}
        issued = await self._store.credentials(user=user.name, ended=True, limit=_ALL)
        seen: set[str] = set()
        for credential in {item.serial: item for item in (*used, *filter(self._counted, issued))}.values():  # fmt: skip
            found |= await self._issuers(credential, seen)
        # The machine itself issues its own administrator's.
        return found - {user.name, LOCAL_ISSUER, ""}

    async def _grants(self, name: str) -> list[Grant]:
        """Grants to a user themselves that let them approve and counted at the proposal, the oldest
        last."""
        found = await self._store.people.grants(user=name, ended=True, limit=_ALL)
        return [grant for grant in found if self._lets(grant)]

    def _lets(self, grant: Grant) -> bool:
        role = role_of(self._act.access, grant.role)
        return (
            role is not None
            and Permission.MANAGE_RETENTION in role.permissions
            and grant.scope == ORGANIZATION
            and grant.created_at < self._at
            and not _over(grant.revoked_at, self._at)
            and not _over(grant.expires_at, self._at)
        )

    def _counted(self, credential: Credential) -> bool:
        """Whether a credential could be used when it was proposed."""
        return (
            credential.usage is Usage.ADMIN
            and credential.issued_at < self._at < credential.not_after
            and not _over(credential.revoked_at, self._at)
        )

    async def _is_old(self, credential: Credential) -> bool:
        """Whether a credential, or one of the same user that it goes back to, is from before."""
        user, found = credential.user, [credential]
        seen: set[str] = set()
        while found and found[0].user == user and found[0].serial not in seen:
            if found[0].issued_at < self._at:
                return True
            seen.add(found[0].serial)
            _, by = _issuer(found[0])
            found = await self._store.credentials(serial=by, ended=True) if by else []
        return False

    async def _issuers(self, credential: Credential, seen: set[str]) -> set[str]:
        """Who issued a credential, and those that it goes back to."""
        names: set[str] = set()
        found = [credential]
        while found and found[0].serial not in seen:
            seen.add(found[0].serial)
            name, by = _issuer(found[0])
            names.add(name)
            if by.startswith(_MACHINE):
                names |= await self._maker(by.removeprefix(_MACHINE))
            found = await self._store.credentials(serial=by, ended=True) if by else []
        return names

    async def _maker(self, token: str) -> set[str]:
        try:
            return {(await self._store.tokens.find(token)).created_by}
        except NotFoundError:
            return set()


def _issuer(credential: Credential) -> tuple[str, str]:
    """The user who issued a credential, and with what: a serial, or `token ID`."""
    name, known, rest = credential.issued_by.rpartition(" (")
    return (name, rest.removesuffix(")")) if known else (credential.issued_by, "")


def _over(moment: float | None, at: float) -> bool:
    return moment is not None and moment <= at


def _refused(act: Act, why: str, hint: str = "") -> DeniedError:
    return DeniedError(
        f"{act.user!r} may not approve this: {why}.",
        hint=hint or "Somebody else approves, or it is proposed anew.",
    )
