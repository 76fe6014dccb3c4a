"""Who exists and what is granted, read: all of it, or what changed since it was last read."""

from collections.abc import Iterable, Mapping
from operator import attrgetter
from types import MappingProxyType
from typing import Final, Protocol, TypeVar

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from proxy.state import api_tokens, granted, projects, rows, tables
from proxy.state.access import NO_ACCESS, Access, Grant, Group, User
from proxy.state.tokens import Token

_AGE: Final = attrgetter("created_at", "id")


class _Named(Protocol):
    @property
    def name(self) -> str: ...


_Thing = TypeVar("_Thing", bound=_Named)


async def read_version(connection: AsyncConnection) -> int:
    """The version of the state at which any of this last changed."""
    return int((await connection.execute(select(tables.meta.c.access_version))).scalar_one())


async def read_access(
    connection: AsyncConnection, *, now: float, previous: Access = NO_ACCESS
) -> Access:
    """All of it as it is now, without grants that had ended at `now`.

    `previous` is what was read before: of users and grants only what changed since is read.
    """
    version = await read_version(connection)
    roles = (await connection.execute(select(*rows.ROLE))).mappings()
    groups = (await connection.execute(select(*rows.GROUP))).all()
    return Access(
        users=_by_name([*previous.users.values(), *await _users(connection, previous.version)]),
        groups=_by_name(Group(*row) for row in groups),
        projects=_by_name(await projects.everything(connection)),
        roles=_by_name(rows.role(row) for row in roles),
        grants=await _grants(connection, now, previous),
        version=version,
    )


async def read_tokens(
    connection: AsyncConnection, *, now: float, previous: Mapping[str, Token], since: int
) -> Mapping[str, Token]:
    """Tokens that had not ended at `now`, by id; only what is newer than version `since` is read."""
    table = tables.tokens
    newer = table.c.changed > since if since else api_tokens.standing(now)
    found = (await connection.execute(select(*rows.TOKEN).where(newer))).all()
    known = [*previous.values(), *(rows.token(row) for row in found)]
    latest = {item.id: item for item in known}
    return MappingProxyType(
        {
            item.id: item
            for item in sorted(latest.values(), key=_AGE)
            if item.revoked_at is None and item.not_after > now
        }
    )


async def _users(connection: AsyncConnection, since: int) -> list[User]:
    query = select(*rows.USER).where(tables.users.c.changed > since)
    return [rows.user(row) for row in (await connection.execute(query)).all()]


async def _grants(connection: AsyncConnection, now: float, previous: Access) -> tuple[Grant, ...]:
    table, since = tables.grants, previous.version
    newer = table.c.changed > since if since else granted.standing(now)
    found = (await connection.execute(select(*rows.GRANT).where(newer))).all()
    changed = {item.id: item for item in map(rows.grant, found)}
    # One pass over ten thousand, on the event loop; what was sorted is soon sorted again.
    latest = [
        item
        for item in (*previous.grants, *changed.values())
        if item.revoked_at is None
        and (item.expires_at is None or item.expires_at > now)
        and changed.get(item.id, item) is item
    ]
    latest.sort(key=_AGE)
    return tuple(latest)


def _by_name(things: Iterable[_Thing]) -> Mapping[str, _Thing]:
    # A later one of a name is a newer one.
    latest = {thing.name: thing for thing in things}
    return MappingProxyType({name: latest[name] for name in sorted(latest)})
