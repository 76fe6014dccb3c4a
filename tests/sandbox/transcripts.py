"""kubectl sessions written down as transcripts, and played against a running cluster.

A transcript holds commands (`$ get pods`), lines that must appear in their output in this order (`…`
stands for anything, blanks are folded), and the exit code when it is not 0 (`-> 1`).
"""

import asyncio
import re
import sys
from dataclasses import dataclass
from pathlib import Path

KUBECTL = Path(sys.executable).parent / "kubectl"


@dataclass
class Output:
    text: str
    code: int


@dataclass
class Kubectl:
    """kubectl with a home of its own, in a directory that holds the test's manifests."""

    directory: Path
    kubeconfig: Path

    def environment(self) -> dict[str, str]:
        home = str(self.directory)
        return {"HOME": home, "KUBECONFIG": str(self.kubeconfig), "PATH": "/usr/bin:/bin"}

    async def __call__(self, command: str, *, stdin: bytes = b"", **more: str) -> Output:
        words = re.findall(r"'([^']*)'|(\S+)", command)
        process = await asyncio.create_subprocess_exec(
            str(KUBECTL),
            *("".join(word) for word in words),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=self.directory,
            env=self.environment() | more,
        )
        try:
            async with asyncio.timeout(20):
                text, _ = await process.communicate(stdin)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise
        return Output(text.decode(), process.returncode or 0)

    async def play(self, transcript: str) -> None:
        for entry in re.split(r"^\s*\$ ", transcript, flags=re.MULTILINE)[1:]:
            command, *lines = (line.strip() for line in entry.strip().split("\n"))
            code = int(lines.pop()[3:]) if lines and lines[-1].startswith("-> ") else 0
            output = await self(command)
            assert output.code == code, f"$ {command}\n{output.text}"
            missing = first_missing(lines, output.text)
            assert missing is None, f"$ {command}\n{output.text}\nhas no line: {missing}"


def first_missing(lines: list[str], text: str) -> str | None:
    left = iter([" ".join(line.split()) for line in text.split("\n")])
    for line in lines:
        pattern = re.escape(" ".join(line.split())).replace("…", ".*")
        if not any(re.fullmatch(pattern, have) for have in left):
            return line
    return None
