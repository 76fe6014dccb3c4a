import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import structlog.testing

from proxy.clock import ManualClock, SystemClock
from proxy.pki.authority import new_authority
from proxy.pki.keys import key_pem, new_key
from proxy.reaching import Upstream
from proxy.upstream.access import Access, AccessError
from proxy.upstream.cluster import Target
from proxy.upstream.handle import TargetHandle, load_target
from proxy.upstream.login import Login, LoginError


class Source:
    """Hands out what the test puts in; an exception is raised."""

    def __init__(self) -> None:
        self.answers: list[Login | LoginError] = []
        self.asked = 0

    async def obtain(self) -> Login:
        self.asked += 1
        answer = self.answers.pop(0)
        if isinstance(answer, LoginError):
            raise answer
        return answer


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def source() -> Source:
    return Source()


Make = Callable[..., TargetHandle]


@pytest.fixture
async def make(source: Source, clock: ManualClock) -> AsyncIterator[Make]:
    made = []

    def start(login: Login, server: str = "https://k:6443") -> TargetHandle:
        handle = TargetHandle("prod", Access(server), source, login, clock)
        made.append(handle)
        handle.start()
        return handle

    yield start
    for handle in made:
        await handle.close()


def pair() -> tuple[bytes, bytes]:
    key = new_key()
    now = SystemClock().now()
    issued = new_authority(new_key(), now).issue(
        key.public_key(), user="proxy", ttl=60, max_ttl=60, now=now
    )
    return issued.pem, key_pem(key)


@pytest.mark.parametrize(
    ("server", "host", "port", "prefix", "header"),
    [
        ("https://k:6443", "k", 6443, b"", b"k:6443"),
        ("https://k", "k", 443, b"", b"k"),
        ("https://[fd00::1]:6443/a/b", "fd00::1", 6443, b"/a/b", b"[fd00::1]:6443"),
        ("http://127.0.0.1", "127.0.0.1", 80, b"", b"127.0.0.1"),
    ],
)
async def test_addresses(
    make: Make, server: str, host: str, port: int, prefix: bytes, header: bytes
) -> None:
    target = make(Login(), server).target
    assert (target.host, target.port, target.base_path) == (host, port, prefix)
    assert target.host_header == header
    assert (target.tls is None) == server.startswith("http://")


@pytest.mark.looptime
async def test_a_new_token_is_sent_over_the_same_connections(
    make: Make, source: Source, clock: ManualClock
) -> None:
    source.answers = [Login(b"Bearer two")]
    handle = make(Login(b"Bearer one", expires=clock.now() + 3600))
    target = handle.target
    assert target.authorization() == b"Bearer one"
    await asyncio.sleep(3299)
    assert target.authorization() == b"Bearer one"
    await asyncio.sleep(2)
    assert target.authorization() == b"Bearer two"
    assert handle.target is target


@pytest.mark.looptime
async def test_a_new_certificate_makes_a_new_target(
    make: Make, source: Source, clock: ManualClock
) -> None:
    first, second = pair(), pair()
    source.answers = [Login(certificate=second, expires=clock.now() + 9000)]
    handle = make(Login(certificate=first, expires=clock.now() + 100))
    target = handle.target
    await asyncio.sleep(81)
    assert handle.target is not target
    assert handle.target.tls is not target.tls


@pytest.mark.looptime
async def test_a_file_is_looked_at_again_and_again(make: Make, source: Source) -> None:
    source.answers = [Login(b"Bearer %d" % number, again_after=10) for number in range(5)]
    handle = make(Login(b"Bearer first", again_after=10))
    await asyncio.sleep(31)
    assert (source.asked, handle.target.authorization()) == (3, b"Bearer 2")


@pytest.mark.looptime
async def test_a_failing_renewal_is_tried_again_and_told_once(
    make: Make, source: Source, clock: ManualClock
) -> None:
    source.answers = [*(LoginError("no") for _ in range(3)), Login(b"Bearer two")]
    with structlog.testing.capture_logs() as logs:
        handle = make(Login(b"Bearer one", expires=clock.now() + 100))
        await asyncio.sleep(82)
        assert (handle.target.refused, handle.target.authorization()) == ("", b"Bearer one")
        await asyncio.sleep(10)
    assert handle.target.authorization() == b"Bearer two"
    assert [entry["event"] for entry in logs] == ["credential of a cluster cannot be renewed"]


@pytest.mark.looptime
async def test_an_expired_credential_refuses_calls_until_it_is_renewed(
    make: Make, source: Source, clock: ManualClock
) -> None:
    source.answers = [LoginError("no"), LoginError("plugin is gone"), Login(b"Bearer two")]
    handle = make(Login(b"Bearer one", expires=clock.now() + 100))
    clock.advance(101)
    await asyncio.sleep(6)
    assert handle.target.refused.startswith("the proxy's own credential there has expired")
    await asyncio.sleep(5)
    assert (handle.target.refused, handle.target.authorization()) == ("", b"Bearer two")


@pytest.mark.looptime
async def test_many_pokes_are_one_renewal(make: Make, source: Source, clock: ManualClock) -> None:
    source.answers = [Login(b"Bearer two"), Login(b"Bearer three")]
    handle = make(Login(b"Bearer one"))
    for _ in range(50):
        handle.poke()
        await asyncio.sleep(0.1)
    assert source.asked == 0  # what was obtained ten seconds ago is not asked for again
    await asyncio.sleep(6)
    assert (source.asked, handle.target.authorization()) == (1, b"Bearer two")


@pytest.mark.looptime
async def test_what_never_changes_is_left_alone(make: Make, source: Source) -> None:
    make(Login(b"Bearer one"))
    await asyncio.sleep(10**6)
    assert source.asked == 0


async def test_loading(clock: ManualClock) -> None:
    access = Access("http://127.0.0.1:8001/p", token="t")
    permit = Upstream(plain_http=("http://127.0.0.1:8001/p",))
    handle = await load_target("prod", access.document("prod"), upstream=permit, clock=clock)
    try:
        target = handle.target
        assert isinstance(target, Target)
        assert (target.name, target.authorization()) == ("prod", b"Bearer t")
        assert "not encrypted" in handle.warnings[0]
    finally:
        await handle.close()


@pytest.mark.parametrize("kubeconfig", [None, b"", b"x: ["])
async def test_loading_what_is_no_kubeconfig(kubeconfig: bytes | None, clock: ManualClock) -> None:
    with pytest.raises(AccessError):
        await load_target("prod", kubeconfig, upstream=Upstream(), clock=clock)
