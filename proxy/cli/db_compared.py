"""How `kubewitness db rebuild` says what it found: for people the beginning, for scripts all of it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from proxy.cli.output import Column, Format, say, show, to_json, to_yaml, write
from proxy.errors import ConflictError

if TYPE_CHECKING:
    from proxy.audit.index.postgresql.verifying import FalseBlock
    from proxy.runtime.comparing import Compared, Difference, Unaccounted

SHOWN: Final = 20
"""Differences that a person is shown, and writers without a journal."""
WORDS: Final = ("different", "unknown", "missing", "restored")
"""Of `proxy.runtime.comparing.What`."""
_COLUMNS: Final = (Column("what", 9), Column("writer", 12), Column("seq", 6), Column("columns", 8))
_SAYS: Final = {
    "different": "is not what its journal has",
    "unknown": "is in no journal",
    "missing": "is in a journal and not in the index",
    "restored": "was missing, though later ones were there; now it is, too",
}
_DOCS: Final = "docs/day-two.md, `An index that was altered`, leads back to an equal one."


class Report:
    """What was compared, and what was done about it.

    With `all_journals` what no journal says anything about is false, too.
    """

    def __init__(
        self,
        compared: "Compared",
        found: "list[FalseBlock]",
        left: "list[FalseBlock]",
        *,
        all_journals: bool = False,
    ) -> None:
        self._compared = compared
        self._found = found
        self._left = left
        self._false = {(one.writer, one.first) for one in left}
        self._all_journals = all_journals

    def recorded(self) -> dict[str, int]:
        """For the record of the act: counts."""
        compared = self._compared
        return {
            "records": compared.records,
            **self._counts(),
            "withoutJournal": compared.unaccounted_records,
            "hidingBlocks": len(self._left),
            "callsPutRight": compared.calls_put_right,
            "callsListedWrongly": len(compared.calls_left),
        }

    def tell(self, form: Format) -> None:
        """Print it."""
        if form in (Format.JSON, Format.YAML):
            document = self._document()
            write(to_json(document) + "\n" if form is Format.JSON else to_yaml(document))
            return
        if form is Format.TABLE:
            write(
                f"{self._compared.records} records in the index, byte for byte as in the journals.\n"
            )
        else:
            items = [_item(one) for one in self._compared.differences]
            cells = [
                [item["what"], item["writer"], item["seq"], " ".join(item["columns"])]
                for item in items
            ]
            show(form, items, _COLUMNS, cells, empty="")
        for line in self._lines():
            say(line)

    def require(self) -> None:
        """Raise ConflictError when the index is certainly not what the journals say."""
        compared = self._compared
        wrong = {
            what: count for what, count in self._counts().items() if what != "restored" and count
        }
        if self._all_journals and compared.unaccounted_records:
            wrong["without a journal"] = compared.unaccounted_records
        if compared.calls_left:
            wrong["calls listed as open or not, wrongly"] = len(compared.calls_left)
        if wrong:
            counts = ", ".join(f"{count} {what}" for what, count in wrong.items())
            raise ConflictError(
                f"The index does not hold what the journals do: {counts}.", hint=_DOCS
            )
        if self._left:
            raise ConflictError(
                f"{len(self._left)} blocks hide records from searches.",
                hint="With KUBEWITNESS_ADMIN_DATABASE set, this command makes them anew.",
            )

    def _counts(self) -> dict[str, int]:
        counts = {what.value: count for what, count in self._compared.counts.items()}
        return {word: counts.get(word, 0) for word in WORDS}

    def _document(self) -> dict[str, Any]:
        compared = self._compared
        listed, writers = compared.differences, compared.unaccounted
        return {
            "records": compared.records,
            "counts": self._counts(),
            "differences": [_item(one) for one in listed],
            "moreDifferences": compared.counts.total() - len(listed),
            "withoutJournal": [
                {"writer": one.writer, "records": one.records, "before": one.before}
                for one in writers
            ],
            "moreWithoutJournal": compared.unaccounted_writers - len(writers),
            "openCalls": {"putRight": compared.calls_put_right, "wrong": compared.calls_left},
            "blocks": [
                {
                    "writer": one.writer,
                    "first": one.first,
                    "why": one.why,
                    "madeAnew": (one.writer, one.first) not in self._false,
                }
                for one in self._found
            ],
        }

    def _lines(self) -> Iterator[str]:
        compared = self._compared
        yield from map(_difference, compared.differences[:SHOWN])
        yield from _more(compared.counts.total(), "records; -o json lists them")
        yield from map(self._without, compared.unaccounted[:SHOWN])
        yield from _more(
            compared.unaccounted_writers, "writers without a journal; -o json lists them"
        )
        if compared.calls_put_right:
            yield f"{compared.calls_put_right} calls were listed as open and were not, or the other way round; put right."
        for audit_id in compared.calls_left[:SHOWN]:
            yield f"Whether call {audit_id} is open is listed wrongly."
        yield from _more(len(compared.calls_left), "calls; -o json lists them")
        for block in self._found[:SHOWN]:
            what = "false" if (block.writer, block.first) in self._false else "made anew"
            yield f"Block {block.first} of {block.writer} hid records: {block.why}; {what}."
        yield from _more(len(self._found), "blocks; -o json lists them")

    def _without(self, one: "Unaccounted") -> str:
        verdict = (
            "they are false" if self._all_journals else "another replica or an archive may have it"
        )
        if one.before is None:
            return f"{one.records} records of {one.writer}: no journal given has this writer; {verdict}."
        return (
            f"{one.records} records of {one.writer} before {one.before}: its journal begins there;"
            f" {verdict}."
        )


def _more(count: int, what: str) -> Iterator[str]:
    if count > SHOWN:
        yield f"And {count - SHOWN} more {what}."


def _difference(one: "Difference") -> str:
    where = f": {', '.join(one.columns)}" if one.columns else ""
    return f"{one.seq} of {one.writer} {_SAYS[one.what]}{where}."


def _item(one: "Difference") -> dict[str, Any]:
    return {
        "name": f"{one.writer}/{one.seq}",
        "what": one.what.value,
        "writer": one.writer,
        "seq": one.seq,
        "columns": list(one.columns),
    }
