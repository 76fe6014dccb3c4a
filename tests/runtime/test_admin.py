"""The administrator's credential: made once, renewed in time, always with the right address."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from proxy.clock import SystemClock
from proxy.data_dir import DataDir
from proxy.errors import UnavailableError
from proxy.pki.authorities import Authorities
from proxy.pki.keys import serial_text
from proxy.runtime.admin import LIFE, USER, ensure_admin, keep_admin
from proxy.state.database import sqlite_url
from proxy.state.repository import StateStore
from proxy.state.sealing import SecretBox
from proxy.state.snapshot import Credential, Usage
from tests.audit.written import Written


class LaterClock(SystemClock):
    """The machine's clock, some seconds ahead."""

    def __init__(self, ahead: float = 0.0) -> None:
        self.ahead = ahead

    def now(self) -> float:
        return SystemClock.now() + self.ahead


Ensure = Callable[..., Awaitable[Credential | None]]
Place = tuple[DataDir, StateStore, Authorities, LaterClock, Ensure, Written]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    data = DataDir(tmp_path / "data")
    data.create()
    clock = LaterClock()
    store = await StateStore.open(
        sqlite_url(data.state_database), SecretBox.open(data.state_key), clock=clock
    )
    authorities = Authorities.open(data.pki, clock=clock)
    written = Written()

    async def ensure(
        server: str = "https://127.0.0.1:1", using: Authorities = authorities
    ) -> Credential | None:
        return await ensure_admin(data, store, using, written.acts(), server=server, clock=clock)

    yield data, store, authorities, clock, ensure, written
    await store.close()


async def test_the_first_time_one_is_issued_and_recorded(place: Place) -> None:
    data, store, _, _, ensure, _ = place
    credential = await ensure()
    assert credential is not None
    assert (credential.user, credential.usage) == (USER, Usage.ADMIN)
    assert await store.credentials() == [credential]
    assert data.admin_context.stat().st_mode & 0o777 == 0o600
    context = yaml.safe_load(data.admin_context.read_text())
    assert set(context) == {
        *("name", "server", "ca-data", "client-certificate-data", "client-key-data", "data-dir")
    }
    assert base64.b64decode(context["client-key-data"]).startswith(b"-----BEGIN PRIVATE KEY")


async def test_the_second_time_nothing_changes(place: Place) -> None:
    data, store, _, _, ensure, _ = place
    await ensure()
    before = data.admin_context.stat()
    assert await ensure() is None
    assert data.admin_context.stat() == before
    assert len(await store.credentials()) == 1


async def test_a_new_address_is_written_without_a_new_credential(place: Place) -> None:
    data, *_, ensure, _ = place
    await ensure()
    key = yaml.safe_load(data.admin_context.read_text())["client-key-data"]
    assert await ensure("https://127.0.0.1:2") is None
    context = yaml.safe_load(data.admin_context.read_text())
    assert (context["server"], context["client-key-data"]) == ("https://127.0.0.1:2", key)


async def in_file(place: Place) -> str:
    """The serial of the credential that commands find, which must be good."""
    data, store, *_ = place
    context = yaml.safe_load(data.admin_context.read_text())
    certificate = x509.load_pem_x509_certificate(
        base64.b64decode(context["client-certificate-data"])
    )
    key = serialization.load_pem_private_key(
        base64.b64decode(context["client-key-data"]), password=None
    )
    assert key.public_key() == certificate.public_key()
    [known] = await store.credentials(serial=serial_text(certificate))
    return known.serial


async def test_it_is_renewed_when_a_third_is_left(place: Place) -> None:
    _, _, _, clock, ensure, _ = place
    first = await ensure()
    assert first is not None
    clock.ahead = LIFE * 0.6
    assert await ensure() is None
    assert await in_file(place) == first.serial
    clock.ahead = LIFE * 0.7
    second = await ensure()
    assert second is not None
    assert second.serial != first.serial
    assert await in_file(place) == second.serial
    assert await ensure() is None


async def test_it_is_kept_while_the_server_runs_whatever_goes_wrong_once(place: Place) -> None:
    _, store, _, clock, ensure, _ = place
    first = await ensure()
    assert first is not None
    clock.ahead = LIFE * 0.7
    looks = 0

    async def look() -> None:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise UnavailableError("The database is away.")
        await ensure()

    keeping = asyncio.create_task(keep_admin(look, every=0.01))
    async with asyncio.timeout(10):
        while looks < 4:
            await asyncio.sleep(0.01)
    keeping.cancel()
    await asyncio.wait({keeping})
    assert len(await store.credentials(ended=True)) == 2  # renewed once
    assert await in_file(place) != first.serial


async def test_a_revoked_one_is_replaced(place: Place) -> None:
    _, store, _, _, ensure, _ = place
    first = await ensure()
    assert first is not None
    await store.revoke(serial=first.serial)
    second = await ensure()
    assert second is not None
    assert await in_file(place) == second.serial


@pytest.mark.parametrize(
    "content", ["", "not: [yaml", "- a list", "client-key-data: x", "server: y"]
)
async def test_a_damaged_file_is_written_anew(place: Place, content: str) -> None:
    data, *_, ensure, _ = place
    await ensure()
    data.admin_context.write_text(content)
    assert await ensure() is not None
    assert "client-key-data" in yaml.safe_load(data.admin_context.read_text())


async def test_after_a_rotation_the_file_trusts_both_authorities(place: Place) -> None:
    data, _, authorities, _, ensure, _ = place
    await ensure()
    rotated = authorities.rotate()
    assert await ensure(using=rotated) is None, "the old authority is still trusted"
    bundle = base64.b64decode(yaml.safe_load(data.admin_context.read_text())["ca-data"])
    assert bundle.count(b"BEGIN CERTIFICATE") == 2


async def test_issuing_and_revoking_are_on_record_before_the_file_appears(place: Place) -> None:
    data, store, _, clock, ensure, written = place
    first = await ensure()
    assert first is not None
    assert written.told == [
        ("credential.issue", USER, "requested"),
        ("credential.issue", USER, "ok"),
    ]
    assert written.events[0].detail["serial"] == first.serial
    assert written.events[0].detail["reason"] == "there is none that can be read"
    clock.ahead, written.events, before = LIFE * 0.7, [], data.admin_context.read_bytes()
    second = await ensure()
    assert second is not None
    assert written.told[2:] == [
        ("credential.revoke", first.serial, "requested"),
        ("credential.revoke", first.serial, "ok"),
    ]
    assert written.events[0].detail["reason"] == "the former one is about to end"
    assert [item.serial for item in await store.credentials()] == [second.serial]
    written.full, clock.ahead = True, LIFE * 1.5
    data.admin_context.write_bytes(before)
    with pytest.raises(UnavailableError):
        await ensure()
    assert data.admin_context.read_bytes() == before
    assert len(await store.credentials(ended=True)) == 2, "nothing is made that is not on record"


async def test_however_often_the_file_is_lost_one_is_good(place: Place) -> None:
    data, store, _, _, ensure, written = place
    for _ in range(3):
        await ensure()
        data.admin_context.unlink()
    last = await ensure()
    assert await store.credentials() == [last]
    assert len([told for told in written.told if told == (*told[:2], "ok")]) == 4 + 3


async def test_one_that_ends_with_its_authority_is_not_replaced_by_its_like(place: Place) -> None:
    _, store, authorities, clock, ensure, written = place
    end = authorities.current.certificate.not_valid_after_utc.timestamp()
    clock.ahead = end - SystemClock.now() - 86_400
    first = await ensure()
    assert first is not None
    for _ in range(2):
        clock.ahead += 3600
        assert await ensure() is None
    clock.ahead += 72_000
    assert await ensure() is None, "a new one would end with the authority, too"
    assert len(written.events) == 2
    assert await store.credentials() == [first]


async def test_a_missing_directory_is_made(place: Place) -> None:
    data, *_, ensure, _ = place
    data.admin.rmdir()
    assert await ensure() is not None
    assert data.admin.stat().st_mode & 0o777 == 0o700


async def test_what_is_no_directory_is_said_before_anything_is_issued(place: Place) -> None:
    data, store, _, _, ensure, written = place
    data.admin.rmdir()
    data.admin.touch()
    with pytest.raises(UnavailableError, match=r"/admin: .*Commands on this machine"):
        await ensure()
    assert (await store.credentials(), written.events) == ([], [])
