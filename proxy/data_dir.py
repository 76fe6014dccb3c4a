"""The data directory: what lies where, who may read it, and one `serve` at a time.

Everything durable is under one directory that belongs to the user who runs the proxy (mode 0700).
Nothing here knows what is inside the files; their packages do.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxy.errors import ConflictError, NotFoundError, UnavailableError
from proxy.settings import FILE_NAME

PRIVATE_DIR: Final = 0o700
PRIVATE_FILE: Final = 0o600


@dataclass(frozen=True, slots=True)
class DataDir:
    """The layout below `path`."""

    path: Path

    @property
    def settings(self) -> Path:
        """The settings file; its presence means that `init` finished."""
        return self.path / FILE_NAME

    @property
    def pki(self) -> Path:
        """The certificate authority, the server certificate and their keys."""
        return self.path / "pki"

    @property
    def journal(self) -> Path:
        """The journals, one directory per writer."""
        return self.path / "journal"

    @property
    def admin(self) -> Path:
        """The first admin credential, so that commands on this machine need no other."""
        return self.path / "admin"

    @property
    def admin_context(self) -> Path:
        """A context as in `~/.config/kubewitness/config.yaml`, of this machine's administrator.

        YAML with `name`, `server` (`https://host:port` of the control plane), `ca-data`,
        `client-certificate-data` and `client-key-data` (base64 of PEM), `data-dir`. Written by
        `init`; `serve` keeps the address current and renews the certificate.
        """
        return self.admin / "context.yaml"

    @property
    def state_key(self) -> Path:
        """The key that seals cluster credentials."""
        return self.pki / "state.key"

    @property
    def state_database(self) -> Path:
        """Clusters and credentials, unless `database` names a server."""
        return self.path / "state.db"

    @property
    def index_database(self) -> Path:
        """The index, unless `database` names a server."""
        return self.path / "index.db"

    @property
    def database_server(self) -> Path:
        """Which server `database` was the last time: JSON, system identifier and timeline."""
        return self.path / "database-server.json"

    @property
    def last_start(self) -> Path:
        """What the last start ran with, without secrets: the next one records what changed."""
        return self.path / "last-start.json"

    @property
    def run(self) -> Path:
        """What only means something while `serve` runs: its lock, addresses, worker metrics."""
        return self.path / "run"

    @property
    def lock(self) -> Path:
        """Held by the running `serve`."""
        return self.run / "serve.lock"

    @property
    def initialised(self) -> bool:
        """Whether `init` finished here."""
        return self.settings.exists()

    def require(self) -> None:
        """Raise NotFoundError when `init` has not been run here, UnavailableError when unreadable."""
        try:
            found = self.initialised
        except OSError as error:
            raise self._unusable(error) from error
        if not found:
            raise NotFoundError(
                f"{self.path} is not a kubewitness data directory.",
                hint=f"Run `kubewitness init --data-dir {self.path}` first.",
            )
        if not os.access(self.path, os.R_OK | os.W_OK | os.X_OK):
            raise UnavailableError(
                f"{self.path}: permission denied.",
                hint="Run as the user who ran `kubewitness init`, or give the directory to yours.",
            )

    def create(self) -> None:
        """Make the directories that are missing, and close the top one to everybody else.

        Raises UnavailableError when that is not possible here.
        """
        try:
            self.path.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
            self.path.chmod(PRIVATE_DIR)
            for path in (self.pki, self.journal, self.admin, self.run):
                path.mkdir(mode=PRIVATE_DIR, exist_ok=True)
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> UnavailableError:
        return UnavailableError(
            f"{self.path}: {error.strerror or error}.",
            hint="Choose a directory you may write with --data-dir or KUBEWITNESS_DATA_DIR.",
        )

    @property
    def in_use(self) -> bool:
        """Whether a `serve` runs here now."""
        try:
            descriptor = os.open(self.lock, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        """Hold the lock of the one `serve` that may run here.

        The kernel drops it when the process ends, however it ends. Raises ConflictError naming
        the process that has it.
        """
        self.run.mkdir(mode=PRIVATE_DIR, exist_ok=True)
        descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
                raise ConflictError(
                    f"{self.path} is in use by a running `kubewitness serve`"
                    f"{f' (process {holder})' if holder else ''}.",
                    hint="Stop that one first, or use another --data-dir.",
                ) from error
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            yield
        finally:
            os.close(descriptor)
