"""Planted bugs: deliberately broken variants of the product, to see whether a rig notices.

A rig that cannot tell a broken product from a sound one proves nothing. Each bug says how to
break the product, in this process only, and which rig must report violations.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

from tests.faults.report import Report

WITHIN: Final = 60.0
"""Seconds in which each bug must be noticed."""
noticed: Final[dict[str, float]] = {}
"""How many seconds it took to notice each bug, of those hunted in this process."""


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

    def caught(self, *, here: bool = False) -> Report:
        """Hunt it, broken in this process when `here`. Raises AssertionError unless noticed in time."""
        began = time.monotonic()
        if here:
            with self.plant():
                report = self.hunt(self)
        else:
            report = self.hunt(self)
        seconds = noticed[self.name] = time.monotonic() - began
        assert report.violations, f"not noticed: {self.breaks} {report}"
        assert seconds <= WITHIN, f"noticed only after {seconds:.0f} s: {self.breaks}"
        return report
