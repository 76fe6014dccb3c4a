"""Which server a command speaks to, and what it says when nothing answers."""

import base64
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from proxy.cli.connection import choose, path_of, split
from proxy.cli.context import load
from proxy.errors import InvalidInputError
from tests.cli.conftest import Command
from tests.control.plane import Plane


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 0, ""),
        (["--via", "there"], 0, ""),
        (["--via", "broken"], 2, "ca-data"),
        (["--via", "nowhere"], 4, "here, there"),
        (["--data-dir", "/nowhere"], 4, "not a kubewitness data directory"),
    ],
)
def test_choosing(
    contexts: Path, command: Command, arguments: list[str], code: int, said: str
) -> None:
    del contexts
    done = command("cluster", "list", *arguments, direct=True)
    assert done.code == code, done.err
    assert said in done.err


def test_an_option_wins_over_the_environment(
    contexts: Path, command: Command, plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    del contexts
    monkeypatch.setenv("KUBEWITNESS_CONTEXT", "broken")
    assert command("cluster", "list").code == 0
    monkeypatch.delenv("KUBEWITNESS_CONTEXT")
    monkeypatch.setenv("KUBEWITNESS_DATA_DIR", "/nowhere")
    assert command("cluster", "list", "--via", "there", direct=True).code == 0
    both = command(
        "cluster", "list", "--via", "there", "--data-dir", str(plane.data.path), direct=True
    )
    assert both.code == 2
    assert "give one of them" in both.err


def test_nothing_chosen(command: Command) -> None:
    done = command("cluster", "list", direct=True)
    assert done.code == 4
    assert "--data-dir" in done.err


def test_a_server_that_does_not_run_says_how_to_start_it(plane: Plane, command: Command) -> None:
    plane.stop()
    done = command("cluster", "list")
    assert done.code == 6
    assert f"kubewitness serve --data-dir {plane.data.path}" in done.err


def test_as_a_process_of_its_own(plane: Plane, command: Command) -> None:
    del command
    plane.client().post("/clusters", {"name": "prod", "inCluster": True})
    kubewitness = [sys.executable, "-m", "proxy"]
    where = ["--data-dir", str(plane.data.path)]
    done = subprocess.run(
        [*kubewitness, "cluster", "list", "-o", "name", *where], check=False, capture_output=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"prod\n", b"")
    done = subprocess.run(
        [*kubewitness, "cluster", "check", "none", *where], check=False, capture_output=True
    )
    assert done.returncode == 4
    assert done.stdout == b""
    assert b"There is no cluster 'none'" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("https://proxy.example:9443", "proxy.example", 9443),
        ("proxy.example", "proxy.example", 9443),
        ("https://[::1]:1234/", "::1", 1234),
        ("[::1]", "::1", 9443),
    ],
)
def test_addresses(text: str, host: str, port: int) -> None:
    assert split(text) == (host, port)


@pytest.mark.parametrize("text", ["http://x:1", "x:y", "x:0", "x:99999", "", "https://x/y"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(InvalidInputError):
        split(text)


def test_names_stay_one_segment_of_a_path() -> None:
    assert path_of("clusters", "a/../b?c#d") == "/clusters/a%2F..%2Fb%3Fc%23d"


TOKEN = "kwt_01a20ab2-7389-782b-bb9b-a725753387c5_" + "x" * 43


def test_a_token_says_who_we_are_and_the_context_which_server(
    contexts: Path, plane: Plane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    monkeypatch.setenv("KUBEWITNESS_TOKEN_FILE", str(file))
    for server in (choose(None, "there"), choose(None, "here"), choose(plane.data.path, None)):
        assert (server.token, server.key, server.certificate) == (TOKEN, "", "")
        assert (server.address, server.ca) == (plane.admin().address, plane.admin().ca)
        assert TOKEN not in repr(server)
    monkeypatch.delenv("KUBEWITNESS_TOKEN_FILE")
    assert choose(None, "there").token == ""
    entry = {"server": "x:1", "ca-data": base64.b64encode(b"CA").decode(), "token": TOKEN}
    contexts.write_text(yaml.safe_dump({"contexts": [{"name": "ci", **entry}]}))
    assert choose(None, "ci").token == TOKEN
    assert TOKEN not in repr(load(contexts))


@pytest.mark.parametrize("content", [b"", b"kwt_x", b"secret-of-mine\nX-Other: 1", b"\xff", None])
def test_a_file_without_a_token_is_named_and_not_shown(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv("KUBEWITNESS_TOKEN_FILE", str(file))
    done = command("cluster", "list")
    assert (done.code, str(file) in done.err) == (2, True)
    assert "secret-of-mine" not in done.err
