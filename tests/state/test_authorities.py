"""Authorities in the state: handed on whole, and worth nothing without the state's key."""

import pytest

from proxy.clock import ManualClock
from proxy.state.authorities import SharedAuthority
from proxy.state.repository import StateStore
from proxy.state.sealing import SealError, SecretBox

ONE, TWO = "a" * 64, "b" * 64


async def test_what_is_shared_is_found_in_order_and_raises_the_version(url: str) -> None:
    clock = ManualClock()
    store = await StateStore.open(url, SecretBox(bytes(32)), clock=clock)
    before = await store.version()
    for name in (TWO, ONE):
        await store.authorities.share(
            name, b"certificate of " + name.encode(), b"key of " + name.encode()
        )
        clock.advance(1)
    found = await store.authorities.list()
    assert [item.fingerprint for item in found] == [TWO, ONE]
    assert [item.certificate for item in found] == [f"certificate of {name}" for name in (TWO, ONE)]
    assert [store.authorities.key(item) for item in found] == [
        f"key of {name}".encode() for name in (TWO, ONE)
    ]
    assert await store.version() == before + 2, "who watches the state is told"
    assert not any(b"key of" in item.sealed for item in found)
    await store.close()


async def test_a_key_opens_for_its_own_certificate_and_with_the_state_s_key_only(url: str) -> None:
    store = await StateStore.open(url, SecretBox(bytes(32)), clock=ManualClock())
    await store.authorities.share(ONE, b"certificate", b"key")
    (found,) = await store.authorities.list()
    moved = SharedAuthority(TWO, found.certificate, found.sealed, found.made_at)
    with pytest.raises(SealError, match="altered or belongs"):
        store.authorities.key(moved)
    stranger = SecretBox(bytes(31) + b"x").seal("authority " + ONE, b"key")
    with pytest.raises(SealError, match="sealed with key"):
        store.authorities.key(SharedAuthority(ONE, "certificate", stranger, 0.0))
    await store.close()
