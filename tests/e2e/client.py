"""Clients as people use them: kubectl and helm as processes, with what came out of them."""

import os
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path

# Generous: a machine with two cores may be building something else.
SECONDS = 60.0


@dataclass(frozen=True)
class Result:
    """What a command left: its exit code and everything it wrote."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as text."""
        return self.stdout.decode()

    @property
    def errors(self) -> str:
        """Standard error as text."""
        return self.stderr.decode()


@dataclass(frozen=True)
class Client:
    """One program that speaks to one cluster by one kubeconfig: directly, or through the proxy."""

    program: Path
    kubeconfig: Path
    namespace: str = "default"
    environment: dict[str, str] = field(default_factory=dict)

    def using(self, **changes: str) -> "Client":
        """The same client with more variables in its environment."""
        return replace(self, environment={**self.environment, **changes})

    def within(self, namespace: str) -> "Client":
        """The same client in another namespace."""
        return replace(self, namespace=namespace)

    def command(self, *arguments: str) -> list[str]:
        """The command line; what follows `--` belongs to the container and stays last."""
        options = [f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}"]
        return [str(self.program), *options, *arguments]

    def run(self, *arguments: str, stdin: bytes = b"", timeout: float = SECONDS) -> Result:
        """Run to the end, whatever the exit code."""
        done = subprocess.run(
            self.command(*arguments),
            input=stdin,
            capture_output=True,
            timeout=timeout,
            env={**os.environ, **self.environment},
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def ok(self, *arguments: str, stdin: bytes = b"", timeout: float = SECONDS) -> str:
        """Run, require success, and give standard output."""
        result = self.run(*arguments, stdin=stdin, timeout=timeout)
        assert result.code == 0, f"{' '.join(arguments)}: {result.errors}"
        return result.text

    def start(self, *arguments: str, stdin: int = subprocess.DEVNULL) -> "subprocess.Popen[bytes]":
        """Start a command that goes on; whoever starts it ends it (`with`, then `terminate`)."""
        return subprocess.Popen(
            self.command(*arguments),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **self.environment},
        )
