import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.clock import SystemClock
from proxy.errors import InvalidInputError, UnavailableError
from proxy.pki.authority import SERVER_LIFE
from proxy.reaching import Upstream
from proxy.state.database import sqlite_url
from proxy.state.repository import StateStore
from proxy.state.sealing import SecretBox
from proxy.upstream.access import Access
from proxy.upstream.bootstrap import role
from proxy.upstream.handle import load_target
from proxy.upstream.permissions import (
    ClusterCheck,
    ClusterExaminer,
    ClusterUnreachableError,
    check,
)
from proxy.upstream.permitted import permitting
from tests.upstream.fake_api import FakeApi, Rule, serving

CLOCK = SystemClock()
MINIMAL: list[Rule] = role(["dev"])["rules"]


@pytest.fixture
async def api() -> AsyncIterator[FakeApi]:
    async with serving(FakeApi(rules=MINIMAL)) as api:
        yield api


async def look(access: Access) -> ClusterCheck:
    permit = permitting(Upstream(), access)
    handle = await load_target("prod", access.document("prod"), upstream=permit, clock=CLOCK)
    try:
        return await check(handle.target, clock=CLOCK)
    finally:
        await handle.close()


async def test_a_minimal_account_is_just_right(api: FakeApi) -> None:
    seen = await look(api.access())
    assert (seen.note, seen.excess, seen.missing) == ("", (), ())
    assert (seen.version, seen.server) == ("v1.37.2", api.server)
    assert 0 < seen.latency < 5


@pytest.mark.parametrize(
    ("rules", "excess"),
    [
        ([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}], ("do everything",)),
        (
            [*MINIMAL, {"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}],
            ("get secrets",),
        ),
        (
            [*MINIMAL, {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["groups"]}],
            ("impersonate any group, system:masters included",),
        ),
    ],
)
async def test_more_is_told(api: FakeApi, rules: list[Rule], excess: tuple[str, ...]) -> None:
    api.rules = rules
    seen = await look(api.access())
    assert seen.excess == excess
    assert "more than impersonate" in seen.note


async def test_what_an_authorizer_cannot_list_is_asked_for(api: FakeApi) -> None:
    api.rules = [*MINIMAL, {"verbs": ["create"], "apiGroups": [""], "resources": ["pods"]}]
    api.lists_rules = False
    assert (await look(api.access())).excess == ("create pods",)


async def test_less_is_told_too(api: FakeApi) -> None:
    api.rules = []
    seen = await look(api.access())
    assert seen.missing == (
        "impersonate users",
        "impersonate userextras/kubewitness.io/credential",
        "impersonate userextras/kubewitness.io/impersonator",
    )
    assert "calls will be refused" in seen.note


async def test_named_users_are_enough(api: FakeApi) -> None:
    api.rules = role(["dev"], ["alice"])["rules"]
    assert (await look(api.access())).note == ""


async def test_over_tls_the_certificates_end_is_seen(tmp_path: Path) -> None:
    async with serving(FakeApi(rules=MINIMAL), tmp_path) as api:
        seen = await look(api.access())
    assert seen.certificate_expires == pytest.approx(CLOCK.now() + SERVER_LIFE, abs=60)


async def test_behind_a_path_prefix(api: FakeApi) -> None:
    access = Access(f"{api.server}/prefix", token="good")
    assert (await look(access)).note == ""
    assert all(path.startswith("/prefix/") for _, path in api.seen)


class TestFailures:
    async def told(self, access: Access) -> str:
        with pytest.raises(ClusterUnreachableError) as caught:
            await look(access)
        assert isinstance(caught.value, UnavailableError)
        assert "hunter2" not in str(caught.value)
        return str(caught.value)

    async def test_a_refused_credential(self, api: FakeApi) -> None:
        assert "does not accept the proxy's credential (401)" in await self.told(
            api.access("hunter2")
        )

    async def test_nobody_listens(self, api: FakeApi, unused_tcp_port: int) -> None:
        access = Access(f"http://127.0.0.1:{unused_tcp_port}", token="hunter2")
        assert "cannot connect" in await self.told(access)

    async def test_an_untrusted_certificate(self, tmp_path: Path) -> None:
        async with serving(FakeApi(), tmp_path) as api:
            told = await self.told(Access(api.server, token="hunter2"))
        assert "its certificate is not trusted" in told

    async def test_something_that_is_no_api_server(self) -> None:
        async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>")
            writer.close()

        server = await asyncio.start_server(page, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            told = await self.told(Access(f"http://127.0.0.1:{port}", token="hunter2"))
        assert "is not JSON" in told

    async def test_an_endless_answer(self) -> None:
        async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b" " * 2**21)
            writer.close()

        server = await asyncio.start_server(pour, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            told = await self.told(Access(f"http://127.0.0.1:{port}", token="hunter2"))
        assert "over 1 MiB" in told

    async def test_a_redirect_is_not_followed(self, api: FakeApi) -> None:
        async def away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            location = f"{api.server}/version".encode()
            writer.write(
                b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: %b\r\n\r\n" % location
            )
            writer.close()

        server = await asyncio.start_server(away, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            told = await self.told(Access(f"http://127.0.0.1:{port}", token="good"))
        assert "with 302" in told
        assert api.seen == []


class TestExaminer:
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[StateStore]:
        box = SecretBox(bytes(32))
        store = await StateStore.open(sqlite_url(tmp_path / "s.db"), box, clock=CLOCK)
        yield store
        await store.close()

    async def test_before_and_after_registering(self, store: StateStore, api: FakeApi) -> None:
        permit = permitting(Upstream(), api.access())
        examiner = ClusterExaminer(store, permit, clock=CLOCK)
        kubeconfig = api.access().document("prod")
        seen = await examiner.examine("prod", kubeconfig)
        assert (seen.server, seen.note) == (api.server, "")
        record = await store.add_cluster("prod", server=seen.server, kubeconfig=kubeconfig)
        assert (await examiner.check(record)).version == seen.version

    async def test_who_is_refused_is_named_as_they_will_be(
        self, store: StateStore, api: FakeApi
    ) -> None:
        examiner = ClusterExaminer(store, permitting(Upstream(), api.access()), clock=CLOCK)
        with pytest.raises(UnavailableError, match="'shop-eu'"):
            await examiner.examine("shop-eu", api.access(token="bad").document("prod"))

    async def test_an_unusable_kubeconfig_is_an_input_error(self, store: StateStore) -> None:
        with pytest.raises(InvalidInputError):
            await ClusterExaminer(store, Upstream(), clock=CLOCK).examine("prod", b"{}")
