"""What `helm test` runs, against a real proxy: passes when it serves, says what is wrong when it does not."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.data_dir import DataDir
from proxy.runtime.serve import Started
from proxy.settings import Settings
from tests.chart.helm import CHART
from tests.runtime.processes import initialised, own_environment, running

__all__ = ["own_environment"]

SCRIPT = CHART / "files" / "test.py"


@pytest.fixture
def settings(tmp_path: Path, own_environment: None) -> Settings:
    return initialised(tmp_path / "data", tls={"names": ["proxy.example"]})


async def run(started: Started, **changes: str) -> "subprocess.CompletedProcess[str]":
    """The script as the pod runs it, beside the proxy."""
    host, _, port = started.data_plane.rpartition(":")
    environment = {
        "TEST_SERVICE": host,
        "TEST_NAME": "proxy.example",
        "TEST_PORT": port,
        "TEST_PODS": started.metrics,
        "TEST_CLUSTER": "",
        "TEST_AUTHORITY": str(DataDir(started.data_dir).pki / "ca.crt"),
        "TEST_SECONDS": "0",
        **changes,
    }
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-I", str(SCRIPT)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_it_passes_against_a_proxy_that_serves(settings: Settings) -> None:
    async with running(settings) as (started, _):
        done = await run(started)
    assert (done.returncode, done.stdout.count("ok ")) == (0, 3), done.stderr


async def test_it_says_what_is_wrong(settings: Settings, tmp_path: Path) -> None:
    async with running(settings) as (started, _):
        for changes, said in (
            ({"TEST_NAME": "other.example"}, "CERTIFICATE_VERIFY_FAILED"),
            ({"TEST_PORT": "1"}, "FAILED the_service_answers"),
            ({"TEST_PODS": "127.0.0.1:1"}, "FAILED every_replica_is_ready"),
            ({"TEST_CLUSTER": "local"}, 'kubewitness_cluster_up{cluster="local"} 1.0'),
        ):
            done = await run(started, **changes)
            assert (done.returncode, said in done.stderr) == (1, True), done.stderr
