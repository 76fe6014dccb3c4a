"""What is said when a part of the cluster does not do what it should."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.components import ClusterError, Components

SHELL = Path(shutil.which("sh") or "/bin/sh")


@pytest.fixture
def components(tmp_path: Path) -> Iterator[Components]:
    started = Components(tmp_path, dict(os.environ))
    yield started
    for process in started._running.values():
        process.kill()
        process.wait()


def wait_end(components: Components, name: str) -> None:
    components._running[name].wait(10)


def test_the_log_of_one_that_ended_is_quoted(components: Components) -> None:
    components.start("etcd", SHELL, "-c", "echo starting; echo the disk is full >&2; exit 3")
    wait_end(components, "etcd")
    with pytest.raises(
        ClusterError, match=r"etcd ended with exit code 3:\nstarting\nthe disk is full"
    ):
        components.check()


def test_waiting_ends_when_a_component_does(components: Components) -> None:
    components.start("etcd", SHELL, "-c", "exit 1")
    wait_end(components, "etcd")
    with pytest.raises(ClusterError, match="etcd ended"):
        components.wait_command("never", ["false"], suspect="etcd", timeout=60)


def test_waiting_in_vain_quotes_the_suspect(components: Components) -> None:
    components.start("kubelet", SHELL, "-c", "echo no runtime; exec sleep 60")
    components.wait_command("it speaks", ["grep", "-q", "runtime", f"{components._logs}/kubelet.log"],
                            suspect="kubelet", timeout=10)  # fmt: skip
    with pytest.raises(ClusterError, match=r"(?s)the node is ready: not after 0 s.*no runtime"):
        components.wait_command("the node is ready", ["false"], suspect="kubelet", timeout=0)


def test_ctrl_c_is_not_for_components(components: Components) -> None:
    components.start("kubelet", SHELL, "-c", "exec sleep 60")
    assert os.getsid(components._running["kubelet"].pid) != os.getsid(0)
    with pytest.raises(subprocess.TimeoutExpired):
        components._running["kubelet"].wait(0)
