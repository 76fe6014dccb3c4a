"""API tokens of machines, as values. The secret itself is nowhere: only its hash is known."""

from typing import Final

import msgspec

from proxy.state.access import Scope
from proxy.state.permission import Permission

MAX_LIFE: Final = 366 * 86_400.0
"""Seconds from when a token is made to when it ends: a year at most."""


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
