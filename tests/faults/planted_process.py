"""Planted bugs of the process: the pipeline, the record and the gate, broken one at a time."""

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def planted(name: str) -> Iterator[None]:
    """Break this process in the way that `name` says; an empty name breaks nothing."""
    yield
