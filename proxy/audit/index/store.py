"""The port of the index: what may be asked of it, and what is put into it.

The index is a copy of the journals. It may lag, be dropped, or be away; it never holds anything
that a journal does not.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

import msgspec

from proxy.audit.index.query import Cursor, Filter, Within
from proxy.audit.index.rows import Row
from proxy.audit.resources import Resource
from proxy.errors import UnavailableError


class ForeignRecordsError(UnavailableError):
    """The index holds another line under a writer's sequence than the writer's journal does.

    The journal was restored from an older copy, two directories share an identity, or somebody
    added records with the login of `serve`. Nothing of that writer is added any more until a person has looked.
    """


class Position(NamedTuple):
    """How far a writer's journal is in the index."""

    segment: str
    """File name."""
    offset: int
    """Where the next batch begins; 0 before the header."""
    seq: int
    """The last sequence that is in; 0 before the first."""


class Page(msgspec.Struct, frozen=True):
    """Rows in the order asked for, and where to go on."""

    rows: list[Row]
    cursor: Cursor | None
    """None when there are no more."""


class Toucher(msgspec.Struct, frozen=True):
    """What one user did to an object."""

    username: str
    first_seen: int
    last_seen: int
    verbs: dict[str, int]
    """Calls by verb."""
    last_code: int | None


class Tally(msgspec.Struct, frozen=True):
    """Calls that have something in common."""

    value: str
    """Of the column counted by, or the beginning of a time bucket in µs since the epoch."""
    count: int
    failed: int
    """Of them, with a status of 400 or more."""


class Stats(msgspec.Struct, frozen=True):
    """Counts over what a filter finds."""

    total: int
    failed: int
    tallies: list[Tally]
    """Most first."""
    buckets: list[Tally]
    """Oldest first; empty buckets are left out."""


By = Literal["user", "cluster", "verb", "class", "resource", "namespace", "code", "tool", "source"]


class Index(Protocol):
    """Where events are found. Raises UnavailableError when the database does not answer."""

    async def positions(self) -> dict[str, Position]:
        """How far each writer's journal is in."""
        ...

    async def insert(self, rows: Sequence[Row], writer: str, position: Position) -> None:
        """Add rows of one writer and move its position, both or neither.

        Rows that are there already (same writer and sequence) stay as they are.
        """
        ...

    async def rewind(self, writer: str, seq: int) -> None:
        """Forget a writer's rows from `seq` on: its journal tells that part anew."""
        ...

    async def search(
        self,
        given: Filter,
        *,
        limit: int = 100,
        cursor: Cursor | None = None,
        oldest_first: bool = False,
    ) -> Page:
        """One row per call (its terminal event, or the latest while it is open) and per event
        that is not a call's."""
        ...

    async def get(self, audit_id: str, within: Within | None = None) -> list[Row]:
        """All events of one call, in order; empty when it is unknown, or not `within`."""
        ...

    async def who(
        self,
        cluster: str,
        namespace: str,
        resource: Resource,
        name: str,
        within: Within | None = None,
    ) -> list[Toucher]:
        """Who touched an object, the latest first, as far as `within` allows.

        An empty `cluster` means any.
        """
        ...

    async def stats(
        self, given: Filter, by: By, *, bucket_seconds: int = 0, limit: int = 50
    ) -> Stats:
        """Count what `given` finds: by a column, and over time when `bucket_seconds` is given."""
        ...

    async def count(self, given: Filter) -> int:
        """How many rows a search without a limit would give."""
        ...

    async def close(self) -> None:
        """Give the connections back."""
        ...


class SharedIndex(Index, Protocol):
    """An index that several processes and replicas fill: each its own writers, all may read.

    Nothing is ever taken out of it, so `rewind` does nothing: what a journal tells anew is equal
    byte for byte. `insert` raises ForeignRecordsError when it is not. A method that is cancelled
    leaves no half transaction and no broken connection behind.
    """

    async def attest(self) -> None:
        """Make sure that what is committed will be kept, and that the schema is ours.

        Raises SettingsError when the schema is not there or not current, UnavailableError when
        the database does not answer or is not configured to keep what it commits.
        """
        ...

    async def after(self, writer: str, seq: int, limit: int) -> list[Row]:
        """Rows of `writer` with a sequence above `seq`, in order, at most `limit`."""
        ...

    async def hear(self, heard: Callable[[str, int], None]) -> None:
        """Call `heard` with the writer and its last sequence on each commit of any process.

        Returns only by being cancelled. Raises UnavailableError when the connection ends: then
        what was committed meanwhile was not heard.
        """
        ...
