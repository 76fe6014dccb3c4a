"""Routes of API tokens: for machines that speak to the control plane without a certificate.

A token is shown once, when it is made; what is stored is the hash of its secret. It may do what
both its permissions and the grants of its user allow, at the time it is used.
"""

import os
from base64 import urlsafe_b64encode
from enum import StrEnum
from functools import partial
from typing import Annotated, Final

import msgspec

from proxy.audit.event import new_id
from proxy.clock import rfc3339
from proxy.control.entry.admitting import PREFIX, secret_hash
from proxy.control.entry.fields import (
    Name,
    PagedQuery,
    Reason,
    Text,
    page_of_seen,
    parse_end,
)
from proxy.control.entry.route import About, Act, Detail, Route, about_id
from proxy.control.entry.seeing import governs
from proxy.control.people.escalation import check_user
from proxy.control.people.grants import ScopeItem, scope_item, scope_of
from proxy.errors import DeniedError, NotFoundError, not_found
from proxy.state.permission import Permission
from proxy.state.tokens import Token

_SECRET_BYTES: Final = 32


class TokenStatus(StrEnum):
    """Whether a token counts."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


class TokenItem(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """An API token. There is no secret in it."""

    id: str
    user: str
    """Whose grants it draws from."""
    permissions: tuple[Permission, ...]
    """No more than these, whatever the user holds."""
    scope: ScopeItem | None
    """No further than here; null is as far as the user's grants go."""
    status: TokenStatus
    created_at: str
    created_by: str
    expires_at: str
    reason: str
    revoked_at: str = ""
    revoked_by: str = ""
    revoked_reason: str = ""


class TokenMade(TokenItem, frozen=True, kw_only=True):
    """An API token just made."""

    token: str
    """`kwt_…`: shown here, once, and never again."""


class TokenList(msgspec.Struct, frozen=True):
    """API tokens, newest first."""

    items: tuple[TokenItem, ...]
    next: str
    """Cursor of the next page; empty at the end."""


class TokenQuery(PagedQuery, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which tokens."""

    user: Text = ""
    all: bool = False
    """Also those that expired or were revoked."""


class AddTokenRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A token to make."""

    user: Name
    """Registered: a service, mostly."""
    permissions: Annotated[tuple[Permission, ...], msgspec.Meta(min_length=1, max_length=100)]
    expires_at: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    """RFC 3339, or a time from now such as `90d`; a year at most."""
    scope: ScopeItem | None = None
    reason: Reason = ""


class RevokeTokenRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a token ends."""

    reason: Reason = ""


async def list_tokens(act: Act) -> TokenList:
    """The caller's own tokens, and those of users in their reach."""
    query = act.query_as(TokenQuery)
    read = partial(act.services.store.tokens.list, user=query.user or None, ended=query.all)
    shown, following = await page_of_seen(read, partial(_sees, act), _place, query)
    now = act.services.clock.now()
    return TokenList(tuple(token_item(token, now) for token in shown), following)


def _place(token: Token) -> tuple[float, str]:
    return token.created_at, token.id


async def add(act: Act) -> TokenMade:
    """Make a token; its secret is in the answer and nowhere else."""
    wanted, services = act.body_as(AddTokenRequest), act.services
    if not governs(act, Permission.MANAGE_CREDENTIALS, wanted.user):
        act.require(Permission.MANAGE_CREDENTIALS)
    check_user(act, wanted.user)
    now = services.clock.now()
    secret = urlsafe_b64encode(os.urandom(_SECRET_BYTES)).decode().rstrip("=")
    made = await services.store.tokens.add(
        Token(
            id=new_id(now),
            user=wanted.user,
            secret_sha256=secret_hash(secret),
            permissions=frozenset(wanted.permissions),
            scope=None if wanted.scope is None else scope_of(wanted.scope),
            created_at=now,
            created_by=act.user,
            not_after=parse_end(wanted.expires_at, now),
            reason=wanted.reason,
        )
    )
    await services.watcher.refresh()
    item = token_item(made, now)
    act.changed(None, item)
    return TokenMade(**msgspec.structs.asdict(item), token=f"{PREFIX}{made.id}_{secret}")


async def revoke(act: Act) -> TokenItem:
    """End a token: the next request with it is refused."""
    store, now, identity = act.services.store, act.services.clock.now(), act.param("id")
    unknown = not_found("token", identity)
    try:
        token = await store.tokens.find(identity)
    except NotFoundError:
        raise unknown from None
    if not _sees(act, token):
        raise unknown
    if token.user != act.user and not governs(act, Permission.MANAGE_CREDENTIALS, token.user):
        raise DeniedError(
            f"{act.user!r} may not revoke tokens of {token.user!r}: it needs the permission "
            f"{Permission.MANAGE_CREDENTIALS} wherever {token.user!r} was granted something."
        )
    after = await store.tokens.revoke(
        token.id, by=act.user, reason=act.body_as(RevokeTokenRequest).reason
    )
    await act.services.watcher.refresh()
    act.changed(token_item(token, now), token_item(after, now))
    return token_item(after, now)


def token_item(token: Token, now: float) -> TokenItem:
    """`token` as it is shown at wall time `now`."""
    status = TokenStatus.EXPIRED if token.not_after <= now else TokenStatus.ACTIVE
    return TokenItem(
        id=token.id,
        user=token.user,
        permissions=tuple(sorted(token.permissions)),
        scope=None if token.scope is None else scope_item(token.scope),
        status=status if token.revoked_at is None else TokenStatus.REVOKED,
        created_at=rfc3339(token.created_at),
        created_by=token.created_by,
        expires_at=rfc3339(token.not_after),
        reason=token.reason,
        revoked_at="" if token.revoked_at is None else rfc3339(token.revoked_at),
        revoked_by=token.revoked_by,
        revoked_reason=token.revoked_reason,
    )


def _sees(act: Act, token: Token) -> bool:
    return token.user == act.user or governs(act, Permission.LOOK_AT_CREDENTIALS, token.user)


def _about_add(act: Act) -> About:
    wanted = act.body_as(AddTokenRequest)
    detail: Detail = {
        "permissions": [permission.value for permission in wanted.permissions],
        "expiresAt": wanted.expires_at,
        "reason": wanted.reason,
    }
    if wanted.scope is not None:
        detail["scope"] = str(scope_of(wanted.scope))
    return About(f"user {wanted.user}", {name: value for name, value in detail.items() if value})


ROUTES = (
    Route(
        "GET", "/tokens", "listTokens", "List API tokens.", list_tokens,
        query=TokenQuery, response=TokenList,
    ),
    Route(
        "POST", "/tokens", "addToken", "Make an API token; it is shown once.", add,
        action="token.add", about=_about_add, body=AddTokenRequest, response=TokenMade, status=201,
    ),
    Route(
        "POST", "/tokens/{id}/revoke", "revokeToken", "End an API token.", revoke,
        action="token.revoke", about=about_id, body=RevokeTokenRequest, response=TokenItem,
    ),
)  # fmt: skip
