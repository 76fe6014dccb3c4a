import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import postgres as rig
from tests.postgres import Database, Postgres
from tests.postgres_programs import Owner, PostgresError, installations, reachable


def test_the_wheel_brings_two_versions() -> None:
    assert {16, 18} <= set(installations())


@pytest.mark.parametrize("version", sorted(installations()))
def test_every_version_serves(version: int) -> None:
    with Postgres(version) as server:
        assert server.exec("SHOW server_version").startswith(f"{version}.")
        assert server.exec("SHOW fsync; SHOW full_page_writes") == "on\non"
        assert server.exec("SELECT 1, 'a' UNION SELECT 2, 'b' ORDER BY 1") == "1|a\n2|b"
    assert not server.running
    assert not server.base.exists()


def test_it_starts_in_a_moment() -> None:
    with Postgres():
        pass  # initdb, where nobody ran it yet
    begin = time.monotonic()
    with Postgres():
        assert time.monotonic() - begin < 1.5


def test_only_a_password_lets_in(postgres: Postgres) -> None:
    with pytest.raises(PostgresError, match="password authentication failed"):
        postgres.exec("SELECT 1", password="wrong")
    # The superuser's password works for tests only because they are told it.
    assert stat.S_IMODE(postgres.data.stat().st_mode) == 0o700
    assert "scram-sha-256" in postgres.exec("SHOW password_encryption")


def test_a_failing_statement_says_why(database: Database) -> None:
    with pytest.raises(PostgresError, match='relation "nowhere" does not exist'):
        database.exec("SELECT * FROM nowhere")


def test_settings_can_be_worse_than_ours() -> None:
    with Postgres(settings={"fsync": "off"}) as server:
        assert server.exec("SHOW fsync") == "off"
        server.configure(fsync="on")
        server.reload()
        until(lambda: server.exec("SHOW fsync") == "on")


@pytest.mark.parametrize(
    "stop",
    [Postgres.stop, lambda server: server.stop("immediate"), Postgres.kill],
    ids=["fast", "immediate", "kill"],
)
def test_what_was_committed_outlives(stop: Callable[[Postgres], None]) -> None:
    with Postgres() as server:
        database = server.create_database()
        database.exec("CREATE TABLE t (a int); INSERT INTO t VALUES (7)")
        stop(server)
        assert not server.running
        server.start()
        assert database.exec("SELECT a FROM t") == "7"


def test_a_setting_it_does_not_know_stops_the_start_and_says_so() -> None:
    server = Postgres(settings={"no_such_setting": "1"})
    with pytest.raises(PostgresError, match="unrecognized configuration parameter"), server:
        pass
    assert not server.base.exists()


def test_databases_are_apart(postgres: Postgres) -> None:
    first, second = postgres.create_database(), postgres.create_database()
    try:
        first.exec("CREATE TABLE t (a int)")
        assert second.exec("SELECT count(*) FROM pg_tables WHERE tablename = 't'") == "0"
    finally:
        first.drop()
        second.drop()


def test_programs_are_run_from_where_their_user_can_read_them(tmp_path: Path) -> None:
    """For root, what lies in a directory of root is copied; others read their own."""
    (tmp_path / "hidden").mkdir(mode=0o700)
    (tmp_path / "hidden" / "pg").symlink_to(installations()[rig.DEFAULT_VERSION].parent)
    hidden = tmp_path / "hidden" / "pg" / "bin"
    owner = Owner.choose()
    programs = reachable(hidden, owner)
    assert (programs == hidden) == (owner.uid is None)
    assert owner.run(programs / "postgres", "--version").stdout.startswith("postgres (Postgre")


def test_it_does_not_outlive_us(tmp_path: Path) -> None:
    program = (
        "import sys, time\n"
        "from tests.postgres import Postgres\n"
        "with Postgres() as server:\n"
        "    print(server.pid, server.base, flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process, process.stdout:
        pid, base = process.stdout.readline().split()
        process.send_signal(signal.SIGKILL)
    until(lambda: not Path(base).exists() and not Path("/proc", pid).exists())


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
