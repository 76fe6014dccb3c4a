"""Says at the end how quickly the planted bugs were noticed."""

from typing import Any

from tests.faults.bug import WITHIN, noticed


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """One line: how many, and which took longest."""
    if noticed:
        slowest = max(noticed, key=noticed.__getitem__)
        terminalreporter.write_line(
            f"planted bugs: {len(noticed)} hunted, {WITHIN:.0f} s allowed;"
            f" the slowest: {slowest}, {noticed[slowest]:.1f} s"
        )
