"""One thing, as a page for people or a document for scripts."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from proxy.cli.output import Column, Format, show, to_json, to_yaml, visible, write


def show_one(
    form: Format,
    item: Mapping[str, Any],
    page: str,
    columns: Sequence[Column],
    row: Sequence[object],
    *,
    name: str = "name",
) -> None:
    """Print one thing.

    Args:
        form: which form.
        item: the thing as the API gave it, for JSON and YAML.
        page: for people; already fit for a terminal.
        columns: of its list, for CSV.
        row: its cells there.
        name: member of the item that `-o name` prints.
    """
    if form is Format.TABLE:
        write(page)
    elif form is Format.JSON:
        write(to_json(item) + "\n")
    elif form is Format.YAML:
        write(to_yaml(dict(item)))
    else:
        show(form, [item], columns, [row], name=name)


def facts(pairs: Iterable[tuple[str, object]], indent: int = 0) -> str:
    """Lines of names and values, aligned; what is empty is left out."""
    kept = [(name, visible(value)) for name, value in pairs if value not in ("", None)]
    width = max((len(name) for name, _ in kept), default=0)
    return "".join(f"{' ' * indent}{name:<{width}}  {value}\n" for name, value in kept)


def counted(number: int, word: str) -> str:
    """`1 grant`, `3 grants`."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
