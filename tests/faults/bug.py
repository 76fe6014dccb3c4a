"""Planted bugs: deliberately broken variants of the product, to see whether a rig notices.

A rig that cannot tell a broken product from a sound one proves nothing. Each bug says how to
break the product, in this process only, and which rig must report violations.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from tests.faults.report import Report


@dataclass(frozen=True)
class Bug:
    """One way to break the promise."""

    name: str
    """Words with dashes; processes that a rig starts are told it on their command line."""
    breaks: str
    """What the variant does wrong, in one sentence."""
    plant: Callable[[], AbstractContextManager[None]]
    """Breaks the product in this process until the context ends."""
    hunt: Callable[["Bug"], Report]
    """Runs the rig that must catch it, bounded to 60 s; it stops at the first violation."""
