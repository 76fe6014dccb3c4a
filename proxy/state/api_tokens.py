"""API tokens in their table: made, revoked, listed. They are never deleted."""

from typing import Final

import msgspec
from sqlalchemy import ColumnElement, and_, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from proxy.clock import Clock
from proxy.errors import ConflictError, not_found
from proxy.state import rows, tables, users
from proxy.state.naming import check_text
from proxy.state.retention import Changing, Reading
from proxy.state.tokens import Token, check_token

_TABLE: Final = tables.tokens


class Tokens:
    """The tokens in the state's database. Each method is one transaction."""

    def __init__(self, reading: Reading, changing: Changing, clock: Clock) -> None:
        self._reading = reading
        self._changing = changing
        self._clock = clock

    async def add(self, token: Token) -> Token:
        """Record a token, before it is shown; it is accepted from then on.

        Raises InvalidInputError for a life that is none or too long, NotFoundError for an unknown
        user, ConflictError for a disabled one, or an id that is known.
        """
        check_token(token, self._clock.now())
        try:
            async with self._changing() as (connection, version):
                await users.require_enabled(connection, token.user)
                made = msgspec.structs.replace(token, changed=version)
                await connection.execute(insert(_TABLE).values(rows.token_row(made)))
        except IntegrityError as error:
            raise ConflictError(f"Token {token.id} is recorded already.") from error
        return made

    async def find(self, identity: str) -> Token:
        """One token, also when it has ended. Raises NotFoundError."""
        async with self._reading() as (connection, _):
            return await _get(connection, identity)

    async def list(
        self,
        *,
        user: str | None = None,
        ended: bool = False,
        after: tuple[float, str] | None = None,
        limit: int = 1000,
    ) -> list[Token]:
        """Tokens, newest first, from beyond `after`: when one was made, and its id.

        With `ended` also those expired or revoked.
        """
        query = select(*rows.TOKEN)
        if user is not None:
            query = query.where(_TABLE.c.user == user)
        if not ended:
            query = query.where(standing(self._clock.now()))
        query = rows.newest(query, _TABLE.c.created_at, _TABLE.c.id, after=after, limit=limit)
        async with self._reading() as (connection, _):
            return [rows.token(row) for row in (await connection.execute(query)).all()]

    async def revoke(self, identity: str, *, by: str, reason: str) -> Token:
        """End a token. Raises NotFoundError, ConflictError when it was revoked before."""
        check_text("reason", reason)
        async with self._changing() as (connection, version):
            found = await _get(connection, identity)
            if found.revoked_at is not None:
                raise ConflictError(
                    f"Token {identity} was revoked already, by {found.revoked_by!r}."
                )
            values = {
                "revoked_at": self._clock.now(),
                "revoked_by": by,
                "revoked_reason": reason,
                "changed": version,
            }
            await connection.execute(update(_TABLE).where(_TABLE.c.id == identity).values(values))
        return msgspec.structs.replace(found, **values)


def standing(now: float) -> ColumnElement[bool]:
    """Of tokens that have not ended at `now`."""
    return and_(_TABLE.c.revoked_at.is_(None), _TABLE.c.not_after > now)


async def _get(connection: AsyncConnection, identity: str) -> Token:
    query = select(*rows.TOKEN).where(_TABLE.c.id == identity)
    found = (await connection.execute(query)).one_or_none()
    if found is None:
        raise not_found("token", identity)
    return rows.token(found)
