"""Columns of tables: what is dropped, cut or continued when a terminal is too narrow for all of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from textwrap import wrap
from typing import Final

from proxy.control.audit.hostile import visible

GAP: Final = "  "


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Args:
        title: its heading.
        least: cells of the narrowest width that is still of use on a terminal.
        rank: where it stands when the terminal is too narrow; the highest goes first, 0 stays.
        right: aligned right, for numbers.
        whole: never cut, because a part of it is of no use: an id to type, a time.
        middle: cut in the middle, where the end says as much as the beginning.
        wrap: not cut but continued on the next line, for sentences.
    """

    title: str
    least: int = 4
    rank: int = 0
    right: bool = False
    whole: bool = False
    middle: bool = False
    wrap: bool = False


def table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[object]],
    *,
    width: int | None = None,
    header: bool = True,
    floor: Sequence[int] | None = None,
) -> str:
    """Lines with aligned columns.

    With `width` (cells of a terminal) columns are dropped by rank and then cut with an ellipsis
    until a line fits; without, nothing is dropped or cut. `floor` has cells that each column takes
    at least, for rows that are printed one by one.
    """
    cells = [[visible(cell) for cell in row] for row in rows]
    kept = list(range(len(columns)))
    least = [max(_cells(columns[i].title), floor[i] if floor else 0) for i in kept]
    needed = [max([least[i], *(_cells(row[i]) for row in cells)]) for i in kept]
    if width is not None:
        if floor is None and _total(needed, kept) > width:
            # What says nothing takes no room from what does; of rows to come nobody knows.
            kept = [i for i in kept if not columns[i].rank or any(row[i] for row in cells)]
        kept = _keep(columns, needed, kept, width)
        needed = _shrink(columns, needed, kept, width)
    lines = [[column.title.upper() for column in columns], *cells] if header else cells
    return "".join(
        _line(columns, part, kept, needed) + "\n"
        for row in lines
        for part in _wrapped(columns, row, kept, needed)
    )


def _wrapped(
    columns: Sequence[Column], row: Sequence[str], kept: Sequence[int], widths: Sequence[int]
) -> list[Sequence[str]]:
    """A row as the lines it takes: more than one where a sentence is wider than its column."""
    wide = {i for i in kept if columns[i].wrap and _cells(row[i]) > widths[i]}
    if not wide:
        return [row]
    parts = [wrap(text, widths[i]) if i in wide else [text] for i, text in enumerate(row)]
    return list(zip_longest(*parts, fillvalue=""))


def _line(
    columns: Sequence[Column], row: Sequence[str], kept: Sequence[int], widths: Sequence[int]
) -> str:
    parts = []
    for i in kept:
        text = _cut(row[i], widths[i], middle=columns[i].middle)
        blank = " " * (widths[i] - _cells(text))
        parts.append(blank + text if columns[i].right else text + blank)
    return GAP.join(parts).rstrip()


def _total(widths: Sequence[int], kept: Sequence[int]) -> int:
    return sum(widths[i] for i in kept) + len(GAP) * (len(kept) - 1)


def _keep(
    columns: Sequence[Column], needed: Sequence[int], given: Sequence[int], width: int
) -> list[int]:
    kept = list(given)

    def least() -> int:
        floor = sum(_least(columns[i], needed[i]) for i in kept)
        return floor + len(GAP) * (len(kept) - 1)

    while least() > width and any(columns[i].rank for i in kept):
        kept.remove(max(kept, key=lambda i: columns[i].rank))
    return kept


def _least(column: Column, needed: int) -> int:
    return needed if column.whole else min(needed, column.least)


def _shrink(
    columns: Sequence[Column], needed: Sequence[int], kept: Sequence[int], width: int
) -> list[int]:
    widths = list(needed)
    excess = _total(widths, kept) - width
    while excess > 0:
        spare = [i for i in kept if widths[i] > _least(columns[i], needed[i])]
        if not spare:
            break
        widest = max(spare, key=lambda i: widths[i])
        widths[widest] -= 1
        excess -= 1
    return widths


def _cells(text: str) -> int:
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _cut(text: str, width: int, *, middle: bool = False) -> str:
    if _cells(text) <= width:
        return text
    end = text[len(text) - (width - 1) // 2 :] if middle else ""
    if end:
        return _cut(text, width - _cells(end)) + end
    while text and _cells(text) >= width:
        text = text[:-1]
    return text + "…"
