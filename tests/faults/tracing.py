"""strace: attached to a proxy, it counts system calls on the journal's files, or breaks one."""

import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests import debian

SYSCALLS = [
    "openat",
    "mkdir",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "ftruncate",
    "fallocate",
    "pwrite64",
    "write",
    "fdatasync",
    "fsync",
    "close",
    "lseek",
    "read",
    "pread64",
    "fstat",
    "newfstatat",
    "flock",
    "fcntl",
    "access",
    "faccessat",
    "faccessat2",
    "chmod",
    "fchmod",
    "fchmodat",
    "getdents64",
    "statx",
    "link",
    "linkat",
]
_FIRST_PATH = {"rename", "link"}
"""Of two paths strace goes by the first: such a call is one on that file."""
_LINE = re.compile(r"^(\d+) +([a-z0-9]+)\(")
_UNFINISHED = " <unfinished ...>"
_RESUMED = re.compile(r"^(\d+) +<\.\.\. [a-z0-9]+ resumed>(.*)")
_DESCRIPTOR = re.compile(r"^\d+ +[a-z0-9]+\((\d+)<([^>]*)>")
_PATH = re.compile(r'"(/[^"]+)"|<(/[^>(]+)>')


def ensure_strace() -> str:
    """The path of strace; Debian's package is installed when we may. Raises RuntimeError."""
    found = shutil.which("strace")
    if found is None and debian.may_install():
        debian.install("strace")
        found = shutil.which("strace")
    if found is None:
        raise RuntimeError("strace is missing; install Debian's package `strace`")
    return found


@dataclass(frozen=True, order=True)
class Instance:
    """One system call of a run: the how-manieth of its kind on this file in its thread."""

    path: str
    syscall: str
    thread: int
    """Threads are numbered in the order in which they first touch the file."""
    number: int


@dataclass
class Trace:
    """What strace wrote."""

    lines: list[str]

    @classmethod
    def read(cls, path: Path) -> "Trace":
        lines: list[str] = []
        begun: dict[str, int] = {}
        for line in path.read_text(errors="replace").splitlines():
            if match := _RESUMED.match(
                line
            ):  # in two parts: another thread did something meanwhile
                if (index := begun.pop(match[1], None)) is not None:
                    lines[index] = lines[index].replace(_UNFINISHED, match[2])
            elif match := _LINE.match(line):
                if _UNFINISHED in line:
                    begun[match[1]] = len(lines)
                lines.append(line)
        return cls(lines)

    def instances(self, path: str, *, injected: bool = False) -> list[Instance]:
        """All system calls on one file, or only those that strace broke."""
        threads: dict[str, int] = {}
        numbers: dict[tuple[str, str], int] = {}
        found = []
        for line in self.lines:
            match = _LINE.match(line)
            assert match is not None
            pid, name = match.groups()
            if f'"{path}"' not in line and f"<{path}>" not in line:
                continue
            if name in _FIRST_PATH and f'{name}("{path}"' not in line:
                continue
            threads.setdefault(pid, len(threads))
            numbers[pid, name] = numbers.get((pid, name), 0) + 1
            if not injected or "(INJECTED)" in line or "(DELAYED)" in line:
                found.append(Instance(path, name, threads[pid], numbers[pid, name]))
        return found

    def killed_at(self, path: str, name: str, number: int) -> list[Instance]:
        """The system call on which strace killed the process."""
        found = [
            one for one in self.instances(path) if one.syscall == name and one.number == number
        ]
        return found[-1:]

    def paths(self, under: Path) -> set[str]:
        """Files and directories in there that were touched."""
        found = {part for line in self.lines for pair in _PATH.findall(line) for part in pair}
        return {path for path in found if path.startswith(str(under))}

    def synced_again(self) -> list[str]:
        """Descriptors that were synced after a sync of theirs had failed."""
        failed: set[str] = set()
        found = []
        for line in self.lines:
            match = _DESCRIPTOR.match(line)
            if match is None:
                continue
            descriptor, path = match.groups()
            if " close(" in line[:40]:
                failed.discard(descriptor)
            elif "fsync(" in line[:40] or "fdatasync(" in line[:40]:
                if descriptor in failed:
                    found.append(path)
                if "= -1" in line:
                    failed.add(descriptor)
        return found


@contextlib.contextmanager
def traced(pid: int, output: Path, paths: set[str], inject: str = "") -> Iterator[None]:
    """Strace attached to a process and the threads it will make."""
    command = [ensure_strace(), "-f", "-y", "-o", str(output), "-p", str(pid)]
    command += ["-e", f"trace={','.join('?' + name for name in SYSCALLS)}", "-e", "signal=none"]
    for path in sorted(paths):
        command += ["-P", path]
    if inject:
        command += ["-e", f"inject={inject}"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        said = ""
        while "attached" not in said:
            line = process.stderr.readline()
            if not line:
                raise RuntimeError(f"strace could not attach: {said}")
            said += line
        yield
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        if process.poll() is None:
            process.terminate()
            process.wait()
        process.stderr.close()
