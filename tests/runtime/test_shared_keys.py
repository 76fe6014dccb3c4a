"""What replicas share: as files that fit the settings, and as a Secret that is made once."""

import base64
import json
import ssl
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509

from proxy.clock import SystemClock
from proxy.errors import ConflictError, UnavailableError
from proxy.pki.authorities import Authorities
from proxy.pki.keys import fingerprint
from proxy.runtime.local_acts import person
from proxy.runtime.noted import FILE
from proxy.runtime.shared_keys import FILES, create_secret, new_shared, write_shared
from proxy.settings import TLS
from proxy.state.sealing import SecretBox
from proxy.upstream.cluster import Target

CLOCK = SystemClock()


async def made() -> dict[str, bytes]:
    return await new_shared(CLOCK, person(), "the test")


async def test_the_files_are_private_and_what_the_settings_want(tmp_path: Path) -> None:
    directory = tmp_path / "keys"
    write_shared(directory, await made())
    assert {path.name for path in directory.iterdir()} == set(FILES)
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}
    tls = TLS(ca_cert_file=directory / "ca.crt", ca_key_file=directory / "ca.key")
    authorities = Authorities.open(tmp_path / "pki", clock=CLOCK, tls=tls)
    assert authorities.external
    assert SecretBox.load(directory / "state.key").key_id


async def test_what_is_there_is_never_replaced(tmp_path: Path) -> None:
    write_shared(tmp_path, {"ca.crt": b"old"})
    content = await made()
    with pytest.raises(ConflictError, match=r"ca\.crt is there"):
        write_shared(tmp_path, content)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"ca.crt": b"old"}


async def test_what_cannot_be_written_whole_is_not_left_in_part(tmp_path: Path) -> None:
    content = await made()
    with pytest.raises(UnavailableError, match="No such file"):
        write_shared(tmp_path, content | {"missing/file": b""})
    assert list(tmp_path.iterdir()) == []


async def test_beside_the_keys_stands_who_made_them_and_nothing_secret() -> None:
    content = await made()
    intent, outcome = (json.loads(note["event"]) for note in json.loads(content[FILE]))
    assert (intent["action"], intent["actor"]) == ("authority.generate", person().name)
    assert (intent["outcome"], outcome.get("outcome", "ok")) == ("requested", "ok")
    certificate = x509.load_pem_x509_certificate(content["ca.crt"])
    assert outcome["target"] == fingerprint(certificate)
    assert (outcome["detail"]["place"], outcome["detail"]["via"]) == ("the test", "cli (local)")
    assert b"PRIVATE" not in content[FILE]


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
    first, second = await made(), await made()
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
    content = await made()
    with pytest.raises(UnavailableError, match=r"403 \(Forbidden\).*create secrets") as raised:
        await create_secret(target, "ns", "keys", content, clock=CLOCK)
    assert "PRIVATE KEY" not in str(raised.value)


async def test_a_cluster_that_is_away_is_said() -> None:
    target = Target(name="c", host="127.0.0.1", port=1, tls=ssl.create_default_context())
    content = await made()
    with pytest.raises(UnavailableError, match="cannot be created"):
        await create_secret(target, "ns", "keys", content, clock=CLOCK)
