"""The tables of the index, for SQLite and PostgreSQL alike.

The index is a copy: when VERSION changes it is dropped and read again from the journals.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)

from proxy.audit.rows import Row

VERSION: Final = 4

metadata = MetaData()

schema_version = Table(
    "index_schema",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
)

positions = Table(
    "positions",
    metadata,
    # How far each writer's journal has been read; moves in the transaction of the rows.
    Column("writer", Text, primary_key=True),
    Column("segment", Text, nullable=False),
    Column("byte_offset", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
)

open_calls = Table(
    "open_calls",
    metadata,
    # The latest event of each call that has no terminal one; `events` itself is only added to.
    Column("audit_id", Text, primary_key=True),
    Column("writer", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
)

_TYPES: Final[dict[str, type[BigInteger | Boolean | LargeBinary | Text]]] = {
    "str": Text,
    "int": BigInteger,
    "int | None": BigInteger,
    "bool": Boolean,
    "bytes": LargeBinary,
}


def _column(name: str) -> "Column[object]":
    kind = Row.__annotations__[name]
    label = kind.__name__ if isinstance(kind, type) else str(kind)
    return Column(name, _TYPES[label], nullable="None" in label)


events = Table("events", metadata, *[_column(name) for name in Row._fields])

Index("events_identity", events.c.writer, events.c.seq, unique=True)
Index("events_call", events.c.audit_id)


FAILED: Final = "code >= 400"
IN_SESSION: Final = "session <> ''"
WITH_EFFECT: Final = "call_class IN ('mutate', 'privileged', 'stream')"
NOT_A_CALL: Final = "kind <> 'Event'"
"""Conditions of partial indexes. A query must repeat them word for word to have their use."""


def _finished(name: str, *columns: str, only: str = "") -> None:
    """An index of the events that searches show: one per call, and those that are not calls."""
    more = f" AND {only}" if only else ""
    Index(
        f"events_{name}",
        *[events.c[column] for column in columns],
        sqlite_where=text(f"terminal = 1{more}"),
        postgresql_where=text(f"terminal{more}"),
    )


_finished("time", "at")
_finished("user", "username", "at")
_finished("object", "name", "namespace", "resource", "cluster", "at")
_finished("namespace", "namespace", "at")
_finished("resource", "resource", "at")
_finished("source", "source_key", "at")
_finished("failure", "code", "at", only=FAILED)
_finished("session", "session", "at", only=IN_SESSION)
_finished("effect", "call_class", "at", only=WITH_EFFECT)
_finished("kind", "kind", "at", only=NOT_A_CALL)
