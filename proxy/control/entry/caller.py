"""Who sends a request, and what they may: their grants, and no more than the token they used."""

from dataclasses import dataclass, replace

from proxy.audit.index.query import Within
from proxy.authz import holding
from proxy.authz.roles import EVERYBODY
from proxy.authz.standing import Caller, caller_of
from proxy.errors import DeniedError
from proxy.state.access import ORGANIZATION, Access, Place, Role, Scope
from proxy.state.permission import Permission
from proxy.state.snapshot import Credential, Snapshot
from proxy.state.tokens import Token


@dataclass(frozen=True, slots=True)
class Known:
    """An authenticated caller. Made by `proxy.control.entry.admitting` and by nothing else."""

    caller: Caller
    credential: Credential | None = None
    """Of the connection; None when a token alone says who it is."""
    token: Token | None = None

    @property
    def user(self) -> str:
        """Their name, as it is on record."""
        return self.caller.user

    def stands(self, snapshot: Snapshot, now: float) -> bool:
        """Whether what they logged in with counts in `snapshot`, and they are not disabled."""
        user = snapshot.access.users.get(self.user)
        if user is not None and user.disabled_at is not None:
            return False
        if self.credential is not None:
            credential = snapshot.credentials.get(self.credential.serial)
            if (
                credential is None
                or credential.revoked_at is not None
                or credential.not_after <= now
            ):
                return False
        if self.token is None:
            return True
        token = snapshot.tokens.get(self.token.id)
        return token is not None and token.revoked_at is None and token.not_after > now

    def by_now(self, access: Access) -> "Known":
        """The same caller with the groups they are in by now, for what goes on for long."""
        if self.caller.local_admin:
            return self
        return replace(self, caller=caller_of(access, self.user, self.caller.groups))

    def admits(self, permission: Permission) -> bool:
        """Whether what they log in with is meant for this at all; a token may be for less."""
        return self.token is None or permission in EVERYBODY or permission in self.token.permissions

    def scopes(self, access: Access, permission: Permission, now: float) -> tuple[Scope, ...]:
        """Where they hold a permission at wall time `now`; empty when nowhere."""
        if not self.admits(permission):
            return ()
        held = holding.scopes(access, self.caller, permission, now)
        limit = self._limit()
        if limit is None:
            return held
        if any(holding.covers(access, scope, limit) for scope in held):
            return (limit,)
        return tuple(scope for scope in held if holding.covers(access, limit, scope))

    def holds(
        self, access: Access, permission: Permission, now: float, at: Scope | None = None
    ) -> bool:
        """Whether they hold a permission in the whole of `at`; with None, anywhere."""
        if permission in EVERYBODY:
            return True
        if at is None:
            return bool(self.scopes(access, permission, now))
        limit = self._limit()
        return (
            self.admits(permission)
            and (limit is None or holding.covers(access, limit, at))
            and holding.holds(access, self.caller, permission, now, at)
        )

    def within(self, access: Access, permission: Permission, now: float) -> Within:
        """Which records they may see: their own, and those where they hold `permission`."""
        return holding.within_scopes(
            access,
            self.user,
            self.scopes(access, permission, now),
            system=self.holds(access, Permission.LOOK_AT_SYSTEM_LOG, now, ORGANIZATION),
        )

    def check_grantable(self, access: Access, role: Role, scope: Scope, now: float) -> None:
        """Raise DeniedError unless they may hand out a role there: it gives nothing they lack."""
        holding.check_grantable(access, self.caller, role, scope, now)
        self._check_token(access, role, scope)

    def check_everything(self, access: Access, role: Role, scope: Scope, now: float) -> None:
        """Raise DeniedError unless they hold all that a role gives there."""
        holding.check_everything(access, self.caller, role, scope, now)
        self._check_token(access, role, scope)

    def check_places(
        self, access: Access, project: str, added: tuple[Place, ...], now: float
    ) -> None:
        """Raise DeniedError unless they may let `added` belong to a project: see `holding`."""
        holding.check_places(access, self.caller, project, added, now)
        if self._limit() is not None:
            raise DeniedError(f"The API token is for {self._limit()} only, and projects go beyond.")

    def _check_token(self, access: Access, role: Role, scope: Scope) -> None:
        missing = sorted(
            permission
            for permission in holding.given(role, scope) - EVERYBODY
            if not self.admits(permission)
        )
        limit = self._limit()
        if missing or (limit is not None and not holding.covers(access, limit, scope)):
            what = f"lacks {', '.join(missing)}" if missing else f"is for {limit} only"
            raise DeniedError(
                f"The API token {what}, so it cannot give away {role.name!r} in {scope}.",
                hint="Nobody gives more than they hold with what they logged in with.",
            )

    def _limit(self) -> Scope | None:
        scope = self.token.scope if self.token is not None else None
        return None if scope is None or scope == ORGANIZATION else scope
