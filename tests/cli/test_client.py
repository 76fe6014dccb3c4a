"""The client: what it sends, what it makes of answers, and that it keeps its key to itself."""

import socket
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from proxy.cli.client import Client, Server
from proxy.errors import InvalidInputError, KubewitnessError, UnavailableError
from tests.control.plane import Plane


def test_a_server_never_shows_its_key(plane: Plane) -> None:
    server = plane.admin()
    assert "PRIVATE" in server.key
    assert "PRIVATE" not in repr(server)
    assert server.certificate not in repr(server)


@pytest.mark.parametrize(
    "damage", [{"key": "x"}, {"certificate": ""}, {"ca": "x"}, {"ca": ""}], ids=str
)
def test_a_credential_that_cannot_be_used_is_said_so(plane: Plane, damage: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="cannot be used") as raised:
        Client(replace(plane.admin(), **damage))
    assert "PRIVATE" not in str(raised.value)


def test_keys_leave_no_file_behind(
    plane: Plane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "tmp"
    empty.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(empty))
    plane.client().get("/whoami")
    monkeypatch.delattr("os.memfd_create", raising=False)
    plane.client().get("/whoami")
    assert list(empty.iterdir()) == []


def test_the_servers_certificate_must_be_of_the_trusted_authority(
    plane: Plane, tmp_path: Path
) -> None:
    with Plane(tmp_path / "other") as other:
        stranger = replace(plane.admin(), port=other.admin().port)
        with pytest.raises(KubewitnessError, match="not the server this context trusts"):
            Client(stranger).get("/whoami")


def test_the_servers_name_must_be_in_its_certificate(plane: Plane) -> None:
    with pytest.raises(KubewitnessError, match="not the server this context trusts"):
        Client(replace(plane.admin(), host="0.0.0.0")).get("/whoami")


def test_query_parameters_arrive_as_they_are(plane: Plane) -> None:
    text = "a b&c=d/é%20+\N{ROCKET}"
    plane.client().get(
        "/audit/calls", {"text": text, "user": ["x", "y"], "all": True, "cursor": ""}
    )
    query = plane.events("audit.search")[0]["detail"]["query"]
    assert parse_qs(query)["text"] == [text]
    assert "user=x&user=y" in query
    assert "all=true" in query
    assert "cursor" not in query


def silent(answer: bytes) -> tuple[int, threading.Thread]:
    """A server that is not ours: it answers `answer` to whatever comes, without TLS."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    return listener.getsockname()[1], thread


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"\x15\x03\x03\x00\x02\x02\x28"]
)
def test_a_server_that_is_not_ours(plane: Plane, answer: bytes) -> None:
    port, thread = silent(answer)
    with pytest.raises(KubewitnessError, match=str(port)):
        Client(replace(plane.admin(), host="127.0.0.1", port=port)).get("/whoami")
    thread.join()


def test_a_server_that_does_not_answer_is_given_up(plane: Plane) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = replace(plane.admin(), port=listener.getsockname()[1])
        with pytest.raises(UnavailableError, match="does not answer"):
            Client(server, timeout=0.2).get("/whoami")


@pytest.mark.parametrize(
    ("host", "local", "address"),
    [("127.0.0.1", True, "127.0.0.1:1"), ("::1", True, "[::1]:1"), ("proxy.example", False, "proxy.example:1")],
)  # fmt: skip
def test_where_it_is(plane: Plane, host: str, local: bool, address: str) -> None:
    server: Server = replace(plane.admin(), host=host, port=1)
    assert (Client(server).local, server.address) == (local, address)
