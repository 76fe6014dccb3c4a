"""Our image, built for real and without a registry: Debian's debootstrap makes the base, buildah the rest.

Needs root and Debian's packages, which are installed when they are missing. What takes long is kept in the
cache of the test cluster: the base, the wheels, and the finished image of each state of the tree.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from proxy import __version__
from tests import debian
from tests.cluster.binaries import cache_root
from tests.deploy.prometheus import DEPLOY, ROOT

NAME = f"docker.io/kubewitness/kubewitness:{__version__}"
"""As the chart names it."""
UID = 65532
_BASE = "localhost/kubewitness-base"
_SUITE = "bookworm"
_PYTHON = "3.11"
# The last one takes the place of what the recipe would otherwise install from the network.
_INCLUDED = ("python3", "python3-venv", "ca-certificates", "binutils")
_TOOLS = {"buildah": "buildah", "debootstrap": "debootstrap"}
_SECONDS = 900


def archive() -> Path:
    """The image in the form of `docker save`, built from the tree as it is unless that was done before.

    Raises:
        RuntimeError: a program is missing and cannot be installed from here.
        subprocess.CalledProcessError: a step failed; it has said why.
    """
    target = _cache() / f"kubewitness-{_state()}.tar"
    if not target.exists():
        for old in _cache().glob("kubewitness-*.tar"):
            old.unlink()
        _build()
        made = target.with_suffix(".part")
        made.unlink(missing_ok=True)
        _buildah("push", "--quiet", NAME, f"docker-archive:{made}:{NAME}")
        made.rename(target)
    return target


@dataclass(frozen=True)
class Size:
    """How large an image is, unpacked."""

    base: int
    whole: int

    @property
    def over_base(self) -> int:
        """Bytes that we add."""
        return self.whole - self.base


def size() -> Size:
    """The size of the image's files and of its base's."""
    archive()
    sizes = []
    for name in (_BASE, NAME):
        with mounted(name) as root:
            sizes.append(_bytes(root))
    return Size(*sizes)


@contextlib.contextmanager
def mounted(name: str = NAME) -> Iterator[Path]:
    """The files of an image, to look at or to run; what is changed there is gone afterwards."""
    container = _buildah("from", "--pull-never", name).strip()
    try:
        yield Path(_buildah("mount", container).strip())
    finally:
        _buildah("rm", container)


def within(root: Path, data: Path, *command: str) -> list[str]:
    """The command line that runs `command` in an image as a container runtime would.

    Its root is read-only and belongs to a mount namespace of its own; `data` is its volume, and it
    runs as its user, without a capability.
    """
    script = (
        'mount --rbind "$0" "$0" && mount -o remount,ro,bind "$0" '
        '&& mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" '
        '&& mount -t tmpfs tmpfs "$0/tmp" && mount --bind "$1" "$0/var/lib/kubewitness" '
        '&& root="$0" && shift && exec setpriv --no-new-privs '
        f'chroot --groups= --userspec={UID}:{UID} "$root" "$@"'
    )
    environment = [
        "/usr/bin/env",
        "-i",
        "PATH=/opt/kubewitness/bin:/usr/local/bin:/usr/bin:/bin",
        "HOME=/tmp",
        "PYTHONUNBUFFERED=1",
        "KUBEWITNESS_DATA_DIR=/var/lib/kubewitness",
    ]
    return ["unshare", "--mount", "sh", "-ec", script, str(root), str(data), *environment, *command]


def _build() -> None:
    _ensure_tools()
    _ensure_base()
    wheels = _ensure_wheels()
    _buildah(
        *("build", "--isolation=chroot", "--pull-never", "--no-cache", "--quiet"),
        *(f"--build-arg=BASE={_BASE}", "--build-arg=PIP_NO_INDEX=1"),
        *("--build-arg=PIP_FIND_LINKS=/wheels", f"--volume={wheels}:/wheels:ro"),
        *(f"--file={DEPLOY / 'Dockerfile'}", f"--tag={NAME}", str(ROOT)),
    )
    _buildah("rmi", "--prune")


def _ensure_tools() -> None:
    missing = sorted(package for name, package in _TOOLS.items() if shutil.which(name) is None)
    if not missing:
        return
    if not debian.may_install():
        raise RuntimeError(f"the image needs these packages, as root: {' '.join(missing)}")
    if trouble := debian.install(*missing):
        raise RuntimeError(trouble)


def _ensure_base() -> None:
    tar = _cache() / f"base-{_SUITE}.tar"
    if not tar.exists():
        tree = _cache() / "base.part"
        shutil.rmtree(tree, ignore_errors=True)
        included = f"--include={','.join(_INCLUDED)}"
        subprocess.run(
            ["debootstrap", "--variant=minbase", included, _SUITE, tree],
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=_SECONDS,
        )
        # Lists of packages and their files are no part of a base.
        for part in ("var/cache/apt", "var/lib/apt/lists"):
            shutil.rmtree(tree / part)
            (tree / part).mkdir()
        made = tar.with_suffix(".part")
        subprocess.run(["tar", "--create", "--file", made, "--directory", tree, "."], check=True)
        made.rename(tar)
        shutil.rmtree(tree)
    if _BASE not in _buildah("images", "--format={{.Name}}").split():
        container = _buildah("from", "scratch").strip()
        _buildah("add", "--quiet", container, str(tar), "/")
        _buildah("commit", "--quiet", "--rm", container, _BASE)


def _ensure_wheels() -> Path:
    """Every pinned package as a wheel for the base's Python."""
    lists = [ROOT / "requirements.txt", DEPLOY / "requirements-build.txt"]
    name = hashlib.sha256(b"".join(path.read_bytes() for path in lists)).hexdigest()[:12]
    target = _cache() / f"wheels-{name}"
    if target.exists():
        return target
    made = target.with_suffix(".part")
    shutil.rmtree(made, ignore_errors=True)
    machine = os.uname().machine
    platforms = [f"--platform=manylinux_2_{minor}_{machine}" for minor in (34, 28, 17, 12, 5)]
    for path in lists:
        subprocess.run(
            [
                *(
                    sys.executable,
                    "-m",
                    "pip",
                    "download",
                    "--quiet",
                    "--no-deps",
                    "--require-hashes",
                ),
                *("--only-binary=:all:", f"--python-version={_PYTHON}", *platforms),
                *(f"--dest={made}", f"--requirement={path}"),
            ],
            check=True,
            timeout=_SECONDS,
        )
    made.rename(target)
    return target


def _buildah(*arguments: str) -> str:
    """What buildah says; with storage of our own, and without anything that needs a newer kernel."""
    storage = _cache() / "storage"
    done = subprocess.run(
        ["buildah", f"--root={storage}", f"--runroot={storage / 'run'}", *arguments],
        check=False,
        env={**os.environ, "STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    if done.returncode != 0:
        raise RuntimeError(f"buildah {arguments[0]}: {done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done.stdout


def _cache() -> Path:
    directory = cache_root().parent / "image"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _state() -> str:
    """A digest of everything the image is made from."""
    digest = hashlib.sha256()
    inputs = [
        ROOT / name for name in ("pyproject.toml", "requirements.txt", "README.md", "LICENSE")
    ]
    inputs += [path for path in DEPLOY.rglob("*") if path.suffix not in {".pyc", ".json", ".yaml"}]
    inputs += [path for path in (ROOT / "proxy").rglob("*") if path.suffix != ".pyc"]
    for path in sorted(inputs):
        if path.is_file():
            digest.update(f"{path.relative_to(ROOT)}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _bytes(root: Path) -> int:
    return sum(path.lstat().st_size for path in root.rglob("*") if path.is_file())


def main() -> None:
    """Build it and say how large it is."""
    began = time.monotonic()
    print(archive(), f"{time.monotonic() - began:.0f} s")
    found = size()
    print(f"base {found.base / 1e6:.1f} MB, ours {found.over_base / 1e6:.1f} MB over it")


if __name__ == "__main__":
    main()
