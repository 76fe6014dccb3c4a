"""`kubewitness serve` as a process: what it prints, its signals, its exit codes."""

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.settings import Settings
from tests.runtime.processes import Process, initialised, own_environment, start

__all__ = ["own_environment", "start"]


@pytest.fixture
def settings(tmp_path: Path, own_environment: None) -> Settings:
    return initialised(tmp_path / "data")


@pytest.fixture
def arguments(settings: Settings) -> list[str]:
    addresses = [f"--{name}=127.0.0.1:0" for name in ("listen", "control", "metrics")]
    return ["serve", "--data-dir", str(settings.data_dir), *addresses]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_is_and_ends_when_asked(
    arguments: list[str], start: Callable[..., Process], number: signal.Signals
) -> None:
    process = start(*arguments)
    process.wait_for("kubewitness is ready")
    process.wait_for("clusters +none yet: kubewitness cluster add")
    for name in ("kubectl and friends", "control plane", "metrics and health"):
        process.wait_for(rf"{name} +https?://127\.0\.0\.1:\d+")
    assert process.end(number) == 0, process.output
    assert "Traceback" not in process.output


def test_the_second_signal_cuts_what_the_first_lets_end(
    arguments: list[str], start: Callable[..., Process]
) -> None:
    process = start(*arguments, "--drain-timeout", "60")
    port = int(process.wait_for(r"friends +https://127\.0\.0\.1:(\d+)")[1])
    process.wait_for('"event": "ready"|ready +')
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.send(b"\x16\x03\x01")
        process.send(signal.SIGTERM)
        process.wait_for("stopping")
        assert process.end(signal.SIGTERM) == 0, process.output


def test_systemd_is_told(
    arguments: list[str], start: Callable[..., Process], tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(30)
        process = start(*arguments, NOTIFY_SOCKET=str(tmp_path / "notify"))
        assert receiver.recv(100) == b"READY=1"
        process.send(signal.SIGTERM)
        assert receiver.recv(100) == b"STOPPING=1"
        assert process.end() == 0


@pytest.mark.parametrize(
    ("extra", "code", "words"),
    [
        (
            ["--tls-cert-file", "/nowhere.crt"],
            2,
            "tls.cert_file and tls.key_file are given together",
        ),
        (["--log-level", "loud"], 2, "log.level"),
        (["--data-dir", "/nowhere"], 4, "kubewitness init --data-dir /nowhere"),
        (["--listen", "192.0.2.1:1"], 6, "Cannot listen on 192.0.2.1:1"),
    ],
)
def test_what_keeps_it_from_starting_is_one_line(
    arguments: list[str], start: Callable[..., Process], extra: list[str], code: int, words: str
) -> None:
    process = start(*arguments, *extra)
    assert process.end() == code, process.output
    assert words in process.output
    assert "Traceback" not in process.output


def test_settings_come_from_the_environment_too(
    arguments: list[str], start: Callable[..., Process], settings: Settings
) -> None:
    settings_variable = {
        "KUBEWITNESS_DATA_DIR": str(settings.data_dir),
        "KUBEWITNESS_LOG_FORMAT": "json",
    }
    process = start("serve", *arguments[3:], **settings_variable)
    process.wait_for('"event": "ready"')
    assert process.end(signal.SIGTERM) == 0
    assert os.environ.get("KUBEWITNESS_DATA_DIR") is None
