"""One open transaction that changes who exists or what is granted."""

from typing import Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from proxy.errors import PreconditionError


class Change(NamedTuple):
    """What each step of a change works with. All steps commit together, or none does."""

    connection: AsyncConnection
    version: int
    """Of the state, once this is committed."""
    now: float
    """Seconds since the epoch."""


_LOOK_AGAIN: Final = "Look at it again, and repeat the change if it is still right."


def check_expected(what: str, changed: int, expected: int | None) -> None:
    """Refuse to change what the caller has not seen as it is now: PreconditionError.

    `expected` is the version the caller saw; None for a caller who does not mind.
    """
    if expected is not None and expected != changed:
        raise PreconditionError(
            f"{what} was changed in between: it is at version {changed}, not {expected}.",
            hint=_LOOK_AGAIN,
        )
