"""Credentials in their table: read by the ten thousand, revoked, never deleted."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from proxy.state import tables
from proxy.state.rows import strings, text
from proxy.state.snapshot import Credential, Usage

COLUMNS: Final = tuple(tables.credentials.c[name] for name in Credential.__struct_fields__)
_TABLE: Final = tables.credentials
_USAGES: Final = {usage.value: usage for usage in Usage}


def values(rows: Iterable[Sequence[Any]]) -> list[Credential]:
    """Credentials from COLUMNS."""
    # Most credentials share few sets of groups and clusters: one tuple each, not 100,000.
    return [
        Credential(serial, user, strings(groups), strings(clusters), _USAGES[usage], *rest)
        for serial, user, groups, clusters, usage, *rest in rows
    ]


def row(credential: Credential) -> dict[str, Any]:
    """The row of a credential."""
    return msgspec.structs.asdict(credential) | {
        "groups": text(credential.groups),
        "clusters": text(credential.clusters),
        "usage": credential.usage.value,
    }


async def find(connection: AsyncConnection, *wanted: ColumnElement[bool]) -> list[Credential]:
    """Those that fulfil all of it."""
    return values((await connection.execute(select(*COLUMNS).where(*wanted))).all())


async def revoke(
    connection: AsyncConnection,
    found: Iterable[Credential],
    wanted: ColumnElement[bool],
    *,
    now: float,
    version: int,
    reason: str,
) -> list[Credential]:
    """Revoke what fulfils `wanted` and was not revoked; `found` are all that fulfil it.

    Returns those it revoked, as they are now.
    """
    await connection.execute(
        update(_TABLE)
        .where(wanted, _TABLE.c.revoked_at.is_(None))
        .values(revoked_at=now, revoked_reason=reason, changed=version)
    )
    return [
        msgspec.structs.replace(item, revoked_at=now, revoked_reason=reason)
        for item in found
        if item.revoked_at is None
    ]


def of_user(user: str, now: float) -> ColumnElement[bool]:
    """Of a user's credentials that have not ended at `now`."""
    return (_TABLE.c.user == user) & (_TABLE.c.not_after > now)


def newer(now: float, since: int | None) -> ColumnElement[bool]:
    """Of what changed after version `since`; without one, of what has not ended at `now`."""
    return _TABLE.c.not_after > now if since is None else _TABLE.c.changed > since
