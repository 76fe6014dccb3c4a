"""What replicas share: as files that fit the settings, and as a Secret that is made once."""

import base64
import ssl
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from proxy.clock import SystemClock
from proxy.errors import ConflictError, UnavailableError
from proxy.pki.authorities import Authorities
from proxy.runtime.shared_keys import FILES, create_secret, new_shared, write_shared
from proxy.settings import TLS
from proxy.state.sealing import SecretBox
from proxy.upstream.cluster import Target

CLOCK = SystemClock()


def test_the_files_are_private_and_what_the_settings_want(tmp_path: Path) -> None:
    directory = tmp_path / "keys"
    write_shared(directory, new_shared(CLOCK))
    assert {path.name for path in directory.iterdir()} == set(FILES)
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}
    tls = TLS(ca_cert_file=directory / "ca.crt", ca_key_file=directory / "ca.key")
    authorities = Authorities.open(tmp_path / "pki", clock=CLOCK, tls=tls)
    assert authorities.external
    assert SecretBox.load(directory / "state.key").key_id


def test_what_is_there_is_never_replaced(tmp_path: Path) -> None:
    write_shared(tmp_path, {"ca.crt": b"old"})
    with pytest.raises(ConflictError, match=r"ca\.crt is there"):
        write_shared(tmp_path, new_shared(CLOCK))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"ca.crt": b"old"}


class Secrets:
    """The part of an API server that keeps Secrets."""

    def __init__(self, refuses: int = 0) -> None:
        self.kept: dict[str, Any] = {}
        self.refuses = refuses
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(f"{request.method} {request.path}")
        if request.headers.get("Authorization") != "Bearer t" or self.refuses:
            status = self.refuses or 401
            return web.json_response({"reason": "Forbidden", "message": "long"}, status=status)
        document = await request.json()
        name = document["metadata"]["name"]
        if name in self.kept:
            return web.json_response({"reason": "AlreadyExists"}, status=409)
        self.kept[name] = document
        return web.json_response(document, status=201)


@pytest.fixture
async def serving() -> AsyncIterator[Callable[[Secrets], Awaitable[Target]]]:
    runners = []

    async def start(secrets: Secrets) -> Target:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", secrets.answer)
        runner = web.AppRunner(application, shutdown_timeout=0)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        return Target(name="c", host="127.0.0.1", port=port, authorization=lambda: b"Bearer t")

    yield start
    for runner in runners:
        await runner.cleanup()


async def test_a_secret_is_made_once_and_then_stays(
    serving: Callable[[Secrets], Awaitable[Target]],
) -> None:
    secrets = Secrets()
    target = await serving(secrets)
    first, second = new_shared(CLOCK), new_shared(CLOCK)
    assert await create_secret(target, "ns", "keys", first, clock=CLOCK)
    assert not await create_secret(target, "ns", "keys", second, clock=CLOCK)
    data = secrets.kept["keys"]["data"]
    assert {name: base64.b64decode(value) for name, value in data.items()} == first
    # Nothing is ever read: the right to create is enough.
    assert set(secrets.asked) == {"POST /api/v1/namespaces/ns/secrets"}


async def test_a_refusal_says_which_right_is_missing(
    serving: Callable[[Secrets], Awaitable[Target]],
) -> None:
    target = await serving(Secrets(refuses=403))
    with pytest.raises(UnavailableError, match=r"403 \(Forbidden\).*create secrets") as raised:
        await create_secret(target, "ns", "keys", new_shared(CLOCK), clock=CLOCK)
    assert "PRIVATE KEY" not in str(raised.value)


async def test_a_cluster_that_is_away_is_said() -> None:
    target = Target(name="c", host="127.0.0.1", port=1, tls=ssl.create_default_context())
    with pytest.raises(UnavailableError, match="cannot be created"):
        await create_secret(target, "ns", "keys", new_shared(CLOCK), clock=CLOCK)
