"""Progress of long work on stderr, for people: a bar for each step, gone when it is done."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

Told = Callable[[str, int, int], None]
"""Called with a step's name, how much of it is done, and how much there is (0: not known)."""


@contextmanager
def bars() -> Iterator[Told]:
    """What the work calls as it goes on. Nothing is drawn where stderr is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    console = Console(stderr=True)
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        steps: dict[str, TaskID] = {}

        def told(step: str, done: int, total: int) -> None:
            if step not in steps:
                steps[step] = progress.add_task(step, total=None)
            progress.update(steps[step], completed=done, total=total or None)

        yield told
