"""File systems of a rig's own, in a mount namespace of its own: full, frozen or broken at will.

Nothing outside the namespace sees them, and they are gone with the process that holds it. Root
needs nothing more; an ordinary user gets a user namespace, where tmpfs works and ext4 does not.
"""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.scene import Scene

MIB = 1024 * 1024


def is_root() -> bool:
    """Whether we may mount what we like."""
    return os.geteuid() == 0


@dataclass
class Volume:
    """A mounted volume that holds the proxy's data directory."""

    holder: subprocess.Popen[str]
    directory: Path
    enter: list[str]
    """What a command is prefixed with to see it."""
    ballast: Path = field(init=False)

    def __post_init__(self) -> None:
        self.ballast = self.seen(self.directory) / "ballast"

    @classmethod
    @contextlib.contextmanager
    def tmpfs(cls, scene: Scene, size: int) -> Iterator["Volume"]:
        """`size` MiB of memory."""
        mount = f'mount -t tmpfs -o size={size}m,mode=700 tmpfs "$0"'
        with cls._held(scene, mount) as volume:
            yield volume

    @classmethod
    @contextlib.contextmanager
    def ext4(cls, scene: Scene, size: int, options: str = "") -> Iterator["Volume"]:
        """An ext4 of `size` MiB on a loop device; needs root."""
        image = scene.directory / "volume.img"
        with image.open("wb") as file:
            file.truncate(size * MIB)
        subprocess.run(
            ["mkfs.ext4", "-q", "-F", str(image)], check=True, capture_output=True, timeout=60
        )
        with cls._held(scene, f'mount -o loop{options} "{image}" "$0"') as volume:
            yield volume

    @classmethod
    @contextlib.contextmanager
    def _held(cls, scene: Scene, mount: str) -> Iterator["Volume"]:
        scene.data_dir.mkdir(exist_ok=True)
        alone = ["unshare", "--mount"] if is_root() else ["unshare", "--map-root-user", "--mount"]
        script = f"{mount} && echo mounted && exec cat"
        holder = subprocess.Popen(
            [*alone, "sh", "-ec", script, str(scene.data_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert holder.stdout is not None
            if holder.stdout.readline().strip() != "mounted":
                raise RuntimeError(f"cannot mount a volume of our own: {' '.join(alone)} failed")
            user = [] if is_root() else ["--user", "--preserve-credentials"]
            enter = ["nsenter", "--target", str(holder.pid), *user, "--mount"]
            yield cls(holder, scene.data_dir, enter)
        finally:
            assert holder.stdin is not None
            holder.stdin.close()
            holder.wait(20)
            if holder.stdout is not None:
                holder.stdout.close()

    def seen(self, path: Path) -> Path:
        """Where `path` of the namespace is for us."""
        return Path(f"/proc/{self.holder.pid}/root{path}")

    def run(self, *command: str) -> None:
        """Run something in there."""
        subprocess.run([*self.enter, *command], check=True, timeout=60)

    def break_ext4(self) -> None:
        """Let ext4 believe that it met an error on its disk."""
        device = self.seen(self.directory).stat().st_dev
        name = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve().name
        Path(f"/sys/fs/ext4/{name}/trigger_fs_error").write_text("1")

    def fill(self) -> int:
        """Take all the space that is left; returns how much that was."""
        taken = 0
        descriptor = os.open(self.ballast, os.O_CREAT | os.O_WRONLY, 0o600)
        try:
            end = os.fstat(descriptor).st_size
            step = MIB
            while step >= 4096:
                try:
                    os.posix_fallocate(descriptor, end, step)
                except OSError:
                    step //= 2
                else:
                    end += step
                    taken += step
        finally:
            os.close(descriptor)
        return taken

    def free(self) -> None:
        """Give it back."""
        self.ballast.unlink()


@contextlib.contextmanager
def frozen(volume: Volume) -> Iterator[tuple[Callable[[], None], Callable[[], None]]]:
    """(freeze, thaw) of a volume; it is thawed at the end, or its processes could not end."""
    here = str(volume.directory)
    is_frozen = False

    def freeze() -> None:
        nonlocal is_frozen
        volume.run("fsfreeze", "-f", here)
        is_frozen = True

    def thaw() -> None:
        nonlocal is_frozen
        if is_frozen:
            volume.run("fsfreeze", "-u", here)
            is_frozen = False

    try:
        yield freeze, thaw
    finally:
        thaw()
