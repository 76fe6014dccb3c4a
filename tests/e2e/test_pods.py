"""What people do with pods, by every way that leads to the cluster."""

import hashlib
import os
import pty
import re
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from tests.e2e.client import Client
from tests.e2e.conftest import Cluster

MEGABYTES = 20
POD_SECONDS = 20
# Metrics are sampled every 10 s, and a rate takes two samples.
METRICS_SECONDS = 60

TRANSPORTS = {
    "websocket": {},
    "spdy": {
        "KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false",
        "KUBECTL_PORT_FORWARD_WEBSOCKETS": "false",
    },
}


@pytest.fixture(params=TRANSPORTS)
def streaming(request: pytest.FixtureRequest, web: Client) -> Client:
    """Kubectl near `web`, made to use one of the two transports of streams."""
    return web.using(**TRANSPORTS[request.param])


def test_a_deployments_pod_runs_in_seconds(kubectl: Client, cluster: Cluster) -> None:
    kubectl.ok("create", "deployment", "one", f"--image={cluster.image}", "--", "sleep", "600")
    started = time.monotonic()
    kubectl.ok("rollout", "status", "deployment/one", f"--timeout={POD_SECONDS}s")
    assert time.monotonic() - started < POD_SECONDS
    phases = kubectl.ok("get", "pods", "-o", "jsonpath={.items[*].status.phase}")
    assert phases == "Running"


def test_exec_gives_the_exit_code(streaming: Client) -> None:
    result = streaming.run("exec", "deploy/web", "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (result.code, result.text) == (3, "out\n")
    assert result.errors.splitlines() == ["err", "command terminated with exit code 3"]


def test_exec_reads_to_the_end_of_input(streaming: Client) -> None:
    sent = os.urandom(300_000)
    result = streaming.run("exec", "-i", "deploy/web", "--", "cat", stdin=sent)
    assert result.code == 0
    assert result.stdout == sent


def test_exec_with_a_terminal(streaming: Client) -> None:
    ours, theirs = pty.openpty()
    os.set_blocking(ours, True)
    command = streaming.command(
        "exec", "-it", "deploy/web", "--", "sh", "-c", "tty; read x; echo got=$x"
    )
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        os.write(ours, b"typed\n")
        said = b""
        while b"got=" not in said.replace(b"got=$x", b""):
            said += os.read(ours, 1024)
        assert process.wait(20) == 0
    os.close(ours)
    assert b"/dev/pts/" in said


def test_cp_brings_the_same_bytes_both_ways(streaming: Client, tmp_path: Path) -> None:
    there, back = tmp_path / "there", tmp_path / "back"
    there.write_bytes(os.urandom(MEGABYTES << 20))
    pod = streaming.ok("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].metadata.name}")
    streaming.ok("cp", str(there), f"{pod}:/tmp/copied")
    streaming.ok("cp", f"{pod}:/tmp/copied", str(back))
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in (there, back)]
    assert digests[0] == digests[1]


def test_logs_follow_a_pod_to_its_end(kubectl: Client, cluster: Cluster) -> None:
    script = "for i in 1 2 3 4 5; do echo line $i; sleep 0.2; done"
    kubectl.ok(
        "run", "talk", f"--image={cluster.image}", "--restart=Never", "--", "sh", "-c", script
    )
    kubectl.ok("wait", "--for=jsonpath={.status.containerStatuses[0].started}=true", "pod/talk")
    assert kubectl.ok("logs", "-f", "talk").splitlines() == [f"line {i}" for i in range(1, 6)]


def test_logs_arrive_while_they_are_written(web: Client) -> None:
    with web.start("logs", "-f", "--tail=1", "deploy/web") as following:
        assert following.stdout is not None
        lines = [following.stdout.readline().decode() for _ in range(5)]
        following.terminate()
    numbers = [int(line.removeprefix("tick ")) for line in lines]
    assert numbers == list(range(numbers[0], numbers[0] + 5))


def test_port_forward_carries_http(streaming: Client) -> None:
    with streaming.start("port-forward", "service/web", ":80") as forwarding:
        assert forwarding.stdout is not None
        said = forwarding.stdout.readline().decode()
        match = re.search(r"127\.0\.0\.1:(\d+)", said)
        assert match, said
        for _ in range(3):
            with urllib.request.urlopen(f"http://127.0.0.1:{match[1]}/", timeout=10) as answer:
                assert answer.read() == b"hello from a pod\n"
        forwarding.terminate()


def test_attach_shows_what_a_pod_says(kubectl: Client, cluster: Cluster) -> None:
    result = kubectl.run(
        "run", "ask", f"--image={cluster.image}", "--restart=Never", "--rm", "-i", "--quiet",
        "--", "sh", "-c", "read x; echo got=$x; exit 4",
        stdin=b"something\n",
    )  # fmt: skip
    assert result.text.startswith("got=something\n")
    assert result.code == 4


def test_debug_adds_a_container(kubectl: Client, cluster: Cluster) -> None:
    kubectl.ok("run", "one", f"--image={cluster.image}", "--restart=Never", "--", "sleep", "600")
    kubectl.ok("wait", "--for=condition=Ready", "pod/one", f"--timeout={POD_SECONDS}s")
    kubectl.ok(
        "debug", "one", f"--image={cluster.image}", "--target=one", "--profile=general", "-c", "look",
        "--", "sh", "-c", "echo looked; sleep 600",
    )  # fmt: skip
    running = "--for=jsonpath={.status.ephemeralContainerStatuses[0].state.running}"
    kubectl.ok("wait", running, "pod/one", f"--timeout={POD_SECONDS}s")
    assert kubectl.ok("logs", "one", "-c", "look") == "looked\n"


def test_names_resolve_in_pods(web: Client) -> None:
    page = web.ok("exec", "deploy/web", "--", "wget", "-qO-", f"http://web.{web.namespace}.svc")
    assert page == "hello from a pod\n"


def test_top_is_an_aggregated_api(web: Client) -> None:
    deadline = time.monotonic() + METRICS_SECONDS
    while (result := web.run("top", "pods", "--no-headers")).code != 0:
        assert time.monotonic() < deadline, result.errors
        time.sleep(0.5)
    name, cpu, memory = result.text.split()
    assert name.startswith("web-")
    assert cpu.endswith("m")
    assert memory.endswith("Mi")
