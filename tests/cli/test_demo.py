"""`kubewitness demo`, as a person tries it: with the real kubectl, and a second time."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.cli.demo_state import DemoState
from tests.runtime.processes import Process, own_environment, start

__all__ = ["own_environment", "start"]

KUBECTL = Path(sys.executable).with_name("kubectl")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_environment: None) -> Path:
    """An empty directory to try it in, and a home without a kubeconfig."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    # Its own modules come from here, wherever it runs.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    return tmp_path


def shell(line: str, kubeconfig: str) -> str:
    """What a printed line says when it is typed in another terminal."""
    words = shlex.split(line.split("  #", maxsplit=1)[0])
    if words[0].endswith("kubectl"):
        words[0] = str(KUBECTL)
    if words[0].endswith("kubewitness"):
        words[:1] = [sys.executable, "-m", "proxy"]
    done = subprocess.run(
        words,
        env={**os.environ, "KUBECONFIG": kubeconfig},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_the_commands_it_prints_work_and_show_up(here: Path, start: Callable[..., Process]) -> None:
    demo = start("demo")
    kubeconfig = demo.wait_for(r"(?m)^export KUBECONFIG=(\S+)$")[1]
    demo.wait_for("Ctrl-C ends it")
    tries = re.findall(r"(?m)^\S*kubectl .*$", demo.output)
    assert len(tries) == 3
    for line in tries:
        shell(line, kubeconfig)
    looks = re.findall(r"(?m)^\S*kubewitness audit search .*$", demo.output)
    found = shell(looks[0], kubeconfig)
    for words in ("pods", "deployments/web scale", "exec"):
        assert words in found
    assert demo.end(signal.SIGINT) == 0, demo.output

    again = start("demo")
    assert again.wait_for(r"(?m)^export KUBECONFIG=(\S+)$")[1] == kubeconfig
    again.wait_for("Ctrl-C ends it")
    assert "deployments/web scale" in shell(looks[0], kubeconfig), "found by the second start"
    replicas = ["kubectl", "-n", "shop", "get", "deploy", "web", "-o=jsonpath={.spec.replicas}"]
    assert shell(shlex.join(replicas), kubeconfig) == "3", "the sandbox remembers, too"
    serial = re.search(r"([0-9a-f]{20,}) +alice", shell(kubeconfigs(looks[0]), kubeconfig))
    assert serial
    assert shell(kubeconfigs(looks[0]), kubeconfig).count("alice") == 1, "still the first one"
    assert again.end(signal.SIGINT) == 0, again.output
    assert sorted(path.name for path in here.iterdir() if path.name != ".kube") == [".demo"]


def kubeconfigs(look: str) -> str:
    """The command that lists kubeconfigs, where `look` searches the log."""
    return look.replace("audit search", "kubeconfig list").replace("--user alice", "")


def test_a_context_that_is_not_there_is_an_error_with_advice(
    here: Path, start: Callable[..., Process]
) -> None:
    (here / "config").write_text("apiVersion: v1\nkind: Config\ncontexts: []\n")
    demo = start("demo", "--context", "mine", KUBECONFIG=str(here / "config"))
    assert demo.end() == 2
    assert "no context 'mine'" in demo.output
    assert "Traceback" not in demo.output


def test_a_context_with_an_exec_plugin_is_the_operators_own(
    here: Path, start: Callable[..., Process]
) -> None:
    cluster = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.sandbox_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert cluster.stdout is not None
        document = json.loads(cluster.stdout.readline())
        version = "client.authentication.k8s.io/v1"
        token = document["users"][0]["user"]["token"]
        answer = {"apiVersion": version, "kind": "ExecCredential", "status": {"token": token}}
        program = here / "get-token"
        program.write_text(f"#!/bin/sh\ntest \"$1\" = 'a b' && echo '{json.dumps(answer)}'\n")
        program.chmod(0o700)
        plugin = {"apiVersion": version, "command": "./get-token", "args": ["a b"]}
        document["users"][0]["user"] = {"exec": plugin}
        (here / "config").write_text(json.dumps(document))
        demo = start("demo", "--context", "sandbox", KUBECONFIG=str(here / "config"))
        kubeconfig = demo.wait_for(r"(?m)^export KUBECONFIG=(\S+)$")[1]
        assert "shop" in shell("kubectl get namespaces", kubeconfig)
        assert demo.end(signal.SIGINT) == 0, demo.output
    finally:
        cluster.communicate("")


def test_it_does_not_go_in_front_of_itself(here: Path, start: Callable[..., Process]) -> None:
    (here / ".demo").mkdir()
    (here / ".demo" / "alice.kubeconfig").write_text("")
    demo = start("demo", "--context", "x", KUBECONFIG=str(here / ".demo" / "alice.kubeconfig"))
    assert demo.end() == 2
    assert "unset KUBECONFIG" in demo.output


def test_ports_are_remembered_and_given_way(tmp_path: Path) -> None:
    import socket

    tmp_path = tmp_path / "demo"
    tmp_path.mkdir()
    first = DemoState.load(tmp_path)
    first.save()
    assert DemoState.load(tmp_path) == first
    with socket.create_server(("127.0.0.1", first.ports["control"])):
        moved = DemoState.load(tmp_path)
    assert moved.ports["control"] != first.ports["control"]
    assert moved.token == first.token
    assert len(set(moved.ports.values())) == 4
    assert (tmp_path / "demo.json").stat().st_mode & 0o777 == 0o600


def test_it_starts_wherever_it_is(tmp_path: Path) -> None:
    assert DemoState.load(tmp_path).settings().journal.unsafe_filesystem == "allow"


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"ports": {"listen": "x"}}'])
def test_a_damaged_memory_is_a_fresh_one(tmp_path: Path, content: str) -> None:
    (tmp_path / "demo.json").write_text(content)
    assert set(DemoState.load(tmp_path).ports) == {"listen", "control", "metrics", "sandbox"}
