"""What a rig found: the same for all of them, so that one runner can print and keep it."""

from dataclasses import dataclass, field
from typing import Final

NOT_EXERCISED: Final = "rig not exercised for want of root"
"""Property of a test that passed without its rig: an ordinary user may not do what it does."""


@dataclass
class Report:
    """The result of one run of one rig."""

    name: str
    seed: int
    counts: dict[str, int | float | str] = field(default_factory=dict)
    """What was done and measured: kills, acknowledged calls, seconds (their unit in the name)."""
    violations: list[str] = field(default_factory=list)
    """What should never have happened, each in one line; empty is the only good result."""
