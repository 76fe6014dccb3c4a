"""Whole processes on a real PostgreSQL that is away: at the start, at the end, and in between."""

import contextlib
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxy.data_dir import DataDir
from proxy.runtime.slots import unsealed
from proxy.settings import Settings
from tests.audit.index.postgresql.databases import Ready, ready_database
from tests.ports import reserved_ports
from tests.postgres import Postgres
from tests.runtime.processes import READY, Process, initialised

Serve = Callable[..., Process]


@pytest.fixture
def server() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture
def ready(server: Postgres) -> Iterator[Ready]:
    with ready_database(server) as ready:
        yield ready
        if not server.running:
            server.start()


@pytest.fixture
def settings(own_environment: None, ready: Ready, tmp_path: Path) -> Settings:
    return initialised(tmp_path / "data", database=ready.url)


@pytest.fixture
def serve(settings: Settings, start: Callable[..., Process]) -> Serve:
    """Start a proxy on that database; on a health page that the test chose."""

    def begin(workers: int = 1, metrics: str = "127.0.0.1:0") -> Process:
        return start(
            *("serve", "--data-dir", str(settings.data_dir), "--workers", str(workers)),
            *("--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--metrics", metrics),
            KUBEWITNESS_DATABASE=settings.database,
            KUBEWITNESS_LOG_FORMAT="json",
        )

    return begin


def health_address(process: Process) -> str:
    return process.wait_for(r"http://([\d.:]+)/metrics")[1]


def page(address: str, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{address}/{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def page_says(address: str, path: str, words: str) -> tuple[int, str]:
    """The first page that has `words`; a process needs a moment to notice and to listen."""
    end = time.monotonic() + READY
    found = 0, ""
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            found = page(address, path)
            if words in found[1]:
                return found
        time.sleep(0.05)
    raise AssertionError(f"{words!r} is not on the page: {found}")


def everyone(server: Postgres) -> list[int]:
    """The server's processes."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text()
    return [server.pid, *map(int, children.split())]


@contextlib.contextmanager
def frozen(server: Postgres) -> Iterator[None]:
    """It takes connections, and answers nothing."""
    stopped = everyone(server)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_end_right_after_the_database_was_killed_is_in_good_order(
    settings: Settings, server: Postgres, serve: Serve, workers: int
) -> None:
    proxy = serve(workers)
    proxy.wait_for("clusters  ")
    server.kill()
    assert proxy.end(signal.SIGTERM) == 0, proxy.output
    assert "Traceback" not in proxy.output
    assert unsealed(DataDir(settings.data_dir)) == set()


def test_an_end_while_the_database_hangs_is_in_good_order(
    settings: Settings, server: Postgres, serve: Serve
) -> None:
    proxy = serve()
    proxy.wait_for("clusters  ")
    # Leaves a connection of the readers in the pool.
    address = health_address(proxy)
    page(address, "readyz")
    with frozen(server):
        page_says(address, "readyz", "[~]state failed")
        began = time.monotonic()
        assert proxy.end(signal.SIGTERM) == 0, proxy.output
        assert time.monotonic() - began < 15
    assert unsealed(DataDir(settings.data_dir)) == set()


def test_the_page_says_at_once_that_the_state_cannot_be_read(
    server: Postgres, serve: Serve
) -> None:
    proxy = serve()
    proxy.wait_for("clusters  ")
    address = health_address(proxy)
    server.kill()
    began = time.monotonic()
    status, text = page_says(address, "readyz", "[~]state failed: the state has not been read for")
    assert time.monotonic() - began < 4, "before it is stale"
    assert status == 200, "calls go on with what was read last"
    lines = [line for line in text.splitlines() if line.startswith("[~]")]
    place = f"{server.host}:{server.port}"
    assert [place in line for line in lines] == [True] * 3, "audit, state and index name the host"
    server.start()
    page_says(address, "readyz?verbose", "[+]state ok")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_start_waits_for_the_database(server: Postgres, serve: Serve, workers: int) -> None:
    server.kill()
    address = f"127.0.0.1:{reserved_ports()[0]}"
    proxy = serve(workers, address)
    status, text = page_says(address, "readyz", "waiting for the database")
    assert status == 503
    assert "[-]start failed: waiting for the database" in text
    assert page(address, "livez") == (200, "ok\n"), "it must not be killed for this"
    server.start()
    proxy.wait_for("kubewitness is ready")
    assert page_says(address, "readyz?verbose", "[+]data-plane ok")[0] == 200
    assert proxy.output.count("waiting for the database; nothing is served before") == 1
    assert proxy.end(signal.SIGTERM) == 0


def test_a_start_that_waits_ends_when_asked(
    settings: Settings, server: Postgres, serve: Serve
) -> None:
    server.kill()
    proxy = serve()
    proxy.wait_for("waiting for the database")
    assert proxy.end(signal.SIGTERM) == 0, proxy.output
    assert unsealed(DataDir(settings.data_dir)) == set(), "nothing was opened"


def test_a_worker_that_dies_while_the_database_is_away_comes_back_with_it(
    server: Postgres, serve: Serve
) -> None:
    proxy = serve(2)
    proxy.wait_for("clusters  ")
    address = health_address(proxy)
    workers = Path(f"/proc/{proxy.pid}/task/{proxy.pid}/children").read_text().split()
    server.kill()
    os.kill(int(workers[0]), signal.SIGKILL)
    status, text = page_says(address, "readyz", "is waiting for the database")
    assert status == 503
    assert "[-]data-plane failed: worker-" in text
    server.start()
    assert page_says(address, "readyz?verbose", "[+]data-plane ok")[0] == 200
    assert proxy.end(signal.SIGTERM) == 0
