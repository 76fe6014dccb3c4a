"""Replacing attributes for a while: how a bug is planted in this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def swapped(*changes: tuple[Any, str, Any]) -> Iterator[None]:
    """Replace attributes: (owner, name, the other value)."""
    sound = [(owner, name, getattr(owner, name)) for owner, name, _ in changes]
    for owner, name, value in changes:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in sound:
            setattr(owner, name, value)
