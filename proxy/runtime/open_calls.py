"""Which calls the index lists as open, compared with its own records, and put right.

A call that is open is found by that list alone, and one that has ended stands in it no longer. In
PostgreSQL the list is the one table of records that may be changed, and `serve`'s own login may have
an entry of it made or removed as the records say: so no administrator is needed here.
"""

from typing import Final

from proxy.audit.index.postgres import PostgresIndex
from proxy.audit.index.rows import EVENT, Row
from proxy.audit.index.walking import Latest

_ATTEMPTS: Final = 3
"""Of one call, which may go on meanwhile."""


class OpenCalls:
    """The calls that rows leave open, which are told one after the other."""

    def __init__(self) -> None:
        self._open: dict[str, Latest] = {}

    def take(self, row: Row) -> None:
        """Take the next row of a writer, in order."""
        if row.kind != EVENT:
            return
        if row.terminal:
            self._open.pop(row.audit_id, None)
        else:
            self._open[row.audit_id] = Latest(row.writer, row.seq, row.at)

    async def put_right(self, index: PostgresIndex) -> tuple[int, list[str]]:
        """How many calls were listed wrongly and are no more, and the ids of those that still are."""
        listed = await index.walk().open_calls()
        mended, left = 0, []
        for audit_id in sorted(listed.keys() | self._open.keys()):
            if listed.get(audit_id) == self._open.get(audit_id):
                continue
            attempts = await _attempts(index, audit_id)
            if attempts is None:
                left.append(audit_id)
            elif attempts:
                mended += 1
        return mended, left


async def _attempts(index: PostgresIndex, audit_id: str) -> int | None:
    """How often one call had to be noted again; None when that was in vain."""
    for attempt in range(_ATTEMPTS):
        rows = await index.get(audit_id)
        last = _last_word(rows)
        expected = None if last is None or last.terminal else Latest(last.writer, last.seq, last.at)
        # What is listed and has no record shows nothing.
        if last is None or await index.walk().open_call(audit_id) == expected:
            return attempt
        await index.note(last)
    return None


def _last_word(rows: list[Row]) -> Row | None:
    calls = [row for row in rows if row.kind == EVENT]
    ended = next((row for row in calls if row.terminal), None)
    return ended or max(calls, key=lambda row: row.seq, default=None)
