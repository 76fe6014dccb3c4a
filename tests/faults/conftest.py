"""Says at the end how quickly the planted bugs were noticed, and which rigs were not exercised."""

from typing import Any

from tests.faults.bug import WITHIN, noticed
from tests.faults.report import NOT_EXERCISED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """One line: how many, and which took longest. Another, so that green is not taken for tested."""
    if noticed:
        slowest = max(noticed, key=noticed.__getitem__)
        terminalreporter.write_line(
            f"planted bugs: {len(noticed)} hunted, {WITHIN:.0f} s allowed;"
            f" the slowest: {slowest}, {noticed[slowest]:.1f} s"
        )
    # Out of the reports: they come from other processes, too (pytest-xdist).
    left_out = [
        rig
        for report in terminalreporter.getreports("passed")
        for name, rig in report.user_properties
        if name == NOT_EXERCISED and report.when == "call"
    ]
    if left_out:
        terminalreporter.write_line(
            f"NOT exercised for want of root: {', '.join(left_out)}; run them as root"
        )
