"""A real PostgreSQL for the tests: started in a moment, on loopback, and gone when they are.

`fsync` stays on: these servers stand in for those that must not lose anything. PostgreSQL refuses
to run as root, so for root it runs as another user, whom its files then belong to.

A child process watches us, and stops the server and removes its files when we are gone, however
we went.
"""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, Self
from urllib.parse import quote

from tests.ports import reserved_ports
from tests.postgres_programs import (
    ADMIN,
    ENVIRONMENT,
    Owner,
    PostgresError,
    installations,
    reachable,
    template,
)

DEFAULT_VERSION: Final = 16

Mode = Literal["smart", "fast", "immediate"]
_STOP: Final = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 30.0
_SETTINGS: Final = MappingProxyType(
    {
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        # Small, so that a start after a crash has little to set up.
        "shared_buffers": "32MB",
        "max_connections": "100",
        "max_wal_senders": "0",
        "wal_level": "minimal",
        "autovacuum_naptime": "5s",
        "log_min_messages": "warning",
        "log_min_error_statement": "panic",
        "timezone": "UTC",
    }
)

_WATCHDOG: Final = """
import os, shutil, signal, sys, time
parent, base = int(sys.argv[1]), sys.argv[2]
while os.getppid() == parent:
    time.sleep(0.2)
for number in (signal.SIGQUIT, signal.SIGKILL):
    try:
        pid = int(open(base + "/data/postmaster.pid").readline())
        if os.path.realpath(f"/proc/{pid}/cwd") != base + "/data":
            break
        os.kill(pid, number)
        for _ in range(50):
            os.kill(pid, 0)
            time.sleep(0.1)
    except (OSError, ValueError):
        break
shutil.rmtree(base, ignore_errors=True)
"""


class Postgres:
    """One server. A context manager: started on entry, stopped and removed on exit.

    `settings` are lines of postgresql.conf that differ from those the tests run with. The methods
    block (a start takes about 0.1 s): call them through `asyncio.to_thread` beside other tasks.
    """

    def __init__(
        self, version: int = DEFAULT_VERSION, *, settings: Mapping[str, str] | None = None
    ) -> None:
        known = installations()
        if version not in known:
            raise PostgresError(f"There is no PostgreSQL {version} here, only {sorted(known)}.")
        self.version = version
        self.host = "127.0.0.1"
        (self.port,) = reserved_ports()
        self._owner = Owner.choose()
        self._programs = reachable(known[version], self._owner)
        self._settings = dict(_SETTINGS) | dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        fresh = template(self._programs, self._owner)
        self.password = (fresh / "password").read_text()
        self.base = Path(tempfile.mkdtemp(prefix="kw-pg-")).resolve()
        """Holds `data`, the Unix socket and `server.log`."""
        self._owner.give(self.base)
        if self._owner.run("/bin/cp", "-a", fresh / "data", self.base).returncode != 0:
            raise PostgresError(f"{fresh} cannot be copied to {self.base}.")

    def __enter__(self) -> Self:
        try:
            self._watch()
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.base / "data"

    @property
    def pid(self) -> int:
        """The postmaster's process id. Raises PostgresError when it does not run."""
        if self._process is None:
            raise PostgresError("The server does not run.")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended since."""
        return self._process is not None and self._process.poll() is None

    def dsn(
        self, user: str = ADMIN, password: str | None = None, database: str = "postgres"
    ) -> str:
        """The URL of `database` for `user`, over TCP. Without a password: the superuser's."""
        secret = quote(self.password if password is None else password, safe="")
        return (
            f"postgresql://{quote(user, safe='')}:{secret}@{self.host}:{self.port}"
            f"/{quote(database, safe='')}"
        )

    def configure(self, **settings: str) -> None:
        """Change settings; those that a reload takes hold after `reload`, others after a start."""
        self._settings |= settings

    def reload(self) -> None:
        """Write the settings and have the server read them."""
        self._write_settings()
        os.kill(self.pid, signal.SIGHUP)

    def start(self) -> None:
        """Start it and wait until it takes connections. Raises PostgresError with its log."""
        if self.running:
            raise PostgresError("The server runs already.")
        self._write_settings()
        with (self.base / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._programs / "postgres"), "-D", str(self.data)],
                cwd=self.base,
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C at a terminal is for the tests; they stop the server themselves.
                start_new_session=True,
                user=self._owner.uid,
                group=self._owner.gid,
                extra_groups=self._owner.extra_groups,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise PostgresError(f"PostgreSQL {self.version} did not start:\n{self.log()}")
            time.sleep(0.003)

    def stop(self, mode: Mode = "fast") -> None:
        """Stop as `pg_ctl stop -m mode` does, and wait. Does nothing when it does not run."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(_STOP[mode])
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise PostgresError(f"PostgreSQL did not stop ({mode}):\n{self.log()}") from error
        self._process = None

    def kill(self) -> None:
        """SIGKILL to every process of the server at once: as near to pulling the plug as it gets."""
        if self._process is None:
            return
        victims = [self._process.pid]
        if self._process.poll() is None:
            # Stopped first, so that it starts no child between the look and the kill.
            self._process.send_signal(signal.SIGSTOP)
            _until(lambda: _state(victims[0]) in "TZ")
            children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
            victims += [int(pid) for pid in children.read_text().split()]
            for pid in victims:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._process.wait(_STOP_SECONDS)
        # A server does not start while one of an earlier one still holds its shared memory.
        _until(lambda: all(_state(pid) in "ZX" for pid in victims))
        self._process = None

    def restart(self, mode: Mode = "fast") -> None:
        """`stop(mode)` and `start`, on the same port."""
        self.stop(mode)
        self.start()

    def log(self) -> str:
        """The end of the server's log."""
        path = self.base / "server.log"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""

    def exec(
        self,
        sql: str,
        *,
        database: str = "postgres",
        user: str = ADMIN,
        password: str | None = None,
    ) -> str:
        """Run SQL and return what it answers: a line a row, columns between `|`.

        Raises PostgresError with the server's message at the first statement that fails.
        """
        secret = self.password if password is None else password
        done = subprocess.run(
            [
                *(self._programs / "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"),
                *("-h", self.host, "-p", str(self.port), "-U", user, "-d", database, "-f", "-"),
            ],
            env=ENVIRONMENT | {"PGPASSWORD": secret, "PGCONNECT_TIMEOUT": "10"},
            cwd="/",
            input=sql,
            text=True,
            capture_output=True,
            timeout=300,
            check=False,
        )
        if done.returncode != 0:
            raise PostgresError(done.stderr.strip())
        return done.stdout.rstrip("\n")

    def create_database(self, name: str = "", *, owner: str = "") -> "Database":
        """Make an empty database; without a name it gets one of its own."""
        name = name or f"kw_{secrets.token_hex(6)}"
        self.exec(f'CREATE DATABASE "{name}"' + (f' OWNER "{owner}"' if owner else ""))
        return Database(self, name)

    def close(self) -> None:
        """Stop it at once and remove its files."""
        with contextlib.suppress(PostgresError):
            self.stop("immediate")
        if self._watchdog is not None:
            self._watchdog.kill()
            self._watchdog.wait()
            self._watchdog = None
        shutil.rmtree(self.base, ignore_errors=True)

    def _watch(self) -> None:
        self._watchdog = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _WATCHDOG, str(os.getpid()), str(self.base)],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _write_settings(self) -> None:
        lines = {
            **self._settings,
            "listen_addresses": self.host,
            "port": str(self.port),
            "unix_socket_directories": str(self.base),
        }
        text = "".join(f"{name} = '{value}'\n" for name, value in lines.items())
        # Read after postgresql.conf, and nothing of ours is decided there.
        (self.data / "postgresql.auto.conf").write_text(text)

    def _ready(self) -> bool:
        # The eighth line of the file says how far the server is (PostgreSQL: miscadmin.h,
        # LOCK_FILE_LINE_PM_STATUS). A server that was killed leaves an old one behind.
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"


def promote(server: Postgres) -> None:
    """Make a server (of `wal_level` replica) a standby, and a primary again, on another timeline."""
    server.stop()
    (server.data / "standby.signal").touch()
    server.start()
    server.exec("SELECT pg_promote()")


@dataclass(frozen=True)
class Database:
    """One database of a server."""

    server: Postgres
    name: str

    @property
    def url(self) -> str:
        """Its URL for the superuser."""
        return self.server.dsn(database=self.name)

    def login(self, user: str, password: str) -> str:
        """Its URL for another user."""
        return self.server.dsn(user, password, self.name)

    def exec(self, sql: str) -> str:
        """Run SQL here as the superuser; `Postgres.exec` describes the answer."""
        return self.server.exec(sql, database=self.name)

    def drop(self) -> None:
        """Remove it, with whoever is connected."""
        self.server.exec(f'DROP DATABASE IF EXISTS "{self.name}" WITH (FORCE)')


@contextlib.contextmanager
def temporary_database(server: Postgres) -> Iterator[Database]:
    """A fresh database that is gone afterwards."""
    database = server.create_database()
    try:
        yield database
    finally:
        if server.running:
            database.drop()


def _state(pid: int) -> str:
    """The state of a process as proc(5) has it; X when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return "X"


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _STOP_SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)
