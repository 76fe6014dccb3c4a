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
    SmallInteger,
    Table,
    Text,
)

from proxy.audit.index.blocks import RUNS
from proxy.audit.index.rows import Row

VERSION: Final = 8

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

blocks = Table(
    "blocks",
    metadata,
    # See proxy.audit.index.blocks. A block of each writer before its first says that there is the writer.
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("writer", Text, nullable=False),
    Column("first", BigInteger, nullable=False),
    Column("oldest", BigInteger, nullable=False),
    Column("newest", BigInteger, nullable=False),
    Column("runs", LargeBinary, nullable=False),
)

postings = Table(
    "postings",
    metadata,
    Column("block", BigInteger, nullable=False),
    Column("field", SmallInteger, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Column("bits", LargeBinary, nullable=False),
)
Index("postings_value", postings.c.block, postings.c.field, postings.c.value)

run_texts = Table(
    "run_texts",
    metadata,
    # See proxy.audit.index.grams; the key is the block's number and the run's (`run_key`).
    Column("run", BigInteger, primary_key=True, autoincrement=False),
    Column("texts", LargeBinary, nullable=False),
)


def run_key(block: int, run: int) -> int:
    """The key of a run's texts."""
    return block * RUNS + run
