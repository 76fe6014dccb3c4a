"""Debian's Prometheus scrapes a proxy that runs, and fires when the journal's volume is filled."""

import http.client
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.deploy.scraping import Prometheus, scraping
from tests.faults.scene import Scene
from tests.faults.volumes import Volume
from tests.runtime.processes import READY, own_environment

__all__ = ["own_environment"]
GATE = "KubewitnessGateClosed"
FIRES = 60.0
"""The rule waits 30 seconds."""
SMALL = {
    "KUBEWITNESS_JOURNAL_SEGMENT_BYTES": str(1 << 20),
    "KUBEWITNESS_JOURNAL_RESERVE_BYTES": "0",
    "KUBEWITNESS_JOURNAL_UNSAFE_FILESYSTEM": "allow",
    # It is a stranger's refusals that fill the volume.
    "KUBEWITNESS_LIMITS_RECORDED_REFUSALS": "1000000",
}


@pytest.fixture
def volume(tmp_path: Path, own_environment: None) -> Iterator[Volume]:
    scene = Scene(tmp_path)
    with Volume.tmpfs(scene, 24) as volume:
        yield volume


@pytest.fixture
def proxy(volume: Volume, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """(data plane, metrics) of `kubewitness serve` on that volume."""
    command = [*volume.enter, sys.executable, "-m", "proxy"]
    here = ["--data-dir", str(volume.directory)]
    environment = {**os.environ, **SMALL, "PYTHONUNBUFFERED": "1"}
    subprocess.run([*command, "init", *here], check=True, env=environment, timeout=60)
    log = tmp_path / "serve.log"
    ports = [f"--{name}=127.0.0.1:0" for name in ("listen", "control", "metrics")]
    with log.open("wb") as file:
        serve = subprocess.Popen(
            [*command, "serve", *here, *ports],
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    try:
        yield told(log, serve, "kubectl and friends"), told(log, serve, "metrics and health")
    finally:
        # A disk that is full is no reason not to end.
        serve.send_signal(signal.SIGTERM)
        serve.wait(READY)


def told(log: Path, serve: "subprocess.Popen[bytes]", name: str) -> str:
    """An address out of what `serve` says when it is ready."""
    end = time.monotonic() + READY
    while time.monotonic() < end and serve.poll() is None:
        for line in log.read_text().splitlines():
            found = line.strip().lower()
            if found.startswith(name) and "127.0.0.1:" in found:
                return "127.0.0.1:" + found.split("127.0.0.1:")[1].split("/")[0].split()[0]
        time.sleep(0.05)
    raise AssertionError(f"no {name} in:\n{log.read_text()}")


@contextmanager
def asking(address: str) -> Iterator[Callable[[], int]]:
    """Makes a call that is answered and recorded, though nobody is known: its status."""
    context = ssl._create_unverified_context()
    connection = http.client.HTTPSConnection(address, context=context, timeout=10)

    def once() -> int:
        connection.request("GET", "/clusters/none/api")
        answer = connection.getresponse()
        answer.read()
        return answer.status

    with closing(connection):
        yield once


@pytest.mark.timeout(180)
def test_a_full_volume_closes_the_gate_and_the_alert_fires(
    proxy: tuple[str, str], volume: Volume, tmp_path: Path
) -> None:
    data_plane, metrics = proxy
    with asking(data_plane) as once, scraping(metrics, tmp_path) as prometheus:
        assert once() == 401
        assert prometheus.query("kubewitness_audit_state == 0")
        assert GATE not in prometheus.firing()
        full(once, volume)
        alert = prometheus.until(lambda: prometheus.firing().get(GATE), FIRES, GATE)
        assert alert["labels"]["severity"] == "critical"
        assert alert["annotations"]["runbook_url"].endswith("#kubewitnessgateclosed")
        heals(prometheus, once, volume)


def full(once: Callable[[], int], volume: Volume) -> None:
    """Take all space, and make calls until what is left is used up: they are refused."""
    end = time.monotonic() + READY
    while once() != 503:
        volume.fill()
        assert time.monotonic() < end, "the disk is full and calls are not refused"


def heals(prometheus: Prometheus, once: Callable[[], int], volume: Volume) -> None:
    """There is space again: calls are answered, and the alert is over."""
    volume.free()
    prometheus.until(lambda: once() == 401, 10, "calls go on")
    prometheus.until(lambda: GATE not in prometheus.firing(), 20, "the alert ends")
