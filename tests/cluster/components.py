"""The processes of the cluster: started with a log each, watched, and quoted when one dies."""

import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

POLL_SECONDS = 0.1
TAIL_LINES = 25


class ClusterError(Exception):
    """The cluster did not come up or did not stay up; the message quotes the log that says why."""


class Components:
    """Every process that makes up the cluster, with the directory of their logs."""

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        self._logs = logs
        self._environment = dict(environment)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, program: Path, *flags: str) -> None:
        """Start `program` as the component `name`; its output goes to `NAME.log`."""
        with (self._logs / f"{name}.log").open("wb") as log:
            self._running[name] = subprocess.Popen(
                [str(program), *flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                # Ctrl-C is for the command that runs in the cluster, not for the cluster.
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise when a component has ended.

        Raises:
            ClusterError: names the component and quotes the end of its log.
        """
        for name, process in self._running.items():
            if (code := process.poll()) is not None:
                raise ClusterError(f"{name} ended with exit code {code}:\n{self.tail(name)}")

    def tail(self, name: str) -> str:
        """The last lines of a component's log."""
        text = (self._logs / f"{name}.log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-TAIL_LINES:])

    def wait_command(self, what: str, command: list[str], *, suspect: str, timeout: float) -> None:
        """Run `command` again and again until it succeeds, for at most `timeout` seconds.

        Raises:
            ClusterError: a component ended, or time is up; quotes the log of `suspect`.
        """
        deadline = time.monotonic() + timeout
        while subprocess.run(command, check=False, capture_output=True).returncode != 0:
            self.check()
            if time.monotonic() > deadline:
                tail = self.tail(suspect)
                raise ClusterError(f"{what}: not after {timeout:.0f} s; {suspect} says:\n{tail}")
            time.sleep(POLL_SECONDS)
