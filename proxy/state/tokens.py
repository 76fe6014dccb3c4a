"""API tokens of machines, as values. The secret itself is nowhere: only its hash is known."""

import re
from typing import Final

import msgspec

from proxy.errors import InvalidInputError
from proxy.state.access import Scope
from proxy.state.naming import check_scope, check_text
from proxy.state.permission import Permission

MAX_LIFE: Final = 366 * 86_400.0
"""Seconds from when a token is made to when it ends: a year at most."""
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Token(msgspec.Struct, frozen=True):
    """Lets a machine do, over the API, some of what its user may do."""

    id: str
    """Public; part of the token as it is shown once."""
    user: str
    """Whose grants it draws from."""
    secret_sha256: str
    """Lower-case hex."""
    permissions: frozenset[Permission]
    """No more than these, whatever the user holds."""
    scope: Scope | None
    """No further than here; None is as far as the user's grants go."""
    created_at: float
    created_by: str
    not_after: float
    """Seconds since the epoch."""
    reason: str = ""
    revoked_at: float | None = None
    revoked_by: str = ""
    revoked_reason: str = ""
    changed: int = 0


def check_token(token: Token, now: float) -> None:
    """Refuse to record what would never be accepted, or for too long: InvalidInputError."""
    if not token.id or not _SHA256.fullmatch(token.secret_sha256):
        raise InvalidInputError(f"Token {token.id!r} has no id, or no hash of a secret.")
    if not now < token.not_after <= now + MAX_LIFE:
        raise InvalidInputError(
            "A token lives for a year at most, and must not have ended already.",
            hint="Choose another end.",
        )
    if token.scope is not None:
        check_scope(token.scope)
    check_text("reason", token.reason)
